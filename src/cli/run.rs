//! `sidestream run`: the server, from a file or from flags alone.

mod app;

use std::ffi::OsString;
use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};
use std::process::{self, ExitCode};
use std::thread;

use tokio::signal::unix::{self, SignalKind, signal};
use tracing::{info, warn};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Registry, reload};

use crate::access_log::Rotation;
use crate::config::{Config, Levels};
use crate::handover::{Inheritance, Predecessor, Program};
use crate::server::{Reloads, Server, Source, Upgrades};
use crate::shutdown::{self, Signal, Trigger};
use crate::systemd::Supervisor;

use super::failure::Failure;

use app::App;

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

With an app, its variable PORT is the port of its upstream, and SIDESTREAM_SOCKET the publish socket. When it ends, the server
drains and ends with its exit code; when the server has drained, the app is asked to end.

SIGHUP reads the file again; SIGUSR1 opens the access log's file anew, after it was moved away; SIGUSR2 starts the program anew
in this process's place, with all of its sockets. The first SIGTERM or Ctrl-C lets requests finish and moves streams on; the second ends it at once.")]
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
    /// The app's command, started and watched as a child.
    #[arg(last = true, value_name = "APP")]
    app: Vec<OsString>,
}

/// Serves until a signal ends it.
pub(super) fn command(args: Args) -> Result<ExitCode, Failure> {
    let (config, file) = match (&args.upstream, &args.jwt_secret) {
        (Some(upstream), Some(secret)) => {
            let listen = args.listen.as_deref().unwrap_or(DEFAULT_LISTEN);
            (Config::from_flags(upstream, secret, listen)?, None)
        }
        _ => (from_file(&args.config, NO_FILE)?, Some(args.config)),
    };
    let level = log_to_stderr(&config.log.level);
    let (patience, port) = (config.server.shutdown_timeout, app::port(&config));
    let supervisor = Supervisor::from_env();
    let predecessor = Predecessor::from_env()
        .map_err(|error| Failure::new("the process cannot be replaced").because(error))?;
    let mut server = bind_under(supervisor, predecessor, config)?;
    let reloads = file.map(|path| {
        let source = Source::new(move || Config::load(&path));
        server.reload_from(source.and_then(move |config| level.set(&config.log.level)))
    });
    // Before anybody is told that it listens, and may send a signal.
    let upgrades = upgrades(&mut server, !args.app.is_empty())?;
    let (trigger, signal) = watch(reloads, server.rotation(), Some(upgrades), !args.app.is_empty())?;
    for address in server.addresses() {
        info!(address, "listening");
    }
    if let Some(socket) = server.publish_socket() {
        info!(socket = %socket.display(), "publish socket open");
    }
    if let Some(address) = server.admin_address() {
        info!(address, "admin address open");
    }
    if args.app.is_empty() {
        return run(server, signal).map(|()| ExitCode::SUCCESS);
    }
    // It finds the publish socket, and clients find us: they wait for it as `retry_for` says.
    let app = App::start(&args.app, (port, server.publish_socket()), (trigger, signal.clone()))?;
    let served = run(server, signal.clone());
    let code = app.end(patience, signal);
    served?;
    code.map(ExitCode::from)
}

/// Binds everything that a configuration names.
pub(super) fn bind(config: Config) -> Result<Server, Failure> {
    bind_under(Supervisor::default(), None, config)
}

fn bind_under(
    supervisor: Supervisor,
    predecessor: Option<(Predecessor, Inheritance)>,
    config: Config,
) -> Result<Server, Failure> {
    let server = Server::bind_under(supervisor, predecessor, config);
    server.map_err(|error| Failure::new("the server could not start").because(error))
}

/// Lets the process be replaced by a new one, or says why it may not be.
fn upgrades(server: &mut Server, has_app: bool) -> Result<Result<Upgrades, &'static str>, Failure> {
    if has_app {
        return Ok(Err("it looks after an app, which would be started twice or ended"));
    }
    if process::id() == 1 {
        return Ok(Err(
            "it is the first process of its container, which ends with it; start another container",
        ));
    }
    let Ok(program) = Program::current() else {
        return Ok(Err("the system does not say where the program is; is /proc there?"));
    };
    server
        .upgrade_to(program)
        .map(Ok)
        .map_err(|error| Failure::new("the process cannot be made replaceable").because(error))
}

/// Runs a bound server until the first signal drained it or the second one ended it.
pub(super) fn serve(server: Server) -> Result<(), Failure> {
    let (_, signal) = watch(None, server.rotation(), None, false)?;
    run(server, signal)
}

/// Watches for signals from here on; with something to reload, SIGHUP does that.
fn watch(
    reloads: Option<Reloads>,
    rotation: Rotation,
    upgrades: Option<Result<Upgrades, &'static str>>,
    has_app: bool,
) -> Result<(Trigger, Signal), Failure> {
    let (trigger, signal) = shutdown::channel();
    watch_signals(trigger.clone(), reloads, rotation, upgrades, has_app)
        .map_err(|error| Failure::new("signals cannot be watched").because(error))?;
    Ok((trigger, signal))
}

fn run(server: Server, signal: Signal) -> Result<(), Failure> {
    server.run(signal).map_err(|error| Failure::new("the server could not run").because(error))
}

/// Sends the program's own log to stderr, as much of it as `levels` say. What is returned changes them.
pub(super) fn log_to_stderr(levels: &Levels) -> Level {
    let (filter, level) = reload::Layer::new(targets(levels));
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal())
        .with_target(false);
    // It fails when a log was already set up, which is then as good.
    let _ = tracing_subscriber::registry().with(filter).with(lines).try_init();
    Level(level)
}

/// How much of the program's own log is written.
pub(super) struct Level(reload::Handle<Targets, Registry>);

impl Level {
    fn set(&self, levels: &Levels) {
        // It fails when the log is another one, whose level is not ours to say.
        let _ = self.0.reload(targets(levels));
    }
}

fn targets(levels: &Levels) -> Targets {
    Targets::new().with_default(levels.others).with_targets(levels.targets())
}

/// Reads the configuration from a file. When there is none, and none was named, `help` says what to do.
pub(super) fn from_file(path: &Path, help: &str) -> Result<Config, Failure> {
    if path == Path::new(DEFAULT_CONFIG) && !path.exists() {
        return Err(Failure::new(format!("there is no {DEFAULT_CONFIG} in this folder")).help(help));
    }
    Ok(Config::load(path)?)
}

/// Turns SIGTERM and SIGINT into the two steps of a shutdown, on a thread of its own, SIGUSR1 into a new file of the access
/// log, SIGUSR2 into an upgrade, and SIGHUP into a reload. Where there is nothing to reload, SIGHUP does what the system has it do: a program that
/// was tried out in a terminal ends with it. With an app, which would be left behind, it is one of the two steps then.
///
/// The handlers are in place when this returns.
fn watch_signals(
    trigger: Trigger,
    reloads: Option<Reloads>,
    rotation: Rotation,
    upgrades: Option<Result<Upgrades, &'static str>>,
    has_app: bool,
) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    let ends_by_hangup = has_app && reloads.is_none();
    let (mut ends, mut hangup, mut rotate, hangups, upgrades) = {
        let _entered = runtime.enter();
        let hangup = ends_by_hangup.then(|| signal(SignalKind::hangup())).transpose()?;
        let hangups = reloads.map(|reloads| Ok::<_, io::Error>((signal(SignalKind::hangup())?, reloads)));
        let rotate = signal(SignalKind::user_defined1())?;
        let ends = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        let upgrades =
            upgrades.map(|upgrades| Ok::<_, io::Error>((signal(SignalKind::user_defined2())?, upgrades)));
        (ends, hangup, rotate, hangups.transpose()?, upgrades.transpose()?)
    };
    thread::Builder::new().name("signals".to_owned()).spawn(move || {
        runtime.block_on(async {
            if let Some((mut hangup, reloads)) = hangups {
                tokio::spawn(async move {
                    while hangup.recv().await.is_some() {
                        // What comes of it is in the log.
                        let _ = reloads.reload().await;
                    }
                });
            }
            if let Some((mut asked, upgrades)) = upgrades {
                let trigger = trigger.clone();
                tokio::spawn(async move {
                    while asked.recv().await.is_some() {
                        match &upgrades {
                            Ok(upgrades) => upgrades.ask(&trigger),
                            Err(why) => warn!(why, "the process is not upgraded"),
                        }
                    }
                });
            }
            tokio::spawn(async move {
                while rotate.recv().await.is_some() {
                    rotation.ask();
                }
            });
            let mut next = async || {
                tokio::select! {
                    _ = ends.0.recv() => "SIGTERM",
                    _ = ends.1.recv() => "SIGINT",
                    _ = next_of(&mut hangup) => "SIGHUP",
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

/// The next signal of a kind, if that is watched.
async fn next_of(signals: &mut Option<unix::Signal>) -> Option<()> {
    match signals {
        Some(signals) => signals.recv().await,
        None => std::future::pending().await,
    }
}
