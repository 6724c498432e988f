//! A served API over a database of its own, and a client that sends exactly what it is told.

#![expect(clippy::unwrap_used, reason = "a failed step is a failed test")]
#![allow(dead_code, unreachable_pub, reason = "each test file uses a part of this one")]

pub mod violations;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::future::BoxFuture;
use picket_api::broker::{Broker, Connection, NotPublished, Outbound, Retained};
use picket_api::{ApiState, Explainer, Explanation, KeyRing, Limits, Live, MessageCertificate, router_within, serve};
use picket_aws::call::Call;
use picket_aws::service::Service;
use picket_aws::sigv4::{self, Credentials};
use picket_model::name::{BehaviorName, DeviceName, ProfileName};
use picket_model::time::Timestamp;
use picket_pki::{Authority, KeyKind};
use picket_store::access::AccessScope;
use picket_store::history::{History, HistoryLimits};
use picket_store::{Db, DbUrl};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

/// What is longer than any step takes on a busy machine.
pub const DEADLINE: Duration = Duration::from_secs(300);

/// The API, served on a port of its own until this is dropped.
pub struct Served {
    pub addr: SocketAddr,
    pub db: Db,
    pub history: Arc<History>,
    pub credentials: Credentials,
    /// What live sessions were told, in order.
    pub told: Arc<Mutex<Vec<AccessScope>>>,
    server: tokio::task::JoinHandle<()>,
    _folder: tempfile::TempDir,
}

/// An answer.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: String,
}

struct Told(Arc<Mutex<Vec<AccessScope>>>);

impl Live for Told {
    fn changed(&self, scopes: Vec<AccessScope>) -> BoxFuture<'_, ()> {
        self.0.lock().unwrap().extend(scopes);
        Box::pin(std::future::ready(()))
    }
}

struct Knows;

impl Explainer for Knows {
    fn explain<'a>(
        &'a self,
        _: &'a DeviceName,
        _: &'a ProfileName,
        _: &'a BehaviorName,
    ) -> BoxFuture<'a, Option<Explanation>> {
        Box::pin(std::future::ready(None))
    }
}

impl MessageCertificate for Knows {
    fn pem<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Option<String>> {
        let pem = (id == "known").then(|| "the certificate".to_owned());
        Box::pin(std::future::ready(pem))
    }
}

/// No device is there.
struct Nobody;

impl Broker for Nobody {
    fn publish(&self, _: Outbound) -> Result<(), NotPublished> {
        Ok(())
    }

    fn retained(&self, _: &str) -> Option<Retained> {
        None
    }

    fn retained_after(&self, _: Option<&str>, _: usize) -> Vec<Retained> {
        Vec::new()
    }

    fn connection(&self, _: &DeviceName) -> Option<Connection> {
        None
    }

    fn subscriptions(&self, _: &DeviceName) -> Option<Vec<(String, u8)>> {
        None
    }

    fn dismiss<'a>(&'a self, _: &'a DeviceName, _: bool, _: bool) -> BoxFuture<'a, bool> {
        Box::pin(std::future::ready(false))
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.server.abort();
    }
}

#[expect(clippy::disallowed_methods, reason = "real clients sign with the real time")]
pub fn now() -> Timestamp {
    let since = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap();
    Timestamp::from_millis(since.as_millis().try_into().unwrap())
}

impl Served {
    pub async fn start() -> Self {
        Self::within(Limits::default()).await
    }

    pub async fn within(limits: Limits) -> Self {
        Self::behind(None, limits).await
    }

    /// With keys for devices as AWS makes them, which takes longer.
    pub async fn with_rsa_keys() -> Self {
        Self::with(None, Limits::default(), KeyKind::Rsa2048).await
    }

    /// With TLS, if there is any.
    pub async fn behind(tls: Option<TlsAcceptor>, limits: Limits) -> Self {
        Self::with(tls, limits, KeyKind::P256).await
    }

    async fn with(tls: Option<TlsAcceptor>, limits: Limits, key_kind: KeyKind) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let db = Db::open(&DbUrl::Sqlite(folder.path().join("picket.db"))).await.unwrap();
        let keys = KeyRing::new(&KeyRing::generate().unwrap()).unwrap();
        let credentials = keys.create(&db, "operator", now()).await.unwrap();
        let told = Arc::new(Mutex::new(Vec::new()));
        let limits_of_history = HistoryLimits {
            age_max: Duration::from_secs(14 * 86_400),
            wait_max: Duration::from_secs(3600),
            buffer_bytes_max: 1 << 20,
        };
        let history = History::open(&folder.path().join("history"), 1, limits_of_history)
            .await
            .unwrap();
        let history = Arc::new(history);
        let state = ApiState {
            db: db.clone(),
            history: Arc::clone(&history),
            live: Arc::new(Told(Arc::clone(&told))),
            explainer: Arc::new(Knows),
            message_certificate: Arc::new(Knows),
            broker: Arc::new(Nobody),
            account_id: "123456789012".to_owned(),
            region: "us-east-1".to_owned(),
            endpoint_names: vec!["picket.test".to_owned()],
            mqtt_port: 8883,
            mqtt_alpn_port: None,
            authority: Arc::new(Authority::create("fleet CA of a test", now().millis()).unwrap()),
            key_kind,
            clock: Arc::new(now),
            keys,
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let server = tokio::spawn(async move {
            serve(
                listener,
                tls,
                router_within(state, limits),
                limits,
                std::future::pending(),
            )
            .await
            .unwrap();
        });
        Self {
            addr,
            db,
            history,
            credentials,
            told,
            server,
            _folder: folder,
        }
    }

    /// What live sessions were told since this was asked last.
    pub fn told(&self) -> Vec<AccessScope> {
        std::mem::take(&mut self.told.lock().unwrap())
    }

    /// Sends a request as it is, and reads the answer.
    pub async fn send(&self, method: &str, target: &str, headers: &[(&str, String)], body: &[u8]) -> Answer {
        let mut request = format!(
            "{method} {target} HTTP/1.1\r\nconnection: close\r\ncontent-length: {}\r\n",
            body.len()
        );
        for (name, value) in headers {
            request += &format!("{name}: {value}\r\n");
        }
        let mut bytes = (request + "\r\n").into_bytes();
        bytes.extend_from_slice(body);
        let mut connection = TcpStream::connect(self.addr).await.unwrap();
        // Who refuses a body need not read it.
        let _ = connection.write_all(&bytes).await;
        let mut answer = Vec::new();
        let _ = tokio::time::timeout(DEADLINE, connection.read_to_end(&mut answer))
            .await
            .unwrap();
        let text = String::from_utf8(answer).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        Answer {
            status: head.split(' ').nth(1).unwrap().parse().unwrap(),
            head: head.to_lowercase(),
            body: body.to_owned(),
        }
    }

    /// Signs a call and sends it.
    pub async fn call(&self, call: Call) -> Answer {
        let headers = call.signed(&self.addr.to_string(), &self.credentials, "eu-central-1", now());
        self.send(call.method(), &call.target(), &headers, call.body()).await
    }

    /// Signs a request as it is, whatever its path, query and body hold, and sends it.
    pub async fn raw(&self, method: &str, target: &str, body: &[u8]) -> Answer {
        let host = self.addr.to_string();
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let request = sigv4::Request {
            method,
            path,
            query,
            headers: &[("host", host.as_str())],
            body,
        };
        let service = Service::Iot.signing_name();
        let mut headers = sigv4::sign(&request, &self.credentials, "eu-central-1", service, now());
        headers.push(("host", host.clone()));
        self.send(method, target, &headers, body).await
    }

    /// A call that is answered with 200.
    pub async fn ok(&self, call: Call) -> Value {
        let answer = self.call(call.clone()).await;
        assert_eq!(answer.status, 200, "{call:?}: {answer:?}");
        answer.json()
    }

    /// Runs a Python script of this folder against the API, in the environment that `scripts/setup.sh` makes; what it prints.
    pub async fn python(&self, script: &str, arguments: &[&str]) -> String {
        let python = room().join("../../target/test-venv/bin/python");
        assert!(
            python.exists(),
            "the Python environment is missing: run scripts/setup.sh"
        );
        let mut command = tokio::process::Command::new(python);
        command.arg(room().join("tests").join(script)).args(arguments);
        self.client(command, script).await
    }

    /// Runs AWS's client for Rust against the API, the program in tests/aws-sdk.
    pub async fn aws_sdk(&self) {
        let executable = std::env::current_exe().unwrap();
        let target = executable.ancestors().nth(3).unwrap().join("aws-sdk");
        let folder = room().join("../../tests/aws-sdk");
        // `make test` has built it; who runs this test alone waits for it here.
        let mut build = tokio::process::Command::new(env!("CARGO"));
        build
            .args(["build", "--quiet", "--locked", "--target-dir"])
            .arg(&target)
            .current_dir(folder);
        assert!(build.status().await.unwrap().success(), "tests/aws-sdk does not build");
        let program = target.join("debug/picket-test-aws-sdk");
        self.client(tokio::process::Command::new(program), "aws-sdk-iot").await;
    }

    /// Runs a client of AWS's to its end, with a server and a key in the environment and nothing else.
    async fn client(&self, mut command: tokio::process::Command, name: &str) -> String {
        command
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", self._folder.path())
            .env("AWS_ENDPOINT_URL", format!("http://{}", self.addr))
            .env("AWS_ACCESS_KEY_ID", &self.credentials.access_key_id)
            .env("AWS_SECRET_ACCESS_KEY", &self.credentials.secret_access_key)
            .env("AWS_DEFAULT_REGION", "eu-central-1")
            .env("AWS_MAX_ATTEMPTS", "1")
            .env("AWS_EC2_METADATA_DISABLED", "true")
            .stdin(Stdio::null())
            .kill_on_drop(true);
        let output = tokio::time::timeout(DEADLINE, command.output()).await.unwrap().unwrap();
        let (out, err) = (
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr),
        );
        assert!(output.status.success(), "{name}:\n{out}\n{err}");
        out.into_owned()
    }
}

fn room() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }

    /// The value of a header; empty when there is none.
    pub fn header(&self, name: &str) -> &str {
        let line = self
            .head
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        line.unwrap_or_default()
    }
}
