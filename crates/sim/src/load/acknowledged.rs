//! The list of what the server has acknowledged, which outlives a crash of the server and of this program.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use anyhow::Context as _;

/// A file with a line `thing report_id` for each acknowledged message. Each line is handed to the kernel at once.
#[derive(Debug)]
pub(crate) struct Acknowledged(Mutex<File>);

impl Acknowledged {
    /// Adds to the file; makes it if it is missing.
    pub(crate) fn create(path: &Path) -> anyhow::Result<Self> {
        let file = File::options().append(true).create(true).open(path);
        Ok(Self(Mutex::new(
            file.with_context(|| format!("cannot write {}", path.display()))?,
        )))
    }

    pub(crate) fn note(&self, thing: &str, report_id: u64) -> std::io::Result<()> {
        let line = format!("{thing} {report_id}\n");
        // One write is one line, whoever else writes: nothing is held in this program.
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .write_all(line.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_there_at_once_and_added() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("acknowledged");
        for (report_id, expected) in [(1, "pump-7 1\n"), (2, "pump-7 1\npump-7 2\n")] {
            let acknowledged = Acknowledged::create(&path).unwrap();
            acknowledged.note("pump-7", report_id).unwrap();
            assert_eq!(std::fs::read_to_string(&path).unwrap(), expected);
        }
    }
}
