//! Which server to call, and with which key: options first, then the environment, then a file.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use picket_aws::operator::{BadOperatorFile, OperatorFile};
use picket_aws::sigv4::Credentials;

use crate::command::Options;

const ENDPOINT: &str = "PICKET_ENDPOINT";
const ACCESS_KEY_ID: &str = "PICKET_ACCESS_KEY_ID";
const SECRET_ACCESS_KEY: &str = "PICKET_SECRET_ACCESS_KEY";
const REGION: &str = "PICKET_REGION";
const CA_FILE: &str = "PICKET_CA_FILE";
const REGION_DEFAULT: &str = "us-east-1";

/// A server, and a key that it knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Access {
    /// The API's address.
    pub(crate) endpoint: String,
    pub(crate) credentials: Credentials,
    /// What goes with a key that AWS lends for a while; keys of ours have none.
    pub(crate) session_token: Option<String>,
    /// The region that requests are signed for.
    pub(crate) region: String,
    /// The certificates to trust, as a PEM file; the system's own when `None`.
    pub(crate) ca_file: Option<PathBuf>,
}

/// Why there is no server or no key.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CredentialsError {
    #[error(
        "no {missing}: give --credentials FILE (the server writes operator.toml into its data directory), or set \
         {ENDPOINT}, {ACCESS_KEY_ID} and {SECRET_ACCESS_KEY}"
    )]
    Missing { missing: &'static str },
    #[error("key {wanted} is wanted, but {} holds key {found}", path.display())]
    OtherKey {
        wanted: String,
        found: String,
        path: PathBuf,
    },
    #[error("cannot read {}", path.display())]
    Read {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("others may read {}: its mode is {mode:03o}, expected 600 (chmod 600 it)", path.display())]
    Exposed { path: PathBuf, mode: u32 },
    #[error("{} cannot be used", path.display())]
    Malformed {
        path: PathBuf,
        #[source]
        source: BadOperatorFile,
    },
}

/// Finds server and key. `variable` reads the environment.
///
/// The secret of the environment goes with the key id of the options or the environment, the file's with the file's: one
/// is never tried with the other. A file that is named on the command line is stronger than the environment.
///
/// # Errors
/// Something is missing, contradictory, or in a file that others may read.
pub(crate) fn find(options: &Options, variable: impl Fn(&str) -> Option<String>) -> Result<Access, CredentialsError> {
    let named = options
        .credentials
        .as_deref()
        .map(|path| read(path).map(|file| (path.to_owned(), file)))
        .transpose()?;
    let (secret, key_id) = match &named {
        Some(_) => (None, options.access_key_id.clone()),
        None => (
            variable(SECRET_ACCESS_KEY),
            options.access_key_id.clone().or_else(|| variable(ACCESS_KEY_ID)),
        ),
    };
    let endpoint = options
        .endpoint
        .clone()
        .or_else(|| if named.is_some() { None } else { variable(ENDPOINT) });
    let file = match named {
        None if secret.is_none() || endpoint.is_none() => default_file(&variable)?,
        named => named,
    };
    let credentials = match (secret, key_id, &file) {
        (Some(secret_access_key), Some(access_key_id), _) => Credentials {
            access_key_id,
            secret_access_key,
        },
        (Some(_), None, _) => {
            return Err(CredentialsError::Missing {
                missing: "access key id beside the secret",
            });
        }
        (None, Some(wanted), Some((path, file))) if wanted != file.access_key_id => {
            return Err(CredentialsError::OtherKey {
                wanted,
                found: file.access_key_id.clone(),
                path: path.clone(),
            });
        }
        (None, _, Some((_, file))) => Credentials {
            access_key_id: file.access_key_id.clone(),
            secret_access_key: file.secret_access_key.clone(),
        },
        (None, _, None) => return Err(CredentialsError::Missing { missing: "access key" }),
    };
    let of_file = |value: fn(&OperatorFile) -> Option<String>| file.as_ref().and_then(|(_, file)| value(file));
    Ok(Access {
        endpoint: endpoint
            .or_else(|| of_file(|file| Some(file.endpoint.clone())))
            .ok_or(CredentialsError::Missing { missing: "server" })?,
        credentials,
        session_token: None,
        region: variable(REGION)
            .or_else(|| of_file(|file| file.region.clone()))
            .unwrap_or(REGION_DEFAULT.to_owned()),
        ca_file: variable(CA_FILE)
            .map(PathBuf::from)
            .or_else(|| file.as_ref().and_then(|(path, file)| ca_file(path, file))),
    })
}

/// A relative path is relative to the file that it stands in.
fn ca_file(path: &Path, file: &OperatorFile) -> Option<PathBuf> {
    let ca_file = file.ca_file.as_deref()?;
    Some(
        path.parent()
            .map_or_else(|| ca_file.to_owned(), |folder| folder.join(ca_file)),
    )
}

fn default_file(
    variable: &impl Fn(&str) -> Option<String>,
) -> Result<Option<(PathBuf, OperatorFile)>, CredentialsError> {
    let folder = variable("XDG_CONFIG_HOME")
        .map(PathBuf::from)
        .or_else(|| variable("HOME").map(|home| Path::new(&home).join(".config")));
    let Some(path) = folder.map(|folder| folder.join("picket/credentials.toml")) else {
        return Ok(None);
    };
    match read(&path) {
        Ok(file) => Ok(Some((path, file))),
        Err(CredentialsError::Read { source, .. }) if source.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(err) => Err(err),
    }
}

fn read(path: &Path) -> Result<OperatorFile, CredentialsError> {
    let failed = |source| CredentialsError::Read {
        path: path.to_owned(),
        source,
    };
    let mut file = fs::File::open(path).map_err(failed)?;
    // The mode of what was opened, not of what the path may name a moment later.
    let mode = file.metadata().map_err(failed)?.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(CredentialsError::Exposed {
            path: path.to_owned(),
            mode,
        });
    }
    let mut text = String::new();
    io::Read::read_to_string(&mut io::Read::take(&mut file, 64 * 1024), &mut text).map_err(failed)?;
    OperatorFile::from_toml(&text).map_err(|source| CredentialsError::Malformed {
        path: path.to_owned(),
        source,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(path: &Path, mode: u32, name: &str) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let text = format!(
            "endpoint = \"http://{name}\"\naccess_key_id = \"{}\"\nsecret_access_key = \"{name}-secret\"\nca_file = \"ca.pem\"\n",
            name.to_uppercase()
        );
        fs::write(path, text).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    /// `variables` and `files` are letters: endpoint, key id, secret; named on the command line, in the home.
    fn attempt(endpoint: &str, key_id: &str, variables: &str, files: &str) -> Result<Access, CredentialsError> {
        let folder = tempfile::tempdir().unwrap();
        let named = folder.path().join("operator.toml");
        write(&named, 0o600, "named");
        if files.contains('h') {
            write(&folder.path().join(".config/picket/credentials.toml"), 0o600, "home");
        }
        let given = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        let options = Options {
            endpoint: given(endpoint),
            access_key_id: given(key_id),
            credentials: files.contains('n').then_some(named),
            ..Options::default()
        };
        find(&options, |name| {
            let (letter, value) = match name {
                "HOME" => return folder.path().to_str().map(str::to_owned),
                ENDPOINT => ('e', "http://env"),
                ACCESS_KEY_ID => ('k', "ENV"),
                SECRET_ACCESS_KEY => ('s', "env-secret"),
                _ => return None,
            };
            variables.contains(letter).then(|| value.to_owned())
        })
    }

    #[test]
    fn options_then_environment_then_file() {
        for (endpoint, key_id, variables, files, expected) in [
            ("", "", "", "", "no access key"),
            ("", "", "eks", "", "http://env ENV env-secret"),
            ("", "", "eks", "h", "http://env ENV env-secret"),
            ("", "", "eks", "n", "http://named NAMED named-secret"),
            ("http://x", "", "eks", "", "http://x ENV env-secret"),
            ("http://x", "", "eks", "n", "http://x NAMED named-secret"),
            ("", "K", "eks", "", "http://env K env-secret"),
            ("", "", "", "h", "http://home HOME home-secret"),
            ("", "HOME", "", "h", "http://home HOME home-secret"),
            ("", "K", "", "h", "holds key HOME"),
            ("", "K", "eks", "n", "holds key NAMED"),
            ("", "", "e", "h", "http://env HOME home-secret"),
            ("", "", "ks", "h", "http://home ENV env-secret"),
            ("", "", "ks", "", "no server"),
            ("", "", "es", "h", "no access key id"),
        ] {
            let found = match attempt(endpoint, key_id, variables, files) {
                Ok(Access {
                    endpoint, credentials, ..
                }) => {
                    format!(
                        "{endpoint} {} {}",
                        credentials.access_key_id, credentials.secret_access_key
                    )
                }
                Err(err) => err.to_string(),
            };
            let is_as_expected = found == expected || (!expected.contains("http") && found.contains(expected));
            assert!(
                is_as_expected,
                "{endpoint}/{key_id}/{variables}/{files}: {found}, expected {expected}"
            );
        }
    }

    #[test]
    fn a_file_that_others_may_read_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("operator.toml");
        for (mode, is_refused) in [
            (0o600, false),
            (0o400, false),
            (0o640, true),
            (0o604, true),
            (0o660, true),
            (0o610, true),
        ] {
            write(&path, mode, "named");
            let found = read(&path);
            assert_eq!(
                matches!(found, Err(CredentialsError::Exposed { .. })),
                is_refused,
                "{mode:o}: {found:?}"
            );
        }
    }

    #[test]
    fn certificates_lie_beside_the_file_that_names_them() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("operator.toml");
        write(&path, 0o600, "named");
        let options = Options {
            credentials: Some(path),
            ..Options::default()
        };
        let access = find(&options, |_| None).unwrap();
        assert_eq!(access.ca_file, Some(folder.path().join("ca.pem")));
        assert_eq!(access.region, REGION_DEFAULT);
    }
}
