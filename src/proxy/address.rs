//! Where a server is, and how it is connected to.
//!
//! Invariant: nothing is pinned. A name is looked up again every few seconds, and the path of a Unix socket at every
//! connection: a deploy puts another machine behind the name, and another socket in the place of the old.

use std::cell::RefCell;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::{TcpStream, UnixStream, lookup_host};
use tokio::time::{Instant, sleep, timeout};
use tokio_rustls::TlsConnector;

use super::error::AppFault;
use super::link::Link;
use crate::config::Origin;
use crate::transport::Socket;

/// For how long the addresses of a name are used.
const NAME_LIFE: Duration = Duration::from_secs(5);

/// The most addresses of one name that are tried.
const MAX_ADDRESSES: usize = 8;

/// The pause before a Unix socket whose queue is full is tried again.
const FULL_QUEUE_PAUSE: Duration = Duration::from_millis(10);

/// A server's address.
#[derive(Debug)]
pub(super) struct Address {
    place: Place,
    tls: Option<Tls>,
}

#[derive(Debug)]
enum Place {
    Unix(PathBuf),
    Ip(SocketAddr),
    Name(Name),
}

/// Boxed where it is kept: few servers have it.
type Tls = Box<(Option<Arc<ClientConfig>>, String)>;

impl Address {
    /// The address of a server that is spoken to in TLS, if it is, in this way.
    pub(super) fn new(origin: &Origin, tls: Option<&Arc<ClientConfig>>) -> Self {
        let of_host = |host: &String, port: u16| match host.parse::<IpAddr>() {
            Ok(ip) => Place::Ip(SocketAddr::new(ip, port)),
            Err(_) => Place::Name(Name { host: host.clone(), port, known: RefCell::default() }),
        };
        match origin {
            Origin::Unix(path) => Self { place: Place::Unix(path.clone()), tls: None },
            Origin::Tcp { host, port } => Self { place: of_host(host, *port), tls: None },
            Origin::Tls { host, port } => {
                Self { place: of_host(host, *port), tls: Some(Box::new((tls.cloned(), host.clone()))) }
            }
        }
    }

    /// Makes a connection within that time.
    pub(super) async fn connect(&self, within: Duration) -> Result<Link, AppFault> {
        let connected = timeout(within, async {
            let socket = match &self.place {
                Place::Unix(path) => unix(path).await.map_err(AppFault::Connect)?,
                Place::Ip(address) => tcp(*address).await.map_err(AppFault::Connect)?,
                Place::Name(name) => name.connect(within).await?,
            };
            let Some(tls) = &self.tls else { return Ok(Link::Plain(socket)) };
            let (config, host) = &**tls;
            // Boxed: a handshake is large.
            Box::pin(handshake(socket, config.clone(), host)).await.map_err(AppFault::Connect)
        });
        connected.await.unwrap_or(Err(AppFault::ConnectTimeout))
    }
}

async fn unix(path: &PathBuf) -> io::Result<Socket> {
    loop {
        match UnixStream::connect(path).await {
            // The app's queue is full. TCP would wait for it by itself.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => sleep(FULL_QUEUE_PAUSE).await,
            connected => return connected.map(Socket::from),
        }
    }
}

async fn tcp(address: SocketAddr) -> io::Result<Socket> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    Ok(stream.into())
}

async fn handshake(socket: Socket, config: Option<Arc<ClientConfig>>, host: &str) -> io::Result<Link> {
    let config = config.ok_or_else(|| io::Error::other("there is no configuration of TLS"))?;
    let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
    let stream = TlsConnector::from(config).connect(name, socket).await?;
    Ok(Link::Tls(Box::new(stream)))
}

/// A host that has a name, and what it was found to be.
#[derive(Debug)]
struct Name {
    host: String,
    port: u16,
    known: RefCell<Option<(Instant, Vec<SocketAddr>)>>,
}

impl Name {
    /// Connects to the first of its addresses that answers. Each has its share of the time, so that one that is
    /// silent does not take it from the others.
    async fn connect(&self, within: Duration) -> Result<Socket, AppFault> {
        let addresses = self.addresses().await.map_err(AppFault::Resolve)?;
        let share = within / u32::try_from(addresses.len()).unwrap_or(1).max(1);
        let mut last = AppFault::Resolve(io::ErrorKind::NotFound.into());
        for address in addresses {
            last = match timeout(share, tcp(address)).await {
                Ok(Ok(socket)) => return Ok(socket),
                Ok(Err(error)) => AppFault::Connect(error),
                Err(_) => AppFault::ConnectTimeout,
            };
        }
        // Behind the name there may be others by now.
        *self.known.borrow_mut() = None;
        Err(last)
    }

    /// Its addresses. One connection looks them up anew, and the others go on with the old ones meanwhile; so does that one
    /// if nobody tells it: if they are of no use any more, they are forgotten.
    async fn addresses(&self) -> io::Result<Vec<SocketAddr>> {
        let now = Instant::now();
        let old = match &mut *self.known.borrow_mut() {
            Some((since, addresses)) => {
                if now.duration_since(*since) < NAME_LIFE {
                    return Ok(addresses.clone());
                }
                *since = now;
                Some(addresses.clone())
            }
            None => None,
        };
        match lookup_host((self.host.as_str(), self.port)).await {
            Ok(found) => {
                let found: Vec<_> = found.take(MAX_ADDRESSES).collect();
                *self.known.borrow_mut() = Some((now, found.clone()));
                Ok(found)
            }
            Err(error) => old.ok_or(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;
    use tokio::time::advance;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(10);

    fn name(host: &str, port: u16, known: Vec<SocketAddr>) -> Name {
        Name { host: host.to_owned(), port, known: RefCell::new(Some((Instant::now(), known))) }
    }

    async fn listener() -> (TcpListener, SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        (listener, address)
    }

    #[tokio::test]
    async fn the_next_address_is_tried_and_all_are_forgotten_when_none_answers() {
        let (gone, dead) = listener().await;
        let (listener, live) = listener().await;
        drop(gone);
        let name = name("127.0.0.1", live.port(), vec![dead, live]);
        assert!(name.connect(PATIENCE).await.is_ok());
        assert!(name.known.borrow().is_some());
        drop(listener);
        assert!(name.connect(PATIENCE).await.is_err());
        assert!(name.known.borrow().is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn addresses_are_not_known_for_long() {
        let old: SocketAddr = "127.0.0.9:1".parse().unwrap();
        let name = name("127.0.0.1", 7, vec![old]);
        advance(NAME_LIFE - Duration::from_millis(1)).await;
        assert_eq!(name.addresses().await.unwrap(), [old]);
        advance(Duration::from_millis(1)).await;
        assert_eq!(name.addresses().await.unwrap(), ["127.0.0.1:7".parse().unwrap()]);
    }

    #[tokio::test(start_paused = true)]
    async fn old_addresses_are_better_than_none() {
        let old: SocketAddr = "127.0.0.9:1".parse().unwrap();
        let name = name("app.invalid", 7, vec![old]);
        advance(NAME_LIFE).await;
        assert_eq!(name.addresses().await.unwrap(), [old]);
        *name.known.borrow_mut() = None;
        assert!(name.addresses().await.is_err());
    }

    #[tokio::test]
    async fn a_full_queue_is_waited_for() {
        use socket2::{Domain, SockAddr, Socket as RawSocket, Type};

        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("app.sock");
        let socket = RawSocket::new(Domain::UNIX, Type::STREAM, None).unwrap();
        socket.bind(&SockAddr::unix(&path).unwrap()).unwrap();
        socket.listen(0).unwrap();
        let origin = Origin::Unix(path);
        let address = Address::new(&origin, None);
        let first = address.connect(PATIENCE).await.unwrap();
        let second = address.connect(Duration::from_millis(50)).await;
        assert!(matches!(second, Err(AppFault::ConnectTimeout)), "{second:?}");
        let (connected, accepted) = tokio::join!(address.connect(PATIENCE), async { socket.accept() });
        assert!(connected.is_ok() && accepted.is_ok());
        drop(first);
    }
}
