//! The file that lets an operator's programs reach the server: where it is, and a key.

use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// What the server writes as `operator.toml` into its data directory, and what the operator's programs read.
///
/// It holds a secret: its mode is 0600, and a reader refuses it when others may read it.
#[derive(Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct OperatorFile {
    /// The API's address, as in `http://127.0.0.1:8080`.
    pub endpoint: String,
    /// Names the key.
    pub access_key_id: String,
    /// Signs.
    pub secret_access_key: String,
    /// The region that requests are signed for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// The certificates, as PEM, that the API's TLS certificate must go back to; the system's own when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<PathBuf>,
}

/// Why a text is not an operator's file. It never quotes the text, which holds a secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not an operator's file: {reason} (expected endpoint, access_key_id, secret_access_key, region, ca_file)")]
pub struct BadOperatorFile {
    /// What is wrong.
    pub reason: String,
}

impl OperatorFile {
    /// Reads TOML.
    ///
    /// # Errors
    /// It is not TOML, a key is missing or unknown.
    pub fn from_toml(text: &str) -> Result<Self, BadOperatorFile> {
        toml::from_str(text).map_err(|err| BadOperatorFile {
            reason: err.message().to_owned(),
        })
    }

    /// Writes TOML.
    ///
    /// # Errors
    /// The path of `ca_file` is not UTF-8.
    pub fn to_toml(&self) -> Result<String, BadOperatorFile> {
        toml::to_string(self).map_err(|err| BadOperatorFile {
            reason: err.to_string(),
        })
    }
}

impl fmt::Debug for OperatorFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OperatorFile")
            .field("endpoint", &self.endpoint)
            .field("access_key_id", &self.access_key_id)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "a-secret-of-tests";

    fn file(region: Option<&str>, ca_file: Option<&str>) -> OperatorFile {
        OperatorFile {
            endpoint: "https://localhost:8080".to_owned(),
            access_key_id: "AKIDEXAMPLE".to_owned(),
            secret_access_key: SECRET.to_owned(),
            region: region.map(str::to_owned),
            ca_file: ca_file.map(PathBuf::from),
        }
    }

    #[test]
    fn what_is_written_is_read() {
        for file in [file(None, None), file(Some("us-east-1"), Some("/data/ca.pem"))] {
            assert_eq!(OperatorFile::from_toml(&file.to_toml().unwrap()), Ok(file));
        }
    }

    #[test]
    fn refusals_name_the_key_and_never_the_secret() {
        let good = file(None, None).to_toml().unwrap();
        for (text, expected) in [
            (good.replace("endpoint", "end_point"), "end_point"),
            (good.replace("access_key_id = \"AKIDEXAMPLE\"", ""), "access_key_id"),
            (good.replace(&format!("\"{SECRET}\""), SECRET), ""),
            (format!("secret_access_key = \"{SECRET}\"\nregion = 7"), ""),
        ] {
            let refusal = OperatorFile::from_toml(&text).unwrap_err();
            assert!(refusal.to_string().contains(expected), "{refusal}");
            assert!(!format!("{refusal} {refusal:?}").contains(SECRET), "{refusal}");
        }
        assert!(!format!("{:?}", file(None, None)).contains(SECRET));
    }
}
