//! Apps that are down, slow, or say what is not HTTP: the client gets a clear answer or a clean cut, never a part that
//! looks whole.

use std::net::TcpStream;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};

use crate::support::settings::Settings;
use crate::support::{App, PATIENCE, Sidestream};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// A port that refuses: bound, so that nobody else gets it, and never listened on.
fn refusing() -> (Socket, String) {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&"127.0.0.1:0".parse::<std::net::SocketAddr>().unwrap().into()).unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap();
    (socket, format!("http://{address}"))
}

#[test]
fn an_app_that_is_down_is_a_502_for_people_and_for_programs() {
    let (_port, refusing) = refusing();
    for (server, place) in [(refusing.as_str(), "127.0.0.1"), ("unix:nowhere.sock", "nowhere")] {
        let site = Sidestream::start(&Settings::default().text(&[server]));
        let mut client = site.connect();
        let page = client.get("/", "Accept: text/html, */*\r\n").response();
        assert_eq!((page.status, page.field("retry-after")), (502, Some("2")), "{server}");
        assert_eq!(page.field("content-type"), Some("text/html; charset=utf-8"));
        assert_eq!(page.field("cache-control"), Some("no-store"));
        assert!(page.text().contains("<h1>502 Bad Gateway</h1>"), "{}", page.text());
        assert!(!format!("{}{}", page.head, page.text()).contains(place), "{}\n{}", page.head, page.text());

        let said = client.get("/", "Accept: application/json\r\n").response();
        assert_eq!((said.status, said.field("retry-after")), (502, Some("2")), "{server}");
        assert_eq!(said.field("content-type"), Some("application/json"));
        assert_eq!(said.json()["error"], "bad_gateway");
        assert!(!said.text().contains(place), "{}", said.text());

        // A HEAD has the same head, and the connection goes on.
        client.send("HEAD / HTTP/1.1\r\nHost: test\r\n\r\n");
        assert_eq!(client.response_to("HEAD").status, 502);
        assert_eq!(client.get("/", "").response().status, 502);
        assert_eq!(site.count("upstream_errors"), 4);
    }
}

#[test]
fn an_app_that_is_slow_is_a_504_and_sees_that_nobody_waits_any_more() {
    let (tell, told) = mpsc::channel();
    let app = App::start(move |mut client| {
        if client.try_head().is_some_and(|head| head.starts_with("GET /slow")) {
            tell.send(client.rest()).unwrap();
        } else {
            client.send(OK);
        }
    });
    let site = Settings { upstream: "response_timeout = \"150ms\"", ..Settings::default() }.before(&app);
    let mut client = site.connect();
    let begun = Instant::now();
    let late = client.get("/slow", "Accept: application/json\r\n").response();
    assert!(begun.elapsed() >= Duration::from_millis(150));
    assert_eq!((late.status, late.field("retry-after")), (504, Some("2")));
    assert_eq!(late.json()["error"], "gateway_timeout");
    assert_eq!(told.recv_timeout(PATIENCE).unwrap(), b"", "the app's connection is closed");
    assert_eq!(client.get("/quick", "").response().text(), "ok");
}

#[test]
fn an_app_that_accepts_no_more_connections_is_a_504() {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&"127.0.0.1:0".parse::<std::net::SocketAddr>().unwrap().into()).unwrap();
    socket.listen(0).unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap();
    let mut waiting = Vec::new();
    while let Ok(stream) = TcpStream::connect_timeout(&address, Duration::from_millis(100)) {
        waiting.push(stream);
        assert!(waiting.len() < 100, "the queue of connections does not fill");
    }
    let settings = Settings { upstream: "connect_timeout = \"100ms\"", ..Settings::default() };
    let site = Sidestream::start(&settings.text(&[&format!("http://{address}")]));
    assert_eq!(site.connect().get("/", "").response().status, 504);
}

#[test]
fn what_is_no_answer_is_a_502() {
    let huge = format!("HTTP/1.1 200 OK\r\nX-Much: {}\r\n", "a".repeat(1 << 20));
    for said in [
        "",
        "HTTP/1.1 200 OK\r\nContent-Le",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n",
        "SSH-2.0-OpenSSH_9.6\r\n",
        "HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
        "HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n",
        &huge,
    ] {
        let answer = said.to_owned();
        let app = App::start(move |mut client| {
            client.try_head();
            // Of the large head not all is taken.
            let _ = client.try_send(&answer);
        });
        let site = Settings::default().before(&app);
        let mut client = site.connect();
        let response = client.get("/", "Accept: application/json\r\n").response();
        let shown = &said[..said.len().min(80)];
        assert_eq!(response.status, 502, "{shown:?}");
        assert_eq!(response.json()["message"], "The app gave no usable answer.", "{shown:?}");
        assert_eq!(client.get("/", "").response().status, 502, "the connection goes on after {shown:?}");
    }
}

#[test]
fn a_truncated_answer_is_never_ended_as_if_it_were_whole() {
    for (framing, sent, arrives) in [
        ("Content-Length: 100", "half of it", "half of it"),
        ("Transfer-Encoding: chunked", "5\r\nhello\r\n", "5\r\nhello\r\n"),
        ("Transfer-Encoding: chunked", "5\r\nhello\r\n5\r\nwor", "hello"),
        ("Transfer-Encoding: chunked", "5\r\nhello\r\nxyz\r\n", "5\r\nhello\r\n"),
    ] {
        let answer = format!("HTTP/1.1 200 OK\r\n{framing}\r\n\r\n{sent}");
        let app = App::start(move |mut client| {
            client.try_head();
            client.send(&answer);
        });
        let site = Settings::default().before(&app);
        let mut client = site.connect();
        let head = client.get("/", "").head();
        assert!(head.starts_with("HTTP/1.1 200"), "{head}");
        let body = String::from_utf8(client.rest()).unwrap();
        assert!(body.contains(arrives), "{sent:?}: {body:?}");
        assert!(!body.contains("\r\n0\r\n"), "{sent:?} came as {body:?}");
        assert!(body.len() < 100, "{body:?}");
    }
}

#[test]
fn an_app_that_stops_within_its_answer_is_cut_off() {
    let (tell, told) = mpsc::channel();
    let app = App::start(move |mut client| {
        client.try_head();
        client.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n");
        tell.send(client.rest()).unwrap();
    });
    let site = Settings { upstream: "response_timeout = \"150ms\"", ..Settings::default() }.before(&app);
    let mut client = site.connect();
    client.get("/", "").head();
    assert_eq!(client.chunk(), b"hello", "nothing is held back");
    client.closed();
    assert_eq!(told.recv_timeout(PATIENCE).unwrap(), b"", "the app's connection is closed");
}

#[test]
fn an_apps_event_stream_may_be_quiet_for_longer_than_an_answer_may_take() {
    let (go, wait) = mpsc::channel::<()>();
    let wait = std::sync::Mutex::new(wait);
    let app = App::start(move |mut client| {
        client.try_head();
        client
            .send("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n");
        wait.lock().unwrap().recv().unwrap();
        client.send("8\r\ndata: x\n\r\n0\r\n\r\n");
    });
    let site = Settings { upstream: "response_timeout = \"100ms\"", ..Settings::default() }.before(&app);
    let mut client = site.connect();
    client.get("/", "").head();
    assert!(client.is_silent_for(Duration::from_millis(300)));
    go.send(()).unwrap();
    assert_eq!(client.chunk(), b"data: x\n");
    assert_eq!(client.chunk(), b"");
}

#[test]
fn early_hints_are_not_taken_for_the_answer() {
    for early in [
        "HTTP/1.1 100 Continue\r\n\r\n",
        "HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n",
    ] {
        let app = App::that_says(format!("{early}{OK}"));
        let site = Settings::default().before(&app);
        let mut client = site.connect();
        for _ in 0..2 {
            let response = client.get("/", "").response();
            assert_eq!((response.status, response.text().as_str()), (200, "ok"), "{early:?}");
        }
    }
}

#[test]
fn of_several_servers_one_that_refuses_is_passed_over() {
    let (_port, refusing) = refusing();
    let app = App::start(|mut client| {
        client.try_head();
        client.send("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok");
    });
    for servers in [[refusing.as_str(), &app.origin()], [&app.origin(), &refusing]] {
        let site = Sidestream::start(&Settings::default().text(&servers));
        let mut client = site.connect();
        for _ in 0..4 {
            assert_eq!(client.get("/", "").response().text(), "ok");
        }
    }
    assert_eq!(app.connections(), 8, "each answer closed its connection");
}

#[test]
fn only_what_may_be_repeated_is_sent_again_when_a_waiting_connection_proves_stale() {
    // Answers the first request of a connection and closes it when the second comes.
    let app = App::start(|mut client| {
        client.try_head();
        client.send(OK);
        client.try_head();
    });
    let site = Settings::default().before(&app);
    let mut client = site.connect();
    assert_eq!(client.get("/", "").response().text(), "ok");
    assert_eq!(client.get("/", "").response().text(), "ok");
    assert_eq!(app.connections(), 2, "the second was sent once more");
    client.send("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(client.response().status, 502);
    assert_eq!(app.connections(), 2, "an order is not made twice");
}
