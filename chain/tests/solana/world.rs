//! A cluster with an operator on it, and an owner with money.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use compute_futures_chain::solana::local::{PROGRAM, SolanaLocal};
use compute_futures_chain::solana::{SolanaConfig, SolanaReader, SolanaWriter};
use compute_futures_chain::{Action, ChainReader, ChainWriter, EventKind};
use compute_futures_protocol::{AccountId, B256, Chain, Signer, Terms, Usdc};
use serde_json::{Value, json};
use url::Url;

pub(crate) struct World {
    pub(crate) chain: SolanaLocal,
    pub(crate) reader: Arc<SolanaReader>,
    pub(crate) operator: SolanaWriter,
    pub(crate) owner: SolanaWriter,
    pub(crate) owner_key: Signer,
}

pub(crate) fn usdc(micros: u64) -> Usdc {
    Usdc::from_micros(micros)
}

pub(crate) fn terms() -> Terms {
    Terms {
        refund_delay: 3_600,
        minimum_deposit: usdc(1_000_000),
        rate_card_hash: B256::repeat_byte(0xca),
        tiers: Terms::default_tiers(),
    }
}

pub(crate) fn id(operator: u32, sequence: u32) -> AccountId {
    AccountId::new(operator, sequence).unwrap()
}

/// A node's signatures of an address that somebody names again and again: page after page of transactions that say nothing.
pub(crate) fn spammed(result: &mut Value) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let signature = bs58::encode([7; 64]).into_string();
    *result = vec![json!({"signature": signature, "slot": 1, "err": {"spam": 1}, "blockTime": now}); 1_000].into();
}

impl World {
    pub(crate) async fn new() -> Self {
        Self::on_slots_of(50).await
    }

    /// With a slot this often (milliseconds).
    pub(crate) async fn on_slots_of(millis: u64) -> Self {
        let chain = SolanaLocal::start(Duration::from_millis(millis)).await.unwrap();
        let reader = chain.reader().await.unwrap();
        let operator = SolanaWriter::new(reader.clone(), chain.signer(0)).unwrap();
        let owner_key = chain.signer(1);
        let owner = SolanaWriter::new(reader.clone(), owner_key.clone()).unwrap();
        operator.execute(&Action::SetTerms { terms: terms() }).await.unwrap();
        chain.cheats().set_usdc(owner.sender(), usdc(1_000_000_000)).await.unwrap();
        Self { chain, reader, operator, owner, owner_key }
    }

    /// A reader of the same cluster by another way.
    pub(crate) async fn reader_over(&self, url: &Url) -> Arc<SolanaReader> {
        SolanaReader::connect(SolanaConfig::new(Chain::Solana, vec![url.clone()], PROGRAM)).await.unwrap()
    }

    /// The events of one executed action.
    pub(crate) async fn events_of(&self, writer: &SolanaWriter, action: &Action) -> Vec<EventKind> {
        let (id, outcome) = writer.execute(action).await.unwrap_or_else(|error| panic!("{action:?}: {error}"));
        assert!(outcome.succeeded && outcome.gas_used > 0 && outcome.effective_fee >= 5_000);
        let events = self.reader.events(outcome.block_number, outcome.block_number).await.unwrap();
        let ours: Vec<_> = events.into_iter().filter(|event| event.meta.transaction == id).collect();
        let block = self.reader.block(outcome.block_number).await.unwrap().unwrap();
        assert_eq!(block.hash, outcome.block_hash);
        assert!(ours.iter().all(|event| event.meta.block_hash == block.hash));
        assert!(ours.iter().all(|event| event.meta.block_timestamp.abs_diff(block.timestamp) <= 1));
        ours.into_iter().map(|event| event.kind).collect()
    }

    pub(crate) async fn open(&self, amount: u64, ceiling: Usdc) -> AccountId {
        let action = Action::Deposit { operator_index: 1, owner: self.owner.sender(), amount: usdc(amount), ceiling };
        match self.events_of(&self.owner, &action).await.first() {
            Some(EventKind::AccountOpened { account, .. }) => *account,
            other => panic!("{other:?}"),
        }
    }
}
