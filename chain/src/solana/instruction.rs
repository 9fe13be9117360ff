//! The program's instructions, and those of the programs around it. Accounts and arguments: docs/adr/010-solana.md.

use compute_futures_protocol::solana::{ASSOCIATED_TOKEN_PROGRAM, TOKEN_PROGRAM, associated_token_address};
use compute_futures_protocol::{AccountId, B256, DepositTerms, SolanaAddress, Terms, Usdc};

use super::message::{Instruction, Meta};
use super::program::Program;
use crate::{ChainError, DebitRow};

pub(super) const SYSTEM: SolanaAddress = SolanaAddress::new([0; 32]);
pub(super) const COMPUTE_BUDGET: SolanaAddress =
    SolanaAddress::from_str_const("ComputeBudget111111111111111111111111111111");
const ED25519: SolanaAddress = SolanaAddress::from_str_const("Ed25519SigVerify111111111111111111111111111");
pub(super) const INSTRUCTIONS: SolanaAddress =
    SolanaAddress::from_str_const("Sysvar1nstructions1111111111111111111111111");
/// What the precompile's data says of itself: one signature, all of it in this instruction, in this order.
const ED25519_HEADER: [u8; 16] = [1, 0, 48, 0, 0xff, 0xff, 16, 0, 0xff, 0xff, 112, 0, 32, 0, 0xff, 0xff];
/// Decimals of USDC.
const DECIMALS: u8 = 6;

/// What a transaction may use and offers for it: compute units, micro-lamports a unit.
pub(super) fn compute_budget(units: u32, price: u64) -> [Instruction; 2] {
    let call = |data: Vec<u8>| Instruction { program: COMPUTE_BUDGET, accounts: Vec::new(), data };
    [call([&[2][..], &units.to_le_bytes()].concat()), call([&[3][..], &price.to_le_bytes()].concat())]
}

/// Creates the associated token account of `owner` unless it is there.
pub(super) fn create_wallet(payer: SolanaAddress, owner: SolanaAddress, mint: SolanaAddress) -> Instruction {
    let accounts = vec![
        Meta::pays(payer),
        Meta::writes(associated_token_address(&owner, &mint)),
        Meta::reads(owner),
        Meta::reads(mint),
        Meta::reads(SYSTEM),
        Meta::reads(TOKEN_PROGRAM),
    ];
    Instruction { program: ASSOCIATED_TOKEN_PROGRAM, accounts, data: vec![1] }
}

/// A checked transfer of USDC between two wallets' associated token accounts.
pub(super) fn transfer(program: &Program, from: SolanaAddress, to: SolanaAddress, amount: Usdc) -> Instruction {
    let accounts = vec![
        Meta::writes(program.wallet(&from)),
        Meta::reads(program.mint),
        Meta::writes(program.wallet(&to)),
        Meta::signs(from),
    ];
    let data = [&[12][..], &amount.micros().to_le_bytes(), &[DECIMALS]].concat();
    Instruction { program: TOKEN_PROGRAM, accounts, data }
}

/// Lets the runtime check an ed25519 signature over a digest.
pub(super) fn check_signature(signer: SolanaAddress, signature: &[u8; 64], digest: B256) -> Instruction {
    let data = [&ED25519_HEADER[..], &signer.0, signature, digest.as_slice()].concat();
    Instruction { program: ED25519, accounts: Vec::new(), data }
}

impl Program {
    fn call(&self, mut accounts: Vec<Meta>, data: Vec<u8>) -> Instruction {
        accounts.extend([Meta::reads(self.event_authority), Meta::reads(self.id)]);
        Instruction { program: self.id, accounts, data }
    }

    /// `None` stands as the program's own id.
    fn optional(&self, account: Option<Meta>) -> Meta {
        account.unwrap_or(Meta::reads(self.id))
    }

    pub(super) fn set_terms(&self, authority: SolanaAddress, index: u32, terms: &Terms) -> Instruction {
        let mut data = vec![1];
        data.extend(terms.refund_delay.to_le_bytes());
        data.extend(terms.minimum_deposit.micros().to_le_bytes());
        data.extend(terms.rate_card_hash);
        data.extend((terms.tiers.len() as u32).to_le_bytes());
        for tier in &terms.tiers {
            data.extend(tier.minimum_deposit.micros().to_le_bytes());
            data.extend(tier.discount_bps.to_le_bytes());
        }
        let accounts = vec![
            Meta::pays(authority),
            Meta::signs(authority),
            Meta::writes(self.registry),
            Meta::writes(self.operator_of(&authority)),
            Meta::writes(self.operator(index)),
            Meta::reads(SYSTEM),
        ];
        self.call(accounts, data)
    }

    pub(super) fn post_debits(
        &self,
        authority: SolanaAddress,
        operator_index: u32,
        batch_number: u64,
        receipts_root: B256,
        receipt_count: u32,
        rows: &[DebitRow],
    ) -> Result<Instruction, ChainError> {
        let mut data = vec![2];
        data.extend(&batch_number.to_le_bytes()[..5]);
        data.extend(receipts_root);
        data.extend(receipt_count.to_le_bytes());
        let accounts = vec![Meta::signs(authority), Meta::writes(self.operator(operator_index))];
        let mut call = self.call(accounts, Vec::new());
        for row in rows {
            let amount = row.list_amount.micros();
            if amount >> 48 != 0 {
                return Err(ChainError::Rejected(format!("{} USDC do not fit one row; make it two", row.list_amount)));
            }
            data.extend(row.account.sequence().to_le_bytes());
            data.extend(&amount.to_le_bytes()[..6]);
            data.extend(row.discount_bps.to_le_bytes());
            call.accounts.push(Meta::writes(self.account(row.account)));
        }
        call.data = data;
        Ok(call)
    }

    /// What both ways out share, behind the accounts that say who wants it.
    fn exit(&self, account: AccountId, exit: &Exit) -> Vec<Meta> {
        vec![
            Meta::writes(self.account(account)),
            Meta::writes(exit.rent_payer),
            self.optional(exit.deposit_address.map(Meta::writes)),
            Meta::writes(self.wallet(&exit.owner)),
            Meta::writes(self.vault),
            Meta::reads(self.vault_authority),
            Meta::reads(self.mint),
            Meta::reads(TOKEN_PROGRAM),
        ]
    }

    pub(super) fn close_account(&self, authority: SolanaAddress, account: AccountId, exit: &Exit) -> Instruction {
        let mut accounts = vec![Meta::signs(authority), Meta::reads(self.operator(account.operator_index()))];
        accounts.extend(self.exit(account, exit));
        self.call(accounts, vec![3])
    }

    pub(super) fn refund(&self, account: AccountId, exit: &Exit) -> Instruction {
        let mut accounts = vec![Meta::signs(exit.owner)];
        accounts.extend(self.exit(account, exit));
        self.call(accounts, vec![15])
    }

    pub(super) fn withdraw_earnings(
        &self,
        authority: SolanaAddress,
        operator_index: u32,
        to: SolanaAddress,
        amount: Usdc,
    ) -> Instruction {
        let accounts = vec![
            Meta::signs(authority),
            Meta::writes(self.operator(operator_index)),
            Meta::writes(self.wallet(&to)),
            Meta::writes(self.vault),
            Meta::reads(self.vault_authority),
            Meta::reads(self.mint),
            Meta::reads(TOKEN_PROGRAM),
        ];
        self.call(accounts, [&[4][..], &amount.micros().to_le_bytes()].concat())
    }

    /// `account` is the operator's next one; its rent comes from `payer`, the money from `funder`.
    pub(super) fn deposit(
        &self,
        payer: SolanaAddress,
        funder: SolanaAddress,
        owner: SolanaAddress,
        account: AccountId,
        amount: Usdc,
        ceiling: Usdc,
    ) -> Instruction {
        let accounts = vec![
            Meta::pays(payer),
            Meta::signs(funder),
            Meta { key: owner, signer: !ceiling.is_zero(), writable: false },
            Meta::writes(self.operator(account.operator_index())),
            Meta::writes(self.account(account)),
            Meta::writes(self.wallet(&funder)),
            Meta::writes(self.vault),
            Meta::reads(self.mint),
            Meta::reads(TOKEN_PROGRAM),
            Meta::reads(SYSTEM),
        ];
        self.call(accounts, two_amounts(5, amount, ceiling))
    }

    pub(super) fn top_up(&self, funder: SolanaAddress, account: AccountId, amount: Usdc, ceiling: Usdc) -> Instruction {
        let accounts = vec![
            Meta::signs(funder),
            self.optional((!ceiling.is_zero()).then_some(Meta::signs(funder))),
            Meta::reads(self.operator(account.operator_index())),
            Meta::writes(self.account(account)),
            Meta::writes(self.wallet(&funder)),
            Meta::writes(self.vault),
            Meta::reads(self.mint),
            Meta::reads(TOKEN_PROGRAM),
        ];
        self.call(accounts, two_amounts(6, amount, ceiling))
    }

    pub(super) fn open_deposit_address(&self, payer: SolanaAddress, address: &DepositAddress) -> Instruction {
        let accounts = vec![
            Meta::pays(payer),
            Meta::writes(address.address),
            Meta::writes(self.wallet(&address.address)),
            Meta::reads(self.mint),
            Meta::reads(TOKEN_PROGRAM),
            Meta::reads(ASSOCIATED_TOKEN_PROGRAM),
            Meta::reads(SYSTEM),
        ];
        let mut data = vec![7];
        data.extend(address.terms.operator_index.to_le_bytes());
        data.extend(address.owner.0);
        data.extend(address.terms.ceiling.micros().to_le_bytes());
        data.extend(address.terms.fee.micros().to_le_bytes());
        Instruction { program: self.id, accounts, data }
    }

    /// `account` is the one it feeds, or the operator's next.
    pub(super) fn sweep(&self, payer: SolanaAddress, address: &DepositAddress, account: AccountId) -> Instruction {
        let accounts = vec![
            Meta::pays(payer),
            Meta::writes(self.operator(address.terms.operator_index)),
            Meta::writes(address.address),
            Meta::writes(self.wallet(&address.address)),
            Meta::writes(self.account(account)),
            Meta::writes(self.vault),
            Meta::reads(self.mint),
            Meta::reads(TOKEN_PROGRAM),
            Meta::reads(SYSTEM),
        ];
        let mut data = vec![8];
        data.extend(address.owner.0);
        data.extend(address.terms.ceiling.micros().to_le_bytes());
        data.extend(address.terms.fee.micros().to_le_bytes());
        self.call(accounts, data)
    }

    pub(super) fn recover(&self, address: &DepositAddress, mint: SolanaAddress) -> Instruction {
        let accounts = vec![
            Meta::signs(address.owner),
            Meta::reads(address.address),
            Meta::writes(associated_token_address(&address.address, &mint)),
            Meta::writes(associated_token_address(&address.owner, &mint)),
            Meta::reads(mint),
            Meta::reads(TOKEN_PROGRAM),
        ];
        let mut data = vec![9];
        data.extend(address.terms.operator_index.to_le_bytes());
        data.extend(address.terms.ceiling.micros().to_le_bytes());
        data.extend(address.terms.fee.micros().to_le_bytes());
        self.call(accounts, data)
    }

    pub(super) fn raise_ceiling(&self, spender: SolanaAddress, account: AccountId, ceiling: Usdc) -> Instruction {
        let accounts = vec![Meta::signs(spender), Meta::writes(self.account(account))];
        self.call(accounts, [&[11][..], &ceiling.micros().to_le_bytes()].concat())
    }

    /// Behind [`check_signature`], directly.
    pub(super) fn raise_ceiling_with_signature(&self, account: AccountId, ceiling: Usdc) -> Instruction {
        let accounts = vec![Meta::writes(self.account(account)), Meta::reads(INSTRUCTIONS)];
        self.call(accounts, [&[12][..], &ceiling.micros().to_le_bytes()].concat())
    }

    pub(super) fn set_delegate(
        &self,
        owner: SolanaAddress,
        account: AccountId,
        delegate: Option<SolanaAddress>,
    ) -> Instruction {
        let mut data = vec![13, u8::from(delegate.is_some())];
        data.extend(delegate.iter().flat_map(|key| key.0));
        self.call(vec![Meta::signs(owner), Meta::writes(self.account(account))], data)
    }

    pub(super) fn request_refund(&self, owner: SolanaAddress, account: AccountId) -> Instruction {
        self.call(vec![Meta::signs(owner), Meta::writes(self.account(account))], vec![14])
    }

    pub(super) fn verify_receipt(
        &self,
        operator_index: u32,
        batch_number: u64,
        receipt_hash: B256,
        proof: &[B256],
    ) -> Instruction {
        let mut data = vec![16];
        data.extend(batch_number.to_le_bytes());
        data.extend(receipt_hash);
        data.extend((proof.len() as u32).to_le_bytes());
        proof.iter().for_each(|sibling| data.extend(sibling));
        // No proof of the batch: one of the newest 64.
        data.extend(0_u32.to_le_bytes());
        Instruction { program: self.id, accounts: vec![Meta::reads(self.operator(operator_index))], data }
    }
}

/// Where money and rent go when an account ends; the account remembers it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Exit {
    pub(super) owner: SolanaAddress,
    pub(super) rent_payer: SolanaAddress,
    pub(super) deposit_address: Option<SolanaAddress>,
}

/// A deposit address with what it commits to.
#[derive(Debug, Clone, Copy)]
pub(super) struct DepositAddress {
    pub(super) address: SolanaAddress,
    pub(super) owner: SolanaAddress,
    pub(super) terms: DepositTerms,
}

fn two_amounts(discriminator: u8, first: Usdc, second: Usdc) -> Vec<u8> {
    [&[discriminator][..], &first.micros().to_le_bytes(), &second.micros().to_le_bytes()].concat()
}
