//! Signed calls of the server's API.

use std::fs;
use std::io::{self, Read as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail, ensure};
use picket_aws::call::Call;
use picket_aws::operator::OperatorFile;
use picket_aws::sigv4::Credentials;
use reqwest::Url;
use serde_json::Value;

use crate::{clock, tls};

const CALL_TIME_MAX: Duration = Duration::from_secs(30);
const ANSWER_BYTES_MAX: usize = 1024 * 1024;
const REGION_DEFAULT: &str = "us-east-1";

/// How to reach the server's API: as with `picket`.
#[derive(Debug, clap::Args)]
pub(crate) struct ApiOptions {
    /// The API's address [else PICKET_ENDPOINT, else the file]
    #[arg(long, value_name = "URL")]
    endpoint: Option<String>,
    /// A file of mode 0600 with server and key, such as the operator.toml in the server's data directory [else
    /// PICKET_ENDPOINT, PICKET_ACCESS_KEY_ID and PICKET_SECRET_ACCESS_KEY, else ~/.config/picket/credentials.toml]
    #[arg(long, value_name = "FILE")]
    credentials: Option<PathBuf>,
}

/// The server, as seen by the holder of a key.
pub(crate) struct Api {
    http: reqwest::Client,
    base: Url,
    credentials: Credentials,
    region: String,
}

/// What the server answered.
pub(crate) enum Answer {
    Done(Value),
    Refused { code: String, message: String },
}

impl Answer {
    /// The answer, or the refusal as an error.
    pub(crate) fn done(self) -> anyhow::Result<Value> {
        match self {
            Self::Done(answer) => Ok(answer),
            Self::Refused { code, message } => Err(anyhow!("the server refuses: {code}: {message}")),
        }
    }

    /// Nothing in place of an answer when the server says this code.
    pub(crate) fn unless(self, accepted_code: &str) -> anyhow::Result<Option<Value>> {
        match self {
            Self::Refused { code, .. } if code == accepted_code => Ok(None),
            other => other.done().map(Some),
        }
    }
}

impl Api {
    pub(crate) fn open(options: &ApiOptions) -> anyhow::Result<Self> {
        let file = operator_file(options)?;
        let base = options.endpoint.as_deref().unwrap_or(&file.endpoint);
        let base = Url::parse(base).with_context(|| format!("endpoint is {base:?}, expected http://ADDRESS:PORT"))?;
        let http = reqwest::Client::builder()
            .tls_backend_preconfigured(tls::operator(file.ca_file.as_deref())?)
            .timeout(CALL_TIME_MAX)
            .redirect(reqwest::redirect::Policy::none())
            .build()?;
        let credentials = Credentials {
            access_key_id: file.access_key_id,
            secret_access_key: file.secret_access_key,
        };
        Ok(Self {
            http,
            base,
            credentials,
            region: file.region.unwrap_or(REGION_DEFAULT.to_owned()),
        })
    }

    pub(crate) async fn call(&self, call: &Call) -> anyhow::Result<Answer> {
        let host = self.base.host_str().unwrap_or_default();
        let host = self
            .base
            .port()
            .map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"));
        let method = reqwest::Method::from_bytes(call.method().as_bytes())?;
        let mut request = self
            .http
            .request(method, self.base.join(&call.target())?)
            .body(call.body().to_vec());
        for (name, value) in call.signed(&host, &self.credentials, &self.region, clock::now()) {
            request = request.header(name, value);
        }
        let mut response = request
            .send()
            .await
            .with_context(|| format!("cannot reach the server at {}", self.base))?;
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await? {
            ensure!(
                body.len() + chunk.len() <= ANSWER_BYTES_MAX,
                "the answer has more than {ANSWER_BYTES_MAX} bytes"
            );
            body.extend_from_slice(&chunk);
        }
        let answer: Value = serde_json::from_slice(&body).unwrap_or_default();
        if response.status().is_success() {
            return Ok(Answer::Done(answer));
        }
        let code = response
            .headers()
            .get(picket_aws::error::ERROR_TYPE_HEADER)
            .and_then(|value| value.to_str().ok());
        Ok(Answer::Refused {
            code: code.map_or_else(|| response.status().to_string(), str::to_owned),
            message: answer["message"].as_str().unwrap_or("no reason given").to_owned(),
        })
    }
}

fn operator_file(options: &ApiOptions) -> anyhow::Result<OperatorFile> {
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    if let Some(path) = &options.credentials {
        return read(path);
    }
    let endpoint = options.endpoint.clone().or_else(|| variable("PICKET_ENDPOINT"));
    let key = variable("PICKET_ACCESS_KEY_ID").zip(variable("PICKET_SECRET_ACCESS_KEY"));
    match (endpoint, key) {
        (Some(endpoint), Some((access_key_id, secret_access_key))) => Ok(OperatorFile {
            endpoint,
            access_key_id,
            secret_access_key,
            region: variable("PICKET_REGION"),
            ca_file: variable("PICKET_CA_FILE").map(PathBuf::from),
        }),
        (endpoint, _) => {
            let config = variable("XDG_CONFIG_HOME")
                .map(PathBuf::from)
                .or_else(|| variable("HOME").map(|home| Path::new(&home).join(".config")));
            let Some(path) = config
                .map(|config| config.join("picket/credentials.toml"))
                .filter(|path| path.exists())
            else {
                bail!(
                    "no server and key: give --credentials FILE (the server writes operator.toml into its data directory), \
                     or set PICKET_ENDPOINT, PICKET_ACCESS_KEY_ID and PICKET_SECRET_ACCESS_KEY"
                );
            };
            let file = read(&path)?;
            Ok(OperatorFile {
                endpoint: endpoint.unwrap_or(file.endpoint.clone()),
                ..file
            })
        }
    }
}

fn read(path: &Path) -> anyhow::Result<OperatorFile> {
    let open = || -> io::Result<(u32, String)> {
        let file = fs::File::open(path)?;
        let mode = file.metadata()?.permissions().mode();
        let mut text = String::new();
        file.take(64 * 1024).read_to_string(&mut text)?;
        Ok((mode & 0o777, text))
    };
    let (mode, text) = open().with_context(|| format!("cannot read {}", path.display()))?;
    ensure!(
        mode & 0o077 == 0,
        "others may read {}: its mode is {mode:03o}, expected 600",
        path.display()
    );
    let file = OperatorFile::from_toml(&text).with_context(|| format!("cannot use {}", path.display()))?;
    let ca_file = file
        .ca_file
        .as_deref()
        .map(|ca| path.parent().map_or_else(|| ca.to_owned(), |folder| folder.join(ca)));
    Ok(OperatorFile { ca_file, ..file })
}
