//! Whether a request may be looked at at all: method, target, Host, framing (RFC 9112 sections 3 and 6, RFC 9113
//! section 8). Everything behind this check may rely on it.

use std::fmt;

use http::header::{EXPECT, HOST, TRANSFER_ENCODING};
use http::request::Parts;
use http::{HeaderValue, Method, StatusCode, Version};

/// Why a request goes no further.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RequestError {
    /// CONNECT and TRACE are never served.
    Method,
    /// The target is not of a form that the method allows, or holds bytes that a URI cannot.
    Target,
    /// There is no Host, more than one, or one that is not a host.
    Host,
    /// The Host differs from the authority of the target.
    HostMismatch,
    /// The body is encoded in a way other than `chunked`.
    TransferEncoding,
    /// `Expect` asks for something else than `100-continue`.
    Expect,
}

impl RequestError {
    /// The status that says so.
    pub fn status(self) -> StatusCode {
        match self {
            Self::Method => StatusCode::METHOD_NOT_ALLOWED,
            Self::Target | Self::Host | Self::HostMismatch => StatusCode::BAD_REQUEST,
            Self::TransferEncoding => StatusCode::NOT_IMPLEMENTED,
            Self::Expect => StatusCode::EXPECTATION_FAILED,
        }
    }
}

impl fmt::Display for RequestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Method => "this method is not served here",
            Self::Target => "the request target is not valid",
            Self::Host => "the request needs exactly one valid Host",
            Self::HostMismatch => "the Host differs from the request target",
            Self::TransferEncoding => "the only transfer coding understood is chunked",
            Self::Expect => "the only expectation understood is 100-continue",
        })
    }
}

impl std::error::Error for RequestError {}

/// Marks a request whose target came with a `#` and what follows it, which is gone by now.
#[derive(Debug, Clone, Copy)]
pub struct Fragment;

/// Checks a request and returns the host that it is for, with its port if it named one. `None` only for HTTP/1.0,
/// which may leave it out.
pub fn check_request(parts: &Parts) -> Result<Option<HeaderValue>, RequestError> {
    if parts.method == Method::CONNECT || parts.method == Method::TRACE {
        return Err(RequestError::Method);
    }
    check_target(parts)?;
    let host = check_host(parts)?;
    check_framing(parts)?;
    Ok(host)
}

fn check_target(parts: &Parts) -> Result<(), RequestError> {
    let uri = &parts.uri;
    if parts.extensions.get::<Fragment>().is_some() {
        return Err(RequestError::Target);
    }
    if uri.scheme().is_some_and(|scheme| !matches!(scheme.as_str(), "http" | "https")) {
        return Err(RequestError::Target);
    }
    let Some(target) = uri.path_and_query() else {
        return Err(RequestError::Target);
    };
    if target.as_str() == "*" {
        return if parts.method == Method::OPTIONS { Ok(()) } else { Err(RequestError::Target) };
    }
    // The parser lets bytes above 0x7e through, as browsers of old sent them.
    if !target.as_str().starts_with('/') || !target.as_str().bytes().all(|b| (0x21..=0x7e).contains(&b)) {
        return Err(RequestError::Target);
    }
    Ok(())
}

fn check_host(parts: &Parts) -> Result<Option<HeaderValue>, RequestError> {
    let mut fields = parts.headers.get_all(HOST).iter();
    let field = fields.next();
    if fields.next().is_some() || field.is_some_and(|host| !is_host(host.as_bytes())) {
        return Err(RequestError::Host);
    }
    match (parts.uri.authority(), field) {
        (None, Some(field)) => Ok(Some(field.clone())),
        (Some(authority), field) => {
            if !is_host(authority.as_str().as_bytes()) {
                return Err(RequestError::Host);
            }
            if field
                .is_some_and(|field| !field.as_bytes().eq_ignore_ascii_case(authority.as_str().as_bytes()))
            {
                return Err(RequestError::HostMismatch);
            }
            // HTTP/1.1 wants the field even beside an absolute target (RFC 9112, section 3.2).
            if field.is_none() && parts.version == Version::HTTP_11 {
                return Err(RequestError::Host);
            }
            HeaderValue::from_str(authority.as_str()).map(Some).map_err(|_| RequestError::Host)
        }
        (None, None) if parts.version == Version::HTTP_10 => Ok(None),
        (None, None) => Err(RequestError::Host),
    }
}

fn check_framing(parts: &Parts) -> Result<(), RequestError> {
    let (mut is_coded, mut expects_other) = (false, false);
    // One look at all of them: most requests have neither, and looking each of them up costs as much.
    for (name, value) in &parts.headers {
        match *name {
            TRANSFER_ENCODING if is_coded || !value.as_bytes().eq_ignore_ascii_case(b"chunked") => {
                return Err(RequestError::TransferEncoding);
            }
            TRANSFER_ENCODING => is_coded = true,
            EXPECT => expects_other |= !value.as_bytes().eq_ignore_ascii_case(b"100-continue"),
            _ => {}
        }
    }
    if expects_other { Err(RequestError::Expect) } else { Ok(()) }
}

/// Whether this is a host and perhaps a port: a name, an IPv4 address or a bracketed IPv6 address; no user info.
fn is_host(text: &[u8]) -> bool {
    let (host, port) = match text.first() {
        Some(b'[') => {
            let Some(end) = memchr::memchr(b']', text) else {
                return false;
            };
            let address = std::str::from_utf8(&text[1..end]).unwrap_or_default();
            if address.parse::<std::net::Ipv6Addr>().is_err() {
                return false;
            }
            (&text[..=end], &text[end + 1..])
        }
        _ => match memchr::memchr(b':', text) {
            Some(colon) => text.split_at(colon),
            None => (text, &b""[..]),
        },
    };
    let is_name = host.first() == Some(&b'[')
        || host.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_' | b'~'));
    let is_port = match port {
        [] => true,
        [b':', digits @ ..] => digits.len() <= 5 && digits.iter().all(u8::is_ascii_digit),
        _ => false,
    };
    !host.is_empty() && is_name && is_port
}

/// The host of a Host field, without its port.
pub fn host_without_port(host: &str) -> &str {
    // Digits behind a colon, looked for from the end: a port is short, and this is done for every request.
    let digits = host.bytes().rev().take_while(u8::is_ascii_digit).count();
    host[..host.len() - digits].strip_suffix(':').unwrap_or(host)
}

/// Whether a name of the configuration, in lower case and perhaps beginning with `*.`, covers a host.
pub fn covers(name: &str, host: &str) -> bool {
    // With a full stop behind it, it is the same host to whoever looks it up, and to apps.
    let host = host.strip_suffix('.').unwrap_or(host);
    match name.strip_prefix('*') {
        None => name.eq_ignore_ascii_case(host),
        Some(parent) => {
            host.len() > parent.len()
                && host.is_char_boundary(host.len() - parent.len())
                && host[host.len() - parent.len()..].eq_ignore_ascii_case(parent)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::Request;

    fn check(request: http::request::Builder) -> Result<Option<HeaderValue>, RequestError> {
        check_request(&request.body(()).unwrap().into_parts().0)
    }

    #[test]
    fn hosts() {
        for good in ["a", "example.com", "example.com:443", "127.0.0.1", "[::1]", "[::1]:8080", "a_b", "a:"] {
            assert_eq!(check(Request::get("/").header("host", good)).unwrap().unwrap(), good);
        }
        for bad in ["", "a b", "u@a", "a:x", "a:123456", "[::1", "[x]", "a/b", "a,b", ":80", "[::1]x", "a#b"]
        {
            assert_eq!(check(Request::get("/").header("host", bad)), Err(RequestError::Host), "{bad:?}");
        }
        let two = Request::get("/").header("host", "a").header("host", "a");
        assert_eq!(check(two), Err(RequestError::Host));
        assert_eq!(check(Request::get("/")), Err(RequestError::Host));
        assert_eq!(check(Request::get("/").version(Version::HTTP_10)), Ok(None));
    }

    #[test]
    fn targets() {
        let get = |target| Request::get(target).header("host", "a");
        assert!(check(get("/a?b=%20")).is_ok());
        assert!(check(get("http://a/b")).is_ok());
        assert_eq!(check(get("http://b/b")), Err(RequestError::HostMismatch));
        assert_eq!(check(get("ftp://a/b")), Err(RequestError::Target));
        assert_eq!(check(get("*")), Err(RequestError::Target));
        assert_eq!(check(get("/\u{e4}")), Err(RequestError::Target));
        assert!(check(Request::options("*").header("host", "a")).is_ok());
        assert_eq!(check(Request::connect("a:1")), Err(RequestError::Method));
        assert_eq!(check(Request::trace("/").header("host", "a")), Err(RequestError::Method));
        assert_eq!(check(Request::get("http://a/b")), Err(RequestError::Host), "absolute without Host");
        let h2 = Request::get("https://a/b").version(Version::HTTP_2);
        assert_eq!(check(h2).unwrap().unwrap(), "a");
    }

    #[test]
    fn framing() {
        let post = || Request::post("/").header("host", "a");
        assert!(check(post().header("transfer-encoding", "Chunked")).is_ok());
        for coding in ["gzip, chunked", "chunked, chunked", "identity", "xchunked"] {
            let refused = check(post().header("transfer-encoding", coding));
            assert_eq!(refused, Err(RequestError::TransferEncoding), "{coding}");
        }
        let two = post().header("transfer-encoding", "chunked").header("transfer-encoding", "chunked");
        assert_eq!(check(two), Err(RequestError::TransferEncoding));
        assert!(check(post().header("expect", "100-Continue")).is_ok());
        assert_eq!(check(post().header("expect", "tea")), Err(RequestError::Expect));
    }

    #[test]
    fn ports_are_taken_off() {
        for (host, bare) in [("a", "a"), ("a:1", "a"), ("[::1]", "[::1]"), ("[::1]:1", "[::1]")] {
            assert_eq!(host_without_port(host), bare);
        }
    }
}
