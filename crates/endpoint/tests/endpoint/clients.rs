//! Clients that others wrote: mosquitto's programs, and paho in Python.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use picket_endpoint::Recheck;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use crate::certificates::version_1_certificate;
use crate::world::{Mood, World, all_but, within, write_credentials};

/// A folder with what a client needs to connect.
struct Files {
    folder: tempfile::TempDir,
}

impl Files {
    fn of(world: &World, certificate_pem: &str, private_key_pem: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        write_credentials(folder.path(), world, certificate_pem, private_key_pem);
        Self { folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn mosquitto(&self, program: &str, world: &World, client_id: &str, rest: &[&str]) -> Command {
        let mut command = Command::new(program);
        command.args([
            "-h",
            "127.0.0.1",
            "-p",
            &world.address.port().to_string(),
            "-i",
            client_id,
        ]);
        for (flag, name) in [("--cafile", "ca.pem"), ("--cert", "cert.pem"), ("--key", "key.pem")] {
            command.arg(flag).arg(self.path(name));
        }
        command.args(rest).kill_on_drop(true).stdin(Stdio::null());
        command
    }
}

/// Whether a program says that all went well.
async fn succeeds(mut command: Command) -> bool {
    within("the program ends", command.output())
        .await
        .unwrap()
        .status
        .success()
}

/// The lines of a subscriber, once it has subscribed.
async fn lines(world: &World, mut command: Command, n_subscriptions: usize) -> (Child, impl AsyncFnMut() -> String) {
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    crate::world::eventually("the program subscribes", || {
        (n_subscriptions <= world.handle.n_subscriptions()).then_some(())
    })
    .await;
    (child, async move || {
        within("a line", lines.next_line()).await.unwrap().unwrap()
    })
}

#[tokio::test]
async fn mosquitto_publishes_and_subscribes() {
    let world = World::start().await;
    let files = Files::of(&world, &world.device.certificate_pem, &world.device.private_key_pem);
    for version in ["mqttv311", "mqttv5"] {
        for tls in ["tlsv1.2", "tlsv1.3"] {
            let flags = ["-V", version, "--tls-version", tls];
            let with = |rest: &[&'static str]| flags.iter().copied().chain(rest.iter().copied()).collect::<Vec<_>>();
            let sub = files.mosquitto(
                "mosquitto_sub",
                &world,
                "sub",
                &with(&["-v", "-q", "1", "-t", "t/#", "-t", "$aws/things/pub/#"]),
            );
            let (child, mut line) = lines(&world, sub, 2).await;
            let publish = |topic, payload, qos| {
                files.mosquitto(
                    "mosquitto_pub",
                    &world,
                    "pub",
                    &with(&["-t", topic, "-m", payload, "-q", qos]),
                )
            };
            assert!(succeeds(publish("t/1", "one", "1")).await, "{version} {tls}");
            assert!(succeeds(publish("t/0", "zero", "0")).await, "{version} {tls}");
            assert!(
                succeeds(publish("$aws/things/pub/defender/metrics/json", "{}", "1")).await,
                "{version} {tls}"
            );
            assert_eq!(line().await, "t/1 one");
            assert_eq!(line().await, "t/0 zero");
            assert_eq!(line().await, "$aws/things/pub/defender/metrics/json/accepted {}");
            drop((child, line));
            world.until_connected("sub", false).await;
        }
    }
    let unknown = world.issue("unknown");
    let strangers = Files::of(&world, &unknown.certificate_pem, &unknown.private_key_pem);
    assert!(!succeeds(strangers.mosquitto("mosquitto_pub", &world, "pub", &["-t", "t", "-m", "x", "-q", "1"])).await);
    world.gate.set("pub", &all_but("Connect", "*"));
    assert!(!succeeds(files.mosquitto("mosquitto_pub", &world, "pub", &["-t", "t", "-m", "x", "-q", "1"])).await);
}

#[tokio::test]
async fn mosquitto_with_a_version_1_certificate() {
    let world = World::start().await;
    let folder = tempfile::tempdir().unwrap();
    let old = version_1_certificate(folder.path());
    let files = Files::of(&world, &old.certificate_pem, &old.private_key_pem);
    for is_known in [false, true] {
        if is_known {
            world.gate.register(&old.certificate_pem);
        }
        for tls in ["tlsv1.2", "tlsv1.3"] {
            let rest = ["-t", "t", "-m", "x", "-q", "1", "--tls-version", tls];
            assert_eq!(
                succeeds(files.mosquitto("mosquitto_pub", &world, "c", &rest)).await,
                is_known,
                "{tls}"
            );
        }
    }
}

/// Connects, subscribes, reports and leaves a will, in the version and with the TLS that its arguments say; prints what it
/// sees, line by line.
const PAHO: &str = r#"
import ssl, sys
import paho.mqtt.client as mqtt
folder, port, version, tls, name = sys.argv[1:]
five = version == "5"
say = lambda *words: print(*words, flush=True)
try:
    c = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id=name,
                    protocol=mqtt.MQTTv5 if five else mqtt.MQTTv311, **({} if five else {"clean_session": False}))
    reason = lambda code: code.value
except AttributeError:
    sys.exit("paho-mqtt 2 is needed")
context = ssl.create_default_context(cafile=folder + "/ca.pem")
context.load_cert_chain(folder + "/cert.pem", folder + "/key.pem")
context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_2 if tls == "1.2" else ssl.TLSVersion.TLSv1_3
c.tls_set_context(context)
c.will_set("will", "gone", qos=1)
TOPIC = "$aws/things/" + name + "/defender/metrics/json"
def on_connect(client, userdata, flags, code, properties):
    say("connected", reason(code), int(flags.session_present))
    client.subscribe([(TOPIC + "/accepted", 1), (TOPIC + "/rejected", 1), ("t/#", 1)])
def on_subscribe(client, userdata, mid, codes, properties):
    say("subscribed", *[reason(code) for code in codes])
    client.publish("t/kept", "k", qos=1, retain=True)
    client.publish(TOPIC, "{}", qos=1)
def on_publish(client, userdata, mid, code, properties):
    say("acknowledged", reason(code))
def on_message(client, userdata, message):
    say("message", message.topic, message.payload.decode(), message.qos)
def on_disconnect(client, userdata, flags, code, properties):
    say("disconnected", reason(code))
    sys.exit(0)
c.on_connect, c.on_subscribe, c.on_publish = on_connect, on_subscribe, on_publish
c.on_message, c.on_disconnect = on_message, on_disconnect
c.connect("localhost", int(port), 60)
c.loop_forever(retry_first_connection=False)
"#;

#[tokio::test]
async fn paho_connects_reports_and_is_cut() {
    let world = World::start().await;
    world.inbox.set(Mood::Accepts);
    let files = Files::of(&world, &world.device.certificate_pem, &world.device.private_key_pem);
    let python = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/test-venv/bin/python");
    assert!(python.exists(), "no {}: run scripts/setup.sh first", python.display());
    let (watcher, mut seen) = world.connect("watcher").await;
    watcher
        .subscribe(&[("will", picket_mqtt::Qos::AtLeastOnce)])
        .await
        .unwrap();
    for version in ["3", "5"] {
        for tls in ["1.2", "1.3"] {
            let name = format!("paho-{version}-{tls}");
            let mut command = Command::new(&python);
            command.args(["-c", PAHO]).arg(files.folder.path()).args([
                &world.address.port().to_string(),
                version,
                tls,
                &name,
            ]);
            command.stdout(Stdio::piped()).stdin(Stdio::null()).kill_on_drop(true);
            let mut child = command.spawn().unwrap();
            let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
            let mut said = Vec::new();
            // Two acknowledgements and two messages, in an order that is the client's business.
            while said.len() < 6 {
                said.push(
                    within("paho speaks", lines.next_line())
                        .await
                        .unwrap()
                        .expect("paho speaks on"),
                );
            }
            said[2..].sort();
            assert_eq!(
                said,
                [
                    "connected 0 0",
                    "subscribed 1 1 1",
                    "acknowledged 0",
                    "acknowledged 0",
                    &format!("message $aws/things/{name}/defender/metrics/json/accepted {{}} 1"),
                    "message t/kept k 1",
                ],
                "version {version}, TLS {tls}"
            );
            world.gate.quarantine(&name);
            world.handle.recheck(Recheck::Client(name.parse().unwrap())).await;
            let last = within("paho ends", lines.next_line()).await.unwrap().unwrap();
            assert!(
                last.starts_with("disconnected ") && (version == "3" || last == "disconnected 152"),
                "{last}"
            );
        }
    }
    watcher
        .publish("will", "marker", picket_mqtt::Qos::AtLeastOnce, false)
        .await
        .unwrap();
    assert_eq!(
        crate::world::until(&mut seen, "will=marker").await,
        ["will=marker"],
        "no quarantined device leaves a will"
    );
}
