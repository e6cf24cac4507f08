//! The thread that writes the access log, and the workers' way to it.

use std::cell::RefCell;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::SystemTime;

use tokio::sync::Notify;

use super::sink::Written;
use super::{Format, Line, Rotation, Sink};

/// How many buffers may wait for the writing thread.
const QUEUED_BUFFERS: usize = 64;

/// A buffer this full is handed over without waiting for the next tick, in bytes.
const BUFFER_FULL: usize = 32 * 1024;

/// The writing thread. Ends, with all that was handed to it written, once every [`WorkerLog`] is gone and
/// [`AccessLog::finish`] is called.
#[derive(Debug)]
pub struct AccessLog {
    sender: Arc<SyncSender<Vec<u8>>>,
    lost: Arc<AtomicU64>,
    thread: JoinHandle<()>,
}

impl AccessLog {
    /// Starts the thread.
    pub fn start(sink: Sink, rotation: &Rotation) -> io::Result<Self> {
        let (sender, receiver) = sync_channel(QUEUED_BUFFERS);
        let (sender, lost) = (Arc::new(sender), Arc::new(AtomicU64::new(0)));
        let counter = lost.clone();
        let write = move || write(sink, receiver, &counter);
        let thread = std::thread::Builder::new().name("access-log".into()).spawn(write)?;
        rotation.wakes(&sender);
        Ok(Self { sender, lost, thread })
    }

    /// A worker's end. `secret_parameters` are query parameters whose values are secrets, besides the usual ones.
    pub fn worker(&self, secret_parameters: Vec<String>, format: Format) -> WorkerLog {
        let lines = Vec::with_capacity(BUFFER_FULL * 2);
        let sender = Some(SyncSender::clone(&self.sender));
        let lost = self.lost.clone();
        let buffer = LogBuffer { lines, count: 0, dropped: 0, lost, sender, secret_parameters, format };
        WorkerLog { buffer: RefCell::new(buffer), written: Notify::new() }
    }

    /// Waits until everything is written. Every worker's end must be gone, or this waits for it.
    pub fn finish(self) {
        drop(self.sender);
        if self.thread.join().is_err() {
            tracing::error!("the access log's thread panicked");
        }
    }
}

fn write(mut sink: Sink, buffers: Receiver<Vec<u8>>, counter: &AtomicU64) {
    // Said when it begins and when it is over: a full disk would flood the error log too.
    let mut lost_so_far = 0;
    for lines in buffers {
        let Written { lost, error } = sink.write(&lines);
        counter.fetch_add(lost, Ordering::Relaxed);
        match error {
            Some(error) if lost_so_far == 0 => {
                tracing::error!(%error, "cannot write the access log; its lines are lost until it can be written again");
            }
            None if lost_so_far > 0 && !lines.is_empty() => {
                tracing::warn!(lost = lost_so_far, "the access log is written again");
                lost_so_far = 0;
            }
            _ => {}
        }
        lost_so_far += lost;
    }
}

/// A worker's end of the access log, the same one for as long as the worker is there.
#[derive(Debug)]
pub struct WorkerLog {
    buffer: RefCell<LogBuffer>,
    /// Told of the first line in an empty buffer.
    written: Notify,
}

impl WorkerLog {
    /// One that writes nothing.
    pub fn off() -> Self {
        Self { buffer: RefCell::default(), written: Notify::new() }
    }

    /// Whether lines are written.
    pub fn is_on(&self) -> bool {
        self.buffer.borrow().sender.is_some()
    }

    /// Writes from now on where and how another one would have. What has been written goes where it belongs.
    pub fn become_like(&self, other: Self) {
        let mut next = other.buffer.into_inner();
        let mut buffer = self.buffer.borrow_mut();
        buffer.flush();
        next.dropped += std::mem::take(&mut buffer.dropped) + buffer.lost.swap(0, Ordering::Relaxed);
        *buffer = next;
    }

    /// Writes a line of a kind (`request`, `malformed`, `open`, `close`) with the fields that `fill` adds.
    pub fn write(&self, kind: &str, fill: impl FnOnce(Line<'_>) -> Line<'_>) {
        let buffer = &mut *self.buffer.borrow_mut();
        if buffer.sender.is_none() {
            return;
        }
        if buffer.lines.is_empty() {
            self.written.notify_one();
        }
        let now = SystemTime::now();
        fill(Line::begin(&mut buffer.lines, kind, now, &buffer.secret_parameters, buffer.format)).end();
        buffer.count += 1;
        if buffer.lines.len() >= BUFFER_FULL {
            buffer.flush();
        }
    }

    /// Whether lines say what page and what program a request comes from ([`Line::asker`]).
    pub fn names_asker(&self) -> bool {
        self.buffer.borrow().format == Format::Combined
    }

    /// Waits until there is something to hand over, where there was nothing.
    pub async fn written(&self) {
        self.written.notified().await;
    }

    /// Hands over what is there. Returns how many lines were dropped since the last call, because the writing thread
    /// was behind or could not write them. To be called a few times a second.
    pub fn flush(&self) -> u64 {
        let mut buffer = self.buffer.borrow_mut();
        buffer.flush();
        std::mem::take(&mut buffer.dropped) + buffer.lost.swap(0, Ordering::Relaxed)
    }
}

/// Lines that have not been handed over yet.
#[derive(Debug, Default)]
struct LogBuffer {
    lines: Vec<u8>,
    count: u64,
    dropped: u64,
    /// What the writing thread could not write, for whoever asks first.
    lost: Arc<AtomicU64>,
    /// None writes nothing.
    sender: Option<SyncSender<Vec<u8>>>,
    /// Query parameters whose values are secrets, besides the usual ones.
    secret_parameters: Vec<String>,
    format: Format,
}

impl LogBuffer {
    fn flush(&mut self) {
        let Some(sender) = self.sender.as_ref().filter(|_| !self.lines.is_empty()) else { return };
        let capacity = self.lines.capacity().min(BUFFER_FULL * 2);
        let lines = std::mem::replace(&mut self.lines, Vec::with_capacity(capacity));
        let count = std::mem::take(&mut self.count);
        match sender.try_send(lines) {
            Ok(()) => {}
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => self.dropped += count,
        }
    }
}

impl Drop for LogBuffer {
    fn drop(&mut self) {
        self.flush();
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn started(path: &Path) -> AccessLog {
        let rotation = Rotation::default();
        AccessLog::start(Sink::file(path, &rotation).unwrap(), &rotation).unwrap()
    }

    #[test]
    fn everything_handed_over_is_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("access.log");
        let log = started(&path);
        let worker = log.worker(Vec::new(), Format::Json);
        for n in 0..1000 {
            worker.write("request", |line| line.number("n", n));
        }
        drop(worker);
        log.finish();
        assert_eq!(std::fs::read_to_string(path).unwrap().lines().count(), 1000);
    }

    #[test]
    fn what_cannot_be_written_is_counted_too() {
        let log = started(Path::new("/dev/full"));
        let worker = log.worker(Vec::new(), Format::Json);
        worker.write("request", |line| line);
        worker.write("request", |line| line);
        assert_eq!(worker.flush(), 0);
        let lost = log.lost.clone();
        worker.become_like(WorkerLog::off());
        log.finish();
        assert_eq!(worker.flush() + lost.load(Ordering::Relaxed), 2);
    }

    #[test]
    fn each_line_goes_where_lines_went_when_it_was_written() {
        let folder = tempfile::tempdir().unwrap();
        let read = |name: &str| std::fs::read_to_string(folder.path().join(name)).unwrap();
        let start = |name: &str| started(&folder.path().join(name));
        let (first, second) = (start("first"), start("second"));
        let worker = first.worker(Vec::new(), Format::Json);
        worker.write("request", |line| line.number("n", 1));
        worker.become_like(WorkerLog::off());
        assert!(!worker.is_on());
        worker.write("request", |line| line.number("n", 2));
        worker.become_like(second.worker(Vec::new(), Format::Logfmt));
        worker.write("request", |line| line.number("n", 3));
        drop(worker);
        first.finish();
        second.finish();
        assert!(read("first").ends_with("\"n\":1}\n") && read("second").ends_with("n=3\n"));
    }

    #[test]
    fn lines_are_dropped_and_counted_when_the_writer_is_behind() {
        let (sender, receiver) = sync_channel(1);
        let mut buffer = LogBuffer::default();
        buffer.sender = Some(sender);
        let worker = WorkerLog { buffer: RefCell::new(buffer), written: Notify::new() };
        let mut dropped = 0;
        for _ in 0..2 {
            for _ in 0..3 {
                worker.write("request", |line| line);
            }
            dropped += worker.flush();
        }
        assert_eq!(dropped, 3);
        assert_eq!(receiver.recv().unwrap().iter().filter(|b| **b == b'\n').count(), 3);
    }
}
