//! Finds the commas of a record, 64 bytes at a time: fields are so short that a search for each
//! would cost more than what is done with them.

/// Multiplying by it gathers the lowest bits of eight bytes in the topmost byte.
const GATHER: u64 = 0x0102_0408_1020_4080;

/// What was found in a record.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Found {
    /// How many commas there are.
    pub(super) commas: usize,
    /// Whether there is a NUL.
    pub(super) nul: bool,
}

/// Writes the positions of the commas in `record` to the start of `positions`, which grows as it must and then
/// has room for one more.
#[inline]
pub(super) fn find(record: &[u8], positions: &mut Vec<usize>) -> Found {
    let mut found = Found::default();
    if positions.is_empty() {
        positions.push(0);
    }
    let (blocks, rest) = record.as_chunks::<64>();
    for (index, block) in blocks.iter().enumerate() {
        found.nul |= contains_nul(block);
        found.commas += write(commas(block), index * 64, positions, found.commas);
    }
    if rest.is_empty() {
        return found;
    }
    let base = blocks.len() * 64;
    match record.last_chunk() {
        // A part of this block comes a second time: to copy the rest would take longer.
        Some(block) => {
            found.nul |= contains_nul(block);
            let bits = commas(block) >> (64 - rest.len());
            found.commas += write(bits, base, positions, found.commas);
        }
        None => {
            let mut block = [b' '; 64];
            block[..rest.len()].copy_from_slice(rest);
            found.nul |= contains_nul(&block);
            found.commas += write(commas(&block), base, positions, found.commas);
        }
    }
    found
}

/// A bit for each comma of a block, the lowest for its first byte.
#[inline]
fn commas(block: &[u8; 64]) -> u64 {
    // Written so that the compiler compares many bytes at once.
    let equal: [u8; 64] = std::array::from_fn(|at| u8::from(block[at] == b','));
    let (words, _) = equal.as_chunks::<8>();
    let mut bits = 0;
    for (index, word) in words.iter().enumerate() {
        bits |= (u64::from_le_bytes(*word).wrapping_mul(GATHER) >> 56) << (index * 8);
    }
    bits
}

/// Whether a block has a NUL, without a branch for each byte.
#[inline]
fn contains_nul(block: &[u8; 64]) -> bool {
    block.iter().fold(false, |found, byte| found | (*byte == 0))
}

/// Writes the positions of the bits from `at` on; returns how many there are.
#[inline]
fn write(mut bits: u64, base: usize, positions: &mut Vec<usize>, at: usize) -> usize {
    if positions.len() <= at + 64 {
        positions.resize(at + 65, 0);
    }
    let count = bits.count_ones() as usize;
    // Eight at a time, whether there are as many or not: to stop at the last one would take a branch that
    // no processor can foresee.
    let (groups, _) = positions[at..].as_chunks_mut::<8>();
    for group in groups {
        if bits == 0 {
            break;
        }
        for position in group {
            *position = base + bits.trailing_zeros() as usize;
            bits &= bits.wrapping_sub(1);
        }
    }
    count
}

#[cfg(test)]
mod tests {
    use super::{Found, find};

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
            let Found { commas, nul } = find(&bytes, &mut found);
            assert_eq!(nul, bytes.contains(&0), "{bytes:?}");
            let wanted: Vec<usize> = (0..length).filter(|at| bytes[*at] == b',').collect();
            assert_eq!(found[..commas], wanted, "{bytes:?}");
        }
    }
}
