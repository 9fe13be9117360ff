//! Signatures that name an address, page by page, newest first. Anybody may name any address, so no look goes on for ever.

use compute_futures_protocol::SolanaAddress;

use super::SolanaReader;
use super::follow::Signature;
use crate::ChainError;

/// Pages that one question may take.
pub(super) const MOST_PAGES: usize = 20;

/// A look through the history of an address.
pub(super) struct Pages<'a> {
    reader: &'a SolanaReader,
    address: SolanaAddress,
    /// Signatures a page.
    size: usize,
    before: Option<String>,
    left: usize,
    over: bool,
}

impl SolanaReader {
    /// The history of an address, `size` signatures a page.
    pub(super) const fn pages(&self, address: SolanaAddress, size: usize) -> Pages<'_> {
        Pages { reader: self, address, size, before: None, left: MOST_PAGES, over: false }
    }
}

impl Pages<'_> {
    /// The next page; `None` behind the last one.
    ///
    /// # Errors
    /// [`ChainError::Rejected`] behind [`MOST_PAGES`], or when no endpoint answers.
    pub(super) async fn more(&mut self) -> Result<Option<Vec<Signature>>, ChainError> {
        if self.over {
            return Ok(None);
        }
        if self.left == 0 {
            return Err(ChainError::Rejected(format!(
                "what is asked for lies further back than the newest {} transactions of {}; ask an indexer",
                MOST_PAGES * self.size,
                self.address
            )));
        }
        self.left -= 1;
        let page = self.reader.signatures_page(self.address, self.before.as_deref(), self.size, None).await?;
        self.over = page.len() < self.size;
        self.before = page.last().map(|last| last.signature.clone());
        Ok(Some(page))
    }
}
