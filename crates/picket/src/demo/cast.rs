//! The processes of the story: the programs beside this one, started in a folder of their own, and ended by their ids.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::os::unix::process::CommandExt as _;

use super::clock;

/// How long a process may take to end by itself.
const GOODBYE_TIME_MAX: Duration = Duration::from_secs(5);

/// Everybody who plays. Ends with the value, unless [`Cast::leave_running`] was said.
pub(super) struct Cast {
    folder: PathBuf,
    /// `picket`: this program.
    pub(super) picket: PathBuf,
    /// `picket-sim`.
    pub(super) sim: PathBuf,
    agent: PathBuf,
    players: Vec<Player>,
    sensors: Vec<String>,
}

struct Player {
    name: String,
    child: Child,
}

impl Cast {
    /// Finds the programs; they were built together and lie together.
    pub(super) fn gather(folder: &Path) -> anyhow::Result<Self> {
        let picket = std::env::current_exe().context("this program does not know where it is")?;
        let beside = |name: &str| {
            let path = picket.with_file_name(name);
            ensure!(
                path.is_file(),
                "{} is missing: the demo needs it beside {}, `cargo build --bins` or `make demo` builds it",
                path.display(),
                picket.display()
            );
            Ok(path)
        };
        Ok(Self {
            folder: folder.to_owned(),
            sim: beside("picket-sim")?,
            agent: beside("picket-agent")?,
            picket,
            players: Vec::new(),
            sensors: Vec::new(),
        })
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// What was written into a file so far.
    pub(super) fn said(&self, name: &str) -> String {
        std::fs::read(self.path(name)).map_or_else(|_| String::new(), |bytes| String::from_utf8_lossy(&bytes).into())
    }

    /// Starts `picket` with its stdout in the file `out`, and its stderr in `log`.
    pub(super) fn start_picket(&mut self, name: &str, arguments: &[&str], out: &str, log: &str) -> anyhow::Result<()> {
        let mut command = command(&self.picket);
        command.args(arguments);
        self.start(name, command, out, log)
    }

    /// Starts an agent for a thing, with the files of a sensor.
    pub(super) fn start_agent(&mut self, name: &str, agent: &AgentOf<'_>, log: &str) -> anyhow::Result<()> {
        let device = self.path("devices").join(agent.device);
        let endpoint = std::fs::read_to_string(device.join("endpoint")).context("the sensor has no endpoint")?;
        let mut command = command(&self.agent);
        command.args(["--endpoint", endpoint.trim()]);
        for (flag, file) in [
            ("--rootCA", "rootca.pem"),
            ("--cert", "cert.pem"),
            ("--key", "private.key"),
        ] {
            command.arg(flag).arg(device.join(file));
        }
        command.args(["--client_id", agent.client_id, "--thing_name", agent.thing]);
        command.args(["--interval", "1", "--count-loopback"]);
        self.start(name, command, log, log)
    }

    fn start(&mut self, name: &str, mut command: Command, out: &str, log: &str) -> anyhow::Result<()> {
        let file = |name: &str| -> anyhow::Result<File> {
            let path = self.path(name);
            let opened = File::options().create(true).append(true).open(&path);
            opened.with_context(|| format!("cannot write {}", path.display()))
        };
        command.stdout(file(out)?).stderr(file(log)?);
        let child = command.spawn().with_context(|| format!("cannot start the {name}"))?;
        self.players.push(Player {
            name: name.to_owned(),
            child,
        });
        Ok(())
    }

    /// Ends one of those who were started.
    pub(super) fn dismiss(&mut self, name: &str) {
        let (mut leaving, staying) = self.players.drain(..).partition(|player| player.name == name);
        self.players = staying;
        end(&mut leaving);
    }

    /// Fails if somebody has ended who should not have.
    pub(super) fn check(&mut self) -> anyhow::Result<()> {
        for Player { name, child } in &mut self.players {
            if let Some(status) = child.try_wait().context("cannot look after a process")? {
                bail!("the {name} ended by itself: {status}");
            }
        }
        Ok(())
    }

    /// Gives a command of the operator, and says what the server answered.
    pub(super) fn operator(&self, arguments: &[&str]) -> anyhow::Result<Value> {
        let mut command = command(&self.picket);
        command.arg("--credentials").arg(self.path("data/operator.toml"));
        command.args(["--output", "json"]).args(arguments);
        let said = answer(command, &format!("picket {}", arguments.join(" ")))?;
        serde_json::from_str(&said).with_context(|| format!("picket {} prints no JSON: {said}", arguments.join(" ")))
    }

    /// Makes a sensor, and starts it in the background.
    pub(super) fn bootstrap(&mut self, device: &str, thing: &str, topic: &str) -> anyhow::Result<()> {
        // First, so that it is ended whatever comes.
        self.sensors.push(device.to_owned());
        let mut command = self.sim(&["bootstrap", "-t", topic, "-d", device, "--thing", thing]);
        command.args(["--interval-secs", "0.5", "--credentials"]);
        command.arg(self.path("data/operator.toml"));
        answer(command, &format!("picket-sim bootstrap -d {device}")).map(drop)
    }

    /// Tells a sensor something.
    pub(super) fn tell_sensor(&self, verb: &str, device: &str, arguments: &[&str]) -> anyhow::Result<String> {
        let mut command = self.sim(&[verb, "-d", device]);
        command.args(arguments);
        answer(command, &format!("picket-sim {verb} -d {device}"))
    }

    /// What a sensor says of itself: `connection`, `n_acknowledged` and so on.
    pub(super) fn status(&self, device: &str) -> anyhow::Result<Value> {
        let said = self.tell_sensor("status", device, &["--json"])?;
        let mut status: Value = serde_json::from_str(&said).context("the sensor's status is no JSON")?;
        ensure!(!status["pid"].is_null(), "{device} ended by itself");
        Ok(status["status"].take())
    }

    /// What this machine looks like to an agent.
    pub(super) fn dry_run(&self) -> anyhow::Result<Value> {
        let mut command = command(&self.agent);
        command.args(["--dryrun", "--count-loopback"]);
        let said = answer(command, "picket-agent --dryrun")?;
        serde_json::from_str(&said).context("picket-agent --dryrun prints no JSON")
    }

    fn sim(&self, arguments: &[&str]) -> Command {
        let mut command = command(&self.sim);
        command.args(arguments).arg("--state-dir").arg(self.path("devices"));
        command
    }

    /// The ids of all who were started and are no sensors.
    pub(super) fn pids(&self) -> Vec<String> {
        self.players
            .iter()
            .map(|player| player.child.id().to_string())
            .collect()
    }

    /// Nobody is ended any more.
    pub(super) fn leave_running(&mut self) {
        self.players.clear();
        self.sensors.clear();
    }

    /// Ends everybody, and waits until they have.
    pub(super) fn end(&mut self) {
        for device in std::mem::take(&mut self.sensors) {
            // One that has never been started is stopped as well.
            let _ = self.tell_sensor("stop", &device, &[]);
        }
        end(&mut std::mem::take(&mut self.players));
    }
}

impl Drop for Cast {
    fn drop(&mut self) {
        self.end();
    }
}

/// Whom an agent reports for.
pub(super) struct AgentOf<'a> {
    /// Whose certificate.
    pub(super) device: &'a str,
    pub(super) thing: &'a str,
    pub(super) client_id: &'a str,
}

/// A program that hears neither this one's terminal nor its environment's settings.
fn command(program: &Path) -> Command {
    let mut command = Command::new(program);
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        // Nothing here is reached through a proxy.
        if (text.starts_with("PICKET_") && text != "PICKET_LOG") || text.to_ascii_lowercase().ends_with("_proxy") {
            command.env_remove(&name);
        }
    }
    // In a group of its own, Ctrl-C reaches only the demo, which ends everybody in order.
    command.stdin(Stdio::null()).process_group(0);
    command
}

/// Runs a command to its end; says what it printed.
fn answer(mut command: Command, what: &str) -> anyhow::Result<String> {
    let output = command.output().with_context(|| format!("cannot run {what}"))?;
    let talk = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "`{what}` failed: {}", talk.trim());
    String::from_utf8(output.stdout).with_context(|| format!("{what} prints no text"))
}

/// Asks all of them to end, then waits for each, then insists.
fn end(players: &mut [Player]) {
    for Player { child, .. } in players.iter() {
        if let Some(pid) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
            // It may have ended already; as long as nobody has waited for it, its id is nobody else's.
            let _ = kill_process(pid, Signal::TERM);
        }
    }
    // Nobody sends: this is how to wait without a clock's help.
    let (_open, nothing) = mpsc::channel::<()>();
    let deadline = clock::instant() + GOODBYE_TIME_MAX;
    for Player { child, .. } in players {
        while matches!(child.try_wait(), Ok(None)) && clock::instant() < deadline {
            let _ = nothing.recv_timeout(Duration::from_millis(10));
        }
        let _ = child.kill();
        let _ = child.wait();
    }
}
