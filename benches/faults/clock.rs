//! The clock goes an hour back and forward, in this process: a hub on a store, and readers that come and go. The program
//! reads the machine's clock, so it is the hub and the store that are tried here, whose time is an argument.

use std::collections::BTreeMap;
use std::io;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::thread::{JoinHandle, yield_now};
use std::time::{Duration, Instant};

use fastrand::Rng;
use sidestream::event::{ChannelName, Epoch, Event, EventId, Timestamp};
use sidestream::hub::{Gap, Hub, Position, Publication, Subscription, Work};
use sidestream::store::{Disk, Limits, Memory, SyncMode};

use super::ledger::{self, Id, Ledger, Outcome};
use super::options::{Options, Store, Sync};
use super::reader::{Reason, Said, Seen};
use super::report::{Breach, Report};
use super::verdict::{self, Verdict};

const HOUR: u64 = 3_600_000;

/// The time at the beginning: any that an hour can be taken from.
const START: u64 = 1_700_000_000_000;

/// Steps between two jumps.
const STEPS: usize = 100;

/// How long some events are of use.
const TTL: u64 = HOUR / 2;

/// Runs it.
///
/// # Errors
/// If the store fails, or what is published is not kept.
pub(super) fn run(options: &Options, seed: u64) -> io::Result<Report> {
    // Whoever waits for the disk does so for a while only, and needs a timer for that.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
    let _within = runtime.enter();
    let begun = Instant::now();
    let mut report = Report::new("jumps", seed);
    let folder = tempfile::tempdir()?;
    let mut world = World::new(options, folder.path(), Rng::with_seed(seed))?;
    for _ in 0..options.rounds() {
        for _ in 0..STEPS {
            world.step()?;
        }
        world.jump()?;
        report.rounds += 1;
    }
    // Everybody reads what is left.
    for reader in 0..world.readers.len() {
        world.readers[reader].open = None;
        world.open(reader)?;
    }
    world.hub.close();
    if let Some(committer) = world.committer.take() {
        committer.join().map_err(|_| io::Error::other("the committer has panicked"))?;
    }
    (report.epochs, report.readers) = (1, world.readers.len());
    verdict::count(&world.ledger, &mut report);
    let mut verdict = Verdict::new(options, &world.ledger, &mut report);
    for (number, reader) in world.readers.iter().enumerate() {
        verdict.hold(number, &reader.seen);
    }
    let World { jumps: [back, forward], passed_over, wrong, .. } = world;
    wrong.into_iter().for_each(|wrong| report.breach(Breach::Protocol, wrong));
    report.notes.push(format!(
        "{back} times an hour back, {forward} times forward; {passed_over} times an event had outlived its time; {:.1} s",
        begun.elapsed().as_secs_f32()
    ));
    Ok(report)
}

struct World<'o> {
    options: &'o Options,
    hub: Hub,
    committer: Option<JoinHandle<()>>,
    rng: Rng,
    now: Timestamp,
    /// By how many hours the clock is ahead of the beginning: one at most, either way.
    ahead: i8,
    jumps: [u32; 2],
    ledger: Ledger,
    /// Until when events are of use that are not for ever, by their number, with their channels.
    ttls: BTreeMap<u64, (u32, Timestamp)>,
    passed_over: u32,
    readers: Vec<Reader>,
    wrong: Vec<String>,
}

struct Reader {
    names: Vec<ChannelName>,
    /// There while it has a stream.
    open: Option<Subscription>,
    /// It has what there is up to this one.
    cursor: u64,
    /// The last that it was told, with which it comes back.
    last: u64,
    seen: Seen,
}

impl<'o> World<'o> {
    fn new(options: &'o Options, folder: &std::path::Path, mut rng: Rng) -> io::Result<Self> {
        let limits = Limits {
            age: Duration::from_secs(u64::from(options.age)),
            events: options.history,
            bytes: 1 << 30,
            max_bytes: 1 << 32,
            max_channels: 1000,
        };
        let (epoch, now) = (Epoch::from_bits(rng.u32(..)), Timestamp(START));
        let (hub, committer) = match options.store {
            Store::Memory => (Hub::new(1, Memory::new(limits), epoch), None),
            Store::Disk => {
                let sync = if options.sync == Sync::Always { SyncMode::Always } else { SyncMode::Interval };
                let open = Disk::open(folder, limits, sync, epoch, now).map_err(io::Error::other)?;
                let (hub, committer) = Hub::on_disk(1, open, sync);
                (hub, Some(std::thread::spawn(move || committer.run())))
            }
        };
        let mut reader = || {
            let channels = rng.u32(1..1 << options.channels.min(31));
            // It has read all there was: nothing.
            let said = vec![Said::Opened(Some(Id { epoch: 0, seq: 0 }))];
            let seen = Seen { channels, said, is_whole: true };
            Ok(Reader { names: names(channels)?, open: None, cursor: 0, last: 0, seen })
        };
        let readers = (0..options.readers.min(32)).map(|_| reader()).collect::<io::Result<_>>()?;
        Ok(Self {
            options,
            hub,
            committer,
            rng,
            now,
            ahead: 0,
            jumps: [0; 2],
            ledger: Ledger::default(),
            ttls: BTreeMap::new(),
            passed_over: 0,
            readers,
            wrong: Vec::new(),
        })
    }

    fn step(&mut self) -> io::Result<()> {
        self.now.0 += self.rng.u64(0..100);
        let reader = self.rng.usize(0..self.readers.len());
        match self.rng.u8(0..10) {
            0..4 => {
                for _ in 0..self.rng.usize(1..10) {
                    let channels = self.rng.u32(1..1 << self.options.channels.min(31));
                    let ttl = self.rng.u8(0..6) == 0;
                    self.publish(channels, ttl, None)?;
                }
            }
            4..6 => {
                self.readers[reader].open = None;
                self.open(reader)?;
            }
            6 => self.readers[reader].open = None,
            7 => self.hub.sweep(self.now),
            _ => self.deliver(),
        }
        Ok(())
    }

    /// An hour back or forward, never more than one from the beginning.
    fn jump(&mut self) -> io::Result<()> {
        let key = format!("k{}", self.jumps[0] + self.jumps[1]);
        let before = self.publish(1, false, Some(&key))?;
        if self.ahead == 1 || self.ahead == 0 && self.rng.bool() {
            (self.now.0, self.ahead) = (self.now.0 - HOUR, self.ahead - 1);
            self.jumps[0] += 1;
            // A key is remembered over a clock that goes back, so that nothing is stored twice.
            let stamp = self.ledger.by_id.get(&place(before)).copied().unwrap_or_default();
            let again = self.hand_in(&publication(stamp, 1, false, Some(&key))?)?;
            if again != before {
                self.wrong.push(format!("{before} and {again} have one key"));
            }
        } else {
            (self.now.0, self.ahead) = (self.now.0 + HOUR, self.ahead + 1);
            self.jumps[1] += 1;
        }
        self.hub.sweep(self.now);
        Ok(())
    }

    fn publish(&mut self, channels: u32, ttl: bool, key: Option<&str>) -> io::Result<EventId> {
        let stamp = self.ledger.by_stamp.len() as u64;
        let id = self.hand_in(&publication(stamp, channels, ttl, key)?)?;
        // One that is of use for a while only is held against its time when it is read.
        let outcome = if ttl { Outcome::Passing } else { Outcome::Acknowledged(place(id)) };
        if ttl {
            self.ttls.insert(id.seq, (channels, Timestamp(self.now.0 + TTL)));
        }
        let publication = ledger::Publication { stamp, channels, begun: 0, again: 0, unanswered: 0, outcome };
        self.wrong.extend(self.ledger.add(publication));
        Ok(id)
    }

    /// Hands it in and waits until it is acknowledged, which may need this worker's count.
    fn hand_in(&mut self, publication: &Publication) -> io::Result<EventId> {
        let receipt = self.hub.publish(publication.clone(), self.now).map_err(io::Error::other)?;
        let begun = Instant::now();
        let mut told = pin!(receipt.acknowledged());
        loop {
            match told.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
                Poll::Ready(Ok((id, _))) => return Ok(id),
                Poll::Ready(Err(error)) => return Err(io::Error::other(error)),
                Poll::Pending if begun.elapsed() > self.options.patience() => {
                    return Err(io::Error::other("nothing is acknowledged any more"));
                }
                Poll::Pending => self.deliver(),
            }
            yield_now();
        }
    }

    /// Hands out what waits in the inbox.
    fn deliver(&mut self) {
        let (inbox, mut batch) = (self.hub.inbox(0).clone(), Vec::new());
        // Nothing may be there, and then it is not waited for.
        let _ = pin!(inbox.take(&mut batch)).poll(&mut Context::from_waker(Waker::noop()));
        for work in batch {
            let Work::Deliver(delivery) = work else { continue };
            let mut handed = 0;
            for reader in &mut self.readers {
                let Some(open) = &reader.open else { continue };
                let is_for_it = open.channels().any(|channel| delivery.channels.contains(&channel));
                if is_for_it && delivery.seq > reader.cursor {
                    (reader.cursor, reader.last) = (delivery.seq, delivery.seq);
                    reader.seen.said.push(event(delivery.seq, &delivery.frame.text()));
                    handed += 1;
                }
            }
            delivery.counted(handed);
        }
    }

    /// Opens a stream with the last id, and reads all that was missed.
    fn open(&mut self, number: usize) -> io::Result<()> {
        let Self { hub, readers, now, ttls, .. } = self;
        let reader = &mut readers[number];
        reader.cursor = reader.last;
        let last = EventId { epoch: hub.epoch(), seq: reader.last }.to_string();
        let opened = hub.subscribe(0, None, &reader.names, Position::After(&last), *now);
        let (subscription, start) = opened.map_err(|_| io::Error::other("nobody is blocked"))?;
        let mut gap = start.gap;
        reader.seen.said.push(Said::Opened(gap.is_none().then(|| place(start.cursor))));
        while gap.is_none() && reader.cursor < start.head {
            let after = EventId { seq: reader.cursor, ..start.cursor };
            let page = subscription.page(after, start.head, *now).map_err(io::Error::other)?;
            gap = page.gap.then_some(Gap::Expired);
            let seqs: Vec<_> = page.records.iter().map(|record| record.seq).collect();
            let passed = ttls.range(reader.cursor + 1..=page.read);
            for (seq, (_, until)) in passed.filter(|(_, (of, _))| of & reader.seen.channels != 0) {
                self.passed_over += u32::from(*until <= *now);
                if seqs.contains(seq) != (*now < *until) && gap.is_none() {
                    self.wrong
                        .push(format!("{seq} is of use until {until:?}, and was read or not at {now:?}"));
                }
            }
            let said = page.records.iter().map(|record| event(record.seq, &record.frame.text()));
            reader.seen.said.extend(said);
            reader.cursor = page.read;
            reader.last = seqs.last().copied().unwrap_or(reader.last);
        }
        if let Some(gap) = gap {
            let reason = match gap {
                Gap::Expired => Reason::Expired,
                Gap::NewEpoch => Reason::NewEpoch,
                Gap::UnknownId => Reason::UnknownId,
            };
            let id = Id { epoch: 0, seq: start.head };
            reader.last = start.head;
            reader.seen.said.push(Said::Reset { id, reason, newest: id, at: 0 });
        }
        reader.cursor = start.head;
        reader.open = Some(subscription);
        Ok(())
    }
}

fn names(channels: u32) -> io::Result<Vec<ChannelName>> {
    let names =
        (0..32).filter(|bit| channels & (1 << bit) != 0).map(|bit| ChannelName::new(&format!("c{bit}")));
    names.collect::<Result<_, _>>().map_err(io::Error::other)
}

fn publication(stamp: u64, channels: u32, ttl: bool, key: Option<&str>) -> io::Result<Publication> {
    Ok(Publication {
        channels: names(channels)?.into(),
        event: Event { name: None, data: format!("{stamp}").into(), retry: None },
        ttl: ttl.then_some(Duration::from_millis(TTL)),
        key: key.map(Into::into),
        collapse: None,
    })
}

fn place(id: EventId) -> Id {
    Id { epoch: 0, seq: id.seq }
}

fn event(seq: u64, text: &[u8]) -> Said {
    let text = String::from_utf8_lossy(text);
    let stamp = text.lines().find_map(|line| line.strip_prefix("data: ")?.parse().ok());
    Said::Event { id: Id { epoch: 0, seq }, stamp: stamp.unwrap_or(u64::MAX) }
}
