//! The facilitator on a real chain: x402 `exact`, V1 and V2, with Circle's token.

use std::time::Duration;

use compute_futures_chain::{ChainReader, evm::local::LocalChain};
use compute_futures_protocol::{Address, B256, Bytes, TokenDomain, TransferWithAuthorization, U256, Usdc};
use compute_futures_relayer::payment::facilitator::{EmbeddedConfig, Facilitator, SettleError, VerifyError};
use serde_json::{Value, json};

use crate::world::{AGENT, FACILITATOR};

const PAY_TO: Address = Address::repeat_byte(0x77);

async fn facilitator(chain: &LocalChain) -> Facilitator {
    Facilitator::embedded(EmbeddedConfig {
        chain_id: chain.chain_id,
        rpc_urls: vec![chain.rpc_url.clone()],
        key: chain.keys[FACILITATOR].parse().unwrap(),
        poll_interval: Duration::from_millis(50),
        max_gas: 500_000,
        verify_timeout: Duration::from_secs(5),
        settle_timeout: Duration::from_secs(10),
    })
    .await
    .unwrap()
}

/// Requirements and a payment that meets them.
fn payment(chain: &LocalChain, version: u8, nonce: u8, value: u64) -> (Value, Value) {
    payment_from(chain, chain.signer(AGENT).unwrap().address(), version, nonce, value)
}

/// The same from any wallet; the agent signs.
fn payment_from(chain: &LocalChain, from: Address, version: u8, nonce: u8, value: u64) -> (Value, Value) {
    let signer = chain.signer(AGENT).unwrap();
    let transfer = TransferWithAuthorization {
        from: from.evm().unwrap(),
        to: PAY_TO.evm().unwrap(),
        value: Usdc::from_micros(value),
        valid_after: U256::ZERO,
        valid_before: U256::from(4_000_000_000_u64),
        nonce: B256::repeat_byte(nonce),
    };
    let domain = TokenDomain::usdc(chain.chain_id, chain.usdc);
    let signature = signer.sign(transfer.digest(&domain));
    let inner = json!({
        "signature": format!("0x{}", alloy::primitives::hex::encode(signature)),
        "authorization": {
            "from": transfer.from.to_string(), "to": transfer.to.to_string(), "value": value.to_string(),
            "validAfter": "0", "validBefore": "4000000000", "nonce": transfer.nonce.to_string(),
        },
    });
    let extra = json!({"name": "USD Coin", "version": "2"});
    if version == 1 {
        let requirements = json!({
            "scheme": "exact", "network": "base", "maxAmountRequired": value.to_string(), "resource": "http://relayer.example/x",
            "description": "x", "mimeType": "application/json", "payTo": PAY_TO.to_string(), "maxTimeoutSeconds": 60,
            "asset": chain.usdc.to_string(), "extra": extra,
        });
        return (json!({"x402Version": 1, "scheme": "exact", "network": "base", "payload": inner}), requirements);
    }
    let requirements = json!({
        "scheme": "exact", "network": "eip155:8453", "amount": value.to_string(), "payTo": PAY_TO.to_string(),
        "maxTimeoutSeconds": 60, "asset": chain.usdc.to_string(), "extra": extra,
    });
    (json!({"x402Version": 2, "accepted": requirements, "payload": inner}), requirements)
}

#[tokio::test(flavor = "multi_thread")]
async fn settles_once_and_tells_refused_from_unknown() {
    let chain = LocalChain::start().await.unwrap();
    let agent = chain.signer(AGENT).unwrap().address();
    chain.mint(agent, Usdc::from_micros(1_000_000)).await.unwrap();
    let facilitator = facilitator(&chain).await;
    let reader = chain.reader().await.unwrap();

    for version in [1, 2] {
        let (payload, requirements) = payment(&chain, version, version, 30_000);
        let verified = facilitator.verify(version, &payload, &requirements).await.unwrap();
        assert_eq!(verified.payer.to_lowercase(), agent.to_string().to_lowercase());
        let started = std::time::Instant::now();
        let settled = facilitator.settle(version, &payload, &requirements, None).await.unwrap();
        assert!(started.elapsed() < Duration::from_secs(3), "a settlement is seen as soon as it is mined");
        assert!(settled.transaction.starts_with("0x") && settled.transaction.len() == 66, "{settled:?}");
        assert!(reader.payment_used(agent, B256::repeat_byte(version)).await.unwrap());

        // Again: the chain refuses it, and because the money has moved that is not reported as a refusal.
        assert!(matches!(facilitator.verify(version, &payload, &requirements).await, Err(VerifyError::Refused { .. })));
        assert!(matches!(
            facilitator.settle(version, &payload, &requirements, None).await,
            Err(SettleError::Unknown(_))
        ));
    }
    assert_eq!(reader.token_balance(PAY_TO, None).await.unwrap(), Usdc::from_micros(60_000));
    let supported = facilitator.supported().await.unwrap();
    assert_eq!(supported["kinds"].as_array().unwrap().len(), 2, "{supported}");
}

#[tokio::test(flavor = "multi_thread")]
async fn refuses_what_does_not_hold_and_moves_nothing() {
    let chain = LocalChain::start().await.unwrap();
    let agent = chain.signer(AGENT).unwrap().address();
    chain.mint(agent, Usdc::from_micros(50_000)).await.unwrap();
    let facilitator = facilitator(&chain).await;
    for version in [1, 2] {
        type Spoil = fn(&mut Value, &mut Value);
        let cases: [(&str, Spoil); 6] = [
            ("another signature", |payload, _| {
                payload["payload"]["signature"] = json!(format!("0x{}1b", "11".repeat(64)))
            }),
            ("another recipient", |_, requirements| requirements["payTo"] = json!(Address::repeat_byte(9).to_string())),
            ("too little", |payload, _| payload["payload"]["authorization"]["value"] = json!("1")),
            ("expired", |payload, _| payload["payload"]["authorization"]["validBefore"] = json!("1")),
            ("no payload", |payload, _| payload["payload"] = json!({})),
            ("another network", |payload, _| {
                payload["network"] = json!("base-sepolia");
                if let Some(accepted) = payload.get_mut("accepted") {
                    accepted["network"] = json!("eip155:84532");
                }
            }),
        ];
        for (what, spoil) in cases {
            let (mut payload, mut requirements) = payment(&chain, version, 9, 30_000);
            spoil(&mut payload, &mut requirements);
            let result = facilitator.verify(version, &payload, &requirements).await;
            assert!(matches!(result, Err(VerifyError::Refused { .. })), "{what} V{version}: {result:?}");
            assert!(facilitator.settle(version, &payload, &requirements, None).await.is_err(), "{what}");
        }
        let (payload, requirements) = payment(&chain, version, 9, 60_000);
        let result = facilitator.verify(version, &payload, &requirements).await;
        assert!(
            matches!(&result, Err(VerifyError::Refused { reason, .. }) if reason == "insufficient_funds"),
            "{result:?}"
        );
    }
    let reader = chain.reader().await.unwrap();
    assert_eq!(reader.token_balance(PAY_TO, None).await.unwrap(), Usdc::ZERO);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_chain_nothing_is_refused() {
    let chain = LocalChain::start().await.unwrap();
    let facilitator = Facilitator::embedded(EmbeddedConfig {
        chain_id: chain.chain_id,
        rpc_urls: vec![chain.rpc_url.clone()],
        key: chain.keys[FACILITATOR].parse().unwrap(),
        poll_interval: Duration::from_millis(50),
        max_gas: 500_000,
        verify_timeout: Duration::from_secs(1),
        settle_timeout: Duration::from_secs(1),
    })
    .await
    .unwrap();
    chain.pause().unwrap();
    let (payload, requirements) = payment(&chain, 2, 1, 30_000);
    assert!(matches!(facilitator.verify(2, &payload, &requirements).await, Err(VerifyError::Unavailable(_))));
    assert!(matches!(facilitator.settle(2, &payload, &requirements, None).await, Err(SettleError::Unknown(_))));
    chain.resume().unwrap();
}

/// A contract wallet (EIP-1271) that accepts every signature after `turns` turns of a loop of 26 gas.
fn wallet(turns: u16) -> Bytes {
    let code = format!("6200{turns:04x}5b60019003806004575063{MAGIC}60e01b60005260206000f3");
    alloy::primitives::hex::decode(code).unwrap().into()
}

/// What EIP-1271 wants to hear.
const MAGIC: &str = "1626ba7e";

#[tokio::test(flavor = "multi_thread")]
async fn contract_wallets_pay_but_not_with_our_gas() {
    let chain = LocalChain::start().await.unwrap();
    let facilitator = facilitator(&chain).await;
    let (honest, greedy) = (Address::repeat_byte(0x51), Address::repeat_byte(0x52));
    for (address, turns) in [(honest, 1), (greedy, u16::MAX)] {
        chain.set_code(address, &wallet(turns)).await.unwrap();
        chain.mint(address, Usdc::from_micros(100_000)).await.unwrap();
    }
    let reader = chain.reader().await.unwrap();
    let facilitator_key = chain.signer(FACILITATOR).unwrap().address();
    for version in [1, 2] {
        let (payload, requirements) = payment_from(&chain, honest, version, version, 30_000);
        facilitator.verify(version, &payload, &requirements).await.unwrap();
        facilitator.settle(version, &payload, &requirements, None).await.unwrap();

        let before = reader.gas_balance(facilitator_key).await.unwrap();
        let (payload, requirements) = payment_from(&chain, greedy, version, version, 30_000);
        let refused = facilitator.settle(version, &payload, &requirements, None).await;
        assert!(
            matches!(&refused, Err(SettleError::Refused { detail, .. }) if detail.contains("too much gas")),
            "{refused:?}"
        );
        assert_eq!(reader.gas_balance(facilitator_key).await.unwrap(), before, "nothing was sent");
    }
    assert_eq!(reader.token_balance(PAY_TO, None).await.unwrap(), Usdc::from_micros(60_000));
}
