//! What `sidestream check` says about configurations that are wrong, and what it takes from those that are right.

use std::path::Path;

use sidestream::config::{Action, Config, Problems, Route, StreamRoute};

mod arbitrary;
mod example;
mod files;
mod mistakes;
mod values;

/// A configuration with nothing wrong; the cases break it.
const GOOD: &str = r#"[[listen]]
address = ":8080"
[upstreams.app]
servers = ["http://127.0.0.1:8000"]
[auth.jwt]
kind = "jwt"
secret = "correct-horse-battery-staple"
[[route]]
path = "/"
[route.proxy]
upstream = "app"
[[route]]
path = "/events"
[route.stream]
auth = ["jwt"]
"#;

fn parse(text: &str) -> Result<Config, Problems> {
    Config::parse(text, "sidestream.toml", Path::new(""))
}

fn stream(route: &Route) -> &StreamRoute {
    match &route.action {
        Action::Stream(stream) => stream,
        other => panic!("{other:?}"),
    }
}
