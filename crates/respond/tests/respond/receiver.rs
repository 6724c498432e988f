//! A webhook's target: a real server on loopback that answers as it is told and remembers what it was sent.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// How long a fact is waited for: longer than a busy disk takes to sync.
pub(crate) const DEADLINE: Duration = Duration::from_secs(180);

/// What the target does with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// Answers with this status.
    Status(u16),
    /// Reads the request and never answers.
    Hang,
    /// Reads the request and closes the connection.
    Cut,
}

/// One request.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    /// The request line and the headers, in lower case.
    pub(crate) head: String,
    pub(crate) body: Value,
    pub(crate) answer: Answer,
}

/// A target. It ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Receiver {
    address: SocketAddr,
    received: watch::Receiver<Vec<Request>>,
    _listening: JoinSet<()>,
}

type Script = Arc<Mutex<dyn FnMut(&Value) -> Answer + Send>>;

/// An address at which nobody listens yet, and nobody else can.
pub(crate) struct Reserved(TcpSocket);

impl Reserved {
    pub(crate) fn new() -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        Self(socket)
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/alerts", self.0.local_addr().unwrap())
    }

    pub(crate) fn listen(self, script: impl FnMut(&Value) -> Answer + Send + 'static) -> Receiver {
        Receiver::on(self.0.listen(64).unwrap(), script)
    }
}

impl Receiver {
    /// A target that does with each request what the script says.
    pub(crate) async fn start(script: impl FnMut(&Value) -> Answer + Send + 'static) -> Self {
        Self::on(TcpListener::bind("127.0.0.1:0").await.unwrap(), script)
    }

    /// A target that takes everything.
    pub(crate) async fn willing() -> Self {
        Self::start(|_| Answer::Status(200)).await
    }

    fn on(listener: TcpListener, script: impl FnMut(&Value) -> Answer + Send + 'static) -> Self {
        let address = listener.local_addr().unwrap();
        let (requests, received) = watch::channel(Vec::new());
        let script: Script = Arc::new(Mutex::new(script));
        let mut listening = JoinSet::new();
        listening.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                connections.spawn(serve(stream, requests.clone(), Arc::clone(&script)));
            }
        });
        Self {
            address,
            received,
            _listening: listening,
        }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/alerts", self.address)
    }

    /// What came so far.
    pub(crate) fn requests(&self) -> Vec<Request> {
        self.received.borrow().clone()
    }

    /// The devices of the alerts that were taken, in the order in which they were, repeats included.
    pub(crate) fn taken(&self) -> Vec<String> {
        let is_taken = |request: &&Request| request.answer == Answer::Status(200);
        self.requests().iter().filter(is_taken).map(thing).collect()
    }

    /// Waits until what came so far is as wanted.
    pub(crate) async fn until(&self, what: &str, is_it: impl Fn(&[Request]) -> bool) {
        let mut received = self.received.clone();
        let waited = tokio::time::timeout(DEADLINE, received.wait_for(|requests| is_it(requests)));
        if waited.await.is_err() {
            panic!("never {what}: {:?}", self.requests());
        }
    }

    /// Waits until an alert about this device was taken.
    pub(crate) async fn until_taken(&self, name: &str) {
        let is_it = |request: &Request| request.answer == Answer::Status(200) && thing(request) == name;
        self.until(name, |requests| requests.iter().any(is_it)).await;
    }
}

/// The device that a request is about.
pub(crate) fn thing(request: &Request) -> String {
    request.body["thingName"].as_str().unwrap().to_owned()
}

/// Answers the requests of one connection, one after the other.
async fn serve(stream: TcpStream, requests: watch::Sender<Vec<Request>>, script: Script) {
    let mut stream = BufReader::new(stream);
    // A client that goes away in the middle has sent nothing.
    while let Some((head, body)) = request(&mut stream).await {
        let answer = (script.lock().unwrap())(&body);
        requests.send_modify(|requests| requests.push(Request { head, body, answer }));
        match answer {
            Answer::Status(status) => {
                let text = format!("HTTP/1.1 {status} said\r\nlocation: /elsewhere\r\ncontent-length: 2\r\n\r\n{{}}");
                if stream.write_all(text.as_bytes()).await.is_err() {
                    return;
                }
            }
            Answer::Hang => std::future::pending().await,
            Answer::Cut => return,
        }
    }
}

async fn request(stream: &mut BufReader<TcpStream>) -> Option<(String, Value)> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if stream.read_line(&mut head).await.ok()? == 0 {
            return None;
        }
    }
    let head = head.to_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "))?;
    let mut body = vec![0; length.trim().parse().unwrap()];
    stream.read_exact(&mut body).await.ok()?;
    Some((head, serde_json::from_slice(&body).unwrap()))
}
