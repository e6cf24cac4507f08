//! `hsts`: said in every answer of a listener with TLS, once.

use crate::support::client::field;
use crate::support::h2_session::H2Session;
use crate::support::{App, Client, NO_APP, Site, WEBSOCKET, tls, token};

const NAME: &str = "strict-transport-security";
const HSTS: &str = "hsts = { max_age = \"365d\", include_subdomains = true }";
const SAID: Option<&str> = Some("max-age=31536000; includeSubDomains");

#[test]
fn every_answer_over_tls_says_it_and_none_in_cleartext() {
    let app = App::that_says("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    let site = Site::before(app.origin())
        .tls(&[&["shop.example"]])
        .listen(HSTS)
        .more("[[listen]]\naddress = \"127.0.0.1:0\"")
        .start();
    let connect = || tls::connect(site.address(), "shop.example");
    let get = |target: &str| {
        connect().send(format!("GET {target} HTTP/1.1\r\nHost: shop.example\r\n\r\n")).response()
    };
    for (target, status) in [("/", 200), ("/events", 401)] {
        let response = get(target);
        assert_eq!((response.status, response.field(NAME)), (status, SAID), "{target}");
    }
    let unclear = connect().send("GET / HTTP/1.1\r\nHost: a b\r\n\r\n").response();
    assert_eq!((unclear.status, unclear.field(NAME)), (400, SAID));
    // A stream's head is written past all others.
    let mut stream = connect();
    stream.send(format!("GET /events?token={} HTTP/1.1\r\nHost: shop.example\r\n\r\n", token("1")));
    let head = stream.head();
    assert_eq!(field(&head, NAME), SAID, "{head}");
    assert_eq!(head.to_ascii_lowercase().matches(NAME).count(), 1);
    let mut clear = Client::connect(site.address_of(1));
    assert_eq!(clear.get("/", "").response().field(NAME), None);
}

#[test]
fn what_the_app_says_of_it_is_left_alone() {
    let app = App::that_says(
        "HTTP/1.1 200 OK\r\nStrict-Transport-Security: max-age=60\r\nContent-Length: 2\r\n\r\nok",
    );
    let site = Site::before(app.origin()).tls(&[&["shop.example"]]).listen(HSTS).start();
    let mut client = tls::connect(site.address(), "shop.example");
    let response = client.send("GET / HTTP/1.1\r\nHost: shop.example\r\n\r\n").response();
    assert_eq!(response.field(NAME), Some("max-age=60"));
    assert_eq!(response.head.to_ascii_lowercase().matches(NAME).count(), 1);
}

#[test]
fn an_upgrade_and_a_missing_app_say_it_too() {
    let app = App::that_says(
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n",
    );
    for (origin, status) in [(app.origin(), 101), (NO_APP.to_owned(), 502)] {
        let site = Site::before(origin).tls(&[&["shop.example"]]).listen("hsts = \"1d\"").start();
        let mut client = tls::connect(site.address(), "shop.example");
        let head = client.send(format!("GET /ws HTTP/1.1\r\nHost: shop.example\r\n{WEBSOCKET}\r\n")).head();
        assert!(head.starts_with(&format!("HTTP/1.1 {status}")), "{head}");
        assert_eq!(field(&head, NAME), Some("max-age=86400"), "{head}");
    }
}

#[test]
fn a_stream_of_http2_says_it_once_unless_its_route_does() {
    let more = "[[route]]\npath = \"/own\"\n[route.stream]\nauth = [\"jwt\"]\n\
         headers = { strict-transport-security = \"max-age=1\" }";
    let site = Site::before(NO_APP).tls(&[&["test"]]).listen(HSTS).more(more).start();
    let mut session = H2Session::connect(site.address());
    for (path, said) in [("/events", SAID), ("/own", Some("max-age=1")), ("/", SAID)] {
        let response = session.send("GET", &format!("{path}?token={}", token("1")), &[]);
        let lines: Vec<_> = response.headers().get_all(NAME).iter().map(|line| line.to_str().ok()).collect();
        assert_eq!(lines, [said], "{path}");
    }
    // On HTTP/1 its head is written by itself.
    let mut stream = tls::connect(site.address(), "test");
    let head = stream.send(format!("GET /own?token={} HTTP/1.1\r\nHost: test\r\n\r\n", token("1"))).head();
    assert_eq!(field(&head, NAME), Some("max-age=1"));
    assert_eq!(head.to_ascii_lowercase().matches(NAME).count(), 1);
}
