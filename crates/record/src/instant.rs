//! Reads `YYYY-MM-DDTHH:MM:SS`, as most instants begin, eight bytes at once and without a branch for each.

/// Bytes that are read.
pub(crate) const LENGTH: usize = 19;

const TOPS: u64 = 0x8080_8080_8080_8080;
/// Days from the first of March of the year -400, where the count of days starts, to the first of January 1970.
const EPOCH: i64 = 719_468 + 146_097;

/// Seconds since 1970 of the instant that `text` begins with. [`None`] for all else, which may be an instant
/// nevertheless.
#[inline]
pub(crate) fn seconds(text: &[u8]) -> Option<i64> {
    let [century, _, year, _, _, month, ..] = numbers(text.get(..8)?, b"0000-00-")?;
    let [day, _, _, hour, ..] = numbers(text.get(8..16)?, b"00T00:00")?;
    let [_, _, _, minute, _, _, second, _] = numbers(text.get(11..LENGTH)?, b"00:00:00")?;
    let year = century * 100 + year;
    let possible = (1..=12).contains(&month)
        && (1..=days_of_month(year, month)).contains(&day)
        && hour < 24
        && minute < 60
        && second < 60;
    let days = days_since_epoch(year, month, day);
    possible.then_some(((days * 24 + hour) * 60 + minute) * 60 + second)
}

/// The numbers of two digits that start at each byte, where `text` is as the pattern, which has a zero for
/// each digit.
#[inline]
fn numbers(text: &[u8], pattern: &[u8; 8]) -> Option<[i64; 8]> {
    let differs = u64::from_le_bytes(*text.first_chunk()?) ^ u64::from_le_bytes(*pattern);
    // What carries into the top bit of each byte if it is above 9 for a digit and above 0 for all else.
    let carry = u64::from_le_bytes(pattern.map(|byte| if byte == b'0' { 0x76 } else { 0x7f }));
    if (differs.wrapping_add(carry) | differs) & TOPS != 0 {
        return None;
    }
    // Without a carry from byte to byte: 99 is the most.
    let tens = differs * 10;
    Some((tens + (differs >> 8)).to_le_bytes().map(i64::from))
}

#[inline]
fn days_of_month(year: i64, month: i64) -> i64 {
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    match month {
        2 => 28 + i64::from(leap),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days since 1970. Years are counted from March, so that a leap day is the last of its year.
#[inline]
fn days_since_epoch(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = if month > 2 {
        (year + 400, month - 3)
    } else {
        (year + 399, month + 9)
    };
    let of_years = year * 365 + year / 4 - year / 100 + year / 400;
    let of_months = (month * 153 + 2) / 5;
    of_years + of_months + day - 1 - EPOCH
}

#[cfg(test)]
mod tests {
    use chrono::NaiveDate;

    use super::seconds;

    #[test]
    fn agrees_with_the_calendar_on_every_day() {
        let days = NaiveDate::from_ymd_opt(0, 1, 1).unwrap().iter_days();
        for day in days.take_while(|day| day.to_string().len() == 10) {
            let wanted = day.and_hms_opt(23, 58, 7).unwrap().and_utc().timestamp();
            assert_eq!(seconds(format!("{day}T23:58:07").as_bytes()), Some(wanted));
        }
    }

    #[test]
    fn what_is_impossible_or_written_otherwise_is_left_to_others() {
        assert_eq!(seconds(b"1970-01-01T00:00:00 and more"), Some(0));
        for text in [
            "",
            "1970-01-01T00:00:0",
            "1970-01-01 00:00:00",
            "1970-00-01T00:00:00",
            "1970-13-01T00:00:00",
            "1970-01-00T00:00:00",
            "1970-01-32T00:00:00",
            "1970-04-31T00:00:00",
            "1900-02-29T00:00:00",
            "1970-02-29T00:00:00",
            "1970-01-01T24:00:00",
            "1970-01-01T00:60:00",
            "1970-01-01T00:00:60",
        ] {
            assert_eq!(seconds(text.as_bytes()), None, "{text}");
        }
        let good = *b"1970-01-01T00:00:00";
        for at in 0..good.len() {
            for byte in 0..=255_u8 {
                let mut text = good;
                text[at] = byte;
                let digit = byte.is_ascii_digit() && good[at].is_ascii_digit();
                assert!(
                    seconds(&text).is_none() || digit || byte == good[at],
                    "{text:?}"
                );
            }
        }
    }
}
