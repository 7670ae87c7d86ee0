//! Reads short whole numbers, eight digits at once and without a branch for each: most fields of most
//! files are such, of lengths that no processor can foresee.

const ZEROS: u64 = 0x3030_3030_3030_3030;
const TOPS: u64 = 0x8080_8080_8080_8080;

/// The number that `text[start..end]` writes with up to eight digits, after a minus or not. [`None`] for
/// all else, which may be a number nevertheless.
#[inline]
pub(crate) fn short(text: &[u8], start: usize, end: usize) -> Option<i32> {
    let length = end.wrapping_sub(start);
    let word = u64::from_le_bytes(*text.get(start..)?.first_chunk()?);
    let minus = usize::from(word as u8 == b'-');
    // At least one digit, and no more than eight bytes.
    if length.wrapping_sub(1 + minus) >= 8 - minus {
        return None;
    }
    let digits = length - minus;
    // The digits go to the top, and nothing is below them.
    let values = (word ^ ZEROS) >> (8 * minus) << (64 - 8 * digits);
    if (values.wrapping_add(0x7676_7676_7676_7676) | values) & TOPS != 0 {
        return None;
    }
    let pairs = values.wrapping_mul(2_561) >> 8;
    let fours = (pairs & 0x00ff_00ff_00ff_00ff).wrapping_mul(6_553_601) >> 16;
    let eight = (fours & 0x0000_ffff_0000_ffff).wrapping_mul(42_949_672_960_001) >> 32;
    // At most 99,999,999; negated without a branch.
    let (number, minus) = (eight as i32, minus as i32);
    Some((number ^ -minus) + minus)
}

#[cfg(test)]
mod tests {
    use super::short;

    fn at_the_start(text: &str) -> Option<i32> {
        short(format!("{text},12345678").as_bytes(), 0, text.len())
    }

    #[test]
    fn agrees_with_the_standard_parser() {
        let mut state = 1_u64;
        for round in 0..200_000_u32 {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            let number = ((state >> 33) as i32 % 10_i32.pow(round % 9))
                * if state & 1 == 0 { 1 } else { -1 };
            let text = number.to_string();
            let wanted = (text.len() <= 8).then_some(number);
            assert_eq!(at_the_start(&text), wanted, "{text}");
        }
        for text in ["0", "-0", "00000007", "-0000007", "99999999", "-9999999"] {
            assert_eq!(at_the_start(text), text.parse().ok(), "{text}");
        }
    }

    #[test]
    fn every_byte_that_is_no_digit_is_refused() {
        for length in 1..=8 {
            for at in 0..length {
                for byte in 0..=255_u8 {
                    let mut text = *b"12345678,-------";
                    text[length] = b',';
                    text[at] = byte;
                    let wanted = std::str::from_utf8(&text[..length])
                        .ok()
                        .and_then(|text| text.parse().ok());
                    let plus = at == 0 && byte == b'+';
                    assert_eq!(
                        short(&text, 0, length),
                        wanted.filter(|_| !plus),
                        "{text:?} {length}"
                    );
                }
            }
        }
        for text in ["", "-", "123456789", "--1", "1-", "+1"] {
            assert_eq!(at_the_start(text), None, "{text}");
        }
        assert_eq!(short(b"12", 0, 2), None);
        assert_eq!(short(b"12345678", 0, 8), Some(12_345_678));
        assert_eq!(short(b"x,12345678", 2, 3), Some(1));
    }
}
