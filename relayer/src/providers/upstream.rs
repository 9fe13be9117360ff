//! What every remote provider needs: a client that trusts the operator's URL and not the answers. Answers are bounded in time
//! and size, redirects are not followed, and passing failures are tried again while nothing came out.

use std::time::Duration;

use backon::{ExponentialBuilder, Retryable};
use bytes::Bytes;
use compute_futures_outbound::Reach;
use reqwest::{
    Client, Method, RequestBuilder, Response, StatusCode,
    header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER},
    redirect,
};
use serde_json::{Map, Value};
use url::{Host, Url};

use super::{Blob, ProviderError, Source};
use crate::config::{ConfigError, ProviderConfig};

/// A provider that asks for more patience than this is given up on for now.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(15);

/// One remote provider.
pub(super) struct Upstream {
    pub(super) name: String,
    pub(super) base_url: Url,
    client: Client,
    /// For files: strangers' addresses, and the provider's own file hosts, without its key.
    files: Client,
    reach: Reach,
    pub(super) timeout: Duration,
    retries: u32,
    pub(super) response_limit: usize,
    pub(super) file_limit: usize,
}

impl std::fmt::Debug for Upstream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Upstream")
            .field("name", &self.name)
            .field("host", &self.base_url.host_str())
            .finish_non_exhaustive()
    }
}

/// What one attempt ended with.
pub(super) struct Failure {
    error: ProviderError,
    /// Nothing came out and asking again may help.
    again: bool,
    /// When the provider wants to be asked again.
    after: Option<Duration>,
}

/// An answer's type and bytes.
pub(super) struct Body {
    pub(super) content_type: String,
    pub(super) bytes: Bytes,
}

impl Upstream {
    /// The provider as configured; its key is read from the environment.
    ///
    /// # Errors
    /// A base URL that is not https (or loopback with `allow_insecure`), a key that is not set, a header that is none.
    pub(super) fn from_config(config: &ProviderConfig) -> Result<Self, ConfigError> {
        let wrong = |text: String| ConfigError::Invalid(vec![format!("providers: {}: {text}", config.name)]);
        let mut base_url: Url = config.base_url.parse().map_err(|error| {
            wrong(format!("base_url {:?} is not a URL ({error}); write https://host/v1", config.base_url))
        })?;
        check_scheme(&base_url, config.allow_insecure).map_err(wrong)?;
        if !base_url.path().ends_with('/') {
            base_url.set_path(&format!("{}/", base_url.path()));
        }
        let mut headers = HeaderMap::new();
        for (name, value) in &config.headers {
            let name: HeaderName = name.parse().map_err(|_| wrong(format!("{name:?} is not a header name")))?;
            headers.insert(
                name,
                value.parse().map_err(|_| wrong("a header's value holds characters that headers cannot".into()))?,
            );
        }
        if !config.api_key_env.is_empty() {
            let key = secret(&config.api_key_env).ok_or_else(|| {
                wrong(format!(
                    "the environment variable {} is not set; put the API key there, or remove the provider",
                    config.api_key_env
                ))
            })?;
            let mut value: HeaderValue = format!("Bearer {key}")
                .parse()
                .map_err(|_| wrong(format!("{} holds characters that a key cannot", config.api_key_env)))?;
            value.set_sensitive(true);
            headers.insert(AUTHORIZATION, value);
        }
        let timeout = Duration::from_secs(config.timeout_seconds.max(1));
        let client = Client::builder()
            .default_headers(headers)
            .redirect(redirect::Policy::none())
            .connect_timeout(timeout.min(Duration::from_secs(10)))
            .timeout(timeout)
            .tcp_nodelay(true)
            .pool_idle_timeout(Duration::from_secs(60))
            .build()
            .map_err(|error| wrong(format!("no HTTP client: {error}")))?;
        let reach = if config.files_anywhere { Reach::Anywhere } else { Reach::Public };
        let files = reach.client(timeout).map_err(|error| wrong(format!("no HTTP client: {error}")))?;
        Ok(Self {
            name: config.name.clone(),
            base_url,
            client,
            files,
            reach,
            timeout,
            retries: config.retries,
            response_limit: config.response_limit_bytes,
            file_limit: config.file_limit_bytes,
        })
    }

    /// The URL of `path` under the base URL.
    fn url(&self, path: &str) -> Result<Url, ProviderError> {
        self.base_url.join(path).map_err(|_| self.bad("its base URL does not join"))
    }

    /// A GET of `path`, with the provider's key.
    pub(super) fn get(&self, path: &str) -> Result<RequestBuilder, ProviderError> {
        Ok(self.client.get(self.url(path)?))
    }

    /// A POST to `path`, with the provider's key.
    pub(super) fn post(&self, path: &str) -> Result<RequestBuilder, ProviderError> {
        Ok(self.client.post(self.url(path)?))
    }

    /// Sends a request and reads a JSON object.
    pub(super) async fn json(&self, request: RequestBuilder) -> Result<Map<String, Value>, ProviderError> {
        self.json_within(request, self.response_limit).await
    }

    /// Sends a request and reads a JSON object of at most `limit` bytes.
    pub(super) async fn json_within(
        &self,
        request: RequestBuilder,
        limit: usize,
    ) -> Result<Map<String, Value>, ProviderError> {
        match serde_json::from_slice(&self.whole(request, limit).await?.bytes) {
            Ok(Value::Object(object)) => Ok(object),
            _ => Err(self.bad("it is not a JSON object")),
        }
    }

    /// Sends a request and reads the whole answer, of at most `limit` bytes.
    pub(super) async fn whole(&self, request: RequestBuilder, limit: usize) -> Result<Body, ProviderError> {
        let attempts = (|| self.read_once(&request, limit))
            .retry(self.backoff())
            .when(|failure: &Failure| failure.again)
            .adjust(patience);
        self.in_time(attempts).await
    }

    /// Sends a request and hands over the answer once its head is there.
    pub(super) async fn head(&self, request: RequestBuilder) -> Result<Response, ProviderError> {
        let attempts =
            (|| self.send(&request)).retry(self.backoff()).when(|failure: &Failure| failure.again).adjust(patience);
        self.in_time(attempts).await
    }

    fn backoff(&self) -> ExponentialBuilder {
        ExponentialBuilder::default()
            .with_min_delay(Duration::from_millis(200))
            .with_max_delay(Duration::from_secs(3))
            .with_jitter()
            .with_max_times(self.retries as usize)
    }

    /// However many attempts: the whole takes no longer than one may.
    async fn in_time<T>(&self, attempts: impl Future<Output = Result<T, Failure>>) -> Result<T, ProviderError> {
        match tokio::time::timeout(self.timeout, attempts).await {
            Ok(result) => result.map_err(|failure| failure.error),
            Err(_) => Err(self.late()),
        }
    }

    async fn read_once(&self, request: &RequestBuilder, limit: usize) -> Result<Body, Failure> {
        let response = self.send(request).await?;
        self.read(response, limit).await
    }

    async fn send(&self, request: &RequestBuilder) -> Result<Response, Failure> {
        // Every body of ours is bytes in memory and can be sent again.
        let request = request.try_clone().ok_or_else(|| self.final_failure("its request cannot be repeated"))?;
        let (client, request) = request.build_split();
        let request = request.map_err(|_| self.final_failure("its request cannot be built"))?;
        let asks = request.method() == Method::GET;
        let response = client.execute(request).await.map_err(|error| self.transport(&error))?;
        if response.status().is_success() { Ok(response) } else { Err(self.refusal(&response, asks)) }
    }

    async fn read(&self, mut response: Response, limit: usize) -> Result<Body, Failure> {
        let content_type = content_type(response.headers());
        let mut bytes = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| {
            // Output has begun: asking again could run the job twice.
            let error = if error.is_timeout() { self.late() } else { self.bad("it broke off") };
            Failure { error, again: false, after: None }
        })? {
            if bytes.len() + chunk.len() > limit {
                return Err(self.final_failure(&format!("it is larger than {limit} bytes")));
            }
            bytes.extend_from_slice(&chunk);
        }
        Ok(Body { content_type, bytes: bytes.into() })
    }

    /// Whether an address lies at the provider itself, where `files_anywhere` lets tests keep files.
    pub(super) fn is_own_for_tests(&self, url: &Url) -> bool {
        self.reach == Reach::Anywhere && url.origin() == self.base_url.origin()
    }

    /// Fetches a file that this provider made. Never with its key: who chose the address is not known for certain.
    pub(super) async fn fetch_output(&self, url: &Url) -> Result<Blob, ProviderError> {
        let unusable = |reason| self.bad(&format!("its file's address cannot be used: {reason}"));
        self.reach.check(url).map_err(unusable)?;
        let body = self.whole(self.files.get(url.clone()), self.file_limit).await?;
        if body.bytes.is_empty() {
            return Err(self.bad("its file is empty"));
        }
        Ok(typed(body))
    }

    /// A file that comes with a job: as it is, or fetched from a stranger's address.
    pub(super) async fn source(&self, source: &Source) -> Result<Blob, ProviderError> {
        match source {
            Source::Inline(blob) => Ok(blob.clone()),
            Source::Url(url) => fetch_source(&self.files, self.reach, url, self.file_limit).await,
        }
    }

    fn transport(&self, error: &reqwest::Error) -> Failure {
        let (error, again) = if error.is_connect() {
            (self.unavailable("no connection"), true)
        } else if error.is_timeout() {
            (self.late(), false)
        } else {
            // The request may have arrived: it is not sent twice.
            (self.unavailable("the connection broke"), false)
        };
        Failure { error, again, after: None }
    }

    /// `asks`: the request only reads. One that makes something is sent again only when it was surely not taken: a gateway in front of
    /// the provider answers 502 and 504, and a server 500, to what is being worked on, or done.
    fn refusal(&self, response: &Response, asks: bool) -> Failure {
        let status = response.status();
        let (error, again) = match status.as_u16() {
            // About the operator's account or settings there, not about the request.
            401..=404 => (
                self.unavailable(&format!("it answers {status}: check its key, its credit and the model's name there")),
                false,
            ),
            408 | 429 | 503 => (self.unavailable(&format!("it answers {status}")), true),
            500..=599 => (self.unavailable(&format!("it answers {status}")), asks),
            300..=399 => (self.bad("it is a redirect"), false),
            code => (ProviderError::Refused { provider: self.name.clone(), status: code }, false),
        };
        let after = retry_after(response.headers(), status);
        Failure { error, again: again && after.is_none_or(|after| after <= MAX_RETRY_AFTER), after }
    }

    fn final_failure(&self, reason: &str) -> Failure {
        Failure { error: self.bad(reason), again: false, after: None }
    }

    pub(super) fn bad(&self, reason: &str) -> ProviderError {
        ProviderError::BadAnswer { provider: self.name.clone(), reason: reason.into() }
    }

    pub(super) fn failed(&self, reason: &str) -> ProviderError {
        ProviderError::Failed { provider: self.name.clone(), reason: reason.into() }
    }

    pub(super) fn unavailable(&self, reason: &str) -> ProviderError {
        ProviderError::Unavailable { provider: self.name.clone(), reason: reason.into() }
    }

    pub(super) fn late(&self) -> ProviderError {
        ProviderError::Timeout { provider: self.name.clone(), seconds: self.timeout.as_secs() }
    }
}

/// As long as the provider asks for, where attempts are left.
fn patience(failure: &Failure, pause: Option<Duration>) -> Option<Duration> {
    pause.map(|pause| failure.after.map_or(pause, |after| after.max(pause)))
}

/// A file at a stranger's address. Whatever is wrong with it is wrong with the request, not with a provider.
pub(super) async fn fetch_source(
    client: &Client,
    reach: Reach,
    url: &Url,
    limit: usize,
) -> Result<Blob, ProviderError> {
    let unusable = |reason: &str| ProviderError::File { reason: reason.to_owned() };
    reach.check(url).map_err(unusable)?;
    let broken = |error: reqwest::Error| unusable(if error.is_timeout() { "it is too slow" } else { "no connection" });
    let mut response = client.get(url.clone()).send().await.map_err(broken)?;
    if !response.status().is_success() {
        return Err(unusable(&format!("it answers {}", response.status())));
    }
    let content_type = content_type(response.headers());
    let mut bytes = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(broken)? {
        if bytes.len() + chunk.len() > limit {
            return Err(unusable(&format!("it is larger than {limit} bytes")));
        }
        bytes.extend_from_slice(&chunk);
    }
    if bytes.is_empty() {
        return Err(unusable("it is empty"));
    }
    Ok(typed(Body { content_type, bytes: bytes.into() }))
}

/// What the bytes are goes before what is said about them.
pub(super) fn typed(body: Body) -> Blob {
    let seen = crate::catalog::parse::sniff(&body.bytes).filter(|seen| *seen != "text/plain");
    let content_type = match (seen, body.content_type.is_empty()) {
        (Some(seen), _) => seen.to_owned(),
        (None, false) => body.content_type,
        (None, true) => "application/octet-stream".to_owned(),
    };
    Blob { content_type, bytes: body.bytes }
}

/// The MIME type without parameters, lower case; empty when none is stated.
fn content_type(headers: &HeaderMap) -> String {
    let stated = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    stated.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

/// `Retry-After` in seconds; dates are not believed, clocks differ.
fn retry_after(headers: &HeaderMap, status: StatusCode) -> Option<Duration> {
    let waits = matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE);
    let seconds = headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    waits.then(|| Duration::from_secs(seconds))
}

/// A secret from the environment; blank counts as not set.
pub(super) fn secret(variable: &str) -> Option<String> {
    let value = std::env::var(variable).ok()?;
    let value = value.trim();
    (!value.is_empty()).then(|| value.to_owned())
}

/// https, or http to this very machine when the operator says so.
fn check_scheme(url: &Url, allow_insecure: bool) -> Result<(), String> {
    let loopback = match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    };
    if !url.username().is_empty() || url.password().is_some() {
        return Err("base_url holds a user or a password; put the key into the variable named by api_key_env".into());
    }
    match url.scheme() {
        "https" => Ok(()),
        "http" if loopback && allow_insecure => Ok(()),
        "http" if loopback => Err(format!("base_url {url} is plain http; set allow_insecure = true if that is meant")),
        _ => Err(format!("base_url {url} is not https; keys and prompts would travel in the open")),
    }
}
