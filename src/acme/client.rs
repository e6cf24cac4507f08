//! How authorities are spoken to: one bounded exchange a request, and what they say of coming back is kept.

use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::header::{RETRY_AFTER, USER_AGENT};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt as _, Full};
use instant_acme::{BodyWrapper, BytesResponse, Error, HttpClient};
use rustls::ClientConfig;

use crate::config::{Origin, UpstreamTls};
use crate::fetch::{self, Answer, Place};

/// The largest answer, in bytes. A chain of certificates is a few KiB.
const MAX_ANSWER: usize = 1 << 20;
/// How long an answer may take: an authority that signs while it is waited for takes its time.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);
/// Who asks.
const AGENT: HeaderValue = HeaderValue::from_static(concat!("sidestream/", env!("CARGO_PKG_VERSION")));

/// The way to an authority. A cheap handle.
#[derive(Debug, Clone)]
pub(super) struct Client {
    tls: Option<Arc<ClientConfig>>,
    told: Arc<Mutex<Option<SystemTime>>>,
}

impl Client {
    /// A client that trusts the authority if `tls` does; none trusts the public ones.
    pub(super) fn new(tls: Option<&UpstreamTls>) -> Self {
        let tls = tls.map(|tls| tls.config.clone());
        Self { tls, told: Arc::default() }
    }

    /// For how long the authority does not want to be asked again, as it said in its last refusal.
    pub(super) fn told(&self) -> Option<Duration> {
        let told = *self.told.lock().unwrap_or_else(PoisonError::into_inner);
        told.and_then(|told| told.duration_since(SystemTime::now()).ok())
    }

    async fn ask(self, request: Request<BodyWrapper<Bytes>>) -> Result<BytesResponse, Error> {
        let (mut parts, body) = request.into_parts();
        let place = Place::with(origin(&parts.uri)?, self.tls);
        let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
        parts.uri = path.parse().map_err(|error| Error::Other(Box::new(error)))?;
        parts.headers.insert(USER_AGENT, AGENT);
        let Ok(body) = body.collect().await;
        let request = Request::from_parts(parts, body.to_bytes());
        let answer = fetch::send(&place, request, MAX_ANSWER, ANSWER_TIMEOUT).await;
        let answer = answer.map_err(|error| Error::Other(Box::new(error)))?;
        if answer.status.is_client_error() || answer.status.is_server_error() {
            *self.told.lock().unwrap_or_else(PoisonError::into_inner) = back_at(&answer.fields);
            check_said(&answer)?;
        }
        let mut response = Response::new(Full::new(answer.body));
        (*response.status_mut(), *response.headers_mut()) = (answer.status, answer.fields);
        Ok(response.into())
    }
}

impl HttpClient for Client {
    fn request(
        &self,
        request: Request<BodyWrapper<Bytes>>,
    ) -> Pin<Box<dyn Future<Output = Result<BytesResponse, Error>> + Send>> {
        Box::pin(self.clone().ask(request))
    }
}

/// Where a URL is. Nothing goes out in the clear, whatever a directory says.
fn origin(url: &Uri) -> Result<Origin, Error> {
    if url.scheme_str() != Some("https") {
        return Err(Error::Other(Box::new(NotSecure(url.to_string()))));
    }
    let host = url.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
    Ok(Origin::Tls { host: host.to_ascii_lowercase(), port: url.port_u16().unwrap_or(443) })
}

/// Refuses an answer that failed and does not say why in the form of the protocol: it is some machine's on the way.
fn check_said(answer: &Answer) -> Result<(), Error> {
    match serde_json::from_slice::<serde_json::Map<String, serde_json::Value>>(&answer.body) {
        Ok(_) => Ok(()),
        Err(_) => Err(Error::Other(Box::new(Unsaid(answer.status)))),
    }
}

/// When to come back (RFC 9110, section 10.2.3).
fn back_at(fields: &HeaderMap) -> Option<SystemTime> {
    let text = fields.get(RETRY_AFTER)?.to_str().ok()?.trim();
    match text.parse() {
        Ok(seconds) => SystemTime::now().checked_add(Duration::from_secs(seconds)),
        Err(_) => httpdate::parse_http_date(text).ok(),
    }
}

#[derive(Debug)]
struct NotSecure(String);

impl fmt::Display for NotSecure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "it names {}, which is not under https", self.0)
    }
}

impl std::error::Error for NotSecure {}

#[derive(Debug)]
struct Unsaid(StatusCode);

impl fmt::Display for Unsaid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "it answered {} without a reason", self.0)
    }
}

impl std::error::Error for Unsaid {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_https_is_asked() {
        for (url, want) in [
            ("https://ca.example/dir", Some(("ca.example", 443))),
            ("https://CA.example:9000/dir", Some(("ca.example", 9000))),
            ("https://[::1]:14000/dir", Some(("::1", 14000))),
            ("http://ca.example/dir", None),
            ("/dir", None),
        ] {
            let found = origin(&url.parse().unwrap()).ok();
            let want = want.map(|(host, port)| Origin::Tls { host: host.to_owned(), port });
            assert_eq!(found, want, "{url}");
        }
    }

    #[test]
    fn the_time_to_come_back_is_read_in_both_forms() {
        let back = |text: &str| {
            let fields = HeaderMap::from_iter([(RETRY_AFTER, text.parse().unwrap())]);
            back_at(&fields)
        };
        let day = Duration::from_secs(24 * 3600);
        assert_eq!(back("Fri, 02 Jan 1970 00:00:00 GMT"), Some(SystemTime::UNIX_EPOCH + day));
        let ahead = back(" 86400").unwrap().duration_since(SystemTime::now()).unwrap();
        assert!(ahead <= day && ahead > day - Duration::from_secs(60));
        assert_eq!(back("soon"), None);
        assert_eq!(back("18446744073709551615"), None);
    }
}
