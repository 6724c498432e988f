//! How data goes to stdout and talk to stderr.

use std::io::{self, Write as _};

use comfy_table::{ContentArrangement, Table, presets};
use serde_json::Value;

use crate::failure::Failure;

/// How data is printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// For people: aligned columns, times in the local zone
    #[default]
    Table,
    /// For programs: the API's answer as it came
    Json,
}

/// A column of a table, or a line of a description: its heading, and what it shows of a value.
pub(crate) type Column = (&'static str, fn(&Value) -> String);

/// The way out for data and talk.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Output {
    format: Format,
}

impl Output {
    pub(crate) const fn new(format: Format) -> Self {
        Self { format }
    }

    /// Whether the API's answer itself is wanted.
    pub(crate) fn is_json(self) -> bool {
        self.format == Format::Json
    }

    /// Prints the list `member` of `answer`, one line each.
    pub(crate) fn list(self, answer: &Value, member: &str, columns: &[Column]) -> Result<(), Failure> {
        if self.is_json() {
            return self.json(answer);
        }
        match answer[member].as_array().map(Vec::as_slice) {
            None | Some([]) => self.talk("none found"),
            Some(items) => return self.text(&table(items, columns)),
        }
        Ok(())
    }

    /// Prints one line for each of these members of `answer`, without those that it does not have.
    pub(crate) fn details(self, answer: &Value, lines: &[Column]) -> Result<(), Failure> {
        if self.is_json() {
            return self.json(answer);
        }
        self.text(&description(answer, lines))
    }

    /// What was asked for is done: there is no data but the API's own answer.
    pub(crate) fn done(self, answer: &Value, talk: &str) -> Result<(), Failure> {
        if self.is_json() {
            return self.json(answer);
        }
        self.talk(talk);
        Ok(())
    }

    /// Prints the API's answer.
    pub(crate) fn json(self, answer: &Value) -> Result<(), Failure> {
        self.text(&format!("{answer:#}\n"))
    }

    /// Prints data as it is.
    pub(crate) fn text(self, text: &str) -> Result<(), Failure> {
        let mut stdout = io::stdout().lock();
        stdout
            .write_all(text.as_bytes())
            .and_then(|()| stdout.flush())
            .map_err(Failure::Output)
    }

    /// Says something to the person at the terminal.
    pub(crate) fn talk(self, line: &str) {
        // A closed stderr is the caller's wish.
        let _ = writeln!(io::stderr(), "{}", printable(line));
    }
}

/// One line for each of the items, below a line of headings.
pub(crate) fn table(items: &[Value], columns: &[Column]) -> String {
    let mut table = plain_table();
    table.set_header(columns.iter().map(|(heading, _)| *heading));
    for item in items {
        table.add_row(columns.iter().map(|(_, shown)| printable(&shown(item))));
    }
    lines_of(table)
}

/// Two columns: what it is, and the value.
pub(crate) fn description(answer: &Value, lines: &[Column]) -> String {
    let mut table = plain_table();
    for (heading, shown) in lines {
        let text = shown(answer);
        if !text.is_empty() {
            table.add_row([(*heading).to_owned(), printable(&text)]);
        }
    }
    lines_of(table)
}

fn plain_table() -> Table {
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Disabled);
    table
}

fn lines_of(mut table: Table) -> String {
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table.lines().map(|line| format!("{}\n", line.trim_end())).collect()
}

/// Names come from devices: nothing that they send may move the cursor of the operator's terminal, or show what follows in
/// another order than it has.
pub(crate) fn printable(text: &str) -> String {
    let turns_text = |c| matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    text.chars()
        .map(|c| {
            if c.is_control() || turns_text(c) {
                char::REPLACEMENT_CHARACTER
            } else {
                c
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::field::text;

    const COLUMNS: [Column; 2] = [
        ("THING", |item| text(item, "thingName")),
        ("ATTRIBUTES", |item| text(item, "attributes")),
    ];

    #[test]
    fn tables_are_plain_aligned_columns() {
        let items = [
            json!({ "thingName": "pump-7", "attributes": { "site": "north" } }),
            json!({ "thingName": "temperature-device-03" }),
            json!({ "thingName": "evil\u{1b}[2J" }),
            json!({ "thingName": "pump\u{202e}7-lanretni" }),
        ];
        let expected = "\
THING                  ATTRIBUTES
pump-7                 site=north
temperature-device-03
evil\u{fffd}[2J
pump\u{fffd}7-lanretni
";
        assert_eq!(table(&items, &COLUMNS), expected);
    }

    #[test]
    fn descriptions_leave_out_what_is_not_there() {
        let lines: [Column; 3] = [
            ("name", |item| text(item, "thingName")),
            ("type", |item| text(item, "type")),
            ("version", |item| text(item, "version")),
        ];
        let answer = json!({ "thingName": "pump-7", "version": 1 });
        assert_eq!(description(&answer, &lines), "name     pump-7\nversion  1\n");
    }
}
