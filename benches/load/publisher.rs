//! The publishers: a few connections in a thread of their own, at a rate or as fast as they are acknowledged.

use std::collections::VecDeque;
use std::io;
use std::time::{Duration, Instant};

use crate::clock::Clock;
use crate::codec::{Codec, Request, Signal};
use crate::connection::Connection;
use crate::histogram::Histogram;
use crate::http1::Http1;
use crate::lines::Lines;
use crate::options::{Door, Options, Recipients};
use crate::poller::Poller;
use crate::stamp::Stamp;
use crate::streams::headers;
use crate::template::{Template, Values};
use crate::wire::Dial;

const SCRATCH: usize = 64 * 1024;

/// What came of publishing.
#[derive(Debug)]
pub(crate) struct Published {
    /// How many were sent on each lane, in all the run.
    pub(crate) lanes: Vec<u32>,
    pub(crate) acknowledged: u64,
    pub(crate) refused: u64,
    pub(crate) time: Duration,
    pub(crate) acks: Histogram,
}

/// All publishers of a run.
pub(crate) struct Publishers<'a> {
    options: &'a Options,
    clock: Clock,
    poller: Poller,
    path: Template,
    headers: Vec<(String, Template)>,
    body: Template,
    publishers: Vec<Publisher>,
    /// Which of them is asked first for the next publication.
    turn: usize,
    acks: Histogram,
    acknowledged: u64,
    refused: u64,
    scratch: Vec<u8>,
    text: Texts,
}

struct Publisher {
    connection: Connection,
    /// When each publication that waits for its acknowledgement was sent.
    waiting: VecDeque<u64>,
    /// The lane of its next publication.
    lane: usize,
}

/// Buffers that are used again.
#[derive(Default)]
struct Texts {
    data: Vec<u8>,
    path: Vec<u8>,
    body: Vec<u8>,
}

impl<'a> Publishers<'a> {
    /// Connects them.
    ///
    /// # Errors
    /// If one cannot connect, or a header cannot be read.
    pub(crate) fn new(options: &'a Options, clock: Clock) -> io::Result<Self> {
        let poller = Poller::new()?;
        let publisher = |index| {
            let connection = connect(options, &poller, index)?;
            Ok(Publisher { connection, waiting: VecDeque::new(), lane: index })
        };
        Ok(Self {
            options,
            clock,
            path: Template::parse(&options.publish_path),
            headers: headers(&options.publish_headers)?,
            body: Template::parse(options.body()),
            publishers: (0..options.publishers()).map(publisher).collect::<io::Result<_>>()?,
            turn: 0,
            acks: Histogram::new(),
            acknowledged: 0,
            refused: 0,
            scratch: vec![0; SCRATCH],
            text: Texts::default(),
            poller,
        })
    }

    /// Publishes so many events and waits for their acknowledgements. `lanes` is how many were sent on each before.
    ///
    /// # Errors
    /// If a connection breaks, or if it takes longer than `patience` beyond what the rate asks for.
    pub(crate) fn run(self, events: u32, lanes: Vec<u32>) -> io::Result<Published> {
        self.run_until(events, lanes, || false)
    }

    /// The same, but begins no further publication once it is to stop.
    ///
    /// # Errors
    /// As for [`Publishers::run`].
    pub(crate) fn run_until(
        mut self,
        mut events: u32,
        mut lanes: Vec<u32>,
        is_over: impl Fn() -> bool,
    ) -> io::Result<Published> {
        let begun = Instant::now();
        let rate = self.options.rate;
        let planned =
            if rate > 0.0 { Duration::from_secs_f64(f64::from(events) / rate) } else { Duration::ZERO };
        let until = begun + planned + self.options.patience;
        let mut sent = 0;
        let mut ready = Vec::new();
        while self.acknowledged + self.refused < u64::from(events) {
            if is_over() {
                events = sent;
            }
            let due = if rate > 0.0 { due(begun.elapsed(), rate).min(events) } else { events };
            while sent < due && self.publish(&mut lanes) {
                sent += 1;
            }
            for publisher in &mut self.publishers {
                publisher.connection.flush(&self.poller)?;
            }
            if Instant::now() >= until {
                return Err(io::Error::new(io::ErrorKind::TimedOut, "publishing took too long"));
            }
            if rate > 0.0 && sent == due && sent < events {
                let next = Duration::from_secs_f64(f64::from(sent) / rate);
                self.poller.ring_after(next.saturating_sub(begun.elapsed()).max(Duration::from_nanos(1)))?;
            }
            self.poller.wait(Duration::from_millis(100), &mut ready)?;
            for index in ready.drain(..) {
                self.acknowledge(index)?;
            }
        }
        let time = begun.elapsed();
        Ok(Published { lanes, acknowledged: self.acknowledged, refused: self.refused, time, acks: self.acks })
    }

    /// Lets the next publisher that has room publish. Returns false if none has.
    fn publish(&mut self, lanes: &mut [u32]) -> bool {
        let count = self.publishers.len();
        let room = |index: &usize| self.publishers[*index].waiting.len() < self.options.pipeline.max(1);
        let Some(index) = (0..count).map(|offset| (self.turn + offset) % count).find(room) else {
            return false;
        };
        self.turn = (index + 1) % count;
        let Self { options, publishers, text, .. } = self;
        let publisher = &mut publishers[index];
        let lane = publisher.lane;
        let user = options.user(lane);
        let channel = if options.to == Recipients::Each {
            publisher.lane = if lane + count < lanes.len() { lane + count } else { index };
            &user
        } else {
            &options.channel
        };
        lanes[lane] += 1;
        let nanos = self.clock.now();
        let stamp = Stamp {
            lane: u32::try_from(options.first_user + lane).unwrap_or(u32::MAX),
            number: lanes[lane],
            nanos,
        };
        stamp.write(&mut text.data, options.size);
        let data = std::str::from_utf8(&text.data).unwrap_or_default();
        let values = Values { user: &user, channel, token: "", data, index: lane };
        text.path.clear();
        self.path.render(&mut text.path, &values);
        text.body.clear();
        self.body.render(&mut text.body, &values);
        let render = |(name, template): &(String, Template)| {
            let mut value = Vec::new();
            template.render(&mut value, &values);
            (name.clone(), value)
        };
        let headers: Vec<_> = self.headers.iter().map(render).collect();
        let host = &options.host;
        publisher.connection.request(&Request {
            method: "POST",
            host,
            path: &text.path,
            headers: &headers,
            body: &text.body,
        });
        publisher.waiting.push_back(nanos);
        true
    }

    /// Reads a publisher's acknowledgements.
    fn acknowledge(&mut self, index: usize) -> io::Result<()> {
        let Self { publishers, acks, acknowledged, refused, .. } = self;
        let Publisher { connection, waiting, .. } = &mut publishers[index];
        let now = self.clock.now();
        let open = connection.serve(&mut self.scratch, &self.poller, |_, signal| {
            if let Signal::Status(status) = signal {
                if let Some(sent) = waiting.pop_front() {
                    acks.record(now.saturating_sub(sent));
                }
                *(if (200..300).contains(&status) { &mut *acknowledged } else { &mut *refused }) += 1;
            }
        })?;
        // Some servers close after every answer.
        if !open && waiting.is_empty() {
            *connection = connect(self.options, &self.poller, index)?;
        } else if !open {
            return Err(io::Error::other("the server closed a publisher's connection"));
        }
        Ok(())
    }
}

fn connect(options: &Options, poller: &Poller, index: usize) -> io::Result<Connection> {
    let target = options.door(index);
    let codec = match options.publish {
        Door::Http => Codec::Http1(Http1::default()),
        Door::Lines => Codec::Lines(Lines::default()),
    };
    Connection::connect(target, &Dial::default(), codec, poller, index)
        .map_err(|error| io::Error::new(error.kind(), format!("cannot publish to {target}: {error}")))
}

/// How many events should have been sent by now: the first at once.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "as casts of floats saturate")]
fn due(elapsed: Duration, rate: f64) -> u32 {
    (elapsed.as_secs_f64() * rate) as u32 + 1
}
