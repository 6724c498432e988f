//! The command line: the flags of AWS's Python agent, and ours.
//!
//! Source of the flags: `AWSIoTDeviceDefenderAgentSDK` 2.0.0 on PyPI, which reads them with argparse. So `-id` and `-cm`
//! are flags of two letters behind one dash, long flags are spelled with underscores, and `@file` stands for the
//! arguments that the file holds, one in each line.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

use lexopt::prelude::*;

use crate::settings::Given;

/// What the command line asks for.
#[derive(Debug, PartialEq)]
pub(crate) enum Command {
    /// `--help`
    Help,
    /// `--version`
    Version,
    /// Collect, and report or print.
    Run(Box<Run>),
}

/// How to run.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Run {
    /// What the flags say; they win over the file.
    pub(crate) given: Given,
    /// `--config FILE.toml`
    pub(crate) config: Option<PathBuf>,
    /// `--dryrun`: print one report instead of sending any.
    pub(crate) is_dry: bool,
}

/// Why the command line cannot be followed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UsageError {
    /// Not a flag, or not with the value that it takes.
    #[error(transparent)]
    Argument(#[from] lexopt::Error),
    /// A flag of AWS's Python agent that would change how the agent connects, and does not.
    #[error("{found} is a flag of AWS's Python agent that is not supported")]
    Unsupported {
        /// The flag.
        found: &'static str,
    },
    /// An `@file` cannot be read.
    #[error("cannot read the arguments in {path}")]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// An `@file` names itself, or too many others.
    #[error("more than {ARGUMENTS_MAX} arguments, or files of arguments more than {DEPTH_MAX} deep")]
    Endless,
}

/// The most arguments that are read, from the command line and files together.
const ARGUMENTS_MAX: usize = 1000;

/// How deep files of arguments may name each other.
const DEPTH_MAX: usize = 8;

/// What `--help` prints.
pub(crate) const HELP: &str = "\
Reports what this device listens on, whom it talks to and how much it sends, to Picket or AWS IoT Device Defender.

Usage: picket-agent -e HOST -r ROOT_CA -c CERT -k KEY -id CLIENT_ID [-t THING] [OPTION]...
       picket-agent --config FILE.toml [OPTION]...
       picket-agent --dryrun [OPTION]...
       picket-agent @ARGUMENTS_FILE

Where to report
  -e, --endpoint HOST[:PORT]  the server, by name or address
      --port PORT             its MQTT port [default: 8883]; on 443 the agent asks for MQTT by ALPN
  -r, --rootCA FILE           the only certificates that the server's is checked against, PEM
  -c, --cert FILE             the device's certificate, PEM
  -k, --key FILE              its private key, PEM (PKCS#8, PKCS#1 or SEC1)
  -id, --client_id ID         the MQTT client id [default: the thing]
  -t, --thing_name THING      the thing that the reports are for [default: the client id]

What to report
  -f, --format json|cbor      how reports are encoded [default: json]
  -s, --short_tags            short names for the members of a report
  -i, --interval SECONDS      time between reports, 1 or more [default: 300]; AWS may refuse reports sooner than 300
  -cm, --include-custom-metrics
                              add the custom metric cpu_usage, in percent
      --count-loopback        count the traffic of the loopback interface too (also --interface-loopback)

      --config FILE.toml      take what no flag says from this file
  -d, --dryrun                print one report and end: needs no server, no certificate and no key
  @FILE                       take arguments from FILE, one in each line
  -h, --help                  print this
  -V, --version               print the version

Answers of the server go to stderr, one line each. Exit status: 0 done or stopped by a signal, 1 failed, 2 wrong usage.
";

/// Reads the arguments that follow the program's name.
///
/// # Errors
/// The user must be told what is wrong with them.
pub(crate) fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Command, UsageError> {
    let mut spelled_out = Vec::new();
    for argument in arguments {
        spell_out(argument, DEPTH_MAX, &mut spelled_out)?;
    }
    let mut parser = lexopt::Parser::from_args(spelled_out);
    let mut run = Box::new(Run::default());
    let given = &mut run.given;
    while let Some(argument) = parser.next()? {
        match argument {
            Short('h') | Long("help") => return Ok(Command::Help),
            Short('V') | Long("version") => return Ok(Command::Version),
            Short('e') | Long("endpoint") => given.endpoint = Some(parser.value()?.string()?),
            Long("port") => given.port = Some(parser.value()?.parse()?),
            Short('r') | Long("rootCA" | "root-ca") => given.root_ca = Some(parser.value()?.into()),
            Short('c') | Long("cert") => given.certificate = Some(parser.value()?.into()),
            Short('k') | Long("key") => given.private_key = Some(parser.value()?.into()),
            Long("client-id") => given.client_id = Some(parser.value()?.string()?),
            Short('t') | Long("thing-name") => given.thing_name = Some(parser.value()?.string()?),
            Short('f') | Long("format") => given.format = Some(parser.value()?.string()?),
            Short('i') | Long("interval") => given.interval_secs = Some(parser.value()?.parse()?),
            Short('s') | Long("short-tags") => given.short_names = Some(true),
            Long("include-custom-metrics" | "custom-metrics") => given.include_custom_metrics = Some(true),
            Long("count-loopback" | "interface-loopback") => given.count_loopback = Some(true),
            Short('d') | Long("dryrun") => run.is_dry = true,
            Long("config") => run.config = Some(parser.value()?.into()),
            // The Python agent's choice of how much its MQTT library logs; there is nothing here to choose.
            Long("verbosity") => drop(parser.value()?),
            Short('w') | Long("use-websocket") => return unsupported("--use-websocket"),
            Long("signing-region") => return unsupported("--signing-region"),
            Long("proxy-host") => return unsupported("--proxy-host"),
            Long("proxy-port") => return unsupported("--proxy-port"),
            other => return Err(other.unexpected().into()),
        }
    }
    Ok(Command::Run(run))
}

fn unsupported(found: &'static str) -> Result<Command, UsageError> {
    Err(UsageError::Unsupported { found })
}

/// Adds an argument, or those of the file that it names, as this parser spells them.
fn spell_out(argument: OsString, depth: usize, into: &mut Vec<OsString>) -> Result<(), UsageError> {
    let text = argument.to_str();
    if let Some(path) = text.and_then(|text| text.strip_prefix('@')) {
        let depth = depth.checked_sub(1).ok_or(UsageError::Endless)?;
        for line in lines_of(Path::new(path))? {
            spell_out(line.into(), depth, into)?;
        }
        return Ok(());
    }
    if into.len() == ARGUMENTS_MAX {
        return Err(UsageError::Endless);
    }
    into.push(text.and_then(with_dashes).map_or(argument, OsString::from));
    Ok(())
}

fn lines_of(path: &Path) -> Result<Vec<String>, UsageError> {
    let text = std::fs::read_to_string(path).map_err(|source| UsageError::File {
        path: path.to_owned(),
        source,
    })?;
    Ok(text
        .lines()
        .filter(|line| !line.is_empty())
        .map(str::to_owned)
        .collect())
}

/// The flag as this parser knows it: two letters behind one dash would be read as a letter and its value, and long
/// flags are known with dashes only. `None` for what is no such flag.
fn with_dashes(argument: &str) -> Option<String> {
    let (flag, value) = match argument.split_once('=') {
        Some((flag, value)) => (flag, Some(value)),
        None => (argument, None),
    };
    let long = match flag {
        "-id" => "--client-id".to_owned(),
        "-cm" => "--include-custom-metrics".to_owned(),
        "-se" => "--signing-region".to_owned(),
        "-ph" => "--proxy-host".to_owned(),
        "-pp" => "--proxy-port".to_owned(),
        flag if flag.starts_with("--") => flag.replace('_', "-"),
        _ => return None,
    };
    Some(match value {
        Some(value) => format!("{long}={value}"),
        None => long,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> String {
        match parse(line.split_whitespace().map(OsString::from)) {
            Ok(command) => format!("{command:?}"),
            Err(error) => error.to_string(),
        }
    }

    /// What a command line must be read as, told by the file that says the same.
    fn run(file: &str) -> String {
        let run = Run {
            given: toml::from_str(file).unwrap(),
            ..Run::default()
        };
        format!("{:?}", Command::Run(Box::new(run)))
    }

    #[test]
    fn flags_are_those_of_the_python_agent() {
        for (line, expected) in [
            ("", ""),
            ("-e host", "endpoint = 'host'"),
            ("--endpoint=host", "endpoint = 'host'"),
            ("-ehost", "endpoint = 'host'"),
            ("--port 443", "port = 443"),
            ("-r ca.pem", "root_ca = 'ca.pem'"),
            ("--rootCA ca.pem", "root_ca = 'ca.pem'"),
            ("-c c.pem -k k.pem", "certificate = 'c.pem'\nprivate_key = 'k.pem'"),
            (
                "--cert c.pem --key k_1.pem",
                "certificate = 'c.pem'\nprivate_key = 'k_1.pem'",
            ),
            ("-id x", "client_id = 'x'"),
            ("-id=x", "client_id = 'x'"),
            ("--client_id a_b", "client_id = 'a_b'"),
            ("--client_id=a_b", "client_id = 'a_b'"),
            ("--client-id a_b", "client_id = 'a_b'"),
            ("-i 5", "interval_secs = 5"),
            ("-i5 -t T", "interval_secs = 5\nthing_name = 'T'"),
            ("--thing_name T", "thing_name = 'T'"),
            ("-f cbor -s", "format = 'cbor'\nshort_names = true"),
            ("--short_tags", "short_names = true"),
            ("-cm", "include_custom_metrics = true"),
            ("--include-custom-metrics", "include_custom_metrics = true"),
            ("--custom-metrics", "include_custom_metrics = true"),
            ("--count-loopback", "count_loopback = true"),
            ("--interface-loopback", "count_loopback = true"),
            ("--verbosity Trace", ""),
        ] {
            assert_eq!(read(line), run(expected), "{line}");
        }
        assert_eq!(read("-h"), "Help");
        assert_eq!(read("-e host --version"), "Version");
        assert!(read("-d").contains("is_dry: true"));
        assert!(read("--config a.toml --dryrun").contains("config: Some(\"a.toml\")"));
    }

    #[test]
    fn wrong_usage_is_named() {
        for (line, expected) in [
            ("--made-up", "invalid option '--made-up'"),
            ("-z", "invalid option '-z'"),
            ("host", "unexpected argument \"host\""),
            ("-e", "missing argument for option '-e'"),
            ("-id", "missing argument for option '--client-id'"),
            (
                "-i soon",
                "cannot parse argument \"soon\": invalid digit found in string",
            ),
            (
                "--port 65536",
                "cannot parse argument \"65536\": number too large to fit in target type",
            ),
            (
                "-w true",
                "--use-websocket is a flag of AWS's Python agent that is not supported",
            ),
            (
                "-ph proxy",
                "--proxy-host is a flag of AWS's Python agent that is not supported",
            ),
            ("@/nowhere/at/all", "cannot read the arguments in /nowhere/at/all"),
        ] {
            assert_eq!(read(line), expected, "{line}");
        }
    }

    #[test]
    fn a_file_holds_one_argument_a_line() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("arguments");
        std::fs::write(&file, "-id\nmy device\r\n\n--port=443\n").unwrap();
        assert_eq!(
            read(&format!("@{}", file.display())),
            run("client_id = 'my device'\nport = 443")
        );

        // A flag and its value on one line are one argument, as with argparse.
        std::fs::write(&file, "-z x\n").unwrap();
        assert_eq!(read(&format!("@{}", file.display())), "invalid option '-z'");

        std::fs::write(&file, format!("@{}\n", file.display())).unwrap();
        assert!(read(&format!("@{}", file.display())).starts_with("more than 1000 arguments"));
    }

    #[test]
    fn help_names_every_flag() {
        for flag in [
            "--endpoint",
            "--port",
            "--rootCA",
            "--cert",
            "--key",
            "-id, --client_id",
            "--thing_name",
            "--format",
            "--short_tags",
            "--interval",
            "-cm, --include-custom-metrics",
            "--count-loopback",
            "--interface-loopback",
            "--config",
            "--dryrun",
            "--help",
            "--version",
            "@FILE",
        ] {
            assert!(HELP.contains(flag), "{flag}");
        }
    }
}
