use compute_futures_protocol::{AccountId, B256, DepositTerms, EvmAddress, deposit_address, deposit_nonce};

use crate::{load, number, parse, rows, usdc};

#[test]
fn deposit_addresses() {
    for row in rows(&load("deposit.json"), "addresses") {
        let terms = DepositTerms {
            operator_index: number(row, "operatorIndex").try_into().unwrap(),
            owner: parse(row, "owner"),
            ceiling: usdc(row, "ceiling"),
            fee: usdc(row, "fee"),
        };
        assert_eq!(terms.salt(), parse::<B256>(row, "salt"));
        let address = deposit_address(parse(row, "contract"), parse(row, "vaultImplementation"), &terms);
        assert_eq!(address, parse::<EvmAddress>(row, "depositAddress"));
    }
}

#[test]
fn deposit_nonces() {
    for row in rows(&load("deposit.json"), "nonces") {
        let account = match number(row, "accountId") {
            0 => None,
            id => Some(AccountId::try_from(id).unwrap()),
        };
        let operator = number(row, "operatorIndex").try_into().unwrap();
        let nonce = deposit_nonce(operator, parse(row, "owner"), account, usdc(row, "ceiling"), parse(row, "salt"));
        assert_eq!(nonce, parse::<B256>(row, "nonce"));
    }
}
