//! The user's key: from the environment, a file, a keystore, or the devnet's public ones.

use alloy::signers::local::PrivateKeySigner;
use compute_futures_chain::KeySource;
use compute_futures_protocol::Signer;

use crate::devnet::DevnetFile;
use crate::failure::{Failure, Outcome};

/// Variable with the password of a keystore.
const PASSWORD: &str = "COMPUTE_FUTURES_KEYSTORE_PASSWORD";

/// A key in the two forms that libraries want. Printing it shows the address only.
#[derive(Debug, Clone)]
pub struct Key {
    /// Signs what the product defines.
    pub signer: Signer,
    /// Signs transactions and x402 payments.
    pub wallet: PrivateKeySigner,
}

impl Key {
    /// From hex.
    ///
    /// # Errors
    /// When it is no private key; the message never shows the text.
    pub fn from_hex(text: &str) -> Outcome<Self> {
        let signer = Signer::from_hex(text).map_err(|error| bad(&error))?;
        let wallet = text.trim().parse().map_err(|_| bad(&"not a private key"))?;
        Ok(Self { signer, wallet })
    }
}

fn bad(error: &dyn std::fmt::Display) -> Failure {
    Failure::new(
        "bad_key",
        format!("the key cannot be used: {error}"),
        "set COMPUTE_FUTURES_KEY to 32 bytes of hex, or give --key file:PATH, keystore:PATH, or (on a devnet) devnet:0",
    )
}

/// Reads the key that `source` names.
pub(crate) fn load(source: &str, devnet: Option<&DevnetFile>) -> Outcome<Key> {
    let (kind, place) = source.split_once(':').unwrap_or((source, ""));
    let source = match kind {
        "env" => KeySource::Env { env: place.into() },
        "file" => KeySource::File { file: place.into() },
        "keystore" => {
            KeySource::Keystore { keystore: place.into(), password_env: Some(PASSWORD.into()), password_file: None }
        }
        "devnet" => return funded(place, devnet),
        _ => return Err(bad(&"--key starts with env:, file:, keystore: or devnet:")),
    };
    let bytes = source.load_bytes().map_err(|error| bad(&error))?;
    let signer = Signer::from_bytes(&bytes).map_err(|error| bad(&error))?;
    let wallet = PrivateKeySigner::from_slice(bytes.as_slice()).map_err(|error| bad(&error))?;
    Ok(Key { signer, wallet })
}

fn funded(index: &str, devnet: Option<&DevnetFile>) -> Outcome<Key> {
    let keys = &devnet.ok_or_else(|| bad(&"devnet keys are for --network local only"))?.evm.funded_keys;
    let key = index.parse::<usize>().ok().and_then(|index| keys.get(index));
    let last = keys.len().saturating_sub(1);
    Key::from_hex(key.ok_or_else(|| bad(&format!("the devnet has the keys devnet:0 to devnet:{last}")))?)
}
