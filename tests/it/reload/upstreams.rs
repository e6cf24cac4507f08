//! Apps follow a reload; connections to those that did not change stay.

use std::sync::Mutex;
use std::sync::mpsc::channel;

use crate::support::{App, Backend, Sidestream, Site, WEBSOCKET, in_front_of};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

fn ask(site: &Sidestream) {
    assert_eq!(site.connect().get("/", "Connection: close\r\n").response().text(), "ok");
}

#[test]
fn connections_that_wait_are_kept_for_a_server_that_is_still_there() {
    let (app, other) = (App::that_says(OK), App::that_says(OK));
    let site = Site::before(app.origin()).start();
    ask(&site);
    // Another order, another server, another balance; and what is not of the upstream at all.
    let servers = |list: &[&str]| format!("servers = {list:?}");
    let one = servers(&[&app.origin()]);
    let two = servers(&[&other.origin(), &app.origin()]);
    site.reload_with(&one, &format!("{two}\nread_timeout = \"9s\""));
    ask(&site);
    ask(&site);
    assert_eq!((app.connections(), other.connections()), (1, 1));
    site.reload_with(&two, &servers(&[&other.origin()]));
    ask(&site);
    assert_eq!((app.connections(), other.connections()), (1, 1));
}

#[test]
fn a_server_that_is_removed_is_let_go_of_and_finishes_what_it_does() {
    let (backend, app) = (Backend::start(), App::that_says(OK));
    let site = Site::before(backend.origin()).start();
    let mut tunnel = site.connect();
    tunnel.get("/ws", WEBSOCKET);
    let mut far = backend.accept();
    far.head();
    far.send("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n");
    tunnel.head();
    let mut waiting = site.connect();
    waiting.get("/", "");
    let mut asked = backend.accept();
    asked.head();
    let mut idle_client = site.connect();
    idle_client.get("/", "");
    let mut idle = backend.accept();
    idle.head();
    idle.send(OK);
    assert_eq!(idle_client.response().text(), "ok");

    site.reload_with(backend.origin(), &app.origin());
    idle.closed();
    asked.send(OK);
    assert_eq!(waiting.response().text(), "ok");
    asked.closed();
    tunnel.send("ping");
    assert_eq!(far.exactly(4), b"ping");
    ask(&site);
    assert_eq!(app.connections(), 1);
}

#[test]
fn a_limit_counts_what_is_under_way() {
    let (go_on, told) = channel::<()>();
    let (tell, asked) = channel::<()>();
    let (told, tell) = (Mutex::new(told), Mutex::new(tell));
    let app = App::start(move |mut client| {
        while client.try_head().is_some() {
            tell.lock().unwrap().send(()).unwrap();
            if told.lock().unwrap().recv().is_err() || client.try_send(OK).is_err() {
                return;
            }
        }
    });
    let site = Sidestream::start(
        &in_front_of(&app.origin(), "", "").replace("kind = \"asgi\"", "max_connections = 3"),
    );
    let mut clients: Vec<_> = (0..3).map(|_| site.connect()).collect();
    for client in &mut clients {
        client.get("/", "");
        asked.recv_timeout(crate::support::PATIENCE).unwrap();
    }
    site.reload_with("max_connections = 3", "max_connections = 1");
    let mut next = site.connect();
    next.get("/", "");
    site.becomes("upstream_queued", 1);
    for _ in 0..2 {
        go_on.send(()).unwrap();
    }
    assert!(asked.recv_timeout(std::time::Duration::from_millis(200)).is_err(), "one is still under way");
    go_on.send(()).unwrap();
    asked.recv_timeout(crate::support::PATIENCE).unwrap();
    go_on.send(()).unwrap();
    assert_eq!(next.response().text(), "ok");
}
