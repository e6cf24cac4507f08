//! `acme`: the hosts that a listener gets a certificate for by itself, and from whom (RFC 8555).

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use http::Uri;
use http::uri::Scheme;

use crate::config::host::hosts;
use crate::config::problem::Fault;
use crate::config::reader::{Section, Value};
use crate::config::schema;
use crate::config::upstream::{UpstreamTls, client_of};

/// Let's Encrypt, whose certificates everybody trusts.
const LETSENCRYPT: &str = "https://acme-v02.api.letsencrypt.org/directory";
/// The same for trying things out: nobody trusts it, and its limits are wide.
const STAGING: &str = "https://acme-staging-v02.api.letsencrypt.org/directory";
/// As many names as authorities put into one certificate.
const MAX_DOMAINS: usize = 100;
/// The name of a file is made of the URL, and has room for 255 bytes.
const MAX_URL: usize = 200;

/// A certificate that is got from an authority, and renewed.
#[derive(Debug, Clone, PartialEq)]
pub struct Acme {
    /// The hosts that it is for, in lower case and in the order of the file; at least one, none of them twice.
    pub domains: Vec<String>,
    /// Whom the authority may write to.
    pub email: Option<String>,
    /// The URL of the authority's directory; always `https`.
    pub directory: String,
    /// The folder for accounts and certificates.
    pub dir: PathBuf,
    /// How it is shown that the hosts are ours; at least one.
    pub challenges: Vec<ChallengeKind>,
    /// What verifies the authority itself; none is by the public authorities.
    pub tls: Option<UpstreamTls>,
}

/// How an authority is shown that a host is ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChallengeKind {
    /// By a page on port 80 (RFC 8555, section 8.3).
    Http01,
    /// By a handshake on port 443 (RFC 8737).
    TlsAlpn01,
}

/// What the other listeners and the listener itself have to do with it.
pub(super) struct Surroundings<'a> {
    /// Whether the listener is a Unix socket.
    pub(super) on_unix: bool,
    /// Whether a listener of the file is cleartext.
    pub(super) has_plain: bool,
    /// The hosts that the listener serves; empty is any.
    pub(super) server_names: &'a [String],
}

impl Acme {
    /// Reads `acme`. `others` are those of earlier listeners.
    pub(super) fn read(value: &Value<'_>, around: &Surroundings<'_>, others: &[Self]) -> Option<Self> {
        if around.on_unix {
            value.fault(Fault::new("is not for a Unix socket").hint("end TLS on a TCP address"));
            return None;
        }
        let section = value.section(&schema::ACME)?;
        let domains = section.required("domains", "write domains = [\"shop.example\"]");
        let dir = section.required("dir", "write dir = \"/var/lib/sidestream/acme\"");
        let email = section.value("email").and_then(|value| value.parse(email));
        let directory =
            section.value("directory").map_or(Some(LETSENCRYPT.to_owned()), |url| url.parse(directory));
        let challenges = challenges(&section, around.has_plain);
        let base = section.report.base;
        let tls = section.value("ca").and_then(|ca| client_of(&ca, base));

        let dir = dir.and_then(|dir| dir.parse(|dir| folder(dir, base)));
        let domains = domains?;
        let names = names(&domains, around.server_names, directory.as_deref());
        let (directory, dir) = (directory?, dir?);
        let new = Self { domains: names, email, directory, dir, challenges, tls };
        if others.iter().any(|other| new.is_in_the_way_of(other)) {
            let fault =
                Fault::new("begins with the name that an earlier `acme` begins with, and is another list");
            domains.fault(fault.hint("a certificate is kept by its first name: begin with another one"));
        }
        Some(new)
    }

    /// Whether two certificates that are not the same would be kept in one place.
    fn is_in_the_way_of(&self, other: &Self) -> bool {
        let place = |acme: &Self| (acme.dir.clone(), acme.directory.clone(), acme.domains.first().cloned());
        place(self) == place(other) && self.domains != other.domains
    }
}

/// Reads the hosts. What is wrong with them is said at the very one.
fn names(domains: &Value<'_>, served: &[String], directory: Option<&str>) -> Vec<String> {
    let names = hosts(Some(domains.clone()));
    let entries = domains.list();
    if entries.is_empty() && domains.node().is_array() {
        domains.fault(Fault::new("is empty").hint("a certificate is for one host at least"));
    }
    if names.len() > MAX_DOMAINS {
        domains.fault(Fault::new(format!("has more than {MAX_DOMAINS} entries")));
    }
    let is_public = directory.is_some_and(|url| [LETSENCRYPT, STAGING].contains(&url));
    for entry in entries {
        let Some(name) = entry.node().as_str().map(str::to_ascii_lowercase) else { continue };
        if !names.contains(&name) && !is_address(&name) {
            // Said already.
            continue;
        }
        if let Err(fault) = certifiable(&name, is_public) {
            entry.fault(fault);
        } else if !served.is_empty() && !served.iter().any(|host| covers(host, &name)) {
            let fault = Fault::new("is not among server_names, and who asks for another host is turned away");
            entry.fault(fault.hint(format!("write \"{name}\" there too")));
        }
    }
    names
}

/// Whether a certificate for a host can be got this way.
fn certifiable(name: &str, is_public: bool) -> Result<(), Fault> {
    if name.starts_with("*.") {
        return Err(Fault::new("is a wildcard, which authorities certify by DNS only")
            .hint("name each host, or get the certificate elsewhere and write it in `tls`"));
    }
    if is_address(name) {
        return Err(Fault::new("is an address, and `acme` is for names"));
    }
    if name.contains('_') {
        return Err(Fault::new("holds `_`, which no certificate may"));
    }
    if is_public && !name.contains('.') {
        return Err(Fault::new("is no public name, and Let's Encrypt certifies no other"));
    }
    Ok(())
}

fn is_address(name: &str) -> bool {
    name.starts_with('[') || name.parse::<IpAddr>().is_ok()
}

/// Whether an entry of `server_names` is for a name.
fn covers(entry: &str, name: &str) -> bool {
    let is_below = |suffix: &str| name.len() > suffix.len() && name.ends_with(suffix);
    entry == name || entry.strip_prefix('*').is_some_and(is_below)
}

fn email(text: &str) -> Result<String, Fault> {
    let is_plain = |part: &str| {
        !part.is_empty()
            && part.bytes().all(|b| b.is_ascii_graphic() && !matches!(b, b',' | b'?' | b':' | b'@'))
    };
    match text.split_once('@') {
        Some((user, host)) if is_plain(user) && is_plain(host) && text.len() <= 254 => Ok(text.to_owned()),
        _ => Err(Fault::new("is not an address of e-mail").hint("write \"ops@shop.example\"")),
    }
}

/// Reads the URL of an authority, or one of the names that stand for one.
fn directory(text: &str) -> Result<String, Fault> {
    match text {
        "letsencrypt" => return Ok(LETSENCRYPT.to_owned()),
        "staging" => return Ok(STAGING.to_owned()),
        _ => {}
    }
    let allowed = "\"letsencrypt\", \"staging\" or \"https://ca.example/directory\"";
    let wrong = |message: &str| Fault::new(message).hint(format!("write {allowed}"));
    let url: Uri = text.parse().map_err(|_| wrong("is not the URL of an authority"))?;
    match (url.scheme(), url.host()) {
        (Some(scheme), Some(host)) if *scheme == Scheme::HTTPS && !host.is_empty() => {}
        (Some(scheme), _) if *scheme == Scheme::HTTP => return Err(wrong("is not under https")),
        _ => return Err(wrong("is not the URL of an authority")),
    }
    if url.authority().is_some_and(|authority| authority.as_str().contains('@')) {
        return Err(wrong("holds a user, which an authority does not take"));
    }
    if text.len() > MAX_URL {
        return Err(Fault::new(format!("is longer than {MAX_URL} bytes")));
    }
    Ok(text.to_owned())
}

/// Reads `challenge`. Without it both ways are tried, that by page first where there can be one.
fn challenges(section: &Section<'_>, has_plain: bool) -> Vec<ChallengeKind> {
    let kinds = [("http-01", ChallengeKind::Http01), ("tls-alpn-01", ChallengeKind::TlsAlpn01)];
    let value = section.value("challenge");
    match value.as_ref().and_then(|value| value.choice(&kinds, &[])) {
        Some(kind) => {
            if let (ChallengeKind::Http01, false, Some(value)) = (kind, has_plain, &value) {
                let fault = Fault::new("is asked for on port 80, and no listener is without TLS");
                value.fault(fault.hint("add a [[listen]] for port 80, or write \"tls-alpn-01\""));
            }
            vec![kind]
        }
        None if has_plain => vec![ChallengeKind::Http01, ChallengeKind::TlsAlpn01],
        None => vec![ChallengeKind::TlsAlpn01],
    }
}

fn folder(text: &str, base: &Path) -> Result<PathBuf, Fault> {
    match text {
        "" => Err(Fault::new("is empty").hint("name a folder, like \"/var/lib/sidestream/acme\"")),
        text => Ok(base.join(text)),
    }
}
