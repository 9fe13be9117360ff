//! x402 `exact` payments as each chain knows them, signed with real keys.

use compute_futures_protocol::{
    Address, B256, Bytes, Chain, EvmPayment, ExactPayment, Signer, SolanaAddress, SolanaPayment, U256, Usdc, keccak256,
    solana::{TOKEN_PROGRAM, associated_token_address},
};

/// A payment of `value` that `payer` signed; `salt` makes it one of a kind.
pub fn exact(chain: Chain, token: Address, payer: &Signer, to: Address, value: Usdc, salt: u8) -> ExactPayment {
    match (token, payer.address(), to) {
        (Address::Evm(asset), Address::Evm(from), Address::Evm(to)) => {
            let mut payment = EvmPayment {
                asset,
                from,
                network: chain,
                nonce: keccak256([salt]),
                signature: Bytes::new(),
                to,
                valid_after: U256::ZERO,
                valid_before: U256::MAX,
                value,
            };
            payment.signature = Bytes::from(payer.sign(payment.digest().unwrap()));
            ExactPayment::Evm(payment)
        }
        (Address::Solana(asset), Address::Solana(from), Address::Solana(to)) => {
            let message = transfer(asset, from, to, value, B256::repeat_byte(salt));
            let signature = payer.sign_message(&message).unwrap();
            ExactPayment::Solana(SolanaPayment {
                asset,
                from,
                message: message.into(),
                network: chain,
                signature: signature.to_vec().into(),
                to,
                value,
            })
        }
        other => panic!("addresses of several chains: {other:?}"),
    }
}

/// The message of a transaction with one checked transfer, whose fee its sender pays.
fn transfer(mint: SolanaAddress, from: SolanaAddress, to: SolanaAddress, value: Usdc, blockhash: B256) -> Vec<u8> {
    let wallet = |owner| associated_token_address(owner, &mint);
    // One signer; the mint and the token program are not written.
    let mut message = vec![1, 0, 2, 5];
    for key in [from, wallet(&from), wallet(&to), mint, TOKEN_PROGRAM] {
        message.extend(key.0);
    }
    message.extend(blockhash);
    // One call: the fifth key, on source, mint, destination, authority.
    message.extend([1, 4, 4, 1, 3, 2, 0, 10, 12]);
    message.extend(value.micros().to_le_bytes());
    message.push(6);
    message
}
