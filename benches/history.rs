//! What a replay from a store on disk costs, by how much history there is: the same thousand events of one channel,
//! in ever larger stores; and one page of some other channel, when the system has forgotten what it knew of the files.
//! Prints a table of text; takes some minutes and two gigabytes.

use std::error::Error;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::fs::{Advice, fadvise};
use sidestream::event::{ChannelName, Epoch, Event, EventId, Timestamp};
use sidestream::store::{Disk, Kept, Limits, OpenDisk, Record, SyncMode};

/// The replay that is measured.
const REPLAY: u64 = 1000;
/// Events of a batch.
const BATCH: u64 = 1000;
/// The most events of other channels.
const LARGEST: u64 = 10_000_000;
/// Replays of each store.
const TIMES: usize = 101;

fn main() -> Result<(), Box<dyn Error>> {
    let folder = std::env::args_os().nth(1).ok_or("say where: history FOLDER, which is to be empty")?;
    let limits = Limits {
        age: Duration::from_secs(3600),
        events: usize::MAX / 2,
        bytes: usize::MAX / 2,
        max_bytes: usize::MAX / 2,
        max_channels: 1_000_000,
    };
    let fresh = Epoch::from_bits(1);
    let OpenDisk { disk, mut writer, .. } =
        Disk::open(folder.as_ref(), limits, SyncMode::Interval, fresh, Timestamp::now())?;
    let mut out = std::io::stdout();
    writeln!(
        out,
        "{:>12} {:>14} {:>12} {:>12} {:>18} {:>18}",
        "events", "written, 1/s", "p50, us", "p99, us", "cold page p50, us", "cold page p99, us"
    )?;
    let (mut seq, mut goal) = (0, REPLAY);
    let begun = Instant::now();
    while goal <= LARGEST {
        while seq < goal {
            let batch: Vec<_> = (seq + 1..=seq + BATCH).map(|seq| kept(disk.epoch(), seq)).collect();
            writer.write(batch.iter())?;
            seq += BATCH;
        }
        let rate = seq as f64 / begun.elapsed().as_secs_f64();
        let mut times = (0..TIMES).map(|_| replay(&disk, seq)).collect::<Result<Vec<_>, _>>()?;
        times.sort_unstable();
        let (p50, p99) = (times[TIMES / 2].as_micros(), times[TIMES * 99 / 100].as_micros());
        writer.sync()?;
        let mut cold =
            (0..TIMES).map(|_| cold_page(&disk, folder.as_ref(), seq)).collect::<Result<Vec<_>, _>>()?;
        cold.sort_unstable();
        let (cold50, cold99) = (cold[TIMES / 2].as_micros(), cold[TIMES * 99 / 100].as_micros());
        writeln!(out, "{seq:>12} {rate:>14.0} {p50:>12} {p99:>12} {cold50:>18} {cold99:>18}")?;
        goal *= 10;
    }
    writer.close()?;
    Ok(())
}

/// An event: of the measured channel at the beginning, then one in so many, so that it lies all over the store.
fn kept(epoch: Epoch, seq: u64) -> Kept {
    let is_measured = seq <= REPLAY / 2 || seq.is_multiple_of(2 * LARGEST / REPLAY);
    let name = if is_measured { "measured".to_owned() } else { format!("user:{}", seq % 5000) };
    let data = vec![b'x'; 100].into();
    let frame = Event { name: None, data, retry: None }.frame(EventId { epoch, seq });
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
fn replay(disk: &Disk, head: u64) -> Result<Duration, Box<dyn Error>> {
    let names = [ChannelName::new("measured")?];
    let begun = Instant::now();
    let (mut after, mut events) = (0, 0);
    while after < head {
        let page = disk.page(&names, after, head, Timestamp::now())?;
        events += page.records.len() as u64;
        after = page.read;
        if page.gap {
            return Err("history has gone".into());
        }
    }
    // There are a thousand in the largest store, and half of that in the smallest.
    Ok(begun.elapsed() * u32::try_from(REPLAY)? / u32::try_from(events)?)
}
