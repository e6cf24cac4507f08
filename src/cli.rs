//! The command line: arguments in, one command run, an exit code out.
//!
//! Invariant: exit code 0 means that the command did what was asked, 1 that something the user gave did not work and
//! stderr says what and what to do, 2 that the command line itself was wrong. `run` with an app ends with the app's.

mod check;
mod demo;
mod duration;
mod explain;
mod failure;
mod health;
mod listen;
mod publish;
mod question;
mod run;
mod sse;
mod terminal;
mod token;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

/// What `--help` shows below the list of commands.
const EXAMPLES: &str = "\
Examples:
  sidestream demo
      See it work: a page, its streams and a publisher, with nothing else installed.
  sidestream --upstream http://127.0.0.1:8000 --jwt-secret env:JWT_SECRET
      Stand in front of an app: everything is proxied, streams are at /events.
  sidestream check && sidestream run
      The same from sidestream.toml.
  sidestream publish --user 42 --event notification --data '{\"title\":\"hi\"}'
      Push to every tab of user 42.
  sidestream listen \"http://127.0.0.1:8080/events?token=$(sidestream token --user 42)\"
      Watch a user's stream.

  sidestream run -- gunicorn shop.wsgi
      The same, and start and watch the app.

Exit codes: 0; 1 for an error in what was given; 2 for usage; with an app, the app's.";

/// A reverse-proxy sidecar that ends Server-Sent-Events connections for the app behind it.
#[derive(Debug, Parser)]
#[command(name = "sidestream", version, after_help = EXAMPLES, args_conflicts_with_subcommands = true)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    /// `run` is the default command, so that its options may stand alone.
    #[command(flatten)]
    run: run::Args,
}

#[derive(Debug, Subcommand)]
enum Command {
    Run(run::Args),
    Demo(demo::Args),
    Check(check::Args),
    Publish(publish::Args),
    Listen(listen::Args),
    Token(token::Args),
    Health(health::Args),
    Explain(explain::Args),
}

/// What the command line is, for what is made of it: completions of shells and pages of the manual.
pub fn definition() -> clap::Command {
    Cli::command()
}

/// Runs the command that `args` (the program's name first) ask for.
pub fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(usage) => {
            // Help goes to stdout, mistakes to stderr. Neither has anywhere else to go when the pipe is closed.
            let _ = usage.print();
            return u8::try_from(usage.exit_code()).map_or(ExitCode::FAILURE, ExitCode::from);
        }
    };
    let done = |()| ExitCode::SUCCESS;
    let outcome = match cli.command.unwrap_or(Command::Run(cli.run)) {
        Command::Run(args) => run::command(args),
        Command::Demo(args) => demo::command(args).map(done),
        Command::Check(args) => check::command(args).map(done),
        Command::Publish(args) => publish::command(args).map(done),
        Command::Listen(args) => listen::command(args).map(done),
        Command::Token(args) => token::command(args).map(done),
        Command::Health(args) => health::command(args).map(done),
        Command::Explain(args) => explain::command(args),
    };
    match outcome {
        Ok(code) => code,
        // Whoever reads us has read enough, as with `| head`.
        Err(failure) if failure.is_closed_pipe() => ExitCode::SUCCESS,
        Err(failure) => {
            terminal::note(&failure);
            failure.exit_code()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Cli, clap::Error> {
        Cli::try_parse_from(line.split_whitespace())
    }

    #[test]
    fn the_definition_is_consistent() {
        definition().debug_assert();
    }

    #[test]
    fn run_is_the_default_command() {
        let cli = parse("sidestream --upstream http://127.0.0.1:8000 --jwt-secret env:S").unwrap();
        assert!(cli.command.is_none());
        assert!(parse("sidestream").unwrap().command.is_none());
        assert!(matches!(parse("sidestream run").unwrap().command, Some(Command::Run(_))));
    }

    #[test]
    fn options_that_do_not_go_together_are_usage_errors() {
        for line in [
            "sidestream --config a.toml --upstream http://a",
            "sidestream --upstream http://a",
            "sidestream --listen :80",
            "sidestream --jwt-secret x",
            "sidestream --upstream http://a --jwt-secret s run",
            "sidestream publish --data x",
            "sidestream publish --user 1",
            "sidestream publish --user 1 --channel a --data x",
            "sidestream token",
            "sidestream token --user 1 --claim novalue",
            "sidestream listen",
            "sidestream health /run/s.sock",
            "sidestream explain --user 42",
            "sidestream explain --id 000000-1",
            "sidestream explain --user 42 --id 118",
            "sidestream explain --user a/b --id 000000-1",
            "sidestream explain --user 42 --id 000000-1 --address http://127.0.0.1:9090",
            "sidestream explain --user 42 --id 000000-1 --token x",
            "sidestream explain --user 42 --id 000000-1 --config a --address unix:b --token x",
            "sidestream explode",
        ] {
            let error = parse(line).expect_err(line);
            assert_eq!(error.exit_code(), 2, "{line}");
        }
    }
}
