//! The one verifier in front of all operations.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody as _, to_bytes};
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::request::Parts;
use http::{HeaderName, HeaderValue};
use picket_aws::error::ApiErrorCode;
use picket_aws::service::Service;
use picket_aws::sigv4::{self, BadSignature, Claim};
use tokio::sync::Semaphore;

use crate::error::{ApiError, in_form_of};
use crate::keys::random;
use crate::state::{Api, ApiState, Caller};

/// The largest body of any operation: a policy document of the most characters that the model permits, all escaped.
pub(crate) const BODY_BYTES_MAX: usize = 3 << 20;

/// Bodies up to this size are read without waiting for a place.
const SMALL_BODY_BYTES_MAX: u64 = 64 << 10;
/// Larger bodies that are read at once: a key's id is no secret, so whoever knows one can make us read, before it turns out
/// that the signature is not by that key.
const N_LARGE_BODIES_MAX: usize = 16;

/// What requests are let through by.
pub(crate) struct Gate {
    api: Api,
    body_time_max: Duration,
    large_bodies: Semaphore,
}

impl Gate {
    pub(crate) fn new(api: Api, body_time_max: Duration) -> Self {
        Self {
            api,
            body_time_max,
            large_bodies: Semaphore::new(N_LARGE_BODIES_MAX),
        }
    }
}

/// The id of a request, which its answer carries too: in the extensions of a request that passed.
#[derive(Clone, Debug)]
pub(crate) struct RequestId(pub(crate) String);

impl RequestId {
    pub(crate) fn new() -> Self {
        // Without randomness the id says nothing, and the request is served all the same.
        let bytes = random::<16>().unwrap_or_default();
        let hex = picket_aws::percent::hex(&bytes);
        Self([&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-"))
    }
}

/// Lets a request through that is signed with a key of ours, with its [`Caller`] and its body in the extensions, and gives
/// every answer an id.
pub(crate) async fn guard(State(gate): State<Arc<Gate>>, request: Request, next: Next) -> Response {
    let (parts, body) = request.into_parts();
    let method = parts.method.clone();
    let path = parts.uri.path().to_owned();
    let id = RequestId::new();
    let (service, response) = match admit(&gate, parts, body).await {
        Ok((service, mut request)) => {
            request.extensions_mut().insert(id.clone());
            (service, next.run(request).await)
        }
        Err(refusal) => (service_at(&path), refusal.into_response()),
    };
    let mut response = in_form_of(service, &id.0, response);
    tracing::debug!(%method, path, status = response.status().as_u16(), request_id = id.0, "answered");
    if let Ok(value) = HeaderValue::from_str(&id.0) {
        response
            .headers_mut()
            .insert(HeaderName::from_static("x-amzn-requestid"), value);
    }
    response
}

/// Whose clients can read a refusal, when nothing in the request can be believed: only the query protocol uses the path `/`.
fn service_at(path: &str) -> Service {
    if path == "/" { Service::Sns } else { Service::Iot }
}

async fn admit(gate: &Gate, mut parts: Parts, body: Body) -> Result<(Service, Request), ApiError> {
    let api = &gate.api;
    // The claim is read before the body: who has no key of ours makes us hold nothing.
    let claim = sigv4::claim(&signed_part(&parts, &headers(&parts), b""))?;
    let secret = api
        .keys
        .secret_of(&api.db, claim.access_key_id())
        .await
        .map_err(ApiError::internal)?;
    let secret = secret.ok_or(BadSignature::UnknownKey)?;
    let body = tokio::time::timeout(gate.body_time_max, read(gate, body))
        .await
        .map_err(|_| {
            let message = format!(
                "request body took more than {} s to arrive",
                gate.body_time_max.as_secs()
            );
            ApiError::new(ApiErrorCode::RequestTimeoutException, message)
        })??;
    check(api, &parts, &claim, &secret, &body)?;
    parts.extensions.insert(Caller {
        access_key_id: claim.access_key_id().to_owned(),
        region: claim.region().to_owned(),
        service: claim.service(),
    });
    parts.extensions.insert(body);
    Ok((claim.service(), Request::from_parts(parts, Body::empty())))
}

async fn read(gate: &Gate, body: Body) -> Result<Bytes, ApiError> {
    let is_small = body
        .size_hint()
        .upper()
        .is_some_and(|size| size <= SMALL_BODY_BYTES_MAX);
    let _place = if is_small {
        None
    } else {
        Some(gate.large_bodies.acquire().await.map_err(ApiError::internal)?)
    };
    to_bytes(body, BODY_BYTES_MAX).await.map_err(|_| {
        let message = format!("request body is incomplete or larger than {BODY_BYTES_MAX} bytes");
        ApiError::new(ApiErrorCode::RequestEntityTooLargeException, message)
    })
}

fn check(api: &ApiState, parts: &Parts, claim: &Claim, secret: &str, body: &Bytes) -> Result<(), ApiError> {
    Ok(claim.check(&signed_part(parts, &headers(parts), body), secret, api.now())?)
}

/// Header names and values as text. A value that is not printable ASCII is as good as absent, for signatures as well as for
/// operations: no operation takes one.
pub(crate) fn headers(parts: &Parts) -> Vec<(&str, &str)> {
    parts
        .headers
        .iter()
        .filter_map(|(name, value)| Some((name.as_str(), value.to_str().ok()?)))
        .collect()
}

fn signed_part<'a>(parts: &'a Parts, headers: &'a [(&'a str, &'a str)], body: &'a [u8]) -> sigv4::Request<'a> {
    sigv4::Request {
        method: parts.method.as_str(),
        path: parts.uri.path(),
        query: parts.uri.query().unwrap_or_default(),
        headers,
        body,
    }
}
