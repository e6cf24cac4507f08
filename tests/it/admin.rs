//! The operator's own listener.

mod acts;
mod document;
mod door;
mod health;
mod metrics;
mod reload;
mod status;
mod streams;

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

/// Looks at a page that needs the token.
fn look_with_token(sidestream: &Sidestream, target: &str) -> Response {
    ask(
        &mut sidestream.admin(),
        "GET",
        target,
        &format!("Host: localhost\r\nAuthorization: Bearer {TOKEN}\r\n"),
    )
}

/// Presses a button, with the token.
fn press(sidestream: &Sidestream, target: &str, json: &str) -> Response {
    let fields = format!("Authorization: Bearer {TOKEN}\r\nContent-Type: application/json\r\n");
    press_with(sidestream, target, &fields, json)
}

/// The same, with these fields.
fn press_with(sidestream: &Sidestream, target: &str, fields: &str, json: &str) -> Response {
    let length = json.len();
    let head = format!("POST {target} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n");
    sidestream.admin().send(format!("{head}{fields}\r\n{json}")).response()
}

/// Sends a request with these fields and no others.
fn ask(client: &mut Client, method: &str, target: &str, fields: &str) -> Response {
    client.send(format!("{method} {target} HTTP/1.1\r\n{fields}\r\n")).response_to(method)
}
