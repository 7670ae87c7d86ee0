//! Records: typed values, their conversion from CSV and JSON, and checks of names and constraints.
//! Pure: bytes in, values or reasons out. Gateway, ingest app and command line share it, so that all
//! three say the same of the same input.

pub mod row;
pub mod value;

pub use row::{Row, RowFault};
pub use value::Value;
