//! Who claims to have signed a request, and whether it is true.

use hmac::Mac as _;
use picket_model::time::Timestamp;

use super::canonical::{self, Scope, amz_date, day_of, header, parse_amz_date, sha256_hex};
use super::{ALGORITHM, BadSignature, EXPIRES_SECS_MAX, NEVER_SIGNED, Request, SKEW_MILLIS_MAX};
use crate::percent;
use crate::service::Service;

/// Parameters that make a query a signed one.
const OF_SIGNATURE: [&str; 5] = [
    "X-Amz-Algorithm",
    "X-Amz-Credential",
    "X-Amz-Date",
    "X-Amz-SignedHeaders",
    "X-Amz-Signature",
];

/// What a request says about who signed it: nothing of it is true until [`Claim::check`] has said so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    access_key_id: String,
    scope: Scope,
    service: Service,
    date: String,
    /// How long it is good, in the query form.
    expires_secs: Option<u32>,
    signed_headers: Vec<String>,
    signature: Vec<u8>,
}

/// Reads who claims to have signed the request.
///
/// # Errors
/// When the request is not signed, not completely, in two ways, with a session token, or for none of our services.
pub fn claim(request: &Request<'_>) -> Result<Claim, BadSignature> {
    let authorization = single_header(request, "authorization")?;
    let is_presigned = OF_SIGNATURE
        .iter()
        .any(|name| parameters(request, name).next().is_some());
    let claim = match (authorization, is_presigned) {
        (None, false) => return Err(BadSignature::Missing),
        (Some(_), true) => {
            return Err(BadSignature::Incomplete(
                "there is an `authorization` header and a signature in the query, expected one of them",
            ));
        }
        (Some(authorization), false) => claim_of_header(request, authorization)?,
        (None, true) => claim_of_query(request)?,
    };
    if claim.scope.day != day_of(&claim.date) {
        return Err(BadSignature::Incomplete("the credential's day is not that of the date"));
    }
    check_signed_headers(request, &claim.signed_headers)?;
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

    /// Whether the request was signed with this secret, and at `now` is still good: five minutes before and after it was
    /// signed, or as long as a presigned one says. Takes the same time wherever the signatures differ.
    ///
    /// # Errors
    /// When it was not, with the reason.
    pub fn check(&self, request: &Request<'_>, secret_access_key: &str, now: Timestamp) -> Result<(), BadSignature> {
        self.check_time(now)?;
        let payload_hash = sha256_hex(request.body);
        let in_query = parameters(request, "X-Amz-Content-Sha256").map(str::to_owned);
        let in_header = header(request.headers, "x-amz-content-sha256");
        if in_query.chain(in_header).any(|signed| signed != payload_hash) {
            return Err(BadSignature::Payload);
        }
        let canonical = canonical::request(request, request.headers, &self.signed_headers, &payload_hash);
        canonical::mac(secret_access_key, &self.scope, &self.date, &canonical)
            .verify_slice(&self.signature)
            .map_err(|_| BadSignature::Mismatch)
    }

    fn check_time(&self, now: Timestamp) -> Result<(), BadSignature> {
        let made = parse_amz_date(&self.date)
            .ok_or(BadSignature::Incomplete("the date is not a time like 20260102T030405Z"))?;
        let age_millis = now.millis().saturating_sub(made.millis());
        let is_early = age_millis < -SKEW_MILLIS_MAX;
        match self.expires_secs {
            Some(expires_secs) if !is_early && i64::from(expires_secs) * 1000 < age_millis => {
                Err(BadSignature::Expired {
                    found: self.date.clone(),
                    expires_secs,
                    now: amz_date(now),
                })
            }
            None if SKEW_MILLIS_MAX < age_millis => Err(self.skewed(now)),
            _ if is_early => Err(self.skewed(now)),
            _ => Ok(()),
        }
    }

    fn skewed(&self, now: Timestamp) -> BadSignature {
        BadSignature::Skewed {
            found: self.date.clone(),
            now: amz_date(now),
        }
    }
}

fn claim_of_header(request: &Request<'_>, authorization: &str) -> Result<Claim, BadSignature> {
    if header(request.headers, "x-amz-security-token").is_some() {
        return Err(BadSignature::SessionToken);
    }
    let date = single_header(request, "x-amz-date")?.ok_or(BadSignature::Incomplete("no `x-amz-date` header"))?;
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
    parse(credential, date, None, signed_headers, signature)
}

fn claim_of_query(request: &Request<'_>) -> Result<Claim, BadSignature> {
    let is_token = |(name, _): (&str, &str)| name.eq_ignore_ascii_case("x-amz-security-token");
    if pairs(request.query).any(is_token) || header(request.headers, "x-amz-security-token").is_some() {
        return Err(BadSignature::SessionToken);
    }
    if single(request, "X-Amz-Algorithm", "no X-Amz-Algorithm")? != ALGORITHM {
        return Err(BadSignature::Incomplete("X-Amz-Algorithm is not AWS4-HMAC-SHA256"));
    }
    let credential = single(request, "X-Amz-Credential", "no X-Amz-Credential")?;
    let date = single(request, "X-Amz-Date", "no X-Amz-Date")?;
    let expires_secs = single(request, "X-Amz-Expires", "no X-Amz-Expires")?;
    let signed_headers = single(request, "X-Amz-SignedHeaders", "no X-Amz-SignedHeaders")?;
    let signature = single(request, "X-Amz-Signature", "no X-Amz-Signature")?;
    let is_number = expires_secs.bytes().all(|byte| byte.is_ascii_digit());
    let expires_secs = expires_secs
        .parse()
        .ok()
        .filter(|secs| is_number && (1..=EXPIRES_SECS_MAX).contains(secs));
    let expires_secs = expires_secs.ok_or(BadSignature::Incomplete("X-Amz-Expires is not 1 to 604800 seconds"))?;
    parse(&credential, &date, Some(expires_secs), &signed_headers, &signature)
}

fn parse(
    credential: &str,
    date: &str,
    expires_secs: Option<u32>,
    signed_headers: &str,
    signature: &str,
) -> Result<Claim, BadSignature> {
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
    // As everybody writes it: one signature has one spelling.
    let is_lower_case = !signature.bytes().any(|byte| byte.is_ascii_uppercase());
    let signature = percent::from_hex(signature).filter(|_| is_lower_case);
    Ok(Claim {
        access_key_id: access_key_id.to_owned(),
        scope: Scope {
            day: day.to_owned(),
            region: region.to_owned(),
            service: service.to_owned(),
        },
        service: called,
        date: date.to_owned(),
        expires_secs,
        signed_headers: signed_headers.split(';').map(str::to_owned).collect(),
        signature: signature.ok_or(BadSignature::Incomplete("Signature is not lower case hex"))?,
    })
}

/// A header that means something to a service must be under the signature, or anybody on the way could add it.
fn check_signed_headers(request: &Request<'_>, signed_headers: &[String]) -> Result<(), BadSignature> {
    let is_signed = |name: &str| signed_headers.iter().any(|signed| signed == name);
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
    if signed_headers
        .iter()
        .any(|name| header(request.headers, name).is_none())
    {
        return Err(BadSignature::Incomplete("a signed header is not in the request"));
    }
    Ok(())
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

/// The one value of a parameter, decoded.
fn single(request: &Request<'_>, name: &str, absent: &'static str) -> Result<String, BadSignature> {
    let mut values = parameters(request, name);
    match (values.next(), values.next()) {
        (None, _) => Err(BadSignature::Incomplete(absent)),
        (Some(value), None) => percent::decode(value)
            .map_err(|_| BadSignature::Incomplete("a part of the signature is not percent-encoded")),
        _ => Err(BadSignature::Incomplete(
            "a part of the signature is in the query twice",
        )),
    }
}

fn parameters<'a>(request: &Request<'a>, name: &str) -> impl Iterator<Item = &'a str> {
    pairs(request.query)
        .filter(move |(found, _)| *found == name)
        .map(|(_, value)| value)
}

fn pairs(query: &str) -> impl Iterator<Item = (&str, &str)> {
    query.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")))
}
