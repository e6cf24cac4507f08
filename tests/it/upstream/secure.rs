//! Servers at `https://`: verified, or not spoken to.

use crate::support::client::field;
use crate::support::{App, Client, Program, Sidestream, Site, WEBSOCKET, in_front_of};

/// An app under TLS, which is a Sidestream in front of one; its certificate is for these hosts.
fn secure(app: &App, hosts: &[&str]) -> (Sidestream, String) {
    let server = Site::before(app.origin()).tls(&[hosts]).start();
    let origin = format!("https://{}", server.address().replace("127.0.0.1", "localhost"));
    (server, origin)
}

fn ca(server: &Sidestream) -> String {
    format!("ca = {:?}", server.path("0.crt"))
}

#[test]
fn requests_of_all_kinds_go_over_tls() {
    let app = App::start(|mut client| {
        while let Some(head) = client.try_head() {
            let length = field(&head, "content-length").map_or(0, |n| n.parse().unwrap());
            let body = client.exactly(length);
            let length = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n");
            if client.try_send(length).and_then(|()| client.try_send(body)).is_err() {
                return;
            }
        }
    });
    let (server, origin) = secure(&app, &["localhost"]);
    let site = Site::before(origin).upstream(&ca(&server)).start();
    let mut client = site.connect();
    for size in [0, 1, 100_000, 3_000_000] {
        let body = "x".repeat(size);
        let request = format!("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: {size}\r\n\r\n{body}");
        let response = std::thread::scope(|scope| {
            let mut sending = site.connect();
            scope.spawn(move || sending.send(request).response()).join().unwrap()
        });
        assert_eq!((response.status, response.body.len()), (200, size));
        assert_eq!(client.get("/", "").response().status, 200);
    }
    // Kept connections are used again, whatever tickets came over them meanwhile.
    assert_eq!(server.count("connections_accepted"), 1);
}

#[test]
fn a_tunnel_goes_over_tls() {
    let app = App::start(|mut client| {
        if client.try_head().is_some() {
            client.send(
                "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
            );
            let said = client.exactly(5);
            client.send(said);
            client.send(" and the end");
        }
    });
    let (server, origin) = secure(&app, &["localhost"]);
    let site = Site::before(origin).upstream(&ca(&server)).start();
    let mut client = site.connect();
    client.get("/ws", WEBSOCKET);
    assert!(client.head().starts_with("HTTP/1.1 101 "));
    client.send("hello");
    assert_eq!(client.rest(), b"hello and the end");
}

#[test]
fn a_certificate_that_is_not_good_is_not_spoken_to_and_the_log_says_why() {
    let app = App::that_echoes();
    let (other, _) = secure(&app, &["other.example"]);
    let (server, origin) = secure(&app, &["localhost"]);
    let (wrong_name, its_origin) = secure(&app, &["shop.example"]);
    for (origin, ca, why) in [
        (&origin, String::new(), "invalid peer certificate"),
        (&origin, ca(&other), "invalid peer certificate"),
        (&its_origin, ca(&wrong_name), "not valid for name"),
    ] {
        let config =
            in_front_of(origin, "", "").replace("kind = \"asgi\"", &format!("kind = \"asgi\"\n{ca}"));
        let program = Program::run(&config);
        let response = Client::connect(&program.address).get("/", "").response();
        assert_eq!((response.status, response.field("retry-after")), (502, Some("2")));
        program.signal(rustix::process::Signal::TERM);
        let ended = program.end();
        assert!(ended.stderr.contains(why), "{why}: {}", ended.stderr);
    }
    assert_eq!(app.connections(), 0);
    drop((server, wrong_name));
}

#[test]
fn what_is_no_tls_is_not_taken_for_it() {
    let app = App::start(|mut client| drop(client.try_send("HTTP/1.1 400 Not TLS\r\n\r\n")));
    let (server, _) = secure(&app, &["localhost"]);
    let site = Site::before(app.origin().replace("http:", "https:")).upstream(&ca(&server)).start();
    assert_eq!(site.connect().get("/", "").response().status, 502);
    // Nor the other way round.
    let site = Site::before(format!("http://{}", server.address())).start();
    assert_eq!(site.connect().get("/", "").response().status, 502);
}
