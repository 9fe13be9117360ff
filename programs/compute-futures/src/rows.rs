//! The rows of a batch as they travel: 12 bytes each, to the end of the instruction. Four bytes of length, or two more a row, and 20
//! rows would not fit a transaction (docs/adr/010-solana.md).

use std::io::{Read, Write};

use anchor_lang::prelude::*;
use compute_program_common::packed::Packed;

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

impl Row {
    /// As in the instruction; `None` when the amount has more than 48 bits.
    pub fn to_bytes(self) -> Option<[u8; ROW]> {
        if self.list_amount >> 48 != 0 {
            return None;
        }
        let mut bytes = [0; ROW];
        bytes[..4].copy_from_slice(&self.sequence.to_le_bytes());
        bytes[4..10].copy_from_slice(&self.list_amount.to_le_bytes()[..6]);
        bytes[10..].copy_from_slice(&self.discount_bps.to_le_bytes());
        Some(bytes)
    }

    fn from_bytes([a, b, c, d, e, f, g, h, i, j, k, l]: [u8; ROW]) -> Self {
        Self {
            sequence: u32::from_le_bytes([a, b, c, d]),
            list_amount: u64::from_le_bytes([e, f, g, h, i, j, 0, 0]),
            discount_bps: u16::from_le_bytes([k, l]),
        }
    }
}

/// Whole rows, in order.
#[derive(Clone, Debug, Default)]
pub struct Rows(Packed<ROW>);

impl Rows {
    /// `None` when an amount has more than 48 bits.
    pub fn new(rows: &[Row]) -> Option<Self> {
        let bytes: Option<Vec<[u8; ROW]>> = rows.iter().map(|row| row.to_bytes()).collect();
        Some(Self(Packed::new(&bytes?)))
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// In order.
    pub fn iter(&self) -> impl Iterator<Item = Row> + '_ {
        self.0.iter().map(|row| Row::from_bytes(*row))
    }
}

impl AnchorSerialize for Rows {
    fn serialize<W: Write>(&self, writer: &mut W) -> std::io::Result<()> {
        self.0.serialize(writer)
    }
}

impl AnchorDeserialize for Rows {
    fn deserialize_reader<R: Read>(reader: &mut R) -> std::io::Result<Self> {
        Packed::deserialize_reader(reader).map(Self)
    }

    fn deserialize(buffer: &mut &[u8]) -> std::io::Result<Self> {
        Packed::deserialize(buffer).map(Self)
    }
}

#[cfg(feature = "idl-build")]
impl anchor_lang::IdlBuild for Rows {
    fn create_type() -> Option<anchor_lang::idl::types::IdlTypeDef> {
        use anchor_lang::idl::types::{IdlSerialization, IdlType, IdlTypeDef, IdlTypeDefTy};
        Some(IdlTypeDef {
            name: Self::get_full_path(),
            docs: vec![
                "To the end of the instruction, no length: 12 bytes a row, little-endian: sequence u32, list_amount u48, discount_bps u16."
                    .into(),
            ],
            serialization: IdlSerialization::Custom("rows".into()),
            repr: None,
            generics: Vec::new(),
            ty: IdlTypeDefTy::Type { alias: IdlType::Bytes },
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
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
