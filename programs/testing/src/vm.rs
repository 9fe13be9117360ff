//! A chain with USDC and programs, and how tests talk to it.

use std::path::PathBuf;

use anchor_lang::{InstructionData, ToAccountMetas};
use compute_program_common::cluster::USDC as MINT;
use litesvm::LiteSVM;
use litesvm::types::{FailedTransactionMetadata, TransactionMetadata};
use solana_account::Account;
use solana_address::Address;
use solana_clock::Clock;
use solana_instruction_error::InstructionError;
use solana_message::Message;
use solana_signer::Signer;
use solana_transaction::Transaction;
use solana_transaction_error::TransactionError;

use crate::accounts::{self, token_address};
use crate::{AccountMeta, Instruction, Keypair, Pubkey};

/// One USDC.
pub const USDC: u64 = 1_000_000;
/// When tests begin.
pub const NOW: i64 = 1_790_000_000;

/// What became of a transaction.
pub type Sent = Result<TransactionMetadata, Box<FailedTransactionMetadata>>;

/// The repository's root.
pub fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The same key, as litesvm wants it.
pub fn address(key: Pubkey) -> Address {
    Address::new_from_array(key.to_bytes())
}

/// The public key.
pub fn key(keypair: &Keypair) -> Pubkey {
    Pubkey::new_from_array(keypair.pubkey().to_bytes())
}

/// A key that depends on nothing but its name.
pub fn keypair(name: &str) -> Keypair {
    use sha2::{Digest, Sha256};
    Keypair::new_from_array(Sha256::digest(name.as_bytes()).into())
}

/// Cases of a property: many more with COMPUTE_FUTURES_SLOW_TESTS (`make test-all`).
pub fn cases(everyday: u32) -> proptest::test_runner::Config {
    let cases = if std::env::var_os("COMPUTE_FUTURES_SLOW_TESTS").is_some() { everyday * 40 } else { everyday };
    proptest::test_runner::Config { cases, failure_persistence: None, ..Default::default() }
}

/// An instruction as Anchor's client code has it.
pub fn instruction(program: Pubkey, accounts: &impl ToAccountMetas, data: &impl InstructionData) -> Instruction {
    let meta = |meta: anchor_lang::prelude::AccountMeta| AccountMeta {
        pubkey: address(meta.pubkey),
        is_signer: meta.is_signer,
        is_writable: meta.is_writable,
    };
    let accounts = accounts.to_account_metas(None).into_iter().map(meta).collect();
    Instruction { program_id: address(program), accounts, data: data.data() }
}

/// A chain with these programs (id, name of the fixture), USDC, and a relayer with lamports. `COMPUTE_FUTURES_FIXTURES` names a folder with
/// other builds: programs/mutants.mjs takes checks out.
pub fn chain(programs: &[(Pubkey, &str)], relayer: &Keypair) -> LiteSVM {
    let mut svm = LiteSVM::new().with_precompiles();
    let committed = || root().join("programs/fixtures");
    let fixtures = std::env::var_os("COMPUTE_FUTURES_FIXTURES").map_or_else(committed, PathBuf::from);
    for (id, name) in programs {
        svm.add_program_from_file(address(*id), fixtures.join(format!("{name}.so"))).expect("make programs");
    }
    svm.airdrop(&relayer.pubkey(), 1 << 37).unwrap();
    svm.set_account(address(MINT), accounts::mint(accounts::TOKEN)).unwrap();
    svm
}

/// What tests do with a chain.
pub trait Vm {
    /// Interfaces of the programs (`idls/`).
    const IDLS: &'static [&'static str];

    /// The chain.
    fn svm(&self) -> &LiteSVM;
    /// The chain.
    fn svm_mut(&mut self) -> &mut LiteSVM;
    /// Pays fees and rents.
    fn relayer(&self) -> &Keypair;

    /// Sends; the relayer pays.
    fn send(&mut self, instructions: &[Instruction], signers: &[&Keypair]) -> Sent {
        self.svm_mut().expire_blockhash();
        let relayer = self.relayer().insecure_clone();
        let message = Message::new(instructions, Some(&relayer.pubkey()));
        let mut all = vec![&relayer];
        all.extend(signers.iter().filter(|signer| signer.pubkey() != relayer.pubkey()));
        let transaction = Transaction::new(&all, message, self.svm().latest_blockhash());
        self.svm_mut().send_transaction(transaction).map_err(Box::new)
    }

    /// Succeeds.
    #[track_caller]
    fn ok(&mut self, instructions: &[Instruction], signers: &[&Keypair]) -> TransactionMetadata {
        match self.send(instructions, signers) {
            Ok(done) => done,
            Err(failed) => panic!("{:?}\n{}", failed.err, failed.meta.pretty_logs()),
        }
    }

    /// Fails with exactly this error code.
    #[track_caller]
    fn fails(&mut self, instructions: &[Instruction], signers: &[&Keypair], code: u32) {
        let failed = self.send(instructions, signers).expect_err("this must be refused");
        match failed.err {
            TransactionError::InstructionError(_, InstructionError::Custom(given)) => {
                assert_eq!(given, code, "{}", failed.meta.pretty_logs());
            }
            other => panic!("{other:?}\n{}", failed.meta.pretty_logs()),
        }
    }

    /// The clock's Unix seconds.
    fn set_time(&mut self, seconds: i64) {
        let mut clock: Clock = self.svm().get_sysvar();
        clock.unix_timestamp = seconds;
        self.svm_mut().set_sysvar(&clock);
    }

    /// Plants an account.
    fn set(&mut self, at: Pubkey, account: Account) {
        self.svm_mut().set_account(address(at), account).unwrap();
    }

    /// An account, if it is there.
    fn get(&self, at: Pubkey) -> Option<Account> {
        self.svm().get_account(&address(at)).filter(|account| account.lamports != 0)
    }

    /// The zero-copy account of this kind and program at this address, if there is any.
    fn read<T: bytemuck::AnyBitPattern + anchor_lang::Discriminator>(&self, at: Pubkey, program: Pubkey) -> Option<T> {
        let account = self.get(at)?;
        assert_eq!(account.owner, address(program));
        assert!(account.data.starts_with(T::DISCRIMINATOR));
        Some(bytemuck::pod_read_unaligned(&account.data[8..]))
    }

    /// Its lamports.
    fn lamports(&self, at: Pubkey) -> u64 {
        self.svm().get_balance(&address(at)).unwrap_or_default()
    }

    /// Gives the wallet a USDC token account (its ATA) with this balance.
    fn fund(&mut self, wallet: Pubkey, amount: u64) -> Pubkey {
        let at = token_address(wallet);
        self.set(at, accounts::token(wallet, MINT, amount, accounts::TOKEN));
        at
    }

    /// USDC of a wallet's ATA.
    fn usdc(&self, wallet: Pubkey) -> u64 {
        self.get(token_address(wallet)).map_or(0, |account| accounts::token_amount(&account.data))
    }
}
