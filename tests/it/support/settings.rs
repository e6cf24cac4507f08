//! A configuration with lines of a test's own in any of its sections.

use super::{App, SECRET, Sidestream};

/// Lines for the sections of a configuration: one listener, one upstream, a stream at `/events`, the publish socket.
#[derive(Default)]
pub(crate) struct Settings<'t> {
    /// Lines of `[server]`.
    pub(crate) server: &'t str,
    /// Lines of `[[listen]]`, but for its address.
    pub(crate) listen: &'t str,
    /// Lines of `[upstreams.app]`, but for its servers; it is an ASGI app unless they say otherwise.
    pub(crate) upstream: &'t str,
    /// Lines of the stream's route.
    pub(crate) stream: &'t str,
    /// Further sections.
    pub(crate) more: &'t str,
}

impl Settings<'_> {
    /// Starts a Sidestream in front of an app.
    pub(crate) fn before(&self, app: &App) -> Sidestream {
        Sidestream::start(&self.text(&[&app.origin()]))
    }

    /// The whole text, for an app with these servers.
    pub(crate) fn text(&self, servers: &[&str]) -> String {
        let Self { server, listen, upstream, stream, more } = self;
        let kind = if upstream.contains("kind =") { "" } else { "kind = \"asgi\"" };
        format!(
            r#"
[server]
workers = 2
shutdown_timeout = "3s"
{server}
[log]
access = "access.log"
[publish]
socket = "publish.sock"
[[listen]]
address = "127.0.0.1:0"
{listen}
[upstreams.app]
servers = {servers:?}
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
{stream}
{more}
"#
        )
    }
}
