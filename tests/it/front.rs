//! What stands before a route: addresses, rates, passwords, maintenance; and what is said to who does not come past it.

mod addresses;
mod early;
mod maintenance;
mod pages;
mod passwords;
mod rate;

use crate::support::{App, Sidestream};

fn ok() -> App {
    App::that_says("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
}

/// The status of a GET by a client of an address, as a trusted proxy says it.
fn status_for(site: &Sidestream, target: &str, client: &str) -> u16 {
    site.connect().get(target, &format!("X-Forwarded-For: {client}\r\n")).response().status
}

/// The words for the refusals in the access log, once there are so many.
fn refused(site: &Sidestream, count: usize) -> Vec<String> {
    let read = || {
        let text = site.access_log();
        let lines = text.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
        lines.filter_map(|line| line["refused"].as_str().map(str::to_owned)).collect::<Vec<_>>()
    };
    site.comes(read, |words| words.len() >= count)
}
