//! Pages of the documentation whose commands are run as they stand there: every block, in one shell, one after the other.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::Duration;

use crate::fleet::{binary, built, root, wait};

/// What is true after a block, in words and as a check.
pub(crate) type Fact = (&'static str, fn(&Shell) -> bool);

/// How long a block may take: one that calls the AWS CLI a dozen times, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(180);

/// Runs the page: after each block, its fact.
pub(crate) fn run(page: &str, facts: &[Fact]) {
    run_in(Shell::start(), page, &[], facts);
}

/// The same in a shell whose home holds what the page's reader has, with these words replaced: the reader's addresses and keys.
pub(crate) fn run_in(mut shell: Shell, page: &str, replaced: &[(&str, &str)], facts: &[Fact]) {
    let mut blocks = blocks(page);
    for (old, new) in replaced {
        assert!(
            blocks.iter().any(|block| block.contains(old)),
            "{page} does not say {old}"
        );
        for block in &mut blocks {
            *block = block.replace(old, new);
        }
    }
    assert_eq!(blocks.len(), facts.len(), "each block of {page} has its fact");
    for (block, (what, is_so)) in blocks.iter().zip(facts) {
        shell.run(block);
        let fact = wait(what, PATIENCE, || is_so(&shell).then_some(()));
        fact.unwrap_or_else(|what| panic!("{what}; said so far:\n{}", shell.said()));
    }
}

/// The blocks of commands, without those that only build and find the programs.
fn blocks(page: &str) -> Vec<String> {
    let text = std::fs::read_to_string(root().join(page)).unwrap();
    let block = |text: &str| {
        let lines = text.split("```").next().unwrap().lines();
        let kept = lines.filter(|line| !line.starts_with("cargo build") && !line.starts_with("export PATH"));
        kept.map(|line| format!("{line}\n")).collect()
    };
    text.split("```bash\n").skip(1).map(block).collect()
}

/// A shell with a home of its own, which ends with all that it started.
pub(crate) struct Shell {
    folder: tempfile::TempDir,
    child: Child,
    commands: Option<ChildStdin>,
    n_blocks: usize,
}

impl Shell {
    pub(crate) fn start() -> Self {
        built();
        let folder = tempfile::tempdir().unwrap();
        let path = format!(
            "{}:{}:{}",
            binary("picket").parent().unwrap().display(),
            root().join("target/test-venv/bin").display(),
            std::env::var("PATH").unwrap()
        );
        let out = std::fs::File::create(folder.path().join("out")).unwrap();
        let mut child = Command::new("bash")
            .arg("-e")
            .current_dir(folder.path())
            .env("HOME", folder.path())
            .env("PATH", path)
            .env("AWS_EC2_METADATA_DISABLED", "true")
            .stdin(Stdio::piped())
            .stdout(out.try_clone().unwrap())
            .stderr(out)
            .spawn()
            .unwrap();
        let mut commands = child.stdin.take().unwrap();
        // However it ends, what it left in the background ends with it; the sensor has gone its own way.
        commands
            .write_all(b"trap 'kill $(jobs -p); picket-sim stop -d SensorDevice03 2>/dev/null' EXIT\n")
            .unwrap();
        Self {
            folder,
            child,
            commands: Some(commands),
            n_blocks: 0,
        }
    }

    /// Runs a block to its end; every command in it has to succeed.
    fn run(&mut self, block: &str) {
        self.n_blocks += 1;
        let end = format!("block {} is done", self.n_blocks);
        write!(self.commands.as_mut().unwrap(), "{block}\necho {end}\n").unwrap();
        let ended = wait(&end, PATIENCE, || {
            assert!(
                self.child.try_wait().unwrap().is_none(),
                "a command failed:\n{}",
                self.said()
            );
            self.said().contains(&end).then_some(())
        });
        ended.unwrap_or_else(|what| panic!("{what}; said so far:\n{}", self.said()));
    }

    pub(crate) fn file(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn said(&self) -> String {
        self.file("out")
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        drop(self.commands.take());
        let _ = self.child.wait();
    }
}
