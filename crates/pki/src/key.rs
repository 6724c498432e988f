//! Keys of devices, and how they are written.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_RSA_SHA256, RsaKeySize};

use crate::authority::PkiError;

/// Kinds of keys that are made here. Others are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyKind {
    /// ECDSA on P-256: small, and a third of the cost of a handshake.
    P256,
    /// RSA with 2048 bits, as AWS makes them.
    Rsa2048,
}

impl KeyKind {
    pub(crate) fn generate(self) -> Result<KeyPair, PkiError> {
        let made = match self {
            Self::P256 => KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256),
            Self::Rsa2048 => KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048),
        };
        made.map_err(|source| PkiError::Make { what: "a key", source })
    }
}

/// PKCS#8 for P-256; PKCS#1 for RSA, which AWS hands out and old devices expect.
pub(crate) fn private_key_pem(key: &KeyPair, kind: KeyKind) -> String {
    match kind {
        KeyKind::P256 => key.serialize_pem(),
        KeyKind::Rsa2048 => match pkcs1_of(key.serialized_der()) {
            Some(der) => pem("RSA PRIVATE KEY", der),
            None => key.serialize_pem(),
        },
    }
}

/// DER as PEM, lines of 64 characters.
pub(crate) fn pem(label: &str, der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let mut pem = format!("-----BEGIN {label}-----\n");
    for at in (0..text.len()).step_by(64) {
        pem.push_str(&text[at..text.len().min(at + 64)]);
        pem.push('\n');
    }
    pem.push_str(&format!("-----END {label}-----\n"));
    pem
}

/// The PKCS#1 key inside a PKCS#8 one: SEQUENCE { version, algorithm, OCTET STRING { key } } (RFC 5208).
fn pkcs1_of(pkcs8: &[u8]) -> Option<&[u8]> {
    let (sequence, _) = element(pkcs8, 0x30)?;
    let (_, rest) = element(sequence, 0x02)?;
    let (_, rest) = element(rest, 0x30)?;
    element(rest, 0x04).map(|(key, _)| key)
}

/// The content of the DER element with this tag at the start of `der`, and what follows it.
fn element(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (&found, rest) = der.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (n_bytes, rest) = match first {
        0..=0x7f => (usize::from(first), rest),
        0x81..=0x84 => {
            let (length, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
            (length.iter().fold(0, |sum, &byte| sum << 8 | usize::from(byte)), rest)
        }
        _ => return None,
    };
    (found == tag).then(|| rest.split_at_checked(n_bytes)).flatten()
}
