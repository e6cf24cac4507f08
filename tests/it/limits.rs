//! `max_connections`: the one too many is closed at once and counted, and a slot is free again when its holder ends.

use crate::support::settings::Settings;
use crate::support::{App, Client, Sidestream, Subscriber, WEBSOCKET, tls};

const THREE: Settings<'_> =
    Settings { server: "max_connections = 3", listen: "", upstream: "", stream: "", more: "" };

fn ok() -> App {
    App::that_says("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
}

/// A connection that has been let in.
fn let_in(site: &Sidestream) -> Client {
    let mut client = site.connect();
    assert_eq!(client.get("/", "").response().text(), "ok");
    client
}

/// Waits until there is room for one more, and takes it.
fn let_in_soon(site: &Sidestream) -> Client {
    let mut found = None;
    let ask = "GET / HTTP/1.1\r\nHost: test\r\n\r\n";
    site.comes_true(
        || "a connection is let in".to_owned(),
        || {
            let mut client = site.connect();
            if client.try_send(ask).is_ok() && client.try_head().is_some() {
                assert_eq!(client.exactly(2), b"ok");
                found = Some(client);
            }
            found.is_some()
        },
    );
    found.unwrap()
}

#[test]
fn the_connection_too_many_is_closed_at_once_and_counted() {
    let app = ok();
    let site = THREE.before(&app);
    let mut inside: Vec<Client> = (0..3).map(|_| let_in(&site)).collect();
    for refused in 1..=5 {
        site.connect().closed();
        site.becomes("connections_refused", refused);
    }
    assert_eq!(site.count("connections"), 3);
    for client in &mut inside {
        assert_eq!(client.get("/", "").response().text(), "ok", "those inside are not disturbed");
    }
    inside.pop();
    inside.push(let_in_soon(&site));
    site.connect().closed();
    drop(inside);
    site.becomes("connections", 0);
    // None was lost to those that were refused.
    let _again = [let_in_soon(&site), let_in_soon(&site), let_in_soon(&site)];
}

#[test]
fn a_stream_is_a_connection_until_it_ends() {
    let app = ok();
    let more = "[[route]]\npath = \"/brief\"\n[route.stream]\nauth = []\nmax_age = \"5s\"\n";
    let site = Settings { more, ..THREE }.before(&app);
    let gone = Subscriber::of(site.connect(), "1");
    let ended = Subscriber::open(site.connect(), "/brief", "");
    let _inside = let_in(&site);
    site.connect().closed();
    site.becomes("connections_refused", 1);

    drop(gone);
    let _one = let_in_soon(&site);
    site.connect().closed();

    ended.end();
    let _other = let_in_soon(&site);
    site.connect().closed();
    assert_eq!(site.count("connections"), 3);
}

#[test]
fn a_handshake_in_progress_is_a_connection() {
    let folder = tempfile::tempdir().unwrap();
    tls::certificate(folder.path(), "site", &["test"]);
    let app = ok();
    let settings = Settings { listen: "tls = [{ cert = \"site.crt\", key = \"site.key\" }]", ..THREE };
    let site = Sidestream::start_in(folder, &settings.text(&[&app.origin()]));
    let waiting: Vec<Client> = (0..3).map(|_| site.connect()).collect();
    site.becomes("connections", 3);
    site.connect().closed();
    drop(waiting);
    site.becomes("connections", 0);
    assert_eq!(tls::connect(site.address(), "test").get("/", "").response().text(), "ok");
}

#[test]
fn a_tunnel_is_a_connection_until_one_of_its_sides_ends() {
    let app = App::start(|mut client| {
        if client.try_head().is_some_and(|head| head.starts_with("GET /ws")) {
            client.send(
                "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n",
            );
            client.rest();
        } else {
            client.send("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok");
        }
    });
    let site = Settings { server: "max_connections = 1", ..THREE }.before(&app);
    let mut tunnel = site.connect();
    let head = tunnel.get("/ws", WEBSOCKET).head();
    assert!(head.starts_with("HTTP/1.1 101"), "{head}");
    site.connect().closed();
    site.becomes("connections_refused", 1);
    drop(tunnel);
    let_in_soon(&site);
}
