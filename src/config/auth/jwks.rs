//! Where a set of public keys is (`jwks`).

use std::path::{Path, PathBuf};

use http::Uri;
use http::uri::{PathAndQuery, Scheme};

use super::ask::target;
use crate::config::problem::Fault;

/// Where a set of public keys is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JwksSource {
    /// A file.
    File(PathBuf),
    /// An address of its own.
    Url {
        /// Whether it is asked under TLS.
        tls: bool,
        /// The host, without brackets.
        host: String,
        /// The port.
        port: u16,
        /// The path, and the query if there is one.
        target: String,
    },
    /// An app behind Sidestream.
    Upstream {
        /// The index into [`Config::upstreams`](crate::config::Config::upstreams).
        upstream: usize,
        /// The path, and the query if there is one.
        target: String,
    },
}

impl JwksSource {
    /// Reads `https://…`, `http://…`, `file:PATH` (a relative path is taken from `base`) or `upstream:NAME/path`.
    pub(super) fn parse(text: &str, base: &Path, upstreams: Option<&Vec<&str>>) -> Result<Self, Fault> {
        if let Some(path) = text.strip_prefix("file:") {
            if path.is_empty() {
                return Err(Fault::new("names no file"));
            }
            return Ok(Self::File(base.join(path)));
        }
        if let Some(rest) = text.strip_prefix("upstream:") {
            let (name, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
            let known = |names: &Vec<&str>| names.iter().position(|known| *known == name);
            let upstream = upstreams.map_or(Some(0), known).ok_or_else(|| {
                Fault::new(format!("names the upstream \"{name}\", but no [upstreams.NAME] is called that"))
            })?;
            return Ok(Self::Upstream { upstream, target: target(path)? });
        }
        if !text.starts_with("https://") && !text.starts_with("http://") {
            return Err(Fault::new("says of no key set where it is")
                .hint("write \"https://…\", \"http://…\", \"file:PATH\" or \"upstream:NAME/path\""));
        }
        let wrong = || Fault::new("is not a URL").hint("write \"https://login.example/keys.json\"");
        let url: Uri = text.parse().map_err(|_| wrong())?;
        let authority = url.authority().ok_or_else(wrong)?;
        if authority.as_str().contains('@') {
            return Err(Fault::new("holds a user, and key sets are public"));
        }
        let tls = url.scheme() == Some(&Scheme::HTTPS);
        let host = authority.host().trim_matches(['[', ']']);
        if host.is_empty() {
            return Err(wrong());
        }
        Ok(Self::Url {
            tls,
            host: host.to_ascii_lowercase(),
            port: authority.port_u16().unwrap_or(if tls { 443 } else { 80 }),
            target: url.path_and_query().map_or("/", PathAndQuery::as_str).to_owned(),
        })
    }
}
