//! Well-formed instructions; tests change one thing at a time.

use anchor_lang::{InstructionData, ToAccountMetas};
use compute_futures::rows::Rows;
use compute_futures::{ID, accounts as a, instruction as i, seeds};

use super::accounts::{INSTRUCTIONS, SYSTEM, TOKEN, key, token_address};
use super::*;

pub(crate) const EVENTS: Pubkey = compute_futures::EVENT_AUTHORITY_AND_BUMP.0;

pub(crate) fn pda(seeds: &[&[u8]]) -> Pubkey {
    Pubkey::find_program_address(seeds, &ID).0
}

pub(crate) fn operator_address(index: u32) -> Pubkey {
    pda(&[seeds::OPERATOR, &index.to_le_bytes()])
}

pub(crate) fn account_address(operator: u32, sequence: u32) -> Pubkey {
    pda(&[seeds::ACCOUNT, &operator.to_le_bytes(), &sequence.to_le_bytes()])
}

pub(crate) fn deposit_address(operator: u32, owner: Pubkey, ceiling: u64, fee: u64) -> Pubkey {
    pda(&[seeds::DEPOSIT, &operator.to_le_bytes(), owner.as_ref(), &ceiling.to_le_bytes(), &fee.to_le_bytes()])
}

fn instruction(accounts: &impl ToAccountMetas, data: &impl InstructionData) -> Instruction {
    compute_program_testing::vm::instruction(ID, accounts, data)
}

pub(crate) fn set_terms(payer: Pubkey, authority: Pubkey, index: u32, terms: Terms) -> Instruction {
    let accounts = a::SetTerms {
        payer,
        authority,
        registry: pda(&[seeds::REGISTRY]),
        operator_of: pda(&[seeds::OPERATOR_OF, authority.as_ref()]),
        operator: operator_address(index),
        system_program: SYSTEM,
        event_authority: EVENTS,
        program: ID,
    };
    instruction(&accounts, &i::SetTerms { terms })
}

pub(crate) fn post_debits(authority: Pubkey, operator: u32, number: u64, root: [u8; 32], rows: &[Row]) -> Instruction {
    let accounts = rows.iter().map(|row| account_address(operator, row.sequence)).collect::<Vec<_>>();
    post_debits_to(authority, operator, number, root, rows, &accounts)
}

pub(crate) fn post_debits_to(
    authority: Pubkey,
    operator: u32,
    number: u64,
    root: [u8; 32],
    rows: &[Row],
    of: &[Pubkey],
) -> Instruction {
    let accounts =
        a::PostDebits { authority, operator: operator_address(operator), event_authority: EVENTS, program: ID };
    let data = i::PostDebits {
        batch_number: number.to_le_bytes()[..5].try_into().unwrap(),
        receipts_root: root,
        receipt_count: rows.len() as u32,
        rows: Rows::new(rows).unwrap(),
    };
    let mut built = instruction(&accounts, &data);
    built.accounts.extend(of.iter().map(|account| AccountMeta::new(address(*account), false)));
    built
}

pub(crate) struct Deposit {
    pub(crate) payer: Pubkey,
    pub(crate) funder: Pubkey,
    pub(crate) owner: Pubkey,
    pub(crate) operator: u32,
    pub(crate) sequence: u32,
    pub(crate) amount: u64,
    pub(crate) ceiling: u64,
}

impl Deposit {
    /// The owner pays, the relayer the rent: the operator's next account, 100 USDC, unlimited.
    pub(crate) fn by(world: &World, operator: u32, owner: &Keypair) -> Self {
        Self {
            payer: key(&world.relayer),
            funder: key(owner),
            owner: key(owner),
            operator,
            sequence: world.operator(operator).last_sequence + 1,
            amount: 100 * USDC,
            ceiling: UNLIMITED,
        }
    }

    pub(crate) fn instruction(&self) -> Instruction {
        let accounts = a::Deposit {
            payer: self.payer,
            funder: self.funder,
            owner: self.owner,
            operator: operator_address(self.operator),
            account: account_address(self.operator, self.sequence),
            source: token_address(self.funder),
            vault: seeds::VAULT_TOKEN_ACCOUNT,
            mint: seeds::USDC,
            token_program: TOKEN,
            system_program: SYSTEM,
            event_authority: EVENTS,
            program: ID,
        };
        let mut built = instruction(&accounts, &i::Deposit { amount: self.amount, ceiling: self.ceiling });
        built.accounts[2].is_signer = self.ceiling != 0;
        built
    }
}

pub(crate) fn top_up(funder: Pubkey, spender: Option<Pubkey>, sequence: u32, amount: u64, ceiling: u64) -> Instruction {
    let accounts = a::TopUp {
        funder,
        spender,
        operator: operator_address(1),
        account: account_address(1, sequence),
        source: token_address(funder),
        vault: seeds::VAULT_TOKEN_ACCOUNT,
        mint: seeds::USDC,
        token_program: TOKEN,
        event_authority: EVENTS,
        program: ID,
    };
    instruction(&accounts, &i::TopUp { amount, ceiling })
}

pub(crate) fn raise_ceiling(spender: Pubkey, sequence: u32, ceiling: u64) -> Instruction {
    let account = account_address(1, sequence);
    let accounts = a::RaiseCeiling { spender, account, event_authority: EVENTS, program: ID };
    instruction(&accounts, &i::RaiseCeiling { ceiling })
}

pub(crate) fn raise_ceiling_with_signature(account: Pubkey, ceiling: u64) -> Instruction {
    let accounts =
        a::RaiseCeilingWithSignature { account, instructions: INSTRUCTIONS, event_authority: EVENTS, program: ID };
    instruction(&accounts, &i::RaiseCeilingWithSignature { ceiling })
}

pub(crate) fn set_delegate(owner: Pubkey, sequence: u32, delegate: Option<Pubkey>) -> Instruction {
    let account = account_address(1, sequence);
    let accounts = a::SetDelegate { owner, account, event_authority: EVENTS, program: ID };
    instruction(&accounts, &i::SetDelegate { delegate })
}

pub(crate) fn request_refund(owner: Pubkey, sequence: u32) -> Instruction {
    let account = account_address(1, sequence);
    let accounts = a::RequestRefund { owner, account, event_authority: EVENTS, program: ID };
    instruction(&accounts, &i::RequestRefund {})
}

pub(crate) fn refund(owner: Pubkey, sequence: u32, rent_payer: Pubkey, deposit: Option<Pubkey>) -> Instruction {
    let accounts = a::Refund {
        owner,
        account: account_address(1, sequence),
        rent_payer,
        deposit_address: deposit,
        owner_token: token_address(owner),
        vault: seeds::VAULT_TOKEN_ACCOUNT,
        vault_authority: seeds::VAULT_AUTHORITY,
        mint: seeds::USDC,
        token_program: TOKEN,
        event_authority: EVENTS,
        program: ID,
    };
    instruction(&accounts, &i::Refund {})
}

pub(crate) fn close_account(
    authority: Pubkey,
    sequence: u32,
    owner: Pubkey,
    rent_payer: Pubkey,
    deposit: Option<Pubkey>,
) -> Instruction {
    let accounts = a::CloseAccount {
        authority,
        operator: operator_address(1),
        account: account_address(1, sequence),
        rent_payer,
        deposit_address: deposit,
        owner_token: token_address(owner),
        vault: seeds::VAULT_TOKEN_ACCOUNT,
        vault_authority: seeds::VAULT_AUTHORITY,
        mint: seeds::USDC,
        token_program: TOKEN,
        event_authority: EVENTS,
        program: ID,
    };
    instruction(&accounts, &i::CloseAccount {})
}

pub(crate) fn withdraw_earnings(authority: Pubkey, to: Pubkey, amount: u64) -> Instruction {
    let accounts = a::WithdrawEarnings {
        authority,
        operator: operator_address(1),
        destination: token_address(to),
        vault: seeds::VAULT_TOKEN_ACCOUNT,
        vault_authority: seeds::VAULT_AUTHORITY,
        mint: seeds::USDC,
        token_program: TOKEN,
        event_authority: EVENTS,
        program: ID,
    };
    instruction(&accounts, &i::WithdrawEarnings { amount })
}

/// A deposit address of operator 1: what it commits to.
#[derive(Clone, Copy)]
pub(crate) struct Committed {
    pub(crate) owner: Pubkey,
    pub(crate) ceiling: u64,
    pub(crate) fee: u64,
}

impl Committed {
    pub(crate) fn address(&self) -> Pubkey {
        deposit_address(1, self.owner, self.ceiling, self.fee)
    }

    pub(crate) fn open(&self, payer: Pubkey) -> Instruction {
        let Self { owner, ceiling, fee } = *self;
        let accounts = a::OpenDepositAddress {
            payer,
            deposit_address: self.address(),
            deposit_token: token_address(self.address()),
            mint: seeds::USDC,
            token_program: TOKEN,
            associated_token_program: anchor_spl::associated_token::ID,
            system_program: SYSTEM,
        };
        instruction(&accounts, &i::OpenDepositAddress { operator_index: 1, owner, ceiling, fee })
    }

    pub(crate) fn sweep(&self, payer: Pubkey, sequence: u32) -> Instruction {
        let Self { owner, ceiling, fee } = *self;
        let accounts = a::Sweep {
            payer,
            operator: operator_address(1),
            deposit_address: self.address(),
            deposit_token: token_address(self.address()),
            account: account_address(1, sequence),
            vault: seeds::VAULT_TOKEN_ACCOUNT,
            mint: seeds::USDC,
            token_program: TOKEN,
            system_program: SYSTEM,
            event_authority: EVENTS,
            program: ID,
        };
        instruction(&accounts, &i::Sweep { owner, ceiling, fee })
    }

    /// `from`, `to`: token accounts of the address and of the owner.
    pub(crate) fn recover(&self, from: Pubkey, to: Pubkey, mint: Pubkey, token_program: Pubkey) -> Instruction {
        let Self { owner, ceiling, fee } = *self;
        let accounts = a::Recover {
            owner,
            deposit_address: self.address(),
            source: from,
            destination: to,
            mint,
            token_program,
            event_authority: EVENTS,
            program: ID,
        };
        instruction(&accounts, &i::Recover { operator_index: 1, ceiling, fee })
    }

    pub(crate) fn close(&self, rent_payer: Pubkey, owner_token: Option<Pubkey>) -> Instruction {
        let Self { owner, ceiling, fee } = *self;
        let accounts = a::CloseDepositAddress {
            rent_payer,
            deposit_address: self.address(),
            deposit_token: token_address(self.address()),
            owner_token,
            mint: seeds::USDC,
            token_program: TOKEN,
            event_authority: EVENTS,
            program: ID,
        };
        instruction(&accounts, &i::CloseDepositAddress { operator_index: 1, owner, ceiling, fee })
    }
}

pub(crate) fn verify_receipt(
    operator: u32,
    batch_number: u64,
    receipt_hash: [u8; 32],
    proof: Vec<[u8; 32]>,
    batch_proof: Vec<[u8; 32]>,
) -> Instruction {
    let accounts = a::VerifyReceipt { operator: operator_address(operator) };
    instruction(&accounts, &i::VerifyReceipt { batch_number, receipt_hash, proof, batch_proof })
}
