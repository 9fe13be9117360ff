use anchor_lang::prelude::*;

use crate::events::{self, ProviderRetired};
use crate::state::Provider;

/// Takes the provider out of the market, for good. Its open sessions end as usual, its earnings stay its owner's.
#[event_cpi]
#[derive(Accounts)]
pub struct Retire<'info> {
    /// The owner, by what the provider stores.
    pub owner: Signer<'info>,
    /// Of this program, by owner and discriminator.
    #[account(mut)]
    pub provider: AccountLoader<'info, Provider>,
}

impl Retire<'_> {
    pub(crate) fn process(ctx: Context<Retire>) -> Result<()> {
        let accounts = ctx.accounts;
        let mut provider = accounts.provider.load_mut()?;
        provider.check_owner(accounts.owner.key)?;
        provider.retire();
        let event = ProviderRetired { provider: provider.id, owner: provider.owner, version: provider.version };
        events::record(&accounts.event_authority, &event)
    }
}
