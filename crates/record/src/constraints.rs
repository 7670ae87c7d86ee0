//! Checks a file against its pipeline's constraints; gateway and command line share it, so that what the
//! one says beforehand the other holds to.

use std::fmt;

use regex::{Regex, RegexBuilder};
use simbdp_api::pipeline::{Compression, Format};
use simbdp_api::wire::config::BatchConstraints;

use crate::file_name::FileName;

/// A name pattern that is no regular expression.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("namePattern `{pattern}` is not a regular expression: {reason}")]
pub struct PatternError {
    /// The pattern.
    pub pattern: String,
    /// What is wrong with it.
    pub reason: String,
}

/// How a file does not conform.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Violation {
    /// A format that this pipeline does not take.
    #[error("the format {format} is not accepted here: use {}", list(accepted))]
    Format {
        /// The file's.
        format: Format,
        /// The pipeline's.
        accepted: Vec<Format>,
    },
    /// A compression that this pipeline does not take.
    #[error(
        "the compression {compression} is not accepted here: use {}",
        list(accepted)
    )]
    Compression {
        /// The file's.
        compression: Compression,
        /// The pipeline's.
        accepted: Vec<Compression>,
    },
    /// A name that the pattern does not match.
    #[error("the name `{name}` does not match `{pattern}`: the whole name must")]
    Name {
        /// The file's.
        name: String,
        /// The pipeline's pattern.
        pattern: String,
    },
    /// Too large. What has been seen of it may be less than the whole.
    #[error("the file has {}{size} bytes uncompressed, but at most {limit} are accepted: split it", if *.at_least { "at least " } else { "" })]
    Size {
        /// Bytes seen, uncompressed.
        size: u64,
        /// Whether there may be more.
        at_least: bool,
        /// Most bytes.
        limit: u64,
    },
}

fn list<T: fmt::Display>(values: &[T]) -> String {
    let texts: Vec<String> = values.iter().map(T::to_string).collect();
    texts.join(" or ")
}

/// A pipeline's constraints on single files, ready to be checked.
#[derive(Clone, Debug)]
pub struct FileRules {
    constraints: BatchConstraints,
    pattern: Option<Regex>,
}

impl FileRules {
    /// Prepares a pipeline's constraints.
    ///
    /// # Errors
    /// The name pattern is no regular expression.
    pub fn new(constraints: &BatchConstraints) -> Result<Self, PatternError> {
        Ok(Self {
            constraints: constraints.clone(),
            pattern: constraints
                .name_pattern
                .as_deref()
                .map(whole_match)
                .transpose()?,
        })
    }

    /// The constraints.
    pub fn constraints(&self) -> &BatchConstraints {
        &self.constraints
    }

    /// Every way in which a file does not conform. `uncompressed` is its size where it is known.
    pub fn check(&self, name: &FileName, uncompressed: Option<u64>) -> Vec<Violation> {
        let mut violations = self.check_name(name);
        violations.extend(uncompressed.and_then(|size| self.check_size(size, false)));
        violations
    }

    /// Every way in which a file does not conform by its name.
    pub fn check_name(&self, name: &FileName) -> Vec<Violation> {
        let rules = &self.constraints;
        let format = (!rules.formats.contains(&name.format())).then(|| Violation::Format {
            format: name.format(),
            accepted: rules.formats.clone(),
        });
        let compression =
            (!rules.compression.contains(&name.compression())).then(|| Violation::Compression {
                compression: name.compression(),
                accepted: rules.compression.clone(),
            });
        let unmatched = self
            .pattern
            .as_ref()
            .filter(|pattern| !pattern.is_match(name.as_str()));
        let pattern = unmatched.map(|_| Violation::Name {
            name: name.as_str().to_owned(),
            pattern: rules.name_pattern.clone().unwrap_or_default(),
        });
        [format, compression, pattern]
            .into_iter()
            .flatten()
            .collect()
    }

    /// Whether a file is too large. `at_least`: these bytes are those seen so far, while it streams in.
    pub fn check_size(&self, uncompressed: u64, at_least: bool) -> Option<Violation> {
        let limit = self.constraints.max_file_size;
        (uncompressed > limit).then_some(Violation::Size {
            size: uncompressed,
            at_least,
            limit,
        })
    }
}

/// A regular expression that matches a whole text.
///
/// # Errors
/// The pattern is no regular expression, or takes more than 1 MiB compiled.
pub fn whole_match(pattern: &str) -> Result<Regex, PatternError> {
    let compile = |text: &str| RegexBuilder::new(text).size_limit(1 << 20).build();
    // By itself first: `a)(b` becomes one only within parentheses. The newline ends a comment in
    // a pattern that has (?x).
    let anchored = compile(pattern).and_then(|_| {
        compile(&format!(r"\A(?:{pattern})\z"))
            .or_else(|_| compile(&format!("\\A(?:{pattern}\n)\\z")))
    });
    anchored.map_err(|error| PatternError {
        pattern: pattern.to_owned(),
        reason: match error {
            regex::Error::CompiledTooBig(_) => {
                "it is too large compiled; use fewer or smaller repetitions".to_owned()
            }
            other => other
                .to_string()
                .lines()
                .last()
                .unwrap_or_default()
                .trim_start_matches("error: ")
                .to_owned(),
        },
    })
}
