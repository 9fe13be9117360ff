use std::path::PathBuf;

use litesvm::LiteSVM;
use litesvm::types::{FailedTransactionMetadata, TransactionMetadata};
use solana_address::Address;
use solana_clock::Clock;
use solana_message::Message;
use solana_signer::Signer;
use solana_transaction::Transaction;
use solana_transaction_error::TransactionError;

use super::accounts::{self, key, token_address};
use super::*;

pub(crate) const USDC: u64 = 1_000_000;
pub(crate) const UNLIMITED: u64 = (1 << 56) - 1;
pub(crate) const DELAY: u32 = 3_600;
pub(crate) const NOW: i64 = 1_790_000_000;

/// The operator can pay fees, the owner never has any.
const OPERATOR_LAMPORTS: u64 = 1 << 30;

pub(crate) type Sent = Result<TransactionMetadata, Box<FailedTransactionMetadata>>;

/// The repository's root.
pub(crate) fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../..")
}

pub(crate) fn address(key: Pubkey) -> Address {
    Address::new_from_array(key.to_bytes())
}

/// Cases of a property: many more with COMPUTE_FUTURES_SLOW_TESTS (`make test-all`).
pub(crate) fn cases(everyday: u32) -> proptest::test_runner::Config {
    let cases = if std::env::var_os("COMPUTE_FUTURES_SLOW_TESTS").is_some() { everyday * 40 } else { everyday };
    proptest::test_runner::Config { cases, failure_persistence: None, ..Default::default() }
}

/// A key that depends on nothing but its name.
pub(crate) fn keypair(name: &str) -> Keypair {
    use sha2::{Digest, Sha256};
    Keypair::new_from_array(Sha256::digest(name.as_bytes()).into())
}

/// None < 10 USDC, 5% from 10, 10% from 50, 15% from 200.
pub(crate) fn terms() -> Terms {
    let tier = |dollars: u64, discount_bps| Tier { minimum_deposit: dollars * USDC, discount_bps };
    Terms {
        refund_delay: DELAY,
        minimum_deposit: USDC,
        rate_card_hash: [7; 32],
        tiers: vec![tier(10, 500), tier(50, 1000), tier(200, 1500)],
    }
}

pub(crate) struct World {
    pub(crate) svm: LiteSVM,
    /// Pays fees and rents.
    pub(crate) relayer: Keypair,
    /// Operator 1.
    pub(crate) operator: Keypair,
    pub(crate) owner: Keypair,
}

impl World {
    /// The program, USDC, the vault; nobody registered, nobody with money.
    pub(crate) fn bare() -> Self {
        let mut svm = LiteSVM::new().with_precompiles();
        let committed = || root().join("programs/fixtures/compute_futures.so");
        // Another build of it: programs/mutants.mjs takes checks out.
        let program = std::env::var_os("COMPUTE_FUTURES_PROGRAM").map_or_else(committed, PathBuf::from);
        svm.add_program_from_file(address(compute_futures::ID), program).expect("make programs");
        let mut world =
            Self { svm, relayer: keypair("relayer"), operator: keypair("operator"), owner: keypair("owner") };
        world.svm.airdrop(&world.relayer.pubkey(), 1 << 37).unwrap();
        world.svm.airdrop(&world.operator.pubkey(), OPERATOR_LAMPORTS).unwrap();
        world.set(compute_futures::seeds::USDC, accounts::mint(accounts::TOKEN));
        world.fund(compute_futures::seeds::VAULT_AUTHORITY, 0);
        world.set_time(NOW);
        world
    }

    /// With operator 1 at [`terms`], and the owner rich.
    pub(crate) fn new() -> Self {
        let mut world = Self::bare();
        let operator = world.operator.insecure_clone();
        let set = set_terms(key(&world.relayer), key(&operator), 1, terms());
        world.ok(&[set], &[&operator]);
        world.fund(key(&world.owner), 1_000_000 * USDC);
        world
    }

    /// A second operator with the same terms.
    pub(crate) fn second_operator(&mut self) -> Keypair {
        let other = keypair("operator 2");
        self.ok(&[set_terms(key(&self.relayer), key(&other), 2, terms())], &[&other]);
        other
    }

    /// Opens the operator's next account for the owner; returns its sequence.
    pub(crate) fn open(&mut self, operator: u32, owner: &Keypair, amount: u64, ceiling: u64) -> u32 {
        let sequence = self.operator(operator).last_sequence + 1;
        let deposit = Deposit { sequence, amount, ceiling, ..Deposit::by(self, operator, owner) }.instruction();
        self.ok(&[deposit], &[owner]);
        sequence
    }

    /// Account 1 of operator 1: 100 USDC, unlimited ceiling, 10% off.
    pub(crate) fn with_account() -> Self {
        let mut world = Self::new();
        let owner = world.owner.insecure_clone();
        assert_eq!(world.open(1, &owner, 100 * USDC, UNLIMITED), 1);
        world
    }

    /// Posts the operator's next batch.
    pub(crate) fn post(&mut self, rows: &[Row]) -> BatchPosted {
        let operator = self.operator.insecure_clone();
        let number = self.operator(1).last_batch + 1;
        let post = post_debits(key(&operator), 1, number, [number as u8; 32], rows);
        event(&self.ok(&[post], &[&operator]))
    }

    /// Sends; the relayer pays.
    pub(crate) fn send(&mut self, instructions: &[Instruction], signers: &[&Keypair]) -> Sent {
        self.svm.expire_blockhash();
        let message = Message::new(instructions, Some(&self.relayer.pubkey()));
        let mut all = vec![&self.relayer];
        all.extend(signers.iter().filter(|signer| signer.pubkey() != self.relayer.pubkey()));
        let transaction = Transaction::new(&all, message, self.svm.latest_blockhash());
        self.svm.send_transaction(transaction).map_err(Box::new)
    }

    pub(crate) fn ok(&mut self, instructions: &[Instruction], signers: &[&Keypair]) -> TransactionMetadata {
        match self.send(instructions, signers) {
            Ok(done) => done,
            Err(failed) => panic!("{:?}\n{}", failed.err, failed.meta.pretty_logs()),
        }
    }

    /// Fails with exactly this error of the program.
    #[track_caller]
    pub(crate) fn refused(&mut self, instructions: &[Instruction], signers: &[&Keypair], error: Refused) {
        let failed = self.send(instructions, signers).expect_err("this must be refused");
        let code = 6000 + error as u32;
        match failed.err {
            TransactionError::InstructionError(_, solana_instruction_error::InstructionError::Custom(given)) => {
                assert_eq!(given, code, "{}", failed.meta.pretty_logs());
            }
            other => panic!("{other:?}\n{}", failed.meta.pretty_logs()),
        }
    }

    pub(crate) fn set_time(&mut self, seconds: i64) {
        let mut clock: Clock = self.svm.get_sysvar();
        clock.unix_timestamp = seconds;
        self.svm.set_sysvar(&clock);
    }

    pub(crate) fn set(&mut self, at: Pubkey, account: solana_account::Account) {
        self.svm.set_account(address(at), account).unwrap();
    }

    pub(crate) fn get(&self, at: Pubkey) -> Option<solana_account::Account> {
        self.svm.get_account(&address(at)).filter(|account| account.lamports != 0)
    }

    pub(crate) fn lamports(&self, at: Pubkey) -> u64 {
        self.svm.get_balance(&address(at)).unwrap_or_default()
    }

    /// Gives the wallet a USDC token account (its ATA) with this balance.
    pub(crate) fn fund(&mut self, wallet: Pubkey, amount: u64) -> Pubkey {
        let at = token_address(wallet);
        self.set(at, accounts::token(wallet, compute_futures::seeds::USDC, amount, accounts::TOKEN));
        at
    }

    /// USDC of a wallet's ATA.
    pub(crate) fn usdc(&self, wallet: Pubkey) -> u64 {
        self.get(token_address(wallet)).map_or(0, |account| accounts::token_amount(&account.data))
    }

    pub(crate) fn vault(&self) -> u64 {
        self.usdc(compute_futures::seeds::VAULT_AUTHORITY)
    }

    pub(crate) fn operator(&self, index: u32) -> Operator {
        self.read(operator_address(index)).expect("the operator")
    }

    pub(crate) fn account(&self, operator: u32, sequence: u32) -> Option<FuturesAccount> {
        self.read(account_address(operator, sequence))
    }

    fn read<T: bytemuck::AnyBitPattern + anchor_lang::Discriminator>(&self, at: Pubkey) -> Option<T> {
        let account = self.get(at)?;
        assert_eq!(account.owner, address(compute_futures::ID));
        assert!(account.data.starts_with(T::DISCRIMINATOR));
        Some(bytemuck::pod_read_unaligned(&account.data[8..]))
    }
}
