//! epoll: which of many sockets can be read or written, level-triggered; and one alarm.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};

/// The most events that are taken at once.
const BATCH: usize = 1024;
/// The alarm's key; no socket has it.
const ALARM: u64 = u64::MAX;

/// What a socket is watched for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Interest {
    /// Only that it broke.
    Nothing,
    Read,
    Both,
}

impl Interest {
    fn flags(self) -> EventFlags {
        match self {
            Self::Nothing => EventFlags::empty(),
            Self::Read => EventFlags::IN,
            Self::Both => EventFlags::IN | EventFlags::OUT,
        }
    }
}

/// Watches sockets under keys of the caller's.
pub(crate) struct Poller {
    epoll: OwnedFd,
    alarm: OwnedFd,
    events: Vec<Event>,
}

impl Poller {
    pub(crate) fn new() -> io::Result<Self> {
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        let alarm =
            timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC)?;
        epoll::add(&epoll, &alarm, EventData::new_u64(ALARM), EventFlags::IN)?;
        Ok(Self { epoll, alarm, events: Vec::with_capacity(BATCH) })
    }

    /// Watches a socket; it is forgotten once it is closed.
    pub(crate) fn add(&self, socket: impl AsFd, key: usize, interest: Interest) -> io::Result<()> {
        Ok(epoll::add(&self.epoll, socket, EventData::new_u64(key as u64), interest.flags())?)
    }

    /// Watches it for something else.
    pub(crate) fn change(&self, socket: impl AsFd, key: usize, interest: Interest) -> io::Result<()> {
        Ok(epoll::modify(&self.epoll, socket, EventData::new_u64(key as u64), interest.flags())?)
    }

    /// Makes the next wait end after this time, with the precision of the kernel's timers, unlike its own bound,
    /// which is in milliseconds. Zero is never.
    pub(crate) fn ring_after(&self, time: Duration) -> io::Result<()> {
        let none = Timespec { tv_sec: 0, tv_nsec: 0 };
        let it_value = Timespec { tv_sec: time.as_secs().cast_signed(), tv_nsec: time.subsec_nanos().into() };
        timerfd_settime(
            &self.alarm,
            TimerfdTimerFlags::empty(),
            &Itimerspec { it_interval: none, it_value },
        )?;
        Ok(())
    }

    /// Waits until something is ready or the time is over, and appends the keys of what is.
    pub(crate) fn wait(&mut self, at_most: Duration, ready: &mut Vec<usize>) -> io::Result<()> {
        let millis = at_most.as_millis().min(60_000);
        let nanos = i64::try_from(millis % 1000).unwrap_or(0) * 1_000_000;
        let timeout = Timespec { tv_sec: i64::try_from(millis / 1000).unwrap_or(0), tv_nsec: nanos };
        match epoll::wait(&self.epoll, spare_capacity(&mut self.events), Some(&timeout)) {
            Err(error) if error != rustix::io::Errno::INTR => return Err(error.into()),
            _ => {}
        }
        for event in self.events.drain(..) {
            let data = event.data;
            if data.u64() == ALARM {
                // Only to make it silent; what it counted is of no interest.
                let _ = rustix::io::read(&self.alarm, &mut [0u8; 8]);
            } else {
                ready.extend(usize::try_from(data.u64()));
            }
        }
        Ok(())
    }
}
