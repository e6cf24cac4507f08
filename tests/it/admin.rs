//! The operator's own listener.

mod document;
mod door;
mod health;
mod metrics;
mod reload;

use super::support::{Client, NO_APP, Response, Sidestream, Site};

const TOKEN: &str = "the-admin-token";

/// With an admin address on any port of this machine.
fn site() -> Site {
    Site::before(NO_APP).more(&format!("[admin]\naddress = \"127.0.0.1:0\"\ntoken = \"{TOKEN}\""))
}

/// Looks at a page of the admin address.
fn look(sidestream: &Sidestream, target: &str) -> Response {
    ask(&mut sidestream.admin(), "GET", target, "Host: localhost\r\n")
}

/// Sends a request with these fields and no others.
fn ask(client: &mut Client, method: &str, target: &str, fields: &str) -> Response {
    client.send(format!("{method} {target} HTTP/1.1\r\n{fields}\r\n")).response_to(method)
}
