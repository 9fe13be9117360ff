use proptest::prelude::*;

const DAY: u64 = 24 * 3600;

/// A call, well-formed or not. Escrows, sessions and people are numbers that are taken modulo how many there are.
#[derive(Debug, Clone)]
pub(super) enum Action {
    Create {
        open_to_all: bool,
        amount: u64,
        days: u64,
    },
    Fund {
        escrow: usize,
        amount: u64,
    },
    Send {
        amount: u64,
    },
    Sweep,
    Agent {
        escrow: usize,
        agent: usize,
        add: bool,
        by_creator: bool,
    },
    /// With a nonce: signed, that far from the agent's next.
    Open {
        escrow: usize,
        agent: usize,
        provider: usize,
        meter: usize,
        limit: u64,
        after: u64,
        stale: bool,
        nonce: Option<u32>,
    },
    Close {
        session: usize,
        cost: u64,
        by_meter: bool,
    },
    CloseMany {
        meter: usize,
        rows: Vec<(usize, u64)>,
    },
    Lapse {
        session: usize,
    },
    LapseMany {
        sessions: Vec<usize>,
    },
    Refund {
        escrow: usize,
        amount: u64,
        by_creator: bool,
    },
    Expire {
        escrow: usize,
    },
    Withdraw {
        provider: usize,
        amount: u64,
        by_owner: bool,
    },
    /// The provider publishes another content.
    Content {
        provider: usize,
    },
    Wait {
        seconds: u64,
    },
}

fn amount() -> impl Strategy<Value = u64> {
    prop_oneof![1 => Just(0), 1 => 1..100u64, 6 => 1_000_000..60_000_000u64, 1 => 1..1u64 << 48]
}

/// Around the limit of a session, which is ten million.
fn limit() -> impl Strategy<Value = u64> {
    prop_oneof![1 => Just(0), 1 => Just(10_000_001), 1 => Just(10_000_000), 6 => 1..9_000_000u64]
}

fn cost() -> impl Strategy<Value = u64> {
    prop_oneof![1 => Just(0), 6 => 0..12_000_000u64, 1 => Just((1 << 48) - 1)]
}

pub(super) fn any() -> impl Strategy<Value = Action> {
    let mostly = || prop::bool::weighted(0.9);
    let seldom = || prop::bool::weighted(0.1);
    let after = prop_oneof![4 => 0..3 * DAY, 1 => 0..40 * DAY];
    let nonce = prop_oneof![2 => Just(None), 2 => Just(Some(0u32)), 1 => (0..3u32).prop_map(Some)];
    let session = || 0..16usize;
    prop_oneof![
        3 => (prop::bool::ANY, amount(), 0..40u64)
            .prop_map(|(open_to_all, amount, days)| Action::Create { open_to_all, amount, days }),
        2 => (0..4usize, amount()).prop_map(|(escrow, amount)| Action::Fund { escrow, amount }),
        1 => amount().prop_map(|amount| Action::Send { amount }),
        2 => Just(Action::Sweep),
        2 => (0..4usize, 0..3usize, prop::bool::ANY, mostly())
            .prop_map(|(escrow, agent, add, by_creator)| Action::Agent { escrow, agent, add, by_creator }),
        12 => ((0..4usize, 0..3usize, 0..2usize, 0..2usize), limit(), after, seldom(), nonce).prop_map(
            |((escrow, agent, provider, meter), limit, after, stale, nonce)| Action::Open {
                escrow, agent, provider, meter, limit, after, stale, nonce,
            }
        ),
        5 => (session(), cost(), mostly()).prop_map(|(session, cost, by_meter)| Action::Close { session, cost, by_meter }),
        4 => (0..2usize, prop::collection::vec((session(), cost()), 0..6))
            .prop_map(|(meter, rows)| Action::CloseMany { meter, rows }),
        3 => session().prop_map(|session| Action::Lapse { session }),
        1 => prop::collection::vec(session(), 0..6).prop_map(|sessions| Action::LapseMany { sessions }),
        2 => (0..4usize, amount(), mostly())
            .prop_map(|(escrow, amount, by_creator)| Action::Refund { escrow, amount, by_creator }),
        2 => (0..4usize).prop_map(|escrow| Action::Expire { escrow }),
        2 => (0..2usize, amount(), mostly())
            .prop_map(|(provider, amount, by_owner)| Action::Withdraw { provider, amount, by_owner }),
        1 => (0..2usize).prop_map(|provider| Action::Content { provider }),
        3 => prop_oneof![3 => 0..DAY, 1 => 0..15 * DAY].prop_map(|seconds| Action::Wait { seconds }),
    ]
}
