//! The user's key: from the environment, a file, a keystore, or the devnet's public ones.

use alloy::signers::local::PrivateKeySigner;
use compute_futures_chain::KeySource;
use compute_futures_protocol::{Address, Chain, Signer};

use crate::chain::name_of;
use crate::devnet::DevnetFile;
use crate::failure::{Failure, Outcome};

/// Variable with the password of a keystore.
const PASSWORD: &str = "COMPUTE_FUTURES_KEYSTORE_PASSWORD";

/// A key in the forms that libraries want. Printing it shows the address only.
#[derive(Debug, Clone)]
pub struct Key {
    /// Signs what the product defines, and transactions.
    pub signer: Signer,
    /// Signs x402 payments on EVM chains; `None` for a key of Solana.
    pub wallet: Option<PrivateKeySigner>,
}

impl Key {
    /// From text: 32 bytes in hex (Base), or a Solana keypair (the numbers of a `solana-keygen` file, or base58).
    ///
    /// # Errors
    /// When it is no private key; the message never shows the text.
    pub fn parse(text: &str) -> Outcome<Self> {
        let signer = Signer::parse(text).map_err(|error| bad(&error))?;
        let wallet = match signer.address() {
            Address::Evm(_) => Some(text.trim().parse().map_err(|_| bad(&"not a private key"))?),
            Address::Solana(_) => None,
        };
        Ok(Self { signer, wallet })
    }

    /// From 32 bytes: the private key on an EVM chain, the seed on Solana.
    ///
    /// # Errors
    /// When they are no private key.
    pub fn from_bytes(bytes: &[u8; 32], chain: Chain) -> Outcome<Self> {
        if chain.evm_chain_id().is_none() {
            return Ok(Self { signer: Signer::ed25519(bytes), wallet: None });
        }
        let signer = Signer::from_bytes(bytes).map_err(|error| bad(&error))?;
        Ok(Self { signer, wallet: Some(PrivateKeySigner::from_slice(bytes).map_err(|error| bad(&error))?) })
    }

    /// Its address.
    #[must_use]
    pub fn address(&self) -> Address {
        self.signer.address()
    }
}

fn bad(error: &dyn std::fmt::Display) -> Failure {
    Failure::new(
        "bad_key",
        format!("the key cannot be used: {error}"),
        "set COMPUTE_FUTURES_KEY to 32 bytes of hex (Base) or a Solana keypair in base58, or give --key file:PATH (also of solana-keygen), keystore:PATH, or (on a devnet) devnet:0",
    )
}

/// A key that signs nothing on this chain.
pub(crate) fn other_chain(address: Address, chain: Chain) -> Failure {
    let hint = match address {
        Address::Evm(_) => "give a Solana keypair (--key file:PATH of solana-keygen), or --network base",
        Address::Solana(_) => "give a key in hex, or --network solana",
    };
    Failure::new("key_of_another_chain", format!("{address} is no wallet on {}", name_of(chain)), hint)
}

/// Reads the key that `source` names, for `chain`.
pub(crate) fn load(source: &str, chain: Chain, devnet: Option<&DevnetFile>) -> Outcome<Key> {
    let (kind, place) = source.split_once(':').unwrap_or((source, ""));
    let source = match kind {
        "env" => KeySource::Env { env: place.into() },
        "file" => KeySource::File { file: place.into() },
        "keystore" => {
            KeySource::Keystore { keystore: place.into(), password_env: Some(PASSWORD.into()), password_file: None }
        }
        "devnet" => return funded(place, chain, devnet),
        _ => return Err(bad(&"--key starts with env:, file:, keystore: or devnet:")),
    };
    let signer = source.load().map_err(|error| bad(&error))?;
    if !signer.address().is_on(chain) {
        return Err(other_chain(signer.address(), chain));
    }
    let wallet = match signer.address() {
        Address::Solana(_) => None,
        Address::Evm(_) => {
            let bytes = source.load_bytes().map_err(|error| bad(&error))?;
            Some(PrivateKeySigner::from_slice(bytes.as_slice()).map_err(|error| bad(&error))?)
        }
    };
    Ok(Key { signer, wallet })
}

fn funded(index: &str, chain: Chain, devnet: Option<&DevnetFile>) -> Outcome<Key> {
    let devnet = devnet.ok_or_else(|| bad(&"devnet keys are for --network local and local-solana only"))?;
    let keys = devnet.funded_keys(chain);
    let key = index.parse::<usize>().ok().and_then(|index| keys.get(index));
    let last = keys.len().saturating_sub(1);
    Key::parse(key.ok_or_else(|| bad(&format!("the devnet has the keys devnet:0 to devnet:{last}")))?)
}
