//! Topics, as people have them who come from AWS: its command line and its SDK, a receiver that visits the URL it is sent,
//! a signature that openssl verifies, a server that is killed in between.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::fleet::{Fleet, Process, binary, eventually, python};
use crate::link::{Link, report, report_topic};

const TOPIC: &str = "arn:aws:sns:us-east-1:123456789012:BadIoTDevices";

/// `aws ...`, which must succeed; what it answered.
fn aws(fleet: &Fleet, arguments: &[&str]) -> Value {
    let mut command = fleet.program(&python().with_file_name("aws"));
    command.args(["--output", "json"]).args(arguments);
    let output = command.output().unwrap();
    let talk = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "aws {arguments:?}: {talk}");
    serde_json::from_slice(&output.stdout).unwrap_or_default()
}

/// What stands at a URL for everybody.
fn visit(url: &str) -> String {
    let rest = url.strip_prefix("http://").unwrap();
    let (host, path) = rest.split_once('/').unwrap();
    let mut connection = TcpStream::connect(host).unwrap();
    let request = format!("GET /{path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
    connection.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    connection.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200 "), "{url}: {answer}");
    body.to_owned()
}

/// The envelopes that a receiver has printed.
fn envelopes(receiver: &Process) -> Vec<Value> {
    let said = receiver.said();
    said.lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect()
}

/// Waits for the nth envelope.
fn nth(receiver: &Process, nth: usize) -> Value {
    eventually(&format!("message {nth} arrives"), || {
        envelopes(receiver).get(nth).cloned()
    })
}

/// A receiver at an address where one was before.
fn receiver_at(address: SocketAddr) -> Process {
    let mut command = Command::new(binary("picket"));
    command.args(["webhook", "listen", "--listen", &address.to_string()]);
    let receiver = Process::start(command);
    receiver.says("ready ");
    receiver
}

/// Whether openssl takes the signature for one of the certificate that the envelope names.
fn is_signed(fleet: &Fleet, envelope: &Value, members: &[&str]) -> bool {
    let text: String = members
        .iter()
        .map(|name| format!("{name}\n{}\n", envelope[*name].as_str().unwrap()))
        .collect();
    let signature = STANDARD.decode(envelope["Signature"].as_str().unwrap()).unwrap();
    let certificate = visit(envelope["SigningCertURL"].as_str().unwrap());
    let path = |name: &str| fleet.path(name).to_str().unwrap().to_owned();
    for (name, bytes) in [
        ("text", text.as_bytes()),
        ("signature", &signature),
        ("signer.pem", certificate.as_bytes()),
    ] {
        std::fs::write(path(name), bytes).unwrap();
    }
    let openssl = |arguments: &[&str]| Command::new("openssl").args(arguments).output().unwrap();
    let chain = openssl(&["verify", "-CAfile", fleet.ca().to_str().unwrap(), &path("signer.pem")]);
    assert!(chain.status.success(), "the fleet CA vouches for it: {chain:?}");
    let key = openssl(&["x509", "-in", &path("signer.pem"), "-pubkey", "-noout"]);
    std::fs::write(path("signer.pub"), key.stdout).unwrap();
    let (public, signature, text) = (path("signer.pub"), path("signature"), path("text"));
    let verified = openssl(&["dgst", "-sha256", "-verify", &public, "-signature", &signature, &text]);
    verified.status.success()
}

/// A topic with a receiver that has confirmed by visiting the URL it was sent.
fn subscribed(fleet: &Fleet) -> (Process, SocketAddr) {
    let made = aws(fleet, &["sns", "create-topic", "--name", "BadIoTDevices"]);
    assert_eq!(made["TopicArn"], TOPIC);
    let (receiver, address) = fleet.webhook();
    let endpoint = format!("http://{address}/alerts");
    let subscribe = ["sns", "subscribe", "--topic-arn", TOPIC, "--protocol", "http"];
    let asked = aws(
        fleet,
        &[&subscribe[..], &["--notification-endpoint", &endpoint]].concat(),
    );
    assert_eq!(asked["SubscriptionArn"], "pending confirmation");
    let question = nth(&receiver, 0);
    assert_eq!(question["Type"], "SubscriptionConfirmation");
    let members = [
        "Message",
        "MessageId",
        "SubscribeURL",
        "Timestamp",
        "Token",
        "TopicArn",
        "Type",
    ];
    assert!(is_signed(fleet, &question, &members));
    let listed = || aws(fleet, &["sns", "list-subscriptions-by-topic", "--topic-arn", TOPIC]);
    assert_eq!(listed()["Subscriptions"][0]["SubscriptionArn"], "PendingConfirmation");
    let said = visit(question["SubscribeURL"].as_str().unwrap());
    assert!(said.contains(&format!("<SubscriptionArn>{TOPIC}:")), "{said}");
    let arn = listed()["Subscriptions"][0]["SubscriptionArn"]
        .as_str()
        .unwrap()
        .to_owned();
    assert!(said.contains(&arn), "{arn}: {said}");
    (receiver, address)
}

#[test]
fn a_violation_is_published_to_the_topic_of_its_profile() {
    let fleet = Fleet::start("");
    let (receiver, _) = subscribed(&fleet);
    aws(
        &fleet,
        &[
            "sns",
            "publish",
            "--topic-arn",
            TOPIC,
            "--subject",
            "By hand",
            "--message",
            "it's a \"test\" & ünïcode",
        ],
    );
    let by_hand = nth(&receiver, 1);
    assert_eq!(by_hand["Message"], "it's a \"test\" & ünïcode");
    let members = ["Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type"];
    assert!(is_signed(&fleet, &by_hand, &members));
    let mut forged = by_hand.clone();
    forged["Message"] = "another".into();
    assert!(!is_signed(&fleet, &forged, &members));

    let behaviors = json!([{
        "name": "Ports",
        "metric": "aws:listening-tcp-ports",
        "criteria": { "comparisonOperator": "in-port-set", "value": { "ports": [22] } },
    }]);
    let targets = json!({"SNS": {"alertTargetArn": TOPIC, "roleArn": "arn:aws:iam::123456789012:role/any-role"}});
    let (behaviors, targets) = (behaviors.to_string(), targets.to_string());
    let create = ["iot", "create-security-profile", "--security-profile-name", "Story"];
    let with = ["--behaviors", &behaviors, "--alert-targets", &targets];
    aws(&fleet, &[&create[..], &with].concat());
    fleet.cli(&["profile", "attach", "Story", "all/things"]);
    let device = fleet.device("pump-7");
    let mut link = Link::of(&fleet, &device);
    link.report_taken("pump-7", &report(1, 0, &[22]));
    link.publish(&report_topic("pump-7"), report(2, 0, &[22, 4444]).to_string())
        .unwrap();
    let alarm = nth(&receiver, 2);
    assert!(is_signed(
        &fleet,
        &alarm,
        &["Message", "MessageId", "Timestamp", "TopicArn", "Type"]
    ));
    link.report_taken("pump-7", &report(3, 0, &[22]));
    let cleared = nth(&receiver, 3);
    for (envelope, event, ports) in [
        (&alarm, "in-alarm", json!([22, 4444])),
        (&cleared, "alarm-cleared", json!([22])),
    ] {
        assert_eq!(envelope["TopicArn"], TOPIC);
        let alert: Value = serde_json::from_str(envelope["Message"].as_str().unwrap()).unwrap();
        assert_eq!(alert["thingName"], "pump-7");
        assert_eq!(alert["securityProfileName"], "Story");
        assert_eq!(
            (&alert["violationEventType"], &alert["metricValue"]),
            (&event.into(), &json!({ "ports": ports }))
        );
    }

    visit(alarm["UnsubscribeURL"].as_str().unwrap());
    let left = aws(&fleet, &["sns", "list-subscriptions"]);
    assert_eq!(left["Subscriptions"], json!([]));
}

#[test]
fn what_was_published_is_delivered_although_server_and_target_go_down() {
    let mut fleet = Fleet::start("");
    let (receiver, address) = subscribed(&fleet);
    drop(receiver);
    let script = format!(
        "import boto3\nsns = boto3.client('sns')\n\
         for nth in range(5): sns.publish(TopicArn='{TOPIC}', Message=str(nth))\nprint('published')"
    );
    let mut program = fleet.program(&python());
    let mut publishing = Process::start({
        program.args(["-c", &script]);
        program
    });
    publishing.ends();
    fleet.kill();
    let receiver = receiver_at(address);
    fleet.serve();
    nth(&receiver, 4);
    let bodies: Vec<Value> = envelopes(&receiver)
        .iter()
        .map(|envelope| envelope["Message"].clone())
        .collect();
    assert_eq!(bodies, ["0", "1", "2", "3", "4"]);
    let first = envelopes(&receiver)[0].clone();
    assert!(
        is_signed(
            &fleet,
            &first,
            &["Message", "MessageId", "Timestamp", "TopicArn", "Type"]
        ),
        "the key is the same after a restart"
    );
}

/// More topics than are on a page.
const MANY: &str = "
import boto3
sns = boto3.client('sns')
for n in range(101):
    sns.create_topic(Name=f't{n:03}')
print('all are made')
";

#[test]
fn the_operator_makes_a_topic_subscribes_to_it_and_removes_it() {
    let fleet = Fleet::start("");
    assert_eq!(fleet.json(&["topic", "list"]), json!({ "Topics": [] }));
    fleet.cli(&["topic", "create", "BadIoTDevices"]);
    fleet.cli(&["topic", "create", "BadIoTDevices"]);
    assert!(fleet.cli(&["topic", "list"]).contains(TOPIC));

    let (receiver, address) = fleet.webhook();
    let url = format!("http://{address}/alerts?a=<b>&c");
    let asked = fleet.try_cli(&["topic", "subscribe", "BadIoTDevices", &url]);
    let said = String::from_utf8_lossy(&asked.stderr).into_owned();
    assert!(said.contains("is asked whether"), "{said}");
    let shown = fleet.cli(&["topic", "show", "BadIoTDevices"]);
    assert!(
        shown.contains("0 subscribers, 1 have not confirmed") && shown.contains(&url),
        "{shown}"
    );
    visit(nth(&receiver, 0)["SubscribeURL"].as_str().unwrap());
    fleet.cli(&[
        "topic",
        "publish",
        "BadIoTDevices",
        "a test & more",
        "--subject",
        "test",
    ]);
    let told = nth(&receiver, 1);
    assert_eq!([&told["Message"], &told["Subject"]], ["a test & more", "test"]);

    let queue = "arn:aws:sqs:us-east-1:123456789012:queue";
    let raw = [
        "topic",
        "subscribe",
        "BadIoTDevices",
        queue,
        "--protocol",
        "sqs",
        "--raw",
    ];
    let made = fleet.json(&raw);
    let arn = made["SubscriptionArn"].as_str().unwrap();
    let attributes = aws(
        &fleet,
        &["sns", "get-subscription-attributes", "--subscription-arn", arn],
    );
    assert_eq!(attributes["Attributes"]["RawMessageDelivery"], "true");
    fleet.cli(&["topic", "unsubscribe", arn]);
    let shown = fleet.json(&["topic", "show", "BadIoTDevices"]);
    assert_eq!(shown["Attributes"]["SubscriptionsConfirmed"], "1");
    assert_eq!(shown["Subscriptions"].as_array().map(Vec::len), Some(1), "{shown}");

    for (line, part) in [
        (
            "topic subscribe BadIoTDevices somebody",
            "expected an http or https URL, or --protocol",
        ),
        ("topic subscribe Nothing http://127.0.0.1:9/", "NotFound: "),
        ("topic show Nothing", "NotFound: "),
        ("topic create a.fifo", "a.fifo"),
    ] {
        let refused = fleet.try_cli(&line.split(' ').collect::<Vec<_>>());
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(!refused.status.success() && said.contains(part), "{line}: {said}");
    }
    fleet.cli(&["topic", "delete", "BadIoTDevices"]);

    let mut command = fleet.program(&python());
    command.args(["-c", MANY]);
    let mut many = Process::start(command);
    many.says("all are made");
    many.ends();
    let listed = fleet.json(&["topic", "list"]);
    assert_eq!(listed["Topics"].as_array().map(Vec::len), Some(101));
    assert_eq!(listed["NextToken"], Value::Null);
}
