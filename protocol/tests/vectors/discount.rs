use compute_futures_protocol::{AccountState, DiscountFloor, Terms, Usdc, charge, hold_amount};
use serde_json::{Value, json};

use crate::check_or_write;

const BPS: [u16; 9] = [0, 1, 333, 500, 1000, 1500, 5000, 9999, 10_000];
const AMOUNTS: [u64; 10] = [0, 1, 2, 7, 9_999, 10_000, 27_000, 1_000_001, (1 << 55) + 12_345, (1 << 56) - 1];

fn micros(amount: u64) -> Usdc {
    Usdc::from_micros(amount)
}

fn terms() -> Terms {
    Terms {
        refund_delay: 86_400,
        minimum_deposit: micros(1),
        rate_card_hash: Default::default(),
        tiers: Terms::default_tiers(),
    }
}

/// Numbers that look random and never change (splitmix64).
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound
    }
}

/// One account's life, written down step by step.
struct Life {
    name: &'static str,
    state: AccountState,
    /// Number of the operator's newest batch.
    last_batch: u64,
    steps: Vec<Value>,
}

impl Life {
    fn open(name: &'static str, amount: u64, ceiling: u64) -> Self {
        let state = AccountState::open(micros(amount), micros(ceiling), &terms()).unwrap();
        let mut life = Self { name, state, last_batch: 0, steps: Vec::new() };
        life.note("open", amount, 0, json!({}));
        life
    }

    /// `extra` overrides the fields that only some actions have.
    fn note(&mut self, action: &str, amount: u64, stated_bps: u16, extra: Value) {
        let AccountState { credit, charged, ceiling, remainder, discount } = self.state;
        let mut step = json!({
            "action": action,
            "amount": amount,
            "batch": self.last_batch,
            "ceiling": ceiling.micros(),
            "charged": charged.micros(),
            "credit": credit.micros(),
            "discountBps": discount.discount_bps,
            "discountFromBatch": discount.discount_from_batch,
            "paidOut": 0,
            "previousDiscountBps": discount.previous_discount_bps,
            "remainder": remainder,
            "rowBps": 0,
            "rowCharged": 0,
            "rowUncovered": 0,
            "statedBps": stated_bps,
        });
        for (key, value) in extra.as_object().unwrap() {
            step[key] = value.clone();
        }
        self.steps.push(step);
    }

    fn top_up(mut self, amount: u64) -> Self {
        self.state.deposit(micros(amount), &terms(), self.last_batch).unwrap();
        self.note("topUp", amount, 0, json!({}));
        self
    }

    /// A batch with these rows (list amount, stated discount).
    fn batch(mut self, rows: &[(u64, u16)]) -> Self {
        self.last_batch += 1;
        for &(list, stated) in rows {
            let outcome = self.state.debit(micros(list), stated, self.last_batch);
            let row = json!({
                "rowBps": outcome.discount_bps,
                "rowCharged": outcome.charged.micros(),
                "rowUncovered": outcome.uncovered.micros(),
            });
            self.note("debit", list, stated, row);
        }
        self
    }

    fn raise_ceiling(mut self, ceiling: u64) -> Self {
        self.state.raise_ceiling(micros(ceiling)).unwrap();
        self.note("raiseCeiling", ceiling, 0, json!({}));
        self
    }

    fn close(mut self) -> Self {
        let paid = self.state.close();
        self.note("close", 0, 0, json!({ "paidOut": paid.micros() }));
        self
    }

    fn done(self) -> Value {
        json!({ "name": self.name, "steps": self.steps })
    }
}

fn lives() -> Vec<Value> {
    let max = Usdc::MAX.micros();
    let lives = [
        Life::open("remainder carried over batches", 50_000_000, max)
            .batch(&[(1, 1000), (1, 1000), (1, 1000)])
            .batch(&[(7, 1000), (3, 333), (1, 9999)])
            .batch(&[(30_000, 1000)]),
        Life::open("stated above, at and below the floor", 50_000_000, max)
            .batch(&[(10_001, 0), (10_001, 999), (10_001, 1000), (10_001, 1001), (10_001, 9999)])
            .batch(&[(10_001, 10_000), (10_001, 10_001), (10_001, 65_535)]),
        Life::open("clamped to the ceiling, then raised", 50_000_000, 1_000_000)
            .batch(&[(1_111_111, 1000), (1, 1000), (1_000_000, 1000)])
            .raise_ceiling(1_000_001)
            .batch(&[(1, 1000), (2, 1000), (2, 1000)])
            .raise_ceiling(max)
            .batch(&[(45_000_000, 1000), (54_000_000, 1000)]),
        Life::open("no ceiling, nothing to take", 20_000_000, 0).batch(&[(1, 0), (30_000, 500)]),
        Life::open("clamped to the credit, topped up", 5_000_000, max)
            .batch(&[(5_000_000, 0), (1, 0), (1, 9999)])
            .top_up(5_000_000)
            .batch(&[(1_000_003, 0)])
            .batch(&[(1_000_003, 0)])
            .batch(&[(1_000_003, 0)])
            .batch(&[(1_000_003, 500)]),
        Life::open("a raise binds from the third batch on", 9_999_999, max)
            .batch(&[(1000, 0)])
            .top_up(1)
            .batch(&[(1000, 0), (1000, 500)])
            .batch(&[(1000, 0)])
            .batch(&[(1000, 0)])
            .batch(&[(1000, 0)]),
        Life::open("two raises in a row", 10_000_000, max)
            .top_up(40_000_000)
            .batch(&[(1001, 500)])
            .top_up(150_000_000)
            .batch(&[(1001, 500)])
            .batch(&[(1001, 500)])
            .batch(&[(1001, 500)])
            .batch(&[(1001, 500)]),
        Life::open("a top-up within the tier changes nothing", 10_000_000, max)
            .batch(&[(9_999, 500)])
            .top_up(1)
            .batch(&[(9_999, 0)]),
        Life::open("closed, and a late row", 200_000_000, max)
            .batch(&[(100_000_000, 1500)])
            .close()
            .batch(&[(100_000_000, 1500), (1, 9999)]),
        Life::open("closed without ever being charged", 200_000_000, max)
            .close()
            .batch(&[(100_000_000, 1500), (1, 9999)]),
        Life::open("as much as 56 bits hold", max, max).batch(&[(max, 0), (max, 1500)]),
    ];
    let mut numbers = Numbers(2026);
    let random: Vec<Value> = (0..4).map(|_| random_life(&mut numbers)).collect();
    lives.into_iter().map(Life::done).chain(random).collect()
}

fn random_life(numbers: &mut Numbers) -> Value {
    let opening = 1 + numbers.below(60_000_000);
    let ceiling = numbers.below(2 * opening);
    let mut life = Life::open("random", opening, ceiling);
    for _ in 0..16 {
        life = match numbers.below(6) {
            0 => life.top_up(1 + numbers.below(80_000_000)),
            1 => {
                let present = life.state.ceiling.micros();
                life.raise_ceiling(present + 1 + numbers.below(50_000_000))
            }
            _ => {
                let rows: Vec<(u64, u16)> = (0..=numbers.below(3))
                    .map(|_| (numbers.below(9_000_000), BPS[numbers.below(9) as usize]))
                    .collect();
                life.batch(&rows)
            }
        };
    }
    life.close().batch(&[(1_000_000, 0)]).done()
}

#[test]
fn discount() {
    let charges: Vec<Value> = AMOUNTS
        .iter()
        .flat_map(|&list| BPS.iter().flat_map(move |&bps| [0, 1, 5_000, 9_999].map(|before| (list, bps, before))))
        .map(|(list, bps, before)| {
            let (charged, after) = charge(micros(list), bps, before);
            json!({
                "bps": bps,
                "charged": charged.micros(),
                "list": list,
                "remainderAfter": after,
                "remainderBefore": before,
            })
        })
        .collect();
    let holds: Vec<Value> = AMOUNTS
        .iter()
        .flat_map(|&list| {
            BPS.map(|bps| json!({ "bps": bps, "hold": hold_amount(micros(list), bps).micros(), "list": list }))
        })
        .collect();
    let tiers: Vec<Value> = [
        0,
        1,
        9_999_999,
        10_000_000,
        49_999_999,
        50_000_000,
        199_999_999,
        200_000_000,
        (1 << 56) - 1,
    ]
    .iter()
    .map(|&total| {
        let terms = terms();
        json!({ "bps": terms.discount_for(micros(total)), "name": terms.tier_name(micros(total)), "total": total })
    })
    .collect();
    check_or_write(
        "discount.json",
        &json!({ "accounts": lives(), "charges": charges, "floors": floors(), "holds": holds, "tiers": tiers }),
    );
}

/// The floor of an account over batches, after raises at given batches.
fn floors() -> Vec<Value> {
    let mut rows = Vec::new();
    for (first, raises) in
        [(0u16, vec![(500u16, 0u64)]), (500, vec![(1000, 4), (1500, 5)]), (500, vec![(1000, 4), (1500, 7)])]
    {
        let mut floor = DiscountFloor::new(first);
        for (bps, last_batch) in raises {
            floor.raise(bps, last_batch);
            for batch in last_batch + 1..last_batch + 6 {
                rows.push(json!({
                    "batch": batch,
                    "discountBps": floor.discount_bps,
                    "discountFromBatch": floor.discount_from_batch,
                    "floor": floor.at(batch),
                    "previousDiscountBps": floor.previous_discount_bps,
                }));
            }
        }
    }
    rows
}
