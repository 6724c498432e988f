//! What is made here shakes hands: TLS 1.2 and 1.3, both kinds of keys.

#![expect(clippy::unwrap_used, reason = "a failed step is a failed test")]

use std::sync::Arc;

use picket_pki::{Authority, Issued, KeyKind};
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection, SupportedProtocolVersion};

const NOW_MS: i64 = 1_764_000_000_000;

fn parts(issued: &Issued) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
    let certificate = CertificateDer::from_pem_slice(issued.certificate_pem.as_bytes()).unwrap();
    let key = PrivateKeyDer::from_pem_slice(issued.private_key_pem.as_bytes()).unwrap();
    (vec![certificate], key)
}

/// Lets the two talk until both are done; gives the certificate that the server saw.
fn shake_hands(client: ClientConfig, server: ServerConfig, name: &'static str) -> Vec<u8> {
    let mut client = ClientConnection::new(Arc::new(client), name.try_into().unwrap()).unwrap();
    let mut server = ServerConnection::new(Arc::new(server)).unwrap();
    while client.is_handshaking() || server.is_handshaking() {
        let mut wire = Vec::new();
        client.write_tls(&mut wire).unwrap();
        let mut unread = wire.as_slice();
        while !unread.is_empty() {
            server.read_tls(&mut unread).unwrap();
            server.process_new_packets().unwrap();
        }
        wire.clear();
        server.write_tls(&mut wire).unwrap();
        let mut unread = wire.as_slice();
        while !unread.is_empty() {
            client.read_tls(&mut unread).unwrap();
            client.process_new_packets().unwrap();
        }
    }
    server.peer_certificates().unwrap()[0].to_vec()
}

#[test]
fn servers_and_devices_know_each_other_by_the_fleet_ca() {
    let authority = Authority::create("Fleet CA", NOW_MS).unwrap();
    let names = ["picket.example", "localhost", "127.0.0.1", "::1"].map(str::to_owned);
    let server = authority.issue_server(&names, NOW_MS).unwrap();
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_slice(authority.certificate_pem().as_bytes()).unwrap())
        .unwrap();
    let roots = Arc::new(roots);
    let provider = Arc::new(default_provider());
    for kind in [KeyKind::P256, KeyKind::Rsa2048] {
        let device = authority.issue_device("pump-7", kind, NOW_MS).unwrap();
        for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
            let versions: [&SupportedProtocolVersion; 1] = [version];
            let (certificates, key) = parts(&device);
            let client = ClientConfig::builder_with_provider(Arc::clone(&provider))
                .with_protocol_versions(&versions)
                .unwrap()
                .with_root_certificates(Arc::clone(&roots))
                .with_client_auth_cert(certificates, key)
                .unwrap();
            let verifier =
                WebPkiClientVerifier::builder_with_provider(Arc::clone(&roots), Arc::clone(&provider)).build();
            let (certificates, key) = parts(&server);
            let server = ServerConfig::builder_with_provider(Arc::clone(&provider))
                .with_protocol_versions(&versions)
                .unwrap()
                .with_client_cert_verifier(verifier.unwrap())
                .with_single_cert(certificates, key)
                .unwrap();
            for name in ["picket.example", "127.0.0.1", "::1"] {
                let seen = shake_hands(client.clone(), server.clone(), name);
                assert_eq!(picket_pki::fingerprint(&seen), device.fingerprint);
            }
        }
    }
}
