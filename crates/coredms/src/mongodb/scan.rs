//! A query as a scan of one index [pure], in the declared order: so that a page costs its rows, wherever it is.
//!
//! The index of `_id` has the rows of a partition side by side, ordered by the clustering columns: forward where all
//! of them ascend, backward where all descend. Where some ascend and others descend, the operator makes an index of
//! its own. Either way a bound is a whole key: the values that are given, and for the other columns the smallest or
//! the largest value of all.

use mongodb::bson::{Bson, Document, RawDocument, RawDocumentBuf, doc};
use simbdp_api::pipeline::{Order, TableSpec};
use simbdp_record::{Value, ValueRef};

use super::bson::Writer;
use super::encode::RowEncoder;
use super::schema::{Direction, ORDER_INDEX, direction, order_keys};
use super::{DELETED, EXPIRY, ID};
use crate::declaration;
use crate::selection::{self, Range, Selection, bad_page, bad_value};
use crate::store::{RowQuery, StoreError};

/// What is asked of the server.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Scan {
    pub filter: Document,
    pub sort: Document,
    /// Bounds in an index of this name: from the first inclusive to the second exclusive.
    pub bounds: Option<(&'static str, Document, Document)>,
}

/// Plans the scans of one table.
#[derive(Clone, Debug)]
pub(crate) struct Scanner {
    encoder: RowEncoder,
    direction: Direction,
    /// Orders of the key's columns.
    orders: Vec<Order>,
    order_keys: Document,
}

/// A value below or above all others.
fn edge(above: bool) -> Bson {
    if above { Bson::MaxKey } else { Bson::MinKey }
}

/// One end of the rows that are wanted.
struct End<'a> {
    value: Option<(&'a Value, bool)>,
    /// Whether it is the end with the larger values.
    upper: bool,
}

impl Scanner {
    pub(crate) fn new(table: &TableSpec, encoder: &RowEncoder) -> Self {
        let (partition, clustering) = declaration::key(table);
        let ascending = partition.iter().map(|_| Order::Ascending);
        Self {
            encoder: encoder.clone(),
            direction: direction(&clustering),
            orders: ascending
                .chain(clustering.iter().map(|(_, order)| *order))
                .collect(),
            order_keys: order_keys(&partition, &clustering),
        }
    }

    /// The scan of a query's next page, at this time in milliseconds since 1970.
    pub(crate) fn plan(&self, query: &RowQuery, now: i64) -> Result<Scan, StoreError> {
        let selection = selection::select(&self.encoder.shape, query)?;
        let prefix = self.prefix(&selection)?;
        let last = match &query.page {
            Some(page) => Some(self.last(page, &prefix)?),
            None => None,
        };
        let whole = prefix.len() == self.encoder.key.len();
        let mut scan = match (whole, self.direction) {
            (true, _) if last.is_some() => return Err(bad_page()),
            (true, _) => self.one(prefix),
            (false, Direction::Mixed) => self.ordered(&prefix, selection.range, last)?,
            (false, _) => self.keyed(&prefix, selection.range, last)?,
        };
        // What the server has not removed yet. A row without an end lives on.
        let now = mongodb::bson::DateTime::from_millis(now);
        scan.filter.insert(EXPIRY, doc! {"$not": {"$lte": now}});
        scan.filter.insert(DELETED, doc! {"$ne": true});
        Ok(scan)
    }

    /// Where the page after this row starts: opaque to clients.
    pub(crate) fn page(document: &RawDocument) -> Option<Vec<u8>> {
        let id = document.get(ID).ok()??;
        let mut page = RawDocumentBuf::new();
        page.append(mongodb::bson::cstr!("_id"), id);
        Some(page.into_bytes())
    }

    fn bson(&self, place: usize, value: &Value) -> Result<Bson, StoreError> {
        let mut writer = Writer::default();
        let start = writer.start();
        self.encoder
            .key_value(&mut writer, ID, place, ValueRef::from(value))
            .map_err(selection::bad)?;
        writer.close(start);
        let broken = |reason: String| bad_value(&self.encoder.shape, place, &reason);
        let raw = RawDocumentBuf::from_bytes(writer.bytes).map_err(|e| broken(e.to_string()))?;
        let document = Document::try_from(raw).map_err(|e| broken(e.to_string()))?;
        document
            .get(ID)
            .cloned()
            .ok_or_else(|| broken("it has no value".to_owned()))
    }

    fn prefix(&self, selection: &Selection<'_>) -> Result<Vec<Bson>, StoreError> {
        let equal = selection.equal.iter();
        equal
            .map(|(place, value)| self.bson(*place, value))
            .collect()
    }

    fn names(&self) -> impl Iterator<Item = &String> {
        let columns = &self.encoder.shape.columns;
        self.encoder.key.iter().map(|place| &columns[*place].0)
    }

    /// A whole key.
    fn key(&self, values: Vec<Bson>) -> Document {
        self.names().cloned().zip(values).collect()
    }

    /// The values of the row that the last page ended with.
    fn last(&self, page: &[u8], prefix: &[Bson]) -> Result<Vec<Bson>, StoreError> {
        let raw = RawDocument::from_bytes(page).map_err(|_| bad_page())?;
        let document = Document::try_from(raw).map_err(|_| bad_page())?;
        let id = document.get_document(ID).map_err(|_| bad_page())?;
        let values: Vec<Bson> = id.values().cloned().collect();
        let fits = id.keys().eq(self.names()) && values.starts_with(prefix);
        fits.then_some(values).ok_or_else(bad_page)
    }

    fn one(&self, values: Vec<Bson>) -> Scan {
        let id = match <[Bson; 1]>::try_from(values) {
            Ok([only]) => only,
            Err(values) => Bson::Document(self.key(values)),
        };
        Scan {
            filter: doc! {ID: id},
            sort: Document::new(),
            bounds: None,
        }
    }

    /// The values of a bound; `pad` is what each further column has.
    fn bound(
        &self,
        prefix: &[Bson],
        range: Option<Range<'_>>,
        end: &End<'_>,
        pad: impl Fn(usize, bool) -> Bson,
    ) -> Result<Vec<Bson>, StoreError> {
        let mut values = prefix.to_vec();
        // Beyond the rows with the value itself where they are wanted at the upper end, or are not at the lower.
        let beyond = match (range, end.value) {
            (Some(range), Some((value, inclusive))) => {
                values.push(self.bson(range.place, value)?);
                inclusive == end.upper
            }
            _ => end.upper,
        };
        let rest = values.len()..self.orders.len();
        values.extend(rest.map(|column| pad(column, beyond)));
        Ok(values)
    }

    fn keyed(
        &self,
        prefix: &[Bson],
        range: Option<Range<'_>>,
        last: Option<Vec<Bson>>,
    ) -> Result<Scan, StoreError> {
        let ends = |upper: bool| End {
            value: range.and_then(|range| if upper { range.upper } else { range.lower }),
            upper,
        };
        let (lower, upper) = (ends(false), ends(true));
        let operator = |end: &End<'_>, inclusive, exclusive| match end.value {
            Some((_, false)) => exclusive,
            _ => inclusive,
        };
        let forward = self.direction == Direction::Forward;
        let pad = |_, beyond| edge(beyond);
        let mut filter = Document::new();
        let from = self.key(self.bound(prefix, range, &lower, pad)?);
        let to = self.key(self.bound(prefix, range, &upper, pad)?);
        match last.map(|last| self.key(last)) {
            Some(last) if forward => {
                filter.insert("$gt", last);
                filter.insert(operator(&upper, "$lte", "$lt"), to);
            }
            Some(last) => {
                filter.insert(operator(&lower, "$gte", "$gt"), from);
                filter.insert("$lt", last);
            }
            None => {
                filter.insert(operator(&lower, "$gte", "$gt"), from);
                filter.insert(operator(&upper, "$lte", "$lt"), to);
            }
        }
        Ok(Scan {
            filter: doc! {ID: filter},
            sort: doc! {ID: if forward { 1 } else { -1 }},
            bounds: None,
        })
    }

    /// In the order of an index of its own. Its bounds are told in that order, so that of a column which descends
    /// the upper end comes first and the largest value lies before all others.
    fn ordered(
        &self,
        prefix: &[Bson],
        range: Option<Range<'_>>,
        last: Option<Vec<Bson>>,
    ) -> Result<Scan, StoreError> {
        let descends = |column: usize| self.orders.get(column) == Some(&Order::Descending);
        let turned = descends(prefix.len());
        let end = |first: bool| {
            // The first end is the lower one, unless the order is turned.
            let upper = first == turned;
            End {
                value: range.and_then(|range| if upper { range.upper } else { range.lower }),
                upper,
            }
        };
        let bounds = |values: Vec<Bson>, behind: bool| -> Document {
            let mut values = values;
            values.push(edge(behind));
            self.order_keys.keys().cloned().zip(values).collect()
        };
        let (first, second) = (end(true), end(false));
        // Whether a bound lies behind the rows with its value, in the index' order.
        let behind = |end: &End<'_>, first: bool| match end.value {
            Some((_, inclusive)) => inclusive != first,
            None => !first,
        };
        let whole = |end: &End<'_>, is_first: bool| {
            let behind = behind(end, is_first);
            let pad = |column, _| edge(behind != descends(column));
            Ok::<_, StoreError>(bounds(self.bound(prefix, range, end, pad)?, behind))
        };
        let from = match last {
            Some(last) => bounds(last, true),
            None => whole(&first, true)?,
        };
        Ok(Scan {
            filter: Document::new(),
            sort: self.order_keys.clone(),
            bounds: Some((ORDER_INDEX, from, whole(&second, false)?)),
        })
    }
}

#[cfg(test)]
#[path = "scan_tests.rs"]
mod tests;
