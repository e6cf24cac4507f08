//! The thread that writes the access log, and the workers' way to it.

use std::cell::RefCell;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::SystemTime;

use tokio::sync::Notify;

use super::{Format, Line};

/// How many buffers may wait for the writing thread.
const QUEUED_BUFFERS: usize = 64;

/// A buffer this full is handed over without waiting for the next tick, in bytes.
const BUFFER_FULL: usize = 32 * 1024;

/// Where lines go.
#[derive(Debug)]
pub enum Sink {
    /// Standard output.
    Stdout,
    /// A file, appended to.
    File(File),
}

impl Sink {
    /// Opens a file to append to, and makes it if it is not there.
    pub fn file(path: &Path) -> io::Result<Self> {
        OpenOptions::new().append(true).create(true).open(path).map(Self::File)
    }

    fn write(&mut self, lines: &[u8]) -> io::Result<()> {
        match self {
            Self::Stdout => {
                let mut out = io::stdout().lock();
                out.write_all(lines)?;
                out.flush()
            }
            Self::File(file) => file.write_all(lines),
        }
    }
}

/// The writing thread. Ends, with all that was handed to it written, once every [`WorkerLog`] is gone and
/// [`AccessLog::finish`] is called.
#[derive(Debug)]
pub struct AccessLog {
    sender: SyncSender<Vec<u8>>,
    thread: JoinHandle<()>,
}

impl AccessLog {
    /// Starts the thread.
    pub fn start(sink: Sink) -> io::Result<Self> {
        let (sender, receiver) = sync_channel(QUEUED_BUFFERS);
        let thread = std::thread::Builder::new().name("access-log".into()).spawn(|| write(sink, receiver))?;
        Ok(Self { sender, thread })
    }

    /// A worker's end. `secret_parameters` are query parameters whose values are secrets, besides the usual ones.
    pub fn worker(&self, secret_parameters: Vec<String>, format: Format) -> WorkerLog {
        let buffer = LogBuffer {
            lines: Vec::with_capacity(BUFFER_FULL * 2),
            count: 0,
            dropped: 0,
            sender: self.sender.clone(),
        };
        WorkerLog { buffer: RefCell::new(buffer), secret_parameters, format, written: Notify::new() }
    }

    /// Waits until everything is written. Every worker's end must be gone, or this waits for it.
    pub fn finish(self) {
        drop(self.sender);
        if self.thread.join().is_err() {
            tracing::error!("the access log's thread panicked");
        }
    }
}

fn write(mut sink: Sink, buffers: Receiver<Vec<u8>>) {
    // Said once, not per buffer: a full disk would flood the error log too.
    let mut failing = false;
    for lines in buffers {
        match sink.write(&lines) {
            Ok(()) => failing = false,
            Err(error) if !failing => {
                failing = true;
                tracing::error!(%error, "cannot write the access log");
            }
            Err(_) => {}
        }
    }
}

/// A worker's end of the access log.
#[derive(Debug)]
pub struct WorkerLog {
    buffer: RefCell<LogBuffer>,
    secret_parameters: Vec<String>,
    format: Format,
    /// Told of the first line in an empty buffer.
    written: Notify,
}

impl WorkerLog {
    /// Writes a line of a kind (`request`, `malformed`, `open`, `close`) with the fields that `fill` adds.
    pub fn write(&self, kind: &str, fill: impl FnOnce(Line<'_>) -> Line<'_>) {
        let mut buffer = self.buffer.borrow_mut();
        if buffer.lines.is_empty() {
            self.written.notify_one();
        }
        let now = SystemTime::now();
        fill(Line::begin(&mut buffer.lines, kind, now, &self.secret_parameters, self.format)).end();
        buffer.count += 1;
        if buffer.lines.len() >= BUFFER_FULL {
            buffer.flush();
        }
    }

    /// Whether lines say what page and what program a request comes from ([`Line::asker`]).
    pub fn names_asker(&self) -> bool {
        self.format == Format::Combined
    }

    /// Waits until there is something to hand over, where there was nothing.
    pub async fn written(&self) {
        self.written.notified().await;
    }

    /// Hands over what is there. Returns how many lines were dropped since the last call, because the writing thread
    /// was behind. To be called a few times a second.
    pub fn flush(&self) -> u64 {
        let mut buffer = self.buffer.borrow_mut();
        buffer.flush();
        std::mem::take(&mut buffer.dropped)
    }
}

/// Lines that have not been handed over yet.
#[derive(Debug)]
struct LogBuffer {
    lines: Vec<u8>,
    count: u64,
    dropped: u64,
    sender: SyncSender<Vec<u8>>,
}

impl LogBuffer {
    fn flush(&mut self) {
        if self.lines.is_empty() {
            return;
        }
        let capacity = self.lines.capacity().min(BUFFER_FULL * 2);
        let lines = std::mem::replace(&mut self.lines, Vec::with_capacity(capacity));
        let count = std::mem::take(&mut self.count);
        match self.sender.try_send(lines) {
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
    use super::*;

    #[test]
    fn everything_handed_over_is_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("access.log");
        let log = AccessLog::start(Sink::file(&path).unwrap()).unwrap();
        let worker = log.worker(Vec::new(), Format::Json);
        for n in 0..1000 {
            worker.write("request", |line| line.number("n", n));
        }
        drop(worker);
        log.finish();
        assert_eq!(std::fs::read_to_string(path).unwrap().lines().count(), 1000);
    }

    #[test]
    fn lines_are_dropped_and_counted_when_the_writer_is_behind() {
        let (sender, receiver) = sync_channel(1);
        let buffer = LogBuffer { lines: Vec::new(), count: 0, dropped: 0, sender };
        let worker = WorkerLog {
            buffer: RefCell::new(buffer),
            secret_parameters: Vec::new(),
            format: Format::Json,
            written: Notify::new(),
        };
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
