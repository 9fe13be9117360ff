//! Where everything of a deployment is: the program's derived addresses.

use compute_futures_protocol::solana::{associated_token_address, find_program_address};
use compute_futures_protocol::{AccountId, Chain, SolanaAddress};

/// Addresses of one deployment.
#[derive(Debug, Clone, Copy)]
pub(super) struct Program {
    pub(super) id: SolanaAddress,
    pub(super) mint: SolanaAddress,
    pub(super) vault_authority: SolanaAddress,
    pub(super) vault: SolanaAddress,
    pub(super) event_authority: SolanaAddress,
    pub(super) registry: SolanaAddress,
}

/// Circle's USDC on `chain`; `None` off Solana.
#[must_use]
pub const fn usdc_mint(chain: Chain) -> Option<SolanaAddress> {
    match chain {
        Chain::Solana => Some(SolanaAddress::from_str_const("EPjFWdd5AufqSSqeM2qN1xzybapC8G4wEGGkZwyTDt1v")),
        Chain::SolanaDevnet => Some(SolanaAddress::from_str_const("4zMMC9srt5Ri5X14GAgXhaHii3GnPAEERYPJgZJDncDU")),
        _ => None,
    }
}

impl Program {
    pub(super) fn new(id: SolanaAddress, mint: SolanaAddress) -> Self {
        let derive = |seed: &[u8]| find_program_address(&[seed], &id).0;
        let vault_authority = derive(b"vault");
        Self {
            id,
            mint,
            vault_authority,
            vault: associated_token_address(&vault_authority, &mint),
            event_authority: derive(b"__event_authority"),
            registry: derive(b"registry"),
        }
    }

    pub(super) fn operator(&self, index: u32) -> SolanaAddress {
        find_program_address(&[b"operator", &index.to_le_bytes()], &self.id).0
    }

    pub(super) fn operator_of(&self, authority: &SolanaAddress) -> SolanaAddress {
        find_program_address(&[b"operator-of", &authority.0], &self.id).0
    }

    pub(super) fn account(&self, id: AccountId) -> SolanaAddress {
        let (operator, sequence) = (id.operator_index().to_le_bytes(), id.sequence().to_le_bytes());
        find_program_address(&[b"account", &operator, &sequence], &self.id).0
    }

    /// Named by the transactions that create lookup tables for a key, and by nothing else: they are found again by it. There is
    /// nothing at this address.
    pub(super) fn tables_of(&self, authority: &SolanaAddress) -> SolanaAddress {
        find_program_address(&[b"lookup-tables", &authority.0], &self.id).0
    }

    /// The USDC token account of a wallet.
    pub(super) fn wallet(&self, owner: &SolanaAddress) -> SolanaAddress {
        associated_token_address(owner, &self.mint)
    }
}
