//! Every way to credit: a signature without gas, a plain transfer, somebody else's money, a top-up over HTTP 402.

use compute_futures_chain::Action;
use compute_futures_cli::client::{Request, sign_gasless};
use compute_futures_cli::keys::Key;
use compute_futures_protocol::{AccountId, TokenDomain, Usdc};
use compute_futures_tests::{Agent, Books, World, Worlds, usdc};
use serde_json::{Value, json};

const DEPOSIT: &str = "/api/v1/compute-futures/deposit";

fn account_of(answer: &Value) -> AccountId {
    let text = answer.pointer("/computeFuture/accountId").and_then(Value::as_str);
    text.and_then(|id| id.parse().ok()).unwrap_or_else(|| panic!("no account in {answer}"))
}

/// A wallet that holds USDC and has never held anything to pay fees with. On Base it signs twice: the deposit, and the price of
/// the call. On Solana once: whoever settles the payment pays its fee.
async fn gasless(world: &World) -> Agent {
    let key = world.stranger();
    let owner = key.address();
    world.post(&world.wallet(7), &Action::Transfer { to: owner, amount: usdc("60.02") }).await;
    let payer = world.stock(&key);
    let body = |account: Option<AccountId>, amount: &str| match &world.token {
        Some(token) => signed(world, token, &key, account, usdc(amount)),
        None => json!({ "depositor": owner, "amount": amount }),
    };
    let opened = payer.send(&world.relayer, &Request::post(DEPOSIT, &body(None, "50"))).await;
    let account = account_of(&opened.expect("the relayer submits it").body);
    let topping_up = Request::post(DEPOSIT, &body(Some(account), "10"));
    let topped_up = payer.send(&world.relayer, &topping_up).await.expect("the relayer submits it");
    assert_eq!(account_of(&topped_up.body), account);
    assert_eq!(topped_up.body["computeFuture"]["balanceRemaining"], "60 USDC", "{}", topped_up.body);
    assert_eq!(world.usdc_of(owner).await, Usdc::ZERO, "60 of credit, twice 0.01 for the call");
    assert_eq!(world.connection.fuel_of(owner).await.expect("the chain answers"), 0);
    Agent::new(key.signer, account, world.chain)
}

/// A deposit by EIP-3009.
fn signed(world: &World, token: &TokenDomain, key: &Key, account: Option<AccountId>, amount: Usdc) -> Value {
    let ceiling = if account.is_none() { Usdc::MAX } else { Usdc::ZERO };
    let (contract, until) = (world.domain.contract(), 4_000_000_000);
    sign_gasless(&key.signer, token, contract, world.operator_index, account, amount, ceiling, until)
        .expect("a key of the chain")
        .body()
}

/// A plain transfer, as an exchange would send it; the relayer sweeps it by itself. Sent again, it tops up.
async fn by_transfer(world: &World) -> Agent {
    let signer = world.wallet(1);
    let path = format!("/api/v1/compute-futures/deposit-address?depositor={}", signer.address());
    let answer = world.relayer.get(&path).await.expect("the address is free to ask for");
    let to = answer["depositAddress"].as_str().and_then(|text| text.parse().ok()).expect("an address");
    let fee = Usdc::parse_micros(answer["feeMicroUsdc"].as_str().expect("a fee")).expect("an amount");
    for (amount, so_far) in [("50", "50"), ("150", "200")] {
        let sent = usdc(amount).checked_add(fee).expect("no overflow");
        world.post(&world.wallet(7), &Action::Transfer { to, amount: sent }).await;
        world
            .until("the relayer to sweep the transfer", || async {
                let account = world.relayer.get(&path).await.ok()?["accountId"].as_str()?.parse().ok()?;
                let credit = world.reader.account(account).await.ok()??.state.credit;
                (credit == usdc(so_far)).then_some(())
            })
            .await;
    }
    let answer = world.relayer.get(&path).await.expect("the address is free to ask for");
    let account = answer["accountId"].as_str().and_then(|id| id.parse().ok()).expect("an account");
    Agent::new(signer, account, world.chain)
}

/// Somebody else's money: the account belongs to whom it is given to, and only its owner can let it be spent.
async fn by_somebody_else(world: &World) -> Agent {
    let (giver, owner) = (world.wallet(7), world.wallet(2));
    let deposit = |ceiling| Action::Deposit {
        operator_index: world.operator_index,
        owner: owner.address(),
        amount: usdc("20"),
        ceiling,
    };
    assert!(world.try_post(&giver, &deposit(Usdc::MAX)).await.is_err(), "a giver cannot authorise spending (I-2)");
    let account = world.opened(&giver, &deposit(Usdc::ZERO)).await;
    let agent = Agent::new(owner, account, world.chain);
    let refused = world
        .until("the relayer to see the gift", || async {
            let answer = world.run(&agent, &agent.summary("Not yet.")).await.ok()?;
            (answer.body["code"] == "ceiling_too_low").then_some(answer)
        })
        .await;
    assert_eq!(refused.status, 402, "{}", refused.body);
    world.post(&agent.signer, &Action::RaiseCeiling { account, ceiling: Usdc::MAX }).await;
    agent
}

/// A top-up over HTTP 402 by the stock client: the second payment of the same depositor adds to the same account.
async fn over_http(world: &World) -> Agent {
    let signer = world.wallet(3);
    let payer = world.stock(&world.key(3));
    let request = |amount: &str| Request::post(DEPOSIT, &json!({ "depositor": signer.address(), "amount": amount }));
    let opened = payer.send(&world.relayer, &request("10")).await.expect("it is paid");
    assert_eq!(opened.body["computeFuture"]["discount"], "5% discount", "{}", opened.body);
    let topped_up = payer.send(&world.relayer, &request("190")).await.expect("it is paid");
    assert_eq!(account_of(&topped_up.body), account_of(&opened.body));
    assert_eq!(topped_up.body["computeFuture"]["discount"], "15% discount", "{}", topped_up.body);
    Agent::new(signer, account_of(&opened.body), world.chain)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_way_to_deposit_leads_to_the_same_credit() {
    Worlds::start("e2e-deposits").await.each(async |world| every_way(world).await).await;
}

async fn every_way(world: &World) {
    let mut agents = Vec::new();
    for (way, credit, agent) in [
        ("gasless", "60", gasless(world).await),
        ("by transfer", "200", by_transfer(world).await),
        ("by somebody else", "20", by_somebody_else(world).await),
        ("over HTTP", "200", over_http(world).await),
    ] {
        let on_chain = world.reader.account(agent.account).await.expect("the chain answers").expect("it is open");
        assert_eq!((on_chain.owner, on_chain.state.credit), (agent.address(), usdc(credit)), "{way}");
        agents.push((way, agent));
    }
    for (way, agent) in &agents {
        world.known(agent).await;
        let paid = world.run(agent, &agent.summary("Credit is credit. However it came.")).await.expect("an answer");
        assert_eq!(paid.status, 200, "{way}: {}", paid.body);
    }
    let accounts: Vec<AccountId> = agents.iter().map(|(_, agent)| agent.account).collect();
    let books = Books::balanced(world, &accounts).await;
    for account in accounts {
        assert_eq!(books.jobs(account), 2);
    }
}
