//! Names of hosts, as `server_names` and `hosts` hold them.

use std::net::IpAddr;

use super::problem::Fault;
use super::reader::Value;

/// The longest name of a host (RFC 1035, section 2.3.4).
const MAX_NAME: usize = 253;

/// Reads a list of hosts.
pub(super) fn hosts(value: Option<Value<'_>>) -> Vec<String> {
    let Some(value) = value else {
        return Vec::new();
    };
    let mut hosts: Vec<String> = Vec::new();
    for entry in value.list() {
        match entry.parse(host) {
            Some(host) if hosts.contains(&host) => entry.fault(Fault::new("is there twice")),
            Some(host) => hosts.push(host),
            None => {}
        }
    }
    hosts
}

/// Reads a host: a name, `*.` and a name, or an address. It comes back in lower case, IPv6 in
/// brackets, as a `Host` header has it.
fn host(text: &str) -> Result<String, Fault> {
    let lower = text.to_ascii_lowercase();
    if let Some((_, rest)) = lower.split_once("://") {
        let host = rest.split('/').next().unwrap_or(rest);
        return Err(Fault::new("is a URL, not a host").hint(format!("write \"{host}\"")));
    }
    let bare = lower.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(&lower);
    if let Ok(ip) = bare.parse::<IpAddr>() {
        return Ok(if ip.is_ipv6() { format!("[{ip}]") } else { ip.to_string() });
    }
    if let Some((host, port)) = lower.rsplit_once(':')
        && port.bytes().all(|b| b.is_ascii_digit())
    {
        return Err(
            Fault::new("has a port, and hosts are compared without one").hint(format!("write \"{host}\""))
        );
    }
    let name = lower.strip_prefix("*.").unwrap_or(&lower);
    if name.is_empty() || name.len() > MAX_NAME || !name.split('.').all(is_label) {
        let fault = Fault::new("is not the name of a host");
        return Err(match lower.contains('*') {
            true => fault.hint("a `*` stands alone before the first dot: \"*.example.com\""),
            false if !lower.is_ascii() => fault.hint("write it in its ASCII form, \"xn--…\""),
            false => fault,
        });
    }
    Ok(lower)
}

/// Underscores are no part of host names, but the names of containers have them.
fn is_label(label: &str) -> bool {
    (1..=63).contains(&label.len())
        && label.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_names_wildcards_and_addresses() {
        for (text, want) in [
            ("Example.COM", "example.com"),
            ("*.example.com", "*.example.com"),
            ("localhost", "localhost"),
            ("my_app", "my_app"),
            ("127.0.0.1", "127.0.0.1"),
            ("[::1]", "[::1]"),
            ("::1", "[::1]"),
        ] {
            assert_eq!(host(text).as_deref(), Ok(want));
        }
        for bad in [
            "", "*", "a.*.b", "*a.b", "a..b", ".a", "a.", "http://a", "a:80", "[::1]:80", "a/b", "ü.de",
            "a b",
        ] {
            assert!(host(bad).is_err(), "{bad:?}");
        }
    }
}
