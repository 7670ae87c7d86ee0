//! Encodes rows of one table [pure, but for the clock that their TTL is counted by].

use simbdp_api::pipeline::TableSpec;
use simbdp_record::Rows;

use super::encode::{EncodedRows, Encoding, Layout};
use crate::declaration::{Shape, ttl};
use crate::lifetime::{Life, life, now_micros};
use crate::store::StoreError;

/// Turns rows of one table into what is sent.
#[derive(Clone, Debug)]
pub struct RowEncoder {
    pub(super) layout: Layout,
    /// Seconds that a row lives, counted from its version.
    ttl: Option<i64>,
}

impl RowEncoder {
    /// An encoder of the declared table's rows.
    ///
    /// # Errors
    /// [`StoreError::Permanent`] when the declared TTL is none.
    pub fn new(table: &TableSpec) -> Result<Self, StoreError> {
        Ok(Self {
            layout: Layout::new(Shape::declared(table)),
            ttl: ttl(table)?,
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
