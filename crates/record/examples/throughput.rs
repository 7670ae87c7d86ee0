//! Measures decoding of a CSV file against the bare `csv` crate, in one run, alternating:
//! `cargo run --release -p simbdp-record --example throughput -- flights.csv table.yaml [rounds]`.
//! Prints JSON: megabytes (10^6 bytes) per second, medians of the rounds, and their ratio.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use simbdp_api::pipeline::{Format, TableSpec};
use simbdp_record::{BatchLimits, Decoder, Origin, RowSchema, Rows};

type Error = Box<dyn std::error::Error>;

/// Bytes of a chunk, as a file or a decompressor gives them.
const CHUNK: usize = 64 << 10;

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

/// Rows and rejected records of the file.
fn decoded(bytes: &[u8], schema: &Arc<RowSchema>) -> Result<(u64, u64), Error> {
    let origin = Origin {
        source: "bench".to_owned(),
        version: 0,
    };
    let mut decoder = Decoder::new(Format::Csv, schema.clone(), origin);
    // Rows go on to the database in batches; so do they here, to nowhere.
    let mut rows = Rows::bounded(BatchLimits {
        rows: 512,
        bytes: usize::MAX,
    });
    for chunk in bytes.chunks(CHUNK) {
        let mut rest = chunk;
        while !rest.is_empty() {
            rest = &rest[decoder.push(rest, &mut rows, &mut |_, _| {})?..];
            if rows.is_full() {
                rows.clear();
            }
        }
    }
    let totals = decoder.finish(&mut rows, &mut |_, _| {})?;
    Ok((totals.accepted, totals.rejected))
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
    let rate = |started: Instant| bytes.len() as f64 / 1e6 / started.elapsed().as_secs_f64();
    let (mut bare_rates, mut our_rates) = (Vec::new(), Vec::new());
    let (mut records, mut counts) = (0, (0, 0));
    for _ in 0..rounds {
        let started = Instant::now();
        records = bare(&bytes)?;
        bare_rates.push(rate(started));
        let started = Instant::now();
        counts = decoded(&bytes, &schema)?;
        our_rates.push(rate(started));
    }
    let (bare, ours) = (median(bare_rates), median(our_rates));
    let result = serde_json::json!({
        "bytes": bytes.len(), "rounds": rounds, "records": records, "rows": counts.0, "rejected": counts.1,
        "bareMBps": bare, "decodedMBps": ours, "ratio": ours / bare,
    });
    println!("{result}");
    Ok(())
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
