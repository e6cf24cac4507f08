//! `connections_per_address`: one address cannot have them all, and others do not notice.

use crate::support::settings::Settings;
use crate::support::{App, Client, Sidestream, Subscriber, tls};

const TWO: &str = "[limits]\nconnections_per_address = 2\n";

fn ok() -> App {
    App::that_says("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
}

/// A connection that comes through a balancer from this address.
fn from(site: &Sidestream, address: &str) -> Client {
    let mut client = site.connect();
    let (word, other) = if address.contains(':') { ("TCP6", "::1") } else { ("TCP4", "10.0.0.1") };
    client.send(format!("PROXY {word} {address} {other} 4321 443\r\n"));
    client
}

fn is_served(client: &mut Client) -> bool {
    client.try_send("GET / HTTP/1.1\r\nHost: test\r\n\r\n").is_ok()
        && client.try_head().is_some_and(|_| client.exactly(2) == b"ok")
}

#[test]
fn one_more_is_closed_at_once_and_there_is_room_again() {
    let app = ok();
    let site = Settings { more: TWO, ..Settings::default() }.before(&app);
    let mut first = site.connect();
    assert!(is_served(&mut first));
    let stream = Subscriber::of(site.connect(), "1");
    for refused in 1..=3 {
        site.connect().closed();
        site.becomes("connections_limited_address", refused);
    }
    // A stream counts for as long as it is there, though hyper has let its connection go.
    drop(stream);
    let mut second = site.comes(
        || {
            let mut client = site.connect();
            is_served(&mut client).then_some(client)
        },
        Option::is_some,
    );
    assert!(is_served(&mut first) && is_served(second.as_mut().unwrap()));
}

#[test]
fn a_client_behind_a_balancer_counts_for_itself_and_the_balancer_not_at_all() {
    let app = ok();
    let settings = Settings {
        server: "trusted_proxies = [\"127.0.0.1\"]",
        listen: "proxy_protocol = true",
        more: TWO,
        ..Settings::default()
    };
    let site = settings.before(&app);
    let mut inside = Vec::new();
    for network in [["203.0.113.7"; 3], ["2001:db8::1", "2001:db8::2", "2001:db8:0:0:ffff::3"]] {
        let (mut one, mut two) = (from(&site, network[0]), from(&site, network[1]));
        assert!(is_served(&mut one) && is_served(&mut two));
        assert!(!is_served(&mut from(&site, network[2])));
        inside.extend([one, two]);
    }
    site.becomes("connections_limited_address", 2);
    assert!(is_served(&mut from(&site, "203.0.113.8")));
    assert!(is_served(&mut from(&site, "2001:db8:0:1::1")));
    for _ in 0..5 {
        let mut check = site.connect();
        check.send("PROXY UNKNOWN\r\n");
        assert!(is_served(&mut check));
        inside.push(check);
    }
}

#[test]
fn who_comes_by_unix_socket_is_not_counted() {
    let app = ok();
    let more = format!("{TWO}[[listen]]\naddress = \"unix:site.sock\"");
    let site = Settings { more: &more, ..Settings::default() }.before(&app);
    let mut all: Vec<_> = (0..5).map(|_| Client::connect(site.address_of(1))).collect();
    assert!(all.iter_mut().all(is_served));
}

#[test]
fn a_handshake_counts_and_is_given_back_when_it_fails() {
    let folder = tempfile::tempdir().unwrap();
    tls::certificate(folder.path(), "site", &["test"]);
    let app = ok();
    let listen = "tls = [{ cert = \"site.crt\", key = \"site.key\" }]";
    let settings = Settings { listen, more: TWO, ..Settings::default() };
    let site = Sidestream::start_in(folder, &settings.text(&[&app.origin()]));
    let silent = [site.connect(), site.connect()];
    site.becomes("connections", 2);
    site.connect().closed();
    site.becomes("connections_limited_address", 1);
    drop(silent);
    site.becomes("connections", 0);
    assert!(is_served(&mut tls::connect(site.address(), "test")));
}
