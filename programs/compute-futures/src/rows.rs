//! The rows of a batch as they travel: 12 bytes each, to the end of the instruction. Four bytes of length, or two more a row, and 20
//! rows would not fit a transaction (docs/adr/010-solana.md).

use compute_program_common::packed;

const ROW: usize = 12;

/// A debit: `sequence` is of the operator's account, `list_amount` before discount, `discount_bps` what the receipts state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// u32
    pub sequence: u32,
    /// u48, micro-USDC
    pub list_amount: u64,
    /// u16
    pub discount_bps: u16,
}

impl packed::Row<ROW> for Row {
    const DOC: &'static str = "To the end of the instruction, no length: 12 bytes a row, little-endian: sequence u32, list_amount u48, discount_bps u16.";

    fn to_bytes(self) -> Option<[u8; ROW]> {
        if self.list_amount >> 48 != 0 {
            return None;
        }
        let mut bytes = [0; ROW];
        bytes[..4].copy_from_slice(&self.sequence.to_le_bytes());
        bytes[4..10].copy_from_slice(&self.list_amount.to_le_bytes()[..6]);
        bytes[10..].copy_from_slice(&self.discount_bps.to_le_bytes());
        Some(bytes)
    }

    fn from_bytes(bytes: &[u8; ROW]) -> Self {
        let [a, b, c, d, e, f, g, h, i, j, k, l] = *bytes;
        Self {
            sequence: u32::from_le_bytes([a, b, c, d]),
            list_amount: u64::from_le_bytes([e, f, g, h, i, j, 0, 0]),
            discount_bps: u16::from_le_bytes([k, l]),
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
    fn rows_travel_in_twelve_bytes() {
        let all = [
            Row { sequence: 1, list_amount: 30_000, discount_bps: 1000 },
            Row { sequence: u32::MAX, list_amount: (1 << 48) - 1, discount_bps: u16::MAX },
        ];
        let rows = Rows::new(&all).unwrap();
        let mut bytes = Vec::new();
        rows.serialize(&mut bytes).unwrap();
        assert_eq!(bytes[..12], [1, 0, 0, 0, 0x30, 0x75, 0, 0, 0, 0, 0xe8, 3]);
        assert_eq!(Rows::deserialize(&mut bytes.as_slice()).unwrap().iter().collect::<Vec<_>>(), all);
        assert!(Rows::deserialize(&mut &bytes[..23]).is_err());
        assert!(Rows::new(&[Row { list_amount: 1 << 48, ..all[0] }]).is_none());
    }
}
