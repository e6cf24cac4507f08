//! From `http` to `https`: where a request is sent that came in cleartext.
//!
//! Invariant: nobody is sent to a host that is not ours, whatever `Host` says.

use http::{HeaderValue, Uri};

use crate::http::{covers, host_without_port};
use crate::tls::Tls;

/// The port that is left out of an address.
const HTTPS: u16 = 443;

/// Where the clients of a listener are sent.
#[derive(Debug, Clone)]
pub struct Redirect {
    /// The port.
    pub port: u16,
    /// The hosts that they may be sent to.
    pub hosts: Vec<Hosts>,
}

/// Hosts that are ours.
#[derive(Debug, Clone)]
pub enum Hosts {
    /// Those of a configuration's list.
    Named(Vec<String>),
    /// Those that the certificates of a listener are for, as they are now.
    Certified(Tls),
}

impl Hosts {
    fn have(&self, host: &str) -> bool {
        match self {
            Self::Named(names) => names.iter().any(|name| covers(name, host)),
            Self::Certified(tls) => tls.current().name(host),
        }
    }
}

impl Redirect {
    /// Where a request for a host and a target is sent; none if the host is not ours.
    pub(super) fn location(&self, host: &HeaderValue, target: &Uri) -> Option<HeaderValue> {
        let host = host_without_port(host.to_str().ok()?);
        if !self.hosts.iter().any(|hosts| hosts.have(host)) {
            return None;
        }
        // `OPTIONS *` has no path.
        let path = target.path_and_query().map(|target| target.as_str()).filter(|path| path.starts_with('/'));
        let path = path.unwrap_or("/");
        let location = match self.port {
            HTTPS => format!("https://{host}{path}"),
            port => format!("https://{host}:{port}{path}"),
        };
        HeaderValue::try_from(location).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_target_stays_and_only_our_hosts_are_gone_to() {
        let hosts = vec![Hosts::Named(vec!["shop.example".to_owned(), "*.shop.example".to_owned()])];
        for (port, host, target, location) in [
            (443, "shop.example", "/", Some("https://shop.example/")),
            (443, "Shop.Example:8080", "/a?b=c", Some("https://Shop.Example/a?b=c")),
            (8443, "www.shop.example", "/%2e%2e//x", Some("https://www.shop.example:8443/%2e%2e//x")),
            (443, "shop.example", "//evil.example/", Some("https://shop.example//evil.example/")),
            (443, "shop.example", "*", Some("https://shop.example/")),
            (443, "evil.example", "/", None),
            (443, "shop.example.evil.example", "/", None),
            (443, "[::1]:80", "/", None),
        ] {
            let redirect = Redirect { port, hosts: hosts.clone() };
            let host: HeaderValue = host.parse().unwrap();
            let found = redirect.location(&host, &target.parse().unwrap());
            assert_eq!(found.as_ref().map(|value| value.to_str().unwrap()), location, "{host:?} {target}");
        }
    }
}
