//! Signature version 4 in its header form: sign, and verify what was signed.
//!
//! The canonical request is that of every AWS service but S3: the path as it stands in the request line is encoded once
//! more. Unlike AWS's own clients this never removes `.` and `..` segments or doubled slashes: one signature is good for
//! one path, letter by letter.

use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use jiff::tz::TimeZone;
use picket_model::time::Timestamp;
use sha2::{Digest, Sha256};

use crate::percent;
use crate::service::Service;

const ALGORITHM: &str = "AWS4-HMAC-SHA256";
const SKEW_MILLIS_MAX: u64 = 5 * 60 * 1000;

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
    let mut signed: Vec<String> = headers.iter().map(|(name, _)| name.to_ascii_lowercase()).collect();
    signed.retain(|name| !NEVER_SIGNED.contains(&name.as_str()));
    signed.sort_unstable();
    signed.dedup();
    let scope = Scope {
        day: day_of(&date).to_owned(),
        region: region.to_owned(),
        service: service.to_owned(),
    };
    let payload_hash = header(&headers, "x-amz-content-sha256").unwrap_or_else(|| sha256_hex(request.body));
    let canonical = canonical_request(request, &headers, &signed, &payload_hash);
    let signature = percent::hex(
        &mac(&credentials.secret_access_key, &scope, &date, &canonical)
            .finalize()
            .into_bytes(),
    );
    let authorization = format!(
        "{ALGORITHM} Credential={}/{scope}, SignedHeaders={}, Signature={signature}",
        credentials.access_key_id,
        signed.join(";")
    );
    vec![("x-amz-date", date), ("authorization", authorization)]
}

/// The `<day>/<region>/<service>/aws4_request` of a credential.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Scope {
    day: String,
    region: String,
    service: String,
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}/aws4_request", self.day, self.region, self.service)
    }
}

/// Why a request does not come from the holder of a key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadSignature {
    /// There is no `authorization` header.
    #[error("request is not signed: no `authorization` header, expected one with {ALGORITHM}")]
    Missing,
    /// The `authorization` header, or one that it needs, is not as documented.
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
    /// The body is not the one that was signed.
    #[error("`x-amz-content-sha256` is not the hash of the body")]
    Payload,
    /// The signature is not that of this request with this key.
    #[error("signature does not match: check the secret access key and that nothing changes the request on its way")]
    Mismatch,
}

/// What a request says about who signed it: nothing of it is true until [`Claim::check`] has said so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    access_key_id: String,
    scope: Scope,
    service: Service,
    date: String,
    signed_headers: Vec<String>,
    signature: Vec<u8>,
}

/// Reads who claims to have signed the request.
///
/// # Errors
/// When the request is not signed, not completely, with a session token, or for none of our services.
pub fn claim(request: &Request<'_>) -> Result<Claim, BadSignature> {
    let authorization = single_header(request, "authorization")?.ok_or(BadSignature::Missing)?;
    if header(request.headers, "x-amz-security-token").is_some() {
        return Err(BadSignature::SessionToken);
    }
    let date = single_header(request, "x-amz-date")?.ok_or(BadSignature::Incomplete("no `x-amz-date` header"))?;
    let claim = parse_authorization(authorization, date)?;
    if claim.scope.day != day_of(date) {
        return Err(BadSignature::Incomplete(
            "the credential's day is not that of `x-amz-date`",
        ));
    }
    // A header that means something to this service must be under the signature, or anybody on the way could add it.
    let is_signed = |name: &str| claim.signed_headers.iter().any(|signed| signed == name);
    let mut must_be_signed = request
        .headers
        .iter()
        .map(|(name, _)| name.to_ascii_lowercase())
        .filter(|name| name == "host" || (name.starts_with("x-amz") && !NEVER_SIGNED.contains(&name.as_str())));
    if !is_signed("host") || must_be_signed.any(|name| !is_signed(&name)) {
        return Err(BadSignature::Incomplete(
            "`host` and all `x-amz` headers must be signed",
        ));
    }
    if claim
        .signed_headers
        .iter()
        .any(|name| header(request.headers, name).is_none())
    {
        return Err(BadSignature::Incomplete("a signed header is not in the request"));
    }
    Ok(claim)
}

impl Claim {
    /// Whose key it is said to be.
    pub fn access_key_id(&self) -> &str {
        &self.access_key_id
    }

    /// The region of the credential: the one that the answer's ARNs carry.
    pub fn region(&self) -> &str {
        &self.scope.region
    }

    /// The service that is called.
    pub const fn service(&self) -> Service {
        self.service
    }

    /// Whether the request was signed with this secret, within five minutes of `now`. Takes the same time wherever the
    /// signatures differ.
    ///
    /// # Errors
    /// When it was not, with the reason.
    pub fn check(&self, request: &Request<'_>, secret_access_key: &str, now: Timestamp) -> Result<(), BadSignature> {
        let made = parse_amz_date(&self.date).ok_or(BadSignature::Incomplete(
            "`x-amz-date` is not a time like 20260102T030405Z",
        ))?;
        if made.millis().abs_diff(now.millis()) > SKEW_MILLIS_MAX {
            return Err(BadSignature::Skewed {
                found: self.date.clone(),
                now: amz_date(now),
            });
        }
        let payload_hash = sha256_hex(request.body);
        if header(request.headers, "x-amz-content-sha256").is_some_and(|signed| signed != payload_hash) {
            return Err(BadSignature::Payload);
        }
        let canonical = canonical_request(request, request.headers, &self.signed_headers, &payload_hash);
        mac(secret_access_key, &self.scope, &self.date, &canonical)
            .verify_slice(&self.signature)
            .map_err(|_| BadSignature::Mismatch)
    }
}

fn parse_authorization(authorization: &str, date: &str) -> Result<Claim, BadSignature> {
    let fields = authorization
        .strip_prefix(ALGORITHM)
        .and_then(|rest| rest.strip_prefix(' '))
        .ok_or(BadSignature::Incomplete(
            "`authorization` does not begin with AWS4-HMAC-SHA256",
        ))?;
    let (mut credential, mut signed_headers, mut signature) = (None, None, None);
    for field in fields.split(',') {
        let slot = match field.trim().split_once('=') {
            Some(("Credential", value)) => (&mut credential, value),
            Some(("SignedHeaders", value)) => (&mut signed_headers, value),
            Some(("Signature", value)) => (&mut signature, value),
            _ => {
                return Err(BadSignature::Incomplete(
                    "`authorization` has a field that is not documented",
                ));
            }
        };
        if slot.0.replace(slot.1).is_some() {
            return Err(BadSignature::Incomplete("`authorization` has a field twice"));
        }
    }
    let (Some(credential), Some(signed_headers), Some(signature)) = (credential, signed_headers, signature) else {
        return Err(BadSignature::Incomplete(
            "expected Credential, SignedHeaders and Signature in `authorization`",
        ));
    };
    let parts: Vec<&str> = credential.split('/').collect();
    let &[access_key_id, day, region, service, "aws4_request"] = parts.as_slice() else {
        return Err(BadSignature::Incomplete(
            "Credential is not key/day/region/service/aws4_request",
        ));
    };
    // It comes back in every ARN.
    let is_region_char = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    if !(1..=64).contains(&region.len()) || !region.bytes().all(is_region_char) {
        return Err(BadSignature::Incomplete(
            "the credential's region is not a name such as us-east-1",
        ));
    }
    let called = Service::of_signing_name(service).ok_or_else(|| BadSignature::Service {
        found: service.to_owned(),
    })?;
    Ok(Claim {
        service: called,
        access_key_id: access_key_id.to_owned(),
        scope: Scope {
            day: day.to_owned(),
            region: region.to_owned(),
            service: service.to_owned(),
        },
        date: date.to_owned(),
        signed_headers: signed_headers.split(';').map(str::to_owned).collect(),
        signature: percent::from_hex(signature).ok_or(BadSignature::Incomplete("Signature is not hex"))?,
    })
}

fn single_header<'a>(request: &Request<'a>, name: &'static str) -> Result<Option<&'a str>, BadSignature> {
    let mut values = request
        .headers
        .iter()
        .filter(|(found, _)| found.eq_ignore_ascii_case(name));
    match (values.next(), values.next()) {
        (found, None) => Ok(found.map(|&(_, value)| value)),
        _ => Err(BadSignature::Incomplete(
            "`authorization` or `x-amz-date` is there twice",
        )),
    }
}

/// All values of a header as they are signed: inner runs of blanks become one, several values are joined by commas.
fn header(headers: &[(&str, &str)], name: &str) -> Option<String> {
    let values: Vec<String> = headers
        .iter()
        .filter(|(found, _)| found.eq_ignore_ascii_case(name))
        .map(|(_, value)| value.split_ascii_whitespace().collect::<Vec<_>>().join(" "))
        .collect();
    (!values.is_empty()).then(|| values.join(","))
}

fn canonical_request(request: &Request<'_>, headers: &[(&str, &str)], signed: &[String], payload_hash: &str) -> String {
    let mut pairs: Vec<(&str, &str)> = request
        .query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .collect();
    pairs.sort_unstable();
    let query: Vec<String> = pairs.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let lines: String = signed
        .iter()
        .map(|name| format!("{name}:{}\n", header(headers, name).unwrap_or_default()))
        .collect();
    format!(
        "{}\n{}\n{}\n{lines}\n{}\n{payload_hash}",
        request.method,
        percent::encode(request.path, b"/"),
        query.join("&"),
        signed.join(";")
    )
}

fn mac(secret_access_key: &str, scope: &Scope, date: &str, canonical_request: &str) -> Hmac<Sha256> {
    let key = ["aws4_request", &scope.service, &scope.region, &scope.day]
        .iter()
        .rev()
        .fold(format!("AWS4{secret_access_key}").into_bytes(), |key, part| {
            hmac(&key, part.as_bytes()).finalize().into_bytes().to_vec()
        });
    let canonical_hash = sha256_hex(canonical_request.as_bytes());
    hmac(
        &key,
        format!("{ALGORITHM}\n{date}\n{scope}\n{canonical_hash}").as_bytes(),
    )
}

fn hmac(key: &[u8], message: &[u8]) -> Hmac<Sha256> {
    // Longer keys than a block are hashed first, as RFC 2104 says: so this form takes keys of any length.
    let mut block = [0; 64];
    if key.len() <= block.len() {
        block[..key.len()].copy_from_slice(key);
    } else {
        block[..32].copy_from_slice(&Sha256::digest(key));
    }
    Hmac::<Sha256>::new(&block.into()).chain_update(message)
}

fn sha256_hex(bytes: &[u8]) -> String {
    percent::hex(&Sha256::digest(bytes))
}

fn day_of(date: &str) -> &str {
    date.split('T').next().unwrap_or_default()
}

fn amz_date(at: Timestamp) -> String {
    let at = jiff::Timestamp::from_millisecond(at.millis()).unwrap_or_default();
    at.strftime("%Y%m%dT%H%M%SZ").to_string()
}

fn parse_amz_date(date: &str) -> Option<Timestamp> {
    let at = jiff::civil::DateTime::strptime("%Y%m%dT%H%M%SZ", date).ok()?;
    let at = TimeZone::UTC.to_timestamp(at).ok()?;
    Some(Timestamp::from_millis(at.as_millisecond()))
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

    /// Every byte of every part under the signature, changed one at a time.
    #[test]
    fn no_tampered_request_passes() {
        let body = br#"{"a":1}"#;
        let hash = sha256_hex(body);
        let plain = [
            HOST,
            ("content-type", "application/json"),
            ("x-amz-content-sha256", hash.as_str()),
        ];
        let request = Request {
            method: "POST",
            path: "/things/a%3Ab",
            query: "recursive=true&pageSize=5",
            headers: &plain,
            body,
        };
        let signature = sign(&request, &credentials(), "us-east-1", "iot", AT);
        let parts: Vec<String> = [request.method, request.path, request.query, "{\"a\":1}"]
            .into_iter()
            .chain(plain.iter().map(|(_, value)| *value))
            .chain(signature.iter().map(|(_, value)| value.as_str()))
            .map(str::to_owned)
            .collect();
        let verdict = |parts: &[String]| {
            let names = [
                "host",
                "content-type",
                "x-amz-content-sha256",
                "x-amz-date",
                "authorization",
            ];
            let headers: Vec<(&str, &str)> = names
                .into_iter()
                .zip(parts.iter().skip(4).map(String::as_str))
                .collect();
            let request = Request {
                method: &parts[0],
                path: &parts[1],
                query: &parts[2],
                headers: &headers,
                body: parts[3].as_bytes(),
            };
            check(&request, AT)
        };
        assert_eq!(verdict(&parts), Ok(()));
        let mut n_mutations = 0;
        for part in 0..parts.len() {
            for at in 0..parts[part].len() {
                for replacement in ["", "0", "1", "~"] {
                    let mut mutated = parts.clone();
                    mutated[part].replace_range(at..=at, replacement);
                    if mutated[part] == parts[part] {
                        continue;
                    }
                    // Blanks between the fields of `authorization` carry nothing.
                    if part == parts.len() - 1
                        && replacement.is_empty()
                        && parts[part].as_bytes()[at] == b' '
                        && at > 20
                    {
                        continue;
                    }
                    n_mutations += 1;
                    assert!(verdict(&mutated).is_err(), "passed: {mutated:?}");
                }
            }
        }
        assert!(n_mutations > 1_000, "{n_mutations}");
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
