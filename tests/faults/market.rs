//! The marketplace when something dies: the relayer at every step of a call and of a close, the provider in the middle of one, the RPC while
//! sessions are closed, the block of an opening. What is paid is Σ receipts, once (I-5, I-8, I-10).

mod bazaar;

use std::time::Duration;

use compute_futures_cli::args::Only;
use compute_futures_protocol::{Chain, Usdc};
use compute_futures_tests::{Behaviour, Worlds};

use super::chain::{anvil, node};
use bazaar::{AGENT, Bazaar, OTHER_AGENT, PRICE};

/// Steps of a call, and how often its provider has worked for it once the relayer died there.
const CALL: [(&str, u64); 4] = [
    ("market::after_hold", 0),
    ("market::after_provider", 1),
    ("market::before_charge", 2),
    ("market::after_charge", 3),
];

fn armed(failpoint: &str) -> Vec<(String, String)> {
    vec![("COMPUTE_FUTURES_FAILPOINT".into(), failpoint.into())]
}

/// Sends something to a relayer that dies of it.
async fn dies<T: Send + 'static>(worlds: &mut Worlds, failpoint: &str, sent: impl Future<Output = T> + Send + 'static) {
    let sent = tokio::spawn(sent);
    let ended = tokio::time::timeout(Duration::from_secs(20), worlds.net.relayer().ended()).await;
    assert!(ended.is_ok(), "the relayer never reached {failpoint}");
    sent.abort();
}

/// One order meets every death there is, each successor on its way to the next; then its session's closing does.
#[tokio::test]
async fn a_relayer_killed_at_any_step_of_a_call_and_its_closing_pays_what_receipts_say() {
    let mut worlds = Worlds::start("crash-market").await;
    for world in worlds.all() {
        let bazaar = Bazaar::open(&world).await;
        let session = bazaar.session(AGENT, "1").await;
        let (_, before) = bazaar.order(AGENT, session, "Nobody dies.").await.answered(&world.relayer).await;
        assert_eq!(before.receipt.cost, PRICE);

        let order = bazaar.order(AGENT, session, "Everybody dies.").await;
        for (failpoint, worked) in CALL {
            worlds.net.restart_relayer(&armed(failpoint)).await.expect("an armed relayer starts");
            // What its predecessor held is free again, and nothing was charged.
            bazaar.books(session, 1, PRICE).await;
            let (sent, relayer) = (order.clone(), world.relayer.clone());
            dies(&mut worlds, failpoint, async move { sent.send(&relayer).await }).await;
            assert_eq!(bazaar.upstream.requests(), 1 + worked, "{failpoint}");
        }
        worlds.net.restart_relayer(&armed("market::after_sign")).await.expect("an armed relayer starts");
        let charged = PRICE.checked_add(PRICE).expect("a small sum");
        bazaar.books(session, 2, charged).await;
        let (answer, receipt) = order.answered(&world.relayer).await;
        let (again, _) = order.answered(&world.relayer).await;
        assert_eq!(answer.bytes, again.bytes, "the same order, the same answer");
        assert_eq!(bazaar.upstream.requests(), 4, "what was charged is not run again");
        bazaar.books(session, 2, charged).await;

        dies(&mut worlds, "market::after_sign", bazaar.close(AGENT, session)).await;
        worlds.net.restart_relayer(&[]).await.expect("its successor starts");
        bazaar.settled(&[session], &[before, receipt.clone()]).await;
        let (paid, same) = order.answered(&world.relayer).await;
        assert_eq!(same, receipt);
        assert!(paid.body["cost"]["transaction"].is_string(), "{}", paid.body);
    }
}

/// The provider dies in the middle of a call, then the RPC hangs in the middle of closings.
#[tokio::test]
async fn a_provider_that_dies_is_not_paid_and_an_rpc_that_hangs_delays_closings_only() {
    let worlds = Worlds::start("market-provider").await;
    let worlds = &worlds;
    worlds
        .each(async |world| {
            let mut bazaar = Bazaar::open(world).await;
            let sessions = [bazaar.session(AGENT, "1").await, bazaar.session(OTHER_AGENT, "2").await];

            bazaar.upstream.behave(Behaviour::Slow);
            let order = bazaar.order(AGENT, sessions[0], "Are you still there?").await;
            let (sent, relayer) = (order.clone(), world.relayer.clone());
            let waiting = tokio::spawn(async move { sent.send(&relayer).await });
            let asked = || async { (bazaar.upstream.requests() == 1).then_some(()) };
            world.until("the provider to work", asked).await;
            let held = bazaar.view(sessions[0]).await.expect("a session")["held"].clone();
            assert_ne!(held, "0", "the call holds its most");
            bazaar.provider_dies().await;
            let answer = waiting.await.expect("no panic").expect("an answer");
            assert!(matches!(answer.status, 502..=504), "{}", answer.body);
            bazaar.books(sessions[0], 0, Usdc::ZERO).await;

            bazaar.upstream.behave(Behaviour::Honest);
            bazaar.provider_comes_back().await;
            let (_, receipt) = order.answered(&world.relayer).await;
            bazaar.books(sessions[0], 1, PRICE).await;

            assert_eq!(bazaar.close(AGENT, sessions[0]).await.status, 202);
            let signed = || async { bazaar.view(sessions[0]).await.filter(|view| view["receiptsRoot"].is_string()) };
            world.until("the cost to be signed", signed).await;
            node(worlds, world.chain, false);
            let asked = tokio::time::timeout(Duration::from_secs(3), bazaar.close(OTHER_AGENT, sessions[1])).await;
            tokio::time::sleep(Duration::from_secs(3)).await;
            node(worlds, world.chain, true);
            assert_eq!(asked.expect("asking needs no chain").status, 202);
            bazaar.settled(&sessions, &[receipt]).await;
        })
        .await;
}

/// Base alone: on Solana a slot that two thirds of the stake confirmed does not vanish.
#[tokio::test]
async fn a_session_whose_opening_a_reorg_drops_is_closed_at_nothing() {
    let worlds = Worlds::start_on(Some(Only::Base), "market-reorg", &[]).await;
    let world = worlds.on(Chain::Base);
    let bazaar = Bazaar::open(&world).await;
    // The block of the opening is the newest one when it vanishes.
    anvil(&worlds).set_interval_mining(Duration::ZERO).await.expect("blocks stop");
    anvil(&worlds).set_automine(true).await.expect("a block for each transaction");
    let gone = bazaar.session(AGENT, "1").await;
    let order = bazaar.order(AGENT, gone, "Before the reorg.").await;
    order.answered(&world.relayer).await;
    let late = bazaar.order(AGENT, gone, "After the reorg.").await;

    anvil(&worlds).reorg(1).await.expect("the newest block is replaced by an empty one");
    anvil(&worlds).mine(1).await.expect("the chain goes on");
    let is_gone = || async { bazaar.view(gone).await.filter(|view| view["status"] == "gone") };
    world.until("the relayer to take the opening back", is_gone).await;
    let refused = late.send(&world.relayer).await.expect("an answer");
    assert!((400..500).contains(&refused.status), "{}", refused.body);
    assert_eq!(bazaar.upstream.requests(), 1, "nobody works for it any more");

    // Its number goes to another agent's session, which owes nothing for the first one's call.
    assert_eq!(bazaar.opened(OTHER_AGENT, "2").await, gone);
    bazaar.settled(&[gone], &[]).await;
    anvil(&worlds).set_interval_mining(Duration::from_millis(250)).await.expect("blocks come again");
    let next = bazaar.session(AGENT, "1").await;
    let (_, receipt) = bazaar.order(AGENT, next, "As ever.").await.answered(&world.relayer).await;
    assert_eq!(bazaar.close(AGENT, next).await.status, 202);
    bazaar.settled(&[gone, next], &[receipt]).await;
}
