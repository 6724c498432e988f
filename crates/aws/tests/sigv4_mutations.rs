//! Changed requests, by the thousand: whatever is changed of what a signature covers, in the header or in the query, the
//! request is refused.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a failed step is a failed test")]

use picket_aws::sigv4::{self, BadSignature, Credentials, Request};
use picket_model::time::Timestamp;

const KEY_ID: &str = "AKIDEXAMPLE0000PICK";
const SECRET: &str = "a-secret-that-only-the-tests-know";
const AT: Timestamp = Timestamp::from_millis(1_767_323_045_000); // 2026-01-02T03:04:05Z
const N_MUTATIONS: u32 = 1_000;

const PATH: &str = "/things/a%3Ab/principals";
const QUERY: &str = "recursive=true&pageSize=5&name=%C3%BCber";
const BODY: &str = r#"{"a":1}"#;
/// From `printf '{"a":1}' | sha256sum`.
const BODY_HASH: &str = "015abd7f5cc57a2dd94b7590f04ad8084273905ee33ec5cebeae62276a97f862";
const HEADERS: [(&str, &str); 4] = [
    ("host", "picket.example:8443"),
    ("content-type", "application/json"),
    ("x-amz-content-sha256", BODY_HASH),
    ("x-amzn-principal", "arn:aws:iot:us-east-1:123456789012:cert/aa"),
];

/// A request in parts, each of which a mutation may change.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Parts {
    method: String,
    path: String,
    /// Names and values.
    query: Vec<[String; 2]>,
    headers: Vec<[String; 2]>,
    /// The fields of `authorization`: key, day, region, service, end; names of signed headers; signature.
    authorization: Option<Vec<String>>,
    body: String,
}

impl Parts {
    /// The texts that a mutation changes one of.
    fn texts(&mut self) -> Vec<&mut String> {
        let mut texts = vec![&mut self.method, &mut self.path, &mut self.body];
        texts.extend(self.query.iter_mut().flatten());
        texts.extend(self.headers.iter_mut().flatten());
        texts.extend(self.authorization.iter_mut().flatten());
        texts
    }

    /// What the verifier says of it.
    fn verdict(&self, now: Timestamp) -> Result<(), BadSignature> {
        let authorization = self.authorization.as_ref().map(|fields| {
            let [key, day, region, service, end, names, signature] = fields.as_slice() else {
                panic!("{fields:?} are not seven fields");
            };
            format!(
                "AWS4-HMAC-SHA256 Credential={key}/{day}/{region}/{service}/{end}, SignedHeaders={names}, \
                 Signature={signature}"
            )
        });
        let headers = self.headers.iter().map(|[name, value]| (name.as_str(), value.as_str()));
        let headers: Vec<(&str, &str)> = headers
            .chain(authorization.as_deref().map(|text| ("authorization", text)))
            .collect();
        let query: Vec<String> = self
            .query
            .iter()
            .map(|[name, value]| format!("{name}={value}"))
            .collect();
        let request = Request {
            method: &self.method,
            path: &self.path,
            query: &query.join("&"),
            headers: &headers,
            body: self.body.as_bytes(),
        };
        let claim = sigv4::claim(&request)?;
        if claim.access_key_id() != KEY_ID {
            return Err(BadSignature::UnknownKey);
        }
        claim.check(&request, SECRET, now)
    }
}

fn credentials() -> Credentials {
    Credentials {
        access_key_id: KEY_ID.to_owned(),
        secret_access_key: SECRET.to_owned(),
    }
}

fn request() -> Request<'static> {
    Request {
        method: "POST",
        path: PATH,
        query: QUERY,
        headers: &HEADERS,
        body: BODY.as_bytes(),
    }
}

fn parts(headers: &[(&str, &str)], query: &str) -> Parts {
    let owned = |(name, value): (&str, &str)| [name.to_owned(), value.to_owned()];
    Parts {
        method: "POST".to_owned(),
        path: PATH.to_owned(),
        query: query
            .split('&')
            .map(|pair| owned(pair.split_once('=').unwrap()))
            .collect(),
        headers: headers.iter().copied().map(owned).collect(),
        authorization: None,
        body: BODY.to_owned(),
    }
}

/// Signed in the header.
fn in_header() -> Parts {
    let made = sigv4::sign(&request(), &credentials(), "us-east-1", "iot", AT);
    let (date, authorization) = (&made[0].1, &made[1].1);
    let fields = authorization.split_once("Credential=").unwrap().1;
    let (credential, rest) = fields.split_once(", SignedHeaders=").unwrap();
    let (names, signature) = rest.split_once(", Signature=").unwrap();
    let mut headers = HEADERS.to_vec();
    headers.push(("x-amz-date", date));
    Parts {
        authorization: Some(
            credential
                .split('/')
                .chain([names, signature])
                .map(str::to_owned)
                .collect(),
        ),
        ..parts(&headers, QUERY)
    }
}

/// Signed in the query.
fn in_query() -> Parts {
    let query = sigv4::presign(&request(), &credentials(), "us-east-1", "iotdata", AT, 60);
    parts(&HEADERS, &query)
}

/// Numbers that are the same each time: xorshift64*.
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let drawn = self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33;
        usize::try_from(drawn).unwrap() % n
    }
}

/// Changes one part: a character put in, taken out, said twice or replaced, or all taken out. No blank is put in, nor what
/// parts a query's pairs: those carry nothing in some places.
fn mutate(parts: &Parts, dice: &mut Dice) -> Parts {
    const CHARS: &[u8] = b"0123456789abcdefXYZ~-_.%/:";
    // The name of a header is the same in any case.
    let lower = |parts: &Parts| {
        let mut parts = parts.clone();
        for [name, _] in &mut parts.headers {
            name.make_ascii_lowercase();
        }
        parts
    };
    loop {
        let mut mutated = parts.clone();
        let mut texts = mutated.texts();
        let n_texts = texts.len();
        let text = &mut *texts[dice.below(n_texts)];
        let char = char::from(CHARS[dice.below(CHARS.len())]);
        let at = dice.below(text.len());
        match dice.below(5) {
            0 => text.insert(at, char),
            1 => drop(text.remove(at)),
            2 => {
                let again = text[at..=at].to_owned();
                text.insert_str(at, &again);
            }
            3 => text.replace_range(at..=at, &char.to_string()),
            _ => text.clear(),
        }
        if lower(&mutated) != lower(parts) {
            return mutated;
        }
    }
}

#[test]
fn no_mutation_passes() {
    for (form, signed) in [("header", in_header()), ("query", in_query())] {
        assert_eq!(signed.verdict(AT), Ok(()), "{form}: {signed:?}");
        let mut original = signed.clone();
        let original = original.texts();
        let mut has_changed = vec![false; original.len()];
        let mut dice = Dice(0x5EED_0001);
        for n_before in 0..N_MUTATIONS {
            let mut mutated = mutate(&signed, &mut dice);
            assert!(
                mutated.verdict(AT).is_err(),
                "{form}, mutation {n_before} passed: {mutated:?}"
            );
            for (at, text) in mutated.texts().into_iter().enumerate() {
                has_changed[at] |= text != original[at];
            }
        }
        assert!(has_changed.iter().all(|changed| *changed), "{form}: {has_changed:?}");
    }
}

/// Parts that are added, taken away or said twice as a whole.
#[test]
fn what_could_be_read_in_two_ways_is_refused() {
    let (by_header, by_query) = (in_header(), in_query());
    let pair = |name: &str, value: &str| [name.to_owned(), value.to_owned()];
    let with_header = |parts: &Parts, name: &str, value: &str| {
        let mut parts = parts.clone();
        parts.headers.push(pair(name, value));
        parts
    };
    let with_parameter = |parts: &Parts, name: &str, value: &str| {
        let mut parts = parts.clone();
        parts.query.push(pair(name, value));
        parts
    };
    let both = Parts {
        query: by_query.query.clone(),
        ..by_header.clone()
    };
    let date = "20260102T030405Z";
    let mut cases = vec![
        (both, "expected one of them"),
        (
            with_parameter(&by_header, "X-Amz-Signature", ""),
            "expected one of them",
        ),
        (with_parameter(&by_header, "X-Amz-Expires", "60"), "does not match"),
        (with_parameter(&by_header, "pageSize", "6"), "does not match"),
        (
            with_header(&by_header, "content-type", "application/json"),
            "does not match",
        ),
        (with_header(&by_header, "x-amz-date", date), "twice"),
        (with_header(&by_header, "x-amz-security-token", "t"), "session tokens"),
        (with_header(&by_header, "x-amz-other", "t"), "must be signed"),
        (with_header(&by_query, "x-amz-date", date), "must be signed"),
        (with_header(&by_query, "x-amz-security-token", "t"), "session tokens"),
        (with_parameter(&by_query, "X-Amz-Security-Token", "t"), "session tokens"),
        (
            with_parameter(&by_query, "X-Amz-Content-Sha256", "UNSIGNED-PAYLOAD"),
            "not the hash",
        ),
        (with_parameter(&by_query, "other", ""), "does not match"),
    ];
    for name in [
        "Algorithm",
        "Credential",
        "Date",
        "Expires",
        "SignedHeaders",
        "Signature",
    ] {
        let name = format!("X-Amz-{name}");
        let mut without = by_query.clone();
        let at = without.query.iter().position(|[found, _]| *found == name).unwrap();
        let [_, value] = without.query.remove(at);
        cases.push((without, "signature is incomplete: no X-Amz-"));
        cases.push((with_parameter(&by_query, &name, &value), "twice"));
    }
    for (parts, expected) in cases {
        let found = parts.verdict(AT).unwrap_err().to_string();
        assert!(found.contains(expected), "{parts:?}: {found}");
    }
}

#[test]
fn presigned_requests_are_good_for_as_long_as_they_say() {
    for (expires_secs, age_secs, expected) in [
        (60, 0, Ok(())),
        (60, 60, Ok(())),
        (60, 61, Err("for 60 s")),
        (60, -300, Ok(())),
        (60, -301, Err("within 5 minutes")),
        (604_800, 604_800, Ok(())),
        (604_800, 604_801, Err("for 604800 s")),
        (604_801, 0, Err("1 to 604800")),
        (0, 0, Err("1 to 604800")),
    ] {
        let query = sigv4::presign(&request(), &credentials(), "us-east-1", "iot", AT, expires_secs);
        let now = Timestamp::from_millis(AT.millis() + age_secs * 1000);
        let found = parts(&HEADERS, &query).verdict(now).map_err(|err| err.to_string());
        match expected {
            Ok(()) => assert_eq!(found, Ok(()), "{expires_secs} {age_secs}"),
            Err(part) => assert!(
                found.as_ref().is_err_and(|text| text.contains(part)),
                "{age_secs}: {found:?}"
            ),
        }
    }
    for expires in ["+60", "%2B60", "60.0", "", "-1", "1e2"] {
        let mut parts = in_query();
        let of_expires = parts.query.iter_mut().find(|[name, _]| name == "X-Amz-Expires");
        expires.clone_into(&mut of_expires.unwrap()[1]);
        let found = parts.verdict(AT).unwrap_err().to_string();
        assert!(found.contains("1 to 604800"), "{expires}: {found}");
    }
}
