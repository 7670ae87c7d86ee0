//! `dlq`: the dead letters of a pipeline.

use std::process::ExitCode;

use indicatif::{ProgressBar, ProgressStyle};
use reqwest::Method;
use serde::Serialize;
use simbdp_api::tenant::Role;
use simbdp_api::wire::dead_letters::{Body, DeadLetter, DeadLetterList, Kept, Moved, Selection};

use crate::args::{ConnectionArgs, Dlq, DlqSelection, DlqVerb, Output};
use crate::client::Gateway;
use crate::connect;
use crate::error::CliError;
use crate::output::{Grid, cell, print};

/// Ids, or letters, of one request: a request is short, and shows how far it is.
const STEP: usize = 200;

/// Runs the verb.
pub async fn run(
    connection: &ConnectionArgs,
    output: Output,
    verb: Dlq,
) -> Result<ExitCode, CliError> {
    match verb.verb {
        DlqVerb::List { pipeline, limit } => {
            let gateway = connect::gateway(connection, Role::Reader).await?;
            list(&gateway, output, &pipeline, limit).await
        }
        DlqVerb::Show { pipeline, id } => {
            let gateway = connect::gateway(connection, Role::Reader).await?;
            show(&gateway, output, &pipeline, &id).await
        }
        DlqVerb::Redrive(selection) => {
            let gateway = connect::gateway(connection, Role::Writer).await?;
            shift(&gateway, output, Verb::Redrive, selection).await
        }
        DlqVerb::Purge(selection) => {
            let gateway = connect::gateway(connection, Role::Writer).await?;
            shift(&gateway, output, Verb::Purge, selection).await
        }
    }
}

fn path(pipeline: &str) -> String {
    format!("/v1/pipelines/{pipeline}/dead-letters")
}

async fn list(
    gateway: &Gateway,
    output: Output,
    pipeline: &str,
    limit: u32,
) -> Result<ExitCode, CliError> {
    let query = [("limit".to_owned(), limit.to_string())];
    let list: DeadLetterList = gateway.get(&path(pipeline), &query).await?;
    print(output, &list, &grid(&list.letters))?;
    let shown = list.letters.len() as u64;
    if list.waiting > shown {
        let waiting = list.waiting;
        eprintln!("{shown} of {waiting} dead letters, from the front of the queue");
    }
    Ok(ExitCode::SUCCESS)
}

async fn show(
    gateway: &Gateway,
    output: Output,
    pipeline: &str,
    id: &str,
) -> Result<ExitCode, CliError> {
    let query = [("id".to_owned(), id.to_owned())];
    let list: DeadLetterList = gateway.get(&path(pipeline), &query).await?;
    if list.letters.is_empty() {
        let waiting = list.waiting;
        eprintln!(
            "error: none of the {waiting} dead letters of `{pipeline}` has the id `{id}`; `simbdp dlq list {pipeline}` shows the ids that there are"
        );
        return Ok(ExitCode::from(1));
    }
    if output == Output::Table {
        for letter in &list.letters {
            println!("{}", described(letter));
        }
    } else {
        print(output, &list.letters, &grid(&list.letters))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn times(letter: &DeadLetter) -> [String; 2] {
    [letter.first_at, letter.last_at]
        .map(|at| cell(at.map(|at| at.format("%Y-%m-%d %H:%M:%S").to_string())))
}

fn grid(letters: &[DeadLetter]) -> Grid {
    let mut grid = Grid::new([
        "id", "attempts", "redriven", "first", "last", "bytes", "reason",
    ]);
    grid.rows = letters
        .iter()
        .map(|letter| {
            let [first, last] = times(letter);
            vec![
                letter.id.clone(),
                cell(letter.attempts),
                letter.redriven.to_string(),
                first,
                last,
                letter.bytes.to_string(),
                letter.reason.clone(),
            ]
        })
        .collect();
    grid
}

/// A letter for people: what is known of it, then the message.
fn described(letter: &DeadLetter) -> String {
    let [first, last] = times(letter);
    let lines = [
        ("id", Some(letter.id.clone())),
        ("reason", Some(letter.reason.clone())),
        ("attempts", letter.attempts.map(|n| n.to_string())),
        ("redriven", Some(letter.redriven.to_string())),
        ("first", Some(first)),
        ("last", Some(last)),
        ("source", letter.source.clone()),
        ("ordinal", letter.ordinal.map(|n| n.to_string())),
        ("version", letter.version.map(|n| n.to_string())),
        ("file", letter.file.map(|id| id.to_string())),
        ("bytes", Some(letter.bytes.to_string())),
    ];
    let mut text = String::new();
    for (name, value) in lines {
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            text.push_str(&format!("{name:<9} {value}\n"));
        }
    }
    match &letter.body {
        Some(Body::Text(body)) => text.push_str(&format!("\n{body}\n")),
        Some(Body::Base64(body)) => text.push_str(&format!("\nbase64    {body}\n")),
        None => {}
    }
    text
}

#[derive(Clone, Copy)]
enum Verb {
    Redrive,
    Purge,
}

impl Verb {
    fn name(self) -> &'static str {
        match self {
            Self::Redrive => "redrive",
            Self::Purge => "purge",
        }
    }

    fn done(self) -> &'static str {
        match self {
            Self::Redrive => "redriven",
            Self::Purge => "purged",
        }
    }
}

/// What a run came to.
#[derive(Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Summary {
    moved: u64,
    kept: Vec<Kept>,
    missing: Vec<String>,
}

impl Summary {
    fn add(&mut self, step: Moved) {
        self.moved += step.moved;
        self.missing.extend(step.missing);
        for kept in step.kept {
            // It is met again by each later request.
            if !self.kept.contains(&kept) {
                self.kept.push(kept);
            }
        }
    }

    fn grid(&self, verb: Verb) -> Grid {
        let mut grid = Grid::new(["result", "letters", "id", "reason"]);
        let row = |result: &str, count: u64, id: &str, reason: &str| {
            vec![
                result.to_owned(),
                count.to_string(),
                id.to_owned(),
                reason.to_owned(),
            ]
        };
        grid.rows.push(row(verb.done(), self.moved, "", ""));
        for kept in &self.kept {
            grid.rows.push(row("kept", 1, &kept.id, &kept.reason));
        }
        for id in &self.missing {
            let reason = "no letter has this id, or another request reads it now";
            grid.rows.push(row("missing", 0, id, reason));
        }
        grid
    }
}

async fn shift(
    gateway: &Gateway,
    output: Output,
    verb: Verb,
    selection: DlqSelection,
) -> Result<ExitCode, CliError> {
    let path = format!("{}/{}", path(&selection.pipeline), verb.name());
    let bar = ProgressBar::new_spinner();
    if let Ok(style) = ProgressStyle::with_template("{spinner} {pos} {msg}") {
        bar.set_style(style);
    }
    bar.set_message(format!("dead letters {}", verb.done()));
    let mut summary = Summary::default();
    let moved = match selection.all {
        true => all(gateway, &path, &bar, &mut summary).await,
        false => chosen(gateway, &path, &selection.ids, &bar, &mut summary).await,
    };
    bar.finish_and_clear();
    if moved.is_err() && summary.moved > 0 {
        let (count, done) = (summary.moved, verb.done());
        eprintln!("{count} dead letters were {done} before the error; the same command goes on");
    }
    moved?;
    print(output, &summary, &summary.grid(verb))?;
    let whole = summary.kept.is_empty() && summary.missing.is_empty();
    Ok(ExitCode::from(u8::from(!whole)))
}

async fn step(gateway: &Gateway, path: &str, selection: &Selection) -> Result<Moved, CliError> {
    let build = || gateway.request(Method::POST, path).json(selection);
    gateway.json(path, build).await
}

/// Every letter that is there now: what comes back meanwhile is left alone.
async fn all(
    gateway: &Gateway,
    path: &str,
    bar: &ProgressBar,
    summary: &mut Summary,
) -> Result<(), CliError> {
    let mut selection = Selection {
        all: true,
        limit: Some(STEP as u32),
        ..Selection::default()
    };
    loop {
        let moved = step(gateway, path, &selection).await?;
        selection.before = Some(moved.before);
        let (count, more) = (moved.moved, moved.more);
        summary.add(moved);
        bar.set_position(summary.moved);
        if !more || count == 0 {
            return Ok(());
        }
    }
}

async fn chosen(
    gateway: &Gateway,
    path: &str,
    ids: &[String],
    bar: &ProgressBar,
    summary: &mut Summary,
) -> Result<(), CliError> {
    for ids in ids.chunks(STEP) {
        let selection = Selection {
            ids: ids.to_vec(),
            ..Selection::default()
        };
        summary.add(step(gateway, path, &selection).await?);
        bar.set_position(summary.moved);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn letter() -> DeadLetter {
        DeadLetter {
            id: "planes/ann/k:3".into(),
            reason: "column `year`: is not an int".into(),
            attempts: Some(1),
            first_at: chrono::DateTime::from_timestamp_millis(2_000),
            last_at: chrono::DateTime::from_timestamp_millis(3_000),
            redriven: 1,
            source: Some("planes/ann/k".into()),
            ordinal: Some(3),
            version: None,
            file: None,
            bytes: 15,
            body: Some(Body::Text("{\"year\": \"soon\"}".into())),
        }
    }

    #[test]
    fn a_letter_is_told_with_its_times_and_its_message() {
        let text = described(&letter());
        for part in [
            "planes/ann/k:3",
            "is not an int",
            "1970-01-01 00:00:02",
            "1970-01-01 00:00:03",
            "{\"year\": \"soon\"}",
        ] {
            assert!(text.contains(part), "`{part}` is not in {text}");
        }
        assert!(!text.contains("version"), "{text}");
        assert_eq!(grid(&[letter()]).rows[0][2], "1");
    }

    #[test]
    fn what_was_left_is_told_once() {
        let mut summary = Summary::default();
        let kept = Kept {
            id: "a".into(),
            reason: "no file".into(),
        };
        for _ in 0..2 {
            summary.add(Moved {
                moved: 2,
                kept: vec![kept.clone()],
                ..Moved::default()
            });
        }
        assert_eq!((summary.moved, summary.kept.len()), (4, 1));
        assert_eq!(summary.grid(Verb::Redrive).rows[0][..2], ["redriven", "4"]);
    }
}
