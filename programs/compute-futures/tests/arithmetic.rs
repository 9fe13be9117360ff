//! The same arithmetic natively and in the VM: the code generator is not the official one, so its results are compared, not trusted.

use compute_futures_protocol::{AccountState, DiscountFloor, Usdc};
use proptest::prelude::*;

use crate::support::*;

/// Plants account 1 with these figures.
fn plant(world: &mut World, state: &FuturesAccount) {
    let mut stored = world.get(account_address(1, 1)).unwrap();
    stored.data[8..].copy_from_slice(bytemuck::bytes_of(state));
    world.set(account_address(1, 1), stored);
}

fn model(state: &FuturesAccount) -> AccountState {
    AccountState {
        credit: Usdc::from_micros(state.credit),
        charged: Usdc::from_micros(state.charged),
        ceiling: Usdc::from_micros(state.ceiling),
        remainder: state.remainder,
        discount: DiscountFloor {
            discount_bps: state.discount_bps,
            previous_discount_bps: state.previous_discount_bps,
            discount_from_batch: state.discount_from_batch,
        },
    }
}

fn amount() -> impl Strategy<Value = u64> {
    prop_oneof![0u64..1 << 56, 0u64..100_000_000, Just(0), Just(UNLIMITED), (0u32..56).prop_map(|bit| 1 << bit)]
}

fn bps() -> impl Strategy<Value = u16> {
    prop_oneof![0u16..=10_000, Just(500), Just(1000), Just(u16::MAX)]
}

prop_compose! {
    fn row()(list in prop_oneof![0u64..1 << 48, 0u64..10_000_000, Just((1 << 48) - 1)], discount_bps in bps()) -> Row {
        Row { sequence: 1, list_amount: list, discount_bps }
    }
}

proptest! {
    #![proptest_config(cases(96))]
    #[test]
    fn debits_are_the_same_in_the_vm_natively_and_in_the_model(
        [a, b, ceiling] in [amount(), amount(), amount()],
        remainder in 0u16..10_000,
        [discount_bps, previous_discount_bps] in [0u16..10_000, 0u16..10_000],
        discount_from_batch in 0u64..4,
        rows in prop::collection::vec(row(), 1..30),
    ) {
        let mut world = World::with_account();
        let mut native = world.account(1, 1).unwrap();
        // Nothing has no credit at all: opening takes a deposit.
        native.credit = a.max(b).max(1);
        native.charged = a.min(b);
        native.ceiling = ceiling;
        native.remainder = remainder;
        native.discount_bps = discount_bps;
        native.previous_discount_bps = previous_discount_bps;
        native.discount_from_batch = discount_from_batch;
        plant(&mut world, &native);
        let mut model = model(&native);

        let posted = world.post(&rows);
        let mut charged = 0;
        for (row, done) in rows.iter().zip(&posted.rows) {
            let own = native.debit(1, row.list_amount, row.discount_bps);
            let theirs = model.debit(Usdc::from_micros(row.list_amount), row.discount_bps, 1);
            prop_assert_eq!((own.discount_bps, own.net, own.uncovered), (done.discount_bps, done.charged, done.uncovered));
            prop_assert_eq!((theirs.discount_bps, theirs.charged.micros(), theirs.uncovered.micros()), (own.discount_bps, own.net, own.uncovered));
            prop_assert_eq!((native.charged, native.remainder), (done.total_charged, done.remainder));
            prop_assert_eq!((model.charged.micros(), model.remainder), (native.charged, native.remainder));
            charged += own.net;
        }
        prop_assert_eq!(posted.charged, charged);
        let stored = world.account(1, 1).unwrap();
        prop_assert_eq!(bytemuck::bytes_of(&stored), bytemuck::bytes_of(&native));
        prop_assert_eq!(world.operator(1).earnings, charged);
    }
}
