//! The thread that writes the access log, and the workers' way to it.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;

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

/// The writing thread. Ends, with all that was handed to it written, once every [`LogBuffer`] is gone and
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

    /// A worker's buffer.
    pub fn buffer(&self) -> LogBuffer {
        LogBuffer { lines: Vec::with_capacity(BUFFER_FULL * 2), count: 0, sender: self.sender.clone() }
    }

    /// Waits until everything is written. Every buffer must be gone, or this waits for it.
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

/// One worker's lines that have not been handed over yet.
#[derive(Debug)]
pub struct LogBuffer {
    lines: Vec<u8>,
    count: u64,
    sender: SyncSender<Vec<u8>>,
}

impl LogBuffer {
    /// Where to write the next line. Call [`LogBuffer::written`] after it.
    pub fn lines(&mut self) -> &mut Vec<u8> {
        &mut self.lines
    }

    /// Counts the line just written. Returns how many lines were dropped, if the buffer had to be handed over and
    /// could not be.
    pub fn written(&mut self) -> u64 {
        self.count += 1;
        if self.lines.len() >= BUFFER_FULL { self.flush() } else { 0 }
    }

    /// Hands the lines over. Returns how many were dropped because the writing thread is behind.
    pub fn flush(&mut self) -> u64 {
        if self.lines.is_empty() {
            return 0;
        }
        let capacity = self.lines.capacity().min(BUFFER_FULL * 2);
        let lines = std::mem::replace(&mut self.lines, Vec::with_capacity(capacity));
        let count = std::mem::take(&mut self.count);
        match self.sender.try_send(lines) {
            Ok(()) => 0,
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => count,
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
        let mut buffer = log.buffer();
        for n in 0..1000 {
            writeln!(buffer.lines(), "{n}").unwrap();
            assert_eq!(buffer.written(), 0);
        }
        drop(buffer);
        log.finish();
        assert_eq!(std::fs::read_to_string(path).unwrap().lines().count(), 1000);
    }

    #[test]
    fn lines_are_dropped_and_counted_when_the_writer_is_behind() {
        let (sender, receiver) = sync_channel(1);
        let mut buffer = LogBuffer { lines: Vec::new(), count: 0, sender };
        for _ in 0..2 {
            for _ in 0..3 {
                buffer.lines().extend_from_slice(b"line\n");
                buffer.written();
            }
            let dropped = buffer.flush();
            assert!(dropped == 0 || dropped == 3);
        }
        buffer.lines().extend_from_slice(b"line\n");
        buffer.written();
        assert_eq!(buffer.flush(), 1);
        assert_eq!(receiver.recv().unwrap(), b"line\nline\nline\n");
    }
}
