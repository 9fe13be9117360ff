use anchor_lang::prelude::*;
use compute_program_common::accounts;

use crate::content::Content;
use crate::errors::ProviderRegistryError;
use crate::events::{self, ProviderRegistered};
use crate::seeds::{PROVIDER, REGISTRY};
use crate::state::{Provider, Registry};

/// Registers the next provider, owned by whoever signs as owner (I-9: nobody is asked).
#[event_cpi]
#[derive(Accounts)]
pub struct Register<'info> {
    /// Pays the rents. Any signer.
    #[account(mut)]
    pub payer: Signer<'info>,
    /// The provider's owner, for good.
    pub owner: Signer<'info>,
    /// The PDA; created by the first provider of all.
    #[account(init_if_needed, payer = payer, space = 8 + Registry::INIT_SPACE, seeds = [REGISTRY], bump)]
    pub registry: Account<'info, Registry>,
    /// CHECK: the PDA of the next number, derived and created.
    #[account(mut)]
    pub provider: UncheckedAccount<'info>,
    /// For the rents.
    pub system_program: Program<'info, System>,
}

impl Register<'_> {
    pub(crate) fn process(ctx: Context<Register>, content: Content) -> Result<()> {
        let accounts = ctx.accounts;
        let next = accounts.registry.provider_count.checked_add(1);
        let id = next.ok_or(ErrorCode::InvalidNumericConversion)?;
        accounts.registry.provider_count = id;
        accounts.registry.bump = ctx.bumps.registry;

        let id_seed = id.to_le_bytes();
        let (address, bump) = Pubkey::find_program_address(&[PROVIDER, &id_seed], &crate::ID);
        require_keys_eq!(accounts.provider.key(), address, ProviderRegistryError::WrongAddress);
        let seeds: &[&[u8]] = &[PROVIDER, &id_seed, &[bump]];
        let (payer, account) = (accounts.payer.to_account_info(), accounts.provider.to_account_info());
        accounts::create(payer, account, Provider::SPACE, seeds, &crate::ID)?;

        let owner = accounts.owner.key();
        let content_hash = {
            let mut provider = accounts::fresh::<Provider>(&accounts.provider)?;
            provider.owner = owner;
            provider.id = id;
            provider.bump = bump;
            provider.publish(&content)?;
            provider.content_hash
        };
        let event = ProviderRegistered { provider: id, owner, version: 1, content_hash, content };
        events::record(&accounts.event_authority, &event)
    }
}
