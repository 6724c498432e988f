//! The data directory: what the first start creates in it, and every later start finds there.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use picket_api::KeyRing;
use picket_aws::operator::OperatorFile;
use picket_aws::sigv4::Credentials;
use picket_model::time::Timestamp;
use picket_pki::Authority;
use picket_store::Db;

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

    /// The fleet CA, made at the first start.
    pub(crate) fn authority(&self, now: Timestamp) -> anyhow::Result<Authority> {
        if self.ca_key().exists() {
            let key = read(&self.ca_key())?;
            let certificate = read(&self.ca_certificate())?;
            return Authority::from_pem(&certificate, &key)
                .context("the fleet CA in the data directory cannot be used");
        }
        let authority = Authority::create("Picket fleet CA", now.millis()).context("cannot make the fleet CA")?;
        write_private(&self.ca_key(), authority.private_key_pem().as_bytes())?;
        write_public(&self.ca_certificate(), authority.certificate_pem().as_bytes())?;
        Ok(authority)
    }

    /// The server's certificate and key, PEM: made at the first start, and again when the names have changed.
    pub(crate) fn server_certificate(
        &self,
        authority: &Authority,
        names: &[String],
        now: Timestamp,
    ) -> anyhow::Result<ServerCertificate> {
        let names = server_names(names);
        let (certificate, key, made_for) = (
            self.0.join("server.pem"),
            self.0.join("server.key"),
            self.0.join("server.names"),
        );
        let written = names.join("\n");
        if fs::read_to_string(&made_for).is_ok_and(|found| found == written) {
            return Ok(ServerCertificate {
                certificate_pem: read(&certificate)?,
                private_key_pem: read(&key)?,
            });
        }
        let issued = authority
            .issue_server(&names, now.millis())
            .context("cannot make the server's certificate")?;
        write_private(&key, issued.private_key_pem.as_bytes())?;
        write_public(&certificate, issued.certificate_pem.as_bytes())?;
        // Last: its presence says that the other two belong together.
        write_public(&made_for, written.as_bytes())?;
        Ok(ServerCertificate {
            certificate_pem: issued.certificate_pem,
            private_key_pem: issued.private_key_pem,
        })
    }

    /// The ring that opens stored access keys; `is_fresh` when there are none yet, and so nothing is lost with a new one.
    pub(crate) fn key_ring(&self, is_fresh: bool) -> anyhow::Result<KeyRing> {
        let path = self.0.join("secrets.key");
        if !path.exists() {
            if !is_fresh {
                bail!(
                    "{} is missing: without it the stored access keys cannot be used",
                    path.display()
                );
            }
            write_private(&path, &KeyRing::generate()?)?;
        }
        let bytes = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let found = bytes.len();
        let Ok(key) = bytes.try_into() else {
            bail!("{} has {found} bytes, expected {}", path.display(), KeyRing::KEY_LEN);
        };
        Ok(KeyRing::new(&key)?)
    }

    /// Where the operator's commands find the server and the key.
    pub(crate) fn operator_file(&self) -> PathBuf {
        self.0.join("operator.toml")
    }
}

/// The server's certificate and key, PEM.
pub(crate) struct ServerCertificate {
    pub(crate) certificate_pem: String,
    pub(crate) private_key_pem: String,
}

/// Makes the operator's access key at the first start: from the environment if it is there, else a new one, which is said
/// once. Later starts only keep the operator's file up to date.
pub(crate) async fn operator_key(
    data: &DataDir,
    db: &Db,
    ring: &KeyRing,
    server: OperatorServer<'_>,
    now: Timestamp,
) -> anyhow::Result<()> {
    let given = given_key()?;
    if !db.access_keys(None, 1).await?.is_empty() {
        if let Some(given) = given
            && db.access_key(&given.access_key_id).await?.is_none()
        {
            tracing::warn!("access key in the environment is not known, it is taken at the first start only");
        }
        return keep_operator_file(data, &server);
    }
    let is_given = given.is_some();
    let key = match given {
        Some(key) => key,
        None => KeyRing::new_credentials()?,
    };
    let path = data.operator_file();
    // The file first: a key that is in force and that nobody knows would lock everybody out.
    write_private(&path, server.file(&key).to_toml()?.as_bytes())?;
    ring.adopt(db, &key, "operator, first start", now).await?;
    if !is_given {
        let mut stderr = std::io::stderr().lock();
        writeln!(
            stderr,
            "access key of the operator (shown this once, kept in {}):\n  id     {}\n  secret {}",
            path.display(),
            key.access_key_id,
            key.secret_access_key
        )?;
    }
    Ok(())
}

/// How the operator reaches the API.
pub(crate) struct OperatorServer<'a> {
    pub(crate) endpoint: String,
    pub(crate) region: &'a str,
}

impl OperatorServer<'_> {
    fn file(&self, key: &Credentials) -> OperatorFile {
        OperatorFile {
            endpoint: self.endpoint.clone(),
            access_key_id: key.access_key_id.clone(),
            secret_access_key: key.secret_access_key.clone(),
            region: Some(self.region.to_owned()),
            ca_file: None,
        }
    }
}

/// The address may be another one at each start. Who has moved the file elsewhere finds none here.
fn keep_operator_file(data: &DataDir, server: &OperatorServer<'_>) -> anyhow::Result<()> {
    let path = data.operator_file();
    if !path.exists() {
        return Ok(());
    }
    let found = OperatorFile::from_toml(&read(&path)?).with_context(|| format!("{} cannot be used", path.display()))?;
    let key = Credentials {
        access_key_id: found.access_key_id.clone(),
        secret_access_key: found.secret_access_key.clone(),
    };
    let wanted = server.file(&key);
    if wanted != found {
        write_private(&path, wanted.to_toml()?.as_bytes())?;
    }
    Ok(())
}

/// A key for the operator from the environment, for containers and tests.
fn given_key() -> anyhow::Result<Option<Credentials>> {
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    match (variable("PICKET_ACCESS_KEY_ID"), variable("PICKET_SECRET_ACCESS_KEY")) {
        (Some(access_key_id), Some(secret_access_key)) => Ok(Some(Credentials {
            access_key_id,
            secret_access_key,
        })),
        (None, None) => Ok(None),
        _ => bail!("one of PICKET_ACCESS_KEY_ID and PICKET_SECRET_ACCESS_KEY is set, expected both or none"),
    }
}

/// The names in the server's certificate: those that devices use, and this machine's own.
fn server_names(endpoint_names: &[String]) -> Vec<String> {
    let mut names = endpoint_names.to_vec();
    for own in ["localhost", "127.0.0.1", "::1"] {
        if !names.iter().any(|name| name == own) {
            names.push(own.to_owned());
        }
    }
    names
}

/// Writes a file that only its owner may read, whole or not at all.
fn write_private(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    write_with_mode(path, bytes, 0o600)
}

fn write_public(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    write_with_mode(path, bytes, 0o644)
}

fn write_with_mode(path: &Path, bytes: &[u8], mode: u32) -> anyhow::Result<()> {
    let beside = path.with_extension("new");
    let written = || -> std::io::Result<()> {
        let _ = fs::remove_file(&beside);
        let mut file = fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(mode)
            .open(&beside)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&beside, path)
    };
    written().with_context(|| format!("cannot write {}", path.display()))
}

fn read(path: &Path) -> anyhow::Result<String> {
    fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}
