//! What every command works with: the API, and the place where its answer goes.

use std::fs;
use std::io::Read as _;
use std::path::Path;

use picket_aws::call::Call;
use serde_json::Value;

use crate::client::{Client, Paging};
use crate::command::Options;
use crate::credentials;
use crate::failure::Failure;
use crate::output::{Column, Output};

/// The most bytes that are read of a file the operator names.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// The API and the output.
#[derive(Debug)]
pub(crate) struct Desk {
    pub(crate) client: Client,
    pub(crate) output: Output,
}

impl Desk {
    /// Finds server and key, as the options, the environment and the file say.
    ///
    /// # Errors
    /// There is no server or no key, or they cannot be used.
    pub(crate) fn open(options: &Options) -> Result<Self, Failure> {
        let access = credentials::find(options, |name| {
            std::env::var(name).ok().filter(|value| !value.is_empty())
        })?;
        Ok(Self {
            client: Client::new(access)?,
            output: Output::new(options.output),
        })
    }

    /// Calls, and prints the answer as JSON, or else nothing but `talk` on stderr.
    pub(crate) async fn act(&self, call: Call, talk: &str) -> Result<(), Failure> {
        let answer = self.client.call(&call).await?;
        self.warn(&answer);
        self.output.done(&answer, talk)
    }

    /// Calls, and prints the answer as JSON, or else one line for each of these members.
    pub(crate) async fn show(&self, call: Call, lines: &[Column]) -> Result<(), Failure> {
        let answer = self.client.call(&call).await?;
        self.warn(&answer);
        self.output.details(&answer, lines)
    }

    /// Calls for all pages, and prints the list `member` of the answer as a table.
    pub(crate) async fn list(
        &self,
        call: Call,
        paging: Paging,
        member: &'static str,
        columns: &[Column],
    ) -> Result<(), Failure> {
        let answer = self.client.list(&call, paging, member).await?;
        if answer.get(paging.token()).is_some() {
            self.output.talk("there is more than is shown; narrow the list");
        }
        self.output.list(&answer, member, columns)
    }

    /// The server's warnings, which the API adds to some answers, go to stderr.
    pub(crate) fn warn(&self, answer: &Value) {
        for warning in answer["picketWarnings"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
        {
            self.output.talk(&format!("warning: {warning}"));
        }
    }
}

/// A file of the operator's as text; `-` is stdin.
///
/// # Errors
/// It cannot be read, is not UTF-8, or is larger than [`FILE_BYTES_MAX`].
pub(crate) fn read_file(path: &Path) -> Result<String, Failure> {
    let failed = |source| Failure::Read {
        path: path.to_owned(),
        source,
    };
    let mut text = String::new();
    if path == Path::new("-") {
        std::io::stdin()
            .take(FILE_BYTES_MAX + 1)
            .read_to_string(&mut text)
            .map_err(failed)?;
    } else {
        fs::File::open(path)
            .map_err(failed)?
            .take(FILE_BYTES_MAX + 1)
            .read_to_string(&mut text)
            .map_err(failed)?;
    }
    if FILE_BYTES_MAX < u64::try_from(text.len()).unwrap_or(u64::MAX) {
        return Err(Failure::Unexpected {
            what: path.display().to_string(),
            found: "larger than 1 MiB".to_owned(),
            expected: "a smaller file",
        });
    }
    Ok(text)
}

/// A file of the operator's as JSON; `-` is stdin.
///
/// # Errors
/// As [`read_file`], and when it is not JSON.
pub(crate) fn read_json(path: &Path) -> Result<Value, Failure> {
    serde_json::from_str(&read_file(path)?).map_err(|source| Failure::NotJson {
        path: path.to_owned(),
        source,
    })
}

/// A member of an answer that a further call needs.
///
/// # Errors
/// It is not there.
pub(crate) fn required<'a>(answer: &'a Value, member: &'static str) -> Result<&'a str, Failure> {
    answer[member].as_str().ok_or_else(|| Failure::Unexpected {
        what: format!("`{member}` in the server's answer"),
        found: "absent".to_owned(),
        expected: "a text",
    })
}
