//! What is on the chain from its first block, and the contract's deployment in the second.

use std::time::{SystemTime, UNIX_EPOCH};

use alloy::primitives::{Address as EvmAddress, B256, Bytes, address, b256, keccak256};
use alloy::sol_types::SolValue;
use serde_json::{Map, Value, json};
use url::Url;

use super::Cheats;
use crate::ChainError;
use crate::evm::MarketContracts;
use crate::evm::bindings::{ComputeEscrow, ComputeFutures as abi, ProviderRegistry};

/// Base.
pub(super) const CHAIN_ID: u64 = 8453;
/// USDC on Base.
pub const USDC: EvmAddress = address!("0x833589fCD6eDb6E08f4c7C32D4f71b54bdA02913");
/// May mint on the fixture's token; nobody has its key.
pub(super) const MINTER: EvmAddress = address!("0x3bEA5F24710dC4faC252Ce13110eec72561a6105");

/// The deterministic deployment proxy, on anvil from the start.
const FACTORY: EvmAddress = address!("0x4e59b44847b379578588920cA78FbF26c0B4956C");
/// keccak256("ComputeFutures v1"), as in the deployment script.
const SALT: B256 = b256!("0xa4e935838716498675820d2bce7d6f2212f80b503e0490bb91bdb1132449be02");

/// Circle's FiatTokenV2_2 behind its proxy, initialised.
const USDC_ALLOC: &str = include_str!("../../../../contracts/fixtures/usdc.alloc.json");
/// Multicall3, as deployed on every chain (MIT, github.com/mds1/multicall3).
const MULTICALL3: (EvmAddress, &str) =
    (address!("0xcA11bde05977b3631167028862bE2a173976CA11"), include_str!("../../../fixtures/multicall3.hex"));
/// The x402 facilitator refuses to start unless these have code: the ERC-6492 validator, Permit2 and the proxy of x402's `exact`
/// over Permit2. Payments in USDC by EIP-3009 with plain or EIP-1271 signatures never call them. Here they revert whatever is
/// asked (`PUSH1 0 PUSH1 0 REVERT`), so payments that do need them fail and never pass by mistake.
const REVERTING: [EvmAddress; 3] = [
    address!("0xdAcD51A54883eb67D95FAEb2BBfdC4a9a6BD2a3B"),
    address!("0x000000000022D473030F116dDEE9F6B43aC78BA3"),
    address!("0x402085c248EeA27D92E8b30b2C58ed07f9E20001"),
];
const REVERTING_CODE: &str = "0x60006000fd";

pub(super) fn localhost() -> Url {
    #[allow(clippy::expect_used)] // A constant.
    "http://127.0.0.1".parse().expect("a URL")
}

/// The genesis file.
pub(super) fn genesis() -> Result<Value, ChainError> {
    let mut alloc: Map<String, Value> = serde_json::from_str(USDC_ALLOC)
        .map_err(|error| ChainError::Config(format!("contracts/fixtures/usdc.alloc.json: {error}")))?;
    let mut place = |address: EvmAddress, code: &str| {
        alloc.insert(address.to_string(), json!({"balance": "0x0", "code": code.trim()}));
    };
    place(MULTICALL3.0, MULTICALL3.1);
    for address in REVERTING {
        place(address, REVERTING_CODE);
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    Ok(json!({
        "config": {"chainId": CHAIN_ID},
        "nonce": "0x0",
        "timestamp": format!("{now:#x}"),
        "extraData": "0x",
        "gasLimit": format!("{:#x}", 200_000_000),
        "difficulty": "0x0",
        "mixHash": B256::ZERO,
        "coinbase": EvmAddress::ZERO,
        "alloc": alloc,
    }))
}

fn init_code() -> Vec<u8> {
    let mut code = abi::BYTECODE.to_vec();
    code.extend(USDC.abi_encode());
    code
}

/// Where the deterministic deployment puts the contract.
pub(super) fn contract_address() -> EvmAddress {
    FACTORY.create2(SALT, keccak256(init_code()))
}

/// Deploys the contract; answers the block it is in.
pub(super) async fn deploy(cheats: &Cheats, contract: EvmAddress) -> Result<u64, ChainError> {
    let mut data = SALT.to_vec();
    data.extend(init_code());
    let block = cheats.transact(MINTER, FACTORY, Bytes::from(data)).await?;
    if cheats.code(contract).await?.is_empty() {
        return Err(ChainError::Inconsistent(format!("the contract did not appear at {contract}")));
    }
    Ok(block)
}

fn escrow_init_code(registry: EvmAddress) -> Vec<u8> {
    let mut code = ComputeEscrow::BYTECODE.to_vec();
    code.extend((USDC, registry).abi_encode());
    code
}

/// Where the deterministic deployment puts the marketplace.
pub(super) fn market_contracts() -> MarketContracts {
    let registry = FACTORY.create2(SALT, keccak256(&ProviderRegistry::BYTECODE));
    MarketContracts { registry, escrow: FACTORY.create2(SALT, keccak256(escrow_init_code(registry))) }
}

/// Deploys the marketplace; answers the block its first contract is in.
pub(super) async fn deploy_market(cheats: &Cheats, at: MarketContracts) -> Result<u64, ChainError> {
    let registry = [SALT.as_slice(), &ProviderRegistry::BYTECODE].concat();
    let block = cheats.transact(MINTER, FACTORY, registry.into()).await?;
    let escrow = [SALT.as_slice(), &escrow_init_code(at.registry)].concat();
    cheats.transact(MINTER, FACTORY, escrow.into()).await?;
    for contract in [at.registry, at.escrow] {
        if cheats.code(contract).await?.is_empty() {
            return Err(ChainError::Inconsistent(format!("the contract did not appear at {contract}")));
        }
    }
    Ok(block)
}

#[cfg(test)]
mod tests {
    use compute_futures_protocol::Chain;

    use super::*;
    use crate::evm::{published_deployment, published_market};

    #[test]
    fn the_local_contract_is_where_the_published_one_is() {
        let published = published_deployment(Chain::Base);
        assert_eq!(
            published.map(|deployment| (deployment.contract, deployment.token)),
            Some((contract_address(), USDC))
        );
    }

    #[test]
    fn the_local_market_is_where_the_published_one_is() {
        assert_eq!(published_market(Chain::Base), Some(market_contracts()));
        assert!(published_market(Chain::BaseSepolia).is_some() && published_market(Chain::Solana).is_none());
    }

    #[test]
    fn the_salt_is_that_of_the_script() {
        assert_eq!(SALT, keccak256("ComputeFutures v1"));
    }
}
