//! `[[listen]]`: where clients come in, and how long they may take.

mod acme;
mod hsts;

use std::error::Error as _;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::num::NonZero;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use toml::de::DeValue;

use super::host::hosts;
use super::problem::{Fault, Problem};
use super::reader::{Section, Value};
use super::{Certificate, CertificateError, ClientCa, TrustedProxies, schema};

pub use acme::{Acme, ChallengeKind};
pub use hsts::Hsts;

use acme::Surroundings;

/// Room for the head of a request, all its lines together.
const MAX_HEADERS: usize = 64 * 1024;

/// Below 8 KiB ordinary cookies do not fit.
const HEADERS_BOUNDS: RangeInclusive<u64> = 8 << 10..=1 << 20;
/// A deadline of an hour protects nobody any more.
const DEADLINE_BOUNDS: RangeInclusive<Duration> = Duration::from_millis(1)..=Duration::from_secs(3600);
/// Nobody's line is as fast as 1 GiB a second, and whoever is slower would be refused.
const RATE_BOUNDS: RangeInclusive<u64> = 0..=1 << 30;

/// One listening socket.
#[derive(Debug, Clone, PartialEq)]
pub struct Listen {
    /// The address it is bound to.
    pub endpoint: Endpoint,
    /// The hosts it answers for, in lower case; empty is any. `*.example.com` covers one or more labels.
    pub server_names: Vec<String>,
    /// The certificates, chosen by SNI; empty is cleartext, unless there is `acme`.
    pub tls: Vec<Certificate>,
    /// The certificate that is got from an authority. It comes after the others.
    pub acme: Option<Acme>,
    /// Who vouches for clients, which have to show a certificate then; none asks them for none.
    pub client_ca: Option<ClientCa>,
    /// Whether HTTP/2 is offered (under TLS only).
    pub http2: bool,
    /// Whether requests are sent on to `https`, and to which port. Never under TLS.
    pub redirect_https: Option<RedirectPort>,
    /// How long browsers are to come by `https` only; none is not said. Only under TLS.
    pub hsts: Option<Hsts>,
    /// Whether each connection begins with a header of the PROXY protocol. Some peer is trusted then.
    pub proxy_protocol: bool,
    /// How long a client may take for each step.
    pub deadlines: Deadlines,
    /// The most bytes of a request head.
    pub max_headers: usize,
}

/// The port that `redirect_https` sends clients to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RedirectPort {
    /// That of the first listener with TLS; without one, 443.
    OfListener,
    /// As the file says.
    Given(NonZero<u16>),
}

impl Listen {
    /// Reads the `[[listen]]` sections. Returns with them the addresses that are taken.
    pub(super) fn read_all(sections: &[Section<'_>], trusted: &TrustedProxies) -> (Vec<Self>, Vec<Endpoint>) {
        let mut taken = Vec::new();
        let mut acmes = Vec::new();
        let has = (sections.iter().any(ends_tls), !sections.iter().all(ends_tls));
        let read = |section| Self::read(section, &mut taken, &mut acmes, trusted, has);
        let listen = sections.iter().filter_map(read).collect();
        (listen, taken)
    }

    /// Reads a `[[listen]]`. `taken` are the addresses of those before it and `acmes` their certificates by ACME; `has_tls`
    /// is whether any of them all ends TLS, and `has_plain` whether any does not.
    fn read(
        section: &Section<'_>,
        taken: &mut Vec<Endpoint>,
        acmes: &mut Vec<Acme>,
        trusted: &TrustedProxies,
        (has_tls, has_plain): (bool, bool),
    ) -> Option<Self> {
        let address = section.required("address", "write address = \"0.0.0.0:8080\" or \"unix:PATH\"");
        let server_names = hosts(section.value("server_names"));
        let tls = section.value("tls");
        let acme = section.value("acme");
        let client_ca = section.value("client_ca");
        let http2 = section.value("http2").and_then(|value| value.flag()).unwrap_or(true);
        let redirect = section.value("redirect_https");
        let hsts = section.value("hsts");
        let proxy_protocol = section.value("proxy_protocol");
        let deadlines = Deadlines::read(section);
        let max_headers = section.room("max_headers", MAX_HEADERS, HEADERS_BOUNDS);

        let endpoint = address.and_then(|value| endpoint(&value, section.report.base, taken));
        let on_unix = matches!(endpoint, Some(Endpoint::Unix(_)));
        let is_tls = ends_tls(section);
        let tls = tls.map_or_else(Vec::new, |value| certificates(&value, on_unix));
        let around = Surroundings { on_unix, has_plain, server_names: &server_names };
        let acme = acme.and_then(|value| Acme::read(&value, &around, acmes));
        acmes.extend(acme.clone());
        let client_ca = client_ca.and_then(|value| clients(&value, section.report.base, is_tls));
        let has_names = section.has("server_names") && !section.is_empty_list("server_names");
        let redirect_https = redirect.and_then(|value| redirect_port(&value, is_tls, has_names || has_tls));
        let hsts = hsts.and_then(|value| Hsts::read(&value, is_tls));
        let is_known = match endpoint {
            Some(Endpoint::Unix(_)) => trusted.unix,
            // Which of the two it is shows at the start.
            Some(Endpoint::Inherited(_)) => trusted.unix || !trusted.networks.is_empty(),
            _ => !trusted.networks.is_empty(),
        };
        let proxy_protocol = proxy_protocol.is_some_and(|value| flag_of_proxies(&value, on_unix, is_known));
        Some(Self {
            server_names,
            tls,
            acme,
            client_ca,
            http2,
            redirect_https,
            hsts,
            proxy_protocol,
            deadlines,
            max_headers,
            ..Self::new(endpoint?)
        })
    }

    /// Whether it ends TLS.
    pub fn is_tls(&self) -> bool {
        !self.tls.is_empty() || self.acme.is_some()
    }

    /// A cleartext listener with the defaults of the file.
    pub(super) fn new(endpoint: Endpoint) -> Self {
        Self {
            endpoint,
            server_names: Vec::new(),
            tls: Vec::new(),
            acme: None,
            client_ca: None,
            http2: true,
            redirect_https: None,
            hsts: None,
            proxy_protocol: false,
            deadlines: Deadlines::default(),
            max_headers: MAX_HEADERS,
        }
    }
}

fn ends_tls(section: &Section<'_>) -> bool {
    section.has("acme") || section.has("tls") && !section.is_empty_list("tls")
}

/// How long a client may take. Every time is above zero.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deadlines {
    /// From accept to the end of the TLS handshake.
    pub handshake_timeout: Duration,
    /// From the first byte of a request's head to its last.
    pub header_timeout: Duration,
    /// Between two requests of a connection.
    pub idle_timeout: Duration,
    /// Between two reads of a request body.
    pub body_stall: Duration,
    /// How many bytes of a request body have to come in a second, once the client has been waited for as long as it may
    /// pause; 0 is no bound.
    pub body_min_rate: u64,
    /// Between two writes that the client takes.
    pub write_stall: Duration,
    /// Between two pings of an HTTP/2 connection on which nothing else comes.
    pub ping_interval: Duration,
    /// From such a ping to its answer.
    pub ping_timeout: Duration,
}

impl Deadlines {
    fn read(section: &Section<'_>) -> Self {
        let default = Self::default();
        let read = |key, default| section.duration(key, default, DEADLINE_BOUNDS);
        Self {
            handshake_timeout: read("handshake_timeout", default.handshake_timeout),
            header_timeout: read("header_timeout", default.header_timeout),
            idle_timeout: read("idle_timeout", default.idle_timeout),
            body_stall: read("body_stall", default.body_stall),
            body_min_rate: section.size("body_min_rate", default.body_min_rate, RATE_BOUNDS),
            write_stall: read("write_stall", default.write_stall),
            ping_interval: read("ping_interval", default.ping_interval),
            ping_timeout: read("ping_timeout", default.ping_timeout),
        }
    }
}

impl Default for Deadlines {
    fn default() -> Self {
        Self {
            handshake_timeout: Duration::from_secs(10),
            header_timeout: Duration::from_secs(15),
            idle_timeout: Duration::from_secs(75),
            body_stall: Duration::from_secs(30),
            body_min_rate: 1024,
            write_stall: Duration::from_secs(60),
            ping_interval: Duration::from_secs(30),
            ping_timeout: Duration::from_secs(20),
        }
    }
}

/// An address to listen on.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Endpoint {
    /// A TCP address; port 0 lets the system choose.
    Tcp(SocketAddr),
    /// The path of a Unix socket.
    Unix(PathBuf),
    /// The name of a socket that the service manager has opened.
    Inherited(String),
}

impl Endpoint {
    /// Reads `0.0.0.0:443`, `[::]:80`, `:8080` (all IPv4 addresses), `localhost:8080`, `unix:PATH` or `fd:NAME`; a relative
    /// path is taken from `base`.
    pub(super) fn parse(text: &str, base: &Path) -> Result<Self, Fault> {
        if let Some(path) = text.strip_prefix("unix:") {
            return super::unix_path(path, base).map(Self::Unix);
        }
        if let Some(name) = text.strip_prefix("fd:") {
            return inherited(name).map(Self::Inherited);
        }
        if let Some((_, rest)) = text.split_once("://") {
            return Err(Fault::new("is a URL, not an address")
                .hint(format!("write \"{}\"", rest.trim_end_matches('/'))));
        }
        tcp(text).map(Self::Tcp)
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Inherited(name) => write!(f, "fd:{name}"),
        }
    }
}

/// Reads the address of a listener, which no other one has.
fn endpoint(value: &Value<'_>, base: &Path, taken: &mut Vec<Endpoint>) -> Option<Endpoint> {
    let endpoint = value.parse(|text| Endpoint::parse(text, base))?;
    if taken.contains(&endpoint) {
        value.fault(Fault::new("is taken by an earlier [[listen]] of this file"));
    }
    // With port 0 the system gives each of them a port of its own.
    if !matches!(endpoint, Endpoint::Tcp(address) if address.port() == 0) {
        taken.push(endpoint.clone());
    }
    Some(endpoint)
}

/// Loads the certificates of a listener.
fn certificates(tls: &Value<'_>, on_unix: bool) -> Vec<Certificate> {
    let mut loaded = Vec::new();
    let entries = tls.list();
    if on_unix && !entries.is_empty() {
        tls.fault(Fault::new("is not for a Unix socket").hint("end TLS on a TCP address"));
        return loaded;
    }
    for section in entries.iter().filter_map(|entry| entry.section(&schema::TLS)) {
        let help = "write tls = [{ cert = \"cert.pem\", key = \"key.pem\" }]";
        let (cert, key) = (section.required("cert", help), section.required("key", help));
        let (Some(cert), Some(key)) = (cert, key) else {
            continue;
        };
        let (Some(cert_path), Some(key_path)) = (cert.parse(not_empty), key.parse(not_empty)) else {
            continue;
        };
        let base = section.report.base;
        match Certificate::load(&base.join(cert_path), &base.join(key_path)) {
            Ok(certificate) => loaded.push(certificate),
            Err(error) => {
                let value = if error.is_of_key() { &key } else { &cert };
                section.report.add(unusable(value, &error));
            }
        }
    }
    loaded
}

/// Loads who vouches for the clients of a listener.
fn clients(value: &Value<'_>, base: &Path, is_tls: bool) -> Option<ClientCa> {
    let path = value.parse(not_empty)?;
    if !is_tls {
        value.fault(
            Fault::new("has no effect without `tls`").hint("clients show certificates under TLS only"),
        );
        return None;
    }
    ClientCa::load(&base.join(path)).map_err(|error| value.report(unusable(value, &error))).ok()
}

/// Reads `redirect_https`. `is_bounded` is whether it is known which hosts there are.
fn redirect_port(value: &Value<'_>, is_tls: bool, is_bounded: bool) -> Option<RedirectPort> {
    let port = match value.as_flag() {
        Some(false) => return None,
        Some(true) => RedirectPort::OfListener,
        None if matches!(value.node(), DeValue::Integer(_)) => {
            let port = value.count(1..=u64::from(u16::MAX))?;
            RedirectPort::Given(u16::try_from(port).ok().and_then(NonZero::new)?)
        }
        None => {
            value.wrong_type("true, false or a port");
            return None;
        }
    };
    if is_tls {
        value.fault(Fault::new("is for a listener without `tls`"));
    } else if !is_bounded {
        value.fault(
            Fault::new("would send clients to any host that they name")
                .hint("write the hosts of this site in server_names"),
        );
    }
    Some(port)
}

/// Reads `proxy_protocol`. `is_known` is whether any peer of this listener is trusted.
fn flag_of_proxies(value: &Value<'_>, on_unix: bool, is_known: bool) -> bool {
    let flag = value.flag().unwrap_or(false);
    if flag && !is_known {
        let whom = if on_unix { "\"unix\"" } else { "the balancer's address" };
        value.fault(
            Fault::new("would let nobody in: it is taken from trusted proxies only")
                .hint(format!("write {whom} in trusted_proxies of [server]")),
        );
    }
    flag
}

fn unusable(value: &Value<'_>, error: &CertificateError) -> Problem {
    let problem = value.problem(format!("cannot be used: {error}"));
    match error.source() {
        Some(cause) => problem.hint(cause.to_string()),
        None => problem,
    }
}

/// A path cannot be nothing.
fn not_empty(text: &str) -> Result<&str, Fault> {
    if text.is_empty() { Err(Fault::new("is empty")) } else { Ok(text) }
}

/// Reads the name of a socket that the service manager has opened.
pub(super) fn inherited(name: &str) -> Result<String, Fault> {
    let hint = "write the FileDescriptorName= of its .socket unit, as in \"fd:web\"";
    match name {
        "" => Err(Fault::new("has no name").hint(hint)),
        _ if name.contains(|c: char| c == ':' || !c.is_ascii_graphic()) => {
            Err(Fault::new("has a name that no socket can have").hint(hint))
        }
        _ => Ok(name.to_owned()),
    }
}

/// Reads a TCP address to bind.
pub(super) fn tcp(text: &str) -> Result<SocketAddr, Fault> {
    if let Ok(address) = text.parse() {
        return Ok(address);
    }
    if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
        return Err(Fault::new("is a port without an address").hint(format!("write \"0.0.0.0:{text}\"")));
    }
    let Some((host, port)) = text.rsplit_once(':') else {
        return Err(match text.parse::<IpAddr>() {
            Ok(ip) if ip.is_ipv6() => Fault::new("has no port").hint(format!("write \"[{ip}]:8080\"")),
            Ok(ip) => Fault::new("has no port").hint(format!("write \"{ip}:8080\"")),
            Err(_) if text == "localhost" => Fault::new("has no port").hint("write \"localhost:8080\""),
            Err(_) => Fault::new("is not an address").hint("write \"0.0.0.0:8080\" or \"unix:PATH\""),
        });
    };
    if let Ok(IpAddr::V6(ip)) = text.parse() {
        return Err(Fault::new("has no port").hint(format!("write \"[{ip}]:8080\"")));
    }
    let Ok(port) = port.parse::<u16>() else {
        return Err(Fault::new("has a port that is not a number from 0 to 65535"));
    };
    match host {
        "" | "*" => Ok((Ipv4Addr::UNSPECIFIED, port).into()),
        "localhost" => Ok((Ipv4Addr::LOCALHOST, port).into()),
        _ => match host.parse::<IpAddr>() {
            Ok(ip) => Err(Fault::new("is not an address").hint(format!("write \"[{ip}]:{port}\""))),
            Err(_) => Err(Fault::new("has a name where an IP address belongs")
                .hint(format!("write \"0.0.0.0:{port}\"; of names only localhost is known here"))),
        },
    }
}
