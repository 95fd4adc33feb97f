//! Numbers that look random and are functions of a key.

/// A 64-bit hash of `value` under `key`: two rounds of a multiply-and-shift mixer
/// ([Steele et al. 2014](https://doi.org/10.1145/2660193.2660195)), which is a bijection of `value` for every key.
pub(crate) fn mix(key: u64, value: u64) -> u64 {
    round(round(value ^ round(key)).wrapping_add(key))
}

fn round(value: u64) -> u64 {
    let mut z = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
