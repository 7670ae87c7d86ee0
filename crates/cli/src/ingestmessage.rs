//! `ingestmessage`: records to a stream pipeline, in requests of many, each safe to repeat by its key.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use indicatif::{ProgressBar, ProgressStyle};
use reqwest::Method;
use serde::Serialize;
use serde_json::{Map, Value, json};
use simbdp_api::column_type::{ColumnType, ScalarType};
use simbdp_api::tenant::Role;
use simbdp_api::wire::rest::{Fault, Field, MessagesResult, PipelineConstraints};
use tokio::sync::mpsc;
use uuid::Uuid;

use crate::args::{ConnectionArgs, Ingestmessage, Output};
use crate::client::Gateway;
use crate::connect;
use crate::error::CliError;
use crate::output::{Grid, print};
use crate::signals;

/// Most bytes of one request; the gateway takes more.
const REQUEST_BYTES: usize = 1 << 20;

/// Requests that are read ahead of the one that is sent.
const READ_AHEAD: usize = 2;

/// What was sent.
#[derive(Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Sent {
    /// Idempotency key of the run.
    key: String,
    accepted: u64,
    rejected: u64,
    /// Faults by the number of the record in the input, from 0.
    errors: Vec<Fault>,
}

/// Runs the verb: exit code 1 when a record was rejected.
pub async fn run(
    connection: &ConnectionArgs,
    output: Output,
    verb: Ingestmessage,
) -> Result<ExitCode, CliError> {
    let sources = sources(&verb.files)?;
    let gateway = connect::gateway(connection, Role::Writer).await?;
    let pipeline: PipelineConstraints = gateway
        .get(&format!("/v1/pipelines/{}/constraints", verb.pipeline), &[])
        .await?;
    let key = verb.key.clone();
    let mut sender = Sender {
        gateway: &gateway,
        verb: &verb,
        chunk: 0,
        seen: 0,
        sent: Sent {
            key: key.unwrap_or_else(|| Uuid::new_v4().to_string()),
            ..Sent::default()
        },
        bar: progress(),
    };
    let batches = read(sources, pipeline.fields, verb.batch);
    // Biased: it listens for signals from before the first request on.
    let ended = tokio::select! {
        biased;
        signal = signals::interrupted() => {
            signal.map_err(CliError::from).and(Err(CliError::Interrupted))
        }
        ended = sender.send_all(batches) => ended,
    };
    sender.bar.finish_and_clear();
    let sent = sender.sent;
    show(&sent, &verb.pipeline, output)?;
    match ended {
        Ok(()) => Ok(ExitCode::from(u8::from(sent.rejected > 0))),
        Err(error) => {
            eprintln!("{}", how_to_resume(&sent, connection, &verb));
            Err(error)
        }
    }
}

fn progress() -> ProgressBar {
    ProgressBar::no_length().with_style(
        ProgressStyle::with_template("{spinner} {pos} messages  {per_sec}  {elapsed}")
            .unwrap_or_else(|_| ProgressStyle::default_bar()),
    )
}

fn show(sent: &Sent, pipeline: &str, output: Output) -> Result<(), CliError> {
    for fault in sent.errors.iter().take(20) {
        let record = fault.record.unwrap_or_default();
        eprintln!("record {record}: {}", fault.reason);
    }
    let mut grid = Grid::new(["pipeline", "key", "accepted", "rejected"]);
    grid.rows = vec![vec![
        pipeline.to_owned(),
        sent.key.clone(),
        sent.accepted.to_string(),
        sent.rejected.to_string(),
    ]];
    print(output, sent, &grid)
}

/// The requests of a run are cut out of the input by `--batch`, and each has its key of the run's.
fn how_to_resume(sent: &Sent, connection: &ConnectionArgs, verb: &Ingestmessage) -> String {
    let files: String = verb
        .files
        .iter()
        .map(|file| format!(" {}", quoted(&file.display().to_string())))
        .collect();
    format!(
        "not everything was sent; to go on without doubles, send the same input again with the same key:\n  \
         {} ingestmessage {}{files} --key {} --batch {}",
        connection.hint(),
        verb.pipeline,
        quoted(&sent.key),
        verb.batch
    )
}

/// A word as a shell takes it for one.
fn quoted(word: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./:@%+,=".contains(&byte);
    if word.bytes().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

/// Cuts the input into requests, on a thread of its own: reading standard input cannot be given up.
fn read(
    sources: Vec<Source>,
    fields: Vec<Field>,
    most: u32,
) -> mpsc::Receiver<Result<Batch, CliError>> {
    let (batches, receiver) = mpsc::channel(READ_AHEAD);
    std::thread::spawn(move || {
        let mut batch = Batch::default();
        for record in sources.iter().flat_map(|source| each(source, &fields)) {
            let full = match record {
                Ok(record) => {
                    batch.push(&record);
                    batch.count >= most || batch.body.len() >= REQUEST_BYTES
                }
                Err(error) => {
                    // What was read before is not sent: it would be cut otherwise once the input is mended.
                    let _ = batches.blocking_send(Err(error));
                    return;
                }
            };
            if full
                && batches
                    .blocking_send(Ok(std::mem::take(&mut batch)))
                    .is_err()
            {
                return;
            }
        }
        let _ = batches.blocking_send(Ok(batch));
    });
    receiver
}

fn each<'a>(
    source: &'a Source,
    fields: &[Field],
) -> Box<dyn Iterator<Item = Result<String, CliError>> + 'a> {
    match records(source, fields) {
        Ok(records) => Box::new(records.map(|record| record.map_err(|e| file_error(source, e)))),
        Err(error) => Box::new(std::iter::once(Err(error))),
    }
}

/// Records of one request, as NDJSON.
#[derive(Default)]
struct Batch {
    body: Vec<u8>,
    count: u32,
}

impl Batch {
    fn push(&mut self, record: &str) {
        self.body.extend_from_slice(record.as_bytes());
        self.body.push(b'\n');
        self.count += 1;
    }
}

struct Sender<'a> {
    gateway: &'a Gateway,
    verb: &'a Ingestmessage,
    chunk: u64,
    seen: u64,
    sent: Sent,
    bar: ProgressBar,
}

impl Sender<'_> {
    async fn send_all(
        &mut self,
        mut batches: mpsc::Receiver<Result<Batch, CliError>>,
    ) -> Result<(), CliError> {
        while let Some(batch) = batches.recv().await {
            self.send(batch?).await?;
        }
        Ok(())
    }

    /// Sends one request; the key makes its retries harmless.
    async fn send(&mut self, batch: Batch) -> Result<(), CliError> {
        if batch.count == 0 {
            return Ok(());
        }
        let path = format!("/v1/pipelines/{}/messages", self.verb.pipeline);
        let key = format!("{}-{}", self.sent.key, self.chunk);
        let body = bytes::Bytes::from(batch.body);
        let request = || {
            self.gateway
                .request(Method::POST, &path)
                .header("idempotency-key", &key)
                .header("content-type", "application/x-ndjson")
                .body(body.clone())
        };
        let answer = self.gateway.json(&path, request).await;
        let result: MessagesResult = match answer {
            Ok(result) => result,
            // None of the records was right: what the others are is still worth knowing.
            Err(CliError::Problem { problem, .. })
                if problem.status == 422 && !problem.errors.is_empty() =>
            {
                MessagesResult {
                    source: key,
                    accepted: 0,
                    rejected: u64::from(batch.count),
                    errors: problem.errors,
                }
            }
            Err(error) => return Err(error),
        };
        self.sent.accepted += result.accepted;
        self.sent.rejected += result.rejected;
        let seen = self.seen;
        self.sent
            .errors
            .extend(result.errors.into_iter().map(|mut fault| {
                fault.record = fault.record.map(|record| record + seen);
                fault
            }));
        self.chunk += 1;
        self.seen += u64::from(batch.count);
        self.bar.inc(u64::from(batch.count));
        Ok(())
    }
}

/// Where records come from.
enum Source {
    StandardInput,
    File(PathBuf),
}

/// Files whose format is known, or else nothing is sent.
fn sources(files: &[PathBuf]) -> Result<Vec<Source>, CliError> {
    if files.is_empty() {
        return Ok(vec![Source::StandardInput]);
    }
    let known = |path: &PathBuf| match extension(path) {
        "csv" | "ndjson" | "jsonl" | "json" => Ok(Source::File(path.clone())),
        other => Err(CliError::Usage(format!(
            "{}: `.{other}` is none of .ndjson, .jsonl, .json, .csv",
            path.display()
        ))),
    };
    files.iter().map(known).collect()
}

fn file_error(source: &Source, error: std::io::Error) -> CliError {
    let path = match source {
        Source::StandardInput => PathBuf::from("standard input"),
        Source::File(path) => path.clone(),
    };
    CliError::File {
        path,
        source: error,
    }
}

type Records = Box<dyn Iterator<Item = std::io::Result<String>>>;

fn records(source: &Source, fields: &[Field]) -> Result<Records, CliError> {
    let path = match source {
        Source::StandardInput => return Ok(lines(std::io::stdin())),
        Source::File(path) => path,
    };
    let file = File::open(path).map_err(|e| file_error(source, e))?;
    Ok(match extension(path) {
        "csv" => csv_records(file, fields.to_vec()),
        _ => lines(file),
    })
}

fn extension(path: &Path) -> &str {
    path.extension()
        .and_then(|extension| extension.to_str())
        .unwrap_or_default()
}

fn lines(input: impl Read + 'static) -> Records {
    let lines = BufReader::new(input).lines();
    Box::new(lines.filter(|line| !line.as_ref().is_ok_and(|line| line.trim().is_empty())))
}

/// CSV records as JSON objects of the pipeline's fields; what is not of its field's type goes as text, and
/// the gateway says what it thinks of it.
fn csv_records(file: File, fields: Vec<Field>) -> Records {
    let mut reader = csv::Reader::from_reader(BufReader::new(file));
    let header = match reader.headers() {
        Ok(header) => header.clone(),
        Err(error) => return Box::new(std::iter::once(Err(std::io::Error::other(error)))),
    };
    Box::new(reader.into_records().map(move |record| {
        let record = record.map_err(std::io::Error::other)?;
        let object: Map<String, Value> = header
            .iter()
            .zip(record.iter())
            .map(|(name, text)| {
                (
                    name.to_owned(),
                    field_value(fields.iter().find(|f| f.name == name), text),
                )
            })
            .collect();
        Ok(Value::Object(object).to_string())
    }))
}

fn field_value(field: Option<&Field>, text: &str) -> Value {
    let Some(ColumnType::Scalar(scalar)) = field.map(|field| field.column_type) else {
        return serde_json::from_str(text).unwrap_or_else(|_| json!(text));
    };
    if text.is_empty() && scalar != ScalarType::Text {
        return Value::Null;
    }
    let parsed = match scalar {
        ScalarType::Int | ScalarType::Bigint | ScalarType::Float | ScalarType::Double => {
            text.parse::<serde_json::Number>().ok().map(Value::Number)
        }
        ScalarType::Boolean => text.parse::<bool>().ok().map(Value::Bool),
        _ => None,
    };
    parsed.unwrap_or_else(|| json!(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(column_type: &str) -> Field {
        Field {
            name: "f".into(),
            column: "f".into(),
            column_type: column_type.parse().unwrap(),
            required: false,
        }
    }

    #[test]
    fn advice_can_be_pasted() {
        assert_eq!(quoted("a/b-1.csv"), "a/b-1.csv");
        assert_eq!(quoted("my file.csv"), "'my file.csv'");
        assert_eq!(quoted("it's"), r"'it'\''s'");
    }

    #[test]
    fn csv_fields_become_json_of_their_type() {
        assert_eq!(field_value(Some(&field("int")), "5"), json!(5));
        assert_eq!(field_value(Some(&field("int")), "NA"), json!("NA"));
        assert_eq!(field_value(Some(&field("int")), ""), Value::Null);
        assert_eq!(field_value(Some(&field("text")), "5"), json!("5"));
        assert_eq!(field_value(Some(&field("text")), ""), json!(""));
        assert_eq!(field_value(Some(&field("boolean")), "true"), json!(true));
        assert_eq!(
            field_value(Some(&field("list<int>")), "[1,2]"),
            json!([1, 2])
        );
        assert_eq!(field_value(None, "x"), json!("x"));
    }
}
