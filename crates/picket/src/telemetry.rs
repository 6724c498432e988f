//! Where words go: data to stdout, talk to stderr.

use std::io::Write as _;

/// Says on stderr why the program failed, with the chain of causes.
pub(crate) fn complain(error: &anyhow::Error) {
    // If even stderr is gone there is nobody to tell.
    let _ = writeln!(std::io::stderr(), "error: {error:#}");
}

/// Writes one line of data to stdout.
pub(crate) fn say(line: &str) -> std::io::Result<()> {
    let mut stdout = std::io::stdout().lock();
    writeln!(stdout, "{line}")?;
    stdout.flush()
}
