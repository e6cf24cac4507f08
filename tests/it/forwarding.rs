//! What the app is told, and what not: fields of one connection, fields that would mean something else to it, and
//! what a client says of itself.

mod clients;
mod fields;
mod hosts;
mod trailers;

use crate::support::{Client, Response};

/// The fields of a head as `name: value`, names in lower case, in order of their names.
fn fields(head: &str) -> Vec<String> {
    let mut fields: Vec<_> = head
        .lines()
        .skip(1)
        .filter(|line| !line.is_empty())
        .map(|line| {
            let (name, value) = line.split_once(':').unwrap();
            format!("{}: {}", name.to_ascii_lowercase(), value.trim())
        })
        .collect();
    fields.sort();
    fields
}

/// What an app that echoes was sent for a GET with these fields, without what Sidestream adds to every request.
fn seen(client: &mut Client, sent: &str) -> Vec<String> {
    let response = client.get("/", sent).response();
    assert_eq!(response.status, 200, "{sent}: {}", response.text());
    let added = ["host: ", "x-forwarded-", "x-real-ip: ", "x-request-id: "];
    let mut seen = fields(&response.text());
    seen.retain(|field| !added.iter().any(|name| field.starts_with(name)));
    seen
}

fn refused(client: &mut Client, status: u16) -> Response {
    let response = client.response();
    assert_eq!(response.status, status, "{}", response.text());
    response
}
