//! What signatures are made of: the canonical request, the scope of a credential, and their MAC.

use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use jiff::tz::TimeZone;
use picket_model::time::Timestamp;
use sha2::{Digest, Sha256};

use super::{ALGORITHM, Request};
use crate::percent;

/// The `<day>/<region>/<service>/aws4_request` of a credential.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Scope {
    pub(super) day: String,
    pub(super) region: String,
    pub(super) service: String,
}

impl Scope {
    pub(super) fn new(date: &str, region: &str, service: &str) -> Self {
        Self {
            day: day_of(date).to_owned(),
            region: region.to_owned(),
            service: service.to_owned(),
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}/aws4_request", self.day, self.region, self.service)
    }
}

/// All values of a header as they are signed: inner runs of blanks become one, several values are joined by commas.
pub(super) fn header(headers: &[(&str, &str)], name: &str) -> Option<String> {
    let values: Vec<String> = headers
        .iter()
        .filter(|(found, _)| found.eq_ignore_ascii_case(name))
        .map(|(_, value)| value.split_ascii_whitespace().collect::<Vec<_>>().join(" "))
        .collect();
    (!values.is_empty()).then(|| values.join(","))
}

/// The text that a signature is made of. The signature itself is no part of it.
pub(super) fn request(
    request: &Request<'_>,
    headers: &[(&str, &str)],
    signed: &[String],
    payload_hash: &str,
) -> String {
    let mut pairs: Vec<(&str, &str)> = request
        .query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .filter(|(name, _)| *name != "X-Amz-Signature")
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

pub(super) fn mac(secret_access_key: &str, scope: &Scope, date: &str, canonical_request: &str) -> Hmac<Sha256> {
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

pub(super) fn sha256_hex(bytes: &[u8]) -> String {
    percent::hex(&Sha256::digest(bytes))
}

pub(super) fn day_of(date: &str) -> &str {
    date.split('T').next().unwrap_or_default()
}

pub(super) fn amz_date(at: Timestamp) -> String {
    let at = jiff::Timestamp::from_millisecond(at.millis()).unwrap_or_default();
    at.strftime("%Y%m%dT%H%M%SZ").to_string()
}

pub(super) fn parse_amz_date(date: &str) -> Option<Timestamp> {
    let at = jiff::civil::DateTime::strptime("%Y%m%dT%H%M%SZ", date).ok()?;
    let at = TimeZone::UTC.to_timestamp(at).ok()?;
    Some(Timestamp::from_millis(at.as_millisecond()))
}
