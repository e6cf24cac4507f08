//! Bearer: the check of a publisher by a token it shares with us (`Authorization: Bearer …`).
//!
//! Invariant: the time of a check says nothing about the expected token, its length included.

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{SHA256, digest};
use http::HeaderMap;
use http::header::AUTHORIZATION;

/// Whether the request holds the expected token, in exactly one `Authorization` line (RFC 6750, section 2.1). An
/// empty expected token is never held.
pub fn bearer(headers: &HeaderMap, expected: &str) -> bool {
    let mut lines = headers.get_all(AUTHORIZATION).into_iter();
    let (Some(line), None) = (lines.next(), lines.next()) else {
        return false;
    };
    let Some((scheme, token)) = line.to_str().ok().and_then(|line| line.split_once(' ')) else {
        return false;
    };
    // Digests have one length and share no beginning with near misses.
    let given = digest(&SHA256, token.trim().as_bytes());
    let wanted = digest(&SHA256, expected.as_bytes());
    let equal = verify_slices_are_equal(given.as_ref(), wanted.as_ref()).is_ok();
    equal && !expected.is_empty() && scheme.eq_ignore_ascii_case("bearer")
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn held(lines: &[&str], expected: &str) -> bool {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(AUTHORIZATION, HeaderValue::from_bytes(line.as_bytes()).unwrap());
        }
        bearer(&headers, expected)
    }

    #[test]
    fn takes_the_expected_token_and_nothing_else() {
        for good in ["Bearer s3cret", "bearer s3cret", "BEARER  s3cret "] {
            assert!(held(&[good], "s3cret"), "{good}");
        }
        for bad in [
            "Bearer s3cre",
            "Bearer s3cret2",
            "Bearer S3CRET",
            "Bearer",
            "Bearer ",
            "s3cret",
            "Basic s3cret",
            "Bearers3cret",
            "Bearer s3crét",
        ] {
            assert!(!held(&[bad], "s3cret"), "{bad}");
        }
        assert!(!held(&[], "s3cret"));
        assert!(!held(&["Bearer s3cret", "Bearer s3cret"], "s3cret"));
        assert!(!held(&["Bearer "], ""));
    }
}
