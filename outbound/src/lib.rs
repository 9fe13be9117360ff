//! Where requests to strangers' addresses may go (T-17): https, public addresses only, resolved once and used as resolved, no
//! redirects, no proxy.

mod public;

use std::sync::Arc;
use std::time::Duration;

use reqwest::ClientBuilder;
use url::{Host, Url};

pub use public::is_public;
use public::{Lookup, PublicOnly, system};

/// Longest address that is taken.
pub const MAX_URL: usize = 2048;

/// What may be reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Reach {
    /// The public internet, over https.
    #[default]
    Public,
    /// Anything, over http too: for development and tests, by configuration.
    Anywhere,
}

impl Reach {
    /// Checks an address as it stands; names are checked when they are resolved.
    ///
    /// # Errors
    /// Says what is wrong with it.
    pub fn check(self, url: &Url) -> Result<(), &'static str> {
        let secure = url.scheme() == "https" || (self == Self::Anywhere && url.scheme() == "http");
        if url.as_str().len() > MAX_URL {
            return Err("it is longer than 2048 characters");
        }
        if !secure {
            return Err("it is not https");
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err("it holds a user name or a password");
        }
        let inside = match url.host() {
            Some(Host::Ipv4(address)) => !is_public(address.into()),
            Some(Host::Ipv6(address)) => !is_public(address.into()),
            Some(Host::Domain(_)) => false,
            None => return Err("it names no host"),
        };
        if inside && self == Self::Public { Err("its host is not on the public internet") } else { Ok(()) }
    }

    /// A client that goes no further, and follows no redirect.
    ///
    /// # Errors
    /// When TLS cannot be set up.
    pub fn client(self, timeout: Duration) -> reqwest::Result<reqwest::Client> {
        let builder = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(timeout.min(Duration::from_secs(5)))
            .timeout(timeout);
        self.guard(builder).build()
    }

    /// Keeps the client that is built there. Redirects are the caller's to bound: each goes through the same resolver, but an address
    /// in place of a name does not.
    pub fn guard(self, builder: ClientBuilder) -> ClientBuilder {
        self.guard_with(builder, system)
    }

    fn guard_with(self, builder: ClientBuilder, lookup: Lookup) -> ClientBuilder {
        // A proxy would resolve names out of sight of the guard.
        let builder = builder.no_proxy();
        match self {
            Self::Public => builder.https_only(true).dns_resolver(Arc::new(PublicOnly(lookup))),
            Self::Anywhere => builder,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::net::SocketAddr;
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn only_public_https_addresses_are_taken() {
        for url in ["https://example.com/hook?x=1", "https://8.8.8.8/", "https://[2606:4700::1111]/"] {
            assert_eq!(Reach::Public.check(&url.parse().unwrap()), Ok(()), "{url}");
        }
        for url in [
            "http://example.com/",
            "ftp://example.com/",
            "https://user:pass@example.com/",
            "https://127.0.0.1/",
            "https://2130706433/",
            "https://0x7f.1/",
            "https://[::1]/",
            "https://[::ffff:10.0.0.1]/",
            "https://169.254.169.254/latest/meta-data",
            "https://100.64.0.1/",
            "https://198.18.0.1/",
            "https://[fc00::1]/",
            "https://[2002:7f00:1::]/",
        ] {
            assert!(Reach::Public.check(&url.parse().unwrap()).is_err(), "{url}");
        }
        assert!(Reach::Anywhere.check(&"http://127.0.0.1:1/".parse().unwrap()).is_ok());
    }

    #[tokio::test]
    async fn a_name_that_resolves_inside_is_not_reached() {
        let client = Reach::Public.client(Duration::from_secs(2)).unwrap();
        let error = client.get("https://localhost:1/").send().await.unwrap_err();
        assert!(error.is_connect(), "{error:?}");
        assert!(format!("{error:?}").contains("no public address"), "{error:?}");
    }

    /// Public when it is checked, inside when it is called: each connection goes where its own lookup was allowed to, or nowhere.
    #[tokio::test]
    async fn a_name_that_changes_leads_nowhere() {
        static LOOKUPS: AtomicUsize = AtomicUsize::new(0);
        static INSIDE: OnceLock<SocketAddr> = OnceLock::new();
        let server = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let inside = *INSIDE.get_or_init(|| server.local_addr().unwrap());
        let builder = reqwest::Client::builder().timeout(Duration::from_millis(300));
        let client = Reach::Public
            .guard_with(builder, |name| {
                assert_eq!(name, "provider.example");
                let public = SocketAddr::from(([8, 8, 8, 8], 0));
                let inside = *INSIDE.get().unwrap();
                let answer = match LOOKUPS.fetch_add(1, Ordering::SeqCst) {
                    0 => vec![public],
                    1 => vec![inside, public],
                    _ => vec![inside],
                };
                Box::pin(async { Ok(answer) })
            })
            .build()
            .unwrap();
        for lookups in 1..=3 {
            let error = client.get(format!("https://provider.example:{}/", inside.port())).send().await.unwrap_err();
            assert_eq!(LOOKUPS.load(Ordering::SeqCst), lookups, "one lookup a connection");
            assert_eq!(format!("{error:?}").contains("no public address"), lookups == 3, "{error:?}");
        }
        let nobody = tokio::time::timeout(Duration::from_millis(100), server.accept()).await;
        assert!(nobody.is_err(), "nothing inside was reached");
    }
}
