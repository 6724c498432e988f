//! The API over HTTPS, called by boto3 and by the operator's commands.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;

use picket_pki::Authority;

use crate::fleet::{Fleet, PATIENCE, Process, binary, python};

const SCRIPT: &str = r#"
import sys
import boto3, botocore.exceptions
endpoint, ca, stranger = sys.argv[1:]
once = boto3.session.Config(retries={"max_attempts": 0})

def client(verify, endpoint=endpoint):
    return boto3.client("iot", endpoint_url=endpoint, verify=verify, config=once)

# None: by AWS_CA_BUNDLE, which the CA is in.
for verify in (ca, None):
    client(verify).create_thing(thingName="pump-7")
    assert client(verify).describe_thing(thingName="pump-7")["thingName"] == "pump-7"
# Another authority, and those of the system.
for verify in (stranger, True):
    try:
        client(verify).list_things()
        raise AssertionError("a server of nobody's was trusted")
    except botocore.exceptions.SSLError as error:
        assert "certificate verify failed" in str(error), error
try:
    client(ca, endpoint.replace("https://", "http://")).list_things()
    raise AssertionError("plain HTTP was served")
except botocore.exceptions.ClientError as error:
    assert error.response["Error"]["Code"] == "InvalidRequestException" and "expected HTTPS" in str(error), error
print("all went well")
"#;

const NOW_MS: i64 = 1_790_000_000_000;

/// What the server called itself on stdout, or in its log.
fn url(fleet: &Fleet) -> String {
    let log = fleet.server_log();
    let mut words = log.split_whitespace().filter_map(|word| word.strip_prefix("url="));
    words.next_back().unwrap().to_owned()
}

/// The CA of somebody else.
fn stranger(fleet: &Fleet) -> std::path::PathBuf {
    let path = fleet.path("stranger.pem");
    let authority = Authority::create("somebody else", NOW_MS).unwrap();
    std::fs::write(&path, authority.certificate_pem()).unwrap();
    path
}

fn boto3(fleet: &Fleet, url: &str, ca: &Path) {
    let mut program = fleet.program(&python());
    program.args(["-c", SCRIPT, url]).arg(ca).arg(stranger(fleet));
    program.env("AWS_CA_BUNDLE", ca);
    let mut client = Process::start(program);
    client.says("all went well");
    client.ends();
}

/// An operator's command that knows nothing but this file.
fn picket(fleet: &Fleet, file: &Path, ca: Option<&Path>) -> (bool, String) {
    let mut command = Command::new(binary("picket"));
    command.env_clear().env("HOME", fleet.path("nobody"));
    command.arg("--credentials").arg(file).args(["thing", "list"]);
    if let Some(ca) = ca {
        command.env("PICKET_CA_FILE", ca);
    }
    let output = command.output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8(said).unwrap())
}

#[test]
fn clients_trust_the_fleet_ca_and_nobody_else() {
    let fleet = Fleet::start("api_tls = true");
    let url = url(&fleet);
    assert_eq!(url, format!("https://{}", fleet.api));
    boto3(&fleet, &url, &fleet.ca());
    let operator = fleet.data().join("operator.toml");
    let (is_done, said) = picket(&fleet, &operator, None);
    assert!(is_done && said.contains("pump-7"), "{said}");
    let (is_done, said) = picket(&fleet, &operator, Some(&stranger(&fleet)));
    assert!(!is_done && said.contains("certificate"), "{said}");
}

#[test]
fn elsewhere_than_on_this_machine_https_is_spoken_by_itself() {
    let mut fleet = Fleet::start("");
    let operator = fleet.data().join("operator.toml");
    assert!(picket(&fleet, &operator, None).0);
    fleet.stop();
    let mut command = fleet.serve_command();
    command.args(["--api-listen", "0.0.0.0:0", "--mqtt-listen", "127.0.0.1:0"]);
    let server = Process::start(command);
    server.says("ready ");
    let said = server.said();
    let port = said.split_once("api=0.0.0.0:").unwrap().1.split(' ').next().unwrap();
    let url = format!("https://localhost:{port}");
    assert!(said.contains(&format!("url={url}\n")), "{said}");
    boto3(&fleet, &url, &fleet.ca());
    // The operator's file has followed, and its folder has the CA.
    let (is_done, said) = picket(&fleet, &operator, None);
    assert!(is_done && said.contains("pump-7"), "{said}");
    drop(server);
    fleet.serve();
    assert!(picket(&fleet, &operator, None).0, "and back again");
}

#[test]
fn a_given_certificate_is_shown() {
    let mut fleet = Fleet::unstarted("");
    let authority = Authority::create("the house", NOW_MS).unwrap();
    let issued = authority.issue_server(&["localhost".to_owned()], NOW_MS).unwrap();
    let other = authority.issue_server(&["localhost".to_owned()], NOW_MS).unwrap();
    let file = |name: &str, pem: &str| {
        let path = fleet.path(name);
        std::fs::write(&path, pem).unwrap();
        path
    };
    let house = file("house.pem", authority.certificate_pem());
    let certificate = file("given.pem", &issued.certificate_pem);
    let key = file("given.key", &issued.private_key_pem);
    let foreign = file("other.key", &other.private_key_pem);
    for (certificate, key, expected) in [
        (&certificate, &foreign, "cannot be used"),
        (&key, &key, "no certificate found"),
        (&certificate, &certificate, "no private key found"),
        (&fleet.path("nothing"), &key, "cannot read"),
    ] {
        let mut command = fleet.serve_command();
        command.args(["--api-listen", "127.0.0.1:0", "--mqtt-listen", "127.0.0.1:0"]);
        command
            .arg("--api-certificate")
            .arg(certificate)
            .arg("--api-key")
            .arg(key);
        let mut server = Process::start(command);
        server.says(expected);
        assert_eq!(server.fails(), Some(1), "{}", server.said());
    }
    fleet.configure(&format!("api_certificate = {certificate:?}\napi_key = {key:?}"));
    fleet.serve();
    let url = url(&fleet);
    assert_eq!(url, format!("https://localhost:{}", fleet.api.port()));
    boto3(&fleet, &url, &house);
    let operator = fleet.data().join("operator.toml");
    let (is_done, said) = picket(&fleet, &operator, Some(&house));
    assert!(is_done && said.contains("pump-7"), "{said}");
    assert!(
        !picket(&fleet, &operator, None).0,
        "the house is not known to the system"
    );
    assert!(
        !picket(&fleet, &operator, Some(&fleet.ca())).0,
        "nor does the fleet CA know it"
    );
}

#[test]
fn plain_http_is_not_spoken_elsewhere_than_on_this_machine() {
    let fleet = Fleet::unstarted("");
    let mut command = fleet.serve_command();
    command.args(["--api-listen", "0.0.0.0:0", "--api-tls", "false"]);
    let mut server = Process::start(command);
    server.says("api_listen is 0.0.0.0:0 and api_tls is false, expected an address of this machine only");
    assert_eq!(server.fails(), Some(1), "{}", server.said());
}

#[test]
fn who_says_nothing_holds_nobody_up() {
    let mut fleet = Fleet::start("api_tls = true");
    let operator = fleet.data().join("operator.toml");
    let silent: Vec<TcpStream> = (0..100).map(|_| TcpStream::connect(fleet.api).unwrap()).collect();
    let mut half = TcpStream::connect(fleet.api).unwrap();
    half.write_all(&[0x16, 3, 1, 2, 0, 1]).unwrap();
    assert!(picket(&fleet, &operator, None).0);
    assert!(answer(fleet.api, b"GET /things HTTP/1.1\r\nhost: x\r\n\r\n").contains("expected HTTPS"));
    // Nor does a stop wait for them.
    fleet.stop();
    drop((silent, half));
}

/// What the server says until it closes the connection.
fn answer(server: SocketAddr, request: &[u8]) -> String {
    let mut stream = TcpStream::connect(server).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(request).unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text
}
