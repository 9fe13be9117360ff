//! The contract as a model: verbs in, events and state out, driven by a seed.

use std::collections::BTreeMap;

use compute_futures_chain::EventKind;
use compute_futures_protocol::{
    AccountId, AccountState, Address, B256, Chain, SolanaAddress, Terms, Tier, Usdc, keccak256,
};

/// A small generator: the same seed gives the same world.
#[derive(Debug, Clone)]
pub struct Dice(pub u64);

impl Dice {
    pub fn roll(&mut self, sides: u64) -> u64 {
        // splitmix64
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % sides
    }

    pub fn pick<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        &items[usize::try_from(self.roll(items.len() as u64)).unwrap()]
    }
}

#[derive(Debug, Clone)]
pub struct Account {
    pub owner: Address,
    pub delegate: Option<Address>,
    pub terms_version: u32,
    pub state: AccountState,
    pub refundable_at: Option<u64>,
    pub closed: bool,
}

#[derive(Debug, Clone)]
pub struct Operator {
    pub address: Address,
    pub terms: Vec<Terms>,
    pub last_sequence: u32,
    pub last_batch: u64,
    pub earnings: u64,
}

/// Somebody, in the form of addresses on that chain.
pub fn somebody(chain: Chain, byte: u8) -> Address {
    match chain.evm_chain_id() {
        Some(_) => Address::repeat_byte(byte),
        None => SolanaAddress([byte; 32]).into(),
    }
}

#[derive(Debug, Clone)]
pub struct World {
    pub chain: Chain,
    pub operators: Vec<Operator>,
    pub accounts: BTreeMap<AccountId, Account>,
    pub balance: u64,
}

pub fn terms(refund_delay: u32) -> Terms {
    Terms {
        refund_delay,
        minimum_deposit: Usdc::from_micros(1_000_000),
        rate_card_hash: keccak256(b"rates"),
        tiers: [(10, 500), (50, 1000), (200, 1500)]
            .map(|(usdc, discount_bps)| Tier { minimum_deposit: Usdc::from_micros(usdc * 1_000_000), discount_bps })
            .to_vec(),
    }
}

pub fn usdc(micros: u64) -> Usdc {
    Usdc::from_micros(micros)
}

impl World {
    pub fn on(chain: Chain) -> Self {
        Self { chain, operators: Vec::new(), accounts: BTreeMap::new(), balance: 0 }
    }

    fn who(&self, byte: u8) -> Address {
        somebody(self.chain, byte)
    }

    pub fn set_terms(&mut self, operator: Address, terms: Terms, events: &mut Vec<EventKind>) -> u32 {
        let index = match self.operators.iter().position(|o| o.address == operator) {
            Some(position) => position,
            None => {
                let new =
                    Operator { address: operator, terms: Vec::new(), last_sequence: 0, last_batch: 0, earnings: 0 };
                self.operators.push(new);
                self.operators.len() - 1
            }
        };
        self.operators[index].terms.push(terms.clone());
        let terms_version = u32::try_from(self.operators[index].terms.len()).unwrap();
        let operator_index = u32::try_from(index).unwrap() + 1;
        events.push(EventKind::TermsSet { operator_index, operator, terms_version, terms });
        operator_index
    }

    pub fn operator(&mut self, index: u32) -> &mut Operator {
        &mut self.operators[index as usize - 1]
    }

    pub fn open(
        &mut self,
        index: u32,
        owner: Address,
        amount: Usdc,
        ceiling: Usdc,
        events: &mut Vec<EventKind>,
    ) -> AccountId {
        let operator = self.operator(index);
        operator.last_sequence += 1;
        let terms_version = u32::try_from(operator.terms.len()).unwrap();
        let account = AccountId::new(index, operator.last_sequence).unwrap();
        let state = AccountState::open(amount, ceiling, operator.terms.last().unwrap()).unwrap();
        self.accounts.insert(
            account,
            Account { owner, delegate: None, terms_version, state, refundable_at: None, closed: false },
        );
        self.balance += amount.micros();
        events.push(EventKind::AccountOpened { account, owner, operator_index: index, terms_version });
        events.push(deposited(account, owner, amount, &state));
        if !ceiling.is_zero() {
            events.push(EventKind::CeilingRaised { account, signer: owner, ceiling });
        }
        account
    }

    pub fn top_up(&mut self, account: AccountId, amount: Usdc, events: &mut Vec<EventKind>) {
        let index = account.operator_index();
        let (version, owner) = (self.accounts[&account].terms_version, self.accounts[&account].owner);
        let (terms, last) = {
            let operator = self.operator(index);
            (operator.terms[version as usize - 1].clone(), operator.last_batch)
        };
        let row = self.accounts.get_mut(&account).unwrap();
        row.state.deposit(amount, &terms, last).unwrap();
        let event = deposited(account, owner, amount, &row.state);
        self.balance += amount.micros();
        events.push(event);
    }

    /// Rows are (account id as written, list amount, stated discount).
    pub fn post(
        &mut self,
        index: u32,
        rows: &[(u64, Usdc, u16)],
        root: B256,
        receipts: u32,
        events: &mut Vec<EventKind>,
    ) -> u64 {
        let number = self.operator(index).last_batch + 1;
        let mut total = 0;
        for &(id, list, stated) in rows {
            let account = AccountId::try_from(id).ok();
            if id >> 32 != u64::from(index) || account.is_none() {
                events.push(EventKind::ForeignDebit {
                    operator_index: index,
                    batch_number: number,
                    account: id,
                    list_amount: list,
                });
                continue;
            }
            let account = account.unwrap();
            let Some(row) = self.accounts.get_mut(&account).filter(|row| !row.state.credit.is_zero()) else {
                let net = compute_futures_protocol::charge(list, stated, 0).0;
                events.push(EventKind::DebitShortfall {
                    account,
                    batch_number: number,
                    list_amount: list,
                    uncovered: net,
                });
                continue;
            };
            let outcome = row.state.debit(list, stated, number);
            total += outcome.charged.micros();
            if !outcome.charged.is_zero() || outcome.uncovered.is_zero() {
                events.push(EventKind::Debited {
                    account,
                    batch_number: number,
                    list_amount: list,
                    discount_bps: outcome.discount_bps,
                    charged: outcome.charged,
                    total_charged: row.state.charged,
                    remainder: row.state.remainder,
                });
            }
            if !outcome.uncovered.is_zero() {
                events.push(EventKind::DebitShortfall {
                    account,
                    batch_number: number,
                    list_amount: list,
                    uncovered: outcome.uncovered,
                });
            }
        }
        let operator = self.operator(index);
        operator.last_batch = number;
        operator.earnings += total;
        events.push(EventKind::BatchPosted {
            operator_index: index,
            batch_number: number,
            receipts_root: root,
            receipt_count: receipts,
            row_count: u32::try_from(rows.len()).unwrap(),
            charged: usdc(total),
        });
        number
    }

    pub fn close(&mut self, account: AccountId, by_operator: bool, events: &mut Vec<EventKind>) {
        let row = self.accounts.get_mut(&account).unwrap();
        let amount = row.state.close();
        row.closed = true;
        self.balance -= amount.micros();
        events.push(EventKind::Refunded { account, owner: row.owner, amount, by_operator });
    }

    /// One verb, chosen by the dice among those that would not revert.
    pub fn act(&mut self, dice: &mut Dice, time: u64, events: &mut Vec<EventKind>) {
        if self.operators.is_empty() || (self.operators.len() < 3 && dice.roll(20) == 0) {
            let operator = self.who(0xa0 + u8::try_from(self.operators.len()).unwrap());
            self.set_terms(operator, terms(3600), events);
            return;
        }
        let index = u32::try_from(dice.roll(self.operators.len() as u64)).unwrap() + 1;
        let open: Vec<AccountId> = self.accounts.iter().filter(|(_, a)| !a.closed).map(|(id, _)| *id).collect();
        let owner = self.who(u8::try_from(1 + dice.roll(5)).unwrap());
        if open.is_empty() || dice.roll(6) == 0 {
            let amount = usdc(*dice.pick(&[1_000_000, 9_999_999, 10_000_000, 60_000_000, 250_000_000]));
            let ceiling = *dice.pick(&[Usdc::ZERO, Usdc::MAX, usdc(5_000_000)]);
            self.open(index, owner, amount, ceiling, events);
            return;
        }
        let account = *dice.pick(&open);
        let (delegate, deposit_address, token) = (self.who(0xde), self.who(0xdd), self.who(0x70));
        let row = self.accounts.get_mut(&account).unwrap();
        match dice.roll(12) {
            0 if row.refundable_at.is_none() => self.top_up(account, usdc(1 + dice.roll(80_000_000)), events),
            1 => {
                let ceiling = usdc((row.state.ceiling.micros() + 1 + dice.roll(9_000_000)).min(Usdc::MAX.micros()));
                if row.state.raise_ceiling(ceiling).is_ok() {
                    events.push(EventKind::CeilingRaised { account, signer: row.owner, ceiling });
                }
            }
            2 => {
                row.delegate = (dice.roll(3) > 0).then_some(delegate);
                events.push(EventKind::DelegateSet { account, delegate: row.delegate });
            }
            3 if row.refundable_at.is_none() => {
                row.refundable_at = Some(time + 3600);
                events.push(EventKind::RefundRequested { account, owner: row.owner, refundable_at: time + 3600 });
            }
            4 if row.refundable_at.is_some() => self.close(account, false, events),
            5 if dice.roll(3) == 0 => self.close(account, true, events),
            6 if row.refundable_at.is_none() => {
                let (amount, fee) = (usdc(1 + dice.roll(2_000_000)), usdc(dice.roll(20_000)));
                self.top_up(account, amount, events);
                self.balance += fee.micros();
                self.operator(account.operator_index()).earnings += fee.micros();
                events.push(EventKind::Swept { account, deposit_address, amount, fee });
            }
            7 => {
                let earnings = self.operator(index).earnings;
                if earnings > 0 {
                    let amount = 1 + dice.roll(earnings);
                    self.operator(index).earnings -= amount;
                    self.balance -= amount;
                    events.push(EventKind::EarningsWithdrawn {
                        operator_index: index,
                        to: owner,
                        amount: usdc(amount),
                    });
                }
            }
            8 if dice.roll(4) == 0 => events.push(EventKind::Recovered {
                deposit_address,
                owner,
                token,
                amount: format!("{}{}", u128::MAX, dice.roll(1000)),
            }),
            9 if dice.roll(5) == 0 => {
                let operator = self.operator(index).address;
                self.set_terms(operator, terms(7200), events);
            }
            _ => {
                let all: Vec<u64> = self.accounts.keys().map(|id| id.get()).collect();
                let rows: Vec<(u64, Usdc, u16)> = (0..dice.roll(6))
                    .map(|_| {
                        let id = match dice.roll(12) {
                            0 => u64::from(index) << 32 | 99_999,
                            1 => u64::from(index) << 32,
                            _ => *dice.pick(&all),
                        };
                        (id, usdc(dice.roll(3_000_000)), *dice.pick(&[0, 500, 1000, 1500, 3333]))
                    })
                    .collect();
                let root = keccak256(dice.roll(u64::MAX).to_be_bytes());
                self.post(index, &rows, root, u32::try_from(rows.len()).unwrap().max(1), events);
            }
        }
    }

    pub fn unspent(&self, index: u32) -> u64 {
        let own = self.accounts.iter().filter(|(id, _)| id.operator_index() == index);
        own.map(|(_, account)| account.state.unspent().micros()).sum()
    }
}

fn deposited(account: AccountId, payer: Address, amount: Usdc, state: &AccountState) -> EventKind {
    EventKind::Deposited {
        account,
        payer,
        amount,
        credit: state.credit,
        discount_bps: state.discount.discount_bps,
        previous_discount_bps: state.discount.previous_discount_bps,
        discount_from_batch: state.discount.discount_from_batch,
    }
}
