//! Decodes mended rows: NDJSON of [`RejectedRow`], whose `raw` is a record in the format of the file that it was rejected
//! from, and whose `ordinal` says which one. Each is decoded by itself, so that none can shift another's identity.

use std::sync::Arc;

use simbdp_api::pipeline::Format;
use simbdp_api::wire::rest::RejectedRow;

use crate::RAW_LIMIT;
use crate::decoder::{Decoder, FileFault, Origin, Totals};
use crate::framing::{Line, LineFramer};
use crate::row::version;
use crate::rows::Rows;
use crate::schema::RowSchema;

#[derive(Debug)]
pub(crate) struct MendedRows {
    framer: LineFramer,
    reader: Reader,
}

#[derive(Debug)]
struct Reader {
    format: Format,
    schema: Arc<RowSchema>,
    origin: Origin,
    header: Option<String>,
    totals: Totals,
}

impl MendedRows {
    pub(crate) fn new(format: Format, schema: Arc<RowSchema>, origin: Origin) -> Self {
        Self {
            framer: LineFramer::new(),
            reader: Reader {
                format,
                schema,
                origin,
                header: None,
                totals: Totals::default(),
            },
        }
    }

    pub(crate) fn push(
        &mut self,
        chunk: &[u8],
        rows: &mut Rows,
        rejects: &mut impl FnMut(u64, RejectedRow),
    ) -> Result<usize, FileFault> {
        let mut at = 0;
        while !rows.is_full()
            && let Some(line) = self.framer.next(chunk, &mut at)
        {
            self.reader.line(&line, rows, rejects)?;
        }
        Ok(at)
    }

    pub(crate) fn finish(
        &mut self,
        rows: &mut Rows,
        rejects: &mut impl FnMut(u64, RejectedRow),
    ) -> Result<(), FileFault> {
        if let Some(line) = self.framer.finish() {
            self.reader.line(&line, rows, rejects)?;
        }
        match self.reader.totals.records {
            0 => Err(FileFault::Empty(Format::Ndjson)),
            _ => Ok(()),
        }
    }

    pub(crate) fn header(&self) -> Option<&str> {
        self.reader.header.as_deref()
    }

    pub(crate) fn totals(&self) -> Totals {
        self.reader.totals
    }
}

impl Reader {
    fn line(
        &mut self,
        line: &Line<'_>,
        rows: &mut Rows,
        rejects: &mut impl FnMut(u64, RejectedRow),
    ) -> Result<(), FileFault> {
        if line.raw.trim_ascii().is_empty() && !line.too_long {
            return Ok(());
        }
        let place = self.totals.records;
        let read = match parse(line) {
            Ok(row) => self.row(row, rows)?,
            Err(rejected) => Some(*rejected),
        };
        self.totals.records += 1;
        match read {
            None => self.totals.accepted += 1,
            Some(rejected) => {
                self.totals.rejected += 1;
                rejects(place, rejected);
            }
        }
        Ok(())
    }

    /// Adds a mended row to `rows`, or says why it is none.
    fn row(
        &mut self,
        mut row: RejectedRow,
        rows: &mut Rows,
    ) -> Result<Option<RejectedRow>, FileFault> {
        if let Some(header) = row.header.take() {
            self.check(&header)?;
            self.header = Some(header);
        }
        if self.format == Format::Csv && self.header.is_none() {
            return Err(FileFault::NoHeader);
        }
        let refused = |reason: String, row: RejectedRow| {
            let column = None;
            Ok(Some(RejectedRow {
                reason,
                column,
                ..row
            }))
        };
        let Some(ordinal) = row.ordinal else {
            let reason = "lacks `ordinal`, which says which record of the file it is: leave it as the reject file has it";
            return refused(reason.to_owned(), row);
        };
        if row.cut {
            let reason =
                "`raw` was cut and is not the whole record: write it whole, and take `cut` away";
            return refused(reason.to_owned(), row);
        }
        // Tried first: only what is exactly one record may have the ordinal.
        let mut found = Vec::new();
        match self.decode(&row.raw, ordinal, &mut Rows::default(), &mut found) {
            Err(fault) => refused(fault.to_string(), row),
            Ok(1) => match found.pop() {
                Some(fault) => Ok(Some(RejectedRow {
                    line: row.line,
                    ..fault
                })),
                None => self
                    .decode(&row.raw, ordinal, rows, &mut found)
                    .map(|_| None),
            },
            Ok(records) => refused(
                format!("`raw` is {records} records: each line mends one, and keeps its ordinal"),
                row,
            ),
        }
    }

    /// Whether a header line names the table's fields.
    fn check(&self, header: &str) -> Result<(), FileFault> {
        if self.format != Format::Csv {
            return Ok(());
        }
        let mut decoder = Decoder::new(self.format, self.schema.clone(), self.origin.clone());
        let mut rows = Rows::default();
        decoder.push(format!("{header}\n").as_bytes(), &mut rows, &mut |_, _| {})?;
        decoder.finish(&mut rows, &mut |_, _| {}).map(drop)
    }

    /// How many records `raw` is, decoded with the ordinal of the first.
    fn decode(
        &self,
        raw: &str,
        ordinal: u64,
        rows: &mut Rows,
        rejected: &mut Vec<RejectedRow>,
    ) -> Result<u64, FileFault> {
        let origin = Origin {
            source: self.origin.source.clone(),
            version: version(self.origin.version, self.totals.records),
            first: ordinal,
        };
        let mut decoder = Decoder::new(self.format, self.schema.clone(), origin);
        let mut reject = |_, row| rejected.push(row);
        if let Some(header) = self.header.as_ref().filter(|_| self.format == Format::Csv) {
            decoder.push(format!("{header}\n").as_bytes(), rows, &mut reject)?;
        }
        decoder.push(raw.as_bytes(), rows, &mut reject)?;
        match decoder.finish(rows, &mut reject) {
            Ok(totals) => Ok(totals.records),
            Err(FileFault::Empty(_)) => Ok(0),
            Err(fault) => Err(fault),
        }
    }
}

/// A line as a row; one that is none is rejected as it is.
fn parse(line: &Line<'_>) -> Result<RejectedRow, Box<RejectedRow>> {
    let rejected = |reason: String| {
        let shown = &line.raw[..line.raw.len().min(RAW_LIMIT)];
        Box::new(RejectedRow {
            line: line.number,
            ordinal: None,
            column: None,
            reason,
            raw: String::from_utf8_lossy(shown).into_owned(),
            cut: line.raw.len() > RAW_LIMIT,
            header: None,
        })
    };
    if line.too_long {
        return Err(rejected(
            "the line is longer than a record may be".to_owned(),
        ));
    }
    serde_json::from_slice(line.raw).map_err(|error| {
        rejected(format!(
            "is no row of a reject file ({error}): write {{\"line\": …, \"ordinal\": …, \"reason\": …, \"raw\": …}} as the reject file has it"
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::row::Row;

    fn schema(keyed: bool) -> Arc<RowSchema> {
        let mut table = serde_json::json!({
            "name": "t",
            "columns": [{"name": "id", "type": "int"}, {"name": "name", "type": "text"}],
        });
        if keyed {
            table["primaryKey"] = serde_json::json!({"partition": ["id"]});
        }
        Arc::new(RowSchema::new(&serde_json::from_value(table).unwrap()).unwrap())
    }

    fn origin() -> Origin {
        Origin {
            source: "f".into(),
            version: 100,
            first: 0,
        }
    }

    type Decoded = (Vec<Row>, Vec<(u64, RejectedRow)>);

    fn decode(format: Format, keyed: bool, lines: &[&str]) -> Result<Decoded, FileFault> {
        let mut decoder = Decoder::mended(format, schema(keyed), origin());
        let (mut rows, mut rejected) = (Rows::default(), Vec::new());
        let mut reject = |place, row| rejected.push((place, row));
        // Cut anywhere: the result is the same.
        for chunk in lines.join("\n").as_bytes().chunks(7) {
            decoder.push(chunk, &mut rows, &mut reject)?;
        }
        decoder.finish(&mut rows, &mut reject)?;
        Ok((rows.iter().map(Row::from).collect(), rejected))
    }

    fn line(ordinal: u64, raw: &str) -> String {
        serde_json::json!({"line": ordinal + 2, "ordinal": ordinal, "reason": "r", "raw": raw})
            .to_string()
    }

    #[test]
    fn a_row_keeps_its_ordinal_and_has_a_version_of_its_own() {
        let mut first: serde_json::Value = serde_json::from_str(&line(20_007, "b,7")).unwrap();
        first["header"] = "name,id".into();
        let lines = [first.to_string(), line(3, "\"a\nb\",8")];
        let lines: Vec<_> = lines.iter().map(String::as_str).collect();
        let (rows, rejected) = decode(Format::Csv, false, &lines).unwrap();
        assert!(rejected.is_empty(), "{rejected:?}");
        let shown: Vec<_> = rows
            .iter()
            .map(|row| (format!("{:?}", row.values), row.version))
            .collect();
        assert_eq!((shown[0].1, shown[1].1), (100, 101));
        for part in ["\"f\"", "Int(2)", "Bigint(20007)", "Int(7)", "\"b\""] {
            assert!(shown[0].0.contains(part), "{part}: {}", shown[0].0);
        }
        assert!(shown[1].0.contains("Bigint(3)"), "{}", shown[1].0);
    }

    #[test]
    fn what_is_not_one_record_is_rejected_and_shifts_no_other() {
        let two = line(0, "{\"id\": 1}\n{\"id\": 2}");
        let wrong = line(5, "{\"id\": \"soon\"}");
        let cut = r#"{"line": 9, "ordinal": 7, "reason": "r", "raw": "{\"id\": 1}", "cut": true}"#;
        let nameless = r#"{"line": 9, "reason": "r", "raw": "{\"id\": 1}"}"#;
        let good = line(9, "{\"id\": 4}");
        let empty = line(1, " ");
        let lines: [&str; 8] = [&two, &wrong, cut, nameless, "{}", "no json", &empty, &good];
        let (rows, rejected) = decode(Format::Ndjson, true, &lines).unwrap();
        assert_eq!(rows.len(), 1);
        assert_eq!(rows[0].version, 107);
        let places: Vec<_> = rejected.iter().map(|(place, _)| *place).collect();
        assert_eq!(places, [0, 1, 2, 3, 4, 5, 6]);
        for ((_, row), part) in rejected.iter().zip([
            "2 records",
            "int",
            "write it whole",
            "lacks `ordinal`",
            "is no row of a reject file",
            "is no row of a reject file",
            "0 records",
        ]) {
            assert!(row.reason.contains(part), "{part}: {}", row.reason);
        }
        let (_, wrong) = &rejected[1];
        assert_eq!((wrong.line, wrong.ordinal), (7, Some(5)));
    }

    #[test]
    fn rows_of_csv_need_the_header_that_they_were_read_by() {
        let lines = [line(0, "1,a")];
        let fault = decode(Format::Csv, true, &[&lines[0]]).unwrap_err();
        assert_eq!(fault, FileFault::NoHeader);
        let mut wrong: serde_json::Value = serde_json::from_str(&lines[0]).unwrap();
        wrong["header"] = "id,nam".into();
        let fault = decode(Format::Csv, true, &[&wrong.to_string()]).unwrap_err();
        assert!(matches!(fault, FileFault::Fields { .. }), "{fault}");
        let mut open: serde_json::Value = serde_json::from_str(&line(0, "1,\"a")).unwrap();
        open["header"] = "id,name".into();
        let (_, rejected) = decode(Format::Csv, true, &[&open.to_string()]).unwrap();
        assert!(
            rejected[0].1.reason.contains("never closed"),
            "{rejected:?}"
        );
        assert_eq!(
            decode(Format::Csv, true, &["", " "]).unwrap_err(),
            FileFault::Empty(Format::Ndjson)
        );
    }
}
