//! Why a transaction fails, in the words of the program.

use serde_json::Value;

use crate::ChainError;

/// The program's errors from code 6000, in the order of its source; the order never changes.
const ERRORS: [&str; 35] = [
    "NotOperator",
    "NotOwner",
    "NotAccountOperator",
    "NotSpender",
    "InvalidSignature",
    "InvalidRefundDelay",
    "InvalidMinimumDeposit",
    "TooManyTiers",
    "InvalidTierThreshold",
    "InvalidTierDiscount",
    "InvalidOwner",
    "InvalidRecipient",
    "DepositTooSmall",
    "CreditOverflow",
    "AmountTooLarge",
    "CeilingNotRaised",
    "WrongBatchNumber",
    "NothingToSweep",
    "RefundAlreadyRequested",
    "RefundNotRequested",
    "RefundNotDue",
    "InsufficientEarnings",
    "SequenceExhausted",
    "WrongAccountAddress",
    "WrongDepositAddress",
    "WrongDepositAccount",
    "DepositAddressInUse",
    "WrongRentPayer",
    "WrongTokenAccount",
    "WrongVault",
    "WrongMint",
    "TokenNotPlain",
    "InvalidRows",
    "RowNotWritable",
    "WrongOperatorAddress",
];

/// The `err` of a transaction or simulation as a refusal. Names are those of the Solidity contract, so that layers above compare
/// one name.
pub(super) fn reverted(error: &Value, logs: &[String]) -> ChainError {
    let custom = error["InstructionError"][1]["Custom"].as_u64();
    let name = custom.and_then(|code| ERRORS.get(usize::try_from(code.checked_sub(6_000)?).ok()?));
    let words = logs.iter().rev().find(|line| line.contains("Error")).cloned();
    if error == "InsufficientFundsForFee" || error["InsufficientFundsForRent"].is_object() || error == "AccountNotFound"
    {
        return ChainError::Rejected("insufficient funds: the fee payer needs more SOL".into());
    }
    if error == "BlockhashNotFound" || error == "AlreadyProcessed" {
        return ChainError::Rejected(error.as_str().unwrap_or_default().to_owned());
    }
    match name {
        Some(name) => ChainError::Reverted { name: format!("ComputeFutures_{name}"), detail: String::new() },
        None => ChainError::Reverted { name: "Error".into(), detail: words.unwrap_or_else(|| error.to_string()) },
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn codes_are_the_programs_names() {
        let source = include_str!("../../../programs/compute-futures/src/errors.rs");
        let names: Vec<&str> = source
            .lines()
            .map(str::trim)
            .filter_map(|line| line.strip_suffix(','))
            .filter(|line| line.chars().all(char::is_alphanumeric))
            .collect();
        assert_eq!(names, ERRORS);
    }

    #[test]
    fn failures_are_named() {
        let name = |error: Value| match reverted(&error, &["Program log: Error: no".into()]) {
            ChainError::Reverted { name, .. } => name,
            other => other.to_string(),
        };
        assert_eq!(name(json!({"InstructionError": [2, {"Custom": 6016}]})), "ComputeFutures_WrongBatchNumber");
        assert_eq!(name(json!({"InstructionError": [2, {"Custom": 1}]})), "Error");
        assert!(name(json!("InsufficientFundsForFee")).contains("insufficient funds"));
    }
}
