//! An app that is away, or takes too long.

use std::net::TcpStream;
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};

use crate::support::pace::at_best;
use crate::support::{Backend, NO_APP, PATIENCE, Site, at_some_pace};

#[test]
fn a_person_gets_a_page_and_a_program_gets_json() {
    let site = Site::before(NO_APP).start();
    let mut client = site.connect();
    for (accept, json) in [
        ("", false),
        ("Accept: text/html,application/xhtml+xml,*/*;q=0.8\r\n", false),
        ("Accept: */*\r\n", false),
        ("Accept: application/json\r\n", true),
        ("Accept: application/vnd.api+json\r\n", true),
        ("Accept: text/html, application/json\r\n", false),
    ] {
        let response = client.get("/", accept).response();
        assert_eq!(response.status, 502);
        assert_eq!(response.field("retry-after"), Some("2"));
        assert_eq!(response.field("cache-control"), Some("no-store"));
        if json {
            assert_eq!(response.field("content-type"), Some("application/json"));
            assert_eq!(response.json()["error"], "bad_gateway");
        } else {
            assert!(response.field("content-type").unwrap().starts_with("text/html"));
            assert!(response.text().contains("<h1>502 Bad Gateway</h1>"), "{}", response.text());
        }
        // Where the app was looked for is nobody's business.
        assert!(!response.text().contains("127.0.0.1"), "{}", response.text());
    }
    client.send("HEAD / HTTP/1.1\r\nHost: test\r\n\r\n");
    let response = client.response_to("HEAD");
    assert_eq!((response.status, response.field("retry-after")), (502, Some("2")));
    // The head said how long the page would be; the next answer must not be taken for it.
    assert_eq!(client.get("/", "").response().status, 502);
    assert_eq!(site.count("upstream_errors"), 8);
}

#[test]
fn an_upload_to_an_app_that_is_away_ends_in_an_answer() {
    let site = Site::before(NO_APP).start();
    let mut client = site.connect();
    client.send("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 2000000\r\n\r\n");
    client.send(vec![b'x'; 1_000_000]);
    assert_eq!(client.response().status, 502);
}

#[test]
fn an_app_that_takes_too_long_to_answer_is_given_up() {
    let backend = Backend::start();
    let site = Site::before(backend.origin()).upstream("response_timeout = \"60ms\"").start();
    for request in [
        "GET / HTTP/1.1\r\nHost: test\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 2\r\n\r\nhi",
    ] {
        let mut client = site.connect();
        let begun = Instant::now();
        client.send(request);
        let mut app = backend.accept();
        app.request();
        let response = client.response();
        assert_eq!((response.status, response.field("retry-after")), (504, Some("2")));
        assert!(begun.elapsed() >= Duration::from_millis(60));
        // It need not go on with what nobody waits for.
        app.closed();
    }
    // Bytes before the head do not count as one.
    let mut client = site.connect();
    client.get("/", "");
    let mut app = backend.accept();
    app.head();
    app.send("HTTP/1.1 200 OK\r\nX:");
    assert_eq!(client.response().status, 504);
    assert_eq!(site.count("upstream_errors"), 3);
}

#[test]
fn an_app_whose_head_never_ends_is_given_up_in_the_same_time() {
    let backend = Backend::start();
    let site = Site::before(backend.origin()).upstream("response_timeout = \"100ms\"").start();
    for (first, more) in [("HTTP/1.1 200 OK\r\nX: ", "y"), ("HTTP/1.1 102 Wait\r\n\r\n", "\r\n")] {
        let mut client = site.connect();
        let begun = Instant::now();
        client.get("/", "");
        let mut app = backend.accept();
        app.head();
        app.send(first);
        while client.is_silent_for(Duration::from_millis(2)) {
            assert!(begun.elapsed() < PATIENCE, "it goes on for ever");
            let _ = app.try_send(more);
        }
        assert_eq!(client.response().status, 504, "{first:?}");
        app.closed();
    }
}

#[test]
fn an_app_that_pauses_within_its_answer_for_too_long_is_given_up() {
    let backend = Backend::start();
    let site = Site::before(backend.origin()).upstream("read_timeout = \"60ms\"").start();
    let mut client = site.connect();
    client.get("/", "");
    let mut app = backend.accept();
    app.head();
    app.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n");
    let rest = client.rest();
    assert!(rest.ends_with(b"\r\n5\r\nhello\r\n"), "{}", String::from_utf8_lossy(&rest));
    app.closed();

    // An event stream of its own may be quiet for as long as it likes.
    let mut client = site.connect();
    client.get("/", "");
    let mut app = backend.accept();
    app.head();
    app.send(
        "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n",
    );
    client.until("\r\na\r\n");
    assert!(client.is_silent_for(Duration::from_millis(150)));
    app.send("1\r\nb\r\n");
    client.until("\r\nb\r\n");
}

#[test]
fn an_app_that_answers_slowly_but_steadily_may() {
    at_some_pace(|pace| {
        let backend = Backend::start();
        let site = Site::before(backend.origin())
            .upstream(&pace.of("response_timeout = \"120ms\"\nread_timeout = \"120ms\""))
            .start();
        let mut client = site.connect();
        client.get("/", "");
        let mut app = backend.accept();
        app.head();
        app.send("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n");
        client.head();
        for _ in 0..6 {
            assert!(client.is_silent_for(pace.ms(40)));
            app.send("x");
            client.until("x");
        }
    });
}

#[test]
fn an_app_that_does_not_accept_is_given_up() {
    // A queue of one that is full: what comes then is not answered by the system.
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&"127.0.0.1:0".parse::<std::net::SocketAddr>().unwrap().into()).unwrap();
    socket.listen(0).unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap();
    let mut queue = Vec::new();
    while let Ok(stream) = TcpStream::connect_timeout(&address, Duration::from_millis(100)) {
        queue.push(stream);
        assert!(queue.len() < 16, "the queue does not fill");
    }
    let site = Site::before(format!("http://{address}")).upstream("connect_timeout = \"60ms\"").start();
    // Well before the five seconds that it has if it is not said otherwise.
    let most = Duration::from_secs(3);
    let took = at_best(most, || {
        let begun = Instant::now();
        let response = site.connect().get("/", "").response();
        assert_eq!((response.status, response.field("retry-after")), (504, Some("2")));
        begun.elapsed()
    });
    assert!(took < most, "{took:?}");
}

#[test]
fn what_the_app_says_of_its_own_trouble_is_its_own() {
    let backend = Backend::start();
    let site = Site::before(backend.origin()).start();
    let mut client = site.connect();
    client.get("/", "");
    let mut app = backend.accept();
    for status in ["500 Oops", "502 Mine", "503 Later"] {
        app.head();
        app.send(format!("HTTP/1.1 {status}\r\nContent-Length: 4\r\nRetry-After: 99\r\n\r\nmine"));
        let response = client.response();
        assert_eq!(response.status.to_string(), status[..3]);
        assert_eq!((response.text().as_str(), response.field("retry-after")), ("mine", Some("99")));
        client.get("/", "");
    }
    assert_eq!(site.count("upstream_errors"), 0);
}
