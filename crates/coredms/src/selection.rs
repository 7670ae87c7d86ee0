//! Checks a query against the key that it must use [pure]: what cannot be served by key is refused alike by
//! every engine.

use simbdp_record::Value;

use crate::declaration::Shape;
use crate::store::{RowQuery, StoreError};

/// Most rows of a page, whatever is asked.
pub(crate) const LARGEST_PAGE: u32 = 10_000;

/// A query by the places of its columns.
#[derive(Clone, Debug)]
pub(crate) struct Selection<'a> {
    /// The whole partition key, then leading clustering columns, in the key's order.
    pub equal: Vec<(usize, &'a Value)>,
    /// Bounds of the next clustering column.
    pub range: Option<Range<'a>>,
}

/// Bounds of one column, each with whether it is itself in the range.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Range<'a> {
    pub place: usize,
    pub lower: Option<(&'a Value, bool)>,
    pub upper: Option<(&'a Value, bool)>,
}

pub(crate) fn bad(text: String) -> StoreError {
    StoreError::BadQuery(text)
}

/// A page that does not belong to the query is the caller's mistake.
pub(crate) fn bad_page() -> StoreError {
    bad("the page does not belong to this query: start again without it".to_owned())
}

/// A value that its column cannot hold.
pub(crate) fn bad_value(shape: &Shape, place: usize, reason: &str) -> StoreError {
    bad(format!("column `{}`: {reason}", shape.columns[place].0))
}

/// Checks each column against the place that it must have in the key.
pub(crate) fn select<'a>(shape: &Shape, query: &'a RowQuery) -> Result<Selection<'a>, StoreError> {
    let mut equal = partition(shape, &query.partition)?;
    let range = clustering(shape, query, &mut equal)?;
    Ok(Selection { equal, range })
}

fn name(shape: &Shape, place: usize) -> &str {
    &shape.columns[place].0
}

fn names(shape: &Shape, places: &[usize]) -> String {
    let names: Vec<_> = places.iter().map(|place| name(shape, *place)).collect();
    names.join(", ")
}

fn place(shape: &Shape, column: &str) -> Result<usize, StoreError> {
    shape
        .columns
        .iter()
        .position(|(name, _)| name == column)
        .ok_or_else(|| bad(format!("the table has no column `{column}`")))
}

fn partition<'a>(
    shape: &Shape,
    given: &'a [(String, Value)],
) -> Result<Vec<(usize, &'a Value)>, StoreError> {
    let key = names(shape, &shape.partition);
    for (column, _) in given {
        if !shape.partition.contains(&place(shape, column)?) {
            return Err(bad(format!(
                "column `{column}` is not in the partition key ({key})"
            )));
        }
    }
    let mut equal = Vec::with_capacity(shape.partition.len());
    for place in &shape.partition {
        let name = name(shape, *place);
        let mut values = given.iter().filter(|(column, _)| column == name);
        let Some((_, value)) = values.next() else {
            return Err(bad(format!(
                "column `{name}` is missing: rows are read by the whole partition key ({key}), each column with its value"
            )));
        };
        if values.next().is_some() {
            return Err(bad(format!("column `{name}` is given more than once")));
        }
        equal.push((*place, value));
    }
    Ok(equal)
}

fn clustering<'a>(
    shape: &Shape,
    query: &'a RowQuery,
    equal: &mut Vec<(usize, &'a Value)>,
) -> Result<Option<Range<'a>>, StoreError> {
    let mut next = shape.clustering.iter();
    let mut take = |column: &str| {
        let asked = place(shape, column)?;
        match next.next() {
            Some(wanted) if *wanted == asked => Ok(asked),
            Some(wanted) => Err(bad(format!(
                "column `{column}` cannot be used here: after the partition key come the clustering columns in their order ({}), and the next one is `{}`",
                names(shape, &shape.clustering),
                name(shape, *wanted)
            ))),
            None => Err(bad(format!(
                "column `{column}` cannot be used here: the table has no further clustering column"
            ))),
        }
    };
    for (column, value) in &query.clustering {
        equal.push((take(column)?, value));
    }
    let Some(range) = &query.range else {
        return Ok(None);
    };
    let bound = |bound: &'a Option<(Value, bool)>| {
        bound.as_ref().map(|(value, inclusive)| (value, *inclusive))
    };
    Ok(Some(Range {
        place: take(&range.column)?,
        lower: bound(&range.lower),
        upper: bound(&range.upper),
    }))
}
