//! Where a question goes: a server of an upstream, or a host under TLS.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};

use http::header::HeaderValue;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;

use crate::config::{Origin, Upstream};
use crate::tls;

/// Somewhere that answers.
#[derive(Debug, Clone)]
pub struct Place {
    origin: Origin,
    /// How TLS is spoken there; none verifies by the public authorities.
    tls: Option<Arc<ClientConfig>>,
}

/// A connection, plain or under TLS.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send {}

impl<S: AsyncRead + AsyncWrite + Send> Stream for S {}

impl Place {
    /// A place whose certificate, if it has one, is a public authority's.
    pub fn new(origin: Origin) -> Self {
        Self { origin, tls: None }
    }

    /// A place whose certificate is verified as `tls` says; none is by the public authorities.
    pub fn with(origin: Origin, tls: Option<Arc<ClientConfig>>) -> Self {
        Self { origin, tls }
    }

    /// The servers of an upstream, in their order.
    pub fn of(upstream: &Upstream) -> Vec<Self> {
        let tls = upstream.tls.as_ref().map(|tls| &tls.config);
        let place = |origin: &Origin| Self { origin: origin.clone(), tls: tls.cloned() };
        upstream.servers.iter().map(place).collect()
    }

    pub(super) async fn connect(&self) -> io::Result<Pin<Box<dyn Stream>>> {
        Ok(match &self.origin {
            Origin::Tcp { host, port } => Box::pin(tcp(host, *port).await?),
            Origin::Unix(path) => Box::pin(UnixStream::connect(path).await?),
            Origin::Tls { host, port } => {
                let name = ServerName::try_from(host.clone()).map_err(io::Error::other)?;
                let config = self.tls.clone().map_or_else(public, Ok)?;
                let connector = TlsConnector::from(config);
                // Boxed: a handshake is large.
                Box::pin(Box::pin(connector.connect(name, tcp(host, *port).await?)).await?)
            }
        })
    }

    /// Tries whether a connection can be made. Nothing is said on it, and no handshake is begun.
    ///
    /// # Errors
    /// What the system says when it cannot.
    pub async fn reach(&self) -> io::Result<()> {
        match &self.origin {
            Origin::Tcp { host, port } | Origin::Tls { host, port } => tcp(host, *port).await.map(drop),
            Origin::Unix(path) => UnixStream::connect(path).await.map(drop),
        }
    }

    /// What `Host` is when nobody says otherwise.
    pub(super) fn host(&self) -> HeaderValue {
        let (host, port, usual) = match &self.origin {
            Origin::Unix(_) => return HeaderValue::from_static("localhost"),
            Origin::Tcp { host, port } => (host, *port, 80),
            Origin::Tls { host, port } => (host, *port, 443),
        };
        let brackets = if host.contains(':') { ("[", "]") } else { ("", "") };
        let mut text = format!("{}{host}{}", brackets.0, brackets.1);
        if port != usual {
            text = format!("{text}:{port}");
        }
        HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static("localhost"))
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.origin.fmt(f)
    }
}

async fn tcp(host: &str, port: u16) -> io::Result<TcpStream> {
    let stream = TcpStream::connect((host, port)).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// The public authorities, read once.
fn public() -> io::Result<Arc<ClientConfig>> {
    static CONFIG: OnceLock<Arc<ClientConfig>> = OnceLock::new();
    if let Some(config) = CONFIG.get() {
        return Ok(config.clone());
    }
    let roots = RootCertStore::from_iter(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    let mut config = ClientConfig::builder_with_provider(tls::provider())
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(CONFIG.get_or_init(|| Arc::new(config)).clone())
}
