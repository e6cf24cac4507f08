//! The nodes of a deployment: each a program of its own, with a relay of its own between it and Redis.

use std::io::{self, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::options::Options;
use super::program::{Place, Program};
use super::relay::Relay;
use super::world::World;

/// How long a node may take to say how it is, where it does not hang.
const GLANCE: Duration = Duration::from_secs(1);

/// One node.
pub(super) struct Node {
    pub(super) relay: Relay,
    place: Place,
    program: Option<Program>,
}

/// All of them.
pub(super) struct Nodes(pub(super) Vec<Node>);

impl Nodes {
    /// Starts as many as the options say over the Redis at `address`.
    pub(super) fn start(options: &Options, address: &str) -> io::Result<Self> {
        let start = |_| {
            let relay = Relay::steady(address)?;
            let place = Place::over_redis(options, &relay.address)?;
            let program = Some(place.run()?);
            Ok(Node { relay, place, program })
        };
        (0..options.nodes).map(start).collect::<io::Result<_>>().map(Self)
    }

    pub(super) fn sockets(&self) -> Vec<std::path::PathBuf> {
        self.0.iter().map(|node| node.place.socket()).collect()
    }

    /// Says where they all are. One that is down is where it was: nobody listens there.
    pub(super) fn tell(&self, world: &World) {
        let addresses = self.0.iter().filter_map(|node| Some(node.program.as_ref()?.address.clone()));
        world.move_all(addresses.collect());
    }

    /// Waits until each of these nodes says that it is well, or that it is not. How long that took.
    ///
    /// # Errors
    /// If it takes longer than `patience`.
    pub(super) fn wait(&self, of: &[usize], is_well: bool, patience: Duration) -> io::Result<Duration> {
        let begun = Instant::now();
        let mut left = of.to_vec();
        loop {
            left.retain(|node| health(&self.0[*node].place.socket()).ok() != Some(is_well));
            if left.is_empty() {
                return Ok(begun.elapsed());
            }
            if begun.elapsed() > patience {
                let what = if is_well { "well" } else { "degraded" };
                return Err(io::Error::other(format!("the nodes {left:?} do not say that they are {what}")));
            }
            sleep(Duration::from_millis(5));
        }
    }
}

impl Node {
    /// Ends it where it stands.
    pub(super) fn kill(&mut self) -> io::Result<()> {
        self.program.take().map_or(Ok(()), Program::kill)
    }

    /// Starts it again.
    pub(super) fn start_again(&mut self) -> io::Result<()> {
        self.program = Some(self.place.run()?);
        Ok(())
    }
}

/// Whether a node says that it is well.
fn health(socket: &Path) -> io::Result<bool> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(GLANCE))?;
    stream.write_all(b"GET /healthz HTTP/1.0\r\nHost: faults\r\n\r\n")?;
    let mut said = String::new();
    stream.read_to_string(&mut said)?;
    Ok(said.contains("\"status\":\"ok\""))
}
