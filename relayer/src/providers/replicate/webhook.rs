//! Signatures of webhooks, as the Standard Webhooks scheme has them: HMAC-SHA-256 over `id.timestamp.body`.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use reqwest::header::HeaderMap;
use sha2::Sha256;

use crate::providers::WebhookFault;

/// Seconds that a webhook's time may differ from ours.
const TOLERANCE: u64 = 300;

/// The key that a provider signs webhooks with.
#[derive(Clone)]
pub(super) struct Secret(Vec<u8>);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(<redacted>)")
    }
}

impl Secret {
    /// Reads `whsec_<base64>`.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let key = STANDARD.decode(text.strip_prefix("whsec_")?).ok()?;
        (key.len() >= 16).then_some(Self(key))
    }

    /// Checks that the body came from whoever holds the key, and lately. Compared in constant time.
    pub(super) fn verify(&self, headers: &HeaderMap, body: &[u8], now: u64) -> Result<(), WebhookFault> {
        let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).ok_or(WebhookFault::Headers);
        let (id, time, signatures) =
            (header("webhook-id")?, header("webhook-timestamp")?, header("webhook-signature")?);
        let sent: u64 = time.parse().map_err(|_| WebhookFault::Headers)?;
        if now.abs_diff(sent) > TOLERANCE {
            return Err(WebhookFault::Time);
        }
        let mac = self.mac(id, time, body).ok_or(WebhookFault::Signature)?;
        let fits = signatures.split_ascii_whitespace().filter_map(|entry| entry.strip_prefix("v1,")).any(|signature| {
            STANDARD.decode(signature).is_ok_and(|signature| mac.clone().verify_slice(&signature).is_ok())
        });
        if fits { Ok(()) } else { Err(WebhookFault::Signature) }
    }

    fn mac(&self, id: &str, time: &str, body: &[u8]) -> Option<Hmac<Sha256>> {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).ok()?;
        for part in [id.as_bytes(), b".", time.as_bytes(), b".", body] {
            mac.update(part);
        }
        Some(mac)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// The example of the Standard Webhooks specification.
    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    const BODY: &[u8] = br#"{"test": 2432232314}"#;
    const AT: u64 = 1_614_265_330;

    fn headers(signature: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert("webhook-id", "msg_p5jXN8AQM9LWM0D4loKWxJek".parse().unwrap());
        headers.insert("webhook-timestamp", AT.to_string().parse().unwrap());
        headers.insert("webhook-signature", signature.parse().unwrap());
        headers
    }

    #[test]
    fn the_published_example_verifies_and_nothing_near_it_does() {
        let secret = Secret::parse(SECRET).unwrap();
        let good = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";
        let check = |signature: &str, body: &[u8], now| secret.verify(&headers(signature), body, now);
        assert_eq!(check(good, BODY, AT + 10), Ok(()));
        assert_eq!(check(&format!("v1,AAAA v2,x {good}"), BODY, AT), Ok(()), "keys are rotated");
        assert_eq!(check(good, br#"{"test": 2432232315}"#, AT), Err(WebhookFault::Signature));
        assert_eq!(check("v1,", BODY, AT), Err(WebhookFault::Signature));
        assert_eq!(check("v1,%%%", BODY, AT), Err(WebhookFault::Signature));
        assert_eq!(check(good, BODY, AT + 301), Err(WebhookFault::Time));
        assert_eq!(check(good, BODY, AT - 301), Err(WebhookFault::Time));
        assert_eq!(secret.verify(&HeaderMap::new(), BODY, AT), Err(WebhookFault::Headers));
        let other = Secret::parse("whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA").unwrap();
        assert_eq!(other.verify(&headers(good), BODY, AT), Err(WebhookFault::Signature));
    }

    #[test]
    fn secrets_are_recognised_and_never_printed() {
        for text in ["", "whsec_", "whsec_AAAA", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_%%"] {
            assert!(Secret::parse(text).is_none(), "{text}");
        }
        assert_eq!(format!("{:?}", Secret::parse(SECRET)), "Some(Secret(<redacted>))");
    }
}
