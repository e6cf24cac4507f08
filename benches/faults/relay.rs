//! A relay between readers and Sidestream, or between it and Redis: a network that can be cut.

use std::cell::RefCell;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use fastrand::Rng;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{LocalSet, spawn_local};

/// One connection in so many breaks by itself soon after its beginning.
const BAD: u8 = 4;

/// So soon, in bytes.
const SOON: usize = 900;

/// The state of the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Line {
    Whole,
    /// All connections have been closed, and new ones are closed too.
    Cut,
    /// Nothing moves, and nobody is told. What was open in this state is closed when it ends.
    Silent,
    /// It ends.
    Over,
}

/// A running relay. It ends when it is dropped.
pub(super) struct Relay {
    /// Where it listens.
    pub(super) address: String,
    line: watch::Sender<Line>,
    to: Arc<Mutex<SocketAddr>>,
    thread: Option<JoinHandle<()>>,
}

impl Relay {
    /// Starts one in front of an address. Some of its connections break by themselves.
    pub(super) fn start(to: &str, rng: Rng) -> io::Result<Self> {
        Self::begin(to, Some(rng))
    }

    /// Starts one whose connections hold until it is told otherwise.
    pub(super) fn steady(to: &str) -> io::Result<Self> {
        Self::begin(to, None)
    }

    fn begin(to: &str, rng: Option<Rng>) -> io::Result<Self> {
        let to = Arc::new(Mutex::new(to.parse().map_err(io::Error::other)?));
        let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?.to_string();
        let (line, state) = watch::channel(Line::Whole);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let told = to.clone();
        let thread = std::thread::spawn(move || {
            // An error here is seen as readers that never come back.
            let _ = LocalSet::new().block_on(&runtime, relay(listener, told, state, rng));
        });
        Ok(Self { address, line, to, thread: Some(thread) })
    }

    /// Changes the state of the network.
    pub(super) fn set(&self, line: Line) {
        self.line.send_replace(line);
    }

    /// Leads to another address from the next connection on.
    ///
    /// # Errors
    /// If it is none.
    pub(super) fn lead_to(&self, address: &str) -> io::Result<()> {
        *self.to.lock().unwrap_or_else(PoisonError::into_inner) =
            address.parse().map_err(io::Error::other)?;
        Ok(())
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.set(Line::Over);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

async fn relay(
    listener: std::net::TcpListener,
    to: Arc<Mutex<SocketAddr>>,
    mut state: watch::Receiver<Line>,
    rng: Option<Rng>,
) -> io::Result<()> {
    let listener = TcpListener::from_std(listener)?;
    let rng = Rc::new(rng.map(RefCell::new));
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = state.wait_for(|line| *line == Line::Over) => return Ok(()),
        };
        let Ok((client, _)) = accepted else { continue };
        let (mut state, rng) = (state.clone(), rng.clone());
        let line = *state.borrow_and_update();
        let to = *to.lock().unwrap_or_else(PoisonError::into_inner);
        spawn_local(async move {
            match line {
                Line::Whole => carry(client, to, state, &rng).await,
                Line::Silent => _ = state.wait_for(|line| *line != Line::Silent).await,
                Line::Cut | Line::Over => {}
            }
        });
    }
}

/// Carries one connection until it ends, or the network does.
async fn carry(
    mut client: TcpStream,
    to: SocketAddr,
    mut state: watch::Receiver<Line>,
    rng: &Option<RefCell<Rng>>,
) {
    let Ok(mut server) = TcpStream::connect(to).await else { return };
    let is_bad = |rng: &&RefCell<Rng>| rng.borrow_mut().u8(0..BAD) == 0;
    let most = rng.as_ref().filter(is_bad).map_or(usize::MAX, |rng| rng.borrow_mut().usize(0..SOON));
    let (from_client, to_client) = client.split();
    let (from_server, to_server) = server.split();
    let line = tokio::select! {
        () = pump(from_client, to_server, usize::MAX, rng) => Line::Cut,
        () = pump(from_server, to_client, most, rng) => Line::Cut,
        line = state.wait_for(|line| *line != Line::Whole) => line.map_or(Line::Over, |line| *line),
    };
    if line == Line::Silent {
        let _ = state.wait_for(|line| *line != Line::Silent).await;
    }
}

/// Carries bytes one way, in pieces of any size, until an end is gone or `most` have been carried.
async fn pump(mut from: ReadHalf<'_>, mut to: WriteHalf<'_>, mut most: usize, rng: &Option<RefCell<Rng>>) {
    let mut buffer = [0; 4096];
    while most > 0 {
        let size =
            rng.as_ref().map_or(buffer.len(), |rng| rng.borrow_mut().usize(1..=buffer.len())).min(most);
        let Ok(read @ 1..) = from.read(&mut buffer[..size]).await else { break };
        if to.write_all(&buffer[..read]).await.is_err() {
            break;
        }
        most -= read;
    }
}
