//! Logs: one JSON object a line on standard output, or text for people.

use clap::ValueEnum;
use tracing_subscriber::EnvFilter;

/// The database's driver says much at `info` that is nobody's business; whoever asks for it by name gets it.
const QUIET: &str = "scylla=warn";

/// How log lines are written.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, ValueEnum)]
pub enum LogFormat {
    /// One JSON object a line.
    #[default]
    Json,
    /// Text.
    Text,
}

/// Starts logging; `RUST_LOG` filters, `info` when it is not set.
pub fn start(format: LogFormat) {
    let asked = std::env::var(EnvFilter::DEFAULT_ENV)
        .ok()
        .filter(|asked| !asked.is_empty());
    let filter = EnvFilter::new(format!("{QUIET},{}", asked.as_deref().unwrap_or("info")));
    let logs = tracing_subscriber::fmt().with_env_filter(filter);
    match format {
        LogFormat::Json => logs
            .json()
            .flatten_event(true)
            .with_current_span(false)
            .init(),
        LogFormat::Text => logs.init(),
    }
}
