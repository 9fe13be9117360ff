use anchor_lang::prelude::*;
use compute_program_common::accounts;
use provider_registry::state::Provider;

use crate::errors::ComputeEscrowError;
use crate::events::SessionOpened;
use crate::instructions::SessionRequest;
use crate::seeds::{EARNINGS, SESSION};
use crate::state::{self, Earnings, Escrow, Session};

/// What an opening needs besides the request. Callers have made sure that the agent wants it and may.
pub(in crate::instructions) struct Opening<'a, 'info> {
    pub escrow: &'a mut Escrow,
    pub provider: &'a Provider,
    /// The address of the escrow's next session.
    pub session: &'a AccountInfo<'info>,
    pub earnings: &'a AccountInfo<'info>,
    /// Pays the rents.
    pub payer: &'a AccountInfo<'info>,
}

impl Opening<'_, '_> {
    /// Reserves the limit and makes the session.
    pub(in crate::instructions) fn open(
        self,
        request: &SessionRequest,
        agent: Pubkey,
        by_signature: bool,
    ) -> Result<SessionOpened> {
        let Self { escrow, provider, session: account, earnings, payer } = self;
        let SessionRequest { provider_id, content_hash, meter, limit, deadline, .. } = *request;
        let pinned = escrow.meter == Pubkey::default() || escrow.meter == meter;
        require!(meter != Pubkey::default() && pinned, ComputeEscrowError::InvalidMeter);
        require!(provider.id == provider_id, ComputeEscrowError::WrongProvider);
        let present = provider.content_hash != [0; 32] && provider.content_hash == content_hash;
        require!(present, ComputeEscrowError::ProviderChanged); // I-11

        let id = escrow.reserve(limit, deadline, state::now()?)?;
        let (escrow_seed, sequence_seed) = (escrow.id.to_le_bytes(), escrow.session_count.to_le_bytes());
        let (address, bump) = Pubkey::find_program_address(&[SESSION, &escrow_seed, &sequence_seed], &crate::ID);
        require_keys_eq!(*account.key, address, ComputeEscrowError::WrongAddress);
        let seeds: &[&[u8]] = &[SESSION, &escrow_seed, &sequence_seed, &[bump]];
        accounts::create(payer.clone(), account.clone(), Session::SPACE, seeds, &crate::ID)?;
        *accounts::fresh(account)? = Session {
            id,
            limit,
            deadline,
            provider: provider_id,
            provider_version: provider.version,
            content_hash,
            agent,
            meter,
            rent_payer: *payer.key,
            bump,
            reserved: [0; 7],
        };
        earnings_ready(provider_id, earnings, payer)?;
        let provider_version = provider.version;
        Ok(SessionOpened {
            session: id,
            agent,
            provider: provider_id,
            provider_version,
            content_hash,
            meter,
            limit,
            deadline,
            by_signature,
        })
    }
}

/// The provider's earnings are there, or are made: a close creates nothing.
fn earnings_ready<'info>(provider: u32, account: &AccountInfo<'info>, payer: &AccountInfo<'info>) -> Result<()> {
    if let Some(there) = accounts::view::<Earnings>(account, &crate::ID) {
        require!(there.provider == provider, ComputeEscrowError::WrongEarnings);
        return Ok(());
    }
    let seed = provider.to_le_bytes();
    let (address, bump) = Pubkey::find_program_address(&[EARNINGS, &seed], &crate::ID);
    require_keys_eq!(*account.key, address, ComputeEscrowError::WrongEarnings);
    let seeds: &[&[u8]] = &[EARNINGS, &seed, &[bump]];
    accounts::create(payer.clone(), account.clone(), Earnings::SPACE, seeds, &crate::ID)?;
    let mut earnings = accounts::fresh::<Earnings>(account)?;
    earnings.provider = provider;
    earnings.bump = bump;
    Ok(())
}
