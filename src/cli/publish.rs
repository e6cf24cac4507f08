//! `sidestream publish`: one publication over the Unix socket, as an app would hand it in.
//!
//! Invariant: exit code 0 is only given with the server's acknowledgement in hand.

use std::borrow::Cow;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::failure::Failure;
use super::terminal;

/// How long the server may take to answer; a store that syncs takes milliseconds.
const REPLY_TIMEOUT: Duration = Duration::from_secs(10);
/// The longest reply that is read. Real ones have under 200 bytes.
const MAX_REPLY: u64 = 64 * 1024;
/// The most that is read from stdin; the server's own bound cannot be set higher.
const MAX_STDIN: u64 = 64 * 1024 * 1024;

/// Publish an event to users or channels, through the publish socket.
#[derive(Debug, clap::Args)]
#[command(
    group = clap::ArgGroup::new("recipient").required(true),
    after_help = "\
Examples:
  sidestream publish --user 42 --event notification --data '{\"title\":\"hi\"}'
  sidestream publish --user 42 --user 43 --data 'Lunch is here'
  git log -1 | sidestream publish --channel deploys --data -"
)]
pub(super) struct Args {
    /// A user to publish to. May be repeated.
    #[arg(long = "user", value_name = "ID", group = "recipient")]
    users: Vec<String>,
    /// A channel to publish to. May be repeated.
    #[arg(long = "channel", value_name = "NAME", group = "recipient")]
    channels: Vec<String>,
    /// The event's name; `message` without it.
    #[arg(long, value_name = "NAME")]
    event: Option<String>,
    /// What is sent: JSON, or any text; `-` reads it from stdin.
    #[arg(long, value_name = "DATA", allow_hyphen_values = true)]
    data: String,
    /// How long it stays in history, like 1h.
    #[arg(long, value_name = "TIME")]
    ttl: Option<String>,
    /// The same key again within five minutes publishes nothing.
    #[arg(long, value_name = "KEY")]
    key: Option<String>,
    /// Replaces the channel's earlier event of the same name in history.
    #[arg(long, value_name = "NAME")]
    collapse: Option<String>,
    /// The server's publish socket.
    #[arg(long, value_name = "PATH", default_value = "./sidestream.sock")]
    socket: PathBuf,
}

/// A publication as the socket takes it.
#[derive(Serialize)]
struct Line<'a> {
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    users: &'a [String],
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    channels: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    event: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ttl: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    collapse: Option<&'a str>,
    data: &'a RawValue,
}

/// What the server says instead of an acknowledgement.
#[derive(Deserialize)]
struct Refusal {
    error: String,
    field: Option<String>,
    message: Option<String>,
}

/// Publishes and prints the server's reply.
pub(super) fn command(args: Args) -> Result<(), Failure> {
    let data = if args.data == "-" { Cow::Owned(read_stdin()?) } else { Cow::Borrowed(args.data.as_str()) };
    let data = as_json(&data).map_err(|error| Failure::new("the data cannot be sent").because(error))?;
    let line = Line {
        users: &args.users,
        channels: &args.channels,
        event: args.event.as_deref(),
        ttl: args.ttl.as_deref(),
        key: args.key.as_deref(),
        collapse: args.collapse.as_deref(),
        data: &data,
    };
    let line = serde_json::to_string(&line)
        .map_err(|error| Failure::new("the publication cannot be sent").because(error))?;
    let reply = send(&args.socket, &line).map_err(|error| no_reply(&args.socket, error))?;
    match serde_json::from_str::<Refusal>(&reply) {
        Ok(refusal) => Err(refusal.into()),
        Err(_) => terminal::line(reply),
    }
}

/// Hands one line to the socket and returns the line that comes back, without its end.
pub(super) fn send(socket: &Path, line: &str) -> io::Result<String> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_write_timeout(Some(REPLY_TIMEOUT))?;
    stream.set_read_timeout(Some(REPLY_TIMEOUT))?;
    stream.write_all(line.as_bytes())?;
    stream.write_all(b"\n")?;
    let mut reply = String::new();
    BufReader::new(stream.take(MAX_REPLY)).read_line(&mut reply)?;
    match reply.strip_suffix('\n') {
        Some(reply) => Ok(reply.to_owned()),
        None => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

fn read_stdin() -> Result<String, Failure> {
    let mut text = String::new();
    let read = io::stdin().lock().take(MAX_STDIN + 1).read_to_string(&mut text);
    if let Err(error) = read {
        return Err(Failure::new("stdin cannot be read as text").because(error));
    }
    if text.len() as u64 > MAX_STDIN {
        return Err(Failure::new("stdin holds more than 64 MiB, which no server takes"));
    }
    if text.ends_with('\n') {
        text.pop();
    }
    Ok(text)
}

/// The data as JSON on one line: as it is when it is JSON, else as a JSON string.
fn as_json(data: &str) -> serde_json::Result<Box<RawValue>> {
    match serde_json::from_str::<Box<RawValue>>(data) {
        // Between the tokens of valid JSON is the only place where these two can stand.
        Ok(json) if json.get().contains(['\n', '\r']) => {
            RawValue::from_string(json.get().replace(['\n', '\r'], " "))
        }
        Ok(json) => Ok(json),
        Err(_) => serde_json::value::to_raw_value(data),
    }
}

fn no_reply(socket: &Path, error: io::Error) -> Failure {
    let socket = socket.display();
    let (what, help) = match error.kind() {
        io::ErrorKind::NotFound => (
            format!("there is no publish socket at {socket}"),
            "start the server first, or say with --socket where its [publish] socket is",
        ),
        io::ErrorKind::ConnectionRefused => (
            format!("nobody listens at {socket}"),
            "it is left over from a server that has ended, or is no socket; start the server, or give --socket its path",
        ),
        io::ErrorKind::PermissionDenied => (
            format!("you may not write to {socket}"),
            "run it as the server's user or group, or change mode or allow_uids under [publish]",
        ),
        io::ErrorKind::UnexpectedEof | io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset => (
            format!("the server closed {socket} without a reply"),
            "is it a publish socket? The server's log says why it closed",
        ),
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => (
            format!("no reply from {socket} within {} seconds", REPLY_TIMEOUT.as_secs()),
            "the event may or may not have been published; with --key it is safe to try again",
        ),
        _ => (format!("{socket} cannot be used"), "is it a publish socket?"),
    };
    Failure::new(what).because(error).help(help)
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        let mut what = format!("the server refused it: {}", refusal.error);
        if let Some(field) = refusal.field {
            what = format!("{what}, field `{field}`");
        }
        if let Some(message) = refusal.message {
            what = format!("{what}: {message}");
        }
        Self::new(what)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn json_stays_as_it_is_and_text_becomes_a_string() {
        for (data, json) in [
            ("{\"a\": 1}", "{\"a\": 1}"),
            ("{\n  \"a\": [\r\n1]\n}", "{   \"a\": [  1] }"),
            ("\"hi\"", "\"hi\""),
            ("12345678901234567890123", "12345678901234567890123"),
            ("hi", "\"hi\""),
            ("", "\"\""),
            ("two\nlines", "\"two\\nlines\""),
        ] {
            assert_eq!(as_json(data).unwrap().get(), json, "{data:?}");
        }
    }

    proptest! {
        #[test]
        fn any_data_fits_one_line(data in any::<String>()) {
            let json = as_json(&data).unwrap();
            prop_assert!(!json.get().contains(['\n', '\r']));
            prop_assert!(serde_json::from_str::<serde_json::Value>(json.get()).is_ok());
        }
    }
}
