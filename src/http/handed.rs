//! A file that an app names in the place of an answer's body.

use http::header::{HeaderMap, HeaderName, HeaderValue};

const X_ACCEL_REDIRECT: HeaderName = HeaderName::from_static("x-accel-redirect");
const X_SENDFILE: HeaderName = HeaderName::from_static("x-sendfile");

/// Which file an app wants sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HandedFile {
    /// That at a path of the routing table, encoded as in a target (`X-Accel-Redirect`).
    Target(HeaderValue),
    /// That at an absolute path of this machine (`X-Sendfile`).
    Path(HeaderValue),
}

impl HandedFile {
    /// What the fields of an answer name. An empty value names nothing.
    pub(super) fn named(fields: &HeaderMap) -> Option<Self> {
        let value = |name| fields.get(name).filter(|value| !value.is_empty()).cloned();
        value(X_ACCEL_REDIRECT).map(Self::Target).or_else(|| value(X_SENDFILE).map(Self::Path))
    }
}
