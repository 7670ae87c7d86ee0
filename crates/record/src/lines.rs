//! Counts lines: an upper bound of a file's records, hence the ticks of the clock that it takes.

/// Counts the lines of a stream, a last one without newline included. LF, CRLF and CR end a line.
#[derive(Clone, Copy, Debug, Default)]
pub struct LineCounter {
    ended: u64,
    last: Option<u8>,
}

impl LineCounter {
    /// A counter of one stream.
    pub fn new() -> Self {
        Self::default()
    }

    /// Counts the next chunk, wherever the stream is cut.
    pub fn push(&mut self, chunk: &[u8]) {
        let Some(&last) = chunk.last() else { return };
        self.ended += memchr::memchr_iter(b'\n', chunk).count() as u64;
        // A CR ends a line by itself, unless the LF behind it, which is counted, does. One at the very
        // end counts once it is known what follows.
        let follows = |at: usize| chunk.get(at + 1).is_some_and(|next| *next != b'\n');
        let alone = memchr::memchr_iter(b'\r', chunk)
            .filter(|at| follows(*at))
            .count();
        let before = self.last == Some(b'\r') && chunk[0] != b'\n';
        self.ended += alone as u64 + u64::from(before);
        self.last = Some(last);
    }

    /// Lines so far.
    pub fn lines(&self) -> u64 {
        self.ended + u64::from(self.last.is_some_and(|last| last != b'\n'))
    }
}
