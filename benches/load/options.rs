//! What a run is told on its command line.

use std::time::Duration;

use crate::wire::Target;

/// Opens streams of Server-Sent Events on any server, publishes to them, and measures both sides.
///
/// Every publication carries its number and the time it was sent, so that losses, repetitions and latency are seen at
/// each subscriber. Places in paths, headers and bodies are filled in: {user}, {index}, {channel}, {token}, {data}.
#[derive(Debug, Clone, clap::Parser)]
#[command(name = "load", after_help = EXAMPLES)]
pub(crate) struct Options {
    /// The server: HOST:PORT or unix:PATH. If there are several, connections go to them in turn.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8080")]
    pub(crate) connect: Vec<Target>,
    /// What is spoken.
    #[arg(long, value_enum, default_value = "h1")]
    pub(crate) protocol: Protocol,
    /// The target of a stream or request.
    #[arg(long, value_name = "TEMPLATE", default_value = "/events?token={token}")]
    pub(crate) path: String,
    /// A header of a stream or request, as "Name: value". May be repeated.
    #[arg(long = "header", value_name = "TEMPLATE")]
    pub(crate) headers: Vec<String>,
    /// The Host header.
    #[arg(long, default_value = "localhost")]
    pub(crate) host: String,
    /// Signs a token for each user (HS256, claim sub).
    #[arg(long)]
    pub(crate) secret: Option<String>,
    /// A process of the server; its descendants count too. May be repeated.
    #[arg(long = "pid", value_name = "PID")]
    pub(crate) pids: Vec<u32>,

    /// How many streams are opened.
    #[arg(long, default_value_t = 1000, value_name = "N", help_heading = "Streams")]
    pub(crate) streams: usize,
    /// How many users there are, to whom the streams belong in turn; one for each stream without it.
    #[arg(long, value_name = "N", help_heading = "Streams")]
    pub(crate) users: Option<usize>,
    /// Streams, or requests at once, on one connection of HTTP/2.
    #[arg(long, default_value_t = 50, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100), help_heading = "Streams")]
    pub(crate) per_connection: u32,
    /// How many addresses of the loopback network they come from.
    #[arg(long, default_value_t = 8, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=250), help_heading = "Streams")]
    pub(crate) sources: u8,
    /// How many connections are being opened at once.
    #[arg(long, default_value_t = 128, value_name = "N", help_heading = "Streams")]
    pub(crate) opening: usize,
    /// So many of the streams are opened after the others have got their events, and are never read; then as many events
    /// are published once more, and the server's memory is watched.
    #[arg(long, default_value_t = 0, value_name = "N", help_heading = "Streams")]
    pub(crate) stalled: usize,
    /// How long the server may settle before its memory is read.
    #[arg(long, default_value = "1", value_name = "SECONDS", value_parser = seconds, help_heading = "Streams")]
    pub(crate) settle: Duration,
    /// How long the streams are then held idle, and the server's time measured.
    #[arg(long, default_value = "0", value_name = "SECONDS", value_parser = seconds, help_heading = "Streams")]
    pub(crate) hold: Duration,

    /// How many events are published; none unless told.
    #[arg(long, default_value_t = 0, value_name = "N", help_heading = "Publishing")]
    pub(crate) events: u32,
    /// Where: HOST:PORT or unix:PATH; the server's address without it. If there are several, publishers take them in turn.
    #[arg(long, value_name = "ADDRESS", help_heading = "Publishing")]
    pub(crate) publish_connect: Vec<Target>,
    /// How: one POST each, or lines of JSON.
    #[arg(long, value_enum, default_value = "http", help_heading = "Publishing")]
    pub(crate) publish: Door,
    /// The target of the POST.
    #[arg(long, value_name = "TEMPLATE", default_value = "/publish", help_heading = "Publishing")]
    pub(crate) publish_path: String,
    /// A header of the POST. May be repeated.
    #[arg(long = "publish-header", value_name = "TEMPLATE", help_heading = "Publishing")]
    pub(crate) publish_headers: Vec<String>,
    /// The body or line; Sidestream's own without it.
    #[arg(long, value_name = "TEMPLATE", help_heading = "Publishing")]
    pub(crate) body: Option<String>,
    /// To whom: all to one channel, or to each user in turn.
    #[arg(long, value_enum, default_value = "one", help_heading = "Publishing")]
    pub(crate) to: Recipients,
    /// The one channel.
    #[arg(long, default_value = "all", value_name = "NAME", help_heading = "Publishing")]
    pub(crate) channel: String,
    /// Connections that publish at once.
    #[arg(long, default_value_t = 1, value_name = "N", help_heading = "Publishing")]
    pub(crate) publishers: usize,
    /// Publications on a connection that wait for their acknowledgement.
    #[arg(long, default_value_t = 1, value_name = "N", help_heading = "Publishing")]
    pub(crate) pipeline: usize,
    /// Events a second in all; 0 is as fast as they are acknowledged.
    #[arg(long, default_value_t = 0.0, value_name = "N", help_heading = "Publishing")]
    pub(crate) rate: f64,
    /// The size of an event's data in bytes; never less than its stamp.
    #[arg(long, default_value_t = 64, value_name = "BYTES", help_heading = "Publishing")]
    pub(crate) size: usize,
    /// Before and after the publications says `publish` and `published` on standard error, each on a line, and goes on when
    /// a line comes on standard input: so whoever runs this can count something else meanwhile.
    #[arg(long, help_heading = "Publishing")]
    pub(crate) step: bool,

    /// Then cuts all streams, publishes so many events, and lets all come back at once with their last ids.
    #[arg(long, value_name = "EVENTS", help_heading = "Other work")]
    pub(crate) storm: Option<u32>,
    /// So many further streams, in threads of their own, get events of their own before the storm and during it, and tell
    /// how late those are.
    #[arg(long, default_value_t = 0, value_name = "N", help_heading = "Other work")]
    pub(crate) witnesses: usize,
    /// Events a second to all witnesses together.
    #[arg(long, default_value_t = 500.0, value_name = "N", help_heading = "Other work")]
    pub(crate) witness_rate: f64,
    /// Sends ordinary requests instead of opening streams, for so long.
    #[arg(long, value_name = "SECONDS", value_parser = seconds, help_heading = "Other work")]
    pub(crate) requests: Option<Duration>,
    /// Connections that send requests.
    #[arg(long, default_value_t = 32, value_name = "N", help_heading = "Other work")]
    pub(crate) connections: usize,
    /// How long anything may take before the run goes on without it.
    #[arg(long, default_value = "60", value_name = "SECONDS", value_parser = seconds, help_heading = "Other work")]
    pub(crate) patience: Duration,
    /// Prints JSON.
    #[arg(long)]
    pub(crate) json: bool,
    /// The number of the first user: witnesses come behind all others.
    #[arg(skip)]
    pub(crate) first_user: usize,
}

const EXAMPLES: &str = "\
Examples:
  10,000 tabs, then 50 events to all of them, and what that cost the server:
    load --secret $SECRET --pid $PID --streams 10000 --events 50 --rate 5 --publish-connect unix:sidestream.sock
  each user gets events of their own, 5,000 a second in all, as lines of JSON:
    load --secret $SECRET --pid $PID --streams 10000 --to each --events 50000 --rate 5000 --publish lines \\
         --publishers 8 --publish-connect unix:sidestream.sock
  5,000 tabs with and without 5,000 beside them that do not read, and the server's memory meanwhile:
    load --secret $SECRET --pid $PID --streams 10000 --stalled 5000 --events 600 --rate 20 --size 1024 \\
         --publish-connect unix:sidestream.sock
  15,000 tabs that come back at once with 100 events to catch up with, and how late others' events are meanwhile:
    load --secret $SECRET --pid $PID --streams 15000 --storm 100 --opening 15000 --witnesses 8 \\
         --publish-connect unix:sidestream.sock
  nginx with nchan:
    load --path '/sub?id={channel}' --publish-path '/pub?id={channel}' --body '{data}' --events 50
  requests through a proxy:
    load --requests 5 --protocol h2 --path /page";

/// What streams and requests are carried by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Protocol {
    /// HTTP/1.1 in cleartext.
    H1,
    /// HTTP/1.1 over TLS.
    H1Tls,
    /// HTTP/2 over TLS.
    H2,
}

/// How publications are handed in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Door {
    /// One POST each.
    Http,
    /// NDJSON.
    Lines,
}

/// To whom publications go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Recipients {
    /// To the one channel.
    One,
    /// To each user in turn.
    Each,
}

impl Options {
    /// Where a connection goes, by its number.
    pub(crate) fn server(&self, index: usize) -> &Target {
        &self.connect[index % self.connect.len()]
    }

    /// Where a publisher goes, by its number.
    pub(crate) fn door(&self, index: usize) -> &Target {
        let doors = if self.publish_connect.is_empty() { &self.connect } else { &self.publish_connect };
        &doors[index % doors.len()]
    }

    /// How many users there are.
    pub(crate) fn users(&self) -> usize {
        self.users.unwrap_or(self.streams).max(1)
    }

    /// The publication's body.
    pub(crate) fn body(&self) -> &str {
        match (&self.body, self.to) {
            (Some(body), _) => body,
            (None, Recipients::One) => r#"{"channel":"{channel}","data":"{data}"}"#,
            (None, Recipients::Each) => r#"{"user":"{user}","data":"{data}"}"#,
        }
    }

    /// The connections that publish. With events for each user every one has users of its own, so that a user's
    /// events stay in order.
    pub(crate) fn publishers(&self) -> usize {
        let most = if self.to == Recipients::Each { self.users() } else { usize::MAX };
        self.publishers.clamp(1, most)
    }

    /// How many sequences of publications there are.
    pub(crate) fn lanes(&self) -> usize {
        match self.to {
            Recipients::One => self.publishers(),
            Recipients::Each => self.users(),
        }
    }

    /// The name of a user, of whom the first is 0.
    pub(crate) fn user(&self, index: usize) -> String {
        format!("u{}", self.first_user + index)
    }

    /// What witnesses are told: they have a user each, beside all others.
    pub(crate) fn of_witnesses(&self) -> Self {
        Self {
            streams: self.witnesses,
            users: None,
            first_user: self.users(),
            stalled: 0,
            to: Recipients::Each,
            publishers: 1,
            pipeline: 64,
            rate: self.witness_rate,
            ..self.clone()
        }
    }
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "write a number of seconds".to_owned())?;
    Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string())
}
