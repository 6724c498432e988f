//! A server that follows a script, and the agent that meets it.

#![expect(clippy::panic, reason = "a failed step is a failed test")]

use std::cell::RefCell;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::Duration;

use picket_model::name::DeviceName;
use picket_model::report::Report;
use picket_model::report::reply::{Accepted, RejectCode, Rejected};
use picket_model::time::Timestamp;
use picket_model::topic::{DefenderTopic, Format, TopicKind};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, ServerConnection, StreamOwned};

/// How long a step may take before the test fails.
const PATIENCE: Duration = Duration::from_secs(20);

/// What the server does on one connection, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Act {
    /// Takes CONNECT.
    Accept,
    /// Refuses CONNECT: not authorized.
    Refuse,
    /// Grants the subscriptions.
    Grant,
    /// Refuses the subscriptions.
    Deny,
    /// Reads a report and acknowledges it.
    Acknowledge,
    /// Says of the last report that it was accepted.
    SayAccepted,
    /// Says of the last report that it was rejected.
    SayRejected,
    /// Expects DISCONNECT.
    Goodbye,
    /// Reads a report, if no other act has, and closes the connection without a word.
    Cut,
}

/// A report as it arrived.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Sent {
    topic: String,
    payload: Vec<u8>,
}

impl Sent {
    pub(crate) fn report(&self) -> Report {
        match self.topic().format {
            Format::Json => Report::from_json(&self.payload).unwrap(),
            Format::Cbor => Report::from_cbor(&self.payload).unwrap(),
        }
    }

    fn topic(&self) -> DefenderTopic {
        DefenderTopic::parse(&self.topic).unwrap().unwrap()
    }
}

/// A TLS server with a certificate authority of its own.
pub(crate) struct Server {
    listener: TcpListener,
    tls: Arc<ServerConfig>,
    folder: tempfile::TempDir,
}

impl Server {
    pub(crate) fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let ca_key = KeyPair::generate().unwrap();
        let mut ca = CertificateParams::new(Vec::new()).unwrap();
        ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let ca_pem = ca.self_signed(&ca_key).unwrap().pem();
        let issuer = Issuer::new(ca, ca_key);
        let issue = |name: &str| {
            let key = KeyPair::generate().unwrap();
            let certificate = CertificateParams::new(vec![name.to_owned()]).unwrap();
            (certificate.signed_by(&key, &issuer).unwrap().pem(), key.serialize_pem())
        };
        let (device_pem, device_key) = issue("device");
        for (name, text) in [("ca.pem", &ca_pem), ("cert.pem", &device_pem), ("key.pem", &device_key)] {
            std::fs::write(folder.path().join(name), text).unwrap();
        }
        let (pem, key) = issue("127.0.0.1");
        let provider = Arc::new(ring::default_provider());
        let mut roots = RootCertStore::empty();
        roots
            .add(CertificateDer::from_pem_slice(ca_pem.as_bytes()).unwrap())
            .unwrap();
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone());
        let tls = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_client_cert_verifier(verifier.build().unwrap())
            .with_single_cert(
                vec![CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()],
                PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap(),
            )
            .unwrap();
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        set_socket_timeout(&listener, Timeout::Recv, Some(PATIENCE)).unwrap();
        Self {
            listener,
            tls: Arc::new(tls),
            folder,
        }
    }

    /// Meets the agent's next connection by a script, and gives the reports that arrived on it.
    pub(crate) fn meet(&self, acts: &[Act]) -> Vec<Sent> {
        let (tcp, _) = self.listener.accept().unwrap();
        tcp.set_nodelay(true).unwrap();
        tcp.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut link = StreamOwned::new(ServerConnection::new(self.tls.clone()).unwrap(), tcp);
        let mut reports = Vec::new();
        for &act in acts {
            play(act, &mut link, &mut reports);
        }
        link.conn.send_close_notify();
        let _ = link.flush();
        reports
    }
}

type Link = StreamOwned<ServerConnection, TcpStream>;

const CONNECT: u8 = 0x10;
const PUBLISH_QOS_1: u8 = 0x32;
const PUBACK: u8 = 0x40;
const SUBSCRIBE: u8 = 0x82;
const DISCONNECT: u8 = 0xe0;

fn play(act: Act, link: &mut Link, reports: &mut Vec<Sent>) {
    match act {
        Act::Accept | Act::Refuse => {
            read_packet(link, CONNECT);
            let code = if act == Act::Accept { 0 } else { 5 };
            link.write_all(&[0x20, 2, 0, code]).unwrap();
        }
        Act::Grant | Act::Deny => {
            let body = read_packet(link, SUBSCRIBE);
            let code = if act == Act::Grant { 1 } else { 0x80 };
            link.write_all(&[0x90, 4, body[0], body[1], code, code]).unwrap();
        }
        Act::Acknowledge => {
            let id = read_report(link, reports);
            link.write_all(&[0x40, 2, id[0], id[1]]).unwrap();
        }
        Act::SayAccepted | Act::SayRejected => answer(act, link, reports.last().unwrap()),
        Act::Goodbye => drop(read_packet(link, DISCONNECT)),
        Act::Cut if reports.is_empty() => drop(read_report(link, reports)),
        Act::Cut => {}
    }
}

fn read_report(link: &mut Link, reports: &mut Vec<Sent>) -> [u8; 2] {
    let body = read_packet(link, PUBLISH_QOS_1);
    let (topic, rest) = body[2..].split_at(usize::from(u16::from_be_bytes([body[0], body[1]])));
    reports.push(Sent {
        topic: String::from_utf8(topic.to_vec()).unwrap(),
        payload: rest[2..].to_vec(),
    });
    [rest[0], rest[1]]
}

/// The body of the next packet, which must be of one kind. Acknowledgements of our own publishes are passed over.
fn read_packet(link: &mut Link, kind: u8) -> Vec<u8> {
    loop {
        let found = read_byte(link);
        let (mut len, mut shift) = (0, 0);
        loop {
            let byte = read_byte(link);
            len |= usize::from(byte & 0x7f) << shift;
            shift += 7;
            if byte < 0x80 {
                break;
            }
        }
        let mut body = vec![0; len];
        link.read_exact(&mut body).unwrap();
        if found != PUBACK {
            assert_eq!(found, kind, "kind of packet");
            return body;
        }
    }
}

fn read_byte(link: &mut Link) -> u8 {
    let mut byte = [0];
    link.read_exact(&mut byte).unwrap();
    byte[0]
}

fn answer(act: Act, link: &mut Link, sent: &Sent) {
    let topic = sent.topic();
    let (thing, report_id, at): (DeviceName, _, _) =
        (topic.thing.clone(), sent.report().report_id, Timestamp::from_millis(1));
    let (kind, payload) = if act == Act::SayAccepted {
        let accepted = Accepted { thing, report_id, at };
        (TopicKind::Accepted, accepted.encode(topic.format))
    } else {
        let rejected = Rejected {
            thing,
            report_id: Some(report_id),
            code: RejectCode::Throttled,
            message: "too many".to_owned(),
            at,
        };
        (TopicKind::Rejected, rejected.encode(topic.format))
    };
    let topic = topic.with_kind(kind).to_string();
    let mut body = u16::try_from(topic.len()).unwrap().to_be_bytes().to_vec();
    body.extend(topic.as_bytes());
    body.extend([0, 1]);
    body.extend(payload);
    let mut packet = vec![PUBLISH_QOS_1];
    let mut len = body.len();
    while 0x7f < len {
        packet.push(u8::try_from(len & 0x7f).unwrap() | 0x80);
        len >>= 7;
    }
    packet.push(u8::try_from(len).unwrap());
    packet.extend(body);
    link.write_all(&packet).unwrap();
}

/// A running agent; killed when dropped.
pub(crate) struct Agent {
    child: Child,
    lines: Receiver<String>,
    log: RefCell<String>,
}

impl Agent {
    /// Starts an agent for `Thing03` that reports every second.
    pub(crate) fn start(server: &Server, more: &[&str]) -> Self {
        let file = |name: &str| server.folder.path().join(name);
        let mut child = Command::new(env!("CARGO_BIN_EXE_picket-agent"))
            .args(["-e", &server.listener.local_addr().unwrap().to_string()])
            .args(["-id", "Thing03", "-i", "1"])
            .arg("-r")
            .arg(file("ca.pem"))
            .arg("-c")
            .arg(file("cert.pem"))
            .arg("-k")
            .arg(file("key.pem"))
            .args(more)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let (sender, lines) = mpsc::channel();
        std::thread::spawn(move || {
            stderr
                .lines()
                .map_while(Result::ok)
                .try_for_each(|line| sender.send(line))
        });
        Self {
            child,
            lines,
            log: RefCell::default(),
        }
    }

    /// Waits until the agent has said something.
    pub(crate) fn wait_for(&self, wanted: &str) {
        while !self.log.borrow().contains(wanted) {
            assert!(self.has_said_more(), "{wanted}: {}", self.log.borrow());
        }
    }

    /// Stops the agent as its user does, and gives all that it said.
    pub(crate) fn stop(mut self) -> String {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        while self.has_said_more() {}
        assert!(self.child.wait().unwrap().success(), "{}", self.log.borrow());
        self.log.take()
    }

    /// Waits for one more line; false when there will be none.
    fn has_said_more(&self) -> bool {
        match self.lines.recv_timeout(PATIENCE) {
            Ok(line) => {
                self.log.borrow_mut().extend([line.as_str(), "\n"]);
                true
            }
            Err(RecvTimeoutError::Disconnected) => false,
            Err(RecvTimeoutError::Timeout) => panic!("the agent fell silent: {}", self.log.borrow()),
        }
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
