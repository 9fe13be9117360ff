//! What may be signed of what a 402 asks for: USDC on the wallet's own network, within a bound, and where it is known beforehand who
//! is to be paid, to nobody else (T-41).

use compute_futures_chain::ChainError;
use compute_futures_protocol::{Address, Chain, Usdc};
use x402_types::scheme::client::PaymentCandidate;

use crate::client::ClientError;

/// Address of a deposit with this fee.
type WithFee = dyn Fn(Usdc) -> Result<Address, ChainError> + Send + Sync;

/// Whom a payment may go to.
pub enum Payee {
    /// Whoever asks: for prices, which the bound keeps small.
    Anyone,
    /// The address that commits to this deposit. What is asked beyond its amount is its fee, and a part of the address.
    DepositAddress {
        /// What becomes credit.
        amount: Usdc,
        /// The address, by the fee.
        with_fee: Box<WithFee>,
    },
}

/// What one payment may be.
pub(super) struct Allowed<'a> {
    pub(super) chain: Chain,
    pub(super) token: Address,
    pub(super) most: Usdc,
    pub(super) payee: &'a Payee,
}

impl Allowed<'_> {
    /// The first candidate that may be signed, and its amount.
    ///
    /// # Errors
    /// What is wrong with what is asked for: [`ClientError::TooExpensive`], or [`ClientError::Untrusted`].
    pub(super) fn choose<'c>(
        &self,
        candidates: &'c [PaymentCandidate],
    ) -> Result<(&'c PaymentCandidate, Usdc), ClientError> {
        let what = format!("no payment of scheme `exact` in USDC on {} is offered", self.chain.caip2());
        let mut refusal = ClientError::Untrusted(what);
        for candidate in candidates.iter().filter(|candidate| self.is_ours(candidate)) {
            match self.check(candidate) {
                Ok(amount) => return Ok((candidate, amount)),
                Err(error) => refusal = error,
            }
        }
        Err(refusal)
    }

    /// USDC on this network: anything else is counted in other units.
    fn is_ours(&self, candidate: &PaymentCandidate) -> bool {
        candidate.scheme == "exact"
            && candidate.chain_id.to_string() == self.chain.caip2()
            && candidate.asset.parse() == Ok(self.token)
    }

    fn check(&self, candidate: &PaymentCandidate) -> Result<Usdc, ClientError> {
        let asked = Usdc::parse_micros(&candidate.amount.to_string()).ok().filter(|asked| *asked <= self.most);
        let Some(asked) = asked else {
            let micros = candidate.amount;
            let what = format!("{micros} micro-USDC are asked for, this may cost {} USDC at most", self.most);
            return Err(ClientError::TooExpensive(what));
        };
        let Payee::DepositAddress { amount, with_fee } = self.payee else { return Ok(asked) };
        let Some(fee) = asked.checked_sub(*amount) else {
            let what = format!("{asked} USDC are asked for a deposit of {amount} USDC");
            return Err(ClientError::Untrusted(what));
        };
        let address = with_fee(fee).map_err(|error| ClientError::Signing(error.to_string()))?;
        if candidate.pay_to.parse() == Ok(address) {
            return Ok(asked);
        }
        let what = format!(
            "the payment would go to {}, which is not the address of this deposit: {address}, with a fee of {fee} USDC",
            candidate.pay_to
        );
        Err(ClientError::Untrusted(what))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use async_trait::async_trait;
    use compute_futures_chain::solana::usdc_mint;
    use compute_futures_protocol::{SolanaAddress, U256};
    use x402_types::scheme::client::{PaymentCandidateSigner, X402Error};

    use super::*;

    struct Nobody;

    #[async_trait]
    impl PaymentCandidateSigner for Nobody {
        async fn sign_payment(&self) -> Result<String, X402Error> {
            Ok(String::new())
        }
    }

    fn on(chain: Chain, asset: Address, micros: u64, pay_to: Address) -> PaymentCandidate {
        PaymentCandidate {
            chain_id: chain.caip2().parse().unwrap(),
            asset: asset.to_string(),
            amount: U256::from(micros),
            scheme: "exact".into(),
            x402_version: 2,
            pay_to: pay_to.to_string(),
            signer: Box::new(Nobody),
        }
    }

    /// A deposit of 50 USDC, whose address is the fee's last byte over and over; at most 0.1 USDC of fee.
    fn solana_deposit() -> (Payee, Address) {
        let of = |fee: Usdc| Address::Solana(SolanaAddress::from([fee.micros().to_le_bytes()[0]; 32]));
        let payee =
            Payee::DepositAddress { amount: Usdc::from_micros(50_000_000), with_fee: Box::new(move |fee| Ok(of(fee))) };
        (payee, of(Usdc::from_micros(10_000)))
    }

    #[test]
    fn a_deposit_on_solana_goes_to_its_own_address_only() {
        let (payee, address) = solana_deposit();
        let token = Address::Solana(usdc_mint(Chain::Solana).unwrap());
        let allowed = Allowed { chain: Chain::Solana, token, most: Usdc::from_micros(50_100_000), payee: &payee };
        let thief = Address::Solana(SolanaAddress::from([7; 32]));
        let good = || on(Chain::Solana, token, 50_010_000, address);

        let (chosen, amount) = allowed
            .choose(&[on(Chain::Solana, token, 50_010_000, thief), good()])
            .map(|(c, a)| (c.pay_to.clone(), a))
            .unwrap();
        assert_eq!((chosen, amount), (address.to_string(), Usdc::from_micros(50_010_000)));
        for (what, lie) in [
            ("to somebody", on(Chain::Solana, token, 50_010_000, thief)),
            ("with another fee than the address has", on(Chain::Solana, token, 50_020_000, address)),
            ("less than the deposit", on(Chain::Solana, token, 49_999_999, address)),
            ("of another token", on(Chain::Solana, thief, 50_010_000, address)),
            ("on another chain", on(Chain::SolanaDevnet, token, 50_010_000, address)),
        ] {
            assert!(matches!(allowed.choose(&[lie]), Err(ClientError::Untrusted(_))), "{what}");
        }
        let dear = on(Chain::Solana, token, 50_100_001, address);
        assert!(matches!(allowed.choose(&[dear]), Err(ClientError::TooExpensive(_))), "above the bound");
    }

    #[test]
    fn a_price_goes_to_anyone_but_only_in_usdc_of_this_network_and_within_its_bound() {
        let token = Address::repeat_byte(1);
        let allowed = Allowed { chain: Chain::Base, token, most: Usdc::from_micros(10_000), payee: &Payee::Anyone };
        let somebody = Address::repeat_byte(2);
        assert!(allowed.choose(&[on(Chain::Base, token, 10_000, somebody)]).is_ok());
        for lie in [
            on(Chain::BaseSepolia, token, 10_000, somebody),
            on(Chain::Base, Address::repeat_byte(3), 10_000, somebody),
            PaymentCandidate { scheme: "upto".into(), ..on(Chain::Base, token, 10_000, somebody) },
        ] {
            assert!(matches!(allowed.choose(&[lie]), Err(ClientError::Untrusted(_))));
        }
        let more_than_exists = PaymentCandidate { amount: U256::MAX, ..on(Chain::Base, token, 1, somebody) };
        for dear in [on(Chain::Base, token, 10_001, somebody), more_than_exists] {
            assert!(matches!(allowed.choose(&[dear]), Err(ClientError::TooExpensive(_))));
        }
    }
}
