//! The marketplace: a creator funds a budget for three agents, who spend it at two providers without ever holding it. In the end every
//! micro-USDC is with a provider or back with the creator.

mod books;
mod calls;
mod cast;
mod sessions;

use compute_futures_chain::market::{MarketAction, MarketEvent};
use compute_futures_protocol::Usdc;
use serde_json::{Value, json};

use super::stage::Stage;
use super::world::World;
use crate::failure::{Failure, Outcome};
use cast::{Bazaar, Seller};
use sessions::Session;

/// What the creator funds.
const BUDGET: Usdc = Usdc::from_micros(100_000_000);
/// Most that a session may cost.
const SESSION_LIMIT: Usdc = Usdc::from_micros(8_000_000);
/// What one session of the story is limited to: less than a long answer can cost.
const SMALL_LIMIT: Usdc = Usdc::from_micros(100_000);
/// Another budget of the creator's, which ends with its time.
const SHORT_BUDGET: Usdc = Usdc::from_micros(5_000_000);
/// Seconds of that time.
const SHORT: u64 = 20;
/// Seconds until a session lapses that nobody closes.
const LAPSE: u64 = 20;

/// Plays the second story; `binary` serves as the providers.
pub(super) async fn tell(world: &World, stage: &mut Stage, calls: u32) -> Outcome<Value> {
    let bazaar = Bazaar::new(world).await?;
    let before = bazaar.balances().await?;

    stage.act("A market: two providers, and a budget for three agents who hold nothing");
    let mut sellers = Vec::new();
    for (place, price) in [(0, 20_000), (1, 40_000)] {
        sellers.push(Seller::open(&bazaar, stage, place, Usdc::from_micros(price)).await?);
    }
    let escrow = bazaar.create(BUDGET, SESSION_LIMIT, 3_600, &bazaar.agents()).await?;
    let short = bazaar.create(SHORT_BUDGET, SESSION_LIMIT, SHORT, &bazaar.agents()).await?;
    stage.says(format!("escrow {escrow}: {BUDGET} USDC, at most {SESSION_LIMIT} a session; escrow {short}: {SHORT_BUDGET} USDC for {SHORT} s"));

    stage.act("Sessions: signed by the agents, brought by the relayer, metered by it");
    let lapsing = sessions::unmetered(&bazaar, stage, escrow, sellers[0].id, LAPSE).await?;
    let mut open = Vec::new();
    for agent in 0..bazaar.agents.len() {
        for seller in &sellers {
            open.push(Session::open(&bazaar, escrow, agent, seller.id, SESSION_LIMIT).await?);
        }
    }
    let small = Session::open(&bazaar, escrow, 0, sellers[0].id, SMALL_LIMIT).await?;
    bazaar.penniless(stage).await?;
    sessions::strangers(&bazaar, stage, escrow, &sellers[0]).await?;

    stage.act("Inferences: three agents at once, at the provider they name or at the best one");
    let spent = calls::up_to_the_limit(&bazaar, stage, &small).await?;
    let before_death = calls / 3 * 2;
    let mut receipts = calls::concurrent(&bazaar, stage, &open, before_death).await?;
    calls::dies(&bazaar, stage, &mut sellers, &open).await?;
    receipts.extend(calls::routed(&bazaar, stage, escrow, &sellers[0], calls - before_death).await?);
    receipts.extend(spent);
    receipts.extend(calls::once(&bazaar, stage, &open[0]).await?);

    stage.act("Close: what the receipts say, under one root a session");
    open.push(small);
    let paid = books::close(&bazaar, stage, &open, &receipts).await?;
    sessions::lapse(&bazaar, stage, lapsing).await?;

    stage.act("Everybody takes what is theirs");
    let earned = books::withdraw(&bazaar, stage, &sellers).await?;
    let refunded = books::give_back(&bazaar, stage, escrow, short).await?;
    books::adds_up(&bazaar, stage, &before, paid, earned, refunded).await?;
    let solvent = books::indexed(&bazaar, stage, &sellers, receipts.len(), paid).await?;
    let providers = sellers.len();
    for seller in sellers {
        seller.stop().await;
    }
    Ok(json!({
        "sessions": open.len() + 1,
        "providers": providers,
        "calls": receipts.len(),
        "paid": paid,
        "refunded": refunded,
        "solvent": solvent,
    }))
}

impl Bazaar<'_> {
    /// The creator's next escrow.
    async fn create(
        &self,
        amount: Usdc,
        session_limit: Usdc,
        seconds: u64,
        agents: &[compute_futures_protocol::Address],
    ) -> Outcome<u32> {
        let terms = compute_futures_protocol::market::EscrowTerms {
            creator: self.creator.address(),
            expiry: self.now().await? + seconds,
            session_limit,
            // Agents of the creator's own: they may name any meter. One of them will name one that nobody runs.
            meter: None,
            open_to_all: false,
            agents: agents.to_vec(),
        };
        if self.world.chain.evm_chain_id().is_some() {
            self.post(&self.creator, MarketAction::Approve { amount }).await?;
        }
        let events = self.post(&self.creator, MarketAction::Create { terms, amount }).await?;
        events
            .iter()
            .find_map(|event| match event {
                MarketEvent::EscrowCreated { escrow_id, .. } => Some(*escrow_id),
                _ => None,
            })
            .ok_or_else(|| Failure::broken("the escrow left no event"))
    }

    /// Waits until the chain's clock is past `at`.
    async fn past(&self, at: u64) -> Outcome<()> {
        self.world.until("the time to pass", || async { Ok((self.now().await? > at).then_some(())) }).await
    }
}
