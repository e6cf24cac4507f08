//! What the threads of a run share.

use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use fastrand::Rng;

use super::ledger::{Id, Publication};
use super::options::Options;

/// The stamp of the last publication, which goes to all channels and ends the readers.
pub(super) const LAST: u64 = u64::MAX;

/// What the threads of a run share.
pub(super) struct World {
    pub(super) options: Options,
    /// Where each node takes publications.
    pub(super) sockets: Vec<PathBuf>,
    begun: Instant,
    /// Where each node's streams are.
    addresses: Mutex<Vec<String>>,
    /// How far each reader has come.
    places: Mutex<Vec<Option<Id>>>,
    epochs: Mutex<Vec<String>>,
    /// What was published only to see it arrive.
    markers: Mutex<Vec<Publication>>,
    /// Set when publishers are to hand in nothing new.
    pub(super) is_over: AtomicBool,
    /// Set when everybody is to end, whatever is missing.
    pub(super) is_given_up: AtomicBool,
    pub(super) published: AtomicU64,
    pub(super) acknowledged: AtomicU64,
    pub(super) refused: AtomicU64,
    /// Attempts of which nobody knows what became.
    pub(super) unanswered: AtomicU64,
    /// Streams that were opened, and gaps that their readers were told of.
    pub(super) streams: AtomicU64,
    pub(super) resets: AtomicU64,
    /// How long the slowest answer to a publisher took since this was last taken, in milliseconds.
    pub(super) slowest: AtomicU64,
    /// The highest number that was acknowledged in the newest epoch.
    newest: Mutex<Id>,
    /// The id of the last publication.
    last: OnceLock<Id>,
}

impl World {
    /// Nobody can open a stream before it is said where.
    pub(super) fn new(options: &Options, sockets: Vec<PathBuf>) -> Self {
        Self {
            options: options.clone(),
            sockets,
            begun: Instant::now(),
            addresses: Mutex::default(),
            places: Mutex::new(vec![None; usize::from(options.readers)]),
            epochs: Mutex::default(),
            markers: Mutex::default(),
            is_over: AtomicBool::new(false),
            is_given_up: AtomicBool::new(false),
            published: AtomicU64::new(0),
            acknowledged: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            unanswered: AtomicU64::new(0),
            streams: AtomicU64::new(0),
            resets: AtomicU64::new(0),
            slowest: AtomicU64::new(0),
            newest: Mutex::new(Id { epoch: 0, seq: 0 }),
            last: OnceLock::new(),
        }
    }

    /// Where a stream is opened: at any of the nodes.
    pub(super) fn address(&self, rng: &mut Rng) -> String {
        rng.choice(&*lock(&self.addresses)).cloned().unwrap_or_default()
    }

    pub(super) fn move_to(&self, address: &str) {
        self.move_all(vec![address.to_owned()]);
    }

    /// Says where all nodes are.
    pub(super) fn move_all(&self, addresses: Vec<String>) {
        *lock(&self.addresses) = addresses;
    }

    pub(super) fn add_marker(&self, marker: Publication) {
        lock(&self.markers).push(marker);
    }

    pub(super) fn markers(&self) -> u64 {
        lock(&self.markers).len() as u64
    }

    pub(super) fn take_markers(&self) -> Vec<Publication> {
        std::mem::take(&mut lock(&self.markers))
    }

    /// Takes note of how far a reader has come.
    pub(super) fn is_at(&self, reader: u16, id: Option<Id>) {
        lock(&self.places)[usize::from(reader)] = id;
    }

    /// Waits until all readers have come to an id or past it. How many have not when nobody waits any more.
    pub(super) fn behind(&self, id: Id) -> usize {
        let begun = Instant::now();
        loop {
            let behind = lock(&self.places).iter().filter(|at| at.is_none_or(|at| at < id)).count();
            if behind == 0 || begun.elapsed() > self.options.patience() {
                return behind;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Milliseconds since the run began.
    pub(super) fn now(&self) -> u32 {
        u32::try_from(self.begun.elapsed().as_millis()).unwrap_or(u32::MAX)
    }

    /// An id as it was said.
    pub(super) fn id(&self, said: &str) -> Option<Id> {
        let (epoch, seq) = said.split_once('-')?;
        let seq = seq.parse().ok()?;
        let epochs = &mut *lock(&self.epochs);
        // The newest is asked for most.
        let place = epochs.iter().rposition(|known| known == epoch).unwrap_or_else(|| {
            epochs.push(epoch.to_owned());
            epochs.len() - 1
        });
        Some(Id { epoch: u32::try_from(place).ok()?, seq })
    }

    /// The same id, to be said.
    pub(super) fn said(&self, id: Id) -> String {
        let epochs = lock(&self.epochs);
        format!("{}-{}", epochs.get(id.epoch as usize).map_or("?", String::as_str), id.seq)
    }

    /// How many epochs there have been.
    pub(super) fn epochs(&self) -> usize {
        lock(&self.epochs).len()
    }

    pub(super) fn acknowledge(&self, id: Id) {
        self.acknowledged.fetch_add(1, Relaxed);
        let newest = &mut *lock(&self.newest);
        *newest = id.max(*newest);
    }

    /// Says that this was the last.
    pub(super) fn end(&self, id: Id) {
        // It is said once.
        let _ = self.last.set(id);
    }

    /// Whether this is where all readers end.
    pub(super) fn is_end(&self, id: Option<Id>) -> bool {
        self.last.get().is_some_and(|last| id >= Some(*last))
    }

    pub(super) fn newest(&self) -> Id {
        *lock(&self.newest)
    }

    /// Waits until a count has grown by so many, or `patience` is over. Says whether it has.
    pub(super) fn grows(&self, count: &AtomicU64, by: u64, patience: Duration) -> bool {
        let (goal, begun) = (count.load(Relaxed) + by, Instant::now());
        while count.load(Relaxed) < goal {
            if begun.elapsed() > patience {
                return false;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        true
    }

    /// Waits until so many more publications are acknowledged.
    ///
    /// # Errors
    /// If that takes too long.
    pub(super) fn progress(&self, by: u64) -> io::Result<()> {
        if self.grows(&self.acknowledged, by, self.options.patience()) {
            return Ok(());
        }
        Err(io::Error::other("nothing is acknowledged any more"))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
