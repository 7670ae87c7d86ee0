//! What runner and launcher say to each other: JSON, a line each. A connection is one run: the runner's
//! first line is an [`Order`], with the three standard streams of the program as file descriptors beside it;
//! when the connection ends, so does the run.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Most bytes of a line, in either direction.
pub const LONGEST: usize = 64 << 10;

/// What the runner wants of a launcher that is idle.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Order {
    /// Start the program.
    #[serde(rename_all = "camelCase")]
    Run {
        /// Arguments after those that the program has anyway.
        arguments: Vec<String>,
        /// Variables beside those that the container has.
        environment: BTreeMap<String, String>,
    },
    /// Nothing will be started any more: leave.
    Quit,
}

/// What the runner wants of a run.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Wish {
    /// SIGTERM to the program's process group.
    Terminate,
}

/// What the launcher says of a run.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Report {
    /// The program runs.
    Started,
    /// It cannot be started; why.
    NotStarted(String),
    /// It has ended, and whatever it left behind.
    Ended(Exit),
}

/// How a program ended.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Exit {
    /// By itself, with this code.
    Code(i32),
    /// By a signal.
    #[serde(rename_all = "camelCase")]
    Signal {
        /// Its number.
        number: i32,
        /// Whether the kernel ended a process of the container for want of memory meanwhile.
        out_of_memory: bool,
    },
}
