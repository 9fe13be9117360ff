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

/// Those of compute-escrow.
const ESCROW_ERRORS: [&str; 45] = [
    "NotCreator",
    "NotAgent",
    "NotProviderOwner",
    "InvalidAgentSignature",
    "InvalidMeterSignature",
    "InvalidCreator",
    "InvalidExpiry",
    "InvalidSessionLimit",
    "MeterRequired",
    "InvalidAgents",
    "InvalidAgent",
    "AgentUnchanged",
    "InvalidMeter",
    "ProviderChanged",
    "InvalidLimit",
    "InvalidDeadline",
    "InsufficientUnreserved",
    "SessionsExhausted",
    "DeadlinePassed",
    "DeadlineNotPassed",
    "WrongSessionAccounts",
    "NothingToFund",
    "BudgetOverflow",
    "Expired",
    "NotExpired",
    "NothingToRefund",
    "NothingToSweep",
    "InvalidRecipient",
    "InsufficientEarnings",
    "AmountTooLarge",
    "WrongAddress",
    "WrongEscrow",
    "EscrowOpen",
    "WrongAgentAccount",
    "WrongProvider",
    "WrongEarnings",
    "WrongDepositAddress",
    "DepositAddressInUse",
    "WrongRentPayer",
    "WrongTokenAccount",
    "WrongVault",
    "WrongMint",
    "TokenNotPlain",
    "InvalidRows",
    "NoncesExhausted",
];
/// Those of provider-registry.
const REGISTRY_ERRORS: [&str; 11] = [
    "NotOwner",
    "Retired",
    "InvalidEndpoint",
    "InvalidProviderType",
    "InvalidRateLimit",
    "InvalidFeatures",
    "InvalidModels",
    "InvalidModelName",
    "InvalidMaxContext",
    "InvalidPrice",
    "WrongAddress",
];
/// Names of a program's errors, and what the Solidity contract of the same verbs puts before them.
const PROGRAMS: [(&str, &[&str]); 3] =
    [("ComputeFutures_", &ERRORS), ("ComputeEscrow_", &ESCROW_ERRORS), ("ProviderRegistry_", &REGISTRY_ERRORS)];

/// The name of an error by its number. Every program counts from 6000, but each says in its log what the number means to it.
fn name_of(number: u64, logs: &[String]) -> Option<String> {
    let place = usize::try_from(number.checked_sub(6_000)?).ok()?;
    let logged = logs.iter().rev().find_map(|line| {
        let (_, rest) = line.split_once("Error Code: ")?;
        rest.split_once('.').map(|(name, _)| name)
    });
    let programs = PROGRAMS.iter().filter_map(|(prefix, names)| Some((prefix, *names.get(place)?)));
    let found = match logged {
        Some(logged) => programs.clone().find(|(_, name)| *name == logged),
        None => None,
    };
    // A node that gives no log leaves the first: ComputeFutures.
    found
        .or_else(|| programs.clone().next().filter(|_| logged.is_none()))
        .map(|(prefix, name)| format!("{prefix}{name}"))
}

/// The `err` of a transaction or simulation as a refusal. Names are those of the Solidity contract, so that layers above compare
/// one name.
pub(super) fn reverted(error: &Value, logs: &[String]) -> ChainError {
    let custom = error["InstructionError"][1]["Custom"].as_u64();
    let name = custom.and_then(|code| name_of(code, logs));
    let words = logs.iter().rev().find(|line| line.contains("Error")).cloned();
    if error == "InsufficientFundsForFee" || error["InsufficientFundsForRent"].is_object() || error == "AccountNotFound"
    {
        return ChainError::Rejected("insufficient funds: the fee payer needs more SOL".into());
    }
    if error == "BlockhashNotFound" || error == "AlreadyProcessed" {
        return ChainError::Rejected(error.as_str().unwrap_or_default().to_owned());
    }
    match name {
        Some(name) => ChainError::Reverted { name, detail: String::new() },
        None => ChainError::Reverted { name: "Error".into(), detail: words.unwrap_or_else(|| error.to_string()) },
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn codes_are_the_programs_names() {
        let sources = [
            include_str!("../../../programs/compute-futures/src/errors.rs"),
            include_str!("../../../programs/compute-escrow/src/errors.rs"),
            include_str!("../../../programs/provider-registry/src/errors.rs"),
        ];
        for (source, (_, expected)) in sources.iter().zip(PROGRAMS) {
            let names: Vec<&str> = source
                .lines()
                .map(str::trim)
                .filter_map(|line| line.strip_suffix(','))
                .filter(|line| line.chars().all(char::is_alphanumeric))
                .collect();
            assert_eq!(names, expected);
        }
    }

    #[test]
    fn number_and_name_together_say_whose_error_it_is() {
        let mut all: Vec<(usize, &str)> =
            PROGRAMS.iter().flat_map(|(_, names)| names.iter().copied().enumerate()).collect();
        let count = all.len();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), count, "no two programs have one name at one place");
        let log =
            |name: &str| vec![format!("Program log: AnchorError occurred. Error Code: {name}. Error Number: 6001.")];
        assert_eq!(name_of(6_001, &log("NotAgent")).as_deref(), Some("ComputeEscrow_NotAgent"));
        assert_eq!(name_of(6_001, &log("Retired")).as_deref(), Some("ProviderRegistry_Retired"));
        assert_eq!(name_of(6_001, &log("NotOwner")).as_deref(), Some("ComputeFutures_NotOwner"));
        assert_eq!(name_of(6_001, &log("Unheard")), None);
        assert_eq!(name_of(6_001, &[]).as_deref(), Some("ComputeFutures_NotOwner"));
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
