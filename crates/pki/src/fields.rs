//! The fields of a certificate by the names that policies know them by: what follows `iot:Certificate.` there.

use std::net::IpAddr;

use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::prelude::{FromDer as _, X509Certificate};
use x509_parser::x509::X509Name;

use crate::facts::{BadCertificate, fingerprint};

/// The most values of one name: AWS looks at no more.
const N_VALUES_MAX: usize = 5;
/// A longer value is no value for a policy; that it is there is kept, and so much of it.
const LEN_CHARS_MAX: usize = 1025;

/// Attributes of a distinguished name: the last arc of the OID below 2.5.4, and the names as the subject's and the issuer's.
const ATTRIBUTES: [(u64, &str, &str); 13] = [
    (
        46,
        "Subject.DistinguishedNameQualifier",
        "Issuer.DistinguishedNameQualifier",
    ),
    (6, "Subject.Country", "Issuer.Country"),
    (10, "Subject.Organization", "Issuer.Organization"),
    (11, "Subject.OrganizationalUnit", "Issuer.OrganizationalUnit"),
    (8, "Subject.State", "Issuer.State"),
    (3, "Subject.CommonName", "Issuer.CommonName"),
    (5, "Subject.SerialNumber", "Issuer.SerialNumber"),
    (12, "Subject.Title", "Issuer.Title"),
    (4, "Subject.Surname", "Issuer.Surname"),
    (42, "Subject.GivenName", "Issuer.GivenName"),
    (43, "Subject.Initials", "Issuer.Initials"),
    (65, "Subject.Pseudonym", "Issuer.Pseudonym"),
    (44, "Subject.GenerationQualifier", "Issuer.GenerationQualifier"),
];

/// Whose field it is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Subject,
    Issuer,
}

/// The fields of a certificate, each name with up to five values in their order, escaped as a policy must write them: a
/// backslash before each of `, " \ + = < > ;`. The serial number is in hex, as openssl prints it.
///
/// # Errors
/// It cannot be read.
pub fn fields(der: &[u8]) -> Result<Vec<(&'static str, Box<str>)>, BadCertificate> {
    let (_, certificate) = X509Certificate::from_der(der).map_err(|error| BadCertificate::Der {
        detail: error.to_string(),
    })?;
    let mut fields = Fields::default();
    fields.add_name(certificate.subject(), Side::Subject);
    fields.add_name(certificate.issuer(), Side::Issuer);
    for extension in certificate.extensions() {
        match extension.parsed_extension() {
            ParsedExtension::SubjectAlternativeName(names) => fields.add_names(&names.general_names, Side::Subject),
            ParsedExtension::IssuerAlternativeName(names) => fields.add_names(&names.general_names, Side::Issuer),
            _ => {}
        }
    }
    let serial = hex(certificate.raw_serial());
    let serial = serial.trim_start_matches("00");
    fields.add("SerialNumber", if serial.is_empty() { "00" } else { serial });
    fields.add("CertificateId", &hex(&fingerprint(der)).to_lowercase());
    Ok(fields.0)
}

#[derive(Default)]
struct Fields(Vec<(&'static str, Box<str>)>);

impl Fields {
    fn add(&mut self, name: &'static str, value: &str) {
        if self.0.iter().filter(|(found, _)| *found == name).count() < N_VALUES_MAX {
            self.0.push((name, escaped(value)));
        }
    }

    fn add_name(&mut self, name: &X509Name<'_>, side: Side) {
        for attribute in name.iter_attributes() {
            let arcs: Option<Vec<u64>> = attribute.attr_type().iter().map(Iterator::collect);
            let Some([2, 5, 4, arc]) = arcs.as_deref() else {
                continue;
            };
            let known = ATTRIBUTES.iter().find(|(known, ..)| known == arc);
            if let (Some((_, subject, issuer)), Ok(text)) = (known, attribute.as_str()) {
                self.add(if side == Side::Subject { subject } else { issuer }, text);
            }
        }
    }

    fn add_names(&mut self, names: &[GeneralName<'_>], side: Side) {
        for name in names {
            let (subject, issuer, value) = match name {
                GeneralName::RFC822Name(text) => (
                    "Subject.AlternativeName.RFC822Name",
                    "Issuer.AlternativeName.RFC822Name",
                    (*text).to_owned(),
                ),
                GeneralName::DNSName(text) => (
                    "Subject.AlternativeName.DNSName",
                    "Issuer.AlternativeName.DNSName",
                    (*text).to_owned(),
                ),
                GeneralName::DirectoryName(name) => (
                    "Subject.AlternativeName.DirectoryName",
                    "Issuer.AlternativeName.DirectoryName",
                    name.to_string(),
                ),
                GeneralName::URI(text) => (
                    "Subject.AlternativeName.UniformResourceIdentifier",
                    "Issuer.AlternativeName.UniformResourceIdentifier",
                    (*text).to_owned(),
                ),
                GeneralName::IPAddress(bytes) => {
                    let Some(address) = address_of(bytes) else { continue };
                    (
                        "Subject.AlternativeName.IPAddress",
                        "Issuer.AlternativeName.IPAddress",
                        address.to_string(),
                    )
                }
                _ => continue,
            };
            self.add(if side == Side::Subject { subject } else { issuer }, &value);
        }
    }
}

fn address_of(bytes: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
    v4.or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from)).ok()
}

fn escaped(value: &str) -> Box<str> {
    let mut text = String::with_capacity(value.len());
    for c in value.chars().take(LEN_CHARS_MAX) {
        if ",\"\\+=<>;".contains(c) {
            text.push('\\');
        }
        text.push(c);
    }
    text.into()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02X}")).collect()
}
