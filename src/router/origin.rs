//! Where a request comes from, and what that decides: whether its host is served here, and whether it came as
//! the listener wants it.

use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;

use http::HeaderValue;
use http::request::Parts;

use super::Redirect;
use super::refusal::Refusal;
use crate::config::TrustedProxies;
use crate::http::{Peer, covers};
use crate::tls::Credentials;
use crate::transport::DirectFiles;

/// Where a request comes from, as far as routing depends on it.
#[derive(Debug)]
pub struct Origin<'a> {
    /// The other end of the connection.
    pub peer: &'a Peer,
    /// Whose word on the client's address is believed.
    pub trusted: &'a TrustedProxies,
    /// The host named in the TLS handshake.
    pub sni: Option<&'a str>,
    /// What its TLS was made with; none is cleartext.
    pub credentials: Option<&'a Credentials>,
    /// Where requests of the listener are sent instead; none serves them.
    pub redirect: Option<&'a Redirect>,
    /// For how long browsers are to come by `https` only, as its answers say it.
    pub hsts: Option<&'a HeaderValue>,
    /// The hosts that the listener serves; empty is any.
    pub server_names: &'a [String],
    /// Whether the protocol is HTTP/2, where a stream is a body.
    pub h2: bool,
    /// How long the client may pause within a request body.
    pub body_stall: Duration,
    /// How many bytes a second the client has to send of a request body; 0 is no bound.
    pub body_min_rate: u64,
    /// How parts of files get to its socket unread, if they do.
    pub direct: Option<&'a Rc<DirectFiles>>,
}

impl Origin<'_> {
    /// The client's address, behind the proxies that are trusted; none for one that came by Unix socket.
    pub(super) fn address(&self, parts: &Parts) -> Option<IpAddr> {
        self.peer.client(&parts.headers, |address| self.trusted.contains(address))
    }

    /// The client's address as the log shows it.
    pub(super) fn client(&self, parts: &Parts) -> String {
        shown(self.address(parts))
    }
}

pub(super) fn shown(address: Option<IpAddr>) -> String {
    address.map_or_else(|| "unix".to_owned(), |address| address.to_string())
}

/// Whether the request's host, without a port, is served here and belongs to the certificate that the client was shown.
pub(super) fn check_host(host: Option<&str>, origin: &Origin<'_>) -> Result<(), Refusal> {
    let Some(host) = host else { return Ok(()) };
    if !origin.server_names.is_empty() && !origin.server_names.iter().any(|name| covers(name, host)) {
        return Err(if origin.credentials.is_some() { Refusal::Misdirected } else { Refusal::NoRoute });
    }
    match origin.credentials {
        Some(credentials) if !credentials.serve(origin.sni, host) => Err(Refusal::Misdirected),
        _ => Ok(()),
    }
}

/// Whether the request came as the listener wants it: one that only redirects serves what a trusted proxy in front has
/// taken by https.
pub(super) fn check_scheme(
    parts: &Parts,
    host: Option<&HeaderValue>,
    origin: &Origin<'_>,
) -> Result<(), Refusal> {
    let Some(redirect) = origin.redirect else { return Ok(()) };
    if origin.peer.is_secure(&parts.headers) {
        return Ok(());
    }
    let location = host.and_then(|host| redirect.location(host, &parts.uri));
    Err(location.map_or(Refusal::NoRoute, Refusal::Cleartext))
}
