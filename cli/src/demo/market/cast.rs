//! Who plays: the creator, three agents, a stranger, and two providers that run.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use compute_futures_chain::market::{MarketAction, MarketEvent, MarketReader};
use compute_futures_chain::{Action, ChainError};
use compute_futures_protocol::market::{Model, ProviderContent, ProviderType};
use compute_futures_protocol::{Address, Usdc};

use super::super::stage::Stage;
use super::super::world::World;
use crate::chain::{Market, fuel_on};
use crate::devnet::{Child, Spec, free_port};
use crate::failure::{Failure, Outcome};
use crate::keys::Key;

/// What the providers of the story sell.
pub(super) const MODEL: &str = "extractive-summary";
/// Funded keys: the creator's, the two providers', and somebody's who brings what others signed.
const CREATOR: usize = 1;
const SELLERS: [usize; 2] = [4, 5];
const PASSER_BY: usize = 7;

/// The marketplace of one chain, and who is there.
pub(super) struct Bazaar<'w> {
    pub(super) world: &'w World,
    pub(super) reader: Arc<dyn MarketReader>,
    market: Market,
    pub(super) creator: Key,
    pub(super) passer_by: Key,
    /// Wallets that never existed before.
    pub(super) agents: Vec<Key>,
    /// On no list.
    pub(super) stranger: Key,
}

/// What wallets and the contract hold.
pub(super) struct Balances {
    pub(super) creator: Usdc,
    pub(super) vault: Usdc,
    pub(super) sellers: Vec<Usdc>,
}

impl<'w> Bazaar<'w> {
    pub(super) async fn new(world: &'w World) -> Outcome<Self> {
        let at = world.file.market(world.chain).ok_or_else(|| Failure::broken("the devnet has no marketplace"))?;
        let market = world.connection.market(at).await?;
        Ok(Self {
            world,
            reader: market.reader(),
            market,
            creator: world.funded(CREATOR)?,
            passer_by: world.funded(PASSER_BY)?,
            agents: (0..3).map(|_| world.stranger()).collect::<Outcome<_>>()?,
            stranger: world.stranger()?,
        })
    }

    /// The agents' addresses.
    pub(super) fn agents(&self) -> Vec<Address> {
        self.agents.iter().map(Key::address).collect()
    }

    /// Unix seconds, as the chain has them.
    pub(super) async fn now(&self) -> Outcome<u64> {
        Ok(self.world.reader.heads().await?.latest.timestamp)
    }

    pub(super) async fn balances(&self) -> Outcome<Balances> {
        let mut sellers = Vec::new();
        for place in SELLERS {
            sellers.push(self.world.usdc_of(self.world.funded(place)?.address()).await?);
        }
        let vault = self.world.usdc_of(self.reader.vault()).await?;
        Ok(Balances { creator: self.world.usdc_of(self.creator.address()).await?, vault, sellers })
    }

    /// Posts as `key`; what the marketplace says of it.
    pub(super) async fn post(&self, key: &Key, verb: MarketAction) -> Outcome<Vec<MarketEvent>> {
        Ok(self.try_post(key, verb).await?)
    }

    /// Posts as `key`, and hands a refusal back.
    pub(super) async fn try_post(&self, key: &Key, verb: MarketAction) -> Result<Vec<MarketEvent>, ChainError> {
        let (transaction, outcome) = self.market.writer(key.signer.clone())?.execute(&Action::Market(verb)).await?;
        let events = self.reader.events(outcome.block_number, outcome.block_number).await?;
        Ok(events.into_iter().filter(|event| event.meta.transaction == transaction).map(|event| event.kind).collect())
    }

    /// Everything that happened on the market.
    pub(super) async fn history(&self) -> Outcome<Vec<MarketEvent>> {
        let head = self.world.reader.heads().await?.latest.number;
        let events = self.reader.events(self.reader.deployment_block(), head).await?;
        Ok(events.into_iter().map(|event| event.kind).collect())
    }

    /// The agents spend a budget and have nothing themselves.
    pub(super) async fn penniless(&self, stage: &mut Stage) -> Outcome<()> {
        let mut nothing = true;
        for agent in self.agents() {
            nothing &= self.world.usdc_of(agent).await?.is_zero();
            nothing &= self.world.connection.fuel_of(agent).await? == 0;
        }
        stage.holds(format!("none of the three agents has ever held USDC or {}", fuel_on(self.world.chain)), nothing)
    }
}

/// A provider that runs: `compute-futures provider serve`, with the summariser built in.
pub(super) struct Seller {
    pub(super) id: u32,
    pub(super) key: Key,
    pub(super) content: ProviderContent,
    child: Option<Child>,
}

impl Seller {
    /// Registers the provider in `place`, and starts it.
    pub(super) async fn open(bazaar: &Bazaar<'_>, stage: &mut Stage, place: usize, price: Usdc) -> Outcome<Self> {
        let world = bazaar.world;
        let key = world.funded(SELLERS[place])?;
        let port = free_port().map_err(|error| Failure::broken(format!("no free port: {error}")))?;
        let content = ProviderContent {
            endpoint: format!("http://127.0.0.1:{port}/v1"),
            provider_type: ProviderType::SelfHosted,
            rate_limit: 60_000,
            minimum_charge: Usdc::from_micros(100),
            features: vec!["summaries".to_owned()],
            models: vec![Model {
                name: MODEL.to_owned(),
                input_price: price,
                output_price: Usdc::from_micros(price.micros() * 3),
                max_context: 32_768,
            }],
        };
        let events = bazaar.post(&key, MarketAction::Register { content: content.clone() }).await?;
        let id = events
            .iter()
            .find_map(|event| match event {
                MarketEvent::ProviderRegistered { provider_id, .. } => Some(*provider_id),
                _ => None,
            })
            .ok_or_else(|| Failure::broken("the registration left no event"))?;
        let child = Self::start(world, place, id, port)?;
        let mut seller = Self { id, key, content, child: Some(child) };
        seller.listed(bazaar).await?;
        stage.says(format!(
            "provider {id} sells {MODEL} at {price} USDC for 1,000 tokens read, at {}",
            seller.content.endpoint
        ));
        Ok(seller)
    }

    fn start(world: &World, place: usize, id: u32, port: u16) -> Outcome<Child> {
        let binary = std::env::current_exe().map_err(|error| Failure::file(Path::new("this program"), &error))?;
        let network = if world.chain.evm_chain_id().is_some() { "local" } else { "local-solana" };
        let devnet = world.file.dir.join("market-devnet.json");
        world.file.write(&devnet)?;
        let args = [
            "--network".into(),
            network.into(),
            "--devnet".into(),
            devnet.into_os_string(),
            "provider".into(),
            "serve".into(),
            "--provider".into(),
            id.to_string().into(),
            "--upstream".into(),
            "local".into(),
            "--bind".into(),
            format!("127.0.0.1:{port}").into(),
            "--with-parent".into(),
        ];
        let name = if place == 0 { "first provider" } else { "second provider" };
        let log = world.file.dir.join(format!("provider-{network}-{id}.log"));
        Child::spawn(&binary, Spec { name, args: args.to_vec(), env: Vec::new(), log })
    }

    /// Waits until the relayer lists it, and has seen it answer.
    async fn listed(&mut self, bazaar: &Bazaar<'_>) -> Outcome<()> {
        let path = bazaar.world.here(&format!("/api/v1/market/providers/{}", self.id));
        let seen = bazaar.world.until("the relayer to see the provider", || async {
            let body = bazaar.world.relayer.get(&path).await.unwrap_or_default();
            Ok((body["callable"] == true && body["health"]["status"] == "healthy").then_some(()))
        });
        let seen = seen.await;
        if let Some(child) = &mut self.child {
            child.check()?;
        }
        seen
    }

    /// Pulls the plug.
    pub(super) async fn dies(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().await;
        }
    }

    pub(super) async fn stop(self) {
        if let Some(child) = self.child {
            child.stop(Duration::from_secs(5)).await;
        }
    }
}
