//! Signed calls of the API.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use picket_aws::call::Call;
use reqwest::Url;
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls_platform_verifier::BuilderVerifierExt as _;
use serde_json::Value;

use crate::clock;
use crate::credentials::Access;

const CONNECT_TIME_MAX: Duration = Duration::from_secs(10);
const CALL_TIME_MAX: Duration = Duration::from_secs(60);
const ANSWER_BYTES_MAX: usize = 32 * 1024 * 1024;
/// With 250 on a page this is 50,000 entries.
const N_PAGES_MAX: usize = 200;
/// The same for who imports an account: a million entries.
const N_PAGES_MAX_PATIENT: usize = 4000;
/// How often who imports an account tries again after `ThrottlingException`: AWS lets most calls through ten times a second.
const N_ATTEMPTS_PATIENT: u32 = 10;
const PAUSE_FIRST: Duration = Duration::from_millis(200);
const PAUSE_MAX: Duration = Duration::from_secs(10);
const N_ON_PAGE: &str = "250";

/// The server, as seen by the holder of a key.
#[derive(Debug)]
pub(crate) struct Client {
    http: reqwest::Client,
    base: Url,
    access: Access,
    n_attempts_max: u32,
    n_pages_max: usize,
}

/// Why a call has no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CallError {
    #[error("endpoint is {found:?}, expected an address such as http://127.0.0.1:8080")]
    Endpoint { found: String },
    #[error("cannot read certificates from {}", path.display())]
    Certificates {
        path: PathBuf,
        #[source]
        source: rustls::pki_types::pem::Error,
    },
    #[error("cannot use TLS")]
    Tls(#[source] rustls::Error),
    #[error("cannot make HTTP requests")]
    Http(#[source] reqwest::Error),
    #[error("cannot reach the server at {endpoint}")]
    Unreachable {
        endpoint: String,
        #[source]
        source: reqwest::Error,
    },
    #[error("{code}: {message}")]
    Refused { code: String, message: String },
    #[error("the answer has more than {ANSWER_BYTES_MAX} bytes")]
    TooLarge,
    #[error("the answer of {endpoint} is not JSON: is that the API's address?")]
    NotJson {
        endpoint: String,
        #[source]
        source: serde_json::Error,
    },
}

/// How a list's pages follow each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Paging {
    /// `nextToken` and `maxResults`.
    Token,
    /// `nextMarker`, `marker` and `pageSize`.
    Marker,
    /// `NextToken` in a form.
    Form,
    /// All at once.
    Whole,
}

impl Paging {
    /// The member that an answer has when there are more pages.
    pub(crate) const fn token(self) -> &'static str {
        match self {
            Self::Token | Self::Whole => "nextToken",
            Self::Marker => "nextMarker",
            Self::Form => "NextToken",
        }
    }

    fn first(self, call: &Call) -> Call {
        match self {
            Self::Token => call.clone().query("maxResults", N_ON_PAGE),
            Self::Marker => call.clone().query("pageSize", N_ON_PAGE),
            Self::Form | Self::Whole => call.clone(),
        }
    }

    fn next(self, first: &Call, token: &str) -> Option<Call> {
        match self {
            Self::Token => Some(first.clone().query("nextToken", token)),
            Self::Marker => Some(first.clone().query("marker", token)),
            Self::Form => Some(first.clone().parameter("NextToken", token)),
            Self::Whole => None,
        }
    }
}

impl Client {
    /// Connects to nothing yet.
    ///
    /// # Errors
    /// The address is none, or the certificates to trust cannot be used.
    pub(crate) fn new(access: Access) -> Result<Self, CallError> {
        let base = parse_endpoint(&access.endpoint)?;
        let http = reqwest::Client::builder()
            .tls_backend_preconfigured(tls(&base, access.ca_file.as_deref())?)
            .connect_timeout(CONNECT_TIME_MAX)
            .timeout(CALL_TIME_MAX)
            // A signature is for one server, and the API never points to another one.
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(concat!("picket/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(CallError::Http)?;
        Ok(Self {
            http,
            base,
            access,
            n_attempts_max: 1,
            n_pages_max: N_PAGES_MAX,
        })
    }

    /// One that tries again when it is told that it asks too often, and reads longer lists.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub(crate) fn patient(access: Access) -> Result<Self, CallError> {
        Ok(Self {
            n_attempts_max: N_ATTEMPTS_PATIENT,
            n_pages_max: N_PAGES_MAX_PATIENT,
            ..Self::new(access)?
        })
    }

    /// Calls; `{}` when the answer is empty.
    ///
    /// # Errors
    /// The server cannot be reached, or refuses.
    pub(crate) async fn call(&self, call: &Call) -> Result<Value, CallError> {
        let mut pause = PAUSE_FIRST;
        for _ in 1..self.n_attempts_max {
            match self.attempt(call).await {
                Err(CallError::Refused { code, .. }) if is_of_rate(&code) => {
                    tokio::time::sleep(pause).await;
                    pause = PAUSE_MAX.min(pause * 2);
                }
                answered => return answered,
            }
        }
        self.attempt(call).await
    }

    async fn attempt(&self, call: &Call) -> Result<Value, CallError> {
        let endpoint = || self.access.endpoint.clone();
        let unreachable = |source: reqwest::Error| CallError::Unreachable {
            endpoint: endpoint(),
            source: source.without_url(),
        };
        let url = self
            .base
            .join(&call.target())
            .map_err(|_| CallError::Endpoint { found: endpoint() })?;
        let method = reqwest::Method::from_bytes(call.method().as_bytes()).unwrap_or_default();
        let call = match &self.access.session_token {
            Some(token) => &call.clone().header("x-amz-security-token", token),
            None => call,
        };
        let headers = call.signed(
            &authority(&self.base),
            &self.access.credentials,
            &self.access.region,
            clock::now(),
        );
        let mut request = self.http.request(method, url).body(call.body().to_vec());
        for (name, value) in headers {
            request = request.header(name, value);
        }
        let mut response = request.send().await.map_err(unreachable)?;
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(unreachable)? {
            if ANSWER_BYTES_MAX < body.len() + chunk.len() {
                return Err(CallError::TooLarge);
            }
            body.extend_from_slice(&chunk);
        }
        if !response.status().is_success() {
            return Err(refusal(&response, &body));
        }
        if body.is_empty() {
            return Ok(Value::Object(serde_json::Map::new()));
        }
        if let Some(answer) = xml(&body) {
            return Ok(answer);
        }
        serde_json::from_slice(&body).map_err(|source| CallError::NotJson {
            endpoint: endpoint(),
            source,
        })
    }

    /// The region that calls are signed for.
    pub(crate) fn region(&self) -> &str {
        &self.access.region
    }

    /// Calls for all pages, and puts their lists `member` into one answer. The token stays in it when there are more pages
    /// than are fetched.
    ///
    /// # Errors
    /// As [`Self::call`].
    pub(crate) async fn list(&self, call: &Call, paging: Paging, member: &'static str) -> Result<Value, CallError> {
        let first = paging.first(call);
        let mut answer = self.call(&first).await?;
        // An empty list looks like an empty text in XML.
        if paging == Paging::Form && answer[member] == "" {
            answer[member] = Value::Array(Vec::new());
        }
        for _ in 1..self.n_pages_max {
            let next = answer[paging.token()]
                .as_str()
                .and_then(|token| paging.next(&first, token));
            let Some(next) = next else { break };
            let mut page = self.call(&next).await?;
            let items = page[member].as_array_mut().map(std::mem::take).unwrap_or_default();
            if let Some(all) = answer[member].as_array_mut() {
                all.extend(items);
            }
            match (page[paging.token()].take(), answer.as_object_mut()) {
                (Value::Null, Some(answer)) => drop(answer.remove(paging.token())),
                (token, Some(answer)) => drop(answer.insert(paging.token().to_owned(), token)),
                (_, None) => {}
            }
        }
        Ok(answer)
    }
}

fn is_of_rate(code: &str) -> bool {
    matches!(
        code,
        "ThrottlingException" | "TooManyRequestsException" | "ServiceUnavailableException"
    )
}

fn parse_endpoint(endpoint: &str) -> Result<Url, CallError> {
    let bad = || CallError::Endpoint {
        found: endpoint.to_owned(),
    };
    let url = Url::parse(endpoint).map_err(|_| bad())?;
    // What is signed is the path that arrives: a proxy in front must not add one.
    let is_bare = url.path() == "/" && url.query().is_none() && url.username().is_empty() && url.password().is_none();
    (matches!(url.scheme(), "http" | "https") && url.has_host() && is_bare)
        .then_some(url)
        .ok_or_else(bad)
}

/// What goes into the `host` header: the port only when it is not the scheme's own.
fn authority(base: &Url) -> String {
    let host = base.host_str().unwrap_or_default();
    base.port()
        .map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

/// An answer of the query protocol.
fn xml(body: &[u8]) -> Option<Value> {
    let text = str::from_utf8(body).ok()?;
    picket_aws::xml::read(text)
}

fn refusal(response: &reqwest::Response, body: &[u8]) -> CallError {
    if let Some(error) = xml(body) {
        return CallError::Refused {
            code: error["Code"].as_str().unwrap_or_default().to_owned(),
            message: error["Message"].as_str().unwrap_or_default().to_owned(),
        };
    }
    let answer: Value = serde_json::from_slice(body).unwrap_or_default();
    let code = response
        .headers()
        .get(picket_aws::error::ERROR_TYPE_HEADER)
        .and_then(|value| value.to_str().ok());
    CallError::Refused {
        code: code.map_or_else(
            || response.status().to_string(),
            |code| code.split(':').next().unwrap_or(code).to_owned(),
        ),
        message: answer["message"]
            .as_str()
            .unwrap_or("the server gives no reason")
            .to_owned(),
    }
}

/// The system's certificates are looked up only when they are needed: a small container has none.
fn tls(base: &Url, ca_file: Option<&Path>) -> Result<rustls::ClientConfig, CallError> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(CallError::Tls)?;
    let mut roots = RootCertStore::empty();
    if base.scheme() == "http" {
        return Ok(builder.with_root_certificates(roots).with_no_client_auth());
    }
    let Some(path) = ca_file else {
        return Ok(builder
            .with_platform_verifier()
            .map_err(CallError::Tls)?
            .with_no_client_auth());
    };
    let failed = |source| CallError::Certificates {
        path: path.to_owned(),
        source,
    };
    let pem = fs::read(path).map_err(|err: io::Error| failed(rustls::pki_types::pem::Error::Io(err)))?;
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        roots.add(certificate.map_err(failed)?).map_err(CallError::Tls)?;
    }
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_are_bare_addresses() {
        for (endpoint, expected) in [
            ("http://127.0.0.1:8080", Some("127.0.0.1:8080")),
            ("http://127.0.0.1:8080/", Some("127.0.0.1:8080")),
            ("https://picket.example", Some("picket.example")),
            ("https://picket.example:443", Some("picket.example")),
            ("http://[::1]:8080", Some("[::1]:8080")),
            ("127.0.0.1:8080", None),
            ("localhost:8080", None),
            ("ftp://127.0.0.1", None),
            ("http://127.0.0.1/api", None),
            ("http://key:secret@127.0.0.1", None),
            ("", None),
        ] {
            assert_eq!(
                parse_endpoint(endpoint).ok().map(|url| authority(&url)).as_deref(),
                expected,
                "{endpoint}"
            );
        }
    }
}
