use compute_futures_protocol::{AccountState, Usdc};
use compute_program_common::{history, receipts};

use super::actions::Action;
use crate::support::accounts::{key, token_address, token_amount};
use crate::support::*;

const FEE: u64 = 10_000;
const PURSE: u64 = 1 << 50;

/// What the model knows of an account.
struct Modelled {
    operator: usize,
    sequence: u32,
    owner: usize,
    state: AccountState,
    terms: compute_futures_protocol::Terms,
    refundable_at: Option<i64>,
    open: bool,
    /// Opened by the owner's deposit address.
    swept: bool,
    /// What the events of its rows said.
    posted: u64,
}

#[derive(Default)]
struct ModelledOperator {
    accounts: u32,
    earnings: u64,
    roots: Vec<[u8; 32]>,
    better: bool,
}

/// The chain and the model.
pub(super) struct Pair {
    world: World,
    operators: [Keypair; 2],
    owners: [Keypair; 3],
    now: i64,
    accounts: Vec<Modelled>,
    model: [ModelledOperator; 2],
    /// What each owner's wallet should hold, and what lies at its deposit address (of operator 1).
    wallets: [u64; 3],
    waiting: [u64; 3],
    withdrawn: [u64; 2],
    refunds: Vec<u64>,
}

fn micros(amount: u64) -> Usdc {
    Usdc::from_micros(amount)
}

/// The second set gives more, later, to smaller deposits.
fn offer(better: bool) -> Terms {
    let tier = |minimum_deposit, discount_bps| Tier { minimum_deposit, discount_bps };
    if better {
        let tiers = vec![tier(1_000_000, 700), tier(20_000_000, 2000)];
        Terms { refund_delay: 4000, minimum_deposit: 500_000, tiers, ..terms() }
    } else {
        terms()
    }
}

fn protocol_terms(terms: &Terms) -> compute_futures_protocol::Terms {
    compute_futures_protocol::Terms {
        refund_delay: terms.refund_delay,
        minimum_deposit: micros(terms.minimum_deposit),
        rate_card_hash: terms.rate_card_hash.into(),
        tiers: terms
            .tiers
            .iter()
            .map(|tier| compute_futures_protocol::Tier {
                minimum_deposit: micros(tier.minimum_deposit),
                discount_bps: tier.discount_bps,
            })
            .collect(),
    }
}

/// The helpers build for operator 1.
fn of(mut instruction: Instruction, operator: usize, sequence: u32) -> Instruction {
    let index = operator as u32 + 1;
    let swap = [
        (operator_address(1), operator_address(index)),
        (account_address(1, sequence), account_address(index, sequence)),
    ];
    for meta in &mut instruction.accounts {
        if let Some((_, to)) = swap.iter().find(|(from, _)| address(*from) == meta.pubkey) {
            meta.pubkey = address(*to);
        }
    }
    instruction
}

impl Pair {
    pub(super) fn new() -> Self {
        let mut world = World::new();
        let operators = [world.operator.insecure_clone(), world.second_operator()];
        let owners = ["owner", "owner 1", "owner 2"].map(keypair);
        for owner in &owners {
            world.fund(key(owner), PURSE);
        }
        for operator in &operators {
            world.fund(key(operator), 0);
        }
        for owner in &owners {
            let address = Committed { owner: key(owner), ceiling: UNLIMITED, fee: FEE };
            world.ok(&[address.open(key(&world.relayer))], &[]);
        }
        let (wallets, waiting, withdrawn) = ([PURSE; 3], [0; 3], [0; 2]);
        let model = Default::default();
        let (accounts, refunds) = (Vec::new(), Vec::new());
        Self { world, operators, owners, now: NOW, accounts, model, wallets, waiting, withdrawn, refunds }
    }

    /// Does it on both sides; true when it succeeded. Fails when only one side refuses.
    pub(super) fn act(&mut self, action: &Action) -> bool {
        match *action {
            Action::Terms { operator, better } => self.terms(operator, better),
            Action::Deposit { operator, owner, amount, ceiling } => self.deposit(operator, owner, amount, ceiling),
            Action::TopUp { account, amount, ceiling, by_owner } => self.top_up(account, amount, ceiling, by_owner),
            Action::Send { owner, amount } => self.send_to_address(owner, amount),
            Action::Sweep { owner } => self.sweep(owner),
            Action::Raise { account, ceiling, by_owner } => self.raise(account, ceiling, by_owner),
            Action::Post { operator, ref rows } => self.post(operator, rows),
            Action::PostOutOfOrder { operator, ahead } => self.post_out_of_order(operator, ahead),
            Action::Request { account, by_owner } => self.request(account, by_owner),
            Action::Refund { account, by_owner } => self.refund(account, by_owner),
            Action::Close { account, by_its_operator } => self.close(account, by_its_operator),
            Action::Withdraw { operator, amount } => self.withdraw(operator, amount),
            Action::Wait { seconds } => {
                self.now += i64::from(seconds);
                self.world.set_time(self.now);
                true
            }
        }
    }

    fn agree(&mut self, instruction: Instruction, signers: &[&Keypair], expected: bool) -> bool {
        match self.world.send(&[instruction], signers) {
            Ok(_) => assert!(expected, "the model refuses, the program does not"),
            Err(failed) => assert!(!expected, "only the program refuses: {}", failed.meta.pretty_logs()),
        }
        expected
    }

    fn picked(&self, account: usize) -> Option<usize> {
        (!self.accounts.is_empty()).then(|| account % self.accounts.len())
    }

    fn terms(&mut self, operator: usize, better: bool) -> bool {
        let signer = self.operators[operator].insecure_clone();
        let set = set_terms(key(&self.world.relayer), key(&signer), operator as u32 + 1, offer(better));
        self.model[operator].better = better;
        self.agree(set, &[&signer], true)
    }

    fn opened(&mut self, operator: usize, owner: usize, amount: u64, ceiling: u64) -> Option<Modelled> {
        let terms = protocol_terms(&offer(self.model[operator].better));
        let fits = amount < 1 << 56 && ceiling < 1 << 56;
        let state = AccountState::open(micros(amount), micros(ceiling), &terms).ok().filter(|_| fits)?;
        let sequence = self.model[operator].accounts + 1;
        let (refundable_at, open, swept, posted) = (None, true, false, 0);
        Some(Modelled { operator, sequence, owner, state, terms, refundable_at, open, swept, posted })
    }

    fn deposit(&mut self, operator: usize, owner: usize, amount: u64, ceiling: u64) -> bool {
        let signer = self.owners[owner].insecure_clone();
        let deposit = Deposit { amount, ceiling, ..Deposit::by(&self.world, operator as u32 + 1, &signer) };
        let opened = self.opened(operator, owner, amount, ceiling).filter(|_| amount <= self.wallets[owner]);
        let done = self.agree(deposit.instruction(), &[&signer], opened.is_some());
        if let Some(opened) = opened {
            self.model[operator].accounts += 1;
            self.wallets[owner] -= amount;
            self.accounts.push(opened);
        }
        done
    }

    fn top_up(&mut self, account: usize, amount: u64, ceiling: u64, by_owner: bool) -> bool {
        let Some(account) = self.picked(account) else { return false };
        let payer = 2; // anyone may pay
        let (funder, spender) = (self.owners[payer].insecure_clone(), self.spender(account, by_owner));
        let modelled = &self.accounts[account];
        let (operator, sequence) = (modelled.operator, modelled.sequence);
        let last_batch = self.model[operator].roots.len() as u64;
        let mut state = modelled.state;
        let allowed = ceiling == 0 || (key(&spender) == key(&self.owners[modelled.owner]) && ceiling < 1 << 56);
        let expected = modelled.open
            && modelled.refundable_at.is_none()
            && allowed
            && amount <= self.wallets[payer]
            && state.deposit(micros(amount), &modelled.terms, last_batch).is_ok();
        if ceiling != 0 && ceiling < 1 << 56 {
            // One that is not higher leaves it.
            let _ = state.raise_ceiling(micros(ceiling));
        }
        let top_up = top_up(key(&funder), Some(key(&spender)), sequence, amount, ceiling);
        let done = self.agree(of(top_up, operator, sequence), &[&funder, &spender], expected);
        if done {
            self.accounts[account].state = state;
            self.wallets[payer] -= amount;
        }
        done
    }

    /// The owner, or an operator, who has no say.
    fn spender(&self, account: usize, by_owner: bool) -> Keypair {
        let modelled = &self.accounts[account];
        if by_owner { &self.owners[modelled.owner] } else { &self.operators[modelled.operator] }.insecure_clone()
    }

    fn committed(&self, owner: usize) -> Committed {
        Committed { owner: key(&self.owners[owner]), ceiling: UNLIMITED, fee: FEE }
    }

    /// A plain transfer out of the owner's wallet.
    fn send_to_address(&mut self, owner: usize, amount: u64) -> bool {
        let amount = amount.min(self.wallets[owner]);
        let target = token_address(self.committed(owner).address());
        for (at, plus, minus) in [(target, amount, 0), (token_address(key(&self.owners[owner])), 0, amount)] {
            let mut account = self.world.get(at).unwrap();
            let balance = token_amount(&account.data) + plus - minus;
            account.data[64..72].copy_from_slice(&balance.to_le_bytes());
            self.world.set(at, account);
        }
        self.wallets[owner] -= amount;
        self.waiting[owner] += amount;
        true
    }

    fn sweep(&mut self, owner: usize) -> bool {
        let balance = self.waiting[owner];
        let amount = balance.saturating_sub(FEE);
        let fed = self.accounts.iter().position(|each| each.swept && each.open && each.owner == owner);
        let last_batch = self.model[0].roots.len() as u64;
        let result = match fed {
            Some(account) => {
                let modelled = &self.accounts[account];
                let mut state = modelled.state;
                let fits = modelled.refundable_at.is_none()
                    && state.deposit(micros(amount), &modelled.terms, last_batch).is_ok();
                fits.then_some(Ok((account, state)))
            }
            None => self.opened(0, owner, amount, UNLIMITED).map(Err),
        };
        let result = result.filter(|_| amount != 0);
        let sequence = fed.map_or(self.model[0].accounts + 1, |account| self.accounts[account].sequence);
        let sweep = self.committed(owner).sweep(key(&self.world.relayer), sequence);
        let done = self.agree(sweep, &[], result.is_some());
        match result {
            Some(Ok((account, state))) => self.accounts[account].state = state,
            Some(Err(mut opened)) => {
                opened.swept = true;
                self.model[0].accounts += 1;
                self.accounts.push(opened);
            }
            None => return done,
        }
        self.waiting[owner] = 0;
        self.model[0].earnings += FEE;
        done
    }

    fn raise(&mut self, account: usize, ceiling: u64, by_owner: bool) -> bool {
        let Some(account) = self.picked(account) else { return false };
        let signer = self.spender(account, by_owner);
        let modelled = &self.accounts[account];
        let mut state = modelled.state;
        let fits = by_owner && modelled.open && ceiling < 1 << 56;
        let expected = fits && state.raise_ceiling(micros(ceiling)).is_ok();
        let (operator, sequence) = (modelled.operator, modelled.sequence);
        let raise = of(raise_ceiling(key(&signer), sequence, ceiling), operator, sequence);
        let done = self.agree(raise, &[&signer], expected);
        if done {
            self.accounts[account].state = state;
        }
        done
    }

    /// I-5 and I-6: always posted, whatever the rows are about.
    fn post(&mut self, operator: usize, picks: &[(usize, u64, u16)]) -> bool {
        let signer = self.operators[operator].insecure_clone();
        let index = operator as u32 + 1;
        let number = self.model[operator].roots.len() as u64 + 1;
        let (mut rows, mut targets) = (Vec::new(), Vec::new());
        for &(pick, list_amount, discount_bps) in picks {
            // With no account at all: one that never was.
            let (of, sequence) = self
                .picked(pick)
                .map_or((operator, 1), |account| (self.accounts[account].operator, self.accounts[account].sequence));
            targets.push(account_address(of as u32 + 1, sequence));
            rows.push(Row { sequence, list_amount, discount_bps });
        }
        let root = receipts::root(&receipt(operator, number), &[]);
        let post = post_debits_to(key(&signer), index, number, root, &rows, &targets);
        let posted: BatchPosted = event(&self.world.ok(&[post], &[&signer]));
        assert_eq!((posted.operator_index, posted.batch_number, posted.receipts_root), (index, number, root));

        let mut charged = 0;
        for ((&(pick, list, stated), row), done) in picks.iter().zip(&rows).zip(&posted.rows) {
            let account = self.picked(pick).map(|account| &mut self.accounts[account]);
            let total = match account {
                Some(account) if !account.open || account.operator != operator => {
                    let foreign = account.open;
                    assert_eq!(done.kind, if foreign { RowKind::Foreign } else { RowKind::Missing });
                    0
                }
                None => 0,
                Some(account) => {
                    let outcome = account.state.debit(micros(list), stated, number);
                    assert_eq!(done.kind, RowKind::Charged);
                    assert_eq!(done.uncovered, outcome.uncovered.micros());
                    assert_eq!(done.discount_bps, outcome.discount_bps);
                    assert_eq!(done.total_charged, account.state.charged.micros());
                    account.posted += done.charged;
                    outcome.charged.micros()
                }
            };
            assert_eq!((done.charged, done.list_amount), (total, row.list_amount));
            charged += total;
        }
        assert_eq!(posted.charged, charged);
        self.model[operator].earnings += charged;
        self.model[operator].roots.push(root);
        true
    }

    fn post_out_of_order(&mut self, operator: usize, ahead: u64) -> bool {
        let signer = self.operators[operator].insecure_clone();
        let number = self.model[operator].roots.len() as u64 + ahead;
        let post = post_debits(key(&signer), operator as u32 + 1, number, [0; 32], &[]);
        self.agree(post, &[&signer], false)
    }

    fn request(&mut self, account: usize, by_owner: bool) -> bool {
        let Some(account) = self.picked(account) else { return false };
        let signer = self.spender(account, by_owner);
        let modelled = &self.accounts[account];
        let expected = by_owner && modelled.open && modelled.refundable_at.is_none();
        let (operator, sequence) = (modelled.operator, modelled.sequence);
        let request = of(request_refund(key(&signer), sequence), operator, sequence);
        let done = self.agree(request, &[&signer], expected);
        if done {
            let modelled = &mut self.accounts[account];
            modelled.refundable_at = Some(self.now + i64::from(modelled.terms.refund_delay));
        }
        done
    }

    fn deposit_address_of(&self, account: usize) -> Option<Pubkey> {
        let modelled = &self.accounts[account];
        modelled.swept.then(|| self.committed(modelled.owner).address())
    }

    fn refund(&mut self, account: usize, by_owner: bool) -> bool {
        let Some(account) = self.picked(account) else { return false };
        let signer = self.spender(account, by_owner);
        let modelled = &self.accounts[account];
        let due = modelled.refundable_at.is_some_and(|at| at <= self.now);
        let expected = by_owner && modelled.open && due;
        let (operator, sequence) = (modelled.operator, modelled.sequence);
        let from = self.deposit_address_of(account);
        let refund = of(refund(key(&signer), sequence, key(&self.world.relayer), from), operator, sequence);
        let done = self.agree(refund, &[&signer], expected);
        self.left(account, done)
    }

    fn close(&mut self, account: usize, by_its_operator: bool) -> bool {
        let Some(account) = self.picked(account) else { return false };
        let modelled = &self.accounts[account];
        let (operator, sequence, owner) = (modelled.operator, modelled.sequence, key(&self.owners[modelled.owner]));
        let signer = self.operators[if by_its_operator { operator } else { 1 - operator }].insecure_clone();
        let expected = by_its_operator && modelled.open;
        let from = self.deposit_address_of(account);
        let close = close_account(key(&signer), sequence, owner, key(&self.world.relayer), from);
        let done = self.agree(of(close, operator, sequence), &[&signer], expected);
        self.left(account, done)
    }

    fn left(&mut self, account: usize, done: bool) -> bool {
        if done {
            let modelled = &mut self.accounts[account];
            let paid = modelled.state.close().micros();
            modelled.open = false;
            self.wallets[modelled.owner] += paid;
            self.refunds.push(paid);
        }
        done
    }

    fn withdraw(&mut self, operator: usize, amount: u64) -> bool {
        let signer = self.operators[operator].insecure_clone();
        let take = of(withdraw_earnings(key(&signer), key(&signer), amount), operator, 0);
        let done = self.agree(take, &[&signer], amount <= self.model[operator].earnings);
        if done {
            self.model[operator].earnings -= amount;
            self.withdrawn[operator] += amount;
        }
        done
    }

    pub(super) fn paid_out(&self) -> Vec<u64> {
        self.refunds.clone()
    }

    /// The vault holds exactly what is owed, and every wallet what it should.
    pub(super) fn i1_solvency(&self) {
        let open = self.accounts.iter().filter(|account| account.open);
        let unspent: u64 = open.map(|account| account.state.unspent().micros()).sum();
        let earnings: u64 = self.model.iter().map(|operator| operator.earnings).sum();
        assert_eq!(self.world.vault(), unspent + earnings, "I-1");
        for (owner, balance) in self.owners.iter().zip(self.wallets) {
            assert_eq!(self.world.usdc(key(owner)), balance, "I-4");
        }
        for (i, operator) in self.operators.iter().enumerate() {
            assert_eq!(self.world.usdc(key(operator)), self.withdrawn[i]);
            assert_eq!(self.world.operator(i as u32 + 1).earnings, self.model[i].earnings);
        }
    }

    pub(super) fn i2_ceiling(&self) {
        for account in self.accounts.iter().filter(|account| account.open) {
            let stored = self.world.account(account.operator as u32 + 1, account.sequence).expect("open");
            assert!(stored.charged <= stored.ceiling.min(stored.credit), "I-2");
        }
    }

    pub(super) fn i3_the_same_figures(&self) {
        for account in &self.accounts {
            let stored = self.world.account(account.operator as u32 + 1, account.sequence);
            assert_eq!(stored.is_some(), account.open);
            let Some(stored) = stored else { continue };
            let AccountState { credit, charged, ceiling, remainder, discount } = account.state;
            assert_eq!([stored.credit, stored.charged, stored.ceiling], [credit, charged, ceiling].map(Usdc::micros));
            assert_eq!((stored.remainder, stored.discount_bps), (remainder, discount.discount_bps), "I-3");
            assert_eq!(stored.previous_discount_bps, discount.previous_discount_bps);
            assert_eq!(stored.discount_from_batch, discount.discount_from_batch);
            let refundable_at = account.refundable_at.map_or(0, |at| at as u64);
            assert_eq!(stored.refundable_at, refundable_at, "I-4");
            assert_eq!(stored.owner, key(&self.owners[account.owner]));
            // Σ rows of an account = its on-chain charge (I-7).
            assert_eq!(account.posted, stored.charged, "I-7");
        }
    }

    /// Every batch's receipt is proved on chain, and no other.
    pub(super) fn i7_receipts(&mut self) {
        for operator in 0..2 {
            let roots = self.model[operator].roots.clone();
            for number in 1..=roots.len() as u64 {
                let path = history::proof(&roots, number).unwrap();
                for (hash, expected) in [(receipt(operator, number), 1), ([0; 32], 0)] {
                    let ask = verify_receipt(operator as u32 + 1, number, hash, vec![], path.clone());
                    let said = self.world.ok(&[ask], &[]).return_data.data;
                    assert_eq!(said.first().copied().unwrap_or_default(), expected, "I-7");
                }
            }
        }
    }

    /// With nobody's help: every owner asks, waits and leaves; every operator takes what it earned; nothing is left behind.
    pub(super) fn i4_everybody_leaves(&mut self) {
        for account in 0..self.accounts.len() {
            self.request(account, true);
        }
        self.now += 5000;
        self.world.set_time(self.now);
        for account in 0..self.accounts.len() {
            let open = self.accounts[account].open;
            assert_eq!(self.refund(account, true), open, "I-4");
        }
        for operator in 0..2 {
            self.withdraw(operator, self.model[operator].earnings);
        }
        self.i1_solvency();
        assert_eq!(self.world.vault(), 0);
    }
}

/// The one receipt of a batch.
fn receipt(operator: usize, number: u64) -> [u8; 32] {
    let mut hash = [operator as u8 + 1; 32];
    hash[..8].copy_from_slice(&number.to_le_bytes());
    hash
}
