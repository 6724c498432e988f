//! The demo tells the whole story, and leaves nothing behind, whether it ends well or not.

#![expect(clippy::unwrap_used, reason = "a failed step is a failed test")]

use std::io::{BufRead as _, BufReader, Read as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Once;

/// What the timeline says, in this order; dates, addresses and numbers are another ones each time.
const STORY: [&str; 32] = [
    "Server, and somebody who receives alerts",
    "ok the server is ready: api=127.0.0.1:",
    "Telemetry: three sensors",
    "ok SensorDevice01 publishes temperatures: ",
    "ok SensorDevice02 publishes temperatures: ",
    "ok SensorDevice03 publishes temperatures: ",
    "Agent: what Thing03 does, every second",
    "runs with --count-loopback",
    "ok its reports are accepted",
    "Behaviors: what is normal",
    "ok measured with `picket-agent --dryrun`: ",
    "out in 5 minutes.",
    "reports conform: no violations",
    " $ picket response create TellPeople --profile NormalSensor --webhook http://127.0.0.1:",
    " $ picket response create Isolate --profile NormalSensor --behavior BytesOut --quarantine",
    " $ picket-sim compromise -d SensorDevice03 --attack payload ",
    "!! it publishes 3,000 random characters",
    "!! ListeningPorts: port ",
    "!! BytesOut: more than ",
    "ok Thing03 is quarantined, and shows in group IsolatedDevices",
    "ok SensorDevice03 is disconnected, ",
    "ok each has exactly the members that AWS documents",
    "ok SensorDevice03: connection refused with code 5 (not authorized)",
    "ok Thing03, its agent: connection refused with code 5",
    "ok SensorDevice03-viewer, which its policy allows: connection refused with code 5",
    "ok SensorDevice01 and SensorDevice02 publish as before",
    " $ picket response undo --thing Thing03",
    "ok telemetry flows again: SensorDevice03 publishes ",
    "ok the agent's reports are accepted again",
    "ok ListeningPorts: the alarm cleared with the next report",
    "compromise to alarm ",
    "Every fact was observed, in ",
];

#[test]
fn every_fact_of_the_story_is_observed() {
    let folder = tempfile::tempdir().unwrap();
    let mut demo = demo(&everybody(), folder.path());
    let mut timeline = String::new();
    demo.stdout.take().unwrap().read_to_string(&mut timeline).unwrap();
    let status = demo.wait_with_output().unwrap();
    let talk = String::from_utf8(status.stderr).unwrap();
    assert_eq!(status.status.code(), Some(0), "{talk}\n{timeline}");
    assert_eq!(talk, "");
    let mut rest = timeline.as_str();
    for words in STORY {
        let (_, after) = rest
            .split_once(words)
            .unwrap_or_else(|| panic!("{words:?} is not told in its place:\n{timeline}"));
        rest = after;
    }
    assert!(!timeline.contains('\u{1b}'), "no colours and no progress into a pipe");
    assert_nothing_is_left(folder.path(), &timeline);
}

#[test]
fn who_interrupts_it_finds_nothing_left() {
    let folder = tempfile::tempdir().unwrap();
    let mut demo = demo(&everybody(), folder.path());
    let mut lines = BufReader::new(demo.stdout.take().unwrap()).lines().map(Result::unwrap);
    let mut timeline = String::new();
    while !timeline.contains("ok SensorDevice01 publishes") {
        timeline += &lines.next().unwrap();
        timeline.push('\n');
    }
    let pid = demo.id().to_string();
    assert!(Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
    // A story that was interrupted goes unread; a full pipe must not hold it up.
    lines.for_each(drop);
    let output = demo.wait_with_output().unwrap();
    let talk = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{talk}");
    assert!(talk.starts_with("error: interrupted by Ctrl-C"), "{talk}");
    assert_nothing_is_left(folder.path(), &timeline);
}

#[test]
fn a_missing_program_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let alone = folder.path().join("picket");
    std::fs::copy(env!("CARGO_BIN_EXE_picket"), &alone).unwrap();
    let output = demo(&alone, folder.path()).wait_with_output().unwrap();
    let talk = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{talk}");
    assert!(talk.contains("picket-sim is missing"), "{talk}");
}

fn demo(program: &Path, folder: &Path) -> Child {
    Command::new(program)
        .arg("demo")
        .env("TMPDIR", folder)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Neither files nor a server.
fn assert_nothing_is_left(folder: &Path, timeline: &str) {
    let files: Vec<_> = std::fs::read_dir(folder).unwrap().map(Result::unwrap).collect();
    assert!(files.is_empty(), "{files:?}");
    let address = |key| {
        timeline
            .split_whitespace()
            .find_map(|word| word.strip_prefix(key))
            .unwrap()
    };
    for key in ["api=", "mqtt=", "http://"] {
        assert!(
            TcpStream::connect(address(key)).is_err(),
            "{key} still answers\n{timeline}"
        );
    }
}

/// `picket`, with today's other programs beside it.
fn everybody() -> PathBuf {
    static BUILT: Once = Once::new();
    let picket = Path::new(env!("CARGO_BIN_EXE_picket"));
    BUILT.call_once(|| {
        let target = picket.ancestors().nth(2).unwrap();
        let mut command = Command::new(env!("CARGO"));
        command.args(["build", "--quiet", "--locked", "--workspace", "--bins", "--target-dir"]);
        let built = command.arg(target).current_dir(env!("CARGO_MANIFEST_DIR")).status();
        assert!(built.unwrap().success(), "the programs do not build");
    });
    picket.to_owned()
}
