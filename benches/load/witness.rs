//! Witnesses: a few streams of users of their own, whose events tell how late the server is while others storm it.
//!
//! They are read and published to by threads of their own, so that the tool's other work is not in their times, as far
//! as there are cores for all.

use std::io;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Instant;

use crate::clock::Clock;
use crate::options::Options;
use crate::publisher::Publishers;
use crate::report::Arrived;
use crate::streams::Streams;

/// What the others do meanwhile.
#[derive(Debug, Default)]
pub(crate) struct Phase(AtomicU8);

/// The phases of a storm. Only the first and the last are told of.
pub(crate) const CALM: u8 = 0;
const BETWEEN: u8 = 1;
const STORM: u8 = 2;
const OVER: u8 = 3;

impl Phase {
    /// The others are being cut and have events to miss.
    pub(crate) fn between(&self) {
        self.0.store(BETWEEN, Ordering::Relaxed);
    }

    /// They come back.
    pub(crate) fn storm(&self) {
        self.0.store(STORM, Ordering::Relaxed);
    }

    /// They are all there.
    pub(crate) fn over(&self) {
        self.0.store(OVER, Ordering::Relaxed);
    }

    fn now(&self) -> u8 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Publishes to the witnesses until it is over.
///
/// # Errors
/// If publishing fails.
pub(crate) fn publish(options: &Options, clock: Clock, phase: &Phase) -> io::Result<()> {
    let publishers = Publishers::new(options, clock)?;
    publishers.run_until(u32::MAX, vec![0; options.lanes()], || phase.now() == OVER)?;
    Ok(())
}

/// Opens the witnesses' streams.
///
/// # Errors
/// If not all of them open.
pub(crate) fn open(options: &Options, clock: Clock) -> io::Result<Streams<'_>> {
    let mut streams = Streams::new(options, clock)?;
    streams.open(Instant::now() + options.patience)?;
    if streams.open_now() < options.streams {
        return Err(io::Error::other("not all witnesses are let in"));
    }
    Ok(streams)
}

/// Reads them until it is over. Says what arrived in the calm and in the storm.
///
/// # Errors
/// If the kernel refuses to wait.
pub(crate) fn watch(mut streams: Streams<'_>, phase: &Phase) -> io::Result<(Arrived, Arrived)> {
    let mut arrived = |during: u8| {
        streams.ledger.next_chapter();
        let far = Instant::now() + streams.patience() * 1000;
        streams.serve_until(far, |_| phase.now() != during)?;
        Ok::<_, io::Error>(Arrived::of(&streams.ledger, 0))
    };
    let calm = arrived(CALM)?;
    arrived(BETWEEN)?;
    Ok((calm, arrived(STORM)?))
}
