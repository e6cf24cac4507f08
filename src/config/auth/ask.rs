//! `kind = "ask"`: the app is asked who a request comes from.

use std::ops::RangeInclusive;
use std::time::Duration;

use http::HeaderName;

use super::{header, one_or_more, plain};
use crate::config::problem::Fault;
use crate::config::reader::Section;
use crate::config::route::named;

const CACHE: Duration = Duration::from_secs(30);
const CACHE_BOUNDS: RangeInclusive<Duration> = Duration::ZERO..=Duration::from_secs(3600);
const RECHECK: Duration = Duration::from_secs(300);
/// A shorter one would be a poll of the app.
const RECHECK_BOUNDS: RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_secs(24 * 3600);

/// The session cookies of Django, NextAuth and Auth.js.
const COOKIES: [&str; 5] = [
    "sessionid",
    "next-auth.session-token",
    "__Secure-next-auth.session-token",
    "authjs.session-token",
    "__Secure-authjs.session-token",
];

/// Identities by a request to the app.
#[derive(Debug, Clone, PartialEq)]
pub struct AskProvider {
    /// Its name in the file.
    pub name: String,
    /// The index into [`Config::upstreams`](crate::config::Config::upstreams).
    pub upstream: usize,
    /// The target that is asked for, from `/` on.
    pub path: String,
    /// The app is asked only if one of these cookies is there (in one piece, or in chunks `.0`, `.1`, …), or an
    /// `Authorization`.
    pub cookies: Vec<String>,
    /// JSON pointers to the user's id in the answer; the first that is found.
    pub user: Vec<String>,
    /// The response header that holds the user's id.
    pub user_header: Option<HeaderName>,
    /// A JSON pointer to the channels that may be asked for.
    pub channels: Option<String>,
    /// How long an answer is good; zero is asked anew each time.
    pub cache: Duration,
    /// How often an open stream's session is asked for again.
    pub recheck: Duration,
}

impl AskProvider {
    pub(super) fn read(name: &str, section: &Section<'_>, upstreams: Option<&Vec<&str>>) -> Option<Self> {
        let upstream = section.required("upstream", "write the NAME of an [upstreams.NAME]");
        let path = section.required("path", "write path = \"/api/me\": where the app says who is signed in");
        let cookies = section
            .value("cookies")
            .map(|value| value.list().iter().filter_map(|entry| entry.parse(plain)).collect());
        let user = section.value("user");
        let user_header = section.value("user_header").and_then(|value| value.parse(header));
        let channels = section.value("channels").and_then(|value| value.parse(pointer));
        let cache = section.duration("cache", CACHE, CACHE_BOUNDS);
        let recheck = section.duration("recheck", RECHECK, RECHECK_BOUNDS);
        if user.is_none() && user_header.is_none() && !section.misspells(&["user", "user_header"]) {
            let problem = section.problem("nothing says where in the app's answer the user is");
            section
                .report
                .add(problem.help("write user = \"/id\" (a JSON pointer) or user_header = \"x-user\""));
        }
        let user = user.map_or_else(Vec::new, |value| {
            let pointers = one_or_more(&value);
            for text in &pointers {
                let _ = pointer(text).map_err(|fault| value.fault(fault));
            }
            pointers
        });
        let upstream = named(&upstream?, "upstreams", upstreams)?;
        let path = path?.parse(target)?;
        Some(Self {
            name: name.to_owned(),
            upstream,
            path,
            cookies: cookies.unwrap_or_else(|| COOKIES.iter().map(ToString::to_string).collect()),
            user,
            // The name was checked above.
            user_header: user_header.and_then(|name| name.parse().ok()),
            channels,
            cache,
            recheck,
        })
    }
}

/// A JSON pointer (RFC 6901).
fn pointer(text: &str) -> Result<String, Fault> {
    if text.starts_with('/') {
        return Ok(text.to_owned());
    }
    Err(Fault::new("is not a JSON pointer").hint(format!("write \"/{text}\"")))
}

/// A path, with a query or without.
pub(super) fn target(text: &str) -> Result<String, Fault> {
    let is_target =
        text.starts_with('/') && text.parse::<http::uri::PathAndQuery>().is_ok() && !text.contains('#');
    if is_target { Ok(text.to_owned()) } else { Err(Fault::new("is not a path").hint("it begins with `/`")) }
}
