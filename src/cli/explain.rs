//! `sidestream explain`: asks a running server why an event was or was not delivered to a user.
//!
//! Invariant: exit code 0 is only given when the server says that the event was written to a stream of the user's.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;

use serde::Deserialize;

use crate::config::{Endpoint, Secret};
use crate::event::{self, EventId, Timestamp};

use super::failure::Failure;
use super::question::Place;
use super::terminal;

/// Say why an event was or was not delivered to a user.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
It asks the [admin] address of a running server, and exits with 0 if the event was written to a stream of the user's, else
with 1.

Examples:
  sidestream explain --user 42 --id k3f9q0-118
  sidestream explain --user 42 --id k3f9q0-118 --address http://127.0.0.1:9090 --token env:ADMIN_TOKEN")]
pub(super) struct Args {
    /// The user.
    #[arg(long, value_name = "ID", value_parser = user)]
    user: String,
    /// The event's id, as its publisher was told it.
    #[arg(long, value_name = "ID", value_parser = id)]
    id: EventId,
    /// The server's configuration file: its [admin] says where to ask, and the token.
    #[arg(short, long, value_name = "FILE", default_value = super::run::DEFAULT_CONFIG, conflicts_with = "address")]
    config: PathBuf,
    /// Where to ask instead: http://HOST:PORT or unix:PATH.
    #[arg(long, value_name = "ADDRESS", requires = "token")]
    address: Option<Place>,
    /// The token of [admin]: env:NAME, file:PATH or the token itself.
    #[arg(long, value_name = "SECRET", requires = "address")]
    token: Option<String>,
    /// Print the server's answer as it is, in JSON.
    #[arg(long)]
    json: bool,
}

/// What a server answers.
#[derive(Deserialize)]
struct Answer {
    outcome: String,
    reason: String,
    event: Event,
    streams: Vec<Stream>,
    streams_left_out: usize,
    records: Records,
}

#[derive(Deserialize)]
struct Event {
    standing: String,
    at: Option<u64>,
    channels: Vec<String>,
    more_channels: usize,
    unread: Option<bool>,
}

#[derive(Deserialize)]
struct Stream {
    state: String,
    reason: String,
    written: Option<Written>,
    worker: usize,
    route: String,
    protocol: String,
    opened: u64,
    ended: Option<u64>,
    end: Option<String>,
    last_id: String,
}

#[derive(Deserialize)]
struct Written {
    from: u64,
    to: u64,
}

#[derive(Deserialize)]
struct Records {
    since: Option<u64>,
    silent_workers: usize,
    this_node_only: bool,
}

/// What it answers instead.
#[derive(Deserialize)]
struct Refusal {
    message: String,
}

/// Prints what became of the event.
pub(super) fn command(args: Args) -> Result<ExitCode, Failure> {
    let (place, token) = match (&args.address, &args.token) {
        (Some(place), Some(token)) => {
            let token = Secret::resolve(token).map_err(|error| {
                Failure::new(format!("--token {error}")).help("it is the token of the server's [admin]")
            })?;
            (place.clone(), token)
        }
        _ => configured(&args)?,
    };
    let path = format!("/explain?user={}&id={}", args.user, args.id);
    let (status, said) = place.ask(&path, Some(&token)).map_err(|error| {
        Failure::new(format!("no answer from {place}"))
            .because(error)
            .help("is the server running, and is this its [admin] address?")
    })?;
    if status != 200 {
        let message = serde_json::from_str(&said).map_or(said, |Refusal { message }| message);
        let failure = Failure::new(format!("{place} does not say: status {status}: {message}"));
        return Err(match status {
            401 => failure.help("the token is not that of the server's [admin]"),
            _ => failure,
        });
    }
    let answer: Answer = serde_json::from_str(&said)
        .map_err(|error| Failure::new(format!("{place} says what is no answer")).because(error))?;
    let text = if args.json { said } else { text_of(&answer) };
    terminal::line(printable(&text))?;
    Ok(if answer.outcome == "delivered" { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Where to ask, and the token, by the server's configuration.
fn configured(args: &Args) -> Result<(Place, Secret), Failure> {
    let file = args.config.display();
    let config = super::run::from_file(
        &args.config,
        "name the server's file with --config, or give --address and --token",
    )?;
    let admin = config.admin.ok_or_else(|| {
        Failure::new(format!("{file} has no [admin], so there is nobody to ask"))
            .help("add it, with a token, and start the server anew")
    })?;
    let token = admin.token.ok_or_else(|| {
        Failure::new(format!("[admin] of {file} has no token, so nothing is said of users")).help("set one")
    })?;
    let place = match admin.endpoint {
        Endpoint::Tcp(address) if address.port() != 0 => {
            Place::Http { authority: reachable(address).to_string(), path: String::new() }
        }
        Endpoint::Unix(path) => Place::Unix(path),
        endpoint @ (Endpoint::Tcp(_) | Endpoint::Inherited(_)) => {
            return Err(Failure::new(format!("where {endpoint} is, only the server knows"))
                .help("give --address and --token"));
        }
    };
    Ok((place, token))
}

/// The address to connect to of one that is listened on: all addresses are this machine's too.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

/// The answer for people.
fn text_of(answer: &Answer) -> String {
    let Answer { outcome, reason, event, streams, streams_left_out, records } = answer;
    let mut text = format!("{outcome}: {reason}\n\n  event    {}", event.standing);
    // Writing to a String cannot fail.
    if let Some(at) = event.at {
        let _ = write!(text, ", published {}", Timestamp(at));
    }
    if !event.channels.is_empty() {
        let _ = write!(text, " for {}", event.channels.join(", "));
    }
    if event.more_channels > 0 {
        let _ = write!(text, " and {} more", event.more_channels);
    }
    match event.unread {
        Some(true) => text.push_str(", unread"),
        Some(false) => text.push_str(", read"),
        None => {}
    }
    for stream in streams {
        let Stream { state, reason, worker, route, protocol, last_id, .. } = stream;
        let _ = write!(text, "\n  stream   {state}: {reason}");
        if let Some(Written { from, to }) = stream.written {
            let _ = write!(text, ", between {} and {}", Timestamp(from), Timestamp(to));
        }
        let _ = write!(
            text,
            "\n           {route}, {protocol}, worker {worker}, opened {}, ",
            Timestamp(stream.opened)
        );
        let _ = match (stream.ended, &stream.end) {
            (Some(ended), Some(end)) => write!(text, "ended {} ({end})", Timestamp(ended)),
            _ => write!(text, "open"),
        };
        let _ = write!(text, ", last id {last_id}");
    }
    if *streams_left_out > 0 {
        let _ = write!(text, "\n           and {streams_left_out} more streams");
    }
    text.push_str("\n  records  ");
    let _ = match (records.silent_workers, records.since) {
        (0, Some(since)) => write!(text, "all streams that ended since {} are known", Timestamp(since)),
        (silent, _) => write!(text, "{silent} workers did not answer in time: their streams are not known"),
    };
    if records.this_node_only {
        text.push_str("; of this node only: ask the others too");
    }
    text
}

/// The text without what would touch a terminal.
fn printable(text: &str) -> String {
    text.chars().filter(|c| *c == '\n' || !c.is_control()).collect()
}

fn user(text: &str) -> Result<String, &'static str> {
    if event::is_user_id(text) {
        Ok(text.to_owned())
    } else {
        Err("ids of users hold letters, digits and any of _ . @ -, at most 195 of them")
    }
}

fn id(text: &str) -> Result<EventId, &'static str> {
    text.parse().map_err(|_| "write it as a publisher is told it, like k3f9q0-118")
}
