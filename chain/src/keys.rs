//! Where a private key is kept, and getting it from there without leaving copies or traces.

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use alloy::signers::local::PrivateKeySigner;
use compute_futures_protocol::Signer;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::ChainError;

/// Longest key or password file that is read.
const MOST_BYTES: u64 = 16 * 1024;

/// Where a private key is. In configuration one of
/// `{ env = "NAME" }`, `{ file = "path" }`, `{ keystore = "path", password_env = "NAME" }`,
/// `{ keystore = "path", password_file = "path" }`. Holds names only, never the key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged, deny_unknown_fields)]
pub enum KeySource {
    /// An environment variable with the key: hex, or a Solana keypair (see [`Signer::parse`]).
    Env {
        /// Its name.
        env: String,
    },
    /// A file with the key, readable by its owner alone: hex, or what `solana-keygen` writes.
    File {
        /// Its path.
        file: PathBuf,
    },
    /// An encrypted JSON keystore (version 3, as geth, Foundry and most wallets write it).
    Keystore {
        /// Path of the keystore file, readable by its owner alone.
        keystore: PathBuf,
        /// Environment variable with the password.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        password_env: Option<String>,
        /// File with the password, readable by its owner alone.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        password_file: Option<PathBuf>,
    },
}

impl fmt::Display for KeySource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Env { env } => write!(f, "environment variable {env}"),
            Self::File { file } => write!(f, "key file {}", file.display()),
            Self::Keystore { keystore, .. } => write!(f, "keystore {}", keystore.display()),
        }
    }
}

impl KeySource {
    /// Reads the key.
    ///
    /// # Errors
    /// [`ChainError::Config`] says what is wrong with the place, never what is in it.
    pub fn load(&self) -> Result<Signer, ChainError> {
        match self {
            Self::Env { env } => Signer::parse(&from_env(env)?),
            Self::File { file } => Signer::parse(&from_private_file(file)?),
            Self::Keystore { .. } => Signer::from_bytes(&*self.load_bytes()?),
        }
        .map_err(|error| self.trouble(error))
    }

    /// The 32 bytes of a key in hex or in a keystore, for signers of other libraries; erased when dropped.
    ///
    /// # Errors
    /// As [`KeySource::load`].
    pub fn load_bytes(&self) -> Result<Zeroizing<[u8; 32]>, ChainError> {
        match self {
            Self::Env { env } => self.key_from_hex(&from_env(env)?),
            Self::File { file } => self.key_from_hex(&from_private_file(file)?),
            Self::Keystore { keystore, password_env, password_file } => {
                let password = match (password_env, password_file) {
                    (Some(env), None) => from_env(env)?,
                    (None, Some(file)) => from_private_file(file)?,
                    _ => {
                        return Err(self.trouble("set either password_env or password_file"));
                    }
                };
                // Checked here, opened again by the decoder: the file is encrypted, so nothing hangs on the gap.
                drop(from_private_file(keystore)?);
                let password = password.trim_end_matches(['\r', '\n']);
                let signer = PrivateKeySigner::decrypt_keystore(keystore, password)
                    .map_err(|error| self.trouble(format!("cannot be decrypted ({error}); check the password")))?;
                Ok(Zeroizing::new(signer.to_bytes().0))
            }
        }
    }

    fn key_from_hex(&self, text: &str) -> Result<Zeroizing<[u8; 32]>, ChainError> {
        let mut bytes = Zeroizing::new([0; 32]);
        alloy::hex::decode_to_slice(text.trim(), &mut *bytes)
            .map_err(|_| self.trouble("does not hold a private key; it must be 32 bytes in hex, nothing else"))?;
        Ok(bytes)
    }

    fn trouble(&self, what: impl fmt::Display) -> ChainError {
        ChainError::Config(format!("{self}: {what}"))
    }
}

fn from_env(name: &str) -> Result<Zeroizing<String>, ChainError> {
    match std::env::var(name) {
        Ok(value) if !value.is_empty() => Ok(Zeroizing::new(value)),
        Ok(_) => Err(ChainError::Config(format!("environment variable {name} is empty"))),
        Err(std::env::VarError::NotPresent) => {
            Err(ChainError::Config(format!("environment variable {name} is not set")))
        }
        Err(std::env::VarError::NotUnicode(_)) => {
            Err(ChainError::Config(format!("environment variable {name} is not text")))
        }
    }
}

/// Reads a file that only its owner, who must be us, can read.
fn from_private_file(path: &Path) -> Result<Zeroizing<String>, ChainError> {
    let trouble = |what: String| ChainError::Config(format!("file {}: {what}", path.display()));
    let mut file = File::open(path).map_err(|error| trouble(error.to_string()))?;
    // Asked of the open file, so that it cannot be exchanged between the check and the reading.
    let about = file.metadata().map_err(|error| trouble(error.to_string()))?;
    if !about.is_file() {
        return Err(trouble("is not a file".into()));
    }
    let mode = about.mode() & 0o7777;
    if mode & 0o177 != 0 {
        return Err(trouble(format!("has mode {mode:04o}, so others may read it; run: chmod 600 {}", path.display())));
    }
    let us = rustix::process::geteuid().as_raw();
    if about.uid() != us {
        return Err(trouble(format!(
            "belongs to user {}, but this process runs as user {us}; change its owner",
            about.uid()
        )));
    }
    if about.len() > MOST_BYTES {
        return Err(trouble(format!("has {} bytes; that is no key", about.len())));
    }
    // Room for all of it at once: a string that grows leaves copies behind.
    let mut text = Zeroizing::new(String::with_capacity(MOST_BYTES as usize));
    file.by_ref().take(MOST_BYTES).read_to_string(&mut text).map_err(|error| trouble(error.to_string()))?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use std::fs::{Permissions, set_permissions, write};
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    // The first of anvil's well-known development keys.
    const KEY: &str = "ac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80";
    const ADDRESS: &str = "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266";

    fn file_with(mode: u32, text: &str) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        write(&path, text).unwrap();
        set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        (folder, path)
    }

    fn message(source: &KeySource) -> String {
        match source.load() {
            Err(ChainError::Config(message)) => message,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_private_file_is_read() {
        for (mode, text) in [(0o600, format!("0x{KEY}\n")), (0o400, KEY.to_owned())] {
            let (_folder, file) = file_with(mode, &text);
            assert_eq!(KeySource::File { file }.load().unwrap().address().to_string(), ADDRESS);
        }
    }

    #[test]
    fn the_file_of_solana_keygen_is_read() {
        let signer = Signer::ed25519(&[7; 32]);
        let public = signer.address().solana().unwrap();
        let listed = serde_json::to_string(&[&[7; 32][..], public.as_bytes()].concat()).unwrap();
        let (_folder, file) = file_with(0o600, &listed);
        let source = KeySource::File { file };
        assert_eq!(source.load().unwrap().address(), signer.address());
        assert!(source.load_bytes().is_err(), "no key of an EVM chain");
    }

    #[test]
    fn a_file_that_others_may_read_is_refused() {
        for mode in [0o644, 0o640, 0o604, 0o700, 0o660] {
            let (_folder, file) = file_with(mode, KEY);
            let message = message(&KeySource::File { file });
            assert!(message.contains("chmod 600"), "{message}");
        }
    }

    #[test]
    fn what_is_no_key_is_refused_without_showing_it() {
        let (_folder, file) = file_with(0o600, "hunter2-secret");
        let message = message(&KeySource::File { file });
        assert!(message.contains("32 bytes in hex") && !message.contains("hunter2"), "{message}");
    }

    #[test]
    fn a_missing_variable_is_named() {
        let source = KeySource::Env { env: "COMPUTE_FUTURES_NO_SUCH_KEY".into() };
        assert_eq!(message(&source), "environment variable COMPUTE_FUTURES_NO_SUCH_KEY is not set");
    }

    #[test]
    fn a_keystore_opens_with_its_password_only() {
        let folder = tempfile::tempdir().unwrap();
        let bytes = alloy::hex::decode(KEY).unwrap();
        let mut random = alloy::signers::k256::elliptic_curve::rand_core::OsRng;
        PrivateKeySigner::encrypt_keystore(folder.path(), &mut random, bytes, "right", Some("keystore")).unwrap();
        let keystore = folder.path().join("keystore");
        set_permissions(&keystore, Permissions::from_mode(0o600)).unwrap();
        let (_folder, password_file) = file_with(0o600, "right\n");
        let source =
            KeySource::Keystore { keystore: keystore.clone(), password_env: None, password_file: Some(password_file) };
        assert_eq!(source.load().unwrap().address().to_string(), ADDRESS);

        let (_folder, password_file) = file_with(0o600, "wrong");
        let source =
            KeySource::Keystore { keystore: keystore.clone(), password_env: None, password_file: Some(password_file) };
        assert!(message(&source).contains("check the password"));
        let source = KeySource::Keystore { keystore, password_env: None, password_file: None };
        assert!(message(&source).contains("password_env or password_file"));
    }

    #[test]
    fn the_forms_of_configuration() {
        let parse = |json| serde_json::from_value::<KeySource>(json);
        assert_eq!(parse(serde_json::json!({"env": "A"})).unwrap(), KeySource::Env { env: "A".into() });
        assert!(parse(serde_json::json!({"env": "A", "file": "b"})).is_err());
        assert!(matches!(
            parse(serde_json::json!({"keystore": "k", "password_env": "P"})).unwrap(),
            KeySource::Keystore { password_env: Some(_), .. }
        ));
    }
}
