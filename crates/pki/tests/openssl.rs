//! What is made here is read by openssl, and what openssl makes is read here.

#![expect(clippy::unwrap_used, reason = "a failed step is a failed test")]

use std::path::Path;
use std::process::Command;

use picket_pki::{Authority, CertificateFacts, KeyKind};

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
fn a_request_by_openssl_is_signed() {
    let folder = tempfile::tempdir().unwrap();
    openssl(
        folder.path(),
        "req -new -newkey rsa:2048 -nodes -keyout d.key -subj /CN=pump-7 -out d.csr",
    );
    let request = std::fs::read_to_string(folder.path().join("d.csr")).unwrap();
    let authority = Authority::create("Fleet CA", NOW_MS).unwrap();
    let issued = authority.sign_request(&request, NOW_MS).unwrap();
    assert_eq!(openssl(folder.path(), "pkey -in d.key -pubout"), issued.public_key_pem);
    assert!(issued.private_key_pem.is_empty());
    assert!(authority.sign_request("nonsense", NOW_MS).is_err());
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
