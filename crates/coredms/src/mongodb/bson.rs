//! Writes BSON as it is sent [pure]: element by element into one buffer, without values in between.

use bigdecimal::BigDecimal;
use mongodb::bson::spec::{BinarySubtype, ElementType};

use super::decimal;

/// Length of a document, before its elements.
const LENGTH: usize = size_of::<i32>();

/// Documents, one behind the other.
#[derive(Debug, Default)]
pub(crate) struct Writer {
    pub bytes: Vec<u8>,
}

impl Writer {
    pub(crate) fn with_capacity(bytes: usize) -> Self {
        Self {
            bytes: Vec::with_capacity(bytes),
        }
    }

    /// Starts a document; returns where, for [`Writer::close`].
    pub(crate) fn start(&mut self) -> usize {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&[0; LENGTH]);
        start
    }

    /// Ends the document that started there. Callers bound its size far below what its length can say.
    pub(crate) fn close(&mut self, start: usize) {
        self.bytes.push(0);
        let length = i32::try_from(self.bytes.len() - start).unwrap_or(i32::MAX);
        self.bytes[start..start + LENGTH].copy_from_slice(&length.to_le_bytes());
    }

    /// Starts a document or array within a document.
    pub(crate) fn open(&mut self, kind: ElementType, name: &str) -> usize {
        self.head(kind, name);
        self.start()
    }

    /// Type and name of an element. No name has a zero byte in it.
    pub(crate) fn head(&mut self, kind: ElementType, name: &str) {
        self.bytes.push(kind as u8);
        self.bytes.extend_from_slice(name.as_bytes());
        self.bytes.push(0);
    }

    /// An element whose value is BSON already.
    pub(crate) fn raw(&mut self, kind: ElementType, name: &str, value: &[u8]) {
        self.head(kind, name);
        self.bytes.extend_from_slice(value);
    }

    pub(crate) fn text(&mut self, name: &str, text: &str) {
        self.head(ElementType::String, name);
        let length = i32::try_from(text.len() + 1).unwrap_or(i32::MAX);
        self.bytes.extend_from_slice(&length.to_le_bytes());
        self.bytes.extend_from_slice(text.as_bytes());
        self.bytes.push(0);
    }

    pub(crate) fn int32(&mut self, name: &str, number: i32) {
        self.raw(ElementType::Int32, name, &number.to_le_bytes());
    }

    pub(crate) fn int64(&mut self, name: &str, number: i64) {
        self.raw(ElementType::Int64, name, &number.to_le_bytes());
    }

    pub(crate) fn double(&mut self, name: &str, number: f64) {
        self.raw(ElementType::Double, name, &number.to_le_bytes());
    }

    pub(crate) fn boolean(&mut self, name: &str, truth: bool) {
        self.raw(ElementType::Boolean, name, &[u8::from(truth)]);
    }

    /// Milliseconds since 1970.
    pub(crate) fn date(&mut self, name: &str, millis: i64) {
        self.raw(ElementType::DateTime, name, &millis.to_le_bytes());
    }

    pub(crate) fn null(&mut self, name: &str) {
        self.head(ElementType::Null, name);
    }

    pub(crate) fn binary(&mut self, name: &str, subtype: BinarySubtype, bytes: &[u8]) {
        self.head(ElementType::Binary, name);
        let length = i32::try_from(bytes.len()).unwrap_or(i32::MAX);
        self.bytes.extend_from_slice(&length.to_le_bytes());
        self.bytes.push(subtype.into());
        self.bytes.extend_from_slice(bytes);
    }

    pub(crate) fn decimal(&mut self, name: &str, number: &BigDecimal) -> Result<(), String> {
        let bytes = decimal::encode(number)?;
        self.raw(ElementType::Decimal128, name, &bytes);
        Ok(())
    }
}

/// The names of an array's elements, `0`, `1`, …, without an allocation for each.
#[derive(Debug, Default)]
pub(crate) struct Places {
    next: usize,
    digits: [u8; 20],
}

impl Places {
    pub(crate) fn next(&mut self) -> &str {
        let mut rest = self.next;
        let mut start = self.digits.len();
        loop {
            start -= 1;
            // One digit, below 10.
            self.digits[start] = b'0' + (rest % 10) as u8;
            rest /= 10;
            if rest == 0 {
                break;
            }
        }
        self.next += 1;
        std::str::from_utf8(&self.digits[start..]).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::{Places, Writer};
    use mongodb::bson::spec::{BinarySubtype, ElementType};
    use mongodb::bson::{Binary, DateTime, Document, RawDocumentBuf, doc};

    #[test]
    fn what_is_written_is_bson() {
        let mut writer = Writer::default();
        let start = writer.start();
        writer.text("t", "naïve\0");
        writer.int32("i", -1);
        writer.int64("l", i64::MIN);
        writer.double("d", 0.5);
        writer.boolean("b", true);
        writer.date("at", -5);
        writer.null("n");
        writer.binary("x", BinarySubtype::Generic, &[0, 255]);
        let list = writer.open(ElementType::Array, "list");
        let mut places = Places::default();
        for n in 0..12 {
            writer.int32(places.next(), n);
        }
        writer.close(list);
        writer.close(start);
        let raw = RawDocumentBuf::from_bytes(writer.bytes).unwrap();
        let binary = Binary {
            subtype: BinarySubtype::Generic,
            bytes: vec![0, 255],
        };
        assert_eq!(
            Document::try_from(raw).unwrap(),
            doc! {
                "t": "naïve\0", "i": -1, "l": i64::MIN, "d": 0.5, "b": true, "at": DateTime::from_millis(-5),
                "n": null, "x": binary, "list": (0..12).collect::<Vec<i32>>(),
            }
        );
    }

    #[test]
    fn places_count_up() {
        let mut places = Places::default();
        let names: Vec<_> = (0..101).map(|_| places.next().to_owned()).collect();
        assert_eq!((names[0].as_str(), names[10].as_str()), ("0", "10"));
        assert_eq!(names[100], "100");
    }
}
