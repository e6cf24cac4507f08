//! Where a request comes from, and whether it may come from there.

use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;

use http::HeaderValue;
use http::request::Parts;

use crate::config::TrustedProxies;
use crate::http::{Peer, covers, host_without_port};
use crate::tls::Credentials;
use crate::transport::DirectFiles;

use super::Redirect;
use super::refusal::Refusal;

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
    /// The hosts that the listener serves; empty is any.
    pub server_names: &'a [String],
    /// Whether the protocol is HTTP/2, where a stream is a body.
    pub h2: bool,
    /// How long the client may pause within a request body.
    pub body_stall: Duration,
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

    /// Whether the request's host is served here and belongs to the certificate that the client was shown.
    pub(super) fn check_host(&self, host: Option<&HeaderValue>) -> Result<(), Refusal> {
        let Some(host) = host.and_then(|host| host.to_str().ok()) else { return Ok(()) };
        let host = host_without_port(host);
        if !self.server_names.is_empty() && !self.server_names.iter().any(|name| covers(name, host)) {
            return Err(if self.credentials.is_some() { Refusal::Misdirected } else { Refusal::NoRoute });
        }
        match self.credentials {
            Some(credentials) if !credentials.serve(self.sni, host) => Err(Refusal::Misdirected),
            _ => Ok(()),
        }
    }

    /// Whether the request came as the listener wants it: one that only redirects serves what a trusted proxy in front has
    /// taken by https.
    pub(super) fn check_scheme(&self, parts: &Parts, host: Option<&HeaderValue>) -> Result<(), Refusal> {
        let Some(redirect) = self.redirect else { return Ok(()) };
        if self.peer.is_secure(&parts.headers) {
            return Ok(());
        }
        let location = host.and_then(|host| redirect.location(host, &parts.uri));
        Err(location.map_or(Refusal::NoRoute, Refusal::Cleartext))
    }
}

/// An address as the log shows it.
pub(super) fn shown(address: Option<IpAddr>) -> String {
    address.map_or_else(|| "unix".to_owned(), |address| address.to_string())
}
