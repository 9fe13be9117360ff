use litesvm::LiteSVM;
use solana_signer::Signer;

use super::accounts::key;
use super::*;

pub(crate) const UNLIMITED: u64 = (1 << 56) - 1;
pub(crate) const DELAY: u32 = 3_600;

/// The operator can pay fees, the owner never has any.
const OPERATOR_LAMPORTS: u64 = 1 << 30;

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

impl Vm for World {
    const IDLS: &'static [&'static str] = &["compute_futures"];

    fn svm(&self) -> &LiteSVM {
        &self.svm
    }

    fn svm_mut(&mut self) -> &mut LiteSVM {
        &mut self.svm
    }

    fn relayer(&self) -> &Keypair {
        &self.relayer
    }
}

impl World {
    /// The program, USDC, the vault; nobody registered, nobody with money.
    pub(crate) fn bare() -> Self {
        let relayer = keypair("relayer");
        let svm = compute_program_testing::vm::chain(&[(compute_futures::ID, "compute_futures")], &relayer);
        let mut world = Self { svm, relayer, operator: keypair("operator"), owner: keypair("owner") };
        world.svm.airdrop(&world.operator.pubkey(), OPERATOR_LAMPORTS).unwrap();
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

    /// Fails with exactly this error of the program.
    #[track_caller]
    pub(crate) fn refused(&mut self, instructions: &[Instruction], signers: &[&Keypair], error: Refused) {
        self.fails(instructions, signers, 6000 + error as u32);
    }

    pub(crate) fn vault(&self) -> u64 {
        self.usdc(compute_futures::seeds::VAULT_AUTHORITY)
    }

    pub(crate) fn operator(&self, index: u32) -> Operator {
        self.read(operator_address(index), compute_futures::ID).expect("the operator")
    }

    pub(crate) fn account(&self, operator: u32, sequence: u32) -> Option<FuturesAccount> {
        self.read(account_address(operator, sequence), compute_futures::ID)
    }
}
