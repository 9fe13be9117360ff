//! A chain that breaks the marketplace's rules: each breach is found under its name, and stored next to what the chain says.

use std::sync::Arc;

use compute_futures_chain::market::MarketEvent;
use compute_futures_indexer::store::Store;
use compute_futures_protocol::{Address, B256, Chain, Usdc, market::SessionId};

use super::{
    market::{assert_matches, open, terms},
    support::{
        catch_up_both,
        databases::Databases,
        fake::FakeChain,
        market::{agents, content, source},
        on_both_chains,
        world::{somebody, usdc},
    },
};

on_both_chains!(what_contradicts_the_rules_is_found, endings_that_contradict_the_rules_are_found);

async fn what_contradicts_the_rules_is_found(chain: Chain) {
    type Lie = fn(&mut MarketEvent);
    let lies: [(&str, Lie); 20] = [
        ("escrow_funds", |event| {
            if let MarketEvent::EscrowFunded { unreserved, .. } = event {
                *unreserved = usdc(unreserved.micros() + 1);
            }
        }),
        ("session_opening", |event| {
            if let MarketEvent::SessionOpened { limit, .. } = event {
                *limit = usdc(6_000_000);
            }
        }),
        ("session_agent", |event| {
            if let MarketEvent::SessionOpened { agent, .. } = event {
                *agent = Address::repeat_byte(0x77);
            }
        }),
        ("session_price", |event| {
            if let MarketEvent::SessionOpened { content_hash, .. } = event {
                *content_hash = content(9).hash();
            }
        }),
        ("session_beyond_limit", |event| {
            if let MarketEvent::SessionClosed { cost, .. } = event {
                *cost = usdc(1_000_001);
            }
        }),
        ("session_closing", |event| {
            if let MarketEvent::SessionOpened { deadline, .. } = event {
                *deadline -= 500;
            }
        }),
        ("session_without_receipts", |event| {
            if let MarketEvent::SessionClosed { receipt_count, .. } = event {
                *receipt_count = 0;
            }
        }),
        ("escrow_refund", |event| {
            if let MarketEvent::EscrowRefunded { amount, .. } = event {
                *amount = usdc(amount.micros() - 1);
            }
        }),
        ("escrow_refund_recipient", |event| {
            if let MarketEvent::EscrowRefunded { creator, .. } = event {
                *creator = Address::repeat_byte(0x78);
            }
        }),
        ("provider_content", |event| {
            if let MarketEvent::ProviderRegistered { content: Some(content), .. } = event {
                content.minimum_charge = Usdc::ZERO;
            }
        }),
        ("provider_version", |event| {
            if let MarketEvent::ProviderRegistered { version, .. } = event {
                *version = 2;
            }
        }),
        ("provider_withdrawn_beyond_earnings", |event| {
            if let MarketEvent::EarningsWithdrawn { amount, .. } = event {
                *amount = usdc(800_001);
            }
        }),
        ("session_meter", |event| {
            if let MarketEvent::EscrowCreated { meter, .. } = event {
                *meter = Some(Address::repeat_byte(0x79));
            }
        }),
        ("escrow_without_meter", |event| {
            if let MarketEvent::EscrowCreated { open_to_all, .. } = event {
                *open_to_all = true;
            }
        }),
        ("agent_list", |event| {
            if let MarketEvent::AgentAdded { agent, .. } = event {
                *agent = Address::repeat_byte(0x7a);
            }
        }),
        ("session_sequence", |event| {
            if let MarketEvent::SessionOpened { session, .. } = event {
                *session = SessionId::new(1, 5).unwrap();
            }
        }),
        ("unknown_session", |event| {
            if let MarketEvent::SessionClosed { session, .. } = event {
                *session = SessionId::new(1, 5).unwrap();
            }
        }),
        ("session_provider", |event| {
            if let MarketEvent::SessionClosed { provider_id, .. } = event {
                *provider_id = 5;
            }
        }),
        ("unknown_escrow", |event| {
            if let MarketEvent::EscrowRefunded { escrow_id, .. } = event {
                *escrow_id = 5;
            }
        }),
        ("unknown_provider", |event| {
            if let MarketEvent::EarningsWithdrawn { provider_id, .. } = event {
                *provider_id = 5;
            }
        }),
    ];
    let databases = Databases::sqlite();
    for (code, lie) in lies {
        let fake = Arc::new(FakeChain::on(chain, 12));
        open(&fake);
        let session = SessionId::new(1, 1).unwrap();
        fake.trade(|now, market, events| {
            market.close(session, 800_000, (2, B256::repeat_byte(1)), now, events);
            market.withdraw(1, 800_000, events);
            market.refund(1, 100, events);
        });
        found(&databases, &fake, lie, code).await;
    }
}

/// What a lie on chain is called.
async fn found(databases: &Databases, fake: &Arc<FakeChain>, lie: fn(&mut MarketEvent), code: &str) {
    let honest = Store::open(&databases.fresh().await, 2).await.unwrap();
    catch_up_both(&honest, &source(fake)).await;
    assert_matches(&honest, fake).await;
    fake.tamper_market(|event| lie(&mut event.kind));
    let store = Store::open(&databases.fresh().await, 2).await.unwrap();
    catch_up_both(&store, &source(fake)).await;
    let found = store.all("SELECT code FROM market_discrepancies", &[]).await.unwrap();
    let found: Vec<String> = found.iter().map(|row| row.text("code").unwrap()).collect();
    assert!(found.iter().any(|found| found == code), "{code}: {found:?}");
}

async fn endings_that_contradict_the_rules_are_found(chain: Chain) {
    type Lie = fn(&mut MarketEvent);
    let lies: [(&str, Lie); 6] = [
        ("session_lapse", |event| {
            if let MarketEvent::SessionLapsed { released, .. } = event {
                *released = usdc(released.micros() - 1);
            }
        }),
        ("session_lapse", |event| {
            if let MarketEvent::SessionOpened { deadline, .. } = event {
                *deadline += 5;
            }
        }),
        ("escrow_expiry", |event| {
            if let MarketEvent::EscrowExpired { amount, .. } = event {
                *amount = usdc(amount.micros() - 1);
            }
        }),
        ("escrow_expiry", |event| {
            if let MarketEvent::EscrowCreated { expiry, .. } = event {
                *expiry += 100;
            }
        }),
        ("session_shortfall", |event| {
            if let MarketEvent::SessionClosed { cost, .. } = event {
                *cost = usdc(cost.micros() - 1);
            }
        }),
        ("provider_owner", |event| {
            if let MarketEvent::ProviderUpdated { owner, .. } = event {
                *owner = Address::repeat_byte(0x7b);
            }
        }),
    ];
    let databases = Databases::sqlite();
    for (code, lie) in lies {
        let fake = Arc::new(FakeChain::on(chain, 12));
        fake.trade(|now, market, events| {
            let provider = market.register(somebody(chain, 0x51), content(100), events);
            let escrow = market.create(&terms(chain, now + 8), 20_000_000, now, events);
            let [agent, ..] = agents(chain);
            for deadline in [1, 7, 7] {
                let meter = somebody(chain, 0x41);
                market.open(escrow, agent, provider, meter, 1_000_000, now + deadline, false, now, events).unwrap();
            }
            market.update(provider, content(200), events);
        });
        let [first, second] = [1, 2].map(|sequence| SessionId::new(1, sequence).unwrap());
        fake.trade(|now, market, events| {
            market.lapse(first, now, events);
            market.close(second, 1_000_009, (1, B256::repeat_byte(1)), now, events);
        });
        for _ in 0..3 {
            fake.mine(|_, _| {});
        }
        // The third is open until its escrow is emptied.
        fake.trade(|now, market, events| market.expire(1, now, events));
        found(&databases, &fake, lie, code).await;
    }
}
