//! What is made here is read by openssl, and what openssl makes is read here.

#![expect(clippy::unwrap_used, reason = "a failed step is a failed test")]

use std::path::Path;
use std::process::Command;

use picket_pki::{Authority, CertificateFacts, KeyKind, fields};

const NOW_MS: i64 = 1_764_000_000_000;

fn openssl(folder: &Path, arguments: &str) -> String {
    let output = Command::new("openssl")
        .args(arguments.split(' '))
        .current_dir(folder)
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "openssl {arguments}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn openssl_verifies_what_the_fleet_ca_signs() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    let made = Authority::create("Fleet CA", NOW_MS).unwrap();
    let authority = Authority::from_pem(made.certificate_pem(), made.private_key_pem()).unwrap();
    write("ca.pem", authority.certificate_pem());
    let names = ["picket.example".to_owned(), "127.0.0.1".to_owned()];
    write(
        "server.pem",
        &authority.issue_server(&names, NOW_MS).unwrap().certificate_pem,
    );
    let verify = "verify -CAfile ca.pem -attime 1764000000 -purpose";
    openssl(
        folder.path(),
        &format!("{verify} sslserver -verify_hostname picket.example server.pem"),
    );
    openssl(
        folder.path(),
        &format!("{verify} sslserver -verify_ip 127.0.0.1 server.pem"),
    );
    for kind in [KeyKind::P256, KeyKind::Rsa2048] {
        let device = authority.issue_device("pump-7", kind, NOW_MS).unwrap();
        write("device.pem", &device.certificate_pem);
        write("device.key", &device.private_key_pem);
        openssl(folder.path(), &format!("{verify} sslclient device.pem"));
        assert_eq!(
            openssl(folder.path(), "pkey -in device.key -pubout"),
            device.public_key_pem.replace("\r\n", "\n")
        );
        let facts = CertificateFacts::from_pem(&device.certificate_pem).unwrap();
        assert_eq!(
            (facts.fingerprint, facts.version, facts.is_ca),
            (device.fingerprint, 3, false)
        );
        let is_pkcs1 = device.private_key_pem.starts_with("-----BEGIN RSA PRIVATE KEY-----");
        assert_eq!(is_pkcs1, kind == KeyKind::Rsa2048);
    }
}

#[test]
fn requests_by_openssl_are_signed() {
    let authority = Authority::create("Fleet CA", NOW_MS).unwrap();
    for (key, more) in [
        ("rsa:2048", ""),
        ("rsa:2048", "-sha512"),
        ("ec -pkeyopt ec_paramgen_curve:P-256", ""),
        ("ec -pkeyopt ec_paramgen_curve:P-256", "-sha384"),
        ("ec -pkeyopt ec_paramgen_curve:P-384", ""),
        ("rsa:2048", "-newhdr"),
        (
            "rsa:2048",
            "-addext subjectKeyIdentifier=hash -addext basicConstraints=critical,CA:TRUE",
        ),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let request = format!("req -new -newkey {key} -nodes -keyout d.key -subj /O=Pumps/CN=pump-7 -out d.csr {more}");
        openssl(folder.path(), request.trim_end());
        let request = std::fs::read_to_string(folder.path().join("d.csr")).unwrap();
        let issued = authority.sign_request(&request, NOW_MS).unwrap();
        assert_eq!(
            openssl(folder.path(), "pkey -in d.key -pubout"),
            issued.public_key_pem,
            "{key} {more}"
        );
        assert!(issued.private_key_pem.is_empty());
        let facts = CertificateFacts::from_pem(&issued.certificate_pem).unwrap();
        assert_eq!(
            (facts.subject.as_str(), facts.is_ca),
            ("O=Pumps, CN=pump-7", false),
            "{key} {more}"
        );
        std::fs::write(folder.path().join("ca.pem"), authority.certificate_pem()).unwrap();
        std::fs::write(folder.path().join("d.pem"), issued.certificate_pem).unwrap();
        openssl(
            folder.path(),
            "verify -CAfile ca.pem -attime 1764000000 -purpose sslclient d.pem",
        );
    }
}

#[test]
fn what_is_no_request_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    openssl(
        folder.path(),
        "req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout d.key -subj /CN=pump-7 -outform DER -out d.csr",
    );
    let mut der = std::fs::read(folder.path().join("d.csr")).unwrap();
    let at = der.windows(6).position(|bytes| bytes == b"pump-7").unwrap();
    der[at + 5] = b'8';
    std::fs::write(folder.path().join("other.csr"), der).unwrap();
    let forged = openssl(folder.path(), "req -in other.csr -inform DER");
    let authority = Authority::create("Fleet CA", NOW_MS).unwrap();
    for (text, reason) in [
        (
            forged.as_str(),
            "signing request is not signed by its own key, or in a way that is not trusted",
        ),
        (
            "nonsense",
            "signing request is not PEM with a CERTIFICATE REQUEST block",
        ),
        (
            authority.certificate_pem(),
            "signing request is not PEM with a CERTIFICATE REQUEST block",
        ),
        (
            "-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n",
            "signing request is not PKCS#10",
        ),
        (
            &"x".repeat(70_000),
            "signing request has 70000 bytes, at most 65536 are read",
        ),
    ] {
        let error = authority.sign_request(text, NOW_MS).map(|_| ()).unwrap_err();
        assert!(error.to_string().starts_with(reason), "{error}");
    }
}

#[test]
fn version_1_certificates_are_read() {
    let folder = tempfile::tempdir().unwrap();
    openssl(
        folder.path(),
        "req -new -newkey rsa:2048 -nodes -keyout d.key -subj /CN=old -out d.csr",
    );
    openssl(folder.path(), "x509 -req -in d.csr -signkey d.key -days 30 -out d.pem");
    let text = std::fs::read_to_string(folder.path().join("d.pem")).unwrap();
    let facts = CertificateFacts::from_pem(&text).unwrap();
    assert_eq!((facts.version, facts.subject.as_str()), (1, "CN=old"));
    assert_eq!(openssl(folder.path(), "pkey -in d.key -pubout"), facts.public_key_pem());
    assert!(facts.not_before_ms < facts.not_after_ms);
}

#[test]
fn what_is_no_certificate_is_refused() {
    for text in [
        "",
        "nonsense",
        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
    ] {
        assert!(CertificateFacts::from_pem(text).is_err(), "{text:?}");
    }
    let long = "x".repeat(70_000);
    assert_eq!(
        CertificateFacts::from_pem(&long).unwrap_err().to_string(),
        "certificate has 70000 bytes, at most 65536 are read"
    );
}

#[test]
fn keys_that_are_too_weak_or_of_another_kind_are_not_certified() {
    let authority = Authority::create("Fleet CA", NOW_MS).unwrap();
    for key in [
        "rsa:1024 -sha1",
        "ed25519",
        "ec -pkeyopt ec_paramgen_curve:P-521",
        "rsa:1024",
    ] {
        let folder = tempfile::tempdir().unwrap();
        let request = format!("req -new -newkey {key} -nodes -keyout d.key -subj /CN=pump-7 -out d.csr");
        openssl(folder.path(), &request);
        let request = std::fs::read_to_string(folder.path().join("d.csr")).unwrap();
        let error = authority.sign_request(&request, NOW_MS).map(|_| ()).unwrap_err();
        let text = error.to_string();
        assert!(
            text.contains("expected RSA with 2048 bits") || text.contains("not signed"),
            "{key}: {text}"
        );
    }
}

#[test]
fn fields_have_the_names_that_policies_know() {
    let folder = tempfile::tempdir().unwrap();
    let subject = "/C=DE/O=A=B, Inc/OU=one/OU=two/CN=pump-7/title=T/GN=G/SN=S/serialNumber=42";
    let names = "subjectAltName=DNS:a.example,DNS:b.example,IP:10.0.0.7,IP:::1,email:a@b.c,URI:urn:x";
    let output = Command::new("openssl")
        .args(
            "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout d.key -days 9 -set_serial 0xab12"
                .split(' '),
        )
        .args(["-subj", subject, "-addext", names, "-outform", "DER", "-out", "d.der"])
        .current_dir(folder.path())
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let der = std::fs::read(folder.path().join("d.der")).unwrap();
    let fields = fields(&der).unwrap();
    let values = |name: &str| {
        let named = fields.iter().filter(|(found, _)| *found == name);
        named.map(|(_, value)| value.as_ref()).collect::<Vec<&str>>().join("|")
    };
    for (name, expected) in [
        ("Subject.Country", "DE"),
        ("Subject.Organization", r"A\=B\, Inc"),
        ("Issuer.Organization", r"A\=B\, Inc"),
        ("Subject.OrganizationalUnit", "one|two"),
        ("Subject.CommonName", "pump-7"),
        ("Issuer.CommonName", "pump-7"),
        ("Subject.Title", "T"),
        ("Subject.GivenName", "G"),
        ("Subject.Surname", "S"),
        ("Subject.SerialNumber", "42"),
        ("Subject.AlternativeName.DNSName", "a.example|b.example"),
        ("Subject.AlternativeName.IPAddress", "10.0.0.7|::1"),
        ("Subject.AlternativeName.RFC822Name", "a@b.c"),
        ("Subject.AlternativeName.UniformResourceIdentifier", "urn:x"),
        ("SerialNumber", "AB12"),
        ("Subject.State", ""),
    ] {
        assert_eq!(values(name), expected, "{name}");
    }
}

#[test]
fn a_certificate_is_signed_by_its_issuer_alone() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["one", "two"] {
        // The same name, other keys.
        let ca = format!("req -x509 -newkey rsa:2048 -nodes -keyout {name}.key -subj /CN=CA -days 9 -out {name}.pem");
        openssl(folder.path(), &ca);
    }
    openssl(
        folder.path(),
        "req -new -newkey rsa:2048 -nodes -keyout d.key -subj /CN=d -out d.csr",
    );
    openssl(
        folder.path(),
        "x509 -req -in d.csr -CA one.pem -CAkey one.key -CAcreateserial -days 9 -out d.pem",
    );
    openssl(
        folder.path(),
        "x509 -req -in d.csr -CA one.pem -CAkey one.key -CAcreateserial -days 9 -sha1 -out s.pem",
    );
    let facts = |name: &str| {
        let text = std::fs::read_to_string(folder.path().join(name)).unwrap();
        CertificateFacts::from_pem(&text).unwrap()
    };
    for (certificate, issuer, expected) in [
        ("d.pem", "one.pem", true),
        ("d.pem", "two.pem", false),
        ("d.pem", "d.pem", false),
        ("s.pem", "one.pem", false),
        ("one.pem", "one.pem", true),
        ("one.pem", "two.pem", false),
    ] {
        assert_eq!(
            facts(certificate).is_signed_by(&facts(issuer)),
            expected,
            "{certificate} by {issuer}"
        );
    }
    assert_eq!(facts("d.pem").common_name.as_deref(), Some("d"));
}
