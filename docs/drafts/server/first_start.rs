//! The data directory: what the first start creates in it, and every later start finds there.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::Context;
use picket_model::time::Timestamp;
use picket_pki::Authority;

use crate::config::Config;

/// The paths in a data directory.
#[derive(Clone, Debug)]
pub(crate) struct DataDir(PathBuf);

impl DataDir {
    /// The directory, made with mode 0700 if it is not there.
    pub(crate) fn open(path: &Path) -> anyhow::Result<Self> {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(path)
            .with_context(|| format!("cannot make the data directory {}", path.display()))?;
        Ok(Self(path.to_owned()))
    }

    pub(crate) fn log(&self) -> PathBuf {
        self.0.join("log.db")
    }

    pub(crate) fn registry(&self) -> PathBuf {
        self.0.join("picket.db")
    }

    pub(crate) fn snapshots(&self) -> PathBuf {
        self.0.join("snapshots")
    }

    /// The fleet CA's certificate: what devices trust.
    pub(crate) fn ca_certificate(&self) -> PathBuf {
        self.0.join("ca.pem")
    }

    fn ca_key(&self) -> PathBuf {
        self.0.join("ca.key")
    }

    /// The key that stored access keys are encrypted with.
    pub(crate) fn secrets_key(&self) -> PathBuf {
        self.0.join("secrets.key")
    }

    /// Where the operator's commands find the server and the key.
    pub(crate) fn operator_file(&self) -> PathBuf {
        self.0.join("operator.toml")
    }

    /// Held as long as the server runs, so that two servers never share a directory.
    ///
    /// # Errors
    /// Another process holds it.
    pub(crate) fn lock(&self) -> anyhow::Result<fs::File> {
        let path = self.0.join("lock");
        let file = fs::File::create(&path).with_context(|| format!("cannot write {}", path.display()))?;
        file.try_lock().with_context(|| format!("another server uses the data directory {}", self.0.display()))?;
        Ok(file)
    }

    /// The fleet CA, made at the first start.
    pub(crate) fn authority(&self, now: Timestamp) -> anyhow::Result<Authority> {
        if self.ca_key().exists() {
            let key = read(&self.ca_key())?;
            let certificate = read(&self.ca_certificate())?;
            return Authority::from_pem(&certificate, &key).context("the fleet CA in the data directory cannot be used");
        }
        let authority = Authority::create("Picket fleet CA", now.millis()).context("cannot make the fleet CA")?;
        write_private(&self.ca_key(), authority.private_key_pem().as_bytes())?;
        write_public(&self.ca_certificate(), authority.certificate_pem().as_bytes())?;
        Ok(authority)
    }

    /// The names in the server's certificate: those that devices use, and this machine's own.
    pub(crate) fn server_names(config: &Config) -> Vec<String> {
        let mut names = config.endpoint_names.clone();
        for own in ["localhost", "127.0.0.1", "::1"] {
            if !names.iter().any(|name| name == own) {
                names.push(own.to_owned());
            }
        }
        names
    }
}

/// Writes a file that only its owner may read, whole or not at all.
pub(crate) fn write_private(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    write_with_mode(path, bytes, 0o600)
}

fn write_public(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    write_with_mode(path, bytes, 0o644)
}

fn write_with_mode(path: &Path, bytes: &[u8], mode: u32) -> anyhow::Result<()> {
    let beside = path.with_extension("new");
    let written = || -> std::io::Result<()> {
        let _ = fs::remove_file(&beside);
        let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(&beside)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&beside, path)
    };
    written().with_context(|| format!("cannot write {}", path.display()))
}

fn read(path: &Path) -> anyhow::Result<String> {
    fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}
