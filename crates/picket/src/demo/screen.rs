//! What the spectator sees: a timeline on stdout, readable in a terminal and in a file.

use std::io::{self, IsTerminal as _, Write};
use std::time::Duration;

use anyhow::Context as _;

/// What kind of line it is. The colour says nothing that the mark does not say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mark {
    /// A fact was observed.
    Fact,
    /// A fact was observed, and it is trouble.
    Trouble,
    /// A command is given, as somebody would type it.
    Command,
    /// Something to know.
    Note,
}

/// Where the timeline goes.
pub(super) struct Screen {
    out: Box<dyn Write>,
    is_terminal: bool,
    has_colour: bool,
    /// The turn of the spinner, while the last line of the terminal is one of progress.
    turn: Option<u128>,
}

const RED: &str = "31";
const GREEN: &str = "32";
const BOLD: &str = "1";
const DIM: &str = "2";
const TURN_MILLIS: u128 = 120;
/// To the left edge, and nothing right of it.
const WIPE: &str = "\r\x1b[2K";
/// A terminal of fewer columns is rare, and a line that wraps cannot be wiped.
const PROGRESS_CHARACTERS_MAX: usize = 76;
const SPINNER: [&str; 4] = ["|", "/", "-", "\\"];

impl Screen {
    /// Progress only on a terminal, colour only on one where nobody has asked for none (<https://no-color.org>).
    pub(super) fn of_stdout() -> Self {
        let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
        let is_terminal = io::stdout().is_terminal() && variable("TERM").is_some_and(|term| term != "dumb");
        Self {
            out: Box::new(io::stdout()),
            is_terminal,
            has_colour: is_terminal && variable("NO_COLOR").is_none(),
            turn: None,
        }
    }

    /// A part of the story begins.
    pub(super) fn heading(&mut self, text: &str) -> anyhow::Result<()> {
        let text = self.coloured(BOLD, text);
        self.write(&format!("\n{text}\n"))
    }

    /// One line of the timeline.
    pub(super) fn line(&mut self, at: Duration, mark: Mark, text: &str) -> anyhow::Result<()> {
        let at = self.coloured(DIM, &format!("{:7.2} s", at.as_secs_f64()));
        let (sign, text) = match mark {
            Mark::Fact => (self.coloured(GREEN, "ok"), text.to_owned()),
            Mark::Trouble => (self.coloured(RED, "!!"), text.to_owned()),
            Mark::Command => (" $".to_owned(), self.coloured(BOLD, text)),
            Mark::Note => ("  ".to_owned(), self.coloured(DIM, text)),
        };
        self.write(&format!("{at}  {sign} {text}\n"))
    }

    /// Text outside of the timeline.
    pub(super) fn text(&mut self, text: &str) -> anyhow::Result<()> {
        self.write(&format!("{text}\n"))
    }

    /// Shows on a terminal what is waited for, until the next line.
    pub(super) fn progress(&mut self, what: &str, waited: Duration) -> anyhow::Result<()> {
        let turn = waited.as_millis() / TURN_MILLIS;
        if !self.is_terminal || self.turn == Some(turn) {
            return Ok(());
        }
        let spinner = usize::try_from(turn).map_or("-", |turn| SPINNER[turn % SPINNER.len()]);
        let text: String = format!("  {spinner} {:4.1} s  waiting until {what}", waited.as_secs_f64())
            .chars()
            .take(PROGRESS_CHARACTERS_MAX)
            .collect();
        let text = self.coloured(DIM, &text);
        self.write(&text)?;
        self.turn = Some(turn);
        Ok(())
    }

    /// Removes the progress, if the terminal is still there.
    pub(super) fn quiet(&mut self) {
        let _ = self.write("");
    }

    fn write(&mut self, text: &str) -> anyhow::Result<()> {
        let wipe = self.turn.take().map_or("", |_| WIPE);
        self.out
            .write_all(format!("{wipe}{text}").as_bytes())
            .and_then(|()| self.out.flush())
            .context("cannot write to stdout")
    }

    fn coloured(&self, code: &str, text: &str) -> String {
        if self.has_colour {
            format!("\x1b[{code}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Paper(Arc<Mutex<Vec<u8>>>);

    impl Write for Paper {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn shown(is_terminal: bool, has_colour: bool) -> String {
        let paper = Paper::default();
        let mut screen = Screen {
            out: Box::new(paper.clone()),
            is_terminal,
            has_colour,
            turn: None,
        };
        let at = Duration::from_millis(1230);
        screen.heading("Agent").unwrap();
        screen.progress("it reports", at).unwrap();
        screen.progress("it reports", at).unwrap();
        screen.progress("it reports", at + Duration::from_millis(120)).unwrap();
        screen.line(at, Mark::Fact, "it reports").unwrap();
        screen.line(at, Mark::Trouble, "alarm").unwrap();
        let bytes = paper.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn the_same_timeline_is_told_to_terminals_and_files() {
        let timeline = "   1.23 s  ok it reports\n   1.23 s  !! alarm\n";
        let progress = ["-", "\\"].map(|spinner| format!("  {spinner}  1.2 s  waiting until it reports"));
        assert_eq!(shown(false, false), format!("\nAgent\n{timeline}"));
        let on_terminal = shown(true, false).replace("1.4 s", "1.2 s").replace("1.3 s", "1.2 s");
        assert_eq!(
            on_terminal,
            format!("\nAgent\n{}{WIPE}{}{WIPE}{timeline}", progress[0], progress[1])
        );
        let coloured = shown(true, true);
        assert!(coloured.contains("\x1b[32mok\x1b[0m it reports"), "{coloured}");
    }
}
