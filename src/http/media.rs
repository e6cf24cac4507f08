//! What a body says it is (RFC 9110, section 8.3).

use http::header::{CONTENT_TYPE, HeaderMap};

/// Whether the `Content-Type` is this one, whatever its parameters. `kind` is in lower case. A request without the
/// field is of no type.
pub fn is_media_type(fields: &HeaderMap, kind: &str) -> bool {
    let said = fields.get(CONTENT_TYPE).and_then(|line| line.as_bytes().split(|byte| *byte == b';').next());
    said.is_some_and(|said| said.trim_ascii().eq_ignore_ascii_case(kind.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_said_by_its_name() {
        let says = |kind: &str| {
            is_media_type(&HeaderMap::from_iter([(CONTENT_TYPE, kind.parse().unwrap())]), "application/json")
        };
        assert!(says("application/json") && says("Application/JSON ; charset=utf-8"));
        assert!(!says("text/plain; application/json") && !says("application/jsonp") && !says(""));
        assert!(!is_media_type(&HeaderMap::new(), "application/json"));
    }
}
