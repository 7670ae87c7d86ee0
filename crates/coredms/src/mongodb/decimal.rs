//! Decimal numbers as BSON has them [pure]: 34 digits and an exponent from -6176 to 6111
//! (<https://github.com/mongodb/specifications/blob/master/source/bson-decimal128/decimal128.md>).

use bigdecimal::num_bigint::{BigInt, Sign};
use bigdecimal::{BigDecimal, ToPrimitive};

const DIGITS: u32 = 34;
const LARGEST: u128 = 10_u128.pow(DIGITS) - 1;
const LOWEST_EXPONENT: i64 = -6176;
const HIGHEST_EXPONENT: i64 = 6111;
const COEFFICIENT_BITS: u32 = 113;
const SIGN_BIT: u32 = 127;
/// The exponent with its bias has 14 bits; a number whose first two are set is infinite, none, or too large.
const EXPONENT_BITS: u128 = (1 << 14) - 1;
const SPECIAL: u128 = 0b11 << 125;

/// The number's 16 bytes, or why there are none. Nothing is ever rounded.
pub(crate) fn encode(number: &BigDecimal) -> Result<[u8; 16], String> {
    let (digits, scale) = number.as_bigint_and_scale();
    let negative = digits.sign() == Sign::Minus;
    let parts = match digits.magnitude().to_u128() {
        Some(coefficient) => fit(coefficient, -scale),
        None => None,
    };
    let (coefficient, exponent) = match parts {
        Some(parts) => parts,
        None => fit_plain(number).ok_or_else(|| unfit(number))?,
    };
    // Between 0 and 12287 when the bias is added.
    let biased = (exponent - LOWEST_EXPONENT) as u128;
    let bits = coefficient | biased << COEFFICIENT_BITS | u128::from(negative) << SIGN_BIT;
    Ok(bits.to_le_bytes())
}

/// Without zeros at its end.
fn fit_plain(number: &BigDecimal) -> Option<(u128, i64)> {
    let (digits, scale) = number.normalized().into_bigint_and_scale();
    fit(digits.magnitude().to_u128()?, -scale)
}

/// Moves zeros between coefficient and exponent until both are in range.
fn fit(mut coefficient: u128, mut exponent: i64) -> Option<(u128, i64)> {
    if coefficient == 0 {
        return Some((0, exponent.clamp(LOWEST_EXPONENT, HIGHEST_EXPONENT)));
    }
    while coefficient.is_multiple_of(10) && (coefficient > LARGEST || exponent < LOWEST_EXPONENT) {
        coefficient /= 10;
        exponent += 1;
    }
    while exponent > HIGHEST_EXPONENT && coefficient <= LARGEST / 10 {
        coefficient *= 10;
        exponent -= 1;
    }
    let fits = coefficient <= LARGEST && (LOWEST_EXPONENT..=HIGHEST_EXPONENT).contains(&exponent);
    fits.then_some((coefficient, exponent))
}

#[cold]
fn unfit(number: &BigDecimal) -> String {
    let plain = number.normalized();
    format!(
        "the decimal has {} digits and the exponent {}; MongoDB holds {DIGITS} digits, and exponents from {LOWEST_EXPONENT} to {HIGHEST_EXPONENT}",
        plain.digits(),
        -plain.as_bigint_and_scale().1
    )
}

/// The number of 16 bytes; the error says what it is instead.
pub(crate) fn decode(bytes: [u8; 16]) -> Result<BigDecimal, String> {
    let bits = u128::from_le_bytes(bytes);
    let exponent = (bits >> COEFFICIENT_BITS) & EXPONENT_BITS;
    let coefficient = bits & ((1 << COEFFICIENT_BITS) - 1);
    if bits & SPECIAL == SPECIAL || coefficient > LARGEST {
        return Err("a decimal that is infinite or no number".to_owned());
    }
    let exponent = i64::try_from(exponent).unwrap_or(0) + LOWEST_EXPONENT;
    let sign = if bits >> SIGN_BIT == 1 {
        Sign::Minus
    } else {
        Sign::Plus
    };
    let digits = BigInt::from_biguint(sign, coefficient.into());
    Ok(BigDecimal::from_bigint(digits, -exponent))
}

#[cfg(test)]
mod tests {
    use super::{decode, encode};
    use bigdecimal::BigDecimal;
    use mongodb::bson::Decimal128;

    fn number(text: &str) -> BigDecimal {
        text.parse().unwrap()
    }

    #[test]
    fn numbers_are_written_as_the_driver_writes_them_and_come_back() {
        for text in [
            "0",
            "-1",
            "0.1",
            "-0.001",
            "1E+30",
            "1.10",
            "9999999999999999999999999999999999",
            "-1234567890123456789012345.678901234",
            "1E-6176",
            "9E+6111",
        ] {
            let bytes = encode(&number(text)).unwrap();
            let theirs: Decimal128 = text.parse().unwrap();
            assert_eq!(bytes, theirs.bytes(), "{text}");
            assert_eq!(decode(bytes).unwrap(), number(text), "{text}");
        }
    }

    #[test]
    fn zeros_at_the_end_do_not_count() {
        let long = format!("1{}", "0".repeat(60));
        assert_eq!(
            decode(encode(&number(&long)).unwrap()).unwrap(),
            number(&long)
        );
        assert_eq!(
            decode(encode(&number("1E+6144")).unwrap()).unwrap(),
            number("1E+6144")
        );
        let small = format!("1{}E-6190", "0".repeat(14));
        assert_eq!(
            decode(encode(&number(&small)).unwrap()).unwrap(),
            number("1E-6176")
        );
    }

    #[test]
    fn what_does_not_fit_is_refused_and_never_rounded() {
        for text in [
            "12345678901234567890123456789012345",
            "0.12345678901234567890123456789012345",
            "1E+6145",
            "1E-6177",
            &"9".repeat(200),
        ] {
            let reason = encode(&number(text)).unwrap_err();
            assert!(reason.contains("34 digits"), "{text}: {reason}");
        }
    }

    #[test]
    fn infinity_is_no_number() {
        for text in ["Infinity", "-Infinity", "NaN"] {
            let theirs: Decimal128 = text.parse().unwrap();
            assert!(decode(theirs.bytes()).is_err(), "{text}");
        }
    }
}
