use anchor_lang::prelude::*;
use compute_program_common::accounts;

use crate::errors::ComputeFuturesError;
use crate::events::{self, TermsSet};
use crate::seeds::{OPERATOR, OPERATOR_OF, REGISTRY};
use crate::state::{MAX_REFUND_DELAY, MAX_THRESHOLD, Operator, OperatorOf, Registry, Tier, pack_tiers};

/// What an operator offers to accounts opened from now on.
#[derive(AnchorSerialize, AnchorDeserialize, Clone, Debug)]
pub struct Terms {
    /// Seconds between request and refund; at most 30 days (I-4).
    pub refund_delay: u32,
    /// Smallest amount that opens an account; above zero, below 2^48.
    pub minimum_deposit: u64,
    /// keccak256 of the operator's rate card in canonical JSON.
    pub rate_card_hash: [u8; 32],
    /// Up to three, rising in both fields; discounts from 1 to 9,999.
    pub tiers: Vec<Tier>,
}

/// Publishes terms for accounts opened from now on; the first call registers the operator (I-9: nobody is asked).
#[event_cpi]
#[derive(Accounts)]
pub struct SetTerms<'info> {
    /// Pays the rents of a first call. Any signer.
    #[account(mut)]
    pub payer: Signer<'info>,
    /// The operator's key, for good.
    pub authority: Signer<'info>,
    /// The PDA; created by the first operator of all.
    #[account(init_if_needed, payer = payer, space = 8 + Registry::INIT_SPACE, seeds = [REGISTRY], bump)]
    pub registry: Account<'info, Registry>,
    /// The PDA of the authority; created by its first call.
    #[account(
        init_if_needed, payer = payer, space = 8 + OperatorOf::INIT_SPACE,
        seeds = [OPERATOR_OF, authority.key().as_ref()], bump
    )]
    pub operator_of: Account<'info, OperatorOf>,
    /// CHECK: at the first call the PDA of the next index, derived and created; later of this program by owner and discriminator,
    /// and the authority's by what it stores.
    #[account(mut)]
    pub operator: UncheckedAccount<'info>,
    /// For the rents.
    pub system_program: Program<'info, System>,
}

impl SetTerms<'_> {
    pub(crate) fn process<'info>(ctx: Context<'info, SetTerms<'info>>, terms: Terms) -> Result<()> {
        require!(terms.refund_delay <= MAX_REFUND_DELAY, ComputeFuturesError::InvalidRefundDelay);
        let minimum = terms.minimum_deposit;
        require!(minimum != 0 && minimum <= MAX_THRESHOLD, ComputeFuturesError::InvalidMinimumDeposit);
        let tiers = pack_tiers(&terms.tiers)?;

        let accounts = ctx.accounts;
        if accounts.operator_of.operator_index == 0 {
            let next = accounts.registry.operator_count.checked_add(1);
            let index = next.ok_or(ErrorCode::InvalidNumericConversion)?;
            accounts.registry.operator_count = index;
            accounts.registry.bump = ctx.bumps.registry;
            accounts.operator_of.operator_index = index;
            accounts.operator_of.bump = ctx.bumps.operator_of;
            register(index, accounts.authority.key(), &accounts.operator, accounts.payer.as_ref())?;
        }
        let loader = AccountLoader::<Operator>::try_from(&accounts.operator)?;
        let mut operator = loader.load_mut()?;
        require_keys_eq!(operator.authority, accounts.authority.key(), ComputeFuturesError::NotOperator);
        operator.terms_version += 1;
        operator.refund_delay = terms.refund_delay;
        operator.minimum_deposit = minimum;
        operator.rate_card_hash = terms.rate_card_hash;
        operator.tiers = tiers;
        let event = TermsSet {
            operator_index: operator.index,
            operator: operator.authority,
            terms_version: operator.terms_version,
            refund_delay: terms.refund_delay,
            minimum_deposit: minimum,
            rate_card_hash: terms.rate_card_hash,
            tiers: terms.tiers,
        };
        events::record(&accounts.event_authority, &event)
    }
}

/// Creates the operator of this index.
fn register<'info>(
    index: u32,
    authority: Pubkey,
    account: &AccountInfo<'info>,
    payer: &AccountInfo<'info>,
) -> Result<()> {
    let index_seed = index.to_le_bytes();
    let (address, bump) = Pubkey::find_program_address(&[OPERATOR, &index_seed], &crate::ID);
    require_keys_eq!(*account.key, address, ComputeFuturesError::WrongOperatorAddress);
    accounts::create(payer.clone(), account.clone(), Operator::SPACE, &[OPERATOR, &index_seed, &[bump]], &crate::ID)?;
    let mut operator = accounts::fresh::<Operator>(account)?;
    operator.authority = authority;
    operator.index = index;
    operator.bump = bump;
    Ok(())
}
