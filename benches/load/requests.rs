//! Ordinary requests: each connection asks again as soon as it has its answer.

use std::collections::HashMap;
use std::io;
use std::time::{Duration, Instant};

use crate::clock::Clock;
use crate::codec::{Request, Signal};
use crate::connection::Connection;
use crate::cost::{Cost, Server};
use crate::histogram::Histogram;
use crate::options::Options;
use crate::poller::Poller;
use crate::streams::{codec_of, headers, per_connection, tls_of};
use crate::template::{Template, Values};
use crate::wire::Dial;

const SCRATCH: usize = 256 * 1024;
const TICK: Duration = Duration::from_millis(5);

/// What came of asking.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) answers: u64,
    /// Answers other than 200, and those that were broken off.
    pub(crate) wrong: u64,
    pub(crate) bytes: u64,
    /// Connections that the server closed, and that were made again.
    pub(crate) closed: u64,
    pub(crate) time: Duration,
    pub(crate) cpu: Duration,
    pub(crate) latency: Histogram,
}

/// Asks for `options.requests`, after a first tenth of it that warms up and is not counted.
///
/// # Errors
/// If nobody listens, if the server does not speak the protocol, or if its costs cannot be read.
pub(crate) fn run(options: &Options, time: Duration, clock: Clock, server: &Server) -> io::Result<Asked> {
    let mut askers = Askers::new(options, clock)?;
    askers.ask_until(Instant::now() + time / 10)?;
    askers.reset();
    let before: Cost = server.cost()?;
    let begun = Instant::now();
    askers.ask_until(begun + time)?;
    let time = begun.elapsed();
    let cpu = server.cost()?.cpu.saturating_sub(before.cpu);
    let Askers { answers, wrong, bytes, closed, latency, .. } = askers;
    Ok(Asked { answers, wrong, bytes, closed, time, cpu, latency })
}

struct Askers<'a> {
    options: &'a Options,
    clock: Clock,
    poller: Poller,
    dial: Dial,
    question: Question<'a>,
    connections: Vec<Asker>,
    scratch: Vec<u8>,
    answers: u64,
    wrong: u64,
    bytes: u64,
    closed: u64,
    latency: Histogram,
}

/// What is asked.
struct Question<'a> {
    host: &'a str,
    path: Vec<u8>,
    headers: Vec<(String, Vec<u8>)>,
}

struct Asker {
    connection: Connection,
    /// When each request that waits was sent.
    sent: HashMap<u32, u64>,
}

impl<'a> Askers<'a> {
    fn new(options: &'a Options, clock: Clock) -> io::Result<Self> {
        let values = Values { user: "u0", channel: &options.channel, ..Values::default() };
        let rendered = |template: &Template| {
            let mut text = Vec::new();
            template.render(&mut text, &values);
            text
        };
        let headers = headers(&options.headers)?;
        let mut askers = Self {
            options,
            clock,
            poller: Poller::new()?,
            dial: Dial { tls: tls_of(options.protocol)?, ..Dial::default() },
            question: Question {
                host: &options.host,
                path: rendered(&Template::parse(&options.path)),
                headers: headers.iter().map(|(name, value)| (name.clone(), rendered(value))).collect(),
            },
            connections: Vec::new(),
            scratch: vec![0; SCRATCH],
            answers: 0,
            wrong: 0,
            bytes: 0,
            closed: 0,
            latency: Histogram::new(),
        };
        for index in 0..options.connections {
            let asker = askers.connect(index)?;
            askers.connections.push(asker);
        }
        Ok(askers)
    }

    fn connect(&self, index: usize) -> io::Result<Asker> {
        let codec = codec_of(self.options.protocol);
        let connection =
            Connection::connect(self.options.server(index), &self.dial, codec, &self.poller, index)?;
        let mut asker = Asker { connection, sent: HashMap::new() };
        asker.ask(&self.question, per_connection(self.options), self.clock.now(), &self.poller)?;
        Ok(asker)
    }

    fn reset(&mut self) {
        (self.answers, self.wrong, self.bytes, self.closed) = (0, 0, 0, 0);
        self.latency = Histogram::new();
    }

    fn ask_until(&mut self, until: Instant) -> io::Result<()> {
        let mut ready = Vec::new();
        while Instant::now() < until {
            self.poller.wait(TICK, &mut ready)?;
            for index in ready.drain(..) {
                self.serve(index)?;
            }
        }
        Ok(())
    }

    fn serve(&mut self, index: usize) -> io::Result<()> {
        let now = self.clock.now();
        let mut ended = 0;
        let Self { connections, scratch, poller, answers, wrong, bytes, latency, .. } = self;
        let Asker { connection, sent } = &mut connections[index];
        let open = connection.serve(scratch, poller, |number, signal| match signal {
            Signal::Status(200) => {}
            Signal::Status(_) => *wrong += 1,
            Signal::Data(data) => *bytes += data.len() as u64,
            Signal::End | Signal::Broken => {
                *wrong += u64::from(signal == Signal::Broken);
                *answers += 1;
                ended += 1;
                if let Some(begun) = sent.remove(&number) {
                    latency.record(now.saturating_sub(begun));
                }
            }
        });
        // A server may close after a number of requests, which HTTP/2 announces and ends as an error here.
        if !matches!(open, Ok(true)) {
            if self.answers == 0 && self.closed > self.options.connections as u64 {
                return Err(open
                    .err()
                    .unwrap_or_else(|| io::Error::other("the server closes every connection")));
            }
            self.closed += 1;
            self.connections[index] = self.connect(index)?;
            return Ok(());
        }
        let Self { question, connections, poller, .. } = self;
        connections[index].ask(question, ended, now, poller)
    }
}

impl Asker {
    /// Asks so many times.
    fn ask(&mut self, question: &Question<'_>, times: usize, now: u64, poller: &Poller) -> io::Result<()> {
        let Question { host, path, headers } = question;
        for _ in 0..times {
            let number = self.connection.request(&Request { method: "GET", host, path, headers, body: b"" });
            self.sent.insert(number, now);
        }
        self.connection.flush(poller)
    }
}
