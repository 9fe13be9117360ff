//! Rows of one size, to the end of the instruction: a length would be four bytes of every transaction.

use std::io::{Error, ErrorKind, Read, Result, Write};
use std::marker::PhantomData;

use anchor_lang::prelude::*;

/// A row that travels in `N` bytes.
pub trait Row<const N: usize>: Copy {
    /// What the interface says of them.
    const DOC: &'static str;

    /// As in the instruction; `None` when an amount has more bits than there is room for.
    fn to_bytes(self) -> Option<[u8; N]>;

    /// As it was sent.
    fn from_bytes(bytes: &[u8; N]) -> Self;
}

/// Whole rows of `N` bytes, in order.
#[derive(Clone, Debug)]
pub struct Rows<R, const N: usize>(Vec<u8>, PhantomData<R>);

impl<R, const N: usize> Default for Rows<R, N> {
    fn default() -> Self {
        Self(Vec::new(), PhantomData)
    }
}

impl<R: Row<N>, const N: usize> Rows<R, N> {
    /// `None` when an amount has more bits than there is room for.
    pub fn new(rows: &[R]) -> Option<Self> {
        let bytes: Option<Vec<[u8; N]>> = rows.iter().map(|row| row.to_bytes()).collect();
        Some(Self(bytes?.concat(), PhantomData))
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
    pub fn iter(&self) -> impl Iterator<Item = R> + '_ {
        self.0.as_chunks::<N>().0.iter().map(R::from_bytes)
    }
}

impl<R, const N: usize> AnchorSerialize for Rows<R, N> {
    fn serialize<W: Write>(&self, writer: &mut W) -> Result<()> {
        writer.write_all(&self.0)
    }
}

impl<R, const N: usize> AnchorDeserialize for Rows<R, N> {
    fn deserialize(buffer: &mut &[u8]) -> Result<Self> {
        let rows = core::mem::take(buffer);
        if !rows.len().is_multiple_of(N) {
            return Err(Error::from(ErrorKind::InvalidData));
        }
        Ok(Self(rows.to_vec(), PhantomData))
    }

    fn deserialize_reader<S: Read>(reader: &mut S) -> Result<Self> {
        let mut rows = Vec::new();
        reader.read_to_end(&mut rows)?;
        Self::deserialize(&mut rows.as_slice())
    }
}

#[cfg(feature = "idl-build")]
impl<R: Row<N>, const N: usize> anchor_lang::IdlBuild for Rows<R, N> {
    fn create_type() -> Option<anchor_lang::idl::types::IdlTypeDef> {
        use anchor_lang::idl::types::{IdlSerialization, IdlType, IdlTypeDef, IdlTypeDefTy};
        Some(IdlTypeDef {
            name: Self::get_full_path(),
            docs: vec![R::DOC.into()],
            serialization: IdlSerialization::Custom("rows".into()),
            repr: None,
            generics: Vec::new(),
            ty: IdlTypeDefTy::Type { alias: IdlType::Bytes },
        })
    }

    /// A program has rows of one kind only.
    fn get_full_path() -> String {
        "Rows".into()
    }
}
