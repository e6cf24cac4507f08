//! Where a credential may stand in a request: query, header, cookie, looked at in this order.
//!
//! Invariant: a place that is used at all is used once, or the credential is refused. Nobody can be made to send one
//! credential and be judged by another.

use std::borrow::Cow;

use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderName};
use percent_encoding::percent_decode;

use super::{AuthError, Reason};
use crate::config::JwtProvider;
use crate::http::cookies;

/// The longest token that is looked at, in bytes.
pub const MAX_TOKEN: usize = 8 * 1024;

/// Where a credential stood.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CredentialSource {
    /// In a query parameter.
    Query,
    /// In a header, which no browser sends by itself.
    Header,
    /// In a cookie, or wherever else browsers put one by themselves, whichever page sends the request.
    Ambient,
}

/// The places one provider looks at.
#[derive(Debug)]
pub(super) struct Places {
    query: Option<String>,
    header: Option<HeaderName>,
    cookie: Option<String>,
}

impl Places {
    pub(super) fn new(provider: &JwtProvider) -> Self {
        Self {
            query: provider.query.clone(),
            // The configuration has checked the name; one that is none could not be in a request either.
            header: provider.header.as_deref().and_then(|name| name.parse().ok()),
            cookie: provider.cookie.clone(),
        }
    }

    /// The token and where it stood; none when every place is unused.
    pub(super) fn find<'a>(
        &self,
        headers: &'a HeaderMap,
        query: Option<&'a str>,
    ) -> Result<Option<(Cow<'a, str>, CredentialSource)>, AuthError> {
        let found = if let Some(found) = self.in_query(query)? {
            (found, CredentialSource::Query)
        } else if let Some(found) = self.in_header(headers)? {
            (Cow::Borrowed(found), CredentialSource::Header)
        } else if let Some(found) = self.in_cookie(headers)? {
            (Cow::Borrowed(found), CredentialSource::Ambient)
        } else {
            return Ok(None);
        };
        match found.0.len() {
            0 => Err(Reason::Empty.into()),
            1..=MAX_TOKEN => Ok(Some(found)),
            _ => Err(Reason::TooLong.into()),
        }
    }

    /// Whether a credential stands where no browser puts one by itself, good or bad.
    pub(super) fn is_given(&self, headers: &HeaderMap, query: Option<&str>) -> bool {
        !matches!(self.in_query(query), Ok(None)) || !matches!(self.in_header(headers), Ok(None))
    }

    fn in_query<'a>(&self, query: Option<&'a str>) -> Result<Option<Cow<'a, str>>, Reason> {
        let Some(name) = &self.query else {
            return Ok(None);
        };
        match raw_value(query, name)? {
            // Decoding makes no text longer, so this bounds the work as well.
            Some(value) if value.len() > 3 * MAX_TOKEN => Err(Reason::TooLong),
            Some(value) => {
                percent_decode(value.as_bytes()).decode_utf8().map(Some).map_err(|_| Reason::NotText)
            }
            None => Ok(None),
        }
    }

    /// `Authorization` may hold another scheme, which is then no credential for us. A header of the operator's own
    /// choice holds the token, with `Bearer` before it or not.
    fn in_header<'a>(&self, headers: &'a HeaderMap) -> Result<Option<&'a str>, Reason> {
        let Some(name) = &self.header else {
            return Ok(None);
        };
        let Some(value) = only(headers.get_all(name))? else {
            return Ok(None);
        };
        let value = value.to_str().map_err(|_| Reason::NotText)?.trim();
        Ok(match without_bearer(value) {
            Some(token) => Some(token),
            None if name == AUTHORIZATION => None,
            None => Some(value),
        })
    }

    fn in_cookie<'a>(&self, headers: &'a HeaderMap) -> Result<Option<&'a str>, Reason> {
        let Some(name) = &self.cookie else {
            return Ok(None);
        };
        let values = cookies(headers).filter(|(known, _)| *known == name.as_bytes()).map(|(_, value)| value);
        let Some(value) = only(values)? else {
            return Ok(None);
        };
        let value = value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\"")).unwrap_or(value);
        std::str::from_utf8(value).map(Some).map_err(|_| Reason::NotText)
    }
}

/// The one value of a parameter, as it was sent. Names are compared as they were sent, too: one with `%74` for its `t`
/// is never an honest client's, and what does not work under a second spelling cannot leak under it.
pub(super) fn raw_value<'q>(query: Option<&'q str>, name: &str) -> Result<Option<&'q str>, Reason> {
    only(query.unwrap_or_default().split('&').filter_map(|pair| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        (key == name).then_some(value)
    }))
}

/// What follows `Bearer` (RFC 6750, section 2.1; schemes have no case). None when another scheme stands there.
fn without_bearer(value: &str) -> Option<&str> {
    const SCHEME: usize = "bearer".len();
    let scheme = value.get(..SCHEME)?;
    let rest = &value[SCHEME..];
    let ends = rest.is_empty() || rest.starts_with(' ');
    (scheme.eq_ignore_ascii_case("bearer") && ends).then(|| rest.trim_start())
}

/// The one item there is.
fn only<T>(items: impl IntoIterator<Item = T>) -> Result<Option<T>, Reason> {
    let mut items = items.into_iter();
    let first = items.next();
    match items.next() {
        None => Ok(first),
        Some(_) => Err(Reason::Repeated),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use CredentialSource::{Ambient, Header, Query};

    fn places(header: &str) -> Places {
        Places {
            query: Some("token".into()),
            header: Some(header.parse().unwrap()),
            cookie: Some("jwt".into()),
        }
    }

    fn headers(lines: &[(&str, &str)]) -> HeaderMap {
        lines
            .iter()
            .map(|(name, value)| {
                let name: HeaderName = name.parse().unwrap();
                (name, http::HeaderValue::from_bytes(value.as_bytes()).unwrap())
            })
            .collect()
    }

    type Found = Result<Option<(String, CredentialSource)>, AuthError>;

    fn find(header: &str, query: Option<&str>, lines: &[(&str, &str)]) -> Found {
        let headers = headers(lines);
        let found = places(header).find(&headers, query)?;
        Ok(found.map(|(token, source)| (token.into_owned(), source)))
    }

    #[test]
    fn query_goes_before_header_before_cookie() {
        let lines = [("authorization", "Bearer h"), ("cookie", "jwt=c")];
        let all = |query| find("authorization", query, &lines);
        assert_eq!(all(Some("a=1&token=q")), Ok(Some(("q".into(), Query))));
        assert_eq!(all(Some("tokens=q")), Ok(Some(("h".into(), Header))));
        assert_eq!(find("authorization", None, &lines[1..]), Ok(Some(("c".into(), Ambient))));
        assert_eq!(find("authorization", None, &[]), Ok(None));
    }

    #[test]
    fn a_used_place_is_used_well_or_refused() {
        for (query, why) in [
            ("token=a&token=a", Reason::Repeated),
            ("token=", Reason::Empty),
            ("x=1&token", Reason::Empty),
            ("token=%ff", Reason::NotText),
            (&format!("token={}", "x".repeat(MAX_TOKEN + 1)), Reason::TooLong),
            (&format!("token={}", "x".repeat(40_000)), Reason::TooLong),
        ] {
            let good = [("authorization", "Bearer good"), ("cookie", "jwt=good")];
            assert_eq!(find("authorization", Some(query), &good), Err(why.into()));
        }
        for (lines, why) in [
            (&[("authorization", "Bearer a"), ("authorization", "Bearer b")][..], Reason::Repeated),
            (&[("authorization", "Bearer"), ("cookie", "jwt=good")], Reason::Empty),
            (&[("authorization", "Bearer ü")], Reason::NotText),
            (&[("cookie", "jwt=a; jwt=b")], Reason::Repeated),
            (&[("cookie", "jwt=a"), ("cookie", "jwt=b")], Reason::Repeated),
            (&[("cookie", "a=1; jwt=")], Reason::Empty),
            (&[("cookie", "jwt=\"\"")], Reason::Empty),
        ] {
            assert_eq!(find("authorization", None, lines), Err(why.into()), "{lines:?}");
        }
    }

    #[test]
    fn query_values_are_decoded_and_names_are_not() {
        let found = find("authorization", Some("token=a%2Eb%2ec"), &[]);
        assert_eq!(found, Ok(Some(("a.b.c".into(), Query))));
        assert_eq!(find("authorization", Some("%74oken=a"), &[]), Ok(None));
    }

    #[test]
    fn another_scheme_is_no_credential() {
        for value in ["Basic YTpi", "Bearerx y", "", "Bear"] {
            let lines = [("authorization", value), ("cookie", "jwt=c")];
            assert_eq!(find("authorization", None, &lines), Ok(Some(("c".into(), Ambient))), "{value}");
        }
        for value in ["Bearer t", "bearer t", "BEARER   t "] {
            let found = find("authorization", None, &[("authorization", value)]);
            assert_eq!(found, Ok(Some(("t".into(), Header))), "{value}");
        }
    }

    #[test]
    fn an_own_header_needs_no_scheme() {
        for value in ["t", "Bearer t"] {
            let found = find("x-token", None, &[("x-token", value), ("authorization", "Bearer o")]);
            assert_eq!(found, Ok(Some(("t".into(), Header))));
        }
        assert_eq!(find("x-token", None, &[("x-token", "")]), Err(Reason::Empty.into()));
    }

    #[test]
    fn cookies_are_found_on_any_line_and_beside_foreign_bytes() {
        for lines in [
            &[("cookie", "a=1;jwt=t ;b")][..],
            &[("cookie", "a=ü"), ("cookie", "b; jwt=\"t\"")],
            &[("cookie", " jwt = t")],
        ] {
            assert_eq!(find("authorization", None, lines), Ok(Some(("t".into(), Ambient))));
        }
        assert_eq!(find("authorization", None, &[("cookie", "xjwt=t; JWT=t")]), Ok(None));
    }
}
