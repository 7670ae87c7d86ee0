//! What the program prints, line by line, in bounded memory.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::logs::Logs;
use super::run::until_gone;

/// Bytes of a log line that are read; the rest of the line is passed over.
const LOG_LINE: usize = 8 << 10;
/// Bytes of logs a second that a program which runs on may print. Above that it waits in its own write.
const A_SECOND: u64 = 1 << 20;

/// Bytes of a line that are passed over before it counts as ended, so that a flood without line ends is seen.
const PASSED_OVER: usize = 256 << 10;

/// Reads lines of which at most so many bytes are kept.
pub struct Lines<R> {
    reader: BufReader<R>,
    line: Vec<u8>,
    longest: usize,
    /// Bytes of the line that are not kept.
    passed_over: usize,
    /// Bytes read so far.
    pub bytes: u64,
}

/// A line without its end.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Line {
    /// What is kept of it.
    pub bytes: Vec<u8>,
    /// Whether that is not all.
    pub is_cut: bool,
}

impl<R: AsyncRead + Unpin> Lines<R> {
    /// Keeps `longest` bytes of a line.
    pub fn new(reader: R, longest: usize) -> Self {
        Self {
            reader: BufReader::with_capacity(32 << 10, reader),
            line: Vec::new(),
            longest,
            passed_over: 0,
            bytes: 0,
        }
    }

    /// The next line; [`None`] at the end. Cancel-safe.
    pub async fn next(&mut self) -> io::Result<Option<Line>> {
        loop {
            let chunk = self.reader.fill_buf().await?;
            if chunk.is_empty() {
                let last = self.take();
                return Ok((!last.bytes.is_empty()).then_some(last));
            }
            let end = chunk.iter().position(|byte| *byte == b'\n');
            let (content, taken) = match end {
                Some(at) => (&chunk[..at], at + 1),
                None => (chunk, chunk.len()),
            };
            let room = self.longest.saturating_sub(self.line.len());
            self.line
                .extend_from_slice(&content[..content.len().min(room)]);
            self.passed_over += content.len().saturating_sub(room);
            self.bytes += taken as u64;
            self.reader.consume(taken);
            if end.is_some() || self.passed_over > PASSED_OVER {
                return Ok(Some(self.take()));
            }
        }
    }

    fn take(&mut self) -> Line {
        Line {
            bytes: std::mem::take(&mut self.line),
            is_cut: std::mem::take(&mut self.passed_over) > 0,
        }
    }
}

/// What becomes of a program that prints too much for people.
#[derive(Clone, Copy, Debug)]
pub enum Flood {
    /// A fault, after so many bytes.
    Fault(u64),
    /// It waits.
    Waits,
}

/// Logs a stream to its end; returns its last line that is not blank, or the fault.
pub async fn log<R: AsyncRead + Unpin>(
    reader: R,
    stream: &'static str,
    logs: &Logs,
    flood: Flood,
    gone: &CancellationToken,
) -> Result<Line, String> {
    let mut lines = Lines::new(reader, LOG_LINE);
    let mut last = Line::default();
    let mut pace = Pace::new();
    while let Some(Ok(Some(line))) = until_gone(gone, lines.next()).await {
        logs.line(stream, &line.bytes);
        match flood {
            Flood::Fault(most) if lines.bytes > most => {
                let most = most >> 20;
                return Err(format!(
                    "printed more than {most} MiB to {stream}: print less"
                ));
            }
            Flood::Fault(_) => {}
            Flood::Waits => pace.keep(lines.bytes).await,
        }
        if !line.bytes.trim_ascii().is_empty() {
            last = line;
        }
    }
    Ok(last)
}

/// Keeps a reader to so many bytes a second.
struct Pace {
    since: Instant,
    before: u64,
}

impl Pace {
    fn new() -> Self {
        Self {
            since: Instant::now(),
            before: 0,
        }
    }

    async fn keep(&mut self, bytes: u64) {
        if bytes - self.before < A_SECOND {
            return;
        }
        tokio::time::sleep_until(self.since + Duration::from_secs(1)).await;
        self.since = Instant::now();
        self.before = bytes;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn lines_are_cut_at_their_limit_and_the_next_one_is_whole() {
        let text = format!("a\n\n{}\nb\nlast", "x".repeat(100_000));
        let mut lines = Lines::new(text.as_bytes(), 10);
        let mut found = Vec::new();
        while let Some(line) = lines.next().await.unwrap() {
            found.push((String::from_utf8(line.bytes).unwrap(), line.is_cut));
        }
        let whole = |text: &str| (text.to_owned(), false);
        assert_eq!(
            found,
            [
                whole("a"),
                whole(""),
                ("x".repeat(10), true),
                whole("b"),
                whole("last")
            ]
        );
        assert_eq!(lines.bytes, text.len() as u64);
    }

    #[tokio::test(start_paused = true)]
    async fn a_program_that_runs_on_prints_a_mebibyte_a_second() {
        let start = Instant::now();
        let text = "x".repeat(1023) + "\n";
        let text = text.repeat(8 * 1024);
        let logs = Logs::new("p".into());
        let gone = CancellationToken::new();
        let last = log(text.as_bytes(), "stderr", &logs, Flood::Waits, &gone).await;
        assert_eq!(last.unwrap().bytes.len(), 1023);
        assert!(start.elapsed() >= Duration::from_secs(7));
        let fault = log(
            text.as_bytes(),
            "stderr",
            &logs,
            Flood::Fault(4 << 20),
            &gone,
        )
        .await;
        assert!(fault.unwrap_err().contains("more than 4 MiB"));
    }
}
