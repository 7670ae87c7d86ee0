//! What the program prints for people: into the log, not more of it than a log can take, and the last lines
//! for the ledger.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use tokio::time::Instant;

/// Lines that are logged at once, and each second after that. What is above is counted.
const BURST: u32 = 1_000;
const A_SECOND: f64 = 100.0;
/// Characters of a line that are logged.
const LONGEST: usize = 2_000;
/// Last lines that are kept, and their characters.
const KEPT_LINES: usize = 8;
const KEPT_CHARACTERS: usize = 200;

/// Logs one run's lines.
pub struct Logs {
    /// What it is about: the file's id, or the pipeline.
    about: String,
    state: Mutex<State>,
}

struct State {
    tail: VecDeque<String>,
    left_out: u64,
    tokens: f64,
    since: Instant,
}

impl Logs {
    /// Lines about a file, or a pipeline.
    pub fn new(about: String) -> Self {
        Self {
            about,
            state: Mutex::new(State {
                tail: VecDeque::new(),
                left_out: 0,
                tokens: f64::from(BURST),
                since: Instant::now(),
            }),
        }
    }

    /// Takes a line of a stream.
    pub fn line(&self, stream: &'static str, bytes: &[u8]) {
        let text = printable(bytes);
        if text.is_empty() {
            return;
        }
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.tail.len() == KEPT_LINES {
            state.tail.pop_front();
        }
        state.tail.push_back(cut(&text, KEPT_CHARACTERS));
        if !state.may_log() {
            state.left_out += 1;
            return;
        }
        let left_out = std::mem::take(&mut state.left_out);
        drop(state);
        self.told(left_out);
        tracing::info!(about = self.about, stream, line = text, "the app prints");
    }

    fn told(&self, left_out: u64) {
        if left_out > 0 {
            let about = &self.about;
            tracing::warn!(
                about,
                left_out,
                "the app prints more lines than a log takes"
            );
        }
    }

    /// The last lines, for the ledger; nothing follows. Tells how many lines were left out.
    pub fn last_lines(&self) -> String {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        self.told(std::mem::take(&mut state.left_out));
        let lines: Vec<String> = std::mem::take(&mut state.tail).into();
        match lines.is_empty() {
            true => "it printed nothing".to_owned(),
            false => format!("its last lines: {}", lines.join(" | ")),
        }
    }
}

impl State {
    fn may_log(&mut self) -> bool {
        let now = Instant::now();
        let earned = (now - self.since).as_secs_f64() * A_SECOND;
        self.since = now;
        self.tokens = (self.tokens + earned).min(f64::from(BURST));
        let may = self.tokens >= 1.0;
        if may {
            self.tokens -= 1.0;
        }
        may
    }
}

/// Text without what would break a line or a terminal.
pub fn printable(bytes: &[u8]) -> String {
    let start = &bytes[..bytes.len().min(4 * LONGEST)];
    let text: String = String::from_utf8_lossy(start)
        .trim_end()
        .chars()
        .map(|one| if one.is_control() { ' ' } else { one })
        .collect();
    cut(&text, LONGEST)
}

fn cut(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_lines_are_kept_short_and_printable() {
        let logs = Logs::new("f".into());
        assert_eq!(logs.last_lines(), "it printed nothing");
        for line in 0..20 {
            logs.line("stderr", format!("line {line}\u{1b}[0m\r").as_bytes());
        }
        logs.line("stderr", b"\xff\xfe");
        logs.line("stderr", "é".repeat(10_000).as_bytes());
        let last = logs.last_lines();
        assert!(
            last.starts_with("its last lines: line 14 [0m | line 15"),
            "{last}"
        );
        assert!(
            last.contains("| \u{fffd}\u{fffd} | éé") && last.ends_with("é…"),
            "{last}"
        );
        assert!(last.chars().count() < 400, "{last}");
    }
}
