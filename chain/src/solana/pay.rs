//! The payer's side of x402 `exact` on Solana: a transfer of USDC that the payer signs, for whoever pays its fee to complete.

use compute_futures_protocol::{Address, Bytes, Signer, SolanaAddress, Usdc};

use super::instruction::{compute_budget, transfer};
use super::message::{Instruction, compile};
use super::{SolanaReader, solana};
use crate::ChainError;

const MEMO: SolanaAddress = SolanaAddress::from_str_const("MemoSq4gqABAXKb96qnH8TysNcWxMyWCqXgDLGmfcHr");
/// Compute units of such a transfer, and micro-lamports offered for each: what stock clients ask for.
const UNITS: u32 = 20_000;
const PRICE: u64 = 1;

impl SolanaReader {
    /// Signs a transfer of `amount` from the payer's wallet to that of `pay_to`, whose fee `fee_payer` pays and who signs it as
    /// well. `memo` makes it one of a kind: two equal payments in one block would be one transaction.
    ///
    /// # Errors
    /// With a key or address of another chain, or when no endpoint answers.
    pub async fn sign_payment(
        &self,
        payer: &Signer,
        fee_payer: Address,
        pay_to: Address,
        amount: Usdc,
        memo: &str,
    ) -> Result<Bytes, ChainError> {
        let (from, to, fee_payer) = (solana(payer.address())?, solana(pay_to)?, solana(fee_payer)?);
        let memo = Instruction { program: MEMO, accounts: Vec::new(), data: memo.as_bytes().to_vec() };
        let plan: Vec<Instruction> =
            compute_budget(UNITS, PRICE).into_iter().chain([transfer(&self.program, from, to, amount), memo]).collect();
        compile(fee_payer, &plan, self.newest_blockhash().await?.0).sign_in_part(payer).map(Bytes::from)
    }
}
