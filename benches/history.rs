//! What a replay costs, by how much history there is: the same thousand events of one channel, in ever larger stores, on
//! disk and in memory; and on disk one page of some other channel, when the system has forgotten what it knew of the
//! files. Prints tables of text; takes some minutes, two gigabytes of disk and six of memory.
//!
//!     cargo run --release --example history -- FOLDER [EVENTS]
//!
//! The folder is to be empty; "-" leaves the disk out.

use std::cell::RefCell;
use std::error::Error;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::fs::{Advice, fadvise};
use sidestream::event::{ChannelName, Epoch, Event, EventId, Timestamp};
use sidestream::store::{Disk, Kept, Limits, Memory, OpenDisk, Page, Record, SyncMode};

/// The replay that is measured.
const REPLAY: u64 = 1000;
/// Events of a batch.
const BATCH: u64 = 1000;
/// The most events of other channels.
const LARGEST: u64 = 10_000_000;
/// Replays of each store.
const TIMES: usize = 101;

fn main() -> Result<(), Box<dyn Error>> {
    let folder =
        std::env::args_os().nth(1).ok_or("say where: history FOLDER [EVENTS]; - for memory alone")?;
    let largest = std::env::args().nth(2).map_or(Ok(LARGEST), |events| events.parse())?;
    let limits = Limits {
        age: Duration::from_secs(24 * 3600),
        events: usize::MAX / 2,
        bytes: usize::MAX / 2,
        max_bytes: usize::MAX / 2,
        max_channels: 1_000_000,
    };
    if folder != "-" {
        on_disk(folder.as_ref(), limits.clone(), largest)?;
    }
    let memory = RefCell::new(Memory::new(limits));
    let write = |batch: Vec<Kept>| {
        for Kept { channels, record, .. } in batch {
            memory.borrow_mut().append(&channels, record);
        }
        Ok(())
    };
    let read = |after, head| Ok(memory.borrow().logs().page([&measured()?], after, head, Timestamp::now()));
    curve("memory", largest, write, read, None)
}

/// The curve of a store on disk.
fn on_disk(folder: &Path, limits: Limits, largest: u64) -> Result<(), Box<dyn Error>> {
    let fresh = Epoch::from_bits(1);
    let OpenDisk { disk, writer, .. } =
        Disk::open(folder, limits, SyncMode::Interval, fresh, Timestamp::now())?;
    let writer = RefCell::new(writer);
    let write = |batch: Vec<Kept>| Ok(writer.borrow_mut().write(batch.iter())?);
    let read = |after, head| Ok(disk.page(&[measured()?], after, head, Timestamp::now())?);
    let cold = |head| {
        // What is not on the disk cannot be forgotten.
        writer.borrow_mut().sync()?;
        cold_page(&disk, folder, head)
    };
    curve("disk", largest, write, read, Some(&cold))?;
    Ok(writer.into_inner().close()?)
}

/// How long the first page of some channel takes.
type Cold<'a> = dyn Fn(u64) -> Result<Duration, Box<dyn Error>> + 'a;

/// Fills a store and measures at each power of ten.
fn curve(
    name: &str,
    largest: u64,
    mut write: impl FnMut(Vec<Kept>) -> Result<(), Box<dyn Error>>,
    read: impl Fn(u64, u64) -> Result<Page, Box<dyn Error>>,
    cold: Option<&Cold<'_>>,
) -> Result<(), Box<dyn Error>> {
    let mut out = std::io::stdout();
    write!(out, "{name:>12} {:>14} {:>12} {:>12}", "written, 1/s", "p50, us", "p99, us")?;
    let heads = if cold.is_some() { ["cold page p50, us", "cold page p99, us"].as_slice() } else { &[] };
    heads.iter().try_for_each(|head| write!(out, " {head:>18}"))?;
    writeln!(out)?;
    let (mut seq, mut goal) = (0, REPLAY);
    let begun = Instant::now();
    while goal <= largest {
        while seq < goal {
            write((seq + 1..=seq + BATCH).map(kept).collect())?;
            seq += BATCH;
        }
        let rate = seq as f64 / begun.elapsed().as_secs_f64();
        let mut times = (0..TIMES).map(|_| replay(&read, seq)).collect::<Result<Vec<_>, _>>()?;
        times.sort_unstable();
        let (p50, p99) = (times[TIMES / 2].as_micros(), times[TIMES * 99 / 100].as_micros());
        write!(out, "{seq:>12} {rate:>14.0} {p50:>12} {p99:>12}")?;
        if let Some(cold) = cold {
            let mut times = (0..TIMES).map(|_| cold(seq)).collect::<Result<Vec<_>, _>>()?;
            times.sort_unstable();
            let (p50, p99) = (times[TIMES / 2].as_micros(), times[TIMES * 99 / 100].as_micros());
            write!(out, " {p50:>18} {p99:>18}")?;
        }
        writeln!(out)?;
        goal *= 10;
    }
    Ok(())
}

fn measured() -> Result<ChannelName, Box<dyn Error>> {
    Ok(ChannelName::new("measured")?)
}

/// An event: of the measured channel at the beginning, then one in so many, so that it lies all over the store.
fn kept(seq: u64) -> Kept {
    let is_measured = seq <= REPLAY / 2 || seq.is_multiple_of(2 * LARGEST / REPLAY);
    let name = if is_measured { "measured".to_owned() } else { format!("user:{}", seq % 5000) };
    let data = vec![b'x'; 100].into();
    let frame = Event { name: None, data, retry: None }.frame(EventId { epoch: Epoch::from_bits(1), seq });
    let record = Record { seq, frame, at: Timestamp::now(), expires: None, collapse: None };
    Kept { channels: ChannelName::new(&name).into_iter().collect(), record, key: None }
}

/// Reads the first page of some channel, of whose files nothing is in memory but what the engine holds itself.
fn cold_page(disk: &Disk, folder: &Path, head: u64) -> Result<Duration, Box<dyn Error>> {
    forget(folder)?;
    let names = [ChannelName::new(&format!("user:{}", fastrand::u32(..5000)))?];
    let begun = Instant::now();
    disk.page(&names, 0, head, Timestamp::now())?;
    Ok(begun.elapsed())
}

/// Has the system forget what it holds of files.
fn forget(folder: &Path) -> Result<(), Box<dyn Error>> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            forget(&path)?;
        } else if let Ok(file) = File::open(&path) {
            fadvise(&file, 0, None, Advice::DontNeed)?;
        }
    }
    Ok(())
}

/// Reads all of the measured channel, page by page.
fn replay(
    read: impl Fn(u64, u64) -> Result<Page, Box<dyn Error>>,
    head: u64,
) -> Result<Duration, Box<dyn Error>> {
    let begun = Instant::now();
    let (mut after, mut events) = (0, 0);
    while after < head {
        let page = read(after, head)?;
        events += page.records.len() as u64;
        after = page.read;
        if page.gap {
            return Err("history has gone".into());
        }
    }
    // There are a thousand in the largest store, and half of that in the smallest.
    Ok(begun.elapsed() * u32::try_from(REPLAY)? / u32::try_from(events)?)
}
