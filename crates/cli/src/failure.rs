//! Why a command failed.

use std::error::Error;
use std::io;
use std::path::PathBuf;

use crate::client::CallError;
use crate::credentials::CredentialsError;

/// Why a command failed. All of them end in exit code 1.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// Neither server nor key could be found.
    #[error(transparent)]
    Credentials(#[from] CredentialsError),
    /// The server refused, or could not be asked.
    #[error(transparent)]
    Call(#[from] CallError),
    /// Stdout is gone.
    #[error("cannot write to stdout")]
    Output(#[source] io::Error),
    /// The operating system gives no threads or sockets.
    #[error("cannot start")]
    Runtime(#[source] io::Error),
    /// A file of the operator's cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    /// A file cannot be written.
    #[error("cannot write {}", path.display())]
    Write {
        /// Which.
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    /// A file of the operator's is not JSON.
    #[error("{} is not JSON", path.display())]
    NotJson {
        /// Which.
        path: PathBuf,
        #[source]
        source: serde_json::Error,
    },
    /// A file does not describe a fleet, or one that cannot be made of what there is.
    #[error("{}: {found}", path.display())]
    Fleet {
        /// Which.
        path: PathBuf,
        /// What is wrong, with its place.
        found: String,
    },
    /// One of several steps could not be done; those before it are.
    #[error("stopped after {n_done} of {n_steps} changes, at: {what} (mend it and run the same again)")]
    Step {
        /// Which.
        what: String,
        /// Steps before it.
        n_done: usize,
        /// Steps in all.
        n_steps: usize,
        #[source]
        source: Box<Failure>,
    },
    /// A file or an answer has another shape.
    #[error("{what} is {found}, expected {expected}")]
    Unexpected {
        /// Of what.
        what: String,
        /// As it is.
        found: String,
        /// As it should be.
        expected: &'static str,
    },
}

impl Failure {
    /// What went wrong and why, in one line.
    pub(crate) fn chain(&self) -> String {
        let mut text = self.to_string();
        let mut cause = self.source();
        while let Some(err) = cause {
            text += &format!(": {err}");
            cause = err.source();
        }
        text
    }
}
