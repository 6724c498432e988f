//! Connections where HTTPS is spoken: what becomes of those that never get as far as a request.

#![expect(clippy::unwrap_used, reason = "a failed step is a failed test")]

mod served;

use std::sync::Arc;
use std::time::Duration;

use picket_api::Limits;
use picket_pki::Authority;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use served::{DEADLINE, Served, now};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;

fn acceptor() -> TlsAcceptor {
    let authority = Authority::create("an authority", now().millis()).unwrap();
    let issued = authority
        .issue_server(&["localhost".to_owned()], now().millis())
        .unwrap();
    let certificate = CertificateDer::from_pem_slice(issued.certificate_pem.as_bytes()).unwrap();
    let key = PrivateKeyDer::from_pem_slice(issued.private_key_pem.as_bytes()).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();
    TlsAcceptor::from(Arc::new(config))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handshake_that_does_not_go_on_gives_its_place_back() {
    let limits = Limits {
        n_connections_max: 1,
        handshake_time_max: Duration::from_millis(300),
        ..Limits::default()
    };
    let served = Served::behind(Some(acceptor()), limits).await;
    for sent in [&[][..], &[0x16], &[0x16, 3, 1, 2, 0, 1, 0], &[0x16; 4096]] {
        let mut silent = TcpStream::connect(served.addr).await.unwrap();
        silent.write_all(sent).await.unwrap();
        // There is one place only, and it becomes free for who comes next, although the first has not gone.
        let mut next = TcpStream::connect(served.addr).await.unwrap();
        next.write_all(b"GET /things HTTP/1.1\r\nhost: x\r\n\r\n")
            .await
            .unwrap();
        let mut answer = String::new();
        let read = tokio::time::timeout(DEADLINE, next.read_to_string(&mut answer)).await;
        read.unwrap().unwrap();
        let answer = answer.to_lowercase();
        assert!(answer.starts_with("http/1.1 400 "), "{sent:?}: {answer}");
        assert!(
            answer.contains("\r\nx-amzn-errortype: invalidrequestexception"),
            "{sent:?}: {answer}"
        );
        assert!(answer.contains("expected https"), "{sent:?}: {answer}");
        drop(silent);
    }
}
