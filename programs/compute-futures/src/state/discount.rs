//! The discount (I-3), in 64 bits.

/// Basis points in a whole.
pub const BPS: u16 = 10_000;

/// `(list × (10000 − bps) + remainder) / 10000` rounded down, and the remainder to carry. A discount above 10,000 counts as
/// 10,000. `list` is below 2^56, `remainder` below 10,000.
///
/// The product needs 70 bits. Split at 10,000 it never needs more than 56: list = q × 10000 + r, so the whole part is
/// q × (10000 − bps) and only r goes through the division.
pub const fn discounted(list: u64, bps: u16, remainder: u16) -> (u64, u16) {
    let whole = BPS as u64;
    let kept = if bps > BPS { 0 } else { whole - bps as u64 };
    let rest = list % whole * kept + remainder as u64;
    (list / whole * kept + rest / whole, (rest % whole) as u16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_the_formula_in_128_bits() {
        let mut seed = 1u64;
        let mut next = || {
            // xorshift: any numbers will do, the same ones each time.
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            seed
        };
        for _ in 0..100_000 {
            let list = next() >> (8 + next() % 56);
            let bps = (next() % 10_002) as u16;
            let remainder = (next() % 10_000) as u16;
            let scaled = u128::from(list) * u128::from(BPS.saturating_sub(bps)) + u128::from(remainder);
            let expected = ((scaled / 10_000) as u64, (scaled % 10_000) as u16);
            assert_eq!(discounted(list, bps, remainder), expected, "{list} {bps} {remainder}");
        }
        assert_eq!(discounted((1 << 56) - 1, 0, 9_999), ((1 << 56) - 1, 9_999));
    }
}
