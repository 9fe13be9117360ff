//! Where requests to strangers' addresses may go (T-17): https, public addresses only, resolved once and used as resolved, no
//! redirects, no proxy.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use tokio::net::lookup_host;
use url::{Host, Url};

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

    /// A client that goes no further.
    ///
    /// # Errors
    /// When TLS cannot be set up.
    pub fn client(self, timeout: Duration) -> reqwest::Result<reqwest::Client> {
        self.client_with(timeout, |name| Box::pin(async move { Ok(lookup_host((name, 0)).await?.collect()) }))
    }

    fn client_with(self, timeout: Duration, lookup: Lookup) -> reqwest::Result<reqwest::Client> {
        let builder = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            // A proxy would resolve names out of sight of the guard.
            .no_proxy()
            .connect_timeout(timeout.min(Duration::from_secs(5)))
            .timeout(timeout);
        match self {
            Self::Public => builder.https_only(true).dns_resolver(Arc::new(PublicOnly(lookup))).build(),
            Self::Anywhere => builder.build(),
        }
    }
}

/// How names are looked up.
type Lookup = fn(String) -> BoxFuture<'static, io::Result<Vec<SocketAddr>>>;

/// A resolver that knows public addresses only. The connection uses the addresses it answers, so a name cannot resolve to
/// something else between check and use.
struct PublicOnly(Lookup);

impl Resolve for PublicOnly {
    fn resolve(&self, name: Name) -> Resolving {
        let found = self.0(name.as_str().to_owned());
        Box::pin(async move {
            let mut found = found.await?;
            found.retain(|address| is_public(address.ip()));
            if found.is_empty() {
                return Err(io::Error::other("the host has no public address").into());
            }
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}

/// Whether an address belongs to the public internet.
#[must_use]
pub fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => is_public_v4(v4),
        IpAddr::V6(v6) => is_public_v6(v6),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    !(address.is_private()
        || address.is_loopback()
        || address.is_link_local()
        || address.is_multicast()
        || address.is_documentation()
        || a == 0
        || a >= 240
        || (a == 100 && (64..128).contains(&b)) // carrier-grade NAT
        || (a == 192 && b == 0 && c == 0) // protocol assignments
        || (a == 192 && b == 88 && c == 99) // 6to4 relays
        || (a == 198 && (b == 18 || b == 19))) // benchmarks
}

/// Global unicast only, and nothing that tunnels to an IPv4 address.
fn is_public_v6(address: Ipv6Addr) -> bool {
    if let Some(v4) = address.to_ipv4_mapped() {
        return is_public_v4(v4);
    }
    let [a, b, ..] = address.segments();
    let global_unicast = a & 0xe000 == 0x2000;
    let tunnel = a == 0x2002 || (a == 0x2001 && b == 0);
    let documentation = (a == 0x2001 && b == 0xdb8) || (a == 0x3fff && b < 0x1000);
    global_unicast && !tunnel && !documentation
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
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
        let client = Reach::Public
            .client_with(Duration::from_millis(300), |name| {
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
