//! Origins: which page a browser sends a request for (RFC 6454).

use http::header::{HOST, HeaderMap, HeaderValue, ORIGIN};

/// Says from which kind of page a browser sends a request, also where it names no origin.
const SEC_FETCH_SITE: &str = "sec-fetch-site";

/// Whether a request comes from a page of the host that it is for. None if it does not say, as clients that are no
/// browsers do not; browsers name no `Origin` for an image or a link, but say that it is another site's. `host` is the request's host as it was checked; without it, its field counts. If the client came by TLS
/// (`secure`) its page must have too: whoever sits in the network can make one of the same host without. If it did not, as
/// far as we know, a proxy in front may have ended the TLS.
pub fn from_same_origin(fields: &HeaderMap, host: Option<&HeaderValue>, secure: bool) -> Option<bool> {
    let Some(origin) = fields.get(ORIGIN) else {
        let site = fields.get(SEC_FETCH_SITE)?.as_bytes();
        return matches!(site, b"cross-site" | b"same-site").then_some(false);
    };
    let (scheme, authority) = origin.to_str().ok().and_then(|origin| origin.split_once("://")).unzip();
    let host = host.or_else(|| fields.get(HOST)).and_then(|host| host.to_str().ok());
    Some(match (authority, host) {
        (Some(authority), Some(host)) => {
            authority.eq_ignore_ascii_case(host) && (!secure || scheme == Some("https"))
        }
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
        assert_eq!(from_same_origin(&fields, Some(&host), true), None);
        for (origin, same) in [
            ("https://shop.example:8443", true),
            ("https://Shop.Example:8443", true),
            ("https://shop.example", false),
            ("https://evil.example", false),
            ("null", false),
        ] {
            fields.insert(ORIGIN, origin.parse().unwrap());
            assert_eq!(from_same_origin(&fields, Some(&host), true), Some(same), "{origin}");
            assert_eq!(from_same_origin(&fields, None, true), Some(false), "{origin}");
        }
        // Without an origin: a page of another site, or of a neighbour, that shows the address as an image.
        for (site, same) in
            [("cross-site", Some(false)), ("same-site", Some(false)), ("same-origin", None), ("none", None)]
        {
            let fields = HeaderMap::from_iter([(SEC_FETCH_SITE.parse().unwrap(), site.parse().unwrap())]);
            assert_eq!(from_same_origin(&fields, Some(&host), true), same, "{site}");
        }
        fields.insert(ORIGIN, "http://shop.example:8443".parse().unwrap());
        assert_eq!(from_same_origin(&fields, Some(&host), true), Some(false));
        assert_eq!(from_same_origin(&fields, Some(&host), false), Some(true));
    }
}
