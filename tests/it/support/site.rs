//! A Sidestream in front of an app, with the few lines of configuration that a test is about.

use tempfile::TempDir;

use super::{SECRET, Sidestream};

/// What is to be started. One worker, unless it is said otherwise, so that a connection of its pool is always found
/// again.
pub(crate) struct Site {
    folder: TempDir,
    origin: String,
    workers: usize,
    server: String,
    listen: String,
    upstream: String,
    more: String,
}

impl Site {
    /// In front of an app, as an upstream's server is written. All paths are the app's.
    pub(crate) fn before(origin: impl Into<String>) -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
            origin: origin.into(),
            workers: 1,
            server: String::new(),
            listen: "address = \"127.0.0.1:0\"".to_owned(),
            upstream: String::new(),
            more: String::new(),
        }
    }

    /// Several workers.
    pub(crate) fn workers(mut self, workers: usize) -> Self {
        self.workers = workers;
        self
    }

    /// Lines for `[server]`.
    pub(crate) fn server(mut self, lines: &str) -> Self {
        self.server = format!("{}\n{lines}", self.server);
        self
    }

    /// Lines for its `[[listen]]`, besides the address.
    pub(crate) fn listen(mut self, lines: &str) -> Self {
        self.listen = format!("{}\n{lines}", self.listen);
        self
    }

    /// Lines for its `[upstreams.app]`, besides the server. Unless they say otherwise, it is of the kind "asgi".
    pub(crate) fn upstream(mut self, lines: &str) -> Self {
        self.upstream = format!("{}\n{lines}", self.upstream);
        self
    }

    /// Sections of its own.
    pub(crate) fn more(mut self, sections: &str) -> Self {
        self.more = format!("{}\n{sections}", self.more);
        self
    }

    /// TLS, with a certificate for each list of hosts; the first is the default.
    pub(crate) fn tls(self, certificates: &[&[&str]]) -> Self {
        let mut entries = Vec::new();
        for (place, hosts) in certificates.iter().enumerate() {
            super::tls::certificate(self.folder.path(), &place.to_string(), hosts);
            entries.push(format!("{{ cert = \"{place}.crt\", key = \"{place}.key\" }}"));
        }
        self.listen(&format!("tls = [{}]", entries.join(", ")))
    }

    /// Starts it.
    pub(crate) fn start(self) -> Sidestream {
        let Self { folder, origin, workers, server, listen, upstream, more } = self;
        let kind = if upstream.contains("kind") { "" } else { "kind = \"asgi\"" };
        let text = format!(
            r#"
[server]
workers = {workers}
shutdown_timeout = "3s"
{server}
[log]
access = "access.log"
[publish]
socket = "publish.sock"
[[listen]]
{listen}
[upstreams.app]
servers = ["{origin}"]
{kind}
{upstream}
[auth.jwt]
kind = "jwt"
secret = "{SECRET}"
[[route]]
path = "/"
[route.proxy]
upstream = "app"
[[route]]
path = "/events"
[route.stream]
auth = ["jwt"]
{more}
"#
        );
        Sidestream::start_in(folder, &text)
    }
}
