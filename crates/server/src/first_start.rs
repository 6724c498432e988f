//! The data directory: what the first start creates in it, and every later start finds there.

use std::fs;
use std::io::Write as _;
use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use picket_api::KeyRing;
use picket_aws::operator::OperatorFile;
use picket_aws::sigv4::Credentials;
use picket_model::time::Timestamp;
use picket_pki::{Authority, MessageSigner};
use picket_store::Db;

/// The fleet CA's certificate in a data directory, and beside the operator's file.
pub(crate) const CA_FILE: &str = "ca.pem";

/// The paths in a data directory.
#[derive(Clone, Debug)]
pub(crate) struct DataDir(PathBuf);

impl DataDir {
    /// The directory, made with mode 0700 if it is not there. It may have been made by somebody else, for everybody to
    /// read: what is in it and says anything about devices is the owner's alone.
    pub(crate) fn open(path: &Path) -> anyhow::Result<Self> {
        let data = Self(path.to_owned());
        let make = |folder: &Path| fs::DirBuilder::new().recursive(true).mode(0o700).create(folder);
        make(&data.0).with_context(|| format!("cannot make the data directory {}", path.display()))?;
        make(&data.snapshots()).with_context(|| format!("cannot write in the data directory {}", path.display()))?;
        Ok(data)
    }

    /// The directory of a server that has run before.
    pub(crate) fn of_server(path: &Path) -> anyhow::Result<Self> {
        let data = Self(path.to_owned());
        if !data.log().exists() {
            bail!(
                "{} holds no report log, expected the data directory of a server",
                path.display()
            );
        }
        Ok(data)
    }

    /// Sees to it that nobody but the owner reads the databases, before they are opened: whoever makes the files later
    /// makes them for everybody, and those beside them after their image.
    pub(crate) fn close_databases(&self) -> anyhow::Result<()> {
        for database in [self.log(), self.registry()] {
            let made = fs::OpenOptions::new()
                .append(true)
                .create(true)
                .mode(0o600)
                .open(&database);
            made.with_context(|| format!("cannot write {}", database.display()))?;
            for suffix in ["", "-wal", "-shm"] {
                let mut path = database.clone().into_os_string();
                path.push(suffix);
                keep_private(Path::new(&path))?;
            }
        }
        keep_private_folder(&self.snapshots())
    }

    /// Whether no server has come as far as to have databases here.
    fn is_new(&self) -> bool {
        !self.log().exists() && !self.registry().exists()
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

    pub(crate) fn history(&self) -> PathBuf {
        self.0.join("history")
    }

    /// The fleet CA's certificate: what devices trust.
    pub(crate) fn ca_certificate(&self) -> PathBuf {
        self.0.join(CA_FILE)
    }

    fn ca_key(&self) -> PathBuf {
        self.0.join("ca.key")
    }

    /// The fleet CA, made at the first start. Another one later would shut all devices out, so half of it is an error.
    pub(crate) fn authority(&self, now: Timestamp) -> anyhow::Result<Authority> {
        let (certificate, key) = (self.ca_certificate(), self.ca_key());
        if certificate.exists() && key.exists() {
            return Authority::from_pem(&read(&certificate)?, &read(&key)?)
                .context("the fleet CA in the data directory cannot be used");
        }
        if !self.is_new() {
            let missing = if key.exists() { certificate } else { key };
            bail!(
                "{} is missing: devices trust the fleet CA that it is part of, put it back from a backup",
                missing.display()
            );
        }
        // A first start that ended here may have left one of the two.
        let authority = Authority::create("Picket fleet CA", now.millis()).context("cannot make the fleet CA")?;
        write_private(&key, authority.private_key_pem().as_bytes())?;
        write_public(&certificate, authority.certificate_pem().as_bytes())?;
        Ok(authority)
    }

    /// The server's certificate and key, PEM: made at the first start, and again when the names have changed or one of the
    /// files is gone.
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
        let is_made = fs::read_to_string(&made_for).is_ok_and(|found| found == written);
        if is_made && certificate.exists() && key.exists() {
            return Ok(ServerCertificate {
                certificate_pem: read(&certificate)?,
                private_key_pem: read(&key)?,
            });
        }
        let issued = authority
            .issue_server(&names, now.millis())
            .context("cannot make the server's certificate")?;
        // First away and last back: its presence says that the other two belong together.
        remove(&made_for)?;
        write_private(&key, issued.private_key_pem.as_bytes())?;
        write_public(&certificate, issued.certificate_pem.as_bytes())?;
        write_public(&made_for, written.as_bytes())?;
        Ok(ServerCertificate {
            certificate_pem: issued.certificate_pem,
            private_key_pem: issued.private_key_pem,
        })
    }

    /// What messages to subscribers are signed by, if there is one yet.
    pub(crate) fn message_signer(&self) -> anyhow::Result<Option<MessageSigner>> {
        let (certificate, key) = self.signer_files();
        if !certificate.exists() || !key.exists() {
            return Ok(None);
        }
        let signer = MessageSigner::from_pem(&read(&certificate)?, &read(&key)?);
        signer
            .map(Some)
            .with_context(|| format!("{} and its key cannot be used", certificate.display()))
    }

    /// Whether there is one.
    pub(crate) fn has_message_signer(&self) -> bool {
        self.signer_files().0.exists()
    }

    /// Another one, which takes the place of what is there. Receivers fetch its certificate with the next message.
    pub(crate) fn new_message_signer(&self, authority: &Authority, now: Timestamp) -> anyhow::Result<MessageSigner> {
        let (certificate, key) = self.signer_files();
        let signer = MessageSigner::create(authority, "Picket messages", now.millis())
            .context("cannot make the key that messages are signed by")?;
        // First away and last back: its presence says that the two belong together.
        remove(&certificate)?;
        write_private(&key, signer.private_key_pem().as_bytes())?;
        write_public(&certificate, signer.certificate_pem().as_bytes())?;
        Ok(signer)
    }

    fn signer_files(&self) -> (PathBuf, PathBuf) {
        (self.0.join("messages.pem"), self.0.join("messages.key"))
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
        if let Some(given) = given {
            match ring.secret_of(db, &given.access_key_id).await? {
                Some(secret) if secret == given.secret_access_key => {}
                Some(_) => tracing::warn!("access key in the environment has another secret, which stays"),
                None => tracing::warn!(
                    "access key in the environment is not known or disabled, it is taken at the first start only"
                ),
            }
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
        // Where nobody reads it the file has it all the same.
        let _ = writeln!(
            std::io::stderr(),
            "access key of the operator (shown this once, kept in {}):\n  id     {}\n  secret {}",
            path.display(),
            key.access_key_id,
            key.secret_access_key
        );
    }
    Ok(())
}

/// How the operator reaches the API.
pub(crate) struct OperatorServer<'a> {
    pub(crate) endpoint: String,
    pub(crate) region: &'a str,
    /// The certificates that its own goes back to; the system's when `None`.
    pub(crate) ca_file: Option<PathBuf>,
}

impl OperatorServer<'_> {
    fn file(&self, key: &Credentials) -> OperatorFile {
        OperatorFile {
            endpoint: self.endpoint.clone(),
            access_key_id: key.access_key_id.clone(),
            secret_access_key: key.secret_access_key.clone(),
            region: Some(self.region.to_owned()),
            ca_file: self.ca_file.clone(),
        }
    }
}

/// The address may be another one at each start. Who has moved the file elsewhere finds none here, and who has edited it,
/// for a name and a proxy before the API perhaps, finds it as it was.
fn keep_operator_file(data: &DataDir, server: &OperatorServer<'_>) -> anyhow::Result<()> {
    let path = data.operator_file();
    if !path.exists() {
        return Ok(());
    }
    let mut file = match OperatorFile::from_toml(&read(&path)?) {
        Ok(file) => file,
        Err(error) => {
            // It is for the operator's commands; devices need not wait until somebody has mended it.
            tracing::warn!(%error, path = %path.display(), "operator's file cannot be used and stays as it is");
            return Ok(());
        }
    };
    let is_ours = match file.endpoint.split_once("://") {
        Some(("http", address)) => address
            .parse::<SocketAddr>()
            .is_ok_and(|address| address.ip().is_loopback()),
        // Who has put a proxy before the API trusts another certificate, or says it by another path.
        _ => file.ca_file.as_deref() == Some(Path::new(CA_FILE)),
    };
    if is_ours && (&file.endpoint, &file.ca_file) != (&server.endpoint, &server.ca_file) {
        file.endpoint.clone_from(&server.endpoint);
        file.ca_file.clone_from(&server.ca_file);
        write_private(&path, file.to_toml()?.as_bytes())?;
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
        fs::rename(&beside, path)?;
        sync_folder_of(path)
    };
    written().with_context(|| format!("cannot write {}", path.display()))
}

fn read(path: &Path) -> anyhow::Result<String> {
    fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}

fn remove(path: &Path) -> anyhow::Result<()> {
    let removed = match fs::remove_file(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => Err(error),
        Ok(()) => sync_folder_of(path),
    };
    removed.with_context(|| format!("cannot remove {}", path.display()))
}

/// Only then does a name, or that it is gone, survive a power cut.
fn sync_folder_of(path: &Path) -> std::io::Result<()> {
    match path.parent() {
        Some(folder) => fs::File::open(folder)?.sync_all(),
        None => Ok(()),
    }
}

fn keep_private(path: &Path) -> anyhow::Result<()> {
    keep_to(path, 0o600)
}

fn keep_private_folder(path: &Path) -> anyhow::Result<()> {
    keep_to(path, 0o700)
}

/// Takes the rights away that others have.
fn keep_to(path: &Path, mode: u32) -> anyhow::Result<()> {
    let kept = || -> std::io::Result<()> {
        let found = fs::metadata(path)?.permissions().mode();
        if found & 0o077 == 0 {
            return Ok(());
        }
        fs::set_permissions(path, fs::Permissions::from_mode(mode))
    };
    match kept() {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot keep others from reading {}", path.display()))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);

    fn data() -> (tempfile::TempDir, DataDir) {
        let folder = tempfile::tempdir().unwrap();
        let data = DataDir::open(&folder.path().join("data")).unwrap();
        (folder, data)
    }

    #[test]
    fn half_of_the_fleet_ca_is_made_new_only_where_nobody_trusts_it_yet() {
        for gone in ["ca.key", "ca.pem"] {
            let (_folder, data) = data();
            data.authority(NOW).unwrap();
            fs::remove_file(data.0.join(gone)).unwrap();
            // A first start that was killed in between.
            let made = data.authority(NOW).unwrap();
            assert_eq!(
                data.authority(NOW).unwrap().certificate_pem(),
                made.certificate_pem(),
                "{gone}"
            );
            data.close_databases().unwrap();
            fs::remove_file(data.0.join(gone)).unwrap();
            let error = data.authority(NOW).map(drop).unwrap_err().to_string();
            assert!(error.contains(gone) && error.contains("is missing"), "{error}");
            assert!(!data.0.join(gone).exists(), "nothing is made in its place");
        }
    }

    #[test]
    fn the_servers_certificate_is_made_again_when_it_is_not_whole_or_has_other_names() {
        let (_folder, data) = data();
        let authority = data.authority(NOW).unwrap();
        let certificate = |names: &[&str]| {
            let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
            data.server_certificate(&authority, &names, NOW)
                .unwrap()
                .certificate_pem
        };
        let first = certificate(&["picket.local"]);
        assert_eq!(certificate(&["picket.local"]), first, "kept");
        let second = certificate(&["picket.local", "10.0.0.7"]);
        assert_ne!(second, first, "other names");
        let mut newest = second;
        for gone in ["server.key", "server.pem", "server.names"] {
            fs::remove_file(data.0.join(gone)).unwrap();
            let again = certificate(&["picket.local", "10.0.0.7"]);
            assert_ne!(again, newest, "{gone}");
            newest = again;
        }
        // Whoever is killed between key and certificate leaves no word that they belong together.
        fs::create_dir(data.0.join("server.new")).unwrap();
        let names = ["picket.local".to_owned()];
        assert!(data.server_certificate(&authority, &names, NOW).is_err());
        assert!(!data.0.join("server.names").exists());
    }

    #[test]
    fn the_operators_file_follows_the_address_and_keeps_what_was_edited() {
        let server = |endpoint: &str, ca_file: Option<&str>| OperatorServer {
            endpoint: endpoint.to_owned(),
            region: "us-east-1",
            ca_file: ca_file.map(PathBuf::from),
        };
        let plain = server("http://127.0.0.1:9999", None);
        let secure = server("https://10.0.0.7:9999", Some(CA_FILE));
        let given = server("https://picket.example:9999", None);
        let file = |endpoint: &str, more: &str| {
            format!("endpoint = \"{endpoint}\"\naccess_key_id = \"AKIA\"\nsecret_access_key = \"s\"\n{more}")
        };
        let region = "region = \"eu-west-1\"\n";
        let of_fleet_ca = format!("{region}ca_file = \"ca.pem\"\n");
        let old = file("http://127.0.0.1:8080", region);
        let old_secure = file("https://127.0.0.1:8080", &of_fleet_ca);
        let new = file("http://127.0.0.1:9999", region);
        let new_secure = file("https://10.0.0.7:9999", &of_fleet_ca);
        let new_given = file("https://picket.example:9999", region);
        let proxied = file("https://127.0.0.1:443", "ca_file = \"/etc/ca.pem\"\n");
        let public = file("https://picket.example", "");
        for (found, server, expected) in [
            (&old, &plain, &new),
            (&old, &secure, &new_secure),
            (&old_secure, &secure, &new_secure),
            (&old_secure, &plain, &new),
            (&old_secure, &given, &new_given),
            (&proxied, &plain, &proxied),
            (&proxied, &secure, &proxied),
            (&public, &secure, &public),
            (&"endpoint = ".to_owned(), &plain, &"endpoint = ".to_owned()),
        ] {
            let (_folder, data) = data();
            fs::write(data.operator_file(), found).unwrap();
            keep_operator_file(&data, server).unwrap();
            assert_eq!(&fs::read_to_string(data.operator_file()).unwrap(), expected);
        }
        let (_folder, data) = data();
        keep_operator_file(&data, &plain).unwrap();
        assert!(!data.operator_file().exists(), "who has taken it away finds none");
    }

    #[test]
    fn databases_are_the_owners_alone_whoever_made_them() {
        let (_folder, data) = data();
        fs::set_permissions(data.snapshots(), fs::Permissions::from_mode(0o755)).unwrap();
        let beside = data.0.join("picket.db-wal");
        for path in [&data.registry(), &beside] {
            fs::write(path, "").unwrap();
            fs::set_permissions(path, fs::Permissions::from_mode(0o644)).unwrap();
        }
        data.close_databases().unwrap();
        for (path, expected) in [
            (data.log(), 0o600),
            (data.registry(), 0o600),
            (beside, 0o600),
            (data.snapshots(), 0o700),
        ] {
            let mode = fs::metadata(&path).unwrap().permissions().mode() & 0o777;
            assert_eq!(mode, expected, "{}: {mode:o}", path.display());
        }
    }
}
