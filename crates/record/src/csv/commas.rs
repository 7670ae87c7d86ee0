//! Finds the commas of a record, 64 bytes at a time: fields are so short that a search for each
//! would cost more than what is done with them.

const ONES: u64 = 0x0101_0101_0101_0101;
const LOW: u64 = 0x7f7f_7f7f_7f7f_7f7f;
const COMMAS: u64 = 0x2c2c_2c2c_2c2c_2c2c;
/// Multiplying by it gathers the lowest bits of eight bytes in the topmost byte.
const GATHER: u64 = 0x0102_0408_1020_4080;

/// Replaces `found` by the positions of the commas in `record`.
#[inline]
pub(super) fn find(record: &[u8], found: &mut Vec<usize>) {
    found.clear();
    let (blocks, rest) = record.as_chunks::<64>();
    for (index, block) in blocks.iter().enumerate() {
        push(mask(block), index * 64, found);
    }
    if !rest.is_empty() {
        let mut block = [0; 64];
        block[..rest.len()].copy_from_slice(rest);
        push(mask(&block), blocks.len() * 64, found);
    }
}

/// A bit for each comma of a block, the lowest for its first byte.
#[inline]
fn mask(block: &[u8; 64]) -> u64 {
    let (words, _) = block.as_chunks::<8>();
    let mut mask = 0;
    for (index, word) in words.iter().enumerate() {
        let differs = u64::from_le_bytes(*word) ^ COMMAS;
        // The top bit of each byte that is zero, exactly: no carry leaves a byte.
        let zeros = !(((differs & LOW) + LOW) | differs | LOW);
        mask |= (((zeros >> 7) & ONES).wrapping_mul(GATHER) >> 56) << (index * 8);
    }
    mask
}

#[inline]
fn push(mut mask: u64, base: usize, found: &mut Vec<usize>) {
    found.reserve(64);
    while mask != 0 {
        found.push(base + mask.trailing_zeros() as usize);
        mask &= mask - 1;
    }
}

#[cfg(test)]
mod tests {
    use super::find;

    #[test]
    fn agrees_with_a_plain_search() {
        let alphabet = [b',', b'-', b'+', b'a', 0, 1, 0x7f, 0x80, 0xac, 0xff];
        let mut found = Vec::new();
        let mut state = 1_u64;
        for length in 0..300 {
            let bytes: Vec<u8> = (0..length)
                .map(|_| {
                    state = state
                        .wrapping_mul(6_364_136_223_846_793_005)
                        .wrapping_add(1);
                    alphabet[(state >> 33) as usize % alphabet.len()]
                })
                .collect();
            find(&bytes, &mut found);
            let wanted: Vec<usize> = (0..length).filter(|at| bytes[*at] == b',').collect();
            assert_eq!(found, wanted, "{bytes:?}");
        }
    }
}
