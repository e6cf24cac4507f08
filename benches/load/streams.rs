//! The subscribers: thousands of streams in one thread.

use std::collections::BTreeMap;
use std::io;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use rustls::ClientConfig;

use crate::clock::Clock;
use crate::codec::{Codec, Request, Signal};
use crate::connection::Connection;
use crate::http1::Http1;
use crate::ledger::Ledger;
use crate::options::{Options, Protocol, Recipients};
use crate::poller::Poller;
use crate::sse::Scanner;
use crate::template::{Template, Values};
use crate::tls;
use crate::token::Signer;
use crate::wire::Dial;

/// How much is read at once, in bytes.
const SCRATCH: usize = 64 * 1024;
/// The longest wait for sockets; conditions that others fulfil are looked at this often.
const TICK: Duration = Duration::from_millis(5);

/// All streams of a run.
pub(crate) struct Streams<'a> {
    options: &'a Options,
    clock: Clock,
    poller: Poller,
    tls: Option<std::sync::Arc<ClientConfig>>,
    path: Template,
    headers: Vec<(String, Template)>,
    signer: Option<Signer>,
    connections: Vec<Option<Connection>>,
    scanners: Vec<Scanner>,
    states: Vec<State>,
    pub(crate) ledger: Ledger,
    pub(crate) failures: BTreeMap<String, usize>,
    scratch: Vec<u8>,
    ready: Vec<usize>,
}

/// What a stream is asked for with.
struct Head {
    path: Vec<u8>,
    headers: Vec<(String, Vec<u8>)>,
}

/// Where a stream is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Not asked for yet, or cut on purpose.
    Away,
    /// Waits for its answer.
    Asked,
    Open,
    /// Never opened: refused, or the connection failed.
    Refused,
    /// Ended by the server after it was open.
    Over,
}

impl<'a> Streams<'a> {
    /// None is open yet.
    ///
    /// # Errors
    /// If the kernel gives no epoll, or a header cannot be read.
    pub(crate) fn new(options: &'a Options, clock: Clock) -> io::Result<Self> {
        let count = options.streams;
        let per_connection = per_connection(options);
        let mut states = Vec::new();
        states.resize(count, State::Away);
        Ok(Self {
            options,
            clock,
            poller: Poller::new()?,
            tls: tls_of(options.protocol)?,
            path: Template::parse(&options.path),
            headers: headers(&options.headers)?,
            signer: options.secret.as_deref().map(Signer::new),
            connections: (0..count.div_ceil(per_connection)).map(|_| None).collect(),
            scanners: (0..count).map(|_| Scanner::default()).collect(),
            states,
            ledger: Ledger::new(count, options.lanes(), options.to == Recipients::Each, options.first_user),
            failures: BTreeMap::new(),
            scratch: vec![0; SCRATCH],
            ready: Vec::new(),
        })
    }

    /// Opens all streams that are to be read, a bounded number of connections at once, until each has its answer or the
    /// time is over. Those that were open before come back with their last ids.
    ///
    /// # Errors
    /// If the kernel refuses to wait.
    pub(crate) fn open(&mut self, until: Instant) -> io::Result<()> {
        self.open_some(self.stalled().div_ceil(per_connection(self.options))..self.connections.len(), until)
    }

    /// Opens those that are never read, in the same way.
    ///
    /// # Errors
    /// If the kernel refuses to wait.
    pub(crate) fn open_stalled(&mut self, until: Instant) -> io::Result<()> {
        self.open_some(0..self.stalled().div_ceil(per_connection(self.options)), until)
    }

    fn open_some(&mut self, connections: std::ops::Range<usize>, until: Instant) -> io::Result<()> {
        let per_connection = per_connection(self.options);
        let mut next = connections.start;
        let mut waiting = 0;
        loop {
            while next < connections.end && waiting <= self.options.opening.saturating_sub(1) * per_connection
            {
                self.connect(next);
                next += 1;
                waiting = self.count(State::Asked);
            }
            if waiting == 0 && next == connections.end || Instant::now() >= until {
                return Ok(());
            }
            self.pump()?;
            waiting = self.count(State::Asked);
        }
    }

    /// Serves the streams until a condition holds or the time is over. Returns whether it held.
    ///
    /// # Errors
    /// If the kernel refuses to wait.
    pub(crate) fn serve_until(
        &mut self,
        until: Instant,
        mut done: impl FnMut(&Self) -> bool,
    ) -> io::Result<bool> {
        loop {
            if done(self) {
                return Ok(true);
            }
            if Instant::now() >= until {
                return Ok(false);
            }
            self.pump()?;
        }
    }

    /// Cuts every stream, as a broken network would.
    pub(crate) fn cut(&mut self) {
        for connection in &mut self.connections {
            *connection = None;
        }
        for scanner in &mut self.scanners {
            scanner.restart();
        }
        self.states.fill(State::Away);
    }

    /// How many streams are open.
    pub(crate) fn open_now(&self) -> usize {
        self.count(State::Open)
    }

    /// The streams that were opened and are read, whether or not the server has ended them.
    pub(crate) fn readers(&self) -> impl Iterator<Item = usize> {
        (self.stalled()..self.states.len()).filter(|stream| self.states[*stream] != State::Refused)
    }

    /// How many streams are never read: whole connections of them.
    pub(crate) fn stalled(&self) -> usize {
        self.options.stalled.min(self.states.len()).next_multiple_of(per_connection(self.options))
    }

    /// How many of the streams that are never read are still open.
    pub(crate) fn stalled_now(&self) -> usize {
        let stalled = &self.states[..self.stalled()];
        stalled.iter().filter(|state| **state == State::Open).count()
    }

    /// How long anything may take.
    pub(crate) fn patience(&self) -> Duration {
        self.options.patience
    }

    fn count(&self, wanted: State) -> usize {
        self.states.iter().filter(|state| **state == wanted).count()
    }

    fn streams_of(&self, connection: usize) -> std::ops::Range<usize> {
        let per_connection = per_connection(self.options);
        let first = connection * per_connection;
        first..(first + per_connection).min(self.states.len())
    }

    /// Begins a connection and asks for its streams.
    fn connect(&mut self, index: usize) {
        let streams = self.streams_of(index);
        self.states[streams.clone()].fill(State::Asked);
        if let Err(error) = self.ask(index, streams) {
            self.over(index, &error.to_string());
        }
    }

    fn ask(&mut self, index: usize, streams: std::ops::Range<usize>) -> io::Result<()> {
        let host = u8::try_from(index % usize::from(self.options.sources)).unwrap_or(0);
        let dial = Dial {
            tls: self.tls.clone(),
            source: Some(Ipv4Addr::new(127, 0, 0, host + 2)),
            slow: streams.start < self.stalled(),
        };
        let codec = codec_of(self.options.protocol);
        let mut connection =
            Connection::connect(self.options.server(index), &dial, codec, &self.poller, index)?;
        for stream in streams {
            let Head { path, headers } = self.head(stream)?;
            let host = &self.options.host;
            connection.request(&Request { method: "GET", host, path: &path, headers: &headers, body: b"" });
        }
        connection.flush(&self.poller)?;
        self.connections[index] = Some(connection);
        Ok(())
    }

    /// The target and the headers of a stream's request.
    fn head(&self, stream: usize) -> io::Result<Head> {
        let index = stream % self.options.users();
        let user = self.options.user(index);
        let token = match &self.signer {
            Some(signer) => signer.token(&user).map_err(io::Error::other)?,
            None => String::new(),
        };
        let channel = if self.options.to == Recipients::Each { &user } else { &self.options.channel };
        let values = Values { user: &user, channel, token: &token, data: "", index };
        let mut path = Vec::new();
        self.path.render(&mut path, &values);
        let mut headers = vec![("accept".to_owned(), b"text/event-stream".to_vec())];
        for (name, template) in &self.headers {
            let mut value = Vec::new();
            template.render(&mut value, &values);
            headers.push((name.clone(), value));
        }
        let last_id = self.scanners[stream].last_id();
        if !last_id.is_empty() {
            headers.push(("last-event-id".to_owned(), last_id.to_vec()));
        }
        Ok(Head { path, headers })
    }

    /// Waits a little, and serves whatever is ready.
    fn pump(&mut self) -> io::Result<()> {
        let mut ready = std::mem::take(&mut self.ready);
        self.poller.wait(TICK, &mut ready)?;
        for index in ready.drain(..) {
            self.serve(index);
        }
        self.ready = ready;
        Ok(())
    }

    fn serve(&mut self, index: usize) {
        let streams = self.streams_of(index);
        let first = streams.start;
        let is_stalled = first < self.stalled();
        let Self { connections, scanners, states, ledger, failures, .. } = self;
        let Some(connection) = connections.get_mut(index).and_then(Option::as_mut) else { return };
        let now = self.clock.now();
        let mut opened = false;
        let result = connection.serve(&mut self.scratch, &self.poller, |request, signal| {
            let stream = first + usize::try_from(request).unwrap_or(usize::MAX - first);
            if !streams.contains(&stream) {
                return;
            }
            match (signal, states[stream]) {
                (Signal::Status(200), State::Asked) => {
                    states[stream] = State::Open;
                    opened = true;
                }
                (Signal::Status(status), State::Asked) => {
                    states[stream] = State::Refused;
                    *failures.entry(format!("status {status}")).or_default() += 1;
                }
                // What a stream that is not read still gets, when its connection ends, is not looked at.
                (Signal::Data(_), State::Open) if is_stalled => {}
                (Signal::Data(bytes), State::Open) => {
                    scanners[stream].feed(bytes, |stamp| ledger.enter(stream, stamp, now));
                }
                (Signal::End | Signal::Broken, State::Asked | State::Open) => {
                    states[stream].end();
                    *failures.entry("ended by the server".to_owned()).or_default() += 1;
                }
                _ => {}
            }
        });
        let result = match result {
            Ok(true) if opened && is_stalled => connection.go_deaf(&self.poller),
            Ok(true) => Ok(()),
            Ok(false) => Err(io::Error::other("closed by the server")),
            Err(error) => Err(error),
        };
        if let Err(error) = result {
            self.over(index, &error.to_string());
        }
    }

    /// Notes that a connection and what was left of its streams are over.
    fn over(&mut self, index: usize, why: &str) {
        self.connections[index] = None;
        let streams = self.streams_of(index);
        let left =
            self.states[streams].iter_mut().filter(|state| matches!(state, State::Asked | State::Open));
        let mut count = 0;
        for state in left {
            state.end();
            count += 1;
        }
        if count > 0 {
            *self.failures.entry(why.to_owned()).or_default() += count;
        }
    }
}

impl State {
    fn end(&mut self) {
        *self = if *self == Self::Open { Self::Over } else { Self::Refused };
    }
}

/// Streams, or requests at once, on a connection.
pub(crate) fn per_connection(options: &Options) -> usize {
    if options.protocol == Protocol::H2 { options.per_connection as usize } else { 1 }
}

/// A fresh connection's state.
pub(crate) fn codec_of(protocol: Protocol) -> Codec {
    match protocol {
        Protocol::H1 | Protocol::H1Tls => Codec::Http1(Http1::default()),
        Protocol::H2 => Codec::Http2(Box::default()),
    }
}

/// The settings of TLS, if there is TLS.
pub(crate) fn tls_of(protocol: Protocol) -> io::Result<Option<std::sync::Arc<ClientConfig>>> {
    let alpn: &[u8] = match protocol {
        Protocol::H1 => return Ok(None),
        Protocol::H1Tls => b"http/1.1",
        Protocol::H2 => b"h2",
    };
    tls::client(alpn).map(Some).map_err(io::Error::other)
}

/// Splits "Name: value".
pub(crate) fn headers(given: &[String]) -> io::Result<Vec<(String, Template)>> {
    let split = |header: &String| {
        let (name, value) = header.split_once(':')?;
        Some((name.trim().to_ascii_lowercase(), Template::parse(value.trim())))
    };
    let wrong = |header: &String| io::Error::other(format!("{header:?} is no header; write \"Name: value\""));
    given.iter().map(|header| split(header).ok_or_else(|| wrong(header))).collect()
}
