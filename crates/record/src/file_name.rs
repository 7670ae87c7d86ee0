//! Checks the name of a file, and tells format and compression by its extensions.

use simbdp_api::pipeline::{Compression, Format};

/// Longest name of a file, in bytes, as on common file systems.
pub const MAX_NAME_BYTES: usize = 255;

/// A name of a file that does not do.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum FileNameError {
    /// No name at all.
    #[error("the file has no name; write for example flights.csv")]
    Empty,
    /// Too long.
    #[error("the name of the file has {0} bytes, at most 255 are allowed")]
    TooLong(usize),
    /// A path, or a part of one.
    #[error("`{0}` is not the name of a file but a path: leave out `/`, `\\` and `..`")]
    Path(String),
    /// NUL, a newline and the like.
    #[error("`{0}` has a control character: use visible characters only")]
    Control(String),
    /// A hidden file.
    #[error("`{0}` starts with a dot: hidden files are not taken; write for example flights.csv")]
    Hidden(String),
    /// An extension that names no format.
    #[error(
        "`{0}` does not tell a format: the name must end in .csv, .ndjson or .jsonl, with .gz or .zst after it where the file is compressed"
    )]
    UnknownFormat(String),
    /// Compressed more than once.
    #[error("`{0}` is compressed twice: compress it once, with gzip (.gz) or zstd (.zst)")]
    CompressedTwice(String),
    /// A compression that is not read.
    #[error(
        "`{name}` is compressed with {found}, which is not read: use gzip (.gz) or zstd (.zst)"
    )]
    UnknownCompression {
        /// The name.
        name: String,
        /// Its extension.
        found: &'static str,
    },
}

/// The checked name of a file. Extensions are read in any case.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct FileName {
    name: String,
    format: Format,
    compression: Compression,
}

impl FileName {
    /// Checks a name.
    ///
    /// # Errors
    /// Why it does not do, and what would.
    pub fn parse(name: &str) -> Result<Self, FileNameError> {
        if name.is_empty() {
            return Err(FileNameError::Empty);
        }
        if name.len() > MAX_NAME_BYTES {
            return Err(FileNameError::TooLong(name.len()));
        }
        if name.chars().any(is_control) {
            return Err(FileNameError::Control(crate::convert::shown(name)));
        }
        if name.contains(['/', '\\']) || name == "." || name == ".." {
            return Err(FileNameError::Path(name.to_owned()));
        }
        if name.starts_with('.') {
            return Err(FileNameError::Hidden(name.to_owned()));
        }
        let (stem, compression) = compression(name)?;
        if compression != Compression::None && self::compression(stem)?.1 != Compression::None {
            return Err(FileNameError::CompressedTwice(name.to_owned()));
        }
        let format = match stem
            .rsplit_once('.')
            .map(|(_, extension)| extension.to_ascii_lowercase())
            .as_deref()
        {
            Some("csv") => Format::Csv,
            Some("ndjson" | "jsonl") => Format::Ndjson,
            _ => return Err(FileNameError::UnknownFormat(name.to_owned())),
        };
        Ok(Self {
            name: name.to_owned(),
            format,
            compression,
        })
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.name
    }
    /// The format of the uncompressed content.
    pub fn format(&self) -> Format {
        self.format
    }
    /// The compression.
    pub fn compression(&self) -> Compression {
        self.compression
    }
}

/// Control characters, and the marks that turn the direction of text, by which a name can look like another one.
fn is_control(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

/// The name without the extension of a compression, and that compression.
fn compression(name: &str) -> Result<(&str, Compression), FileNameError> {
    let Some((stem, extension)) = name.rsplit_once('.') else {
        return Ok((name, Compression::None));
    };
    let unknown = |found| FileNameError::UnknownCompression {
        name: name.to_owned(),
        found,
    };
    match extension.to_ascii_lowercase().as_str() {
        "gz" => Ok((stem, Compression::Gzip)),
        "zst" => Ok((stem, Compression::Zstd)),
        "zip" => Err(unknown("zip")),
        "bz2" => Err(unknown("bzip2")),
        "xz" => Err(unknown("xz")),
        "lz4" => Err(unknown("lz4")),
        "7z" => Err(unknown("7-Zip")),
        _ => Ok((name, Compression::None)),
    }
}
