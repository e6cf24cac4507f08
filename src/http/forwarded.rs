//! What the app is told of the client: forwarding fields, replaced unless who sent them is trusted.

use std::net::{IpAddr, SocketAddr};

use http::header::{HOST, HeaderMap, HeaderName, HeaderValue};

/// Fields that only a trusted proxy may set. All others that begin with [`PREFIX`] go with them.
const OWN: [&str; 5] = ["forwarded", "x-real-ip", "x-request-id", "x-client-ip", "x-original-url"];
const PREFIX: &str = "x-forwarded-";

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_FORWARDED_PORT: HeaderName = HeaderName::from_static("x-forwarded-port");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");

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
        Self { address, text, tls, trusted }
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
        let lines: Vec<_> = fields.get_all(X_FORWARDED_FOR).iter().filter_map(|l| l.to_str().ok()).collect();
        let entries = lines.iter().rev().flat_map(|line| line.rsplit(','));
        for entry in entries.take(MAX_HOPS) {
            let Some(address) = parse_node(entry.trim()) else {
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

/// Sets what the app is told: Host, and `X-Forwarded-For`, `-Proto`, `-Host`, `-Port`, `X-Real-IP`. What an
/// untrusted peer said of them is replaced; a trusted peer's word is kept and its address appended.
pub fn set_forwarded(fields: &mut HeaderMap, peer: &Peer, host: Option<&HeaderValue>) {
    if peer.trusted {
        append_peer(fields, peer);
    } else {
        let gone: Vec<_> = fields.keys().filter(|name| is_forwarding(name.as_str())).cloned().collect();
        for name in gone {
            fields.remove(name);
        }
        fields.insert(X_FORWARDED_FOR, peer.text.clone());
    }
    let mut set = |name: HeaderName, value: HeaderValue| {
        if !(peer.trusted && fields.contains_key(&name)) {
            fields.insert(name, value);
        }
    };
    set(X_REAL_IP, peer.text.clone());
    set(X_FORWARDED_PROTO, HeaderValue::from_static(if peer.tls { "https" } else { "http" }));
    if let Some(host) = host {
        set(X_FORWARDED_HOST, host.clone());
        set(X_FORWARDED_PORT, port(host, peer));
        fields.insert(HOST, host.clone());
    }
}

/// What the app is told of a client in a question that is our own: the fields of [`set_forwarded`] and nothing else.
pub fn forwarded(fields: &HeaderMap, peer: &Peer, host: Option<&HeaderValue>) -> HeaderMap {
    let said = fields.iter().filter(|(name, _)| is_forwarding(name.as_str()));
    let mut told = HeaderMap::new();
    for (name, value) in said {
        told.append(name.clone(), value.clone());
    }
    set_forwarded(&mut told, peer, host);
    told
}

/// Whether only a trusted proxy may say this.
pub(super) fn is_forwarding(name: &str) -> bool {
    name.starts_with(PREFIX) || OWN.contains(&name)
}

fn append_peer(fields: &mut HeaderMap, peer: &Peer) {
    let mut chain = Vec::new();
    for line in fields.get_all(X_FORWARDED_FOR) {
        chain.extend_from_slice(line.as_bytes());
        chain.extend_from_slice(b", ");
    }
    chain.extend_from_slice(peer.text.as_bytes());
    let chain = HeaderValue::from_bytes(&chain).unwrap_or_else(|_| peer.text.clone());
    fields.insert(X_FORWARDED_FOR, chain);
}

fn port(host: &HeaderValue, peer: &Peer) -> HeaderValue {
    let named = host.to_str().ok().and_then(|host| {
        let after = &host[super::host_without_port(host).len()..];
        after.strip_prefix(':')?.parse::<u16>().ok()
    });
    match named {
        Some(port) => HeaderValue::from(port),
        None => HeaderValue::from_static(if peer.tls { "443" } else { "80" }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(lines: &[(&'static str, &str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in lines {
            map.append(HeaderName::from_static(name), value.parse().unwrap());
        }
        map
    }

    fn peer(trusted: bool) -> Peer {
        Peer::new(PeerAddress::Ip("10.0.0.1:5000".parse().unwrap()), true, trusted)
    }

    #[test]
    fn an_untrusted_peers_word_is_replaced() {
        let mut fields = map(&[
            ("x-forwarded-for", "6.6.6.6"),
            ("x-forwarded-for", "7.7.7.7"),
            ("x-forwarded-prefix", "/admin"),
            ("x-real-ip", "6.6.6.6"),
            ("forwarded", "for=6.6.6.6"),
        ]);
        set_forwarded(&mut fields, &peer(false), Some(&HeaderValue::from_static("shop.example:8443")));
        let expected = map(&[
            ("x-forwarded-for", "10.0.0.1"),
            ("x-real-ip", "10.0.0.1"),
            ("x-forwarded-proto", "https"),
            ("x-forwarded-host", "shop.example:8443"),
            ("x-forwarded-port", "8443"),
            ("host", "shop.example:8443"),
        ]);
        assert_eq!(fields, expected);
    }

    #[test]
    fn a_trusted_peers_word_is_kept() {
        let mut fields = map(&[("x-forwarded-for", "1.2.3.4"), ("x-forwarded-proto", "http")]);
        set_forwarded(&mut fields, &peer(true), Some(&HeaderValue::from_static("a")));
        assert_eq!(fields["x-forwarded-for"], "1.2.3.4, 10.0.0.1");
        assert_eq!(fields["x-forwarded-proto"], "http");
        assert_eq!(fields["x-forwarded-port"], "443");
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
        ] {
            let fields = map(&[("x-forwarded-for", chain)]);
            assert_eq!(peer(true).client(&fields, trusted).unwrap().to_string(), client, "{chain}");
            assert_eq!(peer(false).client(&fields, trusted).unwrap().to_string(), "10.0.0.1");
        }
    }
}
