//! The configuration, typed: what a `sidestream.toml` means once every value in it is known to be good.
//!
//! Invariant: a [`Config`] that exists can be run. Names have been resolved to indexes, secrets read, certificates
//! matched with their keys, paths and patterns checked; nothing behind this module validates again. The way from
//! bytes to here is [`Config::load`]; its mistakes are [`Problems`] that point into the file.

mod admin;
mod auth;
mod certificate;
mod difference;
mod host;
mod limits;
mod listen;
mod log;
mod networks;
mod pages;
mod problem;
mod publish;
mod reader;
mod redis;
mod route;
mod schema;
mod secret;
mod server;
mod source;
mod store;
mod suggest;
mod units;
mod upstream;

use std::path::{Path, PathBuf};
use std::{fs, io};

use toml::de::DeTable;

use crate::metrics::RouteLabel;

pub use admin::Admin;
pub use auth::{AskProvider, Auth, AuthJsProvider, JwksSource, JwtKey, JwtKeyKind, JwtKeys, JwtProvider};
pub use certificate::{Certificate, CertificateError, ClientCa, FileStamp};
pub use limits::Limits;
pub use listen::{Acme, ChallengeKind, Deadlines, Endpoint, Hsts, Listen, RedirectPort};
pub use log::{AccessLog, Levels, Log, Traces};
pub use networks::Networks;
pub use pages::{ErrorPages, Page, PagePiece};
pub use problem::{Problem, Problems};
pub use publish::{Publish, SocketPlace};
pub use redis::{RedisPlace, RedisServer};
pub use route::{
    Action, BasicAuth, Compress, Compression, Cors, FilesRoute, Front, HeaderRules, Heartbeat, HeartbeatForm,
    Immutable, Map, OnGap, Origins, Password, Piece, Pointer, ProxyRoute, PublishCheck, PublishRoute, RateBy,
    RateLimit, ReadWhen, Replay, Route, Said, StreamRoute, Template, To, Unauthorized,
};
pub use secret::{Secret, SecretError};
pub use server::{Server, TrustedProxies};
pub use source::{ReadSet, Source, SourceKind, UserKey};
pub use store::{Redis, Store, StoreKind};
pub use upstream::{Balance, Health, Origin, Upstream, UpstreamKind, UpstreamTls};

use problem::Fault;
use reader::{Report, Section};
use route::Names;

/// The largest file, in bytes.
const MAX_FILE: u64 = 1 << 20;
/// What a Unix socket's address holds, less the NUL at its end (unix(7)).
const MAX_SOCKET_PATH: usize = 107;

/// Everything one Sidestream process is told, in the order of the file's sections.
#[derive(Debug, Clone)]
pub struct Config {
    /// What holds for the whole process.
    pub server: Server,
    /// Where clients come in; at least one.
    pub listen: Vec<Listen>,
    /// The apps behind.
    pub upstreams: Vec<Upstream>,
    /// Who a subscriber is.
    pub auth: Vec<Auth>,
    /// Where the app publishes.
    pub publish: Publish,
    /// How much history is kept.
    pub store: Store,
    /// What is written down.
    pub log: Log,
    /// Where the operator looks in, if anywhere.
    pub admin: Option<Admin>,
    /// How many streams there may be, and how fast they may come.
    pub limits: Limits,
    /// The routing table; at least one row.
    pub routes: Vec<Route>,
    /// Publishers that speak Redis.
    pub sources: Vec<Source>,
}

impl Config {
    /// Reads the file at `path`. Relative paths in it are taken from the folder it stands in.
    pub fn load(path: &Path) -> Result<Self, Problems> {
        let file = path.display().to_string();
        let text = read_text(path).map_err(|problem| Problems::new(&file, "", vec![problem]))?;
        Self::parse(&text, &file, path.parent().unwrap_or(Path::new("")))
    }

    /// Reads a configuration from its text. `file` is how the file is called in problems; relative paths are taken
    /// from `base`.
    pub fn parse(text: &str, file: &str, base: &Path) -> Result<Self, Problems> {
        let (table, errors) = DeTable::parse_recoverable(text);
        if let Some(first) = errors.first() {
            let problem = Problem::new(format!("this is not TOML: {}", first.message()));
            let problem = first.span().into_iter().fold(problem, Problem::at);
            return Err(Problems::new(file, text, vec![problem]));
        }
        let report = Report::new(base);
        let config = Self::read(&Section::new(&report, &schema::ROOT, table.get_ref(), 0..0));
        match report.into_problems() {
            problems if problems.is_empty() => Ok(config),
            problems => Err(Problems::new(file, text, problems)),
        }
    }

    /// Reads the sections. What comes back is worth something only if nothing was reported.
    fn read(file: &Section<'_>) -> Self {
        let report = file.report;
        let server = Server::read(file.section("server", &schema::SERVER));
        let listen = file.sections("listen", &schema::LISTEN);
        let upstreams = file.named("upstreams", &schema::UPSTREAM);
        let auth = file.named_by("auth", schema::AUTH.title, Auth::shape);
        let routes = file.sections("route", &schema::ROUTE);
        for (key, help) in [
            ("listen", "add [[listen]] with an address"),
            ("route", "add [[route]] with a path and an action"),
        ] {
            if (!file.has(key) || file.is_empty_list(key)) && !file.misspells(&[key]) {
                report.add(Problem::new(format!("there is no [[{key}]]")).hint(help));
            }
        }
        let misspelt = |key| file.misspells(&[key]);
        let store = Store::read(file.section("store", &schema::STORE), report.base);
        let names = Names {
            upstreams: (!misspelt("upstreams")).then(|| upstreams.iter().map(|(name, _)| *name).collect()),
            auth: (!misspelt("auth")).then(|| auth.iter().map(|(name, _)| *name).collect()),
        };
        let sources = file.sections("source", &schema::SOURCE);
        let (listen, taken) = Listen::read_all(&listen, &server.trusted_proxies);
        let upstreams: Vec<_> =
            upstreams.iter().filter_map(|(name, section)| Upstream::read(name, section)).collect();
        let routes = Route::read_all(&routes, &names, &upstreams);
        Self {
            server,
            sources: Source::read_all(&sources, &routes),
            publish: Publish::read(file.section("publish", &schema::PUBLISH), report.base, &taken),
            admin: Admin::read(file.section("admin", &schema::ADMIN), report.base, &taken),
            listen,
            auth: auth
                .iter()
                .filter_map(|(name, section)| Auth::read(name, section, names.upstreams.as_ref()))
                .collect(),
            store,
            log: Log::read(file.section("log", &schema::LOG), report.base),
            limits: Limits::read(file.section("limits", &schema::LIMITS)),
            routes,
            upstreams,
        }
    }

    /// What a route is called where its requests are counted.
    pub fn label_of(&self, route: &Route) -> RouteLabel {
        let upstream = route.upstream().and_then(|place| self.upstreams.get(place));
        let upstream = upstream.map(|upstream| upstream.name.clone()).unwrap_or_default();
        RouteLabel { route: route.label(), upstream }
    }

    /// The configuration of a `run` without a file: everything goes to the upstream, except a stream at `/events`
    /// whose tokens are signed with the secret. Problems name the flag.
    pub fn from_flags(upstream: &str, jwt_secret: &str, listen: &str) -> Result<Self, Problems> {
        let base = Path::new("");
        let mut problems = Vec::new();
        let mut keep = |flag: &str, fault: Fault| problems.push(fault.of_flag(flag));
        let origin = Origin::parse(upstream, base).map_err(|fault| keep("--upstream", fault));
        let provider = Secret::resolve(jwt_secret)
            .map_err(|error| error.fault())
            .and_then(|secret| JwtProvider::from_secret("jwt", &secret))
            .map_err(|fault| keep("--jwt-secret", fault));
        let endpoint = Endpoint::parse(listen, base).map_err(|fault| keep("--listen", fault));
        let (Ok(origin), Ok(provider), Ok(endpoint)) = (origin, provider, endpoint) else {
            return Err(Problems::new("the command line", "", problems));
        };
        let upstream = Upstream::new("app", vec![origin]);
        let routes = vec![
            Route {
                path: "/".to_owned(),
                hosts: Vec::new(),
                cors: None,
                front: None,
                action: Action::Proxy(Box::new(ProxyRoute::new(0, std::slice::from_ref(&upstream)))),
            },
            Route {
                path: "/events".to_owned(),
                hosts: Vec::new(),
                cors: None,
                front: None,
                action: Action::Stream(Box::new(StreamRoute::new(vec![0]))),
            },
        ];
        Ok(Self {
            server: Server::default(),
            listen: vec![Listen::new(endpoint)],
            upstreams: vec![upstream],
            auth: vec![Auth::Jwt(provider)],
            publish: Publish::new(Path::new(".")),
            store: Store::default(),
            log: Log::default(),
            admin: None,
            limits: Limits::default(),
            routes,
            sources: Vec::new(),
        })
    }
}

/// Reads the text of the file.
fn read_text(path: &Path) -> Result<String, Problem> {
    let unreadable = |error: io::Error| Problem::new(format!("the file cannot be read: {error}"));
    if fs::metadata(path).map_err(unreadable)?.len() > MAX_FILE {
        return Err(Problem::new("the file is larger than 1MiB, which no configuration is"));
    }
    String::from_utf8(fs::read(path).map_err(unreadable)?).map_err(|error| {
        let good = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let line = memchr::memchr_iter(b'\n', good).count() + 1;
        Problem::new(format!("line {line} of the file is not UTF-8"))
    })
}

/// Reads the path of a Unix socket.
fn unix_path(path: &str, base: &Path) -> Result<PathBuf, Fault> {
    if path.is_empty() {
        return Err(Fault::new("has no path").hint("write \"unix:/run/app.sock\""));
    }
    if path.contains('\0') {
        return Err(Fault::new("holds NUL"));
    }
    // Without the dots that joining leaves in the middle.
    let path: PathBuf = base.join(path).components().collect();
    if path.as_os_str().len() > MAX_SOCKET_PATH {
        return Err(Fault::new(format!(
            "is longer than the {MAX_SOCKET_PATH} bytes that a socket's path can have"
        )));
    }
    Ok(path)
}
