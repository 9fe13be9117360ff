//! A chain with an operator on it, and an owner with money.

use std::sync::Arc;

use compute_futures_chain::evm::local::LocalChain;
use compute_futures_chain::evm::{EvmReader, EvmWriter};
use compute_futures_chain::{Action, ChainReader, ChainWriter, EventKind};
use compute_futures_protocol::{AccountId, Address, B256, Domain, Signer, Terms, Usdc};

pub(crate) struct World {
    pub(crate) chain: LocalChain,
    pub(crate) reader: Arc<EvmReader>,
    pub(crate) operator: EvmWriter,
    pub(crate) owner: EvmWriter,
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

impl World {
    pub(crate) async fn new() -> Self {
        let chain = LocalChain::start().await.unwrap();
        let reader = chain.reader().await.unwrap();
        let operator = EvmWriter::new(reader.clone(), chain.signer(0).unwrap()).unwrap();
        let owner_key = chain.signer(1).unwrap();
        let owner = EvmWriter::new(reader.clone(), owner_key.clone()).unwrap();
        operator.execute(&Action::SetTerms { terms: terms() }).await.unwrap();
        chain.mint(owner.sender(), usdc(1_000_000_000)).await.unwrap();
        Self { chain, reader, operator, owner, owner_key }
    }

    /// The events of one executed action.
    pub(crate) async fn events_of(&self, writer: &EvmWriter, action: &Action) -> Vec<EventKind> {
        let (hash, outcome) = writer.execute(action).await.unwrap();
        assert!(outcome.succeeded && outcome.gas_used > 0);
        let events = self.reader.events(outcome.block_number, outcome.block_number).await.unwrap();
        assert!(
            events.iter().all(|event| event.meta.transaction == hash && event.meta.block_hash == outcome.block_hash)
        );
        let block = self.reader.block(outcome.block_number).await.unwrap().unwrap();
        assert!(events.iter().all(|event| event.meta.block_timestamp == block.timestamp));
        events.into_iter().map(|event| event.kind).collect()
    }

    pub(crate) async fn open(&self, amount: u64, ceiling: Usdc) -> AccountId {
        let action = Action::Deposit { operator_index: 1, owner: self.owner.sender(), amount: usdc(amount), ceiling };
        match self.events_of(&self.owner, &action).await.first() {
            Some(EventKind::AccountOpened { account, .. }) => *account,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn domain(&self) -> Domain {
        self.reader.domain()
    }
}

pub(crate) fn id(operator: u32, sequence: u32) -> AccountId {
    AccountId::new(operator, sequence).unwrap()
}

pub(crate) fn stranger() -> Address {
    Address::repeat_byte(0x77)
}
