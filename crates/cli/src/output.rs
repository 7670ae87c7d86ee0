//! Printing results as a table, JSON or CSV.

use std::io::Write;

use comfy_table::{ContentArrangement, Table, presets};
use serde::Serialize;

use crate::args::Output;
use crate::error::CliError;

/// Rows of text under a header, for people and spreadsheets.
pub struct Grid {
    pub header: Vec<String>,
    pub rows: Vec<Vec<String>>,
}

impl Grid {
    /// An empty grid with a header.
    pub fn new<const N: usize>(header: [&str; N]) -> Self {
        Self {
            header: header.map(str::to_owned).to_vec(),
            rows: Vec::new(),
        }
    }
}

/// Prints a result: `json` as it is, `grid` for the other two.
pub fn print<T: Serialize>(output: Output, json: &T, grid: &Grid) -> Result<(), CliError> {
    let mut out = std::io::stdout().lock();
    match output {
        Output::Json => {
            serde_json::to_writer_pretty(&mut out, json).map_err(std::io::Error::from)?;
            writeln!(out)?;
        }
        Output::Csv => write_csv(&mut out, grid, true)?,
        Output::Table => write_table(&mut out, grid)?,
    }
    Ok(())
}

/// Results that come one after the other: a line of JSON each, one header for all CSV.
pub struct Series {
    output: Output,
    begun: bool,
}

impl Series {
    /// None yet.
    pub fn new(output: Output) -> Self {
        Self {
            output,
            begun: false,
        }
    }

    /// Prints the next one.
    pub fn show<T: Serialize>(&mut self, json: &T, grid: &Grid) -> Result<(), CliError> {
        let first = !std::mem::replace(&mut self.begun, true);
        let mut out = std::io::stdout().lock();
        match self.output {
            Output::Json => {
                let line = serde_json::to_string(json).map_err(std::io::Error::from)?;
                writeln!(out, "{line}")?;
            }
            Output::Csv => write_csv(&mut out, grid, first)?,
            Output::Table => write_table(&mut out, grid)?,
        }
        Ok(())
    }
}

fn write_csv(out: &mut impl Write, grid: &Grid, header: bool) -> Result<(), CliError> {
    let mut writer = csv::Writer::from_writer(out);
    let io = |e: csv::Error| CliError::Write(std::io::Error::other(e));
    if header {
        writer.write_record(&grid.header).map_err(io)?;
    }
    for row in &grid.rows {
        writer.write_record(row).map_err(io)?;
    }
    Ok(writer.flush()?)
}

fn write_table(out: &mut impl Write, grid: &Grid) -> Result<(), CliError> {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_content_arrangement(ContentArrangement::Dynamic);
    table.set_header(grid.header.iter().map(|name| name.to_uppercase()));
    for row in &grid.rows {
        table.add_row(row);
    }
    Ok(writeln!(out, "{}", table.trim_fmt())?)
}

/// A cell for something that may be absent.
pub fn cell<T: ToString>(value: Option<T>) -> String {
    value.map_or_else(String::new, |value| value.to_string())
}
