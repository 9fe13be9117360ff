//! Reading packed little-endian bytes (Borsh, and the program's own layouts).

use compute_futures_protocol::{AccountId, B256, SolanaAddress, Usdc};

/// Reads from left to right; every method is `None` when too little is left or the value cannot be.
pub(super) struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    pub(super) const fn of(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*head)
    }

    pub(super) fn skip(&mut self, count: usize) -> Option<()> {
        self.0 = self.0.get(count..)?;
        Some(())
    }

    pub(super) fn u8(&mut self) -> Option<u8> {
        self.array::<1>().map(|[byte]| byte)
    }

    pub(super) fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_le_bytes)
    }

    pub(super) fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    pub(super) fn u48(&mut self) -> Option<u64> {
        let [a, b, c, d, e, f] = self.array()?;
        Some(u64::from_le_bytes([a, b, c, d, e, f, 0, 0]))
    }

    pub(super) fn flag(&mut self) -> Option<bool> {
        match self.u8()? {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        }
    }

    pub(super) fn usdc(&mut self) -> Option<Usdc> {
        Usdc::try_from(self.u64()?).ok()
    }

    pub(super) fn account(&mut self) -> Option<AccountId> {
        AccountId::try_from(self.u64()?).ok()
    }

    pub(super) fn key(&mut self) -> Option<SolanaAddress> {
        self.array().map(SolanaAddress::new)
    }

    /// A key of which zero means none.
    pub(super) fn optional_key(&mut self) -> Option<Option<SolanaAddress>> {
        self.key().map(|key| (key != SolanaAddress::default()).then_some(key))
    }

    pub(super) fn hash(&mut self) -> Option<B256> {
        self.array().map(B256::new)
    }

    /// `None` only when the bytes are wrong; the inner option is Borsh's.
    pub(super) fn option<T>(&mut self, read: impl FnOnce(&mut Self) -> Option<T>) -> Option<Option<T>> {
        if self.flag()? { read(self).map(Some) } else { Some(None) }
    }

    pub(super) fn list<T>(&mut self, mut read: impl FnMut(&mut Self) -> Option<T>) -> Option<Vec<T>> {
        let count = self.u32()?;
        (0..count).map(|_| read(self)).collect()
    }

    /// Borsh's string.
    pub(super) fn text(&mut self) -> Option<String> {
        let length = usize::try_from(self.u32()?).ok()?;
        let (text, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        String::from_utf8(text.to_vec()).ok()
    }

    /// `Some` when nothing is left.
    pub(super) fn end(&self) -> Option<()> {
        self.0.is_empty().then_some(())
    }
}
