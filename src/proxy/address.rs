//! Where a server is, and how it is connected to.
//!
//! Invariants: nothing is pinned. A name is looked up again every few seconds, and the path of a Unix socket at every
//! connection: a deploy puts another machine behind the name, and another socket in the place of the old. A name is
//! looked up by one thread at a time, whatever becomes of who asked: a name server that does not answer would else take
//! every thread there is.

use std::cell::RefCell;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::{TcpStream, UnixStream, lookup_host};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};
use tokio_rustls::TlsConnector;

use super::error::AppFault;
use super::link::Link;
use crate::config::Origin;
use crate::transport::Socket;

/// For how long the addresses of a name are used.
const NAME_LIFE: Duration = Duration::from_secs(5);

/// How long addresses that are older than that are waited to be found again, before the old ones are used.
const GRACE: Duration = Duration::from_millis(500);

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
            Err(_) => Place::Name(Name {
                host: host.clone(),
                port,
                known: RefCell::default(),
                asked: RefCell::default(),
            }),
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
    /// Where the answer comes that has been asked for.
    asked: RefCell<Option<watch::Receiver<Option<Found>>>>,
}

/// What a name was found to be, and when.
type Found = (Instant, Result<Vec<SocketAddr>, Arc<io::Error>>);

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

    /// Its addresses. Of old ones, one connection waits a moment for new ones, and the others go on meanwhile.
    async fn addresses(&self) -> io::Result<Vec<SocketAddr>> {
        self.take_answer();
        let old = match &mut *self.known.borrow_mut() {
            Some((since, addresses)) => {
                let now = Instant::now();
                if now.duration_since(*since) < NAME_LIFE {
                    return Ok(addresses.clone());
                }
                *since = now;
                Some(addresses.clone())
            }
            None => None,
        };
        let Some(old) = old else { return self.look_up().await };
        match timeout(GRACE, self.look_up()).await {
            Ok(Ok(found)) => Ok(found),
            _ => Ok(old),
        }
    }

    /// Looks it up, or waits for who does so already.
    async fn look_up(&self) -> io::Result<Vec<SocketAddr>> {
        let mut answer = self.asked.borrow_mut().get_or_insert_with(|| self.ask()).clone();
        let found = answer.wait_for(Option::is_some).await.ok().and_then(|found| found.clone());
        self.take_answer();
        match found {
            Some((_, found)) => found.map_err(|error| io::Error::new(error.kind(), error)),
            None => Err(io::Error::other("the look-up did not end")),
        }
    }

    /// Asks the system, which goes on when nobody waits for it any more.
    fn ask(&self) -> watch::Receiver<Option<Found>> {
        let (answer, asked) = watch::channel(None);
        let host = (self.host.clone(), self.port);
        tokio::spawn(async move {
            let found = lookup_host(host).await.map(|found| found.take(MAX_ADDRESSES).collect());
            // There may be nobody left.
            let _ = answer.send(Some((Instant::now(), found.map_err(Arc::new))));
        });
        asked
    }

    /// Takes over the answer, if it has come.
    fn take_answer(&self) {
        let mut asked = self.asked.borrow_mut();
        let Some(answer) = &*asked else { return };
        let found = answer.borrow().clone();
        // It has also ended if it will never come.
        if found.is_none() && answer.has_changed().is_ok() {
            return;
        }
        *asked = None;
        if let Some((since, Ok(addresses))) = found {
            *self.known.borrow_mut() = Some((since, addresses));
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;
    use tokio::time::advance;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(60);

    fn name(host: &str, port: u16, known: Vec<SocketAddr>) -> Name {
        let known = RefCell::new(Some((Instant::now(), known)));
        Name { host: host.to_owned(), port, known, asked: RefCell::default() }
    }

    /// An address where nobody listens, and which the system gives to nobody else meanwhile.
    fn held() -> (socket2::Socket, SocketAddr) {
        let held = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        held.set_reuse_address(true).unwrap();
        held.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
        let address = held.local_addr().unwrap().as_socket().unwrap();
        (held, address)
    }

    #[tokio::test]
    async fn the_next_address_is_tried_and_all_are_forgotten_when_none_answers() {
        let ((_one, dead), (_other, live)) = (held(), held());
        let listener = TcpListener::bind(live).await.unwrap();
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

    #[tokio::test(start_paused = true)]
    async fn a_name_server_that_is_silent_is_asked_once_and_old_addresses_are_used_meanwhile() {
        let old: SocketAddr = "127.0.0.9:1".parse().unwrap();
        let new: SocketAddr = "127.0.0.8:1".parse().unwrap();
        let name = name("app.invalid", 7, vec![old]);
        let (answer, asked) = watch::channel(None);
        *name.asked.borrow_mut() = Some(asked);
        advance(NAME_LIFE).await;
        let begun = Instant::now();
        assert_eq!(name.addresses().await.unwrap(), [old]);
        assert_eq!(begun.elapsed(), GRACE, "only who looked waits, and not for long");
        assert_eq!(name.addresses().await.unwrap(), [old]);
        assert_eq!(begun.elapsed(), GRACE);
        // Nobody knows any, and whoever asks waits for the same answer.
        *name.known.borrow_mut() = None;
        for _ in 0..3 {
            assert!(timeout(PATIENCE, name.addresses()).await.is_err());
        }
        assert_eq!(answer.receiver_count(), 1, "it is still the one");
        let answered = async { answer.send(Some((Instant::now(), Ok(vec![new])))).unwrap() };
        let (one, two, ()) = tokio::join!(name.addresses(), name.addresses(), answered);
        assert_eq!((one.unwrap(), two.unwrap()), (vec![new], vec![new]));
        assert!(name.asked.borrow().is_none());
        // One that came when nobody waited counts too, and one that never will is asked for again.
        for (found, expected) in [(Some((Instant::now(), Ok(vec![old]))), Some(old)), (None, None)] {
            *name.known.borrow_mut() = None;
            let (answer, asked) = watch::channel(None);
            *name.asked.borrow_mut() = Some(asked);
            if let Some(found) = found {
                answer.send(Some(found)).unwrap();
            }
            drop(answer);
            assert_eq!(name.addresses().await.ok().map(|found| found[0]), expected);
        }
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
