//! `picket certificate`.

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use picket_aws::call::Call;
use picket_model::name::{CertificateId, ThingName};
use serde_json::{Value, json};

use crate::client::Paging;
use crate::desk::{self, Desk};
use crate::failure::Failure;
use crate::field::{text, time};
use crate::output::Column;

/// What to do with certificates.
#[derive(Debug, clap::Subcommand)]
pub enum Verb {
    /// Make a key and a certificate, and write `cert.pem` and `private.key` into a folder
    ///
    /// The server keeps no copy of the private key, and this command prints it nowhere.
    Create {
        /// The folder; made if it is missing. Nothing in it is overwritten
        #[arg(long, value_name = "DIR")]
        out: PathBuf,
        /// Let devices connect with it at once
        #[arg(long)]
        active: bool,
    },
    /// Register a certificate that somebody else has issued
    Register {
        /// The certificate, PEM; `-` is stdin
        file: PathBuf,
        /// Let devices connect with it at once
        #[arg(long)]
        active: bool,
    },
    /// Say what is known of a certificate
    Show {
        /// The certificate's id: the SHA-256 of its DER
        id: CertificateId,
    },
    /// List all certificates
    List,
    /// Let devices connect with a certificate
    Activate {
        /// The certificate's id
        id: CertificateId,
    },
    /// End the sessions of a certificate, and let nobody connect with it
    Deactivate {
        /// The certificate's id
        id: CertificateId,
    },
    /// Remove a certificate that is inactive and attached to nothing
    Delete {
        /// The certificate's id
        id: CertificateId,
    },
    /// Say that a certificate is the proof of a thing's identity
    Attach {
        /// The certificate's id
        id: CertificateId,
        /// The thing's name
        thing: ThingName,
    },
    /// Undo an attach
    Detach {
        /// The certificate's id
        id: CertificateId,
        /// The thing's name
        thing: ThingName,
    },
}

const COLUMNS: [Column; 3] = [
    ("CERTIFICATE", |item| text(item, "certificateId")),
    ("STATUS", |item| text(item, "status")),
    ("CREATED", |item| time(item, "creationDate")),
];

const LINES: [Column; 6] = [
    ("certificate", |answer| {
        text(&answer["certificateDescription"], "certificateId")
    }),
    ("arn", |answer| {
        text(&answer["certificateDescription"], "certificateArn")
    }),
    ("status", |answer| text(&answer["certificateDescription"], "status")),
    ("created", |answer| {
        time(&answer["certificateDescription"], "creationDate")
    }),
    ("valid from", |answer| {
        time(&answer["certificateDescription"]["validity"], "notBefore")
    }),
    ("valid until", |answer| {
        time(&answer["certificateDescription"]["validity"], "notAfter")
    }),
];

const NEW_LINES: [Column; 2] = [
    ("certificate", |answer| text(answer, "certificateId")),
    ("arn", |answer| text(answer, "certificateArn")),
];

impl Verb {
    pub(crate) async fn run(self, desk: &Desk) -> Result<(), Failure> {
        match self {
            Self::Create { out, active } => create(desk, &out, active).await,
            Self::Register { file, active } => {
                let status = if active { "ACTIVE" } else { "INACTIVE" };
                let body = json!({ "certificatePem": desk::read_file(&file)?, "status": status });
                desk.show(Call::post(&["certificate", "register-no-ca"]).json(&body), &NEW_LINES)
                    .await
            }
            Self::Show { id } => desk.show(Call::get(&["certificates", &id.to_string()]), &LINES).await,
            Self::List => {
                desk.list(Call::get(&["certificates"]), Paging::Marker, "certificates", &COLUMNS)
                    .await
            }
            Self::Activate { id } => {
                desk.act(update(id, "ACTIVE"), &format!("certificate {id} is active"))
                    .await
            }
            Self::Deactivate { id } => {
                desk.act(update(id, "INACTIVE"), &format!("certificate {id} is inactive"))
                    .await
            }
            Self::Delete { id } => {
                desk.act(
                    Call::delete(&["certificates", &id.to_string()]),
                    &format!("deleted certificate {id}"),
                )
                .await
            }
            Self::Attach { id, thing } => {
                let call = Call::put(&["things", thing.as_str(), "principals"]);
                desk.act(
                    principal(desk, call, id).await?,
                    &format!("certificate {id} belongs to {thing}"),
                )
                .await
            }
            Self::Detach { id, thing } => {
                let call = Call::delete(&["things", thing.as_str(), "principals"]);
                desk.act(
                    principal(desk, call, id).await?,
                    &format!("certificate {id} does not belong to {thing}"),
                )
                .await
            }
        }
    }
}

/// The files are made before the server is asked: a key that cannot be kept is never made.
async fn create(desk: &Desk, out: &Path, active: bool) -> Result<(), Failure> {
    let failed = |path: &Path, source| Failure::Write {
        path: path.to_owned(),
        source,
    };
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(out)
        .map_err(|err| failed(out, err))?;
    let [certificate, key] = ["cert.pem", "private.key"].map(|name| out.join(name));
    let mut files = NewFiles::create(&[&certificate, &key])?;
    let call = Call::post(&["keys-and-certificate"]).query("setAsActive", if active { "true" } else { "false" });
    let mut answer = desk.client.call(&call).await?;
    let secret = answer["keyPair"]["PrivateKey"].take();
    let secret = secret.as_str().ok_or_else(|| Failure::Unexpected {
        what: "`keyPair.PrivateKey` in the server's answer".to_owned(),
        found: "absent".to_owned(),
        expected: "a private key",
    })?;
    files.keep(&[desk::required(&answer, "certificatePem")?, secret])?;
    if let Some(pair) = answer["keyPair"].as_object_mut() {
        pair.remove("PrivateKey");
    }
    desk.output
        .talk(&format!("wrote {} and {}", certificate.display(), key.display()));
    desk.output.details(&answer, &NEW_LINES)
}

/// Files of mode 0600 that were not there before; removed again unless they are kept.
struct NewFiles(Vec<(PathBuf, fs::File)>);

impl NewFiles {
    fn create(paths: &[&Path]) -> Result<Self, Failure> {
        let mut files = Self(Vec::new());
        for path in paths {
            let file = fs::File::options().write(true).create_new(true).mode(0o600).open(path);
            files.0.push((
                path.to_path_buf(),
                file.map_err(|source| Failure::Write {
                    path: path.to_path_buf(),
                    source,
                })?,
            ));
        }
        Ok(files)
    }

    fn keep(&mut self, texts: &[&str]) -> Result<(), Failure> {
        for ((path, file), text) in self.0.iter_mut().zip(texts) {
            let written: io::Result<()> = file.write_all(text.as_bytes()).and_then(|()| file.sync_all());
            written.map_err(|source| Failure::Write {
                path: path.clone(),
                source,
            })?;
        }
        self.0.clear();
        Ok(())
    }
}

impl Drop for NewFiles {
    fn drop(&mut self) {
        for (path, _) in &self.0 {
            // They are empty or of no use; if one stays, the next attempt says so.
            let _ = fs::remove_file(path);
        }
    }
}

fn update(id: CertificateId, status: &str) -> Call {
    Call::put(&["certificates", &id.to_string()]).query("newStatus", status)
}

async fn principal(desk: &Desk, call: Call, id: CertificateId) -> Result<Call, Failure> {
    let answer: Value = desk.client.call(&Call::get(&["certificates", &id.to_string()])).await?;
    let arn = desk::required(&answer["certificateDescription"], "certificateArn")?;
    Ok(call.header("x-amzn-principal", arn))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn files_are_private_never_overwritten_and_gone_after_a_failure() {
        let folder = tempfile::tempdir().unwrap();
        let [first, second] = ["cert.pem", "private.key"].map(|name| folder.path().join(name));
        drop(NewFiles::create(&[&first, &second]).unwrap());
        assert!(!first.exists() && !second.exists());

        NewFiles::create(&[&first, &second])
            .unwrap()
            .keep(&["certificate", "key"])
            .unwrap();
        assert_eq!(fs::read_to_string(&second).unwrap(), "key");
        assert_eq!(fs::metadata(&second).unwrap().permissions().mode() & 0o777, 0o600);

        fs::remove_file(&first).unwrap();
        assert!(matches!(
            NewFiles::create(&[&first, &second]),
            Err(Failure::Write { .. })
        ));
        assert!(!first.exists(), "nothing is left of the attempt");
        assert_eq!(fs::read_to_string(&second).unwrap(), "key", "what was there stays");
    }
}
