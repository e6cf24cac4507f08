//! `sidestream check`: reads the configuration as `run` would, and says what it found. Where history is in Redis, it asks
//! there too whether it will do.

use std::fmt::Write;
use std::path::PathBuf;

use crate::config::{Action, Config, Listen, Redis, Route, StoreKind};
use crate::source;
use crate::store::redis::Link;

use super::failure::Failure;
use super::terminal;

/// Check a configuration file without running it, like nginx -t.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The configuration file.
    #[arg(short, long, value_name = "FILE", default_value = super::run::DEFAULT_CONFIG)]
    config: PathBuf,
}

/// Prints `FILE: ok` and what would be served, or every mistake; then tries what it would read.
pub(super) fn command(args: Args) -> Result<(), Failure> {
    let help = "name the file with --config; the README has one to begin with";
    let config = super::run::from_file(&args.config, help)?;
    let redis = match &config.store.kind {
        StoreKind::Redis(redis) => asked(redis)?,
        StoreKind::Memory | StoreKind::Disk { .. } => String::new(),
    };
    terminal::line(format_args!("{}: ok\n{}{redis}", args.config.display(), summary(&config)))?;
    try_sources(&config)
}

/// Asks Redis whether it will do, and says what it is.
fn asked(redis: &Redis) -> Result<String, Failure> {
    let place = &redis.server;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new("Redis cannot be asked").because(error))?;
    let server = runtime.block_on(Link::examine(redis)).map_err(|error| {
        Failure::new(format!("the store in Redis at {place} cannot be used"))
            .because(error)
            .help("docs/redis.md says what Redis has to be and which rights its user needs")
    })?;
    let mut said = format!("\n\n  store    {place} (Redis {})", server.version);
    if server.when_full != "noeviction" {
        let _ = write!(
            said,
            "; its maxmemory-policy is {}, which drops history when memory is full: set it to noeviction",
            server.when_full
        );
    }
    Ok(said)
}

/// Tries the Redis of each source. One that is not there is waited for when it runs, so it is no mistake.
fn try_sources(config: &Config) -> Result<(), Failure> {
    let mut tried = Vec::new();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    for source in &config.sources {
        let (kind, redis) = (&source.kind, &source.redis);
        match runtime.block_on(source::check(source)) {
            Ok(()) => tried.push(format!("  source   {} of {redis}", source::label(kind))),
            Err(error) => terminal::note(format_args!("warning: {error}")),
        }
    }
    if tried.is_empty() { Ok(()) } else { terminal::line(format_args!("\n{}", tried.join("\n"))) }
}

/// The listeners and the routing table, aligned.
fn summary(config: &Config) -> String {
    let mut text = String::new();
    for listen in &config.listen {
        // Writing to a String cannot fail.
        let _ = write!(text, "\n  listen   {}{}", listen.endpoint, listening(listen));
    }
    if let Some(socket) = &config.publish.socket {
        let _ = write!(text, "\n  publish  {socket}");
    }
    if let Some((address, _)) = &config.publish.http {
        let _ = write!(text, "\n  publish  http://{address}");
    }
    text.push('\n');
    let width = config.routes.iter().map(|route| shown_path(route).chars().count()).max().unwrap_or(0);
    for route in &config.routes {
        let _ = write!(text, "\n  {:width$}  {}", shown_path(route), does(config, &route.action));
    }
    text
}

fn listening(listen: &Listen) -> String {
    let mut said = String::new();
    if listen.is_tls() {
        said.push_str(if listen.http2 { " (TLS, HTTP/2)" } else { " (TLS)" });
    }
    if !listen.server_names.is_empty() {
        let _ = write!(said, " for {}", listen.server_names.join(", "));
    }
    said
}

/// The path, a prefix marked by what it stands for, after the hosts if it is held to some.
fn shown_path(route: &Route) -> String {
    let path = if route.is_prefix() { format!("{}*", route.path) } else { route.path.clone() };
    if route.hosts.is_empty() { path } else { format!("{} {path}", route.hosts.join(",")) }
}

fn does(config: &Config, action: &Action) -> String {
    match action {
        Action::Proxy(proxy) => match config.upstreams.get(proxy.upstream) {
            Some(upstream) => {
                let servers: Vec<String> = upstream.servers.iter().map(ToString::to_string).collect();
                format!("proxy    {} ({})", upstream.name, servers.join(", "))
            }
            None => "proxy".to_owned(),
        },
        Action::Files(files) => {
            let mut said = format!("files    {}", files.root.display());
            if files.internal {
                said.push_str(" (for X-Accel-Redirect only)");
            }
            if let Some(upstream) =
                files.try_upstream.as_ref().and_then(|to| config.upstreams.get(to.upstream))
            {
                let _ = write!(said, ", else {}", upstream.name);
            }
            if !files.root.is_dir() {
                said.push_str("; this folder is not there yet");
            }
            said
        }
        Action::Stream(stream) => {
            let who = if stream.auth.is_empty() { "anybody" } else { "with a token" };
            format!("stream   {} ({who})", stream.channels.join(", "))
        }
        Action::Publish(_) => "publish".to_owned(),
    }
}
