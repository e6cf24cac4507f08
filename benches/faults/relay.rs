//! A relay between readers and Sidestream: a network that can be cut.

use std::cell::RefCell;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
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
    thread: Option<JoinHandle<()>>,
}

impl Relay {
    /// Starts one in front of an address.
    pub(super) fn start(to: &str, rng: Rng) -> io::Result<Self> {
        let to: SocketAddr = to.parse().map_err(io::Error::other)?;
        let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?.to_string();
        let (line, state) = watch::channel(Line::Whole);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let thread = std::thread::spawn(move || {
            // An error here is seen as readers that never come back.
            let _ = LocalSet::new().block_on(&runtime, relay(listener, to, state, rng));
        });
        Ok(Self { address, line, thread: Some(thread) })
    }

    /// Changes the state of the network.
    pub(super) fn set(&self, line: Line) {
        self.line.send_replace(line);
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
    to: SocketAddr,
    mut state: watch::Receiver<Line>,
    rng: Rng,
) -> io::Result<()> {
    let listener = TcpListener::from_std(listener)?;
    let rng = Rc::new(RefCell::new(rng));
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = state.wait_for(|line| *line == Line::Over) => return Ok(()),
        };
        let Ok((client, _)) = accepted else { continue };
        let (mut state, rng) = (state.clone(), rng.clone());
        let line = *state.borrow_and_update();
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
async fn carry(mut client: TcpStream, to: SocketAddr, mut state: watch::Receiver<Line>, rng: &RefCell<Rng>) {
    let Ok(mut server) = TcpStream::connect(to).await else { return };
    let most = {
        let rng = &mut *rng.borrow_mut();
        if rng.u8(0..BAD) == 0 { rng.usize(0..SOON) } else { usize::MAX }
    };
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
async fn pump(mut from: ReadHalf<'_>, mut to: WriteHalf<'_>, mut most: usize, rng: &RefCell<Rng>) {
    let mut buffer = [0; 4096];
    while most > 0 {
        let size = rng.borrow_mut().usize(1..=buffer.len()).min(most);
        let Ok(read @ 1..) = from.read(&mut buffer[..size]).await else { break };
        if to.write_all(&buffer[..read]).await.is_err() {
            break;
        }
        most -= read;
    }
}
