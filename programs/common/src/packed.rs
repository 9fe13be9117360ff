//! Rows of one size, to the end of the instruction: a length would be four bytes of every transaction.

use std::io::{Error, ErrorKind, Read, Result, Write};

use anchor_lang::prelude::*;

/// Whole rows of `N` bytes, in order.
#[derive(Clone, Debug, Default)]
pub struct Packed<const N: usize>(Vec<u8>);

impl<const N: usize> Packed<N> {
    /// One after the other.
    pub fn new(rows: &[[u8; N]]) -> Self {
        Self(rows.concat())
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.0.len() / N
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// In order.
    pub fn iter(&self) -> impl Iterator<Item = &[u8; N]> {
        self.0.as_chunks::<N>().0.iter()
    }
}

impl<const N: usize> AnchorSerialize for Packed<N> {
    fn serialize<W: Write>(&self, writer: &mut W) -> Result<()> {
        writer.write_all(&self.0)
    }
}

impl<const N: usize> AnchorDeserialize for Packed<N> {
    fn deserialize(buffer: &mut &[u8]) -> Result<Self> {
        let rows = core::mem::take(buffer);
        if !rows.len().is_multiple_of(N) {
            return Err(Error::from(ErrorKind::InvalidData));
        }
        Ok(Self(rows.to_vec()))
    }

    fn deserialize_reader<R: Read>(reader: &mut R) -> Result<Self> {
        let mut rows = Vec::new();
        reader.read_to_end(&mut rows)?;
        Self::deserialize(&mut rows.as_slice())
    }
}
