//! The marketplace from the first call to the last micro-USDC, the same story on every chain.

use std::sync::Arc;
use std::time::Duration;

use compute_futures_chain::market::{MarketAction, MarketEvent, MarketReader, SessionRejection, SignedCost};
use compute_futures_chain::{Action, ChainError, ChainReader, ChainWriter};
use compute_futures_protocol::market::{
    EscrowTerms, MAX_SESSION_LIMIT, MAX_TIME, Model, ProviderContent, ProviderType, SessionCost, SessionId,
    SessionRequest, SessionStatus,
};
use compute_futures_protocol::{Address, B256, ReceiptTree, Signer, Usdc};
use futures::TryStreamExt;

/// Somebody with a key, money, and something for fees.
pub(crate) struct Person {
    pub(crate) key: Signer,
    pub(crate) writer: Box<dyn ChainWriter>,
}

/// A chain with the marketplace on it, and people in the order of [`story`].
pub(crate) struct Stage {
    pub(crate) reader: Arc<dyn ChainReader>,
    pub(crate) market: Arc<dyn MarketReader>,
    pub(crate) people: Vec<Person>,
    /// What everybody has at first.
    pub(crate) funds: Usdc,
}

pub(crate) fn usdc(micros: u64) -> Usdc {
    Usdc::from_micros(micros)
}

pub(crate) fn content(price: u64) -> ProviderContent {
    ProviderContent {
        endpoint: "https://inference.example/v1".into(),
        provider_type: ProviderType::Decentralized,
        rate_limit: 60,
        minimum_charge: usdc(10),
        features: vec!["streaming".into(), "json".into()],
        models: vec![Model {
            name: "llama-3.3-70b".into(),
            input_price: usdc(price),
            output_price: usdc(3 * price),
            max_context: 131_072,
        }],
    }
}

impl Stage {
    fn address(&self, person: usize) -> Address {
        self.people[person].key.address()
    }

    pub(crate) async fn now(&self) -> u64 {
        self.reader.heads().await.unwrap().latest.timestamp
    }

    /// The marketplace's events of one executed verb.
    pub(crate) async fn post(&self, person: usize, verb: MarketAction) -> Vec<MarketEvent> {
        let action = Action::Market(verb);
        let done = self.people[person].writer.execute(&action).await;
        let (id, outcome) = done.unwrap_or_else(|error| panic!("{action:?}: {error}"));
        assert!(outcome.succeeded && outcome.gas_used > 0);
        let events = self.market.events(outcome.block_number, outcome.block_number).await.unwrap();
        let ours: Vec<_> = events.into_iter().filter(|event| event.meta.transaction == id).collect();
        assert!(ours.iter().all(|event| event.meta.block_hash == outcome.block_hash));
        assert!(ours.is_sorted_by_key(|event| event.meta.log_index));
        ours.into_iter().map(|event| event.kind).collect()
    }

    /// The name of the refusal of a verb.
    pub(crate) async fn refused(&self, person: usize, verb: MarketAction) -> String {
        let action = Action::Market(verb);
        match self.people[person].writer.estimate(&action).await {
            Err(ChainError::Reverted { name, .. }) => name,
            other => panic!("{action:?}: {other:?}"),
        }
    }

    pub(crate) async fn balance(&self, of: Address) -> Usdc {
        self.reader.token_balance(of, None).await.unwrap()
    }

    /// What a session cost, signed by somebody.
    fn signed(&self, by: usize, session: SessionId, cost: u64, root: B256) -> SignedCost {
        let receipt_count = u32::from(!root.is_zero()) * 2;
        let cost =
            SessionCost { session_id: session, provider_id: 1, cost: usdc(cost), receipt_count, receipts_root: root };
        let signature = self.people[by].key.sign(cost.digest(&self.market.domain())).to_vec().into();
        SignedCost { cost, signature }
    }
}

const CREATOR: usize = 0;
const AGENT: usize = 1;
const SIGNER: usize = 2;
const PROVIDER: usize = 3;
const METER: usize = 4;

fn session(sequence: u32) -> SessionId {
    SessionId::new(1, sequence).unwrap()
}

/// Everything that can be done, with what it says; then money and history are added up.
pub(crate) async fn story(stage: &Stage, advance: impl AsyncFn(Duration)) {
    let (market, on_solana) = (&stage.market, stage.reader.chain().evm_chain_id().is_none());
    let mut history = Vec::new();
    let mut note = |events: Vec<MarketEvent>| {
        history.extend(events.clone());
        events
    };
    let owner = stage.address(PROVIDER);
    let [old, new] = [content(100), content(200)];
    assert_eq!(
        note(stage.post(PROVIDER, MarketAction::Register { content: old.clone() }).await),
        [MarketEvent::ProviderRegistered {
            provider_id: 1,
            owner,
            version: 1,
            content_hash: old.hash(),
            content: Some(old.clone())
        }]
    );
    let update = MarketAction::Update { provider_id: 1, content: new.clone() };
    assert_eq!(stage.refused(CREATOR, update.clone()).await, "ProviderRegistry_NotOwner");
    note(stage.post(PROVIDER, update).await);
    let found = market.provider(1).await.unwrap().unwrap();
    assert_eq!((found.owner, found.version, found.content_hash), (owner, 2, Some(new.hash())));
    assert_eq!(market.provider_content(1).await.unwrap(), Some(new.clone()));
    assert_eq!((market.provider(2).await.unwrap(), market.provider_content(2).await.unwrap()), (None, None));

    budget(stage, &mut note).await;
    let deadline = stage.now().await + 600;
    open(stage, deadline, &new, &mut note).await;

    // Closing: by anyone who brings the meter's word.
    let receipts = [B256::repeat_byte(1), B256::repeat_byte(2)];
    let tree = ReceiptTree::new(&receipts).unwrap();
    let forged = MarketAction::CloseSession { close: stage.signed(AGENT, session(1), 1, B256::ZERO) };
    assert_eq!(stage.refused(CREATOR, forged).await, "ComputeEscrow_InvalidMeterSignature");
    let close = stage.signed(METER, session(1), 4_000_000, tree.root());
    let number = |number| on_solana.then_some(number);
    assert_eq!(
        note(stage.post(CREATOR, MarketAction::CloseSession { close: close.clone() }).await),
        [MarketEvent::SessionClosed {
            session: session(1),
            provider_id: 1,
            cost: usdc(4_000_000),
            receipt_count: 2,
            receipts_root: tree.root(),
            number: number(1),
        }]
    );
    let again = MarketAction::CloseSession { close: close.clone() };
    assert_eq!(stage.refused(CREATOR, again).await, "ComputeEscrow_SessionNotOpen");
    let proof = tree.proof(receipts[1]).unwrap();
    assert!(market.verify_receipt(&close.cost, receipts[1], &proof).await.unwrap());
    assert!(!market.verify_receipt(&close.cost, receipts[0], &proof).await.unwrap());
    let closed = market.session(session(1)).await.unwrap().unwrap();
    assert_eq!(closed.status, SessionStatus::Closed);
    assert_eq!(closed.receipts_root.unwrap()[..31], tree.root()[..31]);
    let told = market.session_history(session(1)).await.unwrap();
    assert!(
        matches!(
            told.iter().map(|event| &event.kind).collect::<Vec<_>>()[..],
            [MarketEvent::SessionOpened { .. }, MarketEvent::SessionClosed { .. }]
        ),
        "{told:?}"
    );

    // A batch: more than the limit is cut and said, a row that is over blocks nothing.
    let closes = vec![stage.signed(METER, session(2), 12_000_000, B256::ZERO), close];
    let rejected = |session: SessionId, caller| MarketEvent::SessionRejected {
        session: session.get(),
        caller,
        reason: SessionRejection::NotOpen,
    };
    assert_eq!(
        note(stage.post(METER, MarketAction::CloseSessions { closes }).await),
        [
            MarketEvent::SessionClosed {
                session: session(2),
                provider_id: 1,
                cost: usdc(10_000_000),
                receipt_count: 0,
                receipts_root: B256::ZERO,
                number: number(2),
            },
            MarketEvent::SessionShortfall { session: session(2), uncovered: usdc(2_000_000) },
            rejected(session(1), Some(stage.address(METER))),
        ]
    );
    let early = MarketAction::LapseSession { session: session(3) };
    assert_eq!(stage.refused(METER, early.clone()).await, "ComputeEscrow_DeadlineNotPassed");
    advance(Duration::from_secs(700)).await;
    let late = MarketAction::CloseSession { close: stage.signed(METER, session(3), 1, B256::ZERO) };
    assert_eq!(stage.refused(METER, late).await, "ComputeEscrow_DeadlinePassed");
    let lapsed = |sequence| MarketEvent::SessionLapsed { session: session(sequence), released: usdc(10_000_000) };
    assert_eq!(note(stage.post(AGENT, early).await), [lapsed(3)]);
    let both = MarketAction::LapseSessions { sessions: vec![session(4), session(1)] };
    // A session that is gone has no number on Solana, and lapses name no caller there.
    let gone = if on_solana {
        MarketEvent::SessionRejected { session: 0, caller: None, reason: SessionRejection::NotOpen }
    } else {
        rejected(session(1), Some(stage.address(AGENT)))
    };
    assert_eq!(note(stage.post(AGENT, both).await), [lapsed(4), gone]);
    assert_eq!(market.session(session(3)).await.unwrap().unwrap().status, SessionStatus::Lapsed);

    ending(stage, advance, &mut note).await;
    let head = stage.reader.heads().await.unwrap().latest.number;
    let ranges: Vec<_> = market.events_stream(market.deployment_block(), head, 4).try_collect().await.unwrap();
    let all: Vec<MarketEvent> = ranges.into_iter().flat_map(|range| range.events).map(|event| event.kind).collect();
    assert_eq!(all, history, "the history is what was said at each step");
}

/// An escrow of 105 USDC for two agents.
async fn budget(stage: &Stage, note: &mut impl FnMut(Vec<MarketEvent>) -> Vec<MarketEvent>) {
    let (market, creator) = (&stage.market, stage.address(CREATOR));
    let (agent, signer, meter) = (stage.address(AGENT), stage.address(SIGNER), stage.address(METER));
    let terms = EscrowTerms {
        creator,
        expiry: stage.now().await + 7_200,
        session_limit: usdc(10_000_000),
        meter: Some(meter),
        open_to_all: false,
        agents: vec![agent],
    };
    let create = MarketAction::Create { terms: terms.clone(), amount: usdc(100_000_000) };
    assert_eq!(stage.refused(AGENT, create.clone()).await, "ComputeEscrow_NotCreator");
    assert_eq!(
        note(stage.post(CREATOR, create).await),
        [
            MarketEvent::EscrowCreated {
                escrow_id: 1,
                creator,
                expiry: terms.expiry,
                session_limit: terms.session_limit,
                meter: Some(meter),
                open_to_all: false,
            },
            MarketEvent::AgentAdded { escrow_id: 1, agent },
            MarketEvent::EscrowFunded {
                escrow_id: 1,
                payer: creator,
                amount: usdc(100_000_000),
                unreserved: usdc(100_000_000)
            },
        ]
    );
    assert_eq!(
        note(stage.post(METER, MarketAction::Fund { escrow_id: 1, amount: usdc(5_000_000) }).await),
        [MarketEvent::EscrowFunded {
            escrow_id: 1,
            payer: meter,
            amount: usdc(5_000_000),
            unreserved: usdc(105_000_000)
        }]
    );
    assert_eq!(
        stage.refused(METER, MarketAction::Fund { escrow_id: 9, amount: usdc(1) }).await,
        "ComputeEscrow_UnknownEscrow"
    );
    let add = MarketAction::AddAgent { escrow_id: 1, agent: signer };
    let remove = MarketAction::RemoveAgent { escrow_id: 1, agent: signer };
    assert_eq!(stage.refused(AGENT, add.clone()).await, "ComputeEscrow_NotCreator");
    assert_eq!(stage.refused(CREATOR, remove.clone()).await, "ComputeEscrow_AgentUnchanged");
    assert_eq!(note(stage.post(CREATOR, add.clone()).await), [MarketEvent::AgentAdded { escrow_id: 1, agent: signer }]);
    assert_eq!(note(stage.post(CREATOR, remove).await), [MarketEvent::AgentRemoved { escrow_id: 1, agent: signer }]);
    assert!(!market.agent(1, signer).await.unwrap().allowed);
    note(stage.post(CREATOR, add).await);
    assert!(market.agent(1, signer).await.unwrap().allowed && !market.agent(1, meter).await.unwrap().allowed);
    let found = market.escrow(1).await.unwrap().unwrap();
    assert_eq!((found.creator, found.meter, found.open_to_all), (creator, Some(meter), false));
    assert_eq!((found.state.unreserved, found.state.reserved), (usdc(105_000_000), Usdc::ZERO));
    assert_eq!((market.escrow_count().await.unwrap(), market.escrow(2).await.unwrap()), (1, None));
    assert_eq!(stage.balance(market.vault()).await, usdc(105_000_000));
}

/// Four sessions of 10 USDC: one by the relayed signature of its agent.
async fn open(
    stage: &Stage,
    deadline: u64,
    content: &ProviderContent,
    note: &mut impl FnMut(Vec<MarketEvent>) -> Vec<MarketEvent>,
) {
    let (market, meter) = (&stage.market, stage.address(METER));
    let request = SessionRequest {
        escrow_id: 1,
        provider_id: 1,
        content_hash: content.hash(),
        meter,
        limit: usdc(10_000_000),
        deadline,
    };
    let opening = |request: SessionRequest| MarketAction::OpenSession { request };
    let opened = |sequence, agent, by_signature| MarketEvent::SessionOpened {
        session: session(sequence),
        agent,
        provider_id: 1,
        provider_version: 2,
        content_hash: content.hash(),
        meter,
        limit: usdc(10_000_000),
        deadline,
        by_signature,
    };
    for (person, change, name) in [
        (METER, request.clone(), "NotAgent"),
        (AGENT, SessionRequest { content_hash: B256::repeat_byte(1), ..request.clone() }, "ProviderChanged"),
        (AGENT, SessionRequest { provider_id: 7, ..request.clone() }, "ProviderChanged"),
        (AGENT, SessionRequest { limit: usdc(10_000_001), ..request.clone() }, "InvalidLimit"),
        (AGENT, SessionRequest { deadline: deadline + 90_000, ..request.clone() }, "InvalidDeadline"),
        (AGENT, SessionRequest { meter: stage.address(AGENT), ..request.clone() }, "InvalidMeter"),
        (AGENT, SessionRequest { escrow_id: 9, ..request.clone() }, "UnknownEscrow"),
    ] {
        assert_eq!(stage.refused(person, opening(change)).await, format!("ComputeEscrow_{name}"));
    }
    let agent = stage.address(AGENT);
    assert_eq!(note(stage.post(AGENT, opening(request.clone())).await), [opened(1, agent, false)]);
    let signer = stage.address(SIGNER);
    let relayed = |nonce, by: usize| {
        let open = request.clone().by(signer, nonce);
        let signature = stage.people[by].key.sign(open.digest(&market.domain())).to_vec().into();
        MarketAction::OpenSessionWithSignature { open, signature }
    };
    let invalid = "ComputeEscrow_InvalidAgentSignature";
    assert_eq!(stage.refused(METER, relayed(0, AGENT)).await, invalid, "another's signature");
    // On Base the nonce is not sent, so signing it is what is wrong; on Solana the same.
    assert_eq!(stage.refused(METER, relayed(1, SIGNER)).await, invalid, "a nonce that is not the next");
    assert_eq!(note(stage.post(METER, relayed(0, SIGNER)).await), [opened(2, signer, true)]);
    assert_eq!(market.agent(1, signer).await.unwrap().nonce, 1);
    assert_eq!(stage.refused(METER, relayed(0, SIGNER)).await, invalid, "a replay");
    for sequence in [3, 4] {
        assert_eq!(note(stage.post(AGENT, opening(request.clone())).await), [opened(sequence, agent, false)]);
    }
    let found = market.session(session(2)).await.unwrap().unwrap();
    let terms = found.terms.unwrap();
    assert_eq!((found.status, terms.limit, terms.deadline), (SessionStatus::Open, usdc(10_000_000), deadline));
    assert_eq!((terms.provider_id, terms.provider_version, terms.meter), (1, 2, meter));
    assert_eq!(market.session(session(5)).await.unwrap(), None);
    let state = market.escrow(1).await.unwrap().unwrap().state;
    assert_eq!((state.unreserved, state.reserved, state.session_count), (usdc(65_000_000), usdc(40_000_000), 4));
}

/// The provider is paid 14 USDC, the creator gets back the other 91.
async fn ending(
    stage: &Stage,
    advance: impl AsyncFn(Duration),
    note: &mut impl FnMut(Vec<MarketEvent>) -> Vec<MarketEvent>,
) {
    let (market, creator, owner) = (&stage.market, stage.address(CREATOR), stage.address(PROVIDER));
    assert_eq!(market.earnings(1).await.unwrap(), usdc(14_000_000));
    let withdraw = |amount| MarketAction::Withdraw { provider_id: 1, to: owner, amount: usdc(amount) };
    assert_eq!(stage.refused(PROVIDER, withdraw(14_000_001)).await, "ComputeEscrow_InsufficientEarnings");
    assert_eq!(stage.refused(CREATOR, withdraw(1)).await, "ComputeEscrow_NotProviderOwner");
    assert_eq!(
        note(stage.post(PROVIDER, withdraw(14_000_000)).await),
        [MarketEvent::EarningsWithdrawn { provider_id: 1, to: owner, amount: usdc(14_000_000) }]
    );
    assert_eq!(
        note(stage.post(PROVIDER, MarketAction::Retire { provider_id: 1 }).await),
        [MarketEvent::ProviderRetired { provider_id: 1, owner, version: 2 }]
    );
    assert_eq!(market.provider(1).await.unwrap().unwrap().content_hash, None);
    assert_eq!(market.provider_content(1).await.unwrap(), None);
    assert_eq!(stage.refused(PROVIDER, MarketAction::Retire { provider_id: 1 }).await, "ProviderRegistry_Retired");

    let refund = MarketAction::Refund { escrow_id: 1, amount: usdc(1_000_000) };
    assert_eq!(stage.refused(METER, refund.clone()).await, "ComputeEscrow_NotCreator");
    assert_eq!(
        note(stage.post(CREATOR, refund).await),
        [MarketEvent::EscrowRefunded { escrow_id: 1, creator, amount: usdc(1_000_000), unreserved: usdc(90_000_000) }]
    );
    let expire = MarketAction::Expire { escrow_id: 1 };
    assert_eq!(stage.refused(METER, expire.clone()).await, "ComputeEscrow_NotExpired");
    advance(Duration::from_secs(8_000)).await;
    assert_eq!(
        note(stage.post(METER, expire.clone()).await),
        [MarketEvent::EscrowExpired { escrow_id: 1, creator, amount: usdc(90_000_000) }]
    );
    assert_eq!(stage.refused(METER, expire).await, "ComputeEscrow_EscrowClosed");
    assert_eq!(stage.balance(market.vault()).await, Usdc::ZERO);
    let change = |person| stage.balance(stage.address(person));
    let more = |amount| stage.funds.checked_add(usdc(amount)).unwrap();
    assert_eq!(change(PROVIDER).await, more(14_000_000));
    assert_eq!(change(CREATOR).await, stage.funds.checked_sub(usdc(9_000_000)).unwrap());
    assert_eq!(change(METER).await, stage.funds.checked_sub(usdc(5_000_000)).unwrap());
    assert_eq!(change(AGENT).await, stage.funds);
}

/// Plain transfers become a budget, or go back.
pub(crate) async fn deposit_address(stage: &Stage) {
    let (market, creator) = (&stage.market, stage.address(CREATOR));
    let terms = EscrowTerms {
        creator,
        expiry: stage.now().await + 7_200,
        session_limit: usdc(1_000_000),
        meter: None,
        open_to_all: false,
        agents: vec![stage.address(AGENT), stage.address(SIGNER)],
    };
    let address = market.deposit_address(&terms).unwrap();
    // The hash has no room for more: the address would be that of other terms.
    for other in [
        EscrowTerms { expiry: MAX_TIME + 1, ..terms.clone() },
        EscrowTerms { session_limit: usdc(MAX_SESSION_LIMIT.micros() + 1), ..terms.clone() },
    ] {
        let error = market.deposit_address(&other).unwrap_err();
        assert!(matches!(&error, ChainError::Rejected(words) if words.contains("choose")), "{error}");
    }
    let sweep = MarketAction::Sweep { terms: terms.clone() };
    assert_eq!(stage.refused(METER, sweep.clone()).await, "ComputeEscrow_NothingToSweep");
    let transfer = |amount| Action::Transfer { to: address, amount: usdc(amount) };
    stage.people[CREATOR].writer.execute(&transfer(7_000_000)).await.unwrap();
    assert_eq!(market.escrow_of_deposit_address(address).await.unwrap(), None);
    let events = stage.post(METER, sweep.clone()).await;
    assert!(
        matches!(
            events[..],
            [
                MarketEvent::EscrowCreated { escrow_id: 1, .. },
                MarketEvent::AgentAdded { .. },
                MarketEvent::AgentAdded { .. },
                MarketEvent::EscrowFunded { payer, amount, .. },
                MarketEvent::Swept { deposit_address, .. },
            ] if payer == address && deposit_address == address && amount == usdc(7_000_000)
        ),
        "{events:?}"
    );
    assert_eq!(market.escrow_of_deposit_address(address).await.unwrap(), Some(1));
    stage.people[CREATOR].writer.execute(&transfer(3_000_000)).await.unwrap();
    assert_eq!(
        stage.post(METER, sweep).await,
        [
            MarketEvent::EscrowFunded {
                escrow_id: 1,
                payer: address,
                amount: usdc(3_000_000),
                unreserved: usdc(10_000_000)
            },
            MarketEvent::Swept { escrow_id: 1, deposit_address: address, amount: usdc(3_000_000) },
        ]
    );
    stage.people[CREATOR].writer.execute(&transfer(9)).await.unwrap();
    let token = stage.reader.token();
    let recover = MarketAction::Recover { terms, token };
    assert_eq!(stage.refused(METER, recover.clone()).await, "ComputeEscrow_NotCreator");
    assert_eq!(
        stage.post(CREATOR, recover).await,
        [MarketEvent::Recovered { deposit_address: address, creator, token, amount: "9".into() }]
    );
}
