//! Encodes rows of one table [pure, but for the clock that their TTL is counted by].

use std::time::{SystemTime, UNIX_EPOCH};

use simbdp_api::pipeline::TableSpec;
use simbdp_record::Rows;

use super::encode::{EncodedRows, Encoding, Layout};
use super::schema;
use crate::store::StoreError;

const MICROS: i64 = 1_000_000;

/// Turns rows of one table into what is sent.
#[derive(Clone, Debug)]
pub struct RowEncoder {
    pub(super) layout: Layout,
    /// Seconds that a row lives, counted from its version.
    ttl: Option<i64>,
}

/// How long a row still lives.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Life {
    ForEver,
    Seconds(i32),
    Over,
}

fn life(ttl: Option<i64>, version: i64, now: i64) -> Life {
    let Some(ttl) = ttl else {
        return Life::ForEver;
    };
    // Counted from acceptance and rounded up, so that a late write does not outlive, and no row dies early.
    let left = version
        .saturating_add(ttl * MICROS)
        .saturating_sub(now)
        .saturating_add(MICROS - 1)
        / MICROS;
    match i32::try_from(left.min(ttl)) {
        Ok(seconds) if seconds > 0 => Life::Seconds(seconds),
        _ => Life::Over,
    }
}

fn now_micros() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .ok()
        .and_then(|since| i64::try_from(since.as_micros()).ok())
        .unwrap_or(0)
}

impl RowEncoder {
    /// An encoder of the declared table's rows.
    ///
    /// # Errors
    /// [`StoreError::Permanent`] when the declared TTL is none.
    pub fn new(table: &TableSpec) -> Result<Self, StoreError> {
        let (partition, clustering) = schema::key(table);
        let clustering: Vec<_> = clustering.into_iter().map(|(name, _)| name).collect();
        let ttl = match &table.ttl {
            Some(ttl) => Some(i64::from(
                ttl.seconds()
                    .map_err(|error| StoreError::Permanent(error.to_string()))?,
            )),
            None => None,
        };
        Ok(Self {
            layout: Layout::new(schema::columns(table), &partition, &clustering),
            ttl,
        })
    }

    /// Whether rows end their lives by themselves.
    pub(super) fn has_ttl(&self) -> bool {
        self.ttl.is_some()
    }

    /// Encodes rows; those whose time is already over are left out.
    ///
    /// # Errors
    /// [`StoreError::Permanent`], naming the column, for a row that the table cannot hold.
    pub fn encode(&self, rows: &Rows) -> Result<EncodedRows, StoreError> {
        let now = now_micros();
        let mut encoding = Encoding::new(&self.layout, rows);
        for row in rows.iter() {
            let ttl = match life(self.ttl, row.version, now) {
                Life::Over => continue,
                Life::ForEver => None,
                Life::Seconds(seconds) => Some(seconds),
            };
            encoding.row(row, ttl).map_err(StoreError::Permanent)?;
        }
        Ok(encoding.finish())
    }
}

#[cfg(test)]
mod tests {
    use super::{Life, MICROS, life};

    #[test]
    fn a_row_lives_from_its_acceptance() {
        assert_eq!(life(None, 0, i64::MAX), Life::ForEver);
        assert_eq!(life(Some(60), 0, 0), Life::Seconds(60));
        assert_eq!(life(Some(60), 0, 10 * MICROS), Life::Seconds(50));
        assert_eq!(life(Some(60), 0, 59 * MICROS + 1), Life::Seconds(1));
        assert_eq!(life(Some(60), 0, 60 * MICROS), Life::Over);
        assert_eq!(life(Some(60), 0, i64::MAX), Life::Over);
        // A version ahead of this clock does not live longer than declared.
        assert_eq!(life(Some(60), 30 * MICROS, 0), Life::Seconds(60));
    }
}
