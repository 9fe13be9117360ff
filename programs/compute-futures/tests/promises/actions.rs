use proptest::prelude::*;

/// A call, well-formed or not. Accounts, operators and owners are numbers that are taken modulo how many there are.
#[derive(Debug, Clone)]
pub(super) enum Action {
    Terms { operator: usize, better: bool },
    Deposit { operator: usize, owner: usize, amount: u64, ceiling: u64 },
    TopUp { account: usize, amount: u64, ceiling: u64, by_owner: bool },
    Send { owner: usize, amount: u64 },
    Sweep { owner: usize },
    Raise { account: usize, ceiling: u64, by_owner: bool },
    Post { operator: usize, rows: Vec<(usize, u64, u16)> },
    PostOutOfOrder { operator: usize, ahead: u64 },
    Request { account: usize, by_owner: bool },
    Refund { account: usize, by_owner: bool },
    Close { account: usize, by_its_operator: bool },
    Withdraw { operator: usize, amount: u64 },
    Wait { seconds: u32 },
}

fn amount() -> impl Strategy<Value = u64> {
    prop_oneof![Just(0), 1..2_000_000u64, 1_000_000..400_000_000u64, 1..1u64 << 40]
}

fn ceiling() -> impl Strategy<Value = u64> {
    prop_oneof![Just(0), Just((1 << 56) - 1), Just(1 << 56), 0..500_000_000u64]
}

fn row() -> impl Strategy<Value = (usize, u64, u16)> {
    let list = prop_oneof![0..100u64, 0..50_000_000u64, 0..1u64 << 48];
    (0..8usize, list, prop_oneof![Just(0u16), 0..=12_000u16, Just(1000u16)])
}

pub(super) fn any() -> impl Strategy<Value = Action> {
    let mostly = || prop::bool::weighted(0.85);
    prop_oneof![
        1 => (0..2usize, mostly()).prop_map(|(operator, better)| Action::Terms { operator, better }),
        4 => (0..2usize, 0..3usize, amount(), ceiling())
            .prop_map(|(operator, owner, amount, ceiling)| Action::Deposit { operator, owner, amount, ceiling }),
        3 => (0..8usize, amount(), ceiling(), mostly())
            .prop_map(|(account, amount, ceiling, by_owner)| Action::TopUp { account, amount, ceiling, by_owner }),
        2 => (0..3usize, amount()).prop_map(|(owner, amount)| Action::Send { owner, amount }),
        3 => (0..3usize).prop_map(|owner| Action::Sweep { owner }),
        2 => (0..8usize, ceiling(), mostly())
            .prop_map(|(account, ceiling, by_owner)| Action::Raise { account, ceiling, by_owner }),
        8 => (0..2usize, prop::collection::vec(row(), 0..12))
            .prop_map(|(operator, rows)| Action::Post { operator, rows }),
        1 => (0..2usize, prop_oneof![Just(0u64), 2..5u64])
            .prop_map(|(operator, ahead)| Action::PostOutOfOrder { operator, ahead }),
        2 => (0..8usize, mostly()).prop_map(|(account, by_owner)| Action::Request { account, by_owner }),
        3 => (0..8usize, mostly()).prop_map(|(account, by_owner)| Action::Refund { account, by_owner }),
        1 => (0..8usize, mostly()).prop_map(|(account, by_its_operator)| Action::Close { account, by_its_operator }),
        2 => (0..2usize, amount()).prop_map(|(operator, amount)| Action::Withdraw { operator, amount }),
        2 => (0..5_000u32).prop_map(|seconds| Action::Wait { seconds }),
    ]
}
