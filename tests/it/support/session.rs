//! TLS sessions of which a test looks at the handshake.

use std::io;
use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{
    ClientConfig, ClientConnection, HandshakeKind, ProtocolVersion, StreamOwned, SupportedProtocolVersion,
};

use super::tls::Anything;
use super::{Client, PATIENCE};

/// A connection, and what its handshake came to.
pub(crate) struct Session {
    pub(crate) client: Client,
    /// The certificate that the server showed; none of them is seen when a session is resumed under TLS 1.2.
    pub(crate) certificate: CertificateDer<'static>,
    pub(crate) alpn: Option<String>,
    pub(crate) version: ProtocolVersion,
    pub(crate) resumed: bool,
}

impl Session {
    /// Connects and shakes hands; an IP address for a host is a client that names none.
    pub(crate) fn begin(address: &str, host: &str, config: &Arc<ClientConfig>) -> io::Result<Self> {
        let mut tcp = TcpStream::connect(address)?;
        tcp.set_read_timeout(Some(PATIENCE))?;
        tcp.set_nodelay(true)?;
        let name = ServerName::try_from(host.to_owned()).unwrap();
        let mut session = ClientConnection::new(config.clone(), name).unwrap();
        while session.is_handshaking() {
            session.complete_io(&mut tcp)?;
        }
        let certificate = session.peer_certificates().unwrap()[0].clone();
        let alpn = session.alpn_protocol().map(|name| String::from_utf8(name.to_vec()).unwrap());
        let version = session.protocol_version().unwrap();
        let resumed = session.handshake_kind() == Some(HandshakeKind::Resumed);
        let handle = tcp.try_clone()?;
        let client = Client::over(StreamOwned::new(session, tcp), Some(handle));
        Ok(Self { client, certificate, alpn, version, resumed })
    }
}

/// A client's configuration for one version of TLS.
pub(crate) fn config_of(version: &'static SupportedProtocolVersion) -> Arc<ClientConfig> {
    let builder = ClientConfig::builder_with_provider(sidestream::tls::provider());
    let verifier = Arc::new(Anything);
    let builder = builder.with_protocol_versions(&[version]).unwrap().dangerous();
    Arc::new(builder.with_custom_certificate_verifier(verifier).with_no_client_auth())
}

/// The certificate that [`super::tls::certificate`] wrote.
pub(crate) fn written(folder: &Path, name: &str) -> CertificateDer<'static> {
    CertificateDer::from_pem_file(folder.join(format!("{name}.crt"))).unwrap()
}
