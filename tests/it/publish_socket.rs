//! The doors that the app publishes at, over real sockets, against a hub whose one worker only counts.

mod http;
mod ndjson;
mod peers;

use std::io::{self, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use serde_json::Value;
use sidestream::config::Secret;
use sidestream::event::{ChannelName, Epoch, Timestamp};
use sidestream::hub::{Hub, Position, Subscription, Work};
use sidestream::metrics::Counters;
use sidestream::publish::{self, Bounds, PublishSocket, Publisher};
use sidestream::shutdown::{self, Trigger};
use sidestream::store::{Limits, Memory};
use tempfile::TempDir;
use tokio::sync::Notify;
use tokio::task::LocalSet;

/// How long a test waits for anything.
const PATIENCE: Duration = Duration::from_secs(60);

/// The token of the door on TCP.
pub(crate) const TOKEN: &str = "s3cret";

/// The bounds of the tests: small where they are reached.
pub(crate) fn bounds() -> Bounds {
    Bounds { max_body: 4 << 20, ..Bounds::new(4096, 5) }
}

/// A hub for one worker.
pub(crate) fn hub() -> Hub {
    let limits = Limits {
        age: Duration::from_secs(3600),
        events: 100_000,
        bytes: 64 << 20,
        max_bytes: 64 << 20,
        max_channels: 1000,
    };
    Hub::new(1, Memory::new(limits), Epoch::from_bits(7))
}

pub(crate) fn counters() -> Arc<[Arc<Counters>]> {
    Arc::new([Arc::default()])
}

/// What a test may change.
struct Options {
    bounds: Bounds,
    allow_uids: Option<Vec<u32>>,
    /// Whether the worker waits for [`Doors::release`] before it counts.
    held: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { bounds: bounds(), allow_uids: None, held: false }
    }
}

/// Open doors, in a thread of their own. Closed and waited for when dropped.
struct Doors {
    folder: TempDir,
    hub: Hub,
    counters: Arc<[Arc<Counters>]>,
    tcp: SocketAddr,
    trigger: Trigger,
    worker: Arc<Notify>,
    thread: Option<JoinHandle<io::Result<()>>>,
}

impl Doors {
    fn open() -> Self {
        Self::with(Options::default())
    }

    fn with(options: Options) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let socket = PublishSocket::bind(&folder.path().join("p.sock"), 0o600, options.allow_uids).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let tcp = listener.local_addr().unwrap();
        let (hub, counters) = (hub(), counters());
        let publisher = Publisher::new(hub.clone(), options.bounds, counters.clone());
        let (trigger, signal) = shutdown::channel();
        let worker = Arc::new(Notify::new());
        if !options.held {
            worker.notify_one();
        }
        let work = count(hub.clone(), worker.clone());
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            LocalSet::new().block_on(&runtime, async {
                tokio::task::spawn_local(work);
                let http = Some((listener, Secret::resolve(TOKEN).unwrap()));
                publish::serve(publisher, Some(socket), http, signal)?.await;
                Ok(())
            })
        });
        Self { folder, hub, counters, tcp, trigger, worker, thread: Some(thread) }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("p.sock")
    }

    fn connect(&self) -> Peer {
        Peer::over(UnixStream::connect(self.path()).unwrap())
    }

    /// Lets the worker count.
    fn release(&self) {
        self.worker.notify_one();
    }

    /// A stream that is subscribed to these channels.
    fn subscribe(&self, channels: &[&str]) -> Subscription {
        let names: Vec<_> = channels.iter().map(|name| channel(name)).collect();
        self.hub.subscribe(0, None, &names, Position::Now, Timestamp::now()).unwrap().0
    }

    /// How many events a channel has.
    fn events(&self, name: &str) -> usize {
        self.hub.channel(&channel(name)).map_or(0, |info| info.events)
    }
}

impl Drop for Doors {
    fn drop(&mut self) {
        self.trigger.stop();
        let Some(thread) = self.thread.take() else { return };
        let ended = thread.join();
        if !std::thread::panicking() {
            ended.unwrap().unwrap();
        }
    }
}

/// A worker with one stream for every channel it is asked about.
async fn count(hub: Hub, begin: Arc<Notify>) {
    begin.notified().await;
    let mut batch = Vec::new();
    loop {
        hub.inbox(0).take(&mut batch).await;
        batch.drain(..).for_each(|work| match work {
            Work::Deliver(delivery) => delivery.counted(1),
            Work::Kick(kick) => kick.counted(1),
            other => panic!("{other:?}"),
        });
    }
}

pub(crate) fn channel(name: &str) -> ChannelName {
    ChannelName::new(name).unwrap()
}

/// Waits until something is so.
fn eventually(what: &str, so: impl Fn() -> bool) {
    let until = std::time::Instant::now() + PATIENCE;
    while !so() {
        assert!(std::time::Instant::now() < until, "{what} did not come");
        std::thread::yield_now();
    }
}

/// A publisher's end of a connection.
struct Peer {
    stream: UnixStream,
    read: Vec<u8>,
}

impl Peer {
    fn over(stream: UnixStream) -> Self {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        Self { stream, read: Vec::new() }
    }

    fn send(&mut self, bytes: impl AsRef<[u8]>) -> &mut Self {
        self.stream.write_all(bytes.as_ref()).unwrap();
        self
    }

    /// Sends what the other side may not want any more.
    fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.stream.write_all(bytes.as_ref())
    }

    fn finish(&self) {
        self.stream.shutdown(Shutdown::Write).unwrap();
    }

    /// The next line, as JSON.
    fn line(&mut self) -> Value {
        let line = self.until(b"\n");
        serde_json::from_slice(&line).unwrap_or_else(|error| panic!("{error}: {line:?}"))
    }

    /// What comes up to the first `end` and with it.
    fn until(&mut self, end: &[u8]) -> Vec<u8> {
        loop {
            if let Some(at) = self.read.windows(end.len()).position(|window| window == end) {
                return self.read.drain(..at + end.len()).collect();
            }
            let mut more = [0; 65536];
            let got = self.stream.read(&mut more).unwrap();
            assert!(got > 0, "closed after {:?}", String::from_utf8_lossy(&self.read));
            self.read.extend_from_slice(&more[..got]);
        }
    }

    /// Waits for the end, before which nothing more may come.
    fn closed(mut self) {
        match self.stream.read_to_end(&mut self.read) {
            Ok(_) => {}
            // The other side had not read everything.
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => {}
            Err(error) => panic!("{error}"),
        }
        assert_eq!(String::from_utf8_lossy(&self.read), "");
    }
}

/// Asserts that a reply is a receipt.
#[track_caller]
fn delivered(reply: &Value) -> u64 {
    assert!(reply["id"].is_string(), "{reply}");
    reply["delivered"].as_u64().unwrap()
}

/// Asserts that a reply is this error, about this field.
#[track_caller]
fn refused(reply: &Value, error: &str, field: Option<&str>) {
    assert_eq!(reply["error"], error, "{reply}");
    assert_eq!(reply["field"].as_str(), field, "{reply}");
    assert!(reply["message"].as_str().is_some_and(|message| message.len() > 5), "{reply}");
}
