//! What the tests stand on: a Sidestream in this process, apps that say exactly what a test wants, and clients that
//! show every byte. Everything is on port 0 and in temporary folders, and every wait has an end.

pub(crate) mod app;
pub(crate) mod backend;
pub(crate) mod client;
pub(crate) mod counters;
pub(crate) mod frames;
pub(crate) mod h2;
pub(crate) mod h2_session;
pub(crate) mod narrow;
pub(crate) mod pace;
pub(crate) mod port;
pub(crate) mod program;
pub(crate) mod session;
pub(crate) mod settings;
pub(crate) mod site;
pub(crate) mod subscriber;
pub(crate) mod tls;
pub(crate) mod tokens;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use sidestream::config::Config;
use sidestream::server::{ReloadError, Reloaded, Reloads, Server, Source};
use sidestream::shutdown::{self, Trigger};
use tempfile::TempDir;

pub(crate) use app::App;
pub(crate) use backend::Backend;
pub(crate) use client::{Client, Response};
pub(crate) use pace::at_some_pace;
pub(crate) use port::Port;
pub(crate) use program::Program;
pub(crate) use site::Site;
pub(crate) use subscriber::{Said, Subscriber};
pub(crate) use tokens::{SECRET, token};

/// How long a test waits for anything. Longer than any machine is busy with something else.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A running Sidestream. Stopped, and waited for, when it is dropped.
pub(crate) struct Sidestream {
    pub(crate) folder: TempDir,
    addresses: Vec<String>,
    admin: Option<String>,
    trigger: Trigger,
    thread: Option<JoinHandle<()>>,
    /// What it reads when it is to reload.
    text: Arc<Mutex<String>>,
    pub(crate) reloads: Reloads,
}

impl Sidestream {
    /// Starts one from the text of its configuration. Relative paths in it are in a folder of its own.
    pub(crate) fn start(text: &str) -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), text)
    }

    /// Starts one in a folder that has been prepared.
    pub(crate) fn start_in(folder: TempDir, text: &str) -> Self {
        let config =
            Config::parse(text, "test.toml", folder.path()).unwrap_or_else(|error| panic!("{error}"));
        let mut server = Server::bind(config).unwrap_or_else(|error| panic!("{error}"));
        let addresses = server.addresses().to_vec();
        let admin = server.admin_address().map(str::to_owned);
        let (trigger, signal) = shutdown::channel();
        let text = Arc::new(Mutex::new(text.to_owned()));
        let (newest, base) = (text.clone(), folder.path().to_owned());
        let load = move || Config::parse(&newest.lock().unwrap(), "test.toml", &base);
        let reloads = server.reload_from(Source::new(load));
        let thread = std::thread::spawn(move || server.run(signal).unwrap());
        Self { folder, addresses, admin, trigger, thread: Some(thread), text, reloads }
    }

    /// Has it read another text.
    pub(crate) fn reload(&self, text: &str) -> Result<Reloaded, ReloadError> {
        text.clone_into(&mut self.text.lock().unwrap());
        self.reloads.reload_blocking()
    }

    /// The same, with something in the text that it has read last put in the place of something else.
    pub(crate) fn reload_with(&self, what: &str, instead: &str) -> Reloaded {
        let before = self.text.lock().unwrap().clone();
        assert!(before.contains(what), "{what} is not in {before}");
        self.reload(&before.replace(what, instead)).unwrap_or_else(|error| panic!("{error}"))
    }

    /// Puts something in the place of something else in the text that is read at the next reload.
    pub(crate) fn rewrite(&self, what: &str, instead: &str) {
        let mut text = self.text.lock().unwrap();
        assert!(text.contains(what), "{what} is not in {text}");
        *text = text.replace(what, instead);
    }

    /// The address of the first listener.
    pub(crate) fn address(&self) -> &str {
        &self.addresses[0]
    }

    /// The address of a listener, in the order of the configuration.
    pub(crate) fn address_of(&self, listener: usize) -> &str {
        &self.addresses[listener]
    }

    /// A connection to the admin address.
    pub(crate) fn admin(&self) -> Client {
        Client::connect(self.admin.as_deref().unwrap())
    }

    /// A connection to the first listener.
    pub(crate) fn connect(&self) -> Client {
        Client::connect(self.address())
    }

    /// The publish socket, if the configuration names it `publish.sock`.
    pub(crate) fn publish_socket(&self) -> PathBuf {
        self.path("publish.sock")
    }

    /// What its access log holds, without a line that is still being written; nothing if there is no file yet.
    pub(crate) fn access_log(&self) -> String {
        let text = std::fs::read_to_string(self.path("access.log")).unwrap_or_default();
        text.rfind('\n').map_or_else(String::new, |end| text[..=end].to_owned())
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Publishes over the socket and returns the reply.
    pub(crate) fn publish(&self, publication: &str) -> serde_json::Value {
        publish(&self.publish_socket(), publication)
    }

    /// Posts JSON to a path of the publish socket.
    pub(crate) fn post(&self, path: &str, json: &str) -> Response {
        let socket = format!("unix:{}", self.publish_socket().display());
        Client::connect(&socket).post(path, "Connection: close\r\n", json).response()
    }

    /// Begins the graceful end.
    pub(crate) fn drain(&self) {
        self.trigger.drain();
    }

    /// Ends at once.
    pub(crate) fn stop(&self) {
        self.trigger.stop();
    }

    /// Waits for the end and returns the folder.
    pub(crate) fn wait(mut self) {
        self.thread.take().unwrap().join().unwrap();
    }
}

impl Drop for Sidestream {
    fn drop(&mut self) {
        self.trigger.stop();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
            && !std::thread::panicking()
        {
            panic!("the server panicked");
        }
    }
}

/// Hands one line to a publish socket and reads its reply.
pub(crate) fn publish(socket: &Path, publication: &str) -> serde_json::Value {
    use std::io::{BufRead as _, BufReader, Write as _};
    let mut stream = std::os::unix::net::UnixStream::connect(socket).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    // Who is turned away may be told so before he has written.
    let _ = stream.write_all(format!("{publication}\n").as_bytes());
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).unwrap();
    serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line:?}"))
}

/// A configuration in front of an app, with a stream at `/events` for tokens of [`SECRET`]; `more` is added at its
/// end, and `stream` to the stream's route.
pub(crate) fn in_front_of(upstream: &str, stream: &str, more: &str) -> String {
    format!(
        r#"
[server]
workers = 2
shutdown_timeout = "3s"
[log]
access = "access.log"
[publish]
socket = "publish.sock"
[[listen]]
address = "127.0.0.1:0"
[upstreams.app]
servers = ["{upstream}"]
kind = "asgi"
[auth.jwt]
kind = "jwt"
secret = "{SECRET}"
cookie = "token"
[[route]]
path = "/"
[route.proxy]
upstream = "app"
[[route]]
path = "/events"
[route.stream]
auth = ["jwt"]
{stream}
{more}
"#
    )
}

/// The fields that ask for a WebSocket.
pub(crate) const WEBSOCKET: &str = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
     Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

/// An app that is not there, for tests that never ask it.
pub(crate) const NO_APP: &str = "http://127.0.0.1:9";
