//! `sidestream health`: asks a running server whether it is well, for containers that have neither a shell nor curl.
//!
//! Invariant: exit code 0 is only given with an answer of 200 in hand.

use super::failure::Failure;
use super::question::Place;
use super::terminal;

/// What is asked for where the address names no path.
const PATH: &str = "/healthz";

/// Ask a running server whether it is well, as health checks of containers do.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
It prints what the server says of itself, and exits with 1 if that is not well or does not come.

Examples:
  sidestream health unix:/run/sidestream/publish.sock
  sidestream health http://127.0.0.1:8080/healthz")]
pub(super) struct Args {
    /// The publish socket, unix:PATH, or an address, http://HOST:PORT/PATH.
    #[arg(value_name = "WHERE", default_value = "unix:./sidestream.sock")]
    place: Place,
}

/// Prints what the server says of itself.
pub(super) fn command(args: Args) -> Result<(), Failure> {
    let place = args.place.or_path(PATH);
    let path = match &place {
        Place::Http { path, .. } => path,
        Place::Unix(_) => PATH,
    };
    let (status, said) = place.ask(path, None).map_err(|error| {
        Failure::new(format!("no answer from {place}"))
            .because(error)
            .help("is the server running, and is this its [publish] socket?")
    })?;
    if status == 200 {
        terminal::line(said)
    } else {
        Err(Failure::new(format!("{place} is not well: status {status}: {said}")))
    }
}
