//! An operator that runs jobs for one account: real keys, real receipts, published over HTTP; as honest as the test wants.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use axum::{
    Router,
    extract::{Path, State},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use compute_futures_chain::ChainReader;
use compute_futures_indexer::OperatorSource;
use compute_futures_protocol::{
    AccountId, Authorization, B256, BatchDocument, Bytes, Chain, Domain, ExactPayment, JobAuthorization, Receipt,
    SignedReceipt, Signer, Usdc, charge, keccak256,
};
use tokio::net::TcpListener;

use super::{
    fake::{FakeChain, GENESIS_TIME},
    world::{terms, usdc},
};

/// How the operator answers for a batch.
#[derive(Clone)]
pub enum Answer {
    Json(serde_json::Value),
    Status(u16),
    Redirect(String),
}

pub type Published = Arc<Mutex<BTreeMap<(u32, u64), Answer>>>;

pub struct Scenario {
    pub chain: Chain,
    pub fake: Arc<FakeChain>,
    pub domain: Domain,
    pub operator: Signer,
    pub owner: Signer,
    pub account: AccountId,
    pub published: Published,
    pub address: SocketAddr,
    remainder: u16,
    sequence: u64,
}

/// A key of the kind the chain knows.
pub fn signer(chain: Chain, n: u8) -> Signer {
    match chain.evm_chain_id() {
        Some(_) => Signer::from_bytes(&[n; 32]).unwrap(),
        None => Signer::ed25519(&[n; 32]),
    }
}

/// A relayer that takes connections and never answers.
pub async fn deaf() -> (TcpListener, OperatorSource) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
    (listener, OperatorSource { url, allow_insecure: true })
}

/// The discount that 20 USDC earn.
pub const BPS: u16 = 500;

impl Scenario {
    /// An operator with terms, an account of 20 USDC with an unlimited ceiling, and a place where receipts are published.
    pub async fn on(chain: Chain) -> Self {
        let fake = Arc::new(FakeChain::on(chain, 12));
        let (operator, owner) = (signer(chain, 0x11), signer(chain, 0x22));
        let mut account = None;
        fake.mine(|world, events| {
            world.set_terms(operator.address(), terms(3600), events);
            account = Some(world.open(1, owner.address(), usdc(20_000_000), Usdc::MAX, events));
        });
        let published = Published::default();
        let router =
            Router::new().route("/api/v1/receipts/{operator}/{batch}", get(publish)).with_state(published.clone());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, router).await });
        let domain = fake.domain();
        Self {
            chain,
            fake,
            domain,
            operator,
            owner,
            account: account.unwrap(),
            published,
            address,
            remainder: 0,
            sequence: 0,
        }
    }

    pub fn source(&self) -> OperatorSource {
        OperatorSource { url: format!("http://{}", self.address).parse().unwrap(), allow_insecure: true }
    }

    pub fn next_batch(&self) -> u64 {
        self.fake.world().operators[0].last_batch + 1
    }

    /// The next job, as an honest operator writes it down; `change` may spoil receipt and authorisation before they are signed.
    pub fn job_with(
        &mut self,
        list: u64,
        change: impl FnOnce(&mut Receipt, &mut JobAuthorization),
        signed_by: &Signer,
    ) -> SignedReceipt {
        self.sequence += 1;
        let list_amount = usdc(list);
        let (charged, remainder) = charge(list_amount, BPS, self.remainder);
        self.remainder = remainder;
        let request_hash = keccak256(self.sequence.to_be_bytes());
        let issued_at = GENESIS_TIME + self.fake.height() * 2;
        let mut authorization = JobAuthorization {
            account_id: self.account,
            request_hash,
            nonce: keccak256([self.sequence.to_be_bytes(), [7; 8]].concat()),
            max_charge: list_amount,
            valid_until: issued_at + 300,
        };
        let mut receipt = Receipt {
            account_id: self.account,
            batch_number: self.next_batch(),
            sequence: self.sequence,
            job_id: keccak256([self.sequence.to_be_bytes(), [9; 8]].concat()),
            authorization_hash: B256::ZERO,
            request_hash,
            output_hash: keccak256(b"output"),
            list_amount,
            discount_bps: BPS,
            charged,
            issued_at,
        };
        change(&mut receipt, &mut authorization);
        receipt.authorization_hash = authorization.digest(&self.domain);
        let signature = Bytes::from(signed_by.sign(authorization.digest(&self.domain)));
        let authorization = Authorization::ComputeFutures { authorization, signature };
        SignedReceipt::sign(receipt, authorization, &self.domain, &self.operator)
    }

    /// As [`Scenario::job`], authorised by a payment instead of a signature.
    pub fn paid_job(&mut self, list: u64, payment: ExactPayment) -> SignedReceipt {
        let mut receipt = self.job(list).receipt;
        let authorization = Authorization::Exact { payment };
        receipt.authorization_hash = authorization.hash(&self.domain);
        SignedReceipt::sign(receipt, authorization, &self.domain, &self.operator)
    }

    pub fn job(&mut self, list: u64) -> SignedReceipt {
        let owner = self.owner.clone();
        self.job_with(list, |_, _| {}, &owner)
    }

    /// Posts a batch of these receipts in one row of `listed`, and publishes them.
    pub fn post_listed(&mut self, receipts: Vec<SignedReceipt>, listed: u64) -> BatchDocument {
        let document = BatchDocument::new(1, self.next_batch(), receipts).unwrap();
        let account = self.account.get();
        let count = u32::try_from(document.receipts.len()).unwrap();
        self.fake.mine(|world, events| {
            world.post(1, &[(account, usdc(listed), BPS)], document.root, count, events);
        });
        self.publish(&document);
        document
    }

    pub fn post(&mut self, receipts: Vec<SignedReceipt>) -> BatchDocument {
        let listed = receipts.iter().map(|signed| signed.receipt.list_amount.micros()).sum();
        self.post_listed(receipts, listed)
    }

    pub fn publish(&self, document: &BatchDocument) {
        self.answer(document.batch_number, Answer::Json(serde_json::to_value(document).unwrap()));
    }

    pub fn answer(&self, batch: u64, answer: Answer) {
        self.published.lock().unwrap().insert((1, batch), answer);
    }

    /// Three honest jobs, with remainders.
    pub fn honest_batch(&mut self) -> BatchDocument {
        let receipts = vec![self.job(30_001), self.job(7), self.job(1_999_999)];
        self.post(receipts)
    }
}

async fn publish(State(published): State<Published>, Path((operator, batch)): Path<(u32, u64)>) -> Response {
    match published.lock().unwrap().get(&(operator, batch)).cloned() {
        None => StatusCode::NOT_FOUND.into_response(),
        Some(Answer::Json(document)) => axum::Json(document).into_response(),
        Some(Answer::Status(status)) => StatusCode::from_u16(status).unwrap().into_response(),
        Some(Answer::Redirect(to)) => (StatusCode::FOUND, [(header::LOCATION, to)]).into_response(),
    }
}
