//! The tutorial in README.md, as it stands there: every block of commands is run, in one shell, one after the other.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};

use crate::fleet::{binary, built, eventually, root};
use crate::own_network;

/// What is true after a block, in words and as a check.
type Fact = (&'static str, fn(&Shell) -> bool);

#[test]
fn the_tutorial_works_as_written() {
    own_network::run("tutorial::the_tutorial_works_as_written", || {
        let blocks = blocks();
        let mut shell = Shell::start();
        let facts: [Fact; 13] = [
            ("the server is ready", |shell| {
                shell.file("tutorial/server.out").starts_with("ready api=")
            }),
            ("the operator has a key", |shell| shell.said().contains("mqtt port")),
            ("readings flow", |shell| {
                shell
                    .file("out")
                    .lines()
                    .filter(|line| line.parse::<f64>().is_ok())
                    .count()
                    == 2
            }),
            ("a report is printed", |shell| {
                shell.said().contains("listening_tcp_ports")
            }),
            ("reports are accepted", |shell| {
                shell.file("tutorial/agent.log").contains("accepted report")
            }),
            ("the profile is read aloud", |shell| {
                shell.said().contains("alarm when bytes out in 5 min is above 5000000")
            }),
            ("the response is there", |shell| {
                shell.said().contains("IsolatedDevices")
            }),
            ("the device is out", |shell| {
                shell.agent_is_refused() && shell.file("tutorial/alerts.out").contains("in-alarm")
            }),
            ("all is shown", |shell| {
                ["evidence", "response Isolate", "refused", "violationEventType"]
                    .iter()
                    .all(|word| shell.said().contains(word))
            }),
            ("it is back", |shell| shell.agent_is_accepted_again()),
            ("the events are listed", |shell| shell.said().contains("in-alarm")),
            ("the sensor is stopped", |shell| shell.said().contains("is stopped")),
            ("", |_| true),
        ];
        assert_eq!(blocks.len(), facts.len() - 1, "each block of the tutorial has its fact");
        for (block, (what, is_so)) in blocks.iter().zip(facts) {
            shell.run(block);
            eventually(what, || is_so(&shell).then_some(()));
        }
    });
}

/// The blocks of commands, without those that only build and find the programs.
fn blocks() -> Vec<String> {
    let readme = std::fs::read_to_string(root().join("README.md")).unwrap();
    let block = |text: &str| {
        let lines = text.split("```").next().unwrap().lines();
        let kept = lines.filter(|line| !line.starts_with("cargo build") && !line.starts_with("export PATH"));
        kept.map(|line| format!("{line}\n")).collect()
    };
    readme.split("```bash\n").skip(1).map(block).collect()
}

/// A shell with a home of its own, which ends with all that it started.
struct Shell {
    folder: tempfile::TempDir,
    child: Child,
    commands: Option<ChildStdin>,
    n_blocks: usize,
}

impl Shell {
    fn start() -> Self {
        built();
        let folder = tempfile::tempdir().unwrap();
        let path = format!(
            "{}:{}",
            binary("picket").parent().unwrap().display(),
            std::env::var("PATH").unwrap()
        );
        let out = std::fs::File::create(folder.path().join("out")).unwrap();
        let mut child = Command::new("bash")
            .arg("-e")
            .current_dir(folder.path())
            .env("HOME", folder.path())
            .env("PATH", path)
            .stdin(Stdio::piped())
            .stdout(out.try_clone().unwrap())
            .stderr(out)
            .spawn()
            .unwrap();
        let mut commands = child.stdin.take().unwrap();
        // However it ends, what it left in the background ends with it; the sensor has gone its own way.
        commands
            .write_all(b"trap 'kill $(jobs -p); picket-sim stop -d SensorDevice03' EXIT\n")
            .unwrap();
        Self {
            folder,
            child,
            commands: Some(commands),
            n_blocks: 0,
        }
    }

    /// Runs a block to its end; every command in it has to succeed.
    fn run(&mut self, block: &str) {
        self.n_blocks += 1;
        let end = format!("block {} is done", self.n_blocks);
        write!(self.commands.as_mut().unwrap(), "{block}\necho {end}\n").unwrap();
        eventually(&end, || {
            assert!(
                self.child.try_wait().unwrap().is_none(),
                "a command failed:\n{}",
                self.said()
            );
            self.said().contains(&end).then_some(())
        });
    }

    fn file(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn said(&self) -> String {
        self.file("out")
    }

    fn agent_is_refused(&self) -> bool {
        self.file("tutorial/agent.log")
            .contains("connection refused with code 5")
    }

    fn agent_is_accepted_again(&self) -> bool {
        let log = self.file("tutorial/agent.log");
        log.rsplit("connection refused with code 5")
            .next()
            .unwrap()
            .contains("accepted report")
            && self.agent_is_refused()
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        drop(self.commands.take());
        let _ = self.child.wait();
    }
}
