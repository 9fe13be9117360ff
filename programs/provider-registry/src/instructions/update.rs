use anchor_lang::prelude::*;

use crate::content::Content;
use crate::events::{self, ProviderUpdated};
use crate::state::Provider;

/// Replaces the content, as the next version. Open sessions keep theirs (I-11).
#[event_cpi]
#[derive(Accounts)]
pub struct Update<'info> {
    /// The owner, by what the provider stores.
    pub owner: Signer<'info>,
    /// Of this program, by owner and discriminator.
    #[account(mut)]
    pub provider: AccountLoader<'info, Provider>,
}

impl Update<'_> {
    pub(crate) fn process(ctx: Context<Update>, content: Content) -> Result<()> {
        let accounts = ctx.accounts;
        let mut provider = accounts.provider.load_mut()?;
        provider.check_owner(accounts.owner.key)?;
        provider.publish(&content)?;
        let Provider { id, owner, version, content_hash, .. } = *provider;
        let event = ProviderUpdated { provider: id, owner, version, content_hash, content };
        events::record(&accounts.event_authority, &event)
    }
}
