//! What the app is told of the client: forwarding fields, replaced unless who sent them is trusted.

use std::net::{IpAddr, SocketAddr};

use base64::prelude::{BASE64_STANDARD, Engine as _};
use http::header::{HeaderMap, HeaderName, HeaderValue};

/// Fields that only a trusted proxy may set. All others that begin with [`PREFIX`] go with them.
const OWN: [&str; 5] = ["forwarded", "x-real-ip", "x-request-id", "x-client-ip", "x-original-url"];
const PREFIX: &str = "x-forwarded-";

pub(super) const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
pub(super) const X_FORWARDED_PREFIX: HeaderName = HeaderName::from_static("x-forwarded-prefix");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_FORWARDED_PORT: HeaderName = HeaderName::from_static("x-forwarded-port");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");
/// The certificate that a client showed (RFC 9440).
const CLIENT_CERT: HeaderName = HeaderName::from_static("client-cert");

/// What apps take for a word on the client's certificate. It goes out by nobody but us, whoever sends it.
const CERTIFICATES: [&str; 4] = ["client-cert", "x-client-cert", "x-ssl-client", "ssl-client"];

/// How many entries of an `X-Forwarded-For` are looked at from its end.
const MAX_HOPS: usize = 16;

/// Where a connection comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PeerAddress {
    /// Over TCP.
    Ip(SocketAddr),
    /// Over a Unix socket.
    Unix,
}

/// The other end of a connection.
#[derive(Debug, Clone)]
pub struct Peer {
    /// Its address.
    pub address: PeerAddress,
    /// Its address as the app is told it.
    pub text: HeaderValue,
    /// Whether the connection is encrypted.
    pub tls: bool,
    /// Whether what it says of others is believed.
    pub trusted: bool,
    /// The certificate that it showed, as the app is told it.
    pub certificate: Option<HeaderValue>,
}

impl Peer {
    /// Describes a peer.
    pub fn new(address: PeerAddress, tls: bool, trusted: bool) -> Self {
        let text = match address {
            PeerAddress::Ip(address) => HeaderValue::from_str(&address.ip().to_canonical().to_string()),
            PeerAddress::Unix => Ok(HeaderValue::from_static("127.0.0.1")),
        };
        // An address in text is visible ASCII.
        let text = text.unwrap_or(HeaderValue::from_static("unknown"));
        Self { address, text, tls, trusted, certificate: None }
    }

    /// With the certificate that it showed, in DER.
    pub fn with_certificate(self, der: &[u8]) -> Self {
        // A byte sequence of structured fields (RFC 8941, section 3.3.5): visible ASCII.
        let text = format!(":{}:", BASE64_STANDARD.encode(der));
        Self { certificate: HeaderValue::try_from(text).ok(), ..self }
    }

    /// The client's address: the peer's own, or what trusted proxies say it is, walking `X-Forwarded-For` from its
    /// end over those that are trusted. What does not parse ends the walk.
    pub fn client(&self, fields: &HeaderMap, is_trusted: impl Fn(IpAddr) -> bool) -> Option<IpAddr> {
        let mut client = match self.address {
            PeerAddress::Ip(address) => Some(address.ip().to_canonical()),
            PeerAddress::Unix => None,
        };
        if !self.trusted {
            return client;
        }
        // A line that is not text is not left out: what stands before its end is nobody's word.
        let lines: Vec<_> = fields.get_all(X_FORWARDED_FOR).iter().map(HeaderValue::as_bytes).collect();
        let entries = lines.iter().rev().flat_map(|line| line.rsplit(|byte| *byte == b','));
        for entry in entries.take(MAX_HOPS) {
            let entry = std::str::from_utf8(entry.trim_ascii()).unwrap_or_default();
            let Some(address) = parse_node(entry) else {
                break;
            };
            client = Some(address);
            if !is_trusted(address) {
                break;
            }
        }
        client
    }
}

impl Peer {
    /// Whether the client came by TLS: to us, or to a trusted proxy in front of us, which says so.
    pub fn is_secure(&self, fields: &HeaderMap) -> bool {
        match fields.get(X_FORWARDED_PROTO) {
            Some(scheme) if self.trusted => scheme.as_bytes().eq_ignore_ascii_case(b"https"),
            _ => self.tls,
        }
    }
}

/// An address with or without a port, bracketed or not.
fn parse_node(text: &str) -> Option<IpAddr> {
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    let address = bare.parse::<IpAddr>().ok().or_else(|| Some(text.parse::<SocketAddr>().ok()?.ip()))?;
    Some(address.to_canonical())
}

/// Says what the app is told: `X-Forwarded-Proto`, `-Host`, `-Port` and `X-Real-IP`, but for those that are kept as the
/// peer says them, and the client's certificate.
pub(super) fn say_forwarded(
    peer: &Peer,
    host: Option<&HeaderValue>,
    kept: impl Fn(&HeaderName) -> bool,
    mut line: impl FnMut(&HeaderName, &[u8]),
) {
    if !kept(&X_REAL_IP) {
        line(&X_REAL_IP, peer.text.as_bytes());
    }
    if let Some(certificate) = &peer.certificate {
        line(&CLIENT_CERT, certificate.as_bytes());
    }
    if !kept(&X_FORWARDED_PROTO) {
        line(&X_FORWARDED_PROTO, if peer.tls { b"https" } else { b"http" });
    }
    let Some(host) = host else { return };
    if !kept(&X_FORWARDED_HOST) {
        line(&X_FORWARDED_HOST, host.as_bytes());
    }
    if !kept(&X_FORWARDED_PORT) {
        let port = named_port(host).unwrap_or(if peer.tls { 443 } else { 80 });
        line(&X_FORWARDED_PORT, itoa::Buffer::new().format(port).as_bytes());
    }
}

/// Whether this speaks of the client's certificate, which nobody may do but us.
pub(super) fn is_of_certificate(name: &str) -> bool {
    CERTIFICATES.iter().any(|begin| name.starts_with(begin))
}

/// Whether only a trusted proxy may say this.
pub(super) fn is_forwarding(name: &str) -> bool {
    name.starts_with(PREFIX) || OWN.contains(&name)
}

fn named_port(host: &HeaderValue) -> Option<u16> {
    let host = host.to_str().ok()?;
    host[super::host_without_port(host).len()..].strip_prefix(':')?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(lines: &[(&'static str, &str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in lines {
            map.append(HeaderName::from_static(name), HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        map
    }

    fn peer(trusted: bool) -> Peer {
        Peer::new(PeerAddress::Ip("10.0.0.1:5000".parse().unwrap()), true, trusted)
    }

    #[test]
    fn the_client_is_the_last_that_nobody_trusted_vouches_for() {
        let trusted = |address: IpAddr| address.to_string().starts_with("10.");
        for (chain, client) in [
            ("1.2.3.4", "1.2.3.4"),
            ("6.6.6.6, 1.2.3.4, 10.0.0.2", "1.2.3.4"),
            ("6.6.6.6, 1.2.3.4:80, 10.0.0.2", "1.2.3.4"),
            ("[2001:db8::1]:80", "2001:db8::1"),
            ("[2001:db8::1]", "2001:db8::1"),
            ("1.2.3.4, garbage, 10.0.0.2", "10.0.0.2"),
            ("garbage", "10.0.0.1"),
            // What the client sent stands before what its proxy says of it.
            ("6.6.6.6, \u{e4}, 1.2.3.4, 10.0.0.2", "1.2.3.4"),
            ("6.6.6.6, \u{e4}, 10.0.0.2", "10.0.0.2"),
        ] {
            let fields = map(&[("x-forwarded-for", chain)]);
            assert_eq!(peer(true).client(&fields, trusted).unwrap().to_string(), client, "{chain}");
            assert_eq!(peer(false).client(&fields, trusted).unwrap().to_string(), "10.0.0.1");
        }
    }
}
