//! The tree of commands, and the way from the command line to an exit code.

use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use crate::desk::Desk;
use crate::failure::Failure;
use crate::output::{Format, Output, printable};
use crate::{
    certificate, endpoint, fleet, group, import, key, metric, policy, profile, response, thing, topic, violation,
};

/// What the exit codes of all commands mean; for the end of a help text.
pub const EXIT_CODES: &str = "Exit codes: 0 done, 1 failed (stderr says why), 2 the command line was not understood.";

/// Where the server is and how to print; these options stand before or after the noun and the verb.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "Server and output of the operator's commands")]
pub struct Options {
    /// How to print data: `json` is the API's answer, stable, for programs
    #[arg(long, global = true, value_enum, default_value_t, value_name = "FORMAT")]
    pub output: Format,
    /// The API's address, as in http://127.0.0.1:8080 [else PICKET_ENDPOINT, else the file]
    #[arg(long, global = true, value_name = "URL")]
    pub endpoint: Option<String>,
    /// The access key to sign with [else PICKET_ACCESS_KEY_ID, else the file]; its secret is never an argument, it
    /// comes from PICKET_SECRET_ACCESS_KEY or the file
    #[arg(long, global = true, value_name = "ID")]
    pub access_key_id: Option<String>,
    /// A file of mode 0600 with server and key, such as the operator.toml in the server's data directory
    /// [default: ~/.config/picket/credentials.toml]
    #[arg(long, global = true, value_name = "FILE")]
    pub credentials: Option<PathBuf>,
}

/// The operator's commands: each noun has its verbs.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Devices that are registered
    #[command(subcommand, after_help = EXIT_CODES)]
    Thing(thing::Verb),
    /// Groups of things
    #[command(subcommand, after_help = EXIT_CODES)]
    Group(group::Verb),
    /// What devices may do: IoT policies, attached to certificates and groups
    #[command(subcommand, after_help = EXIT_CODES)]
    Policy(policy::Verb),
    /// What devices prove their identity with
    #[command(subcommand, after_help = EXIT_CODES)]
    Certificate(certificate::Verb),
    /// What is normal for devices: security profiles
    #[command(subcommand, after_help = EXIT_CODES)]
    Profile(profile::Verb),
    /// Devices that do not behave as their profiles say is normal
    #[command(subcommand, after_help = EXIT_CODES)]
    Violation(violation::Verb),
    /// What devices reported, and what the server measured of them
    #[command(subcommand, after_help = EXIT_CODES)]
    Metric(metric::Verb),
    /// What the server does by itself about a violation, what it did, and how to undo it
    #[command(subcommand, after_help = EXIT_CODES)]
    Response(response::Verb),
    /// Where alerts of profiles go, and who is told of them
    #[command(subcommand, after_help = EXIT_CODES)]
    Topic(topic::Verb),
    /// Keys that sign calls of the API
    #[command(subcommand, after_help = EXIT_CODES)]
    Key(key::Verb),
    /// Where devices connect to
    #[command(subcommand, after_help = EXIT_CODES)]
    Endpoint(endpoint::Verb),
    /// Say what differs between a file that describes the fleet and the server
    #[command(
        after_help = "Exit codes: 0 done, 1 failed, 2 the command line was not understood, 3 there is a difference and --exit-code was given."
    )]
    Diff(fleet::Diff),
    /// Make the server's policies, groups, metrics, dimensions, mitigation actions and profiles what a file says
    #[command(after_help = EXIT_CODES)]
    Apply(fleet::Apply),
    /// Bring a fleet here from somewhere else
    #[command(subcommand, after_help = EXIT_CODES)]
    Import(import::Source),
}

/// Runs one command: data to stdout, talk to stderr. See [`EXIT_CODES`].
pub fn run(options: &Options, command: Command) -> ExitCode {
    match attempt(options, command) {
        Ok(code) => code,
        // Whoever reads stdout has seen enough.
        Err(Failure::Output(err)) if err.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(failure) => {
            // If even stderr is gone there is nobody to tell. What the server says may quote names that came from devices.
            let _ = writeln!(io::stderr(), "error: {}", printable(&failure.chain()));
            ExitCode::FAILURE
        }
    }
}

fn attempt(options: &Options, command: Command) -> Result<ExitCode, Failure> {
    if let Command::Profile(verb) = &command
        && let Some(done) = verb.offline(Output::new(options.output))
    {
        return done.map(|()| ExitCode::SUCCESS);
    }
    let desk = Desk::open(options)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(Failure::Runtime)?;
    runtime.block_on(async {
        match command {
            Command::Thing(verb) => verb.run(&desk).await,
            Command::Group(verb) => verb.run(&desk).await,
            Command::Policy(verb) => verb.run(&desk).await,
            Command::Certificate(verb) => verb.run(&desk).await,
            Command::Profile(verb) => verb.run(&desk).await,
            Command::Violation(verb) => verb.run(&desk).await,
            Command::Metric(verb) => verb.run(&desk).await,
            Command::Response(verb) => verb.run(&desk).await,
            Command::Topic(verb) => verb.run(&desk).await,
            Command::Key(verb) => verb.run(&desk).await,
            Command::Endpoint(verb) => verb.run(&desk).await,
            Command::Apply(apply) => apply.run(&desk).await,
            Command::Import(source) => source.run(&desk).await,
            Command::Diff(diff) => return diff.run(&desk).await,
        }
        .map(|()| ExitCode::SUCCESS)
    })
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory as _, Parser};

    use super::*;

    #[derive(Debug, Parser)]
    struct Arguments {
        #[command(flatten)]
        options: Options,
        #[command(subcommand)]
        command: Command,
    }

    #[test]
    fn the_tree_is_sound() {
        Arguments::command().debug_assert();
    }

    /// clap takes arguments of one id for one argument: a command's own would silently set the option of all commands.
    #[test]
    fn no_argument_of_a_command_is_named_like_an_option_of_all_commands() {
        fn own_ids(command: &clap::Command, options: &[String], found: &mut Vec<String>) {
            for argument in command.get_arguments() {
                let id = argument.get_id().as_str();
                if options.iter().any(|option| option == id) {
                    found.push(format!("{} {id}", command.get_name()));
                }
            }
            for below in command.get_subcommands() {
                own_ids(below, options, found);
            }
        }
        // Not built yet: the options of all commands stand at the root alone.
        let root = Arguments::command();
        let options: Vec<String> = root.get_arguments().map(|option| option.get_id().to_string()).collect();
        assert!(options.contains(&"access_key_id".to_owned()), "{options:?}");
        let mut found = Vec::new();
        for noun in root.get_subcommands() {
            own_ids(noun, &options, &mut found);
        }
        assert_eq!(found, Vec::<String>::new());
    }

    /// Command lines, and whether they are understood.
    const LINES: &[(&str, bool)] = &[
        ("thing create pump-7 --attribute site=north", true),
        ("--output json thing list", true),
        ("thing list --output json", true),
        ("thing list --output yaml", false),
        ("thing create pump/7", false),
        ("thing", false),
        ("thing list --secret-access-key x", false),
        ("thing quarantine pump-7", true),
        ("thing release pump-7", true),
        ("group create Isolated --parent Root", true),
        ("group add Isolated pump-7", true),
        ("policy create AllowAll allow.json", true),
        ("policy create AllowAll -", true),
        (
            "policy attach AllowAll arn:aws:iot:us-east-1:123456789012:thinggroup/x",
            true,
        ),
        ("certificate create --active --out device", true),
        ("certificate create --active", false),
        ("certificate attach ID pump-7", true),
        ("certificate attach 12 pump-7", false),
        ("profile create Story -f story.json", true),
        ("profile create Story", false),
        ("profile attach Story all/things", true),
        ("violation list --thing pump-7", true),
        ("violation events --since 1h", true),
        ("violation events --since yesterday-ish", false),
        ("violation verify abababababababababababababababab TRUE_POSITIVE", true),
        ("violation verify abababababababababababababababab MAYBE", false),
        ("violation explain ab", false),
        (
            "response create Stop --profile Story --quarantine --webhook http://127.0.0.1:9/",
            true,
        ),
        ("response create Stop --quarantine Jail", true),
        ("response create Stop", false),
        ("response undo --thing pump-7", true),
        ("response undo 7", true),
        ("response undo", false),
        ("response undo 7 --thing pump-7", false),
        ("response decisions", true),
        ("response runs", true),
        ("metric values pump-7 aws:all-bytes-out --since 2h", true),
        (
            "metric values pump-7 aws:num-messages-sent --dimension Topics --outside",
            true,
        ),
        ("metric values pump-7 aws:num-messages-sent --outside", false),
        ("metric values pump-7", false),
        ("key create", true),
        ("key disable AKID", true),
        ("endpoint show", true),
        ("endpoint ca", true),
        ("diff -f fleet.yaml --prune --exit-code", true),
        ("apply -f -", true),
        ("apply --dry-run --prune -f fleet.yaml", true),
        ("apply", false),
        ("import aws --from-region eu-west-1 --dry-run", true),
        (
            "import aws --from-region eu-west-1 --from-endpoint http://127.0.0.1:1 --overwrite",
            true,
        ),
        ("import azure", false),
    ];

    #[test]
    fn command_lines_are_understood_or_refused_as_usage() {
        let id = "ab".repeat(32);
        for &(line, is_understood) in LINES {
            let words = line
                .split(' ')
                .map(|word| if word == "ID" { id.as_str() } else { word });
            let parsed = Arguments::try_parse_from(["picket"].into_iter().chain(words));
            assert_eq!(parsed.is_ok(), is_understood, "{line}: {parsed:?}");
            if let Err(refusal) = parsed {
                assert_eq!(refusal.exit_code(), 2, "{line}");
            }
        }
    }
}
