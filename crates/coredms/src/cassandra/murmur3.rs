//! The hash that makes a token of a partition key: MurmurHash3 for 64-bit machines as Cassandra has it, whose
//! bytes are signed where less than sixteen are left. The driver has it as well, byte by byte.

const C1: u64 = 0x87c3_7b91_1142_53d5;
const C2: u64 = 0x4cf5_ad43_2745_937f;
const TOPS: u64 = 0x8080_8080_8080_8080;

/// The token of a partition key.
pub(super) fn token(key: &[u8]) -> i64 {
    let (mut h1, mut h2) = (0_u64, 0_u64);
    let (blocks, rest) = key.as_chunks::<16>();
    for block in blocks {
        let [k1, k2] = halves(block);
        h1 = (h1 ^ first(k1)).rotate_left(27).wrapping_add(h2);
        h1 = h1.wrapping_mul(5).wrapping_add(0x52dc_e729);
        h2 = (h2 ^ second(k2)).rotate_left(31).wrapping_add(h1);
        h2 = h2.wrapping_mul(5).wrapping_add(0x3849_5ab5);
    }
    let [k1, k2] = match key.last_chunk() {
        Some(_) if rest.is_empty() => [0, 0],
        // The rest alone, without a copy of it.
        Some(block) => {
            let block = u128::from_le_bytes(*block) >> (128 - 8 * rest.len());
            halves(&block.to_le_bytes()).map(signed)
        }
        None => {
            let mut block = [0; 16];
            block[..rest.len()].copy_from_slice(rest);
            halves(&block).map(signed)
        }
    };
    let length = key.len() as u64;
    h1 ^= first(k1) ^ length;
    h2 ^= second(k2) ^ length;
    h1 = h1.wrapping_add(h2);
    h2 = h2.wrapping_add(h1);
    let token = mixed(h1).wrapping_add(mixed(h2)).cast_signed();
    // The lowest number is no token.
    if token == i64::MIN { i64::MAX } else { token }
}

fn halves(block: &[u8; 16]) -> [u64; 2] {
    let block = u128::from_le_bytes(*block);
    [block as u64, (block >> 64) as u64]
}

/// Eight bytes, each extended by its sign before they are put together.
fn signed(bytes: u64) -> u64 {
    if bytes & TOPS == 0 {
        return bytes;
    }
    let byte = |(index, byte): (usize, u8)| (i64::from(byte.cast_signed()) << (index * 8)) as u64;
    let bytes = bytes.to_le_bytes().into_iter().enumerate();
    bytes.map(byte).fold(0, |all, one| all ^ one)
}

fn first(half: u64) -> u64 {
    half.wrapping_mul(C1).rotate_left(31).wrapping_mul(C2)
}

fn second(half: u64) -> u64 {
    half.wrapping_mul(C2).rotate_left(33).wrapping_mul(C1)
}

fn mixed(mut hash: u64) -> u64 {
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    hash ^ (hash >> 33)
}

#[cfg(test)]
mod tests {
    use scylla::routing::partitioner::{Murmur3Partitioner, Partitioner as _};

    use super::token;

    #[test]
    fn agrees_with_the_driver_on_keys_of_any_length() {
        let mut state = 1_u64;
        for length in 1..200 {
            for mask in [0x7f, 0xff, 0x80] {
                let key: Vec<u8> = (0..length)
                    .map(|_| {
                        state = state
                            .wrapping_mul(6_364_136_223_846_793_005)
                            .wrapping_add(1);
                        (state >> 33) as u8 & mask
                    })
                    .collect();
                let wanted = Murmur3Partitioner.hash_one(&key).value();
                assert_eq!(token(&key), wanted, "{key:?}");
            }
        }
    }
}
