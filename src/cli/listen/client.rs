//! One HTTP/1.1 connection per attempt, plain or under TLS.
//!
//! Invariant: every wait up to the response head is bounded; the stream itself may be silent for as long as it likes,
//! TCP keepalive finds a peer that is gone.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::uri::Scheme;
use http::{Request, Response, Uri};
use http_body_util::Empty;
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use crate::cli::failure::Failure;

use super::ListenError;

/// How long a connection, handshake included, may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long the server may think before it answers.
pub(super) const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// When TCP begins to ask whether a silent peer is still there, and how often then.
const KEEPALIVE: Duration = Duration::from_secs(30);

/// Where to connect, and how.
pub(super) struct Connector {
    host: String,
    port: u16,
    tls: Option<(TlsConnector, ServerName<'static>)>,
}

impl Connector {
    /// Reads the place from a URL; `insecure` accepts any certificate.
    pub(super) fn new(url: &Uri, insecure: bool) -> Result<Self, Failure> {
        let tls = url.scheme() == Some(&Scheme::HTTPS);
        // Brackets of an IPv6 address belong to the URL, not to the address.
        let host = url.host().unwrap_or_default().trim_matches(['[', ']']).to_owned();
        let port = url.port_u16().unwrap_or(if tls { 443 } else { 80 });
        let tls = if tls { Some(tls_for(&host, insecure)?) } else { None };
        Ok(Self { host, port, tls })
    }

    /// Sends a request on a connection of its own and returns once the response's head is there.
    pub(super) async fn send(
        &self,
        request: Request<Empty<Bytes>>,
    ) -> Result<Response<Incoming>, ListenError> {
        let place = format!("{}:{}", self.host, self.port);
        let connected = within(CONNECT_TIMEOUT, self.connect()).await;
        let stream = connected.map_err(|error| ListenError::Unreachable(no_connection(&place, error)))?;
        let answered = within(HEAD_TIMEOUT, exchange(stream, request)).await;
        answered.map_err(|error| {
            ListenError::Unreachable(
                Failure::new(format!("{place} did not answer"))
                    .because(error)
                    .help("does it speak HTTP/1.1?"),
            )
        })
    }

    async fn connect(&self) -> io::Result<Box<dyn Stream>> {
        let stream = TcpStream::connect((self.host.as_str(), self.port)).await?;
        let keepalive = socket2::TcpKeepalive::new().with_time(KEEPALIVE).with_interval(KEEPALIVE);
        socket2::SockRef::from(&stream).set_tcp_keepalive(&keepalive)?;
        Ok(match &self.tls {
            Some((connector, name)) => Box::new(connector.connect(name.clone(), stream).await?),
            None => Box::new(stream),
        })
    }
}

/// A connection, plain or under TLS.
trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

async fn within<T>(limit: Duration, work: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    timeout(limit, work).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

async fn exchange(stream: Box<dyn Stream>, request: Request<Empty<Bytes>>) -> io::Result<Response<Incoming>> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
    // It ends with the response's body, and what broke it is seen there.
    tokio::spawn(connection);
    sender.send_request(request).await.map_err(io::Error::other)
}

fn no_connection(place: &str, error: io::Error) -> Failure {
    let certificate = error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<rustls::Error>())
        .is_some_and(|inner| matches!(inner, rustls::Error::InvalidCertificate(_)));
    let help = match error.kind() {
        _ if certificate => "for a self-signed certificate of your own, give --insecure",
        io::ErrorKind::ConnectionRefused => "nobody listens there: is the server running, and on this port?",
        io::ErrorKind::InvalidData => "does that port speak TLS? If not, write http://",
        _ => "check the host and port of the URL",
    };
    Failure::new(format!("cannot connect to {place}")).because(error).help(help)
}

fn tls_for(host: &str, insecure: bool) -> Result<(TlsConnector, ServerName<'static>), Failure> {
    let name = ServerName::try_from(host.to_owned())
        .map_err(|error| Failure::new(format!("{host:?} is no host name")).because(error))?;
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| Failure::new("TLS cannot be set up").because(error))?;
    let mut config = if insecure {
        builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(AnyCertificate(provider)))
            .with_no_client_auth()
    } else {
        let roots = RootCertStore::from_iter(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
        builder.with_root_certificates(roots).with_no_client_auth()
    };
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok((TlsConnector::from(Arc::new(config)), name))
}

/// Takes whatever certificate there is: what `--insecure` asks for. Signatures are still checked.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, signed, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, signed, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
