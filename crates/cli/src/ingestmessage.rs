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
use uuid::Uuid;

use crate::args::{ConnectionArgs, Ingestmessage, Output};
use crate::client::Gateway;
use crate::connect;
use crate::error::CliError;
use crate::output::{Grid, print};

/// Most bytes of one request; the gateway takes more.
const REQUEST_BYTES: usize = 1 << 20;

/// What was sent.
#[derive(Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Sent {
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
    let gateway = connect::gateway(connection, Role::Writer).await?;
    let pipeline: PipelineConstraints = gateway
        .get(&format!("/v1/pipelines/{}/constraints", verb.pipeline), &[])
        .await?;
    let run_key = verb
        .key
        .clone()
        .unwrap_or_else(|| Uuid::new_v4().to_string());
    let bar = ProgressBar::no_length().with_style(
        ProgressStyle::with_template("{spinner} {pos} messages  {per_sec}  {elapsed}")
            .unwrap_or_else(|_| ProgressStyle::default_bar()),
    );
    let mut sender = Sender {
        gateway: &gateway,
        verb: &verb,
        key: run_key,
        chunk: 0,
        seen: 0,
        sent: Sent::default(),
        bar,
    };
    let mut batch = Batch::default();
    for source in sources(&verb.files) {
        for record in records(&source, &pipeline.fields)? {
            batch.push(&record.map_err(|e| file_error(&source, e))?);
            if batch.count >= verb.batch || batch.body.len() >= REQUEST_BYTES {
                sender.send(std::mem::take(&mut batch)).await?;
            }
        }
    }
    sender.send(batch).await?;
    sender.bar.finish_and_clear();
    let sent = sender.sent;
    let mut grid = Grid::new(["pipeline", "accepted", "rejected"]);
    grid.rows = vec![vec![
        verb.pipeline.clone(),
        sent.accepted.to_string(),
        sent.rejected.to_string(),
    ]];
    for fault in sent.errors.iter().take(20) {
        eprintln!(
            "record {}: {}",
            fault.record.unwrap_or_default(),
            fault.reason
        );
    }
    print(output, &sent, &grid)?;
    Ok(if sent.rejected == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(1)
    })
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
    key: String,
    chunk: u64,
    seen: u64,
    sent: Sent,
    bar: ProgressBar,
}

impl Sender<'_> {
    /// Sends one request; the key makes its retries harmless.
    async fn send(&mut self, batch: Batch) -> Result<(), CliError> {
        if batch.count == 0 {
            return Ok(());
        }
        let path = format!("/v1/pipelines/{}/messages", self.verb.pipeline);
        let key = format!("{}-{}", self.key, self.chunk);
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

fn sources(files: &[PathBuf]) -> Vec<Source> {
    if files.is_empty() {
        return vec![Source::StandardInput];
    }
    files.iter().cloned().map(Source::File).collect()
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
    match extension(path) {
        "csv" => Ok(csv_records(file, fields.to_vec())),
        "ndjson" | "jsonl" | "json" => Ok(lines(file)),
        other => Err(CliError::Usage(format!(
            "{}: `.{other}` is none of .ndjson, .jsonl, .json, .csv",
            path.display()
        ))),
    }
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
