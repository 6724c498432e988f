//! A fleet for end-to-end tests: real binaries, an own directory, ports of the kernel's choosing; everything ends with
//! the value.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitStatus, Output, Stdio};
use std::sync::{Arc, Mutex, Once};
use std::time::{Duration, Instant};

/// How long a fact may take to become true on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) const ACCESS_KEY_ID: &str = "AKIDPICKETTESTS00001";
pub(crate) const SECRET_ACCESS_KEY: &str = "a-secret-that-only-the-tests-know-0001";

/// A server with its data directory and everything that was started around it.
pub(crate) struct Fleet {
    pub(crate) folder: tempfile::TempDir,
    server: Option<Child>,
    pub(crate) api: SocketAddr,
    pub(crate) mqtt: SocketAddr,
    options: String,
    stdout: Option<BufReader<ChildStdout>>,
    hurry: Option<Hurry>,
}

/// A time that passes faster for the server, and for whoever asks it: windows of five minutes are long for a test.
struct Hurry {
    speed: u32,
    /// The server's time at its start, seconds since the epoch.
    began_at_secs: u64,
    began: Instant,
}

impl Fleet {
    /// A server with these lines in its configuration file.
    pub(crate) fn start(options: &str) -> Self {
        let mut fleet = Self::unstarted(options);
        fleet.serve();
        fleet
    }

    /// The same, with a data directory of this size; only where the test is alone and may mount.
    pub(crate) fn start_on_small_disk(size: &str) -> Self {
        let mut fleet = Self::unstarted("");
        mount_small_disk(&fleet.data(), size);
        fleet.serve();
        fleet
    }

    /// The same, where only the database is on the small disk.
    pub(crate) fn start_with_small_database(size: &str) -> Self {
        let mut fleet = Self::unstarted("");
        mount_small_disk(&fleet.small_disk(), size);
        std::fs::create_dir(fleet.data()).unwrap();
        std::os::unix::fs::symlink(fleet.small_disk().join("picket.db"), fleet.data().join("picket.db")).unwrap();
        fleet.serve();
        fleet
    }

    pub(crate) fn small_disk(&self) -> PathBuf {
        self.path("small")
    }

    /// A server that does not run yet.
    pub(crate) fn unstarted(options: &str) -> Self {
        built();
        let nowhere = SocketAddr::from(([0, 0, 0, 0], 0));
        Self {
            folder: tempfile::tempdir().unwrap(),
            server: None,
            api: nowhere,
            mqtt: nowhere,
            options: options.to_owned(),
            stdout: None,
            hurry: None,
        }
    }

    /// A server for which time passes so many times faster, beginning a minute before a window of an hour ends.
    pub(crate) fn start_in_a_hurry(speed: u32, options: &str) -> Self {
        let mut fleet = Self::unstarted(options);
        let now_secs = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs();
        fleet.hurry = Some(Hurry {
            speed,
            began_at_secs: now_secs / 3600 * 3600 - 60,
            began: Instant::now(),
        });
        fleet.serve();
        fleet
    }

    /// Has these lines in its configuration file from the next start on.
    pub(crate) fn configure(&mut self, options: &str) {
        options.clone_into(&mut self.options);
    }

    /// Starts the server (again) on the same data directory; if it served before, on the same ports.
    pub(crate) fn serve(&mut self) {
        let (api, mqtt) = (
            format!("127.0.0.1:{}", self.api.port()),
            format!("127.0.0.1:{}", self.mqtt.port()),
        );
        let mut command = self.serve_command();
        command.args(["--api-listen", &api, "--mqtt-listen", &mqtt]);
        let log = std::fs::File::options()
            .create(true)
            .append(true)
            .open(self.path("server.log"))
            .unwrap();
        let mut child = command.stdout(Stdio::piped()).stderr(log).spawn().unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        while !line.starts_with("ready ") {
            line.clear();
            let n_bytes = stdout.read_line(&mut line).unwrap();
            assert_ne!(
                n_bytes,
                0,
                "the server ended before it was ready:\n{}",
                self.server_log()
            );
        }
        let address = |key: &str| {
            let word = line.split_whitespace().find_map(|word| word.strip_prefix(key)).unwrap();
            word.parse::<SocketAddr>().unwrap()
        };
        (self.api, self.mqtt) = (address("api="), address("mqtt="));
        self.stdout = Some(stdout);
        self.server = Some(child);
    }

    /// Time passes while the server does not run.
    pub(crate) fn let_time_pass(&mut self, time: Duration) {
        let hurry = self.hurry.as_mut().unwrap();
        let passed = hurry.began.elapsed().as_secs() * u64::from(hurry.speed) + time.as_secs();
        (hurry.began_at_secs, hurry.began) = (hurry.began_at_secs + passed, Instant::now());
    }

    /// `picket serve` with this fleet's configuration, but for where it listens.
    pub(crate) fn serve_command(&self) -> Command {
        let config = self.path("picket.toml");
        let text = format!(
            "data = {:?}\nendpoint_name = [\"localhost\"]\ndevice_key = \"p256\"\n{}\n",
            self.data(),
            self.options
        );
        std::fs::write(&config, text).unwrap();
        let mut command = Command::new(binary("picket"));
        command.arg("serve").arg("--config").arg(&config);
        command
            .env("PICKET_ACCESS_KEY_ID", ACCESS_KEY_ID)
            .env("PICKET_SECRET_ACCESS_KEY", SECRET_ACCESS_KEY);
        command.env(
            "PICKET_LOG",
            std::env::var("PICKET_LOG").unwrap_or_else(|_| "info".to_owned()),
        );
        command.stdin(Stdio::null());
        if let Some(hurry) = &self.hurry {
            let Hurry {
                speed, began_at_secs, ..
            } = hurry;
            fake_time(&mut command, &format!("@{began_at_secs} x{speed}"));
        }
        command
    }

    /// `kill -9`, and waits until the process is gone.
    pub(crate) fn kill(&mut self) {
        if let Some(mut server) = self.server.take() {
            server.kill().unwrap();
            server.wait().unwrap();
        }
    }

    /// SIGTERM, and waits until the server has ended by itself.
    pub(crate) fn stop(&mut self) {
        if self.server.is_some() {
            self.signal("TERM");
            let status = self.ends();
            assert!(
                status.success(),
                "the server ended with {status}:\n{}",
                self.server_log()
            );
        }
    }

    /// Sends the server a signal.
    pub(crate) fn signal(&self, name: &str) {
        let pid = self.server.as_ref().unwrap().id().to_string();
        let sent = Command::new("kill").args([&format!("-{name}"), &pid]).status();
        assert!(sent.unwrap().success());
    }

    /// Waits until the server has ended by itself.
    pub(crate) fn ends(&mut self) -> ExitStatus {
        let mut server = self.server.take().unwrap();
        eventually("the server ends", || server.try_wait().unwrap())
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.path("data")
    }

    pub(crate) fn ca(&self) -> PathBuf {
        self.data().join("ca.pem")
    }

    pub(crate) fn server_log(&self) -> String {
        std::fs::read_to_string(self.path("server.log")).unwrap_or_default()
    }

    /// Runs an operator's command; it must succeed. Says what it printed.
    pub(crate) fn cli(&self, arguments: &[&str]) -> String {
        let output = self.try_cli(arguments);
        let talk = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(
            output.status.success(),
            "picket {arguments:?}: {talk}\n{}",
            self.server_log()
        );
        String::from_utf8(output.stdout).unwrap()
    }

    /// Runs an operator's command, whatever comes of it.
    pub(crate) fn try_cli(&self, arguments: &[&str]) -> Output {
        self.program(&binary("picket")).args(arguments).output().unwrap()
    }

    /// Runs an operator's command with JSON output.
    pub(crate) fn json(&self, arguments: &[&str]) -> serde_json::Value {
        let text = self.cli(&[&["--output", "json"], arguments].concat());
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("picket {arguments:?}: {error}: {text}"))
    }

    /// A program with the environment that finds this fleet's server.
    pub(crate) fn program(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command
            .env("PICKET_ENDPOINT", format!("http://{}", self.api))
            .env("PICKET_ACCESS_KEY_ID", ACCESS_KEY_ID)
            .env("PICKET_SECRET_ACCESS_KEY", SECRET_ACCESS_KEY)
            .env("AWS_ENDPOINT_URL", format!("http://{}", self.api))
            .env("AWS_ACCESS_KEY_ID", ACCESS_KEY_ID)
            .env("AWS_SECRET_ACCESS_KEY", SECRET_ACCESS_KEY)
            .env("AWS_DEFAULT_REGION", "us-east-1")
            .env("AWS_EC2_METADATA_DISABLED", "true")
            .env_remove("AWS_CA_BUNDLE")
            .stdin(Stdio::null());
        if let Some(hurry) = &self.hurry {
            let passed = hurry.began.elapsed().as_secs() * u64::from(hurry.speed);
            fake_time(&mut command, &format!("@{}", hurry.began_at_secs + passed));
        }
        command
    }

    /// A thing with an own active certificate and a policy that lets it do everything; files in the named folder.
    pub(crate) fn device(&self, thing: &str) -> Device {
        let folder = self.path(&format!("device-{thing}"));
        self.cli(&["thing", "create", thing]);
        let made = self.json(&["certificate", "create", "--active", "--out", folder.to_str().unwrap()]);
        let certificate_id = made["certificateId"].as_str().unwrap().to_owned();
        self.cli(&["certificate", "attach", &certificate_id, thing]);
        if !self.try_cli(&["policy", "show", "AllowAll"]).status.success() {
            self.policy(
                "AllowAll",
                r#"{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"iot:*","Resource":"*"}}"#,
            );
        }
        self.cli(&["policy", "attach", "AllowAll", &certificate_id]);
        Device {
            thing: thing.to_owned(),
            folder,
            certificate_id,
        }
    }

    /// Creates a policy.
    pub(crate) fn policy(&self, name: &str, document: &str) {
        let file = self.path(&format!("policy-{name}.json"));
        std::fs::write(&file, document).unwrap();
        self.cli(&["policy", "create", name, file.to_str().unwrap()]);
    }

    /// The violation events of the last day, newest first: (thing, behavior, event).
    pub(crate) fn events(&self) -> Vec<(String, String, String)> {
        let answer = self.json(&["violation", "events"]);
        let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
        answer["violationEvents"]
            .as_array()
            .unwrap()
            .iter()
            .map(|event| {
                (
                    text(&event["thingName"]),
                    text(&event["behavior"]["name"]),
                    text(&event["violationEventType"]),
                )
            })
            .collect()
    }

    /// Whether this behavior of the thing is in alarm now.
    pub(crate) fn is_in_alarm(&self, thing: &str, behavior: &str) -> bool {
        self.violation_of(thing, behavior).is_some()
    }

    /// The id of the open violation of this behavior by the thing.
    pub(crate) fn violation_of(&self, thing: &str, behavior: &str) -> Option<String> {
        let answer = self.json(&["violation", "list", "--thing", thing]);
        let found = answer["activeViolations"]
            .as_array()
            .unwrap()
            .iter()
            .find(|item| item["behavior"]["name"] == behavior)?;
        Some(found["violationId"].as_str().unwrap().to_owned())
    }

    /// Our agent for the device's thing, reporting every second.
    pub(crate) fn agent(&self, device: &Device, options: &[&str]) -> Process {
        let mut command = Command::new(binary("picket-agent"));
        command.args([
            "-e",
            "localhost",
            "--port",
            &self.mqtt.port().to_string(),
            "-i",
            "1",
            "--count-loopback",
        ]);
        command
            .arg("-r")
            .arg(self.ca())
            .arg("-c")
            .arg(device.certificate())
            .arg("-k")
            .arg(device.key());
        command.args(["-id", &device.thing, "-t", &device.thing]).args(options);
        Process::start(command)
    }

    /// One of mosquitto's clients, as the device.
    pub(crate) fn mosquitto(&self, program: &str, device: &Device, client_id: &str, options: &[&str]) -> Command {
        // They say line by line what happens, also into a pipe.
        let mut command = Command::new("stdbuf");
        command.args([
            "-oL",
            program,
            "-h",
            "localhost",
            "-p",
            &self.mqtt.port().to_string(),
            "-i",
            client_id,
        ]);
        command
            .arg("--cafile")
            .arg(self.ca())
            .arg("--cert")
            .arg(device.certificate())
            .arg("--key")
            .arg(device.key());
        command.args(options);
        command
    }

    /// A receiver of alerts, with its address.
    pub(crate) fn webhook(&self) -> (Process, SocketAddr) {
        let mut command = Command::new(binary("picket"));
        command.args(["webhook", "listen", "--listen", "127.0.0.1:0"]);
        let receiver = Process::start(command);
        receiver.says("ready ");
        let address = receiver
            .said()
            .lines()
            .find_map(|line| line.strip_prefix("ready ")?.parse().ok())
            .unwrap();
        (receiver, address)
    }

    /// Creates a profile of one behavior and attaches it to all things.
    pub(crate) fn profile(&self, name: &str, behaviors: &serde_json::Value) {
        let file = self.path(&format!("{name}.json"));
        std::fs::write(&file, serde_json::json!({ "behaviors": behaviors }).to_string()).unwrap();
        self.cli(&["profile", "create", name, "-f", file.to_str().unwrap()]);
        self.cli(&["profile", "attach", name, "all/things"]);
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprint_log(&self.server_log());
        }
        self.kill();
    }
}

/// Has a program believe in another time: `@SECONDS` since the epoch, `x30` for thirty times as fast.
fn fake_time(command: &mut Command, time: &str) {
    let library = std::fs::read_dir("/usr/lib")
        .unwrap()
        .map(|entry| entry.unwrap().path().join("faketime/libfaketimeMT.so.1"))
        .find(|path| path.exists())
        .unwrap_or_else(|| panic!("libfaketime is missing: scripts/setup.sh brings it"));
    command.env("LD_PRELOAD", library).env("FAKETIME", time);
    command.env("FAKETIME_FMT", "%s").env("FAKETIME_DONT_RESET", "1");
}

/// A registered device with its files.
pub(crate) struct Device {
    pub(crate) thing: String,
    pub(crate) folder: PathBuf,
    pub(crate) certificate_id: String,
}

impl Device {
    pub(crate) fn certificate(&self) -> PathBuf {
        self.folder.join("cert.pem")
    }

    pub(crate) fn key(&self) -> PathBuf {
        self.folder.join("private.key")
    }
}

/// A process that ends with the value, with what it said so far.
pub(crate) struct Process {
    child: Child,
    said: Arc<Mutex<String>>,
}

impl Process {
    /// Starts `command` and gathers both of its outputs.
    pub(crate) fn start(mut command: Command) -> Self {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let said = Arc::new(Mutex::new(String::new()));
        gather(child.stdout.take().unwrap(), Arc::clone(&said));
        gather(child.stderr.take().unwrap(), Arc::clone(&said));
        Self { child, said }
    }

    pub(crate) fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// Waits until the process has ended by itself, well.
    pub(crate) fn ends(&mut self) {
        let status = eventually("the process ends", || self.child.try_wait().unwrap());
        assert!(status.success(), "it ended with {status}: {}", self.said());
    }

    /// Waits until the process has ended by itself, and says how.
    pub(crate) fn fails(&mut self) -> Option<i32> {
        eventually("the process ends", || self.child.try_wait().unwrap()).code()
    }

    pub(crate) fn said(&self) -> String {
        self.said.lock().unwrap().clone()
    }

    /// Waits until the process has said something that contains `words`.
    pub(crate) fn says(&self, words: &str) {
        let said = || self.said().contains(words).then_some(());
        wait(&format!("{words:?} is said"), PATIENCE, said)
            .unwrap_or_else(|what| panic!("{what}; said so far:\n{}", self.said()));
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn mount_small_disk(folder: &Path, size: &str) {
    std::fs::create_dir(folder).unwrap();
    let options = format!("size={size},mode=700");
    let mount = Command::new("mount")
        .args(["-t", "tmpfs", "-o", &options, "tmpfs"])
        .arg(folder)
        .status();
    assert!(mount.unwrap().success(), "a small disk");
}

fn gather(stream: impl std::io::Read + Send + 'static, said: Arc<Mutex<String>>) {
    std::thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            let mut said = said.lock().unwrap();
            said.push_str(&line);
            said.push('\n');
        }
    });
}

/// Waits for a fact.
pub(crate) fn eventually<T>(what: &str, fact: impl FnMut() -> Option<T>) -> T {
    wait(what, PATIENCE, fact).unwrap_or_else(|what| panic!("{what}"))
}

/// Waits for a fact, so long; says what was waited for in vain.
pub(crate) fn wait<T>(what: &str, patience: Duration, mut fact: impl FnMut() -> Option<T>) -> Result<T, String> {
    let began = Instant::now();
    loop {
        if let Some(found) = fact() {
            return Ok(found);
        }
        if patience < began.elapsed() {
            return Err(format!("waited {patience:?} in vain until {what}"));
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// One of the project's binaries, built by the same profile as this test.
pub(crate) fn binary(name: &str) -> PathBuf {
    let path = profile_folder().join(name);
    assert!(
        path.exists(),
        "{} is missing: run `cargo build --workspace --bins`",
        path.display()
    );
    path
}

/// Python with the clients of tests/requirements.txt.
pub(crate) fn python() -> PathBuf {
    let path = root().join("target/test-venv/bin/python");
    assert!(path.exists(), "{} is missing: run scripts/setup.sh", path.display());
    path
}

pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .nth(2)
        .unwrap()
        .to_owned()
}

fn profile_folder() -> PathBuf {
    let executable = std::env::current_exe().unwrap();
    executable.ancestors().nth(2).unwrap().to_owned()
}

/// Builds the binaries once per test process, so that no test ever runs against yesterday's.
pub(crate) fn built() {
    static BUILT: Once = Once::new();
    if crate::own_network::is_inside() {
        return;
    }
    BUILT.call_once(|| {
        let target = profile_folder().parent().unwrap().to_owned();
        let mut command = Command::new(env!("CARGO"));
        command
            .args(["build", "--quiet", "--locked", "--workspace", "--bins", "--target-dir"])
            .arg(target);
        assert!(
            command.current_dir(root()).status().unwrap().success(),
            "the binaries do not build"
        );
    });
}

#[expect(
    clippy::print_stderr,
    reason = "what the server said belongs beside the failure of a test"
)]
fn eprint_log(log: &str) {
    eprintln!("--- the server said:\n{log}---");
}
