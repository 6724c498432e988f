//! The receiver prints what a sender posts, one line for each alert.

#![expect(clippy::unwrap_used, reason = "a failed step is a failed test")]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Command, Stdio};

fn post(address: &str, body: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    let head = format!(
        "POST /alerts HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(body.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer.lines().next().unwrap().to_owned()
}

#[test]
fn alerts_are_printed_one_a_line() {
    let mut receiver = Command::new(env!("CARGO_BIN_EXE_picket"))
        .args(["webhook", "listen", "--listen", "127.0.0.1:0"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(receiver.stdout.take().unwrap())
        .lines()
        .map(Result::unwrap);
    let address = lines.next().unwrap().strip_prefix("ready ").unwrap().to_owned();
    assert_eq!(
        post(&address, "{\n \"violationId\": \"76ef\"\n}"),
        "HTTP/1.1 204 No Content"
    );
    assert_eq!(lines.next().unwrap(), "{  \"violationId\": \"76ef\" }");
    assert_eq!(post(&address, &"x".repeat(300_000)), "HTTP/1.1 413 Payload Too Large");
    assert_eq!(post(&address, "{}"), "HTTP/1.1 204 No Content");
    assert_eq!(lines.next().unwrap(), "{}");
    receiver.kill().unwrap();
    receiver.wait().unwrap();
}
