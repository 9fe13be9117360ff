//! Deposits on a real chain: paid twice, by signature, by plain transfer, and what refuses them.

use std::time::Duration;

use compute_futures_chain::{Action, ChainReader, ChainWriter};
use compute_futures_protocol::{DepositAuthorization, TokenDomain, Usdc};
use serde_json::{Value, json};

use crate::local::{AGENT, FRIEND, Local, salt};
use crate::world::{now, usdc};

const DEPOSIT: &str = "/api/v1/compute-futures/deposit";
const ADDRESS: &str = "/api/v1/compute-futures/deposit-address";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deposit_retried_is_one_account_and_a_second_one_adds_to_it() {
    let local = Local::start().await;
    let agent = local.signer(AGENT);
    let body = json!({ "depositor": agent.address(), "amount": "30" });
    let payment = local.pay(DEPOSIT, &body, &agent).await;
    let (status, first) = local.post(DEPOSIT, &body, Some(&payment)).await;
    assert_eq!(status, 200, "{first}");
    assert_eq!(
        (&first["computeFuture"]["tier"], &first["computeFuture"]["balanceRemaining"]),
        (&json!("builder"), &json!("30 USDC"))
    );
    let (status, again) = local.post(DEPOSIT, &body, Some(&payment)).await;
    assert_eq!((status, &again), (200, &first));
    assert_eq!(local.balance(AGENT).await, usdc(1_000_000_000 - 30_010_000));

    let body = json!({ "depositor": agent.address(), "amount": 20 });
    let payment = local.pay(DEPOSIT, &body, &agent).await;
    let (status, second) = local.post(DEPOSIT, &body, Some(&payment)).await;
    assert_eq!(status, 200, "{second}");
    assert_eq!(second["computeFuture"]["id"], first["computeFuture"]["id"]);
    assert_eq!(
        (&second["computeFuture"]["tier"], &second["computeFuture"]["balanceRemaining"]),
        (&json!("scale"), &json!("50 USDC"))
    );

    // A ceiling of its own is an account of its own.
    let body = json!({ "depositor": agent.address(), "amount": "10", "ceiling": "2.5" });
    let payment = local.pay(DEPOSIT, &body, &agent).await;
    let (status, other) = local.post(DEPOSIT, &body, Some(&payment)).await;
    assert_eq!(status, 200, "{other}");
    assert_ne!(other["computeFuture"]["id"], first["computeFuture"]["id"]);
    assert_eq!(other["computeFuture"]["ceilingMicroUsdc"], "2500000");

    // Somebody else's payment for this depositor is refused before anything is taken.
    let body = json!({ "depositor": agent.address(), "amount": "5" });
    let payment = local.pay(DEPOSIT, &body, &local.signer(FRIEND)).await;
    let (status, refused) = local.post(DEPOSIT, &body, Some(&payment)).await;
    assert_eq!((status, &refused["code"]), (403, &json!("caller_mismatch")));
    assert_eq!(local.balance(FRIEND).await, usdc(1_000_000_000));
    let (status, small) = local.post(DEPOSIT, &json!({ "depositor": agent.address(), "amount": "0.5" }), None).await;
    assert_eq!((status, &small["code"]), (400, &json!("deposit_too_small")));
    local.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_deposits_at_once_are_both_credited() {
    let local = Local::start().await;
    let agent = local.signer(AGENT);
    let bodies = [
        json!({ "depositor": agent.address(), "amount": "12" }),
        json!({ "depositor": agent.address(), "amount": "7" }),
    ];
    let payments = [local.pay(DEPOSIT, &bodies[0], &agent).await, local.pay(DEPOSIT, &bodies[1], &agent).await];
    let (first, second) = tokio::join!(
        local.post(DEPOSIT, &bodies[0], Some(&payments[0])),
        local.post(DEPOSIT, &bodies[1], Some(&payments[1]))
    );
    assert_eq!((first.0, second.0), (200, 200), "{} {}", first.1, second.1);
    assert_eq!(first.1["computeFuture"]["id"], second.1["computeFuture"]["id"]);
    let credits = [&first.1, &second.1].map(|answer| micros(&answer["computeFuture"]["depositedMicroUsdc"]));
    // 19, or a gate price more when one sweep took both.
    assert!([19_000_000, 19_010_000].contains(credits.iter().max().unwrap()), "{credits:?}");
    local.stop().await;
}

fn micros(value: &Value) -> u64 {
    value.as_str().unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plain_transfer_to_the_deposit_address_becomes_credit() {
    let local = Local::start().await;
    let agent = local.signer(AGENT);
    let target = format!("{ADDRESS}?depositor={}&ceiling=25", agent.address());
    let (status, answer) = local.get(&target).await;
    assert_eq!((status, &answer["futuresId"], &answer["fee"]), (200, &Value::Null, &json!("0.01 USDC")), "{answer}");
    let to = answer["depositAddress"].as_str().unwrap().parse().unwrap();
    // From anybody, by a plain transfer.
    let friend = local.chain.writer(FRIEND).await.unwrap();
    friend.execute(&Action::Transfer { to, amount: usdc(10_010_000) }).await.unwrap();
    let account = loop {
        let (_, answer) = local.get(&target).await;
        match answer["futuresId"].as_str() {
            Some(id) => break id.to_owned(),
            None => tokio::time::sleep(Duration::from_millis(200)).await,
        }
    };
    assert!(account.starts_with("CFE-"));
    let id = local.reader.account_of_deposit_address(to).await.unwrap().unwrap();
    let on_chain = local.reader.account(id).await.unwrap().unwrap();
    assert_eq!(
        (on_chain.owner, on_chain.state.credit, on_chain.state.ceiling),
        (agent.address(), usdc(10_000_000), usdc(25_000_000))
    );
    local.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_signed_deposit_costs_the_wallet_the_gate_price_and_no_gas() {
    let local = Local::start().await;
    let agent = local.signer(AGENT);
    let token = TokenDomain::usdc(8453, local.chain.usdc);
    let signed = |account: Option<&str>, ceiling: Usdc, signer: &compute_futures_protocol::Signer, amount: u64| {
        let authorization = DepositAuthorization {
            operator_index: 1,
            owner: agent.address().evm().unwrap(),
            account: account.map(|id| id.parse().unwrap()),
            amount: usdc(amount * 1_000_000),
            ceiling,
            valid_after: 0,
            valid_before: now() + 600,
            salt: salt(),
        };
        let signature = signer.sign(authorization.to_eip3009(local.chain.contract).digest(&token));
        let mut body = json!({
            "depositor": agent.address(), "amount": amount.to_string(),
            "depositAuthorization": {
                "validAfter": "0", "validBefore": authorization.valid_before.to_string(), "salt": authorization.salt,
                "signature": format!("0x{}", hex::encode(signature)),
            }
        });
        if let Some(account) = account {
            body["depositAuthorization"]["accountId"] = json!(account);
        }
        body
    };
    let body = signed(None, Usdc::MAX, &agent, 50);
    let payment = local.pay(DEPOSIT, &body, &agent).await;
    let (status, first) = local.post(DEPOSIT, &body, Some(&payment)).await;
    assert_eq!(status, 200, "{first}");
    assert_eq!(first["computeFuture"]["balanceRemaining"], "50 USDC");
    assert_eq!(local.balance(AGENT).await, usdc(1_000_000_000 - 50_010_000));
    let (status, again) = local.post(DEPOSIT, &body, Some(&payment)).await;
    assert_eq!((status, &again), (200, &first));

    let account = first["computeFuture"]["accountId"].as_str().unwrap();
    let body = signed(Some(account), Usdc::ZERO, &agent, 150);
    let payment = local.pay(DEPOSIT, &body, &agent).await;
    let (status, topped) = local.post(DEPOSIT, &body, Some(&payment)).await;
    assert_eq!(
        (status, &topped["computeFuture"]["tier"], &topped["computeFuture"]["balanceRemaining"]),
        (200, &json!("enterprise"), &json!("200 USDC")),
        "{topped}"
    );

    // Signed by somebody else, over another amount, or by a wallet that has less: refused before any payment is asked for.
    let forged = signed(None, Usdc::MAX, &local.signer(FRIEND), 50);
    assert_eq!(local.post(DEPOSIT, &forged, None).await.1["code"], "invalid_deposit_authorization");
    let mut changed = signed(None, Usdc::MAX, &agent, 50);
    changed["amount"] = json!("51");
    assert_eq!(local.post(DEPOSIT, &changed, None).await.1["code"], "invalid_deposit_authorization");
    // Used up behind our back: nothing is taken for a deposit that we cannot make any more.
    let used = signed(None, Usdc::MAX, &agent, 50);
    let payment = local.pay(DEPOSIT, &used, &agent).await;
    let fields = &used["depositAuthorization"];
    let authorization = DepositAuthorization {
        operator_index: 1,
        owner: agent.address().evm().unwrap(),
        account: None,
        amount: usdc(50_000_000),
        ceiling: Usdc::MAX,
        valid_after: 0,
        valid_before: micros(&fields["validBefore"]),
        salt: fields["salt"].as_str().unwrap().parse().unwrap(),
    };
    let signature = fields["signature"].as_str().unwrap().parse().unwrap();
    let friend = local.chain.writer(FRIEND).await.unwrap();
    friend.execute(&Action::DepositWithAuthorization { authorization, signature }).await.unwrap();
    let before = local.balance(AGENT).await;
    let (status, refused) = local.post(DEPOSIT, &used, Some(&payment)).await;
    assert_eq!((status, &refused["code"]), (400, &json!("invalid_deposit_authorization")), "{refused}");
    assert_eq!(local.balance(AGENT).await, before);

    let poor = signed(None, Usdc::MAX, &agent, 5_000);
    assert_eq!(local.post(DEPOSIT, &poor, None).await.1["code"], "insufficient_funds");
    local.stop().await;
}
