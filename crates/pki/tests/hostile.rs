//! Certificates and requests come from outside: no byte in them makes a reader panic.

use picket_pki::{Authority, CertificateFacts, KeyKind, PkiError};
use proptest::prelude::*;

const NOW_MS: i64 = 1_764_000_000_000;

/// A request by openssl: a P-256 key, `/O=Pumps/CN=pump-7`.
const REQUEST: &str = "-----BEGIN CERTIFICATE REQUEST-----\n\
MIHcMIGDAgEAMCExDjAMBgNVBAoMBVB1bXBzMQ8wDQYDVQQDDAZwdW1wLTcwWTAT\n\
BgcqhkjOPQIBBggqhkjOPQMBBwNCAAQkADknS7T2IgWB2Vb2zR+VT9Exo/VmM/Gx\n\
4hHE5Mm+ePRu8yZ/QnVDLgdtGHrtWoO7+EZn/fd565zvGhHmyLM0oAAwCgYIKoZI\n\
zj0EAwIDSAAwRQIhAJWRUD/evcYmTMvzaCns/LOsVOA4i49thbtelPmca67CAiBh\n\
hDoEqfCT7Kn+Hf5FRJAe7IvijF4nesXkczo48Iamjw==\n\
-----END CERTIFICATE REQUEST-----\n";

#[test]
fn a_key_of_another_ca_is_noticed() {
    let [one, other] = ["one", "other"].map(|name| Authority::create(name, NOW_MS).unwrap());
    let mixed = Authority::from_pem(one.certificate_pem(), other.private_key_pem());
    assert!(matches!(mixed.err(), Some(PkiError::Pair)));
    assert!(Authority::from_pem(one.certificate_pem(), one.private_key_pem()).is_ok());
    assert!(Authority::from_pem("", one.private_key_pem()).is_err());
    assert!(Authority::from_pem(one.certificate_pem(), "").is_err());
    assert!(Authority::create("late", i64::MAX).is_err());
}

proptest! {
    #[test]
    fn mutated_certificates_are_read_or_refused(changes in proptest::collection::vec((any::<u16>(), any::<u8>()), 1..4)) {
        let authority = Authority::create("Fleet CA", NOW_MS).unwrap();
        let issued = authority.issue_device("pump-7", KeyKind::P256, NOW_MS).unwrap();
        let mut der = CertificateFacts::from_pem(&issued.certificate_pem).unwrap().der;
        let n_bytes = der.len();
        for (at, byte) in changes {
            der[usize::from(at) % n_bytes] = byte;
        }
        let _ = CertificateFacts::from_der(&der);
    }

    #[test]
    fn mutated_requests_are_granted_or_refused(at in any::<prop::sample::Index>(), letter in "[A-Za-z0-9+/]") {
        let authority = Authority::create("Fleet CA", NOW_MS).unwrap();
        let (head, body) = REQUEST.split_at(REQUEST.find('\n').unwrap() + 1);
        let at = at.index(body.find('-').unwrap());
        let mutated = format!("{head}{}{letter}{}", &body[..at], &body[at + 1..]);
        let _ = authority.sign_request(&mutated, NOW_MS);
    }
}
