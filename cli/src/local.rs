//! What serves on this machine alone, and spends money: whoever asks must hold its key, and no page in a browser may ask at all.

use std::net::Ipv4Addr;

use axum::http::{HeaderMap, header};
use compute_futures_protocol::{B256, keccak256};
use tokio::net::TcpListener;

use crate::failure::{Failure, Outcome};

/// Variable with a key to use instead of a fresh one.
pub(crate) const KEY_VARIABLE: &str = "COMPUTE_FUTURES_LOCAL_KEY";

/// Who may ask. The key is of this server alone: it buys nothing anywhere else, and has nothing to do with the wallet.
#[derive(Debug, Clone)]
pub(crate) struct Guard {
    /// What callers send as `Authorization: Bearer`.
    pub(crate) key: String,
    hash: B256,
}

/// Why a caller is sent away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stranger {
    /// Under another name (DNS rebinding), or from a page of another site.
    Elsewhere,
    /// Without the key.
    NoKey,
}

impl Guard {
    /// With the key of the environment, or a fresh one.
    ///
    /// # Errors
    /// When the key given is too short to be one.
    pub(crate) fn new() -> Outcome<Self> {
        let key = match std::env::var(KEY_VARIABLE) {
            Ok(key) if key.len() >= 16 && key.bytes().all(|b| b.is_ascii_graphic()) => key,
            Ok(_) => {
                let error = format!("{KEY_VARIABLE} is not 16 or more printable characters");
                return Err(Failure::new("bad_local_key", error, "make a longer one, or leave it out for a fresh one"));
            }
            Err(_) => format!("cf-{}", hex::encode(rand::random::<[u8; 20]>())),
        };
        Ok(Self { hash: keccak256(&key), key })
    }

    /// Lets a caller in.
    ///
    /// # Errors
    /// Who else it is.
    pub(crate) fn check(&self, headers: &HeaderMap) -> Result<(), Stranger> {
        let text = |name| headers.get(name).map(|value| value.to_str().unwrap_or_default());
        if !text(header::HOST).is_some_and(loopback) {
            return Err(Stranger::Elsewhere);
        }
        if let Some(origin) = text(header::ORIGIN)
            && !origin.split_once("://").is_some_and(|(_, host)| loopback(host))
        {
            return Err(Stranger::Elsewhere);
        }
        let key = text(header::AUTHORIZATION).and_then(|value| value.strip_prefix("Bearer "));
        // Hashes are compared, so that the time it takes says nothing about the key.
        if key.is_some_and(|key| keccak256(key.trim()) == self.hash) { Ok(()) } else { Err(Stranger::NoKey) }
    }
}

/// `127.0.0.1`, `localhost`, `[::1]`, with any port.
fn loopback(authority: &str) -> bool {
    let host = match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|b| b.is_ascii_digit()) => host,
        _ => authority,
    };
    ["127.0.0.1", "localhost", "[::1]"].contains(&host)
}

/// A socket that other machines cannot reach.
///
/// # Errors
/// When the port is taken.
pub(crate) async fn bind(port: u16) -> Outcome<TcpListener> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await.map_err(|error| {
        Failure::new(
            "port",
            format!("127.0.0.1:{port}: {error}"),
            "name another one with --port, or 0 for any free one",
        )
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn lets_in_whoever_is_here_and_holds_the_key() {
        let guard = Guard::new().unwrap();
        let check = |host: &str, origin: Option<&str>, key: Option<&str>| {
            let mut headers = HeaderMap::new();
            headers.insert(header::HOST, host.parse().unwrap());
            if let Some(origin) = origin {
                headers.insert(header::ORIGIN, origin.parse().unwrap());
            }
            if let Some(key) = key {
                headers.insert(header::AUTHORIZATION, format!("Bearer {key}").parse().unwrap());
            }
            guard.check(&headers)
        };
        let key = Some(guard.key.as_str());
        for host in ["127.0.0.1:4030", "localhost:4030", "localhost", "[::1]:1"] {
            assert_eq!(check(host, None, key), Ok(()), "{host}");
            assert_eq!(check(host, Some("http://localhost:3000"), key), Ok(()), "{host}");
        }
        for host in ["evil.example", "127.0.0.1.evil.example:4030", "localhost.evil.example", "10.0.0.1:4030", ""] {
            assert_eq!(check(host, None, key), Err(Stranger::Elsewhere), "{host}");
        }
        for origin in ["https://evil.example", "null", "http://localhost.evil.example", "file://"] {
            assert_eq!(check("127.0.0.1:4030", Some(origin), key), Err(Stranger::Elsewhere), "{origin}");
        }
        for wrong in [None, Some(""), Some("sk-another")] {
            assert_eq!(check("127.0.0.1:4030", None, wrong), Err(Stranger::NoKey), "{wrong:?}");
        }
        assert!(guard.key.len() > 40, "a fresh key cannot be guessed");
        assert_ne!(guard.key, Guard::new().unwrap().key);
    }
}
