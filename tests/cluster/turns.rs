//! Which tests run at the same time: those of different tenants. One that disturbs what all tenants share runs alone.
//!
//! What a test has taken it keeps until its thread ends, which is when the test does. Operators that die disturb nobody:
//! whoever waits waits a little longer.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use simbdp_api::common::Engine;
use tokio::sync::{OwnedMutexGuard, OwnedRwLockReadGuard, OwnedRwLockWriteGuard, RwLock};

type Tenants = BTreeMap<String, Arc<tokio::sync::Mutex<()>>>;

static ALL: LazyLock<Arc<RwLock<()>>> = LazyLock::new(Arc::default);
static TENANTS: Mutex<Tenants> = Mutex::new(Tenants::new());

/// In place of a name, for tenants that tests have for themselves: one of each engine at a time.
pub fn own(engine: Engine) -> &'static str {
    match engine {
        Engine::Cassandra => "own cassandra",
        Engine::MongoDB => "own mongodb",
    }
}

/// What a test keeps; guards are only dropped.
#[derive(Default)]
struct Kept {
    together: Option<OwnedRwLockReadGuard<()>>,
    alone: Option<OwnedRwLockWriteGuard<()>>,
    tenants: BTreeMap<String, OwnedMutexGuard<()>>,
}

thread_local! {
    static KEPT: RefCell<Kept> = RefCell::default();
}

/// Waits until no other test runs; none begins before this one ends. What was kept until now is given back.
pub async fn alone() {
    KEPT.replace(Kept::default());
    let guard = ALL.clone().write_owned().await;
    KEPT.with_borrow_mut(|kept| kept.alone = Some(guard));
}

/// Waits until no test runs that must be alone.
pub async fn together() {
    let has = KEPT.with_borrow(|kept| kept.together.is_some() || kept.alone.is_some());
    if !has {
        let guard = ALL.clone().read_owned().await;
        KEPT.with_borrow_mut(|kept| kept.together = Some(guard));
    }
}

/// Waits until no other test uses a tenant.
pub async fn with(tenant: &str) {
    if KEPT.with_borrow(|kept| kept.tenants.contains_key(tenant)) {
        return;
    }
    let lock = {
        let mut tenants = TENANTS.lock().unwrap_or_else(PoisonError::into_inner);
        tenants.entry(tenant.to_owned()).or_default().clone()
    };
    let guard = lock.lock_owned().await;
    KEPT.with_borrow_mut(|kept| kept.tenants.insert(tenant.to_owned(), guard));
}
