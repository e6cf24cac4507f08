//! HTTP/2 from the client, HTTP/1.1 to the app.

mod bounds;
mod faults;

use std::sync::{Arc, Barrier, mpsc};
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::support::frames::{Frames, GOAWAY, HEADERS, RST_STREAM};
use crate::support::h2::{self, H2, Sent, Whole, piece, request, until};
use crate::support::settings::Settings;
use crate::support::tls::certificate;
use crate::support::{App, PATIENCE, Sidestream, at_some_pace, token};

/// A site over TLS in front of an app.
fn site(settings: &Settings<'_>, app: &App) -> Sidestream {
    let folder = tempfile::tempdir().unwrap();
    certificate(folder.path(), "site", &["test"]);
    let listen = format!("tls = [{{ cert = \"site.crt\", key = \"site.key\" }}]\n{}", settings.listen);
    Sidestream::start_in(folder, &Settings { listen: &listen, ..*settings }.text(&[&app.origin()]))
}

/// A site with nothing said but the app, and a test on a connection to it.
fn with<T>(app: &App, test: impl AsyncFnOnce(H2) -> T) -> T {
    let site = site(&Settings::default(), app);
    h2::with(site.address(), test)
}

/// An app that answers a POST with the head and the body that it got.
fn that_returns() -> App {
    App::start(|mut client| {
        while let Some(head) = client.try_head() {
            let length = crate::support::client::field(&head, "content-length");
            let body = client.exactly(length.map_or(0, |length| length.parse().unwrap()));
            let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
            client.send(answer).send(body);
        }
    })
}

#[test]
fn a_request_becomes_one_of_http_1_and_its_answer_comes_back() {
    let app = App::that_echoes();
    with(&app, async |mut client| {
        let asked = request("GET", "/shop?a=1").header("x-forwarded-for", "6.6.6.6");
        let asked = asked.header("cookie", "a=1").header("cookie", "b=2").body(Sent::nothing()).unwrap();
        let answer = Whole::of(client.send(asked).await.unwrap()).await.unwrap();
        assert_eq!(answer.status, 200);
        assert_eq!(answer.fields["content-type"], "text/plain");
        let head = answer.text();
        assert!(head.starts_with("GET /shop?a=1 HTTP/1.1\r\n"), "{head}");
        for field in
            ["host: test", "cookie: a=1; b=2", "x-forwarded-for: 127.0.0.1", "x-forwarded-proto: https"]
        {
            assert!(head.contains(&format!("\r\n{field}\r\n")), "{field} is not in {head}");
        }
        for absent in ["6.6.6.6", ":authority", "transfer-encoding", "content-length"] {
            assert!(!head.contains(absent), "{absent} is in {head}");
        }
        let head = client.send(request("HEAD", "/").body(Sent::nothing()).unwrap()).await.unwrap();
        let head = Whole::of(head).await.unwrap();
        assert_eq!((head.status, head.body.len()), (200, 0));
    });
}

#[test]
fn bodies_go_both_ways_past_every_window() {
    let app = that_returns();
    let body = Bytes::from((0..9u32 << 20).map(|n| (n % 251) as u8).collect::<Vec<_>>());
    with(&app, async |mut client| {
        for _ in 0..2 {
            let asked = request("POST", "/").body(Sent::whole(body.clone())).unwrap();
            let answer = Whole::of(client.send(asked).await.unwrap()).await.unwrap();
            assert!(answer.body == body, "{} bytes came back of {}", answer.body.len(), body.len());
        }
    });
}

#[test]
fn an_upload_without_a_length_is_chunked_for_asgi_and_refused_for_wsgi() {
    let (tell, told) = mpsc::channel();
    let app = App::start(move |mut client| {
        while let Some(head) = client.try_head() {
            let mut body = Vec::new();
            while let chunk = client.chunk()
                && !chunk.is_empty()
            {
                body.extend(chunk);
            }
            tell.send((head, String::from_utf8(body).unwrap())).unwrap();
            client.send("HTTP/1.1 204 No Content\r\n\r\n");
        }
    });
    let asgi = site(&Settings::default(), &app);
    for method in ["POST", "PUT", "DELETE"] {
        h2::with(asgi.address(), async |mut client| {
            let (pieces, body) = Sent::in_pieces();
            for piece in ["one ", "two ", "three"] {
                pieces.send(piece.into()).unwrap();
            }
            drop(pieces);
            let answer = client.send(request(method, "/").body(body).unwrap()).await.unwrap();
            assert_eq!(answer.status(), 204, "{method}");
        });
        let (head, body) = told.recv_timeout(PATIENCE).unwrap();
        assert!(head.to_lowercase().contains("\r\ntransfer-encoding: chunked"), "{head}");
        assert_eq!(body, "one two three", "{method}");
    }
}

#[test]
fn trailers_of_the_app_arrive() {
    let app = App::that_says(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n2\r\nok\r\n0\r\nX-Sum: 42\r\n\r\n",
    );
    with(&app, async |mut client| {
        let answer = client.get("/").await;
        assert_eq!(answer.text(), "ok");
        assert_eq!(answer.trailers.unwrap()["x-sum"], "42");
        assert!(!answer.fields.contains_key("transfer-encoding"));
    });
}

#[test]
fn a_host_that_differs_from_the_authority_is_refused() {
    let app = App::that_echoes();
    with(&app, async |mut client| {
        for (host, status) in [("test", 200), ("other", 400), ("test:443", 400)] {
            let asked = request("GET", "/").header("host", host).body(Sent::nothing()).unwrap();
            assert_eq!(client.send(asked).await.unwrap().status(), status, "{host}");
        }
    });
}

#[test]
fn requests_and_a_stream_share_a_connection_and_do_not_wait_for_each_other() {
    const AT_ONCE: usize = 20;
    // Answers nobody before all have asked.
    let all = Arc::new(Barrier::new(AT_ONCE));
    let app = App::start(move |mut client| {
        let head = client.try_head().unwrap();
        all.wait();
        let path = head.split(' ').nth(1).unwrap();
        client.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{path}", path.len()));
    });
    let site = site(&Settings::default(), &app);
    h2::with(site.address(), async |mut client| {
        let asked = request("GET", &format!("/events?token={}", token("1"))).body(Sent::nothing()).unwrap();
        let stream = client.send(asked).await.unwrap();
        assert_eq!(stream.headers()["content-type"], "text/event-stream");
        let mut stream = stream.into_body();
        until(&mut stream, "\n\n").await;
        let asking: Vec<_> = (0..AT_ONCE)
            .map(|n| {
                let mut client = client.clone();
                tokio::spawn(async move { (n, client.get(&format!("/{n}")).await.text()) })
            })
            .collect();
        for asked in asking {
            let (n, text) = asked.await.unwrap();
            assert_eq!(text, format!("/{n}"));
        }
        assert_eq!(site.publish(r#"{"user": 1, "data": "meanwhile"}"#)["delivered"], 1);
        assert!(until(&mut stream, "\n\n").await.contains("data: meanwhile\n"));
        assert_eq!((site.count("connections"), site.count("streams")), (1, 1));
        drop(stream);
    });
    site.becomes("streams", 0);
}

#[test]
fn a_request_that_the_client_resets_is_ended_at_the_app() {
    let (tell, told) = mpsc::channel();
    let app = App::start(move |mut client| {
        let head = client.try_head().unwrap_or_default();
        if head.starts_with("GET /answering") {
            client.send("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nbegun");
        }
        tell.send("asked").unwrap();
        client.rest();
        tell.send("gone").unwrap();
    });
    with(&app, async |mut client| {
        for path in ["/waiting", "/answering"] {
            let mut same = client.clone();
            let asked = request("GET", path).body(Sent::nothing()).unwrap();
            let waiting = tokio::spawn(async move {
                let mut answer = same.send(asked).await.unwrap();
                loop {
                    piece(answer.body_mut()).await.unwrap().unwrap();
                }
            });
            // The runtime goes on while the app is waited for.
            let told = async || {
                loop {
                    match told.try_recv() {
                        Ok(said) => return said,
                        Err(_) => tokio::time::sleep(Duration::from_millis(2)).await,
                    }
                }
            };
            assert_eq!(told().await, "asked");
            waiting.abort();
            assert_eq!(told().await, "gone", "{path}");
        }
        assert!(!client.get("/events").await.body.is_empty(), "the connection goes on");
    });
}

#[test]
fn an_answer_that_the_app_breaks_off_is_reset_and_nothing_else() {
    let app = App::start(|mut client| {
        let head = client.try_head().unwrap();
        match head.split(' ').nth(1).unwrap() {
            "/length" => client.send("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf"),
            "/chunked" => client.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n"),
            _ => client.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"),
        };
    });
    let site = site(&Settings::default(), &app);
    let mut client = Frames::connect(site.address());
    for (stream, path) in [(1, "/length"), (3, "/chunked")] {
        assert!(client.get(stream, path).next_of(stream, HEADERS).is_ok());
        // INTERNAL_ERROR
        assert_eq!(client.next_of(stream, RST_STREAM).code(), 2, "{path}");
    }
    assert!(client.get(5, "/").next_of(5, HEADERS).is_ok());
}

#[test]
fn fields_that_belong_to_a_connection_are_refused_and_nothing_else() {
    let app = App::that_echoes();
    let site = site(&Settings::default(), &app);
    let mut client = Frames::connect(site.address());
    let mut stream = 1;
    for (name, value) in [
        ("connection", "close"),
        ("keep-alive", "timeout=5"),
        ("proxy-connection", "keep-alive"),
        ("transfer-encoding", "chunked"),
        ("upgrade", "websocket"),
        ("te", "gzip"),
    ] {
        let fields =
            [(":method", "GET"), (":scheme", "https"), (":authority", "test"), (":path", "/"), (name, value)];
        // PROTOCOL_ERROR
        assert_eq!(client.headers(stream, &fields).next_of(stream, RST_STREAM).code(), 1, "{name}");
        stream += 2;
    }
    assert!(client.get(stream, "/").next_of(stream, HEADERS).is_ok());
    assert_eq!(app.connections(), 1, "the app saw none of the others");
}

#[test]
fn what_is_malformed_gets_no_answer_and_never_reaches_the_app() {
    let app = App::that_echoes();
    let site = site(&Settings::default(), &app);
    let good = [(":method", "GET"), (":scheme", "https"), (":authority", "test"), (":path", "/")];
    for (what, fields) in [
        ("an upper case name", [&good[..], &[("X-Upper", "x")]].concat()),
        ("two paths", [&good[..], &[(":path", "/twice")]].concat()),
        ("a status", [&good[..], &[(":status", "200")]].concat()),
        ("an unknown pseudo-field", [&good[..], &[(":user", "1")]].concat()),
        ("a pseudo-field behind others", [&good[1..], &[("x", "y"), (":method", "GET")]].concat()),
        ("a line end in a value", [&good[..], &[("x", "a\r\nx: b")]].concat()),
        ("a space in a name", [&good[..], &[("x y", "a")]].concat()),
        ("no method", good[1..].to_vec()),
        ("no path", good[..3].to_vec()),
        ("an empty path", [&good[..3], &[(":path", "")]].concat()),
    ] {
        let mut client = Frames::connect(site.address());
        // The stream or the whole connection: both are allowed (RFC 9113, section 8.1.1).
        let frame = client.headers(1, &fields).next().unwrap_or_else(|| panic!("{what}: no word"));
        assert!(matches!(frame.kind, RST_STREAM | GOAWAY), "{what}: {frame:?}");
    }
    assert_eq!(app.connections(), 0);
}

#[test]
fn an_idle_connection_is_told_to_go_and_one_with_a_stream_is_not() {
    let app = App::that_echoes();
    let listen = "idle_timeout = \"200ms\"\nwrite_stall = \"200ms\"";
    let site = site(&Settings { listen, ..Settings::default() }, &app);
    let mut client = Frames::connect(site.address());
    let begun = Instant::now();
    assert!(client.get(1, "/").next_of(1, HEADERS).is_ok());
    let goodbye = client.next_of(0, GOAWAY);
    assert!(begun.elapsed() > Duration::from_millis(150), "{:?}", begun.elapsed());
    assert_eq!(goodbye.code(), 0, "NO_ERROR");
    while let Some(frame) = client.next() {
        assert_eq!(frame.kind, GOAWAY, "{frame:?}");
    }
    site.becomes("connections", 0);
    assert_eq!(site.count("connections_timed_out"), 0, "it did nothing wrong");

    let mut client = Frames::connect(site.address());
    let opened = client.get(1, &format!("/events?token={}", token("1"))).next_of(1, HEADERS);
    assert!(opened.is_ok(), "{opened:?}");
    assert!(client.is_open_for(Duration::from_millis(500)));
    assert!(client.get(3, "/").next_of(3, HEADERS).is_ok());
    assert_eq!(site.publish(r#"{"user": 1, "data": "still there"}"#)["delivered"], 1);
}

#[test]
fn a_client_that_answers_no_ping_is_gone() {
    at_some_pace(|pace| {
        let app = App::that_echoes();
        let listen = pace.of("ping_interval = \"100ms\"\nping_timeout = \"500ms\"");
        let site = site(&Settings { listen: &listen, ..Settings::default() }, &app);
        let (mut there, mut gone) = (Frames::connect(site.address()), Frames::connect(site.address()));
        for client in [&mut there, &mut gone] {
            assert!(client.get(1, &format!("/events?token={}", token("1"))).next_of(1, HEADERS).is_ok());
        }
        // Pings are answered where frames are read, and the other one reads none.
        assert!(there.is_open_for(pace.ms(1200)));
        site.becomes("connections", 1);
        assert_eq!(site.publish(r#"{"user": 1, "data": "still there"}"#)["delivered"], 1);
    });
}

#[test]
fn an_answer_that_the_client_never_makes_room_for_is_reset_and_its_app_is_told() {
    let (tell, told) = mpsc::channel();
    let app = App::start(move |mut client| {
        let head = client.try_head().unwrap_or_default();
        if head.starts_with("GET /endless") {
            client.send("HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n");
            while client.try_send([b'x'; 0x10000]).is_ok() {}
            tell.send(()).unwrap();
        } else {
            client.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        }
    });
    let site = site(&Settings { listen: "write_stall = \"200ms\"", ..Settings::default() }, &app);
    let mut client = Frames::connect(site.address());
    assert!(client.get(1, "/endless").next_of(1, HEADERS).is_ok());
    // CANCEL
    assert_eq!(client.next_of(1, RST_STREAM).code(), 8);
    told.recv_timeout(PATIENCE).unwrap();
}

#[test]
fn a_body_that_stalls_is_answered_with_408_and_the_connection_goes_on() {
    let (tell, told) = mpsc::channel();
    let app = App::start(move |mut client| {
        if client.try_head().is_some_and(|head| head.starts_with("POST")) {
            tell.send(String::from_utf8(client.rest()).unwrap()).unwrap();
        } else {
            client.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        }
    });
    let site = site(&Settings { listen: "body_stall = \"200ms\"", ..Settings::default() }, &app);
    h2::with(site.address(), async |mut client| {
        let (pieces, body) = Sent::in_pieces();
        pieces.send("half".into()).unwrap();
        let answer = client.send(request("POST", "/").body(body).unwrap()).await.unwrap();
        assert_eq!(answer.status(), 408);
        assert_eq!(client.get("/").await.text(), "ok");
    });
    let seen = told.recv_timeout(PATIENCE).unwrap();
    assert!(seen.contains("half") && !seen.contains("\r\n0\r\n"), "the app saw {seen:?}");
}
