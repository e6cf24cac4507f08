//! `max_connections`: how many requests a server has at once, and how the others wait.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::support::{App, Backend, Client, Sidestream, Site, WEBSOCKET};

const ONE: &str = "max_connections = 1";

/// Sends a request and waits until it waits for its turn.
fn queue(site: &Sidestream, target: &str) -> Client {
    let before = site.count("upstream_queued");
    let mut client = site.connect();
    client.get(target, "");
    site.becomes("upstream_queued", before + 1);
    client
}

/// An app that counts how many requests it has at once, and the most it has had.
fn counting(most: &Arc<AtomicUsize>) -> App {
    let (now, most) = (AtomicUsize::new(0), most.clone());
    App::start(move |mut client| {
        while client.try_head().is_some() {
            most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            std::thread::yield_now();
            now.fetch_sub(1, Ordering::SeqCst);
            if client.try_send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").is_err() {
                return;
            }
        }
    })
}

#[test]
fn all_workers_together_send_a_server_no_more_than_that() {
    let most = Arc::default();
    let app = counting(&most);
    for limit in [1, 3] {
        most.store(0, Ordering::SeqCst);
        let limited = format!("max_connections = {limit}");
        let site = Site::before(app.origin()).workers(4).upstream(&limited).start();
        std::thread::scope(|scope| {
            for _ in 0..16 {
                scope.spawn(|| {
                    let mut client = site.connect();
                    for _ in 0..50 {
                        let response = client.get("/", "").response();
                        assert_eq!((response.status, response.text().as_str()), (200, "ok"));
                    }
                });
            }
        });
        assert!(most.load(Ordering::SeqCst) <= limit, "{most:?} at once");
        assert!(site.count("upstream_queued") > 0);
        assert_eq!(site.count("upstream_queue_refused"), 0);
    }
}

#[test]
fn who_came_first_is_served_first() {
    let backend = Backend::start();
    let site = Site::before(backend.origin()).upstream(ONE).start();
    let mut first = site.connect();
    first.get("/0", "");
    let mut app = backend.accept();
    app.head();
    let waiting: Vec<_> = (1..=5).map(|n| queue(&site, &format!("/{n}"))).collect();
    assert!(backend.is_left_alone());
    app.answer("0");
    first.response();
    for (n, mut client) in (1..=5).zip(waiting) {
        assert!(app.head().starts_with(&format!("GET /{n} ")));
        app.answer(&n.to_string());
        assert_eq!(client.response().text(), n.to_string());
    }
    assert!(backend.is_left_alone());
}

#[test]
fn who_waits_for_too_long_is_told_to_come_back() {
    let backend = Backend::start();
    let site = Site::before(backend.origin()).upstream(ONE).upstream("queue_timeout = \"60ms\"").start();
    let mut first = site.connect();
    first.get("/", "");
    let mut app = backend.accept();
    app.head();
    let begun = Instant::now();
    let response = site.connect().get("/", "Accept: application/json\r\n").response();
    assert!(begun.elapsed() >= Duration::from_millis(60));
    assert_eq!((response.status, response.field("retry-after")), (503, Some("2")));
    assert_eq!(response.json()["error"], "service_unavailable");
    assert_eq!(site.count("upstream_queue_refused"), 1);
    // Whoever has gone has left no trace.
    app.answer("1");
    assert_eq!(first.response().text(), "1");
    first.get("/", "");
    app.head();
    app.answer("2");
    assert_eq!(first.response().text(), "2");
}

#[test]
fn a_client_that_goes_away_leaves_its_place() {
    let backend = Backend::start();
    let site = Site::before(backend.origin()).upstream(ONE).start();
    let mut first = site.connect();
    first.get("/first", "");
    let mut app = backend.accept();
    app.head();
    let gone = queue(&site, "/gone");
    let mut last = queue(&site, "/last");
    drop(gone);
    site.becomes("connections", 2);
    app.answer("");
    first.response();
    assert!(app.head().starts_with("GET /last "));
    app.answer("ok");
    assert_eq!(last.response().text(), "ok");
    // One that goes away while it is served frees its turn.
    first.get("/cut", "");
    app.head();
    let mut next = queue(&site, "/next");
    drop(first);
    app.closed();
    let mut app = backend.accept();
    assert!(app.head().starts_with("GET /next "));
    app.answer("ok");
    assert_eq!(next.response().text(), "ok");
}

#[test]
fn a_tunnel_counts_as_long_as_it_is_open() {
    let backend = Backend::start();
    let site = Site::before(backend.origin()).upstream(ONE).start();
    let mut client = site.connect();
    client.get("/ws", WEBSOCKET);
    let mut app = backend.accept();
    app.head();
    app.send("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n");
    client.head();
    let mut waiting = queue(&site, "/");
    client.send("hello");
    app.until("hello");
    assert!(backend.is_left_alone());
    drop(client);
    app.closed();
    drop(app);
    let mut app = backend.accept();
    app.head();
    app.answer("ok");
    assert_eq!(waiting.response().text(), "ok");
}

#[test]
fn whichever_of_several_servers_is_free_first_is_next() {
    let (one, two) = (Backend::start(), Backend::start());
    let origins = format!("{}\", \"{}", one.origin(), two.origin());
    let site = Site::before(origins).upstream(ONE).start();
    let (mut first, mut second) = (site.connect(), site.connect());
    first.get("/1", "");
    let mut app = one.accept();
    app.head();
    second.get("/2", "");
    let mut other = two.accept();
    other.head();
    let mut third = queue(&site, "/3");
    other.answer("2");
    second.response();
    assert!(other.head().starts_with("GET /3 "));
    other.answer("3");
    assert_eq!(third.response().text(), "3");
    app.answer("1");
    assert_eq!(first.response().text(), "1");
}
