//! Faults at named points, set over the admin port. Only in builds with the feature `failpoints`.

use std::sync::atomic::{AtomicU64, Ordering};

use axum::Router;
use axum::extract::Path;
use axum::http::StatusCode;
use axum::routing::put;

/// `PUT /failpoints/{name}` with the action as body, and `DELETE`.
pub fn routes() -> Router {
    Router::new().route("/failpoints/{name}", put(set).delete(clear))
}

async fn set(Path(name): Path<String>, action: String) -> (StatusCode, String) {
    match configure(&name, action.trim()) {
        Ok(()) => (StatusCode::NO_CONTENT, String::new()),
        Err(reason) => (StatusCode::BAD_REQUEST, reason),
    }
}

async fn clear(Path(name): Path<String>) -> StatusCode {
    fail::remove(name);
    StatusCode::NO_CONTENT
}

/// The syntax of the crate `fail`, and `abort` or `N*off->abort`: kill the own process, at once or
/// after N passes, without unwinding, as a lost node would.
fn configure(name: &str, action: &str) -> Result<(), String> {
    let passes = match action.strip_suffix("abort") {
        Some("") => 0,
        Some(prefix) => prefix
            .strip_suffix("*off->")
            .and_then(|count| count.parse::<u64>().ok())
            .ok_or_else(|| format!("`{action}` is no action: write abort or 3*off->abort"))?,
        None => return fail::cfg(name, action),
    };
    let passed = AtomicU64::new(0);
    fail::cfg_callback(name, move || {
        if passed.fetch_add(1, Ordering::SeqCst) >= passes {
            std::process::abort();
        }
    })
}
