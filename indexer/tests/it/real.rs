//! Real nodes, Circle's USDC, the real contract and program: the projection equals the chain's own answers, reorgs included.

use std::{sync::Arc, time::Duration};

use compute_futures_chain::{
    Action, ChainReader, ChainWriter, DebitRow, evm::local::LocalChain, solana::local::SolanaLocal,
};
use compute_futures_indexer::{project::AccountRow, solvency::Solvency, store::Store};
use compute_futures_protocol::{AccountId, B256, Chain, Terms, Usdc};

use super::support::{
    catch_up, count,
    databases::Databases,
    on_both_chains,
    world::{somebody, usdc},
};

on_both_chains!(the_projection_equals_the_contract);

fn terms() -> Terms {
    Terms {
        refund_delay: 3600,
        minimum_deposit: usdc(1_000_000),
        rate_card_hash: B256::repeat_byte(3),
        tiers: Terms::default_tiers(),
    }
}

enum Local {
    Evm(LocalChain),
    /// Kept, because the chain ends with it.
    Solana {
        _chain: SolanaLocal,
    },
}

/// A local chain with an operator and an owner with money.
pub struct Node {
    local: Local,
    pub reader: Arc<dyn ChainReader>,
    pub operator: Box<dyn ChainWriter>,
    pub owner: Box<dyn ChainWriter>,
    pub index: u32,
}

impl Node {
    pub async fn start(chain: Chain) -> Self {
        if chain.evm_chain_id().is_some() {
            let local = LocalChain::start().await.unwrap();
            let reader = local.reader().await.unwrap();
            let (operator, owner) = (local.writer(0).await.unwrap(), local.writer(1).await.unwrap());
            local.mint(owner.sender(), usdc(1_000_000_000)).await.unwrap();
            owner.execute(&Action::Approve { amount: Usdc::MAX }).await.unwrap();
            return Self::with(Local::Evm(local), reader, Box::new(operator), Box::new(owner)).await;
        }
        Self::on_solana(Duration::from_millis(50)).await
    }

    /// A slot this often.
    pub async fn on_solana(slot_time: Duration) -> Self {
        let local = SolanaLocal::start(slot_time).await.expect("Surfpool starts: run `npm ci` first");
        let reader = local.reader().await.unwrap();
        let (operator, owner) = (local.writer(0).await.unwrap(), local.writer(1).await.unwrap());
        local.cheats().set_usdc(owner.sender(), usdc(1_000_000_000)).await.unwrap();
        Self::with(Local::Solana { _chain: local }, reader, Box::new(operator), Box::new(owner)).await
    }

    async fn with(
        local: Local,
        reader: Arc<dyn ChainReader>,
        operator: Box<dyn ChainWriter>,
        owner: Box<dyn ChainWriter>,
    ) -> Self {
        operator.execute(&Action::SetTerms { terms: terms() }).await.unwrap();
        let index = reader.operator_index_of(operator.sender()).await.unwrap().unwrap();
        Self { local, reader, operator, owner, index }
    }

    fn evm(&self) -> &LocalChain {
        match &self.local {
            Local::Evm(local) => local,
            Local::Solana { .. } => panic!("this test is for the EVM"),
        }
    }

    pub async fn deposit(&self, amount: u64) -> AccountId {
        let deposit = Action::Deposit {
            operator_index: self.index,
            owner: self.owner.sender(),
            amount: usdc(amount),
            ceiling: Usdc::MAX,
        };
        self.owner.execute(&deposit).await.unwrap();
        let sequence = self.reader.operator(self.index).await.unwrap().unwrap().last_sequence;
        AccountId::new(self.index, sequence).unwrap()
    }

    pub async fn post(&self, receipts_root: B256, rows: Vec<DebitRow>) {
        let batch_number = self.reader.operator(self.index).await.unwrap().unwrap().last_batch + 1;
        let receipt_count = u32::try_from(rows.len()).unwrap();
        self.operator.execute(&Action::PostDebits { batch_number, receipts_root, receipt_count, rows }).await.unwrap();
    }

    pub async fn catch_up(&self, store: &Store) {
        catch_up(store, &self.reader).await;
    }

    /// Every stored account is what the contract says it is; the contract is solvent; nothing contradicts the model.
    pub async fn assert_matches(&self, store: &Store) {
        for row in store.all("SELECT * FROM accounts", &[]).await.unwrap() {
            let row = AccountRow::read(&row).unwrap();
            let Some(there) = self.reader.account(row.id).await.unwrap() else {
                // Solana deletes closed accounts.
                assert!(row.closed && matches!(self.local, Local::Solana { .. }), "{}", row.id);
                continue;
            };
            assert_eq!(
                (row.owner, row.delegate, row.state, row.refundable_at, row.terms_version, row.closed),
                (there.owner, there.delegate, there.state, there.refundable_at, there.terms_version, there.closed)
            );
        }
        let operator = self.reader.operator(self.index).await.unwrap().unwrap();
        assert_eq!(count(store, "SELECT earnings AS n FROM operators ORDER BY id").await, operator.earnings.micros());
        assert_eq!(count(store, "SELECT last_batch AS n FROM operators ORDER BY id").await, operator.last_batch);
        let solvency = Solvency::load(store).await.unwrap().unwrap();
        assert!(solvency.solvent(), "{solvency:?}");
        assert_eq!(solvency.balance, solvency.unspent + solvency.earnings);
        let found = store.all("SELECT code, detail FROM discrepancies", &[]).await.unwrap();
        let found: Vec<_> = found.iter().map(|row| (row.text("code").unwrap(), row.text("detail").unwrap())).collect();
        assert!(found.is_empty(), "{found:?}");
    }
}

pub fn row(account: AccountId, list: u64) -> DebitRow {
    DebitRow { account, list_amount: usdc(list), discount_bps: 0 }
}

pub async fn open(databases: &Databases) -> Store {
    Store::open(&databases.fresh().await, 2).await.unwrap()
}

async fn the_projection_equals_the_contract(chain: Chain) {
    let databases = Databases::sqlite();
    let node = Node::start(chain).await;
    let store = open(&databases).await;
    let (rich, poor) = (node.deposit(60_000_000).await, node.deposit(1_500_000).await);
    node.catch_up(&store).await;
    node.assert_matches(&store).await;

    let nobody = AccountId::new(node.index, 77).unwrap();
    // Another operator's account: a row of it is nothing but an event.
    node.owner.execute(&Action::SetTerms { terms: terms() }).await.unwrap();
    let other = node.reader.operator_index_of(node.owner.sender()).await.unwrap().unwrap();
    let deposit = Action::Deposit {
        operator_index: other,
        owner: node.owner.sender(),
        amount: usdc(5_000_000),
        ceiling: Usdc::MAX,
    };
    node.owner.execute(&deposit).await.unwrap();
    let stranger = AccountId::new(other, 1).unwrap();
    let rows = vec![row(rich, 30_001), row(poor, 9_000_000), row(nobody, 5), row(stranger, 5), row(rich, 7)];
    node.post(B256::repeat_byte(1), rows).await;
    node.owner.execute(&Action::TopUp { account: rich, amount: usdc(200_000_000), ceiling: Usdc::ZERO }).await.unwrap();
    node.post(B256::repeat_byte(2), vec![row(rich, 12_345)]).await;
    node.owner.execute(&Action::SetDelegate { account: rich, delegate: Some(somebody(chain, 0xd1)) }).await.unwrap();
    node.owner.execute(&Action::RequestRefund { account: poor }).await.unwrap();
    node.operator.execute(&Action::CloseAccount { account: poor }).await.unwrap();
    node.operator.execute(&Action::WithdrawEarnings { to: somebody(chain, 0xe1), amount: usdc(1000) }).await.unwrap();
    node.catch_up(&store).await;
    node.assert_matches(&store).await;
    assert_eq!(count(&store, "SELECT COUNT(*) AS n FROM shortfalls").await, 3);
}

#[tokio::test]
async fn a_reorg_that_drops_a_batch_and_one_that_drops_a_deposit() {
    let databases = Databases::sqlite();
    let node = Node::start(Chain::Base).await;
    let store = open(&databases).await;
    let account = node.deposit(60_000_000).await;
    node.catch_up(&store).await;
    node.post(B256::repeat_byte(1), vec![row(account, 1_000_000)]).await;
    node.catch_up(&store).await;
    assert_eq!(count(&store, "SELECT charged AS n FROM accounts").await, 900_000);

    node.evm().reorg(1).await.unwrap();
    node.catch_up(&store).await;
    assert_eq!(count(&store, "SELECT charged AS n FROM accounts").await, 0);
    assert_eq!(count(&store, "SELECT COUNT(*) AS n FROM batches").await, 0);
    assert!(count(&store, "SELECT reorgs AS n FROM progress").await >= 1);
    node.assert_matches(&store).await;

    // The same batch number again, with other rows: as if the first had never been.
    node.post(B256::repeat_byte(2), vec![row(account, 2_000_000)]).await;
    let second = node.deposit(10_000_000).await;
    node.catch_up(&store).await;
    node.assert_matches(&store).await;
    assert_eq!(count(&store, "SELECT COUNT(*) AS n FROM accounts").await, 2);

    node.evm().reorg(1).await.unwrap();
    node.evm().mine(2).await.unwrap();
    node.catch_up(&store).await;
    assert_eq!(node.reader.account(second).await.unwrap(), None);
    assert_eq!(count(&store, "SELECT COUNT(*) AS n FROM accounts").await, 1);
    node.assert_matches(&store).await;
}
