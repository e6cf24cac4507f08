//! The server's memory, looked at again and again by a thread of its own.

use std::fs;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use serde::Serialize;

use crate::cost::Server;

/// The pause between two looks.
const PAUSE: Duration = Duration::from_millis(100);

/// Memory at one moment, or the most of each kind over some time. In KiB.
#[derive(Debug, Default, Clone, Copy, Serialize)]
pub(crate) struct Memory {
    /// Of the server's processes.
    pub(crate) server: u64,
    /// What the kernel holds for all TCP sockets of the machine, both ends.
    pub(crate) sockets: u64,
}

impl Memory {
    /// What it is now.
    ///
    /// # Errors
    /// If it may not be read.
    pub(crate) fn now(server: &Server) -> io::Result<Self> {
        let sockets = sockets(&fs::read_to_string("/proc/net/sockstat")?).unwrap_or(0);
        Ok(Self { server: server.cost()?.memory, sockets })
    }
}

/// A thread that looks until it is told to stop.
#[derive(Debug)]
pub(crate) struct Sampler {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<io::Result<Memory>>,
}

impl Sampler {
    /// Begins to look.
    pub(crate) fn start(server: Server) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let told = stop.clone();
        let thread = thread::spawn(move || {
            let mut most = Memory::default();
            loop {
                let Memory { server, sockets } = Memory::now(&server)?;
                most = Memory { server: most.server.max(server), sockets: most.sockets.max(sockets) };
                if told.load(Ordering::Relaxed) {
                    return Ok(most);
                }
                thread::sleep(PAUSE);
            }
        });
        Self { stop, thread }
    }

    /// Stops, and says the most of each kind that was seen.
    ///
    /// # Errors
    /// If it could not be read.
    pub(crate) fn stop(self) -> io::Result<Memory> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().map_err(|_| io::Error::other("the sampler panicked"))?
    }
}

/// The memory of TCP in KiB out of /proc/net/sockstat, which counts pages.
fn sockets(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("TCP:"))?;
    let pages: u64 = line.split_once(" mem ")?.1.split_ascii_whitespace().next()?.parse().ok()?;
    Some(pages * (rustix::param::page_size() as u64 / 1024))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_memory_of_sockets() {
        let page = rustix::param::page_size() as u64 / 1024;
        let text = "sockets: used 24\nTCP: inuse 1 orphan 0 tw 12 alloc 1 mem 26\nUDP: inuse 0 mem 7\n";
        assert_eq!(sockets(text), Some(26 * page));
        assert_eq!(sockets("UDP: inuse 0 mem 7\n"), None);
    }

    #[test]
    fn this_process_is_seen() {
        let sampler = Sampler::start(Server::new(vec![std::process::id()]));
        assert!(sampler.stop().unwrap().server > 100);
    }
}
