//! `sidestream run`: the server, from a file or from flags alone.

use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};
use std::thread;

use tokio::signal::unix::{SignalKind, signal};
use tracing::info;
use tracing::level_filters::LevelFilter;

use crate::config::Config;
use crate::server::Server;
use crate::shutdown;

use super::failure::Failure;

/// The configuration file that commands read when none is named.
pub(super) const DEFAULT_CONFIG: &str = "sidestream.toml";
/// What to do when there is no such file.
const NO_FILE: &str = "name the file with --config, give --upstream and --jwt-secret instead of one, \
                       or see it work with `sidestream demo`";
/// Where the zero-config server listens.
const DEFAULT_LISTEN: &str = "0.0.0.0:8080";

/// Run the server: from a configuration file, or from --upstream and --jwt-secret alone.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Without a file: everything is proxied to --upstream, streams are at /events, the publish socket is
./sidestream.sock and events are kept in memory.

The first SIGTERM or Ctrl-C lets requests finish and moves streams on; the second ends it at once.")]
pub(super) struct Args {
    /// The configuration file.
    #[arg(short, long, value_name = "FILE", default_value = DEFAULT_CONFIG, conflicts_with_all = ["upstream", "jwt_secret"])]
    config: PathBuf,
    /// The app: http://HOST:PORT or unix:PATH.
    #[arg(long, value_name = "ORIGIN", requires = "jwt_secret")]
    upstream: Option<String>,
    /// What signs the tokens of streams (HS256): env:NAME, file:PATH or the secret itself.
    #[arg(long, value_name = "SECRET", requires = "upstream")]
    jwt_secret: Option<String>,
    /// Where to listen: HOST:PORT or unix:PATH [default: 0.0.0.0:8080].
    #[arg(long, value_name = "ADDRESS", requires = "upstream")]
    listen: Option<String>,
}

/// Serves until a signal ends it.
pub(super) fn command(args: Args) -> Result<(), Failure> {
    let config = match (&args.upstream, &args.jwt_secret) {
        (Some(upstream), Some(secret)) => {
            let listen = args.listen.as_deref().unwrap_or(DEFAULT_LISTEN);
            Config::from_flags(upstream, secret, listen)?
        }
        _ => from_file(&args.config, NO_FILE)?,
    };
    log_to_stderr(config.log.level);
    let server = bind(config)?;
    for address in server.addresses() {
        info!(address, "listening");
    }
    if let Some(socket) = server.publish_socket() {
        info!(socket = %socket.display(), "publish socket open");
    }
    if let Some(address) = server.admin_address() {
        info!(address, "admin address open");
    }
    serve(server)
}

/// Binds everything that a configuration names.
pub(super) fn bind(config: Config) -> Result<Server, Failure> {
    Server::bind(config).map_err(|error| Failure::new("the server could not start").because(error))
}

/// Runs a bound server until the first signal drained it or the second one ended it.
pub(super) fn serve(server: Server) -> Result<(), Failure> {
    let (trigger, signal) = shutdown::channel();
    watch_signals(trigger).map_err(|error| Failure::new("signals cannot be watched").because(error))?;
    server.run(signal).map_err(|error| Failure::new("the server could not run").because(error))
}

/// Sends the program's own log to stderr, from `level` on.
pub(super) fn log_to_stderr(level: LevelFilter) {
    // It fails when a log was already set up, which is then as good.
    let _ = tracing_subscriber::fmt()
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal())
        .with_max_level(level)
        .with_target(false)
        .try_init();
}

/// Reads the configuration from a file. When there is none, and none was named, `help` says what to do.
pub(super) fn from_file(path: &Path, help: &str) -> Result<Config, Failure> {
    if path == Path::new(DEFAULT_CONFIG) && !path.exists() {
        return Err(Failure::new(format!("there is no {DEFAULT_CONFIG} in this folder")).help(help));
    }
    Ok(Config::load(path)?)
}

/// Turns SIGTERM and SIGINT into the two steps of a shutdown, on a thread of its own.
///
/// The handlers are in place when this returns.
fn watch_signals(trigger: shutdown::Trigger) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    let (mut terminate, mut interrupt) = {
        let _entered = runtime.enter();
        (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?)
    };
    thread::Builder::new().name("signals".to_owned()).spawn(move || {
        runtime.block_on(async {
            let mut next = async || {
                tokio::select! {
                    _ = terminate.recv() => "SIGTERM",
                    _ = interrupt.recv() => "SIGINT",
                }
            };
            // Awaited outside the macros, which leave their fields alone below the log's level.
            let first = next().await;
            info!(signal = first, "stopping; a second signal ends it at once");
            trigger.drain();
            let second = next().await;
            info!(signal = second, "ending at once");
            trigger.stop();
        });
    })?;
    Ok(())
}
