//! `sidestream demo`: the whole of Sidestream in front of an app of its own, with a page to see it work.
//!
//! Invariant: it needs nothing but itself and leaves nothing behind. Sockets are in a fresh folder that only this user
//! can enter and that is removed at the end; the secret lives for one run and is in no file.

mod app;
mod folder;

use std::env;
use std::time::{Duration, SystemTime};

use tracing::level_filters::LevelFilter;

use crate::config::{Config, Levels, Secret};

use super::failure::Failure;
use super::{run, terminal, token};
use folder::Folder;

/// The users of the page: their ids and names.
const USERS: [(&str, &str); 2] = [("ana", "Ana"), ("ben", "Ben")];
/// How long the demo's tokens are good for. The page gets new ones, a copied line may be used for that long.
const TOKEN_LIFETIME: Duration = Duration::from_secs(8 * 60 * 60);
/// Bytes of the secret that signs them.
const SECRET_LENGTH: usize = 32;

/// See it work: a page with live notifications, and the lines to try it from a terminal.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Where to listen.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8080")]
    listen: String,
}

/// Serves the demo until a signal ends it.
pub(super) fn command(args: Args) -> Result<(), Failure> {
    let folder = Folder::create()
        .map_err(|error| Failure::new("no folder for the demo's sockets could be made").because(error))?;
    let secret = random_secret()?;
    let app = app::App { secret: secret.clone(), socket: folder.file("publish.sock"), command: own_name() };
    let app_socket = folder.file("app.sock");
    let lines = lines(&app)?;
    app::start(&app_socket, app)
        .map_err(|error| Failure::new("the demo's app could not be started").because(error))?;
    let text = configuration(&args.listen, &folder, &secret);
    let config = Config::parse(&text, "the demo's configuration", folder.path())?;

    run::log_to_stderr(&Levels::all(LevelFilter::WARN));
    let server = run::bind(config).map_err(|failure| {
        failure.help(format!(
            "if another program has {}, take another port: `{} demo --listen 127.0.0.1:8081`",
            args.listen,
            own_name()
        ))
    })?;
    let origin = format!("http://{}", server.addresses().first().map_or("", String::as_str));
    terminal::line(lines.replace("{origin}", &origin))?;
    run::serve(server)
}

/// A token for one of the page's users.
fn token_for(user: &str, secret: &Secret) -> Result<String, Failure> {
    token::sign(user, TOKEN_LIFETIME, Vec::new(), secret, SystemTime::now())
}

/// What the terminal shows. `{origin}` stands where the address comes once it is known.
fn lines(app: &app::App) -> Result<String, Failure> {
    let (user, name) = USERS[0];
    let token = token_for(user, &app.secret)?;
    let socket = app.socket.display();
    let command = &app.command;
    Ok(format!(
        "\
Sidestream {version} demo: open {{origin}}

Watch {name}'s stream:
  curl -N '{{origin}}/events?token={token}'

Push to {name}:
  {command} publish --socket {socket} --user {user} --event notification --data '{{\"title\": \"Hello\"}}'

The same without Sidestream's command:
  curl --unix-socket {socket} -H 'content-type: application/json' \\
    -d '{{\"user\": \"{user}\", \"event\": \"notification\", \"data\": {{\"title\": \"Hello\"}}}}' http://localhost/publish

Ctrl-C ends it and leaves nothing behind.",
        version = env!("CARGO_PKG_VERSION"),
    ))
}

/// The demo as a file would configure it.
fn configuration(listen: &str, folder: &Folder, secret: &Secret) -> String {
    let quoted = |text: &str| toml::Value::from(text).to_string();
    format!(
        "\
[server]
shutdown_timeout = \"2s\"

[[listen]]
address = {listen}

[upstreams.app]
servers = [{app}]
kind = \"node\"

[auth.demo]
kind = \"jwt\"
secret = {secret}

[publish]
socket = {publish}
mode = \"0600\"

[log]
access = \"off\"

[[route]]
path = \"/events\"
[route.stream]
auth = [\"demo\"]
hello = {{ event = \"hello\", data = \"{{}}\" }}
heartbeat = {{ every = \"15s\" }}
retry = \"1s\"

[[route]]
path = \"/\"
[route.proxy]
upstream = \"app\"
",
        listen = quoted(listen),
        app = quoted(&format!("unix:{}", folder.file("app.sock").display())),
        publish = quoted(&folder.file("publish.sock").display().to_string()),
        secret = quoted(secret.expose()),
    )
}

/// A fresh secret, as hexadecimal digits.
fn random_secret() -> Result<Secret, Failure> {
    let mut bytes = [0; SECRET_LENGTH];
    aws_lc_rs::rand::fill(&mut bytes)
        .map_err(|error| Failure::new("the system gives no random bytes").because(error))?;
    let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    Secret::resolve(&digits).map_err(|error| Failure::new("the demo's secret").because(error))
}

/// How this program was called, so that lines to copy call it in the same way.
fn own_name() -> String {
    env::args()
        .next()
        .filter(|name| name.contains('/') && !name.contains([' ', '\'', '"']))
        .unwrap_or_else(|| "sidestream".to_owned())
}

#[cfg(test)]
mod tests {
    use crate::config::{Action, SocketPlace};

    use super::*;

    #[test]
    fn its_configuration_is_valid() {
        let folder = Folder::create().unwrap();
        let secret = random_secret().unwrap();
        let text = configuration("127.0.0.1:0", &folder, &secret);
        let config = Config::parse(&text, "demo", folder.path()).unwrap();
        assert!(matches!(config.routes[0].action, Action::Stream(_)));
        assert_eq!(config.publish.socket, Some(SocketPlace::Path(folder.file("publish.sock"))));
    }

    #[test]
    fn two_runs_have_different_secrets() {
        assert_ne!(random_secret().unwrap().expose(), random_secret().unwrap().expose());
    }

    #[test]
    fn the_terminal_shows_lines_to_copy() {
        let app = app::App {
            secret: random_secret().unwrap(),
            socket: "/tmp/d/publish.sock".into(),
            command: "sidestream".into(),
        };
        let shown = lines(&app).unwrap().replace("{origin}", "http://127.0.0.1:8080");
        for line in [
            "open http://127.0.0.1:8080\n",
            "  curl -N 'http://127.0.0.1:8080/events?token=ey",
            "publish --socket /tmp/d/publish.sock --user ana --event notification --data '{\"title\": \"Hello\"}'\n",
        ] {
            assert!(shown.contains(line), "{line}");
        }
    }
}
