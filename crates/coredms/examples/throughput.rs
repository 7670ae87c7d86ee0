//! Measures what becomes of a CSV file on its way to Cassandra, without one: decoded and validated, then
//! encoded as well, against the bare `csv` crate, in one run, alternating:
//! `cargo run --release -p simbdp-coredms --example throughput -- flights.csv table.yaml [rounds]`.
//! Prints JSON: megabytes (10^6 bytes) of input per second, medians of the rounds, and their ratios.

use std::process::ExitCode;
use std::sync::Arc;

use simbdp_api::pipeline::{Format, TableSpec};
use simbdp_coredms::cassandra::RowEncoder;
use simbdp_record::{BatchLimits, Decoder, Origin, RowSchema, Rows};

type Error = Box<dyn std::error::Error>;

/// Bytes of a chunk, as the ingest app reads them.
const CHUNK: usize = 32 << 10;
/// Bounds of a batch, as the ingest app has them.
const LIMITS: BatchLimits = BatchLimits {
    rows: 512,
    bytes: 256 << 10,
};

/// Records of the file, counted by the bare crate.
fn bare(bytes: &[u8]) -> Result<u64, Error> {
    let mut reader = csv::Reader::from_reader(bytes);
    let mut record = csv::ByteRecord::new();
    let mut records = 0;
    while reader.read_byte_record(&mut record)? {
        records += 1;
    }
    Ok(records)
}

/// Hands the rows of the file out in batches; returns how many there are and how many are rejected.
fn decode(
    bytes: &[u8],
    schema: &Arc<RowSchema>,
    mut batch: impl FnMut(&Rows) -> Result<(), Error>,
) -> Result<(u64, u64), Error> {
    let origin = Origin {
        source: "bench".to_owned(),
        version: 0,
        first: 0,
    };
    let mut decoder = Decoder::new(Format::Csv, schema.clone(), origin);
    let mut rows = Rows::bounded(LIMITS);
    for chunk in bytes.chunks(CHUNK) {
        let mut rest = chunk;
        while !rest.is_empty() {
            rest = &rest[decoder.push(rest, &mut rows, &mut |_, _| {})?..];
            if rows.is_full() {
                batch(&rows)?;
                rows.clear();
            }
        }
    }
    let totals = decoder.finish(&mut rows, &mut |_, _| {})?;
    batch(&rows)?;
    Ok((totals.accepted, totals.rejected))
}

/// Bytes of the file's rows, encoded.
fn encode(bytes: &[u8], schema: &Arc<RowSchema>, encoder: &RowEncoder) -> Result<u64, Error> {
    let mut encoded = 0;
    decode(bytes, schema, |rows| {
        encoded += encoder.encode(rows)?.bytes() as u64;
        Ok(())
    })?;
    Ok(encoded)
}

/// Seconds that this thread has been on a processor: what else the machine does is not counted
/// (<https://docs.kernel.org/scheduler/sched-stats.html>).
fn busy() -> Result<f64, Error> {
    let schedstat = std::fs::read_to_string("/proc/thread-self/schedstat")?;
    let nanoseconds: u64 = schedstat.split(' ').next().unwrap_or_default().parse()?;
    Ok(nanoseconds as f64 / 1e9)
}

fn median(mut rates: Vec<f64>) -> f64 {
    rates.sort_by(f64::total_cmp);
    rates.get(rates.len() / 2).copied().unwrap_or_default()
}

fn run() -> Result<(), Error> {
    let usage = "usage: throughput FILE.csv TABLE.yaml [ROUNDS]";
    let mut arguments = std::env::args().skip(1);
    let bytes = std::fs::read(arguments.next().ok_or(usage)?)?;
    let table: TableSpec = serde_yaml::from_slice(&std::fs::read(arguments.next().ok_or(usage)?)?)?;
    let rounds: usize = arguments.next().map_or(Ok(3), |text| text.parse())?;
    let schema = Arc::new(RowSchema::new(&table)?);
    let encoder = RowEncoder::new(&table)?;
    let rate = |seconds: f64| bytes.len() as f64 / 1e6 / seconds;
    let (mut bare_rates, mut decoded_rates, mut encoded_rates) = (vec![], vec![], vec![]);
    let (mut records, mut counts, mut encoded) = (0, (0, 0), 0);
    for _ in 0..rounds {
        let started = busy()?;
        records = bare(&bytes)?;
        bare_rates.push(rate(busy()? - started));
        let started = busy()?;
        counts = decode(&bytes, &schema, |_| Ok(()))?;
        decoded_rates.push(rate(busy()? - started));
        let started = busy()?;
        encoded = encode(&bytes, &schema, &encoder)?;
        encoded_rates.push(rate(busy()? - started));
    }
    let (bare, decoded_rate, encoded_rate) = (
        median(bare_rates),
        median(decoded_rates),
        median(encoded_rates),
    );
    let result = serde_json::json!({
        "bytes": bytes.len(), "rounds": rounds, "records": records,
        "rows": counts.0, "rejected": counts.1, "encodedBytes": encoded,
        "bareMBps": bare,
        "decodedMBps": decoded_rate, "decodedRatio": decoded_rate / bare,
        "encodedMBps": encoded_rate, "encodedRatio": encoded_rate / bare,
    });
    println!("{result}");
    Ok(())
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
