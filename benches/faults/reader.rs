//! A reader: keeps a stream open, comes back with its last id when it is cut, and writes down all it is told.

use std::io;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use fastrand::Rng;

use super::ledger::Id;
use super::sse::{Block, Events, Next, Request};
use super::world::World;

/// One in so many reads through a straw.
const NARROW: u16 = 8;

/// The pause of such a one after each event.
const SLOW: Duration = Duration::from_micros(300);

/// One in so many times, a reader stays away for long.
const LONG: u8 = 40;

/// What a reader was told, and what happened to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Said {
    /// A stream began, with this id if it said one.
    Opened(Option<Id>),
    Event {
        id: Id,
        stamp: u64,
    },
    /// The stream was ended because history cannot be read.
    Failed,
    Reset {
        id: Id,
        reason: Reason,
        /// The newest that was acknowledged when it came.
        newest: Id,
        /// When it came, in milliseconds of the run.
        at: u32,
    },
}

/// Why there is a gap.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Reason {
    Expired,
    NewEpoch,
    UnknownId,
}

/// What a reader saw.
#[derive(Debug)]
pub(super) struct Seen {
    /// Its channels, by bits.
    pub(super) channels: u32,
    pub(super) said: Vec<Said>,
    /// Whether it has come to the last event of all.
    pub(super) is_whole: bool,
}

/// Reads until the last event has come, or everybody gives up.
///
/// # Errors
/// If Sidestream says what it never should.
pub(super) fn read(world: &World, number: u16, mut rng: Rng) -> io::Result<Seen> {
    let channels = some_channels(world.options.channels, &mut rng);
    let names: Vec<_> =
        (0..32).filter(|bit| channels & (1 << bit) != 0).map(|bit| format!("c{bit}")).collect();
    let mut reader = Reader {
        world,
        number,
        target: format!("/events?channels={}", names.join(",")),
        is_chunked: number % 2 == 1,
        is_narrow: number % NARROW == NARROW - 1,
        last_id: None,
        seen: Seen { channels, said: Vec::new(), is_whole: false },
    };
    while !reader.has_ended() {
        // Some leave by themselves.
        reader.stay(rng.usize(1..20_000), &world.address(&mut rng))?;
        let most = if rng.u8(0..LONG) == 0 { 1000 } else { 20 };
        if !reader.seen.is_whole {
            std::thread::sleep(Duration::from_millis(rng.u64(0..most)));
        }
    }
    Ok(reader.seen)
}

fn some_channels(count: u8, rng: &mut Rng) -> u32 {
    let mut channels = 0;
    for _ in 0..rng.u8(1..=4) {
        channels |= 1 << rng.u8(0..count);
    }
    channels
}

struct Reader<'w> {
    world: &'w World,
    number: u16,
    target: String,
    is_chunked: bool,
    is_narrow: bool,
    last_id: Option<Id>,
    seen: Seen,
}

impl Reader<'_> {
    /// Opens a stream and reads so many events, or until it is cut.
    fn stay(&mut self, most: usize, address: &str) -> io::Result<()> {
        let last_id = self.last_id.map(|id| self.world.said(id));
        let request = Request {
            address,
            target: &self.target,
            last_id: last_id.as_deref(),
            is_chunked: self.is_chunked,
            is_narrow: self.is_narrow,
        };
        let Some(mut events) = Events::open(&request, self.world.options.patience())? else { return Ok(()) };
        self.world.streams.fetch_add(1, Relaxed);
        let mut is_open = false;
        for _ in 0..most {
            let block = loop {
                match events.next()? {
                    Next::Block(block) => break block,
                    Next::Nothing if self.has_ended() => return Ok(()),
                    Next::Nothing => {}
                    Next::Cut => return Ok(()),
                }
            };
            self.take(&block, is_open)?;
            is_open = true;
            if self.has_ended() {
                break;
            }
            if self.is_narrow {
                std::thread::sleep(SLOW);
            }
        }
        Ok(())
    }

    /// Whether there is nothing more to come, or it is not waited for. Only a reset takes one to the end who has not
    /// read the last event, and to one who was not there the last may be unknown yet when it does.
    fn has_ended(&mut self) -> bool {
        self.seen.is_whole |= self.world.is_end(self.last_id);
        self.seen.is_whole || self.world.is_given_up.load(Relaxed)
    }

    fn take(&mut self, block: &Block, is_open: bool) -> io::Result<()> {
        let strange = || io::Error::new(io::ErrorKind::InvalidData, format!("what is this? {block:?}"));
        let id = match &block.id {
            Some(said) => Some(self.world.id(said).ok_or_else(strange)?),
            None => None,
        };
        let said = match (&block.event, &block.data, id) {
            (None, None, id) if !is_open => Said::Opened(id),
            (None, Some(data), Some(id)) => {
                let stamp = data.split(' ').next().and_then(|stamp| stamp.parse().ok());
                Said::Event { id, stamp: stamp.ok_or_else(strange)? }
            }
            (Some(event), Some(data), Some(id)) if event == "reset" => {
                self.world.resets.fetch_add(1, Relaxed);
                let reason = Reason::read(data).ok_or_else(strange)?;
                Said::Reset { id, reason, newest: self.world.newest(), at: self.world.now() }
            }
            (Some(event), Some(data), None) if event == "error" && is_failure(data) => Said::Failed,
            _ => return Err(strange()),
        };
        self.last_id = id.or(self.last_id);
        self.world.is_at(self.number, self.last_id);
        self.seen.said.push(said);
        Ok(())
    }
}

/// Whether these are the last words of a stream whose history cannot be read.
fn is_failure(data: &str) -> bool {
    serde_json::from_str(data).is_ok_and(|said: serde_json::Value| said["code"] == 500)
}

impl Reason {
    fn read(data: &str) -> Option<Self> {
        let said: serde_json::Value = serde_json::from_str(data).ok()?;
        match said["reason"].as_str()? {
            "expired" => Some(Self::Expired),
            "new-epoch" => Some(Self::NewEpoch),
            "unknown-id" => Some(Self::UnknownId),
            _ => None,
        }
    }
}
