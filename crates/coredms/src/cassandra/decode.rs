//! Decodes values as the driver has them [pure].

use bigdecimal::BigDecimal;
use scylla::value::CqlValue;
use simbdp_record::Value;

/// The value of a cell. The error names what cannot be represented.
pub(crate) fn value(cell: CqlValue) -> Result<Option<Value>, String> {
    let out_of_range = |what: &str| format!("a {what} is out of range");
    Ok(Some(match cell {
        CqlValue::Empty => return Ok(None),
        CqlValue::Text(v) | CqlValue::Ascii(v) => Value::Text(v),
        CqlValue::Int(v) => Value::Int(v),
        CqlValue::BigInt(v) => Value::Bigint(v),
        CqlValue::Float(v) => Value::Float(v),
        CqlValue::Double(v) => Value::Double(v),
        CqlValue::Decimal(v) => Value::Decimal(BigDecimal::from(v)),
        CqlValue::Boolean(v) => Value::Boolean(v),
        CqlValue::Timestamp(v) => Value::Timestamp(v.0),
        CqlValue::Date(v) => Value::Date(v.try_into().map_err(|_| out_of_range("date"))?),
        CqlValue::Time(v) => Value::Time(v.try_into().map_err(|_| out_of_range("time"))?),
        CqlValue::Uuid(v) => Value::Uuid(v),
        CqlValue::Timeuuid(v) => Value::Uuid(v.into()),
        CqlValue::Blob(v) => Value::Blob(v),
        CqlValue::List(v) | CqlValue::Set(v) => Value::List(
            v.into_iter()
                .filter_map(|element| value(element).transpose())
                .collect::<Result<_, _>>()?,
        ),
        CqlValue::Map(v) => {
            let mut pairs = Vec::with_capacity(v.len());
            for (key, element) in v {
                if let (Some(key), Some(element)) = (value(key)?, value(element)?) {
                    pairs.push((key, element));
                }
            }
            Value::Map(pairs)
        }
        other => return Err(format!("a value of no known type: {other:?}")),
    }))
}
