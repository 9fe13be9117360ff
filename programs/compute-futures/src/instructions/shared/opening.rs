use anchor_lang::prelude::*;
use compute_program_common::accounts;

use crate::errors::ComputeFuturesError;
use crate::events::{Deposited, Opened, Raised};
use crate::seeds::{ACCOUNT, VAULT_AUTHORITY};
use crate::state::{self, FuturesAccount, Operator};

/// What a new account starts with.
pub(in crate::instructions) struct Opening {
    pub owner: Pubkey,
    /// Whose tokens.
    pub payer: Pubkey,
    pub amount: u64,
    pub ceiling: u64,
    /// Zero: none.
    pub deposit_address: Pubkey,
}

impl Opening {
    /// Opens the operator's next account at its present terms, rent from `rent_payer`; the tokens are the caller's business.
    pub(in crate::instructions) fn open<'info>(
        self,
        operator: &mut Operator,
        account: &AccountInfo<'info>,
        rent_payer: &AccountInfo<'info>,
    ) -> Result<Deposited> {
        let Self { owner, payer, amount, ceiling, deposit_address } = self;
        let nobody = owner == Pubkey::default() || owner == crate::ID || owner == VAULT_AUTHORITY;
        require!(!nobody, ComputeFuturesError::InvalidOwner);
        require!(amount >= operator.minimum_deposit, ComputeFuturesError::DepositTooSmall);
        require!(amount <= state::MAX_AMOUNT, ComputeFuturesError::CreditOverflow);
        state::check_amount(ceiling)?;
        require!(operator.last_sequence < state::LAST_SEQUENCE, ComputeFuturesError::SequenceExhausted);
        let sequence = operator.last_sequence + 1;

        let index_seed = operator.index.to_le_bytes();
        let sequence_seed = sequence.to_le_bytes();
        let (address, bump) = Pubkey::find_program_address(&[ACCOUNT, &index_seed, &sequence_seed], &crate::ID);
        require_keys_eq!(*account.key, address, ComputeFuturesError::WrongAccountAddress);
        let seeds: &[&[u8]] = &[ACCOUNT, &index_seed, &sequence_seed, &[bump]];
        accounts::create(rent_payer.clone(), account.clone(), FuturesAccount::SPACE, seeds, &crate::ID)?;

        let id = state::account_id(operator.index, sequence);
        let discount_bps = state::discount_for(&operator.tiers, amount);
        *accounts::fresh(account)? = FuturesAccount {
            id,
            credit: amount,
            charged: 0,
            ceiling,
            discount_from_batch: 0,
            refundable_at: 0,
            terms_version: operator.terms_version,
            refund_delay: operator.refund_delay,
            tiers: operator.tiers,
            remainder: 0,
            discount_bps,
            previous_discount_bps: discount_bps,
            bump,
            reserved: 0,
            owner,
            delegate: Pubkey::default(),
            rent_payer: *rent_payer.key,
            deposit_address,
        };
        operator.last_sequence = sequence;
        Ok(Deposited {
            account: id,
            payer,
            amount,
            credit: amount,
            discount_bps,
            previous_discount_bps: discount_bps,
            discount_from_batch: 0,
            opened: Some(Opened { owner, operator_index: operator.index, terms_version: operator.terms_version }),
            raised: (ceiling != 0).then_some(Raised { signer: owner, ceiling }),
            swept: None,
        })
    }
}

/// Adds credit to an open account of this operator, and raises its ceiling for `signer` where that is asked and higher.
pub(in crate::instructions) fn top_up(
    account: &mut FuturesAccount,
    operator: &Operator,
    payer: Pubkey,
    amount: u64,
    raise: Option<Raised>,
) -> Result<Deposited> {
    require!(account.operator_index() == operator.index, ComputeFuturesError::NotAccountOperator);
    account.top_up(amount, operator.last_batch)?;
    let raised = raise.filter(|raise| raise.ceiling > account.ceiling);
    if let Some(raised) = &raised {
        account.raise_ceiling(raised.ceiling)?;
    }
    Ok(Deposited {
        account: account.id,
        payer,
        amount,
        credit: account.credit,
        discount_bps: account.discount_bps,
        previous_discount_bps: account.previous_discount_bps,
        discount_from_batch: account.discount_from_batch,
        opened: None,
        raised,
        swept: None,
    })
}
