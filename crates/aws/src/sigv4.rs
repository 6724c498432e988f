//! Signature version 4: sign, and verify what was signed, whether the signature stands in the header `authorization` or in
//! the query of a presigned URL.
//!
//! The canonical request is that of every AWS service but S3: the path as it stands in the request line is encoded once
//! more. Unlike AWS's own clients this never removes `.` and `..` segments or doubled slashes: one signature is good for
//! one path, letter by letter.
//!
//! What could be read in two ways is refused: both forms at once, a part of a signature twice, an `x-amz` header that is
//! not signed, an `X-Amz` parameter beside a signature in the header. Of other headers that stand several times, the values
//! are signed in their order, joined by commas; of other parameters, each by itself, so that they are told apart by whoever
//! reads them. `UNSIGNED-PAYLOAD` is never taken, over TLS neither: no client of these services needs it, and what ends TLS
//! on the way could change the body.

mod canonical;
mod claim;

use std::fmt;

use hmac::Mac as _;
use picket_model::time::Timestamp;

use crate::percent;
use canonical::{Scope, amz_date, header, sha256_hex};

pub use claim::{Claim, claim};

const ALGORITHM: &str = "AWS4-HMAC-SHA256";
const SKEW_MILLIS_MAX: i64 = 5 * 60 * 1000;
/// How long a presigned request may be good: a week, as on AWS.
const EXPIRES_SECS_MAX: u32 = 604_800;

/// Headers that clients leave out of signatures because proxies change them.
const NEVER_SIGNED: [&str; 5] = ["authorization", "connection", "expect", "user-agent", "x-amzn-trace-id"];

/// An access key with its secret.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// Names the key; not secret.
    pub access_key_id: String,
    /// What signatures are made with.
    pub secret_access_key: String,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials")
            .field("access_key_id", &self.access_key_id)
            .finish_non_exhaustive()
    }
}

/// A request as it goes over the wire.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// `GET`, `POST`, ...
    pub method: &'a str,
    /// The path of the request line, percent-encoded, beginning with `/`.
    pub path: &'a str,
    /// What follows `?` in the request line; empty when there is none.
    pub query: &'a str,
    /// Header names in any case, with values. `host` must be among them.
    pub headers: &'a [(&'a str, &'a str)],
    /// The body; empty when there is none.
    pub body: &'a [u8],
}

/// Signs a request: answers the headers `x-amz-date` and `authorization`, which the caller adds to it.
/// Every header given is signed, except those that proxies change.
pub fn sign(
    request: &Request<'_>,
    credentials: &Credentials,
    region: &str,
    service: &str,
    at: Timestamp,
) -> Vec<(&'static str, String)> {
    let date = amz_date(at);
    let mut headers: Vec<(&str, &str)> = request
        .headers
        .iter()
        .copied()
        .filter(|(name, _)| !name.eq_ignore_ascii_case("x-amz-date"))
        .collect();
    headers.push(("x-amz-date", &date));
    let signed = names_to_sign(&headers);
    let scope = Scope::new(&date, region, service);
    let payload_hash = header(&headers, "x-amz-content-sha256").unwrap_or_else(|| sha256_hex(request.body));
    let canonical = canonical::request(request, &headers, &signed, &payload_hash);
    let signature = canonical::mac(&credentials.secret_access_key, &scope, &date, &canonical);
    let authorization = format!(
        "{ALGORITHM} Credential={}/{scope}, SignedHeaders={}, Signature={}",
        credentials.access_key_id,
        signed.join(";"),
        percent::hex(&signature.finalize().into_bytes())
    );
    vec![("x-amz-date", date), ("authorization", authorization)]
}

/// Signs a request in its query: answers the query to send, with which the request is good for `expires_secs` from `at`
/// on, 1 to 604800. Every header given is signed, except those that proxies change.
pub fn presign(
    request: &Request<'_>,
    credentials: &Credentials,
    region: &str,
    service: &str,
    at: Timestamp,
    expires_secs: u32,
) -> String {
    let date = amz_date(at);
    let scope = Scope::new(&date, region, service);
    let signed = names_to_sign(request.headers);
    let credential = format!("{}/{scope}", credentials.access_key_id);
    let mut query = String::from(request.query);
    for (name, value) in [
        ("X-Amz-Algorithm", ALGORITHM),
        ("X-Amz-Credential", &credential),
        ("X-Amz-Date", &date),
        ("X-Amz-Expires", &expires_secs.to_string()),
        ("X-Amz-SignedHeaders", &signed.join(";")),
    ] {
        let parted = if query.is_empty() { "" } else { "&" };
        query += &format!("{parted}{name}={}", percent::encode(value, b""));
    }
    let unsigned = Request {
        query: &query,
        ..*request
    };
    let canonical = canonical::request(&unsigned, request.headers, &signed, &sha256_hex(request.body));
    let signature = canonical::mac(&credentials.secret_access_key, &scope, &date, &canonical);
    let signature = percent::hex(&signature.finalize().into_bytes());
    format!("{query}&X-Amz-Signature={signature}")
}

fn names_to_sign(headers: &[(&str, &str)]) -> Vec<String> {
    let mut names: Vec<String> = headers.iter().map(|(name, _)| name.to_ascii_lowercase()).collect();
    names.retain(|name| !NEVER_SIGNED.contains(&name.as_str()));
    names.sort_unstable();
    names.dedup();
    names
}

/// Why a request does not come from the holder of a key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadSignature {
    /// There is neither an `authorization` header nor a signature in the query.
    #[error("request is not signed: no `authorization` header and no X-Amz-Signature, expected one with {ALGORITHM}")]
    Missing,
    /// The `authorization` header or the query's signature, or what these need, is not as documented.
    #[error("signature is incomplete: {0}")]
    Incomplete(&'static str),
    /// The request carries a session token; only permanent keys exist here.
    #[error("session tokens are not supported: use an access key created with `picket key create`")]
    SessionToken,
    /// Nobody has the access key, or it is disabled.
    #[error("access key is unknown or disabled")]
    UnknownKey,
    /// The credential is for a service that is not answered here.
    #[error("credential is scoped to service {found:?}, expected \"iot\", \"iotdata\" or \"sns\"")]
    Service {
        /// As in the request.
        found: String,
    },
    /// Signed too long ago, or in the future.
    #[error("signature was made at {found}, expected a time within 5 minutes of {now}")]
    Skewed {
        /// As in the request.
        found: String,
        /// The server's time.
        now: String,
    },
    /// A presigned request that is good no more.
    #[error("signature was made at {found} for {expires_secs} s, it is {now} now")]
    Expired {
        /// As in the request.
        found: String,
        /// As in the request.
        expires_secs: u32,
        /// The server's time.
        now: String,
    },
    /// The body is not the one that was signed.
    #[error("`x-amz-content-sha256` is not the hash of the body, expected that (UNSIGNED-PAYLOAD is not taken)")]
    Payload,
    /// The signature is not that of this request with this key.
    #[error("signature does not match: check the secret access key and that nothing changes the request on its way")]
    Mismatch,
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY_ID: &str = "AKIDEXAMPLE0000PICK";
    const SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
    const AT: Timestamp = Timestamp::from_millis(1_767_323_045_000); // 2026-01-02T03:04:05Z
    const HOST: (&str, &str) = ("host", "127.0.0.1:8080");

    fn credentials() -> Credentials {
        Credentials {
            access_key_id: KEY_ID.to_owned(),
            secret_access_key: SECRET.to_owned(),
        }
    }

    /// Signs, puts the new headers beside the others, and checks what came out.
    fn check(request: &Request<'_>, now: Timestamp) -> Result<(), BadSignature> {
        let claim = claim(request)?;
        if claim.access_key_id() != KEY_ID {
            return Err(BadSignature::UnknownKey);
        }
        claim.check(request, SECRET, now)
    }

    fn authorization(signed_headers: &str, signature: &str) -> String {
        let scope = "20260102/us-east-1/iot/aws4_request";
        format!("{ALGORITHM} Credential={KEY_ID}/{scope}, SignedHeaders={signed_headers}, Signature={signature}")
    }

    /// What `botocore.auth.SigV4Auth` of botocore 1.44.8 made: method, path, query, a header beside `host`, body, the names
    /// of the signed headers, signature.
    type Golden = (
        &'static str,
        &'static str,
        &'static str,
        Option<(&'static str, &'static str)>,
        &'static str,
        &'static str,
        &'static str,
    );

    #[rustfmt::skip]
    const GOLDEN: [Golden; 6] = [
        ("GET", "/things/pump-7", "", None, "",
         "host;x-amz-date", "7413010f357828ef6de9cb940fbd90dc248d8e7bcd65dbf46779062c4a6ed81b"),
        ("POST", "/things/a%3Ab", "", Some(("content-type", "application/json")),
         r#"{"attributePayload":{"attributes":{"site":"north"}}}"#,
         "content-type;host;x-amz-date", "516c0990cab25f66f153b8925eb891f652d11ff54c606c608808da8bf1a83cdb"),
        ("POST", "/attached-policies/arn%3Aaws%3Aiot%3Aus-east-1%3A123456789012%3Athinggroup%2Fx",
         "recursive=true&pageSize=5", Some(("content-length", "0")), "",
         "content-length;host;x-amz-date", "c2e23c0b514ab756dc742785aeb645db786049dc308b4fe6f7e4b71addae6c58"),
        ("PUT", "/things/pump-7/principals", "thingPrincipalType=EXCLUSIVE_THING",
         Some(("x-amzn-principal", "arn:aws:iot:us-east-1:123456789012:cert/aa")), "",
         "host;x-amz-date;x-amzn-principal", "7f653426c01cb95cf058f8fd3484547734cfe641bfe9ce73f8eb5b8ff7dacc3f"),
        ("GET", "/violation-events",
         "startTime=2026-01-02T03%3A04%3A05.678000Z&endTime=2026-01-02T03%3A04%3A05Z&maxResults=5", None, "",
         "host;x-amz-date", "f0b5f2290f6a39917d97a0121ce684bb9724ad39d7927ef680ad7785a4d01b3d"),
        ("GET", "/things/%C3%BCber%20x", "b=2&a=1&a=0&flag", Some(("x-amz-meta", "  two   spaces ")), "",
         "host;x-amz-date;x-amz-meta", "9e1b9637823627e32cd6be16b131d62ad31fe51ab9007919d8bb0fe4145b30c8"),
    ];

    #[test]
    fn signatures_are_those_of_botocore() {
        for (method, path, query, extra, body, signed_headers, signature) in GOLDEN {
            let headers: Vec<(&str, &str)> = extra.into_iter().chain([HOST]).collect();
            let request = Request {
                method,
                path,
                query,
                headers: &headers,
                body: body.as_bytes(),
            };
            let made = sign(&request, &credentials(), "us-east-1", "iot", AT);
            let expected = authorization(signed_headers, signature);
            assert_eq!(
                made,
                [
                    ("x-amz-date", "20260102T030405Z".to_owned()),
                    ("authorization", expected)
                ],
                "{path}"
            );

            let mut signed = headers.clone();
            signed.extend(made.iter().map(|(name, value)| (*name, value.as_str())));
            let request = Request {
                headers: &signed,
                ..request
            };
            assert_eq!(check(&request, AT), Ok(()), "{path}");
        }
    }

    #[test]
    fn refusals_say_why() {
        let good = authorization(
            "host;x-amz-date",
            "7413010f357828ef6de9cb940fbd90dc248d8e7bcd65dbf46779062c4a6ed81b",
        );
        let date = ("x-amz-date", "20260102T030405Z");
        let later = |secs: i64| Timestamp::from_millis(AT.millis() + secs * 1000);
        let other_service = good.replace("/iot/", "/s3/");
        let with = |text: &'static str| ("authorization", text);
        let signed = ("authorization", good.as_str());
        for (headers, now, expected) in [
            (vec![HOST, date, signed], AT, Ok(())),
            (vec![HOST, date, signed], later(300), Ok(())),
            (vec![HOST, date, signed], later(-300), Ok(())),
            (vec![HOST, date, signed], later(301), Err("made at 20260102T030405Z")),
            (vec![HOST, date, signed], later(-301), Err("within 5 minutes")),
            (vec![HOST, date], AT, Err("not signed")),
            (vec![HOST, signed], AT, Err("no `x-amz-date`")),
            (vec![date, signed], AT, Err("a signed header is not in the request")),
            (
                vec![HOST, date, signed, ("X-Amz-Security-Token", "t")],
                AT,
                Err("session tokens are not supported"),
            ),
            (
                vec![HOST, date, signed, ("x-amzn-principal", "arn")],
                AT,
                Err("must be signed"),
            ),
            (
                vec![HOST, date, signed, ("x-amzn-trace-id", "added by a proxy")],
                AT,
                Ok(()),
            ),
            (vec![HOST, date, signed, date], AT, Err("twice")),
            (vec![HOST, ("x-amz-date", "20260103T030405Z"), signed], AT, Err("day")),
            (
                vec![HOST, date, ("authorization", other_service.as_str())],
                AT,
                Err("service \"s3\""),
            ),
            (vec![HOST, date, with("Basic cGlja2V0")], AT, Err("does not begin")),
            (vec![HOST, date, with("AWS4-HMAC-SHA256 ")], AT, Err("not documented")),
            (
                vec![HOST, date, with("AWS4-HMAC-SHA256 Credential=a/b/c")],
                AT,
                Err("expected Credential, SignedHeaders"),
            ),
        ] {
            let request = Request {
                method: "GET",
                path: "/things/pump-7",
                query: "",
                headers: &headers,
                body: b"",
            };
            let found = check(&request, now).map_err(|err| err.to_string());
            match expected {
                Ok(()) => assert_eq!(found, Ok(()), "{headers:?}"),
                Err(part) => assert!(
                    found.as_ref().is_err_and(|text| text.contains(part)),
                    "{headers:?}: {found:?}"
                ),
            }
        }
    }

    #[test]
    fn the_secret_is_never_printed() {
        assert!(!format!("{:?}", credentials()).contains(SECRET));
    }
}
