//! Why the contract refuses, in its own words.

use std::sync::LazyLock;

use alloy::dyn_abi::{DynSolValue, ErrorExt};
use alloy::json_abi::{ContractObject, Error as AbiError, JsonAbi};
use alloy::primitives::Selector;
use alloy::sol_types::{Panic, Revert, SolError};

use crate::ChainError;
use crate::transport::RpcFailure;

/// Errors of the contracts and of the libraries in them. Committed and generated: that they parse is tested.
static ERRORS: LazyLock<[JsonAbi; 3]> = LazyLock::new(|| {
    let abi = |text| {
        let contract = serde_json::from_str::<ContractObject>(text).ok();
        contract.and_then(|contract| contract.abi).unwrap_or_default()
    };
    [
        abi(include_str!("../../../contracts/abi/ComputeFutures.json")),
        abi(include_str!("../../../contracts/abi/ComputeEscrow.json")),
        abi(include_str!("../../../contracts/abi/ProviderRegistry.json")),
    ]
});

/// Turns a refused call into [`ChainError::Reverted`] where it was a revert.
/// `fallback` is revert data got elsewhere, for nodes that leave it out.
pub(super) fn refusal(failure: RpcFailure, fallback: &[u8]) -> ChainError {
    let RpcFailure::Refused(payload) = failure else { return failure.into() };
    if let Some(data) = payload.as_revert_data() {
        return reverted(&data);
    }
    if !fallback.is_empty() {
        return reverted(fallback);
    }
    // "execution reverted: ERC20: transfer amount exceeds balance" without data, or a bare revert.
    if payload.code == 3 || payload.message.contains("revert") {
        let reason = payload.message.split_once("reverted: ").map_or("", |(_, reason)| reason);
        return ChainError::Reverted { name: "Error".into(), detail: reason.into() };
    }
    RpcFailure::Refused(payload).into()
}

/// Decodes revert data.
pub(super) fn reverted(data: &[u8]) -> ChainError {
    let (name, detail) = describe(data);
    ChainError::Reverted { name, detail }
}

fn describe(data: &[u8]) -> (String, String) {
    if data.is_empty() {
        return ("Error".into(), "(no reason given)".into());
    }
    if let Ok(revert) = Revert::abi_decode(data) {
        return ("Error".into(), revert.reason().into());
    }
    if let Ok(panic) = Panic::abi_decode(data) {
        return ("Panic".into(), panic.to_string());
    }
    let known = data.first_chunk::<4>().and_then(|selector| find(Selector::from(*selector)));
    match known {
        Some(error) => {
            (error.name.clone(), arguments(error, data).unwrap_or_else(|| alloy::hex::encode_prefixed(data)))
        }
        None => ("UnknownError".into(), alloy::hex::encode_prefixed(data)),
    }
}

fn find(selector: Selector) -> Option<&'static AbiError> {
    ERRORS.iter().flat_map(JsonAbi::errors).find(|error| error.selector() == selector)
}

/// `accountId: 4294967297, caller: 0x…`
fn arguments(error: &AbiError, data: &[u8]) -> Option<String> {
    let decoded = error.decode_error(data).ok()?;
    let named =
        error.inputs.iter().zip(&decoded.body).map(|(input, value)| format!("{}: {}", input.name, print(value)));
    Some(named.collect::<Vec<_>>().join(", "))
}

fn print(value: &DynSolValue) -> String {
    match value {
        DynSolValue::Uint(number, _) => number.to_string(),
        DynSolValue::Int(number, _) => number.to_string(),
        DynSolValue::Address(address) => address.to_string(),
        DynSolValue::Bool(truth) => truth.to_string(),
        DynSolValue::String(text) => text.clone(),
        DynSolValue::FixedBytes(word, size) => alloy::hex::encode_prefixed(&word[..*size]),
        DynSolValue::Bytes(bytes) => alloy::hex::encode_prefixed(bytes),
        other => format!("{other:?}"),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use alloy::primitives::{Address, aliases::U40};

    use super::super::bindings::{ComputeEscrow as market, ComputeFutures as abi, ProviderRegistry as registry};
    use super::*;

    #[test]
    fn errors_of_the_contract_carry_name_and_arguments() {
        let data =
            abi::ComputeFutures_NotOwner { accountId: 4_294_967_297, caller: Address::repeat_byte(0x11) }.abi_encode();
        assert_eq!(
            describe(&data),
            (
                "ComputeFutures_NotOwner".into(),
                "accountId: 4294967297, caller: 0x1111111111111111111111111111111111111111".into()
            )
        );
        let early = market::ComputeEscrow_NotExpired { escrowId: 3, expiry: U40::from(9) }.abi_encode();
        assert_eq!(describe(&early), ("ComputeEscrow_NotExpired".into(), "escrowId: 3, expiry: 9".into()));
        let retired = registry::ProviderRegistry_Retired { providerId: 4 }.abi_encode();
        assert_eq!(describe(&retired), ("ProviderRegistry_Retired".into(), "providerId: 4".into()));
        let data = abi::ComputeFutures_WrongBatchNumber { expected: U40::from(2), given: U40::from(7) }.abi_encode();
        assert_eq!(describe(&data).1, "expected: 2, given: 7");
    }

    #[test]
    fn plain_reasons_panics_and_strangers_are_told_apart() {
        let reason = Revert::from("ERC20: transfer amount exceeds balance").abi_encode();
        assert_eq!(describe(&reason), ("Error".into(), "ERC20: transfer amount exceeds balance".into()));
        let panic = Panic::from(0x11).abi_encode();
        assert_eq!(describe(&panic).0, "Panic");
        assert_eq!(describe(&[0xde, 0xad, 0xbe, 0xef]), ("UnknownError".into(), "0xdeadbeef".into()));
        assert_eq!(describe(&[]).0, "Error");
    }
}
