//! `[[route]]`: a path, and the one thing that happens there.

use super::host::hosts;
use super::problem::{Fault, Problem, quote};
use super::reader::{Section, Value};
use super::upstream::BODY_BOUNDS;
use super::{Upstream, schema, suggest};

mod compress;
mod cors;
mod files;
mod front;
mod map;
mod path;
mod pattern;
mod prefix;
mod publish;
mod replay;
mod rules;
mod said;
mod stream;

pub use compress::{Compress, Compression};
pub use cors::{Cors, Origins};
pub use files::{FilesRoute, Immutable};
pub use front::{BasicAuth, Front, Password, RateBy, RateLimit};
pub(super) use map::pointer;
pub use map::{Map, Piece, Pointer, Template};
pub use publish::{PublishCheck, PublishRoute, To};
pub use replay::{ReadWhen, Replay};
pub use rules::HeaderRules;
pub use said::{Heartbeat, HeartbeatForm, OnGap, Said};
pub use stream::{StreamRoute, Unauthorized};

/// What routes may name, in the order of the indexes. Sections with mistakes are among them, so that one mistake
/// does not bring another one; for the same reason there are none if the whole list is misspelt.
pub(super) struct Names<'a> {
    /// Names of upstreams.
    pub(super) upstreams: Option<Vec<&'a str>>,
    /// Names of providers.
    pub(super) auth: Option<Vec<&'a str>>,
}

/// One row of the routing table.
#[derive(Debug, Clone, PartialEq)]
pub struct Route {
    /// The path, from `/` on, as it stands in a request target before any `?`.
    pub path: String,
    /// The hosts it is for, in lower case; empty is any.
    pub hosts: Vec<String>,
    /// Which pages of other origins may use it; none are those of its own origin only.
    pub cors: Option<Cors>,
    /// What a request has to pass first; none is nothing.
    pub front: Option<Box<Front>>,
    /// What happens there.
    pub action: Action,
}

impl Route {
    /// What tells it from all other routes, and is the same in another process: two may share a path on different hosts.
    pub fn name(&self) -> String {
        format!("{} {}", self.path, self.hosts.join(" "))
    }

    /// What it is called where things are counted: its path, and behind it the hosts that it is for.
    pub fn label(&self) -> String {
        std::iter::once(&self.path).chain(&self.hosts).cloned().collect::<Vec<_>>().join(" ")
    }

    /// The app behind it, by its place in the configuration.
    pub fn upstream(&self) -> Option<usize> {
        match &self.action {
            Action::Proxy(proxy) => Some(proxy.upstream),
            Action::Files(files) => files.try_upstream.as_ref().map(|proxy| proxy.upstream),
            Action::Stream(_) | Action::Publish(_) => None,
        }
    }

    /// Reads the routing table.
    pub(super) fn read_all(sections: &[Section<'_>], names: &Names<'_>, upstreams: &[Upstream]) -> Vec<Self> {
        let mut routes: Vec<Self> = Vec::new();
        for section in sections {
            let Some(route) = Self::read(section, names, upstreams) else {
                continue;
            };
            if routes.iter().any(|earlier| earlier.is_shadowed_by(&route)) {
                let on = if route.hosts.is_empty() { "" } else { " on the same host" };
                section.report.add(
                    Problem::new(format!("an earlier route has the path {}{on}", quote(&route.path)))
                        .at(section.value_span("path")),
                );
            }
            routes.push(route);
        }
        routes
    }

    fn read(section: &Section<'_>, names: &Names<'_>, upstreams: &[Upstream]) -> Option<Self> {
        let path = section.required("path", "write path = \"/\" for everything");
        let hosts = hosts(section.value("hosts"));
        let cors = section.section("cors", &schema::CORS).and_then(|section| Cors::read(&section));
        let internal = section.value("internal").and_then(|value| value.flag()).unwrap_or(false);
        let front = Front::read(section);
        let proxy = section.section("proxy", &schema::ROUTE_PROXY);
        let files = section.section("files", &schema::ROUTE_FILES);
        let stream = section.section("stream", &schema::ROUTE_STREAM);
        let publish = section.section("publish", &schema::ROUTE_PUBLISH);

        let mut there = ["proxy", "files", "stream", "publish"].into_iter().filter(|key| section.has(key));
        match (there.next(), there.next()) {
            (Some(first), Some(second)) => {
                let problem =
                    Problem::new(format!("a route has one action, and this one has `{first}` already"));
                section.report.add(problem.at(section.key_span(second)));
            }
            (None, _) if !section.has_unknown_table() => {
                let help = "add [route.proxy], [route.files], [route.stream] or [route.publish] below it";
                section.report.add(section.problem("the route has no action").help(help));
            }
            _ => {}
        }
        if section.has("cors") && proxy.is_some() {
            let problem = Problem::new("the app behind a proxy route answers pages of other origins itself");
            let problem = problem.at(section.key_span("cors"));
            section.report.add(problem.hint("`cors` is for files, stream and publish routes"));
        }
        if let (Some(_), Some(stream)) = (&cors, &stream) {
            only_one_cors(stream);
        }
        files::only_for_files(section, internal);
        front::only_where_it_counts(section, internal);
        let written = path.as_ref().and_then(|path| path.node().as_str());
        let proxy = proxy.map(|section| {
            ProxyRoute::read(&section, names, upstreams, written).map(Box::new).map(Action::Proxy)
        });
        let files = files.map(|section| {
            FilesRoute::read(&section, names, upstreams, internal).map(Box::new).map(Action::Files)
        });
        let stream =
            stream.map(|section| StreamRoute::read(&section, names).map(Box::new).map(Action::Stream));
        let publish = publish.map(|section| PublishRoute::read(&section, names).map(Action::Publish));
        let path = path?.parse(path::check)?;
        let action = proxy.or(files).or(stream).or(publish)??;
        Some(Self { path: path.to_owned(), hosts, cors, front, action })
    }

    /// Whether no request could tell the two apart. A prefix and an exact path are told apart, and a route for some
    /// hosts and one for any.
    fn is_shadowed_by(&self, other: &Self) -> bool {
        self.path == other.path
            && self.is_prefix() == other.is_prefix()
            && (self.hosts.is_empty() && other.hosts.is_empty()
                || self.hosts.iter().any(|host| other.hosts.contains(host)))
    }

    /// Whether the path is a prefix: a `proxy` or `files` route whose path ends in `/`. Every other path is exact.
    pub fn is_prefix(&self) -> bool {
        matches!(self.action, Action::Proxy(_) | Action::Files(_)) && self.path.ends_with('/')
    }
}

/// Reports response headers that say what `cors` says already.
fn only_one_cors(stream: &Section<'_>) {
    let Some(headers) = stream.value("headers").filter(Value::is_table) else { return };
    for (name, _) in headers.entries() {
        let lower = name.get_ref().to_ascii_lowercase();
        if matches!(&*lower, "access-control-allow-origin" | "access-control-allow-credentials") {
            let problem =
                Problem::new(format!("`{lower}` is what `cors` of this route sets")).at(name.span());
            stream.report.add(problem.hint("keep one of the two"));
        }
    }
}

/// What a route does.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Forwards to an upstream.
    Proxy(Box<ProxyRoute>),
    /// Serves the files of a folder.
    Files(Box<FilesRoute>),
    /// Is a subscriber's stream.
    Stream(Box<StreamRoute>),
    /// Takes publications from outside.
    Publish(PublishRoute),
}

/// Forwards to an upstream.
#[derive(Debug, Clone, PartialEq)]
pub struct ProxyRoute {
    /// The index into [`Config::upstreams`](super::Config::upstreams).
    pub upstream: usize,
    /// The largest request body, in bytes: the route's own bound, or else its upstream's.
    pub max_body: u64,
    /// The beginning of the path that the app does not get to see, without a `/` at its end.
    pub strip_prefix: Option<String>,
    /// What is changed in requests, after everything that Sidestream changes itself.
    pub request_headers: HeaderRules,
    /// What is changed in answers, those of Sidestream's own among them.
    pub response_headers: HeaderRules,
    /// Which answers are compressed; none are if it is absent.
    pub compress: Option<Compress>,
}

impl ProxyRoute {
    fn read(
        section: &Section<'_>,
        names: &Names<'_>,
        upstreams: &[Upstream],
        path: Option<&str>,
    ) -> Option<Self> {
        let upstream = section.required("upstream", "write the NAME of an [upstreams.NAME]");
        let max_body = section.value("max_body").and_then(|value| value.size(BODY_BOUNDS));
        let strip_prefix = section.value("strip_prefix").and_then(|value| prefix::read(&value, path));
        let rules = |key, read: fn(&Value<'_>) -> HeaderRules| {
            section.value(key).map_or_else(HeaderRules::default, |value| read(&value))
        };
        let request_headers = rules("request_headers", HeaderRules::of_requests);
        let response_headers = rules("response_headers", HeaderRules::of_responses);
        let compress = section.value("compress").and_then(|value| Compress::read(&value));
        let upstream = named(&upstream?, "upstreams", names.upstreams.as_ref())?;
        let route = Self::new(upstream, upstreams);
        let max_body = max_body.unwrap_or(route.max_body);
        Some(Self { max_body, strip_prefix, request_headers, response_headers, compress, ..route })
    }

    /// A route with the defaults of the file.
    pub(crate) fn new(upstream: usize, upstreams: &[Upstream]) -> Self {
        Self {
            upstream,
            // A missing one has a mistake of its own, and the result is void.
            max_body: upstreams.get(upstream).map_or(0, |upstream| upstream.max_body),
            strip_prefix: None,
            request_headers: HeaderRules::default(),
            response_headers: HeaderRules::default(),
            compress: None,
        }
    }
}

/// The index of what a value names.
pub(super) fn named(value: &Value<'_>, section: &str, names: Option<&Vec<&str>>) -> Option<usize> {
    value.parse(|text| {
        let Some(names) = names else {
            return Ok(0);
        };
        names.iter().position(|name| *name == text).ok_or_else(|| {
            let fault = Fault::new(format!("names {}, but no [{section}.NAME] is called that", quote(text)));
            match suggest::closest(text, names.iter().copied()) {
                Some(meant) => fault.hint(format!("did you mean \"{meant}\"?")),
                None if names.is_empty() => fault.hint(format!("there is no [{section}.NAME] at all")),
                None => fault.hint(format!("there are: {}", names.join(", "))),
            }
        })
    })
}
