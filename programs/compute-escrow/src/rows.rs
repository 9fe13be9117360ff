//! The rows of a batch as they travel: 50 bytes each, to the end of the instruction, without a length.

use compute_program_common::packed;

const ROW: usize = 50;

/// What a session cost, signed by its meter's signature on the transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// u64
    pub session_id: u64,
    /// u48, micro-USDC
    pub cost: u64,
    /// u32
    pub receipt_count: u32,
    /// Merkle root of the receipts.
    pub receipts_root: [u8; 32],
}

impl packed::Row<ROW> for Row {
    const DOC: &'static str = "To the end of the instruction, no length: 50 bytes a row, little-endian: session_id u64, cost u48, receipt_count u32, receipts_root [32].";

    fn to_bytes(self) -> Option<[u8; ROW]> {
        if self.cost >> 48 != 0 {
            return None;
        }
        let mut bytes = [0; ROW];
        bytes[..8].copy_from_slice(&self.session_id.to_le_bytes());
        bytes[8..14].copy_from_slice(&self.cost.to_le_bytes()[..6]);
        bytes[14..18].copy_from_slice(&self.receipt_count.to_le_bytes());
        bytes[18..].copy_from_slice(&self.receipts_root);
        Some(bytes)
    }

    fn from_bytes(bytes: &[u8; ROW]) -> Self {
        let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, q, r, receipts_root @ ..] = *bytes;
        Self {
            session_id: u64::from_le_bytes([a, b, c, d, e, f, g, h]),
            cost: u64::from_le_bytes([i, j, k, l, m, n, 0, 0]),
            receipt_count: u32::from_le_bytes([o, p, q, r]),
            receipts_root,
        }
    }
}

/// Whole rows, in order.
pub type Packed = packed::Rows<Row, ROW>;
// Anchor looks an alias up by the name that an instruction uses and writes what stands behind it into the interface: not under this.
pub use Packed as Rows;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use anchor_lang::prelude::*;

    use super::*;

    #[test]
    fn rows_travel_in_fifty_bytes() {
        let all = [
            Row { session_id: 1 << 32 | 2, cost: 30_000, receipt_count: 3, receipts_root: [9; 32] },
            Row { session_id: u64::MAX, cost: (1 << 48) - 1, receipt_count: u32::MAX, receipts_root: [0; 32] },
        ];
        let rows = Rows::new(&all).unwrap();
        let mut bytes = Vec::new();
        rows.serialize(&mut bytes).unwrap();
        assert_eq!(bytes[..19], [2, 0, 0, 0, 1, 0, 0, 0, 0x30, 0x75, 0, 0, 0, 0, 3, 0, 0, 0, 9]);
        assert_eq!(bytes.len(), 100);
        assert_eq!(Rows::deserialize(&mut bytes.as_slice()).unwrap().iter().collect::<Vec<_>>(), all);
        assert!(Rows::deserialize(&mut &bytes[..99]).is_err());
        assert!(Rows::new(&[Row { cost: 1 << 48, ..all[0] }]).is_none());
    }
}
