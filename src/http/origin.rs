//! Origins: which page a browser sends a request for (RFC 6454).

use http::header::{HOST, HeaderMap, HeaderValue, ORIGIN};

/// Whether a request comes from a page of the host that it is for. None if it names no origin, as clients that are no
/// browsers do not. `host` is the request's host as it was checked; without it, its field counts.
pub fn from_same_origin(fields: &HeaderMap, host: Option<&HeaderValue>) -> Option<bool> {
    let origin = fields.get(ORIGIN)?;
    let authority = origin.to_str().ok().and_then(|origin| origin.split_once("://")).map(|(_, rest)| rest);
    let host = host.or_else(|| fields.get(HOST)).and_then(|host| host.to_str().ok());
    Some(match (authority, host) {
        (Some(authority), Some(host)) => authority.eq_ignore_ascii_case(host),
        _ => false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_the_same_if_it_is_the_host() {
        let host = HeaderValue::from_static("shop.example:8443");
        let mut fields = HeaderMap::new();
        assert_eq!(from_same_origin(&fields, Some(&host)), None);
        for (origin, same) in [
            ("https://shop.example:8443", true),
            ("https://Shop.Example:8443", true),
            ("https://shop.example", false),
            ("https://evil.example", false),
            ("null", false),
        ] {
            fields.insert(ORIGIN, origin.parse().unwrap());
            assert_eq!(from_same_origin(&fields, Some(&host)), Some(same), "{origin}");
            assert_eq!(from_same_origin(&fields, None), Some(false), "{origin}");
        }
    }
}
