//! A simulated device's folder: who it is, its files, and whether it runs.

use std::fs::{self, File, TryLockError};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use picket_model::name::ThingName;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// The device's private key, its certificate, the one it trusts, and the endpoint as `host` or `host:port`.
pub(crate) const PRIVATE_KEY: &str = "private.key";
pub(crate) const CERTIFICATE: &str = "cert.pem";
pub(crate) const ROOT_CA: &str = "rootca.pem";
pub(crate) const ENDPOINT: &str = "endpoint";
/// What the sensor was told to do, and what it says it does.
pub(crate) const ORDER: &str = "order.json";
pub(crate) const STATUS: &str = "status.json";
/// What it said so far, and before that.
pub(crate) const LOG: &str = "sensor.log";
const LOG_BEFORE: &str = "sensor.log.1";
const LOG_BYTES_MAX: u64 = 1024 * 1024;

const DEVICE: &str = "device.json";
const PID: &str = "sensor.pid";
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// The port when the endpoint names none.
pub(crate) const MQTT_PORT_DEFAULT: u16 = 8883;

/// Which device, and where its folder is.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct DeviceOptions {
    /// The device: its client id, and the name of its folder
    #[arg(short, long, value_name = "DEVICE")]
    pub(crate) device: ThingName,
    /// The folder that holds a folder of each device [default: ~/.local/state/picket-sim]
    #[arg(long, env = "PICKET_SIM_STATE", value_name = "DIR")]
    pub(crate) state_dir: Option<PathBuf>,
}

/// Who a device is.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Device {
    /// Its client id.
    pub(crate) device: String,
    /// The thing that its certificate belongs to.
    pub(crate) thing: String,
    /// Where it publishes.
    pub(crate) topic: String,
    /// Between two readings.
    pub(crate) interval_secs: f64,
    /// What it proves its identity with.
    pub(crate) certificate_id: String,
}

/// A device's folder.
#[derive(Clone, Debug)]
pub(crate) struct State {
    folder: PathBuf,
}

impl State {
    /// Where the folder is; it need not exist.
    pub(crate) fn of(options: &DeviceOptions) -> anyhow::Result<Self> {
        let variable = |name: &str| {
            std::env::var_os(name)
                .filter(|value| !value.is_empty())
                .map(PathBuf::from)
        };
        let base = options
            .state_dir
            .clone()
            .or_else(|| variable("XDG_STATE_HOME").map(|state| state.join("picket-sim")))
            .or_else(|| variable("HOME").map(|home| home.join(".local/state/picket-sim")))
            .context("no HOME is set: give --state-dir")?;
        Ok(Self {
            folder: base.join(options.device.as_str()),
        })
    }

    /// Makes the folder, open to nobody else.
    pub(crate) fn create(&self) -> anyhow::Result<()> {
        let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.folder);
        made.with_context(|| format!("cannot make {}", self.folder.display()))
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Replaces a file at once, with mode 0600.
    pub(crate) fn write(&self, name: &str, bytes: &[u8]) -> anyhow::Result<()> {
        let (path, fresh) = (self.path(name), self.path(&format!(".{name}.new")));
        let write = || -> io::Result<()> {
            // What another attempt has left behind may have another mode.
            match fs::remove_file(&fresh) {
                Err(err) if err.kind() != io::ErrorKind::NotFound => return Err(err),
                _ => {}
            }
            File::options()
                .write(true)
                .create_new(true)
                .mode(0o600)
                .open(&fresh)?
                .write_all(bytes)?;
            fs::rename(&fresh, &path)
        };
        write().with_context(|| format!("cannot write {}", path.display()))
    }

    /// A file as text; `None` when there is none.
    pub(crate) fn read(&self, name: &str) -> anyhow::Result<Option<String>> {
        let path = self.path(name);
        let read = || -> io::Result<String> {
            let mut text = String::new();
            File::open(&path)?.take(FILE_BYTES_MAX).read_to_string(&mut text)?;
            Ok(text)
        };
        match read() {
            Ok(text) => Ok(Some(text)),
            Err(err) if err.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(err) => Err(err).with_context(|| format!("cannot read {}", path.display())),
        }
    }

    /// Writes a value as JSON.
    pub(crate) fn write_json(&self, name: &str, value: &impl Serialize) -> anyhow::Result<()> {
        self.write(name, &serde_json::to_vec_pretty(value)?)
    }

    /// Reads a value from JSON; `None` when there is no file.
    pub(crate) fn read_json<T: DeserializeOwned>(&self, name: &str) -> anyhow::Result<Option<T>> {
        let parse = |text: String| {
            serde_json::from_str(&text).with_context(|| format!("cannot understand {}", self.path(name).display()))
        };
        self.read(name)?.map(parse).transpose()
    }

    /// Who the device is; `None` before it was bootstrapped.
    pub(crate) fn device(&self) -> anyhow::Result<Option<Device>> {
        self.read_json(DEVICE)
    }

    pub(crate) fn write_device(&self, device: &Device) -> anyhow::Result<()> {
        self.write_json(DEVICE, device)
    }

    /// Host and port.
    pub(crate) fn endpoint(&self) -> anyhow::Result<(String, u16)> {
        let Some(text) = self.read(ENDPOINT)? else {
            bail!(
                "{} is missing: `picket-sim bootstrap` writes it",
                self.path(ENDPOINT).display()
            );
        };
        parse_endpoint(text.trim()).with_context(|| format!("endpoint is {text:?}, expected HOST or HOST:PORT"))
    }

    /// Claims the folder for a running sensor, as long as the answer lives; `None` if another one has it.
    pub(crate) fn claim(&self) -> anyhow::Result<Option<File>> {
        let path = self.path(PID);
        let claim = || -> io::Result<Option<File>> {
            let mut file = File::options()
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .mode(0o600)
                .open(&path)?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => return Ok(None),
                Err(TryLockError::Error(err)) => return Err(err),
            }
            file.set_len(0)?;
            file.rewind()?;
            write!(file, "{}", std::process::id())?;
            Ok(Some(file))
        };
        claim().with_context(|| format!("cannot lock {}", path.display()))
    }

    /// The process of the running sensor; `None` if none runs.
    pub(crate) fn running(&self) -> anyhow::Result<Option<i32>> {
        let path = self.path(PID);
        let running = || -> io::Result<Option<String>> {
            let mut file = match File::open(&path) {
                Ok(file) => file,
                Err(err) if err.kind() == io::ErrorKind::NotFound => return Ok(None),
                Err(err) => return Err(err),
            };
            match file.try_lock_shared() {
                Ok(()) => Ok(None),
                Err(TryLockError::Error(err)) => Err(err),
                Err(TryLockError::WouldBlock) => {
                    let mut text = String::new();
                    file.read_to_string(&mut text)?;
                    Ok(Some(text))
                }
            }
        };
        match running().with_context(|| format!("cannot read {}", path.display()))? {
            None => Ok(None),
            Some(pid) => Ok(Some(
                pid.trim()
                    .parse()
                    .with_context(|| format!("{} holds no process id", path.display()))?,
            )),
        }
    }

    /// Opens the log for more, and puts a long one aside.
    pub(crate) fn log(&self) -> anyhow::Result<File> {
        let path = self.path(LOG);
        let open = || -> io::Result<File> {
            if fs::metadata(&path).is_ok_and(|metadata| LOG_BYTES_MAX < metadata.len()) {
                fs::rename(&path, self.path(LOG_BEFORE))?;
            }
            File::options().append(true).create(true).mode(0o600).open(&path)
        };
        open().with_context(|| format!("cannot write {}", path.display()))
    }
}

fn parse_endpoint(text: &str) -> Option<(String, u16)> {
    let host = |host: &str| (!host.is_empty()).then(|| host.to_owned());
    if let Some(rest) = text.strip_prefix('[') {
        let (address, port) = rest.split_once(']')?;
        let port = if port.is_empty() {
            Some(MQTT_PORT_DEFAULT)
        } else {
            port.strip_prefix(':')?.parse().ok()
        };
        return host(address).zip(port);
    }
    match text.split_once(':') {
        None => host(text).zip(Some(MQTT_PORT_DEFAULT)),
        // More than one colon: an IPv6 address by itself.
        Some((_, rest)) if rest.contains(':') => Some((text.to_owned(), MQTT_PORT_DEFAULT)),
        Some((name, port)) => host(name).zip(port.parse().ok()),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn state(folder: &tempfile::TempDir) -> State {
        let state = State::of(&DeviceOptions {
            device: "SensorDevice03".parse().unwrap(),
            state_dir: Some(folder.path().join("state")),
        });
        let state = state.unwrap();
        state.create().unwrap();
        state
    }

    #[test]
    fn endpoints_are_hosts_with_or_without_a_port() {
        for (text, expected) in [
            ("localhost", Some(("localhost", 8883))),
            ("localhost:443", Some(("localhost", 443))),
            ("127.0.0.1:1", Some(("127.0.0.1", 1))),
            ("[::1]:443", Some(("::1", 443))),
            ("[::1]", Some(("::1", 8883))),
            ("fe80::1", Some(("fe80::1", 8883))),
            ("localhost:", None),
            ("localhost:70000", None),
            ("[::1]443", None),
            (":443", None),
            ("", None),
        ] {
            let found = parse_endpoint(text);
            assert_eq!(
                found.as_ref().map(|(host, port)| (host.as_str(), *port)),
                expected,
                "{text}"
            );
        }
    }

    #[test]
    fn folder_and_files_are_private() {
        let folder = tempfile::tempdir().unwrap();
        let state = state(&folder);
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(state.folder()), 0o700);
        for text in ["a", "b"] {
            state.write(PRIVATE_KEY, text.as_bytes()).unwrap();
            assert_eq!(state.read(PRIVATE_KEY).unwrap().as_deref(), Some(text));
            assert_eq!(mode(&state.path(PRIVATE_KEY)), 0o600);
        }
        assert_eq!(state.read(CERTIFICATE).unwrap(), None);
        state.log().unwrap();
        assert_eq!(mode(&state.path(LOG)), 0o600);
    }

    #[test]
    fn one_sensor_runs_in_a_folder() {
        let folder = tempfile::tempdir().unwrap();
        let state = state(&folder);
        assert_eq!(state.running().unwrap(), None);
        let claim = state.claim().unwrap();
        assert!(claim.is_some());
        assert!(state.claim().unwrap().is_none());
        assert_eq!(state.running().unwrap(), i32::try_from(std::process::id()).ok());
        drop(claim);
        assert_eq!(state.running().unwrap(), None);
        assert!(state.claim().unwrap().is_some());
    }

    #[test]
    fn a_long_log_is_put_aside() {
        let folder = tempfile::tempdir().unwrap();
        let state = state(&folder);
        state.log().unwrap().set_len(LOG_BYTES_MAX + 1).unwrap();
        assert_eq!(state.log().unwrap().metadata().unwrap().len(), 0);
        assert_eq!(fs::metadata(state.path(LOG_BEFORE)).unwrap().len(), LOG_BYTES_MAX + 1);
    }
}
