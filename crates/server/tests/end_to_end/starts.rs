//! How a server starts, and stops: what it needs, what it says when it does not get it, and what a stop leaves behind.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use bytes::Bytes;
use picket_model::record::{Record, ReportRecord, Sender, Stamped};
use picket_model::report::{Report, payload_hash};
use picket_model::time::Timestamp;
use picket_store::log::{Append, LogLimits, PartitionId, ReportLog as _, Seq, SqliteLog, partition_of};
use serde_json::json;

use crate::fleet::{ACCESS_KEY_ID, Device, Fleet, Process, eventually};
use crate::link::{Link, report};

const N_PARTITIONS: u16 = 16;

/// Any port of this machine.
const ANY: [&str; 4] = ["--api-listen", "127.0.0.1:0", "--mqtt-listen", "127.0.0.1:0"];

#[test]
fn a_server_that_cannot_start_says_why() {
    let mut fleet = Fleet::start("");
    let device = fleet.device("pump-7");
    let refuses = |fleet: &Fleet, arguments: &[&str], expected: &str| {
        let mut command = fleet.serve_command();
        command.args(arguments);
        let mut server = Process::start(command);
        server.says(expected);
        assert_eq!(server.fails(), Some(1), "{arguments:?}: {}", server.said());
        assert!(
            !server.said().contains("ready api="),
            "{arguments:?}: {}",
            server.said()
        );
    };
    refuses(&fleet, &ANY, "in use by another process");
    fleet.cli(&["thing", "list"]);
    fleet.stop();
    let partitions = [&ANY[..], &["--partitions", "4"]].concat();
    refuses(
        &fleet,
        &partitions,
        "made with 16 partitions, expected 4: the number cannot change",
    );
    let nowhere = [&ANY[..], &["--data", "/dev/null/nowhere"]].concat();
    refuses(&fleet, &nowhere, "cannot make the data directory /dev/null/nowhere");
    for (name, expected) in [
        ("secrets.key", "without it the stored access keys cannot be used"),
        ("ca.key", "devices trust the fleet CA"),
        ("ca.pem", "devices trust the fleet CA"),
    ] {
        let (path, aside) = (fleet.data().join(name), fleet.path("aside"));
        std::fs::rename(&path, &aside).unwrap();
        refuses(&fleet, &ANY, &format!("{name} is missing: {expected}"));
        std::fs::rename(&aside, &path).unwrap();
    }
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = listener.local_addr().unwrap().to_string();
    let expected = format!("cannot listen on {taken}: Address already in use");
    let [api, any, mqtt, _] = ANY;
    refuses(&fleet, &[api, &taken, mqtt, any], &expected);
    refuses(&fleet, &[api, any, mqtt, &taken], &expected);
    refuses(&fleet, &[&ANY[..], &["--mqtt-alpn-listen", &taken]].concat(), &expected);
    // Without the log, or with one from before, what devices report would count as judged.
    for suffix in ["", "-wal", "-shm"] {
        let name = format!("log.db{suffix}");
        let _ = std::fs::rename(fleet.data().join(&name), fleet.path(&name));
    }
    refuses(&fleet, &ANY, "put the log back that belongs to the database");
    for suffix in ["", "-wal", "-shm"] {
        let name = format!("log.db{suffix}");
        let _ = std::fs::remove_file(fleet.data().join(&name));
        let _ = std::fs::rename(fleet.path(&name), fleet.data().join(&name));
    }
    // None of it has broken anything.
    fleet.serve();
    Link::of(&fleet, &device).report_taken("pump-7", &report(1, 0, &[22]));
}

#[test]
fn an_access_key_of_the_environment_is_taken_at_the_first_start_only() {
    let mut fleet = Fleet::start("");
    fleet.stop();
    for (id, secret, expected) in [
        (ACCESS_KEY_ID, "another", "has another secret, which stays"),
        ("AKIDPICKETTESTS00002", "another", "not known or disabled"),
        (ACCESS_KEY_ID, "", "expected both or none"),
    ] {
        let mut command = fleet.serve_command();
        command
            .args(ANY)
            .env("PICKET_ACCESS_KEY_ID", id)
            .env("PICKET_SECRET_ACCESS_KEY", secret);
        Process::start(command).says(expected);
    }
    fleet.serve();
    fleet.cli(&["thing", "list"]);
}

#[test]
fn nobody_else_reads_what_the_server_keeps() {
    let mut fleet = Fleet::unstarted("");
    std::fs::create_dir(fleet.data()).unwrap();
    std::fs::set_permissions(fleet.data(), std::fs::Permissions::from_mode(0o755)).unwrap();
    fleet.serve();
    let device = fleet.device("pump-7");
    Link::of(&fleet, &device).report_taken("pump-7", &report(1, 0, &[22]));
    let running = readable(&fleet.data());
    fleet.stop();
    let public = ["ca.pem", "log.db.lock", "server.names", "server.pem"];
    assert_eq!(running, public);
    assert_eq!(readable(&fleet.data()), public);
}

/// The files in a folder that others may read or write, and those in folders within that others may look into.
fn readable(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let metadata = entry.metadata().unwrap();
        let is_private = metadata.permissions().mode() & 0o077 == 0;
        if is_private {
            continue;
        }
        if metadata.is_dir() {
            found.extend(readable(&entry.path()));
        } else {
            found.push(entry.file_name().into_string().unwrap());
        }
    }
    found.sort();
    found
}

#[test]
fn a_second_signal_ends_a_stop_at_once() {
    let mut fleet = Fleet::start("");
    // A client that does not say what it wants holds up the first.
    let mut waiting = TcpStream::connect(fleet.api).unwrap();
    waiting.write_all(b"POST /things/pump-7 HTTP/1.1\r\nHost:").unwrap();
    // Who comes later is served: so it has been let in.
    fleet.cli(&["thing", "list"]);
    fleet.signal("TERM");
    eventually("the server stops", || {
        fleet.server_log().contains("stopping").then_some(())
    });
    fleet.signal("INT");
    assert_eq!(fleet.ends().code(), Some(1), "{}", fleet.server_log());
    assert!(
        fleet.server_log().contains("told to stop again"),
        "{}",
        fleet.server_log()
    );
    fleet.serve();
    fleet.stop();
}

#[test]
fn a_server_whose_talk_nobody_reads_any_more_goes_on() {
    let mut fleet = Fleet::unstarted("");
    let mut command = fleet.serve_command();
    command.args(ANY).env("PICKET_LOG", "trace");
    let mut server = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // Nobody reads that it is ready, and from then on nobody reads anything.
    drop(server.stdout.take());
    let lines = BufReader::new(server.stderr.take().unwrap()).lines();
    let mut serving = lines
        .map_while(Result::ok)
        .skip_while(|line| !line.contains(" serving "));
    let addresses = serving.next().unwrap();
    let address = |key: &str| {
        let word = addresses.split_whitespace().find_map(|word| word.strip_prefix(key));
        word.unwrap().parse().unwrap()
    };
    (fleet.api, fleet.mqtt) = (address("api="), address("mqtt="));
    drop(serving);
    let device = fleet.device("pump-7");
    Link::of(&fleet, &device).report_taken("pump-7", &report(1, 0, &[22]));
    let pid = server.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
    let status = eventually("the server ends", || server.try_wait().unwrap());
    assert!(status.success(), "{status}");
}

#[test]
fn three_days_of_downtime_raise_clear_and_invalidate_nothing() {
    let mut fleet = Fleet::start("");
    let bytes_out = |name: &str, operator: &str, count: u64| {
        json!({
            "name": name,
            "metric": "aws:all-bytes-out",
            "criteria": { "comparisonOperator": operator, "value": { "count": count }, "durationSeconds": 300 },
        })
    };
    fleet.profile(
        "Story",
        &json!([
            {
                "name": "Ports",
                "metric": "aws:listening-tcp-ports",
                "criteria": { "comparisonOperator": "in-port-set", "value": { "ports": [22] } },
            },
            bytes_out("Much", "less-than-equals", 1_000),
            bytes_out("Little", "greater-than", 100_000),
        ]),
    );
    let device = fleet.device("pump-7");
    fleet.stop();
    happened_three_days_ago(&fleet, &device);
    fleet.serve();
    let mut link = Link::of(&fleet, &device);
    // The window of the first would have emptied, the other one would have been watched for long enough.
    link.report_taken("pump-7", &report(2, 0, &[22, 4444]));
    link.report_taken("pump-7", &report(3, 0, &[22, 4444, 5555]));
    let violation = eventually("it is in alarm", || fleet.violation_of("pump-7", "Ports"));
    eventually("the last report is judged", || {
        let told = fleet.json(&["violation", "explain", &violation]);
        (told["lastViolationValue"] == json!({ "ports": [22, 4444, 5555] })).then_some(())
    });
    assert!(
        fleet.events().is_empty(),
        "nothing has happened since: {:?}",
        fleet.events()
    );
    assert!(fleet.is_in_alarm("pump-7", "Ports") && fleet.is_in_alarm("pump-7", "Much"));
}

/// Makes the log of a server that is stopped one that ends three days ago, with a report that breaks two rules and that
/// the server had no time to judge.
fn happened_three_days_ago(fleet: &Fleet, device: &Device) {
    const THREE_DAYS: i64 = 3 * 86_400_000;
    let (made, copied) = (fleet.path("made"), fleet.path("copied"));
    for folder in [&made, &copied] {
        std::fs::create_dir(folder).unwrap();
    }
    // A copy is read: whenever its connections are closed, they remove what lies at its own path and nowhere else.
    for entry in std::fs::read_dir(fleet.data()).unwrap() {
        let entry = entry.unwrap();
        if entry.file_name().to_str().unwrap().starts_with("log.db") {
            std::fs::copy(entry.path(), copied.join(entry.file_name())).unwrap();
        }
    }
    let payload = report(1, 1_200, &[22, 4444]).to_string();
    let before = |at: Timestamp| Timestamp::from_millis(at.millis() - THREE_DAYS);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let limits = LogLimits {
            size_bytes_max: 1 << 30,
            tail_bytes_max: 0,
        };
        let open = async |folder: &Path| {
            let log = SqliteLog::open(&folder.join("log.db"), N_PARTITIONS, limits).await;
            log.unwrap()
        };
        let (old, new) = (open(&copied).await, open(&made).await);
        for partition in (0..N_PARTITIONS).map(PartitionId) {
            let mut last = Timestamp::default();
            let records = old.read(partition, Seq(1), 1_000).await.unwrap();
            let earlier = |(_, bytes): &(Seq, Bytes)| {
                let Stamped { at, record } = Stamped::decode(bytes).unwrap();
                last = before(at);
                Stamped { at: last, record }
            };
            let mut records: Vec<Stamped> = records.iter().map(earlier).collect();
            if partition == partition_of("pump-7", N_PARTITIONS) {
                let record = Record::Report(Box::new(ReportRecord {
                    thing: "pump-7".parse().unwrap(),
                    payload_hash: payload_hash(payload.as_bytes()),
                    sender: Sender {
                        certificate: device.certificate_id.parse().unwrap(),
                        client_id: "pump-7".parse().unwrap(),
                        is_attached: true,
                    },
                    report: Report::from_json(payload.as_bytes()).unwrap(),
                }));
                records.push(Stamped { at: last, record });
            }
            let append = |stamped: Stamped| Append {
                partition,
                bytes: stamped.encode().into(),
            };
            new.append(records.into_iter().map(append).collect()).await.unwrap();
        }
        drop((old, new));
    });
    drop(runtime);
    // The whole folder changes its place: the connections to the new log may still be closing. Snapshots stay behind, they
    // would say that it was today.
    for entry in std::fs::read_dir(fleet.data()).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        if !name.starts_with("log.db") && name != "snapshots" {
            std::fs::rename(entry.path(), made.join(name)).unwrap();
        }
    }
    std::fs::rename(fleet.data(), fleet.path("before")).unwrap();
    std::fs::rename(made, fleet.data()).unwrap();
}
