//! TLS: which certificate a client is shown, which hosts it may then ask for, and which protocols it is offered.

use std::io::{Read as _, Write as _};
use std::sync::Arc;

use rustls::ProtocolVersion;

use crate::support::port::leave_stale;
use crate::support::session::{Session, config_of, written};
use crate::support::settings::Settings;
use crate::support::tls::{self, certificate, client_config};
use crate::support::{App, Client, NO_APP, Sidestream, Subscriber};

const ONE: &str = "tls = [{ cert = \"site.crt\", key = \"site.key\" }]\n";

fn ok() -> App {
    App::that_says("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
}

/// A site with one certificate for `test`, and these lines for its listener.
fn secure(listen: &str, upstream: &str) -> Sidestream {
    let folder = tempfile::tempdir().unwrap();
    certificate(folder.path(), "site", &["test"]);
    let listen = format!("{ONE}{listen}\n");
    Sidestream::start_in(folder, &Settings { listen: &listen, ..Settings::default() }.text(&[upstream]))
}

/// A site with three certificates.
fn with_three(upstream: &str) -> Sidestream {
    let folder = tempfile::tempdir().unwrap();
    certificate(folder.path(), "a", &["a.example", "b.example"]);
    certificate(folder.path(), "c", &["*.c.example"]);
    certificate(folder.path(), "d", &["d.example", "e.example"]);
    let listen = "tls = [{ cert = \"a.crt\", key = \"a.key\" }, { cert = \"c.crt\", key = \"c.key\" }, \
                  { cert = \"d.crt\", key = \"d.key\" }]";
    Sidestream::start_in(folder, &Settings { listen, ..Settings::default() }.text(&[upstream]))
}

/// The status of a request for a host.
fn status_of(client: &mut Client, host: &str) -> u16 {
    client.send(format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n")).response().status
}

#[test]
fn the_named_host_picks_the_certificate_and_an_unknown_one_gets_the_first() {
    let site = with_three(NO_APP);
    for (host, shown) in [
        ("a.example", "a"),
        ("b.example", "a"),
        ("B.EXAMPLE", "a"),
        ("x.c.example", "c"),
        ("d.example", "d"),
        ("e.example", "d"),
        ("unknown.example", "a"),
        ("c.example", "a"),
        ("x.y.c.example", "a"),
        // No host is named.
        ("127.0.0.1", "a"),
    ] {
        let session = Session::begin(site.address(), host, &client_config(&[])).unwrap();
        assert!(session.certificate == written(site.folder.path(), shown), "{host} was not shown {shown}");
    }
}

#[test]
fn a_host_of_another_certificate_is_misdirected() {
    let app = ok();
    let site = with_three(&app.origin());
    for (named, host, status) in [
        ("a.example", "a.example", 200),
        ("a.example", "A.Example:8443", 200),
        ("a.example", "b.example", 200),
        ("a.example", "d.example", 421),
        ("a.example", "x.c.example", 421),
        ("d.example", "e.example", 200),
        ("d.example", "a.example", 421),
        ("x.c.example", "y.c.example", 200),
        ("x.c.example", "b.example", 421),
        ("d.example", "unknown.example", 421),
        ("127.0.0.1", "d.example", 200),
    ] {
        let mut client = tls::connect(site.address(), named);
        assert_eq!(status_of(&mut client, host), status, "{host} where {named} was named");
        // The connection is not spoilt for the host that it was made for.
        assert_eq!(status_of(&mut client, if named == "127.0.0.1" { host } else { named }), 200);
    }
}

#[test]
fn a_stream_is_misdirected_as_any_request() {
    let site = with_three(NO_APP);
    let token = crate::support::token("1");
    let mut client = tls::connect(site.address(), "a.example");
    client.send(format!("GET /events?token={token} HTTP/1.1\r\nHost: d.example\r\n\r\n"));
    let response = client.response();
    assert_eq!((response.status, response.field("content-type")), (421, Some("text/html; charset=utf-8")));
    client.send(format!("GET /events?token={token} HTTP/1.1\r\nHost: a.example\r\n\r\n"));
    Subscriber::opened(client);
}

#[test]
fn only_named_hosts_are_served() {
    let app = ok();
    let names = "server_names = [\"shop.example\", \"*.shop.example\", \"10.0.0.1\"]";
    let plain = Settings { listen: names, ..Settings::default() }.before(&app);
    let secure = secure(names, &app.origin());
    for (host, served) in [
        ("shop.example", true),
        ("SHOP.example:8080", true),
        ("www.shop.example", true),
        ("a.b.shop.example", true),
        ("10.0.0.1", true),
        ("myshop.example", false),
        (".shop.example.evil", false),
        ("example", false),
        ("10.0.0.10", false),
        ("[::1]", false),
    ] {
        let status = status_of(&mut plain.connect(), host);
        assert_eq!(status, if served { 200 } else { 404 }, "{host} in cleartext");
        // The one certificate there is covers every host.
        let status = status_of(&mut tls::connect(secure.address(), "shop.example"), host);
        assert_eq!(status, if served { 200 } else { 421 }, "{host} under TLS");
    }
}

#[test]
fn the_protocol_is_agreed_on_in_the_handshake() {
    let app = ok();
    let with_h2 = secure("", &app.origin());
    let without = secure("http2 = false", &app.origin());
    for (site, offered, agreed) in [
        (&with_h2, &["h2", "http/1.1"][..], Some("h2")),
        (&with_h2, &["http/1.1", "h2"], Some("h2")),
        (&with_h2, &["http/1.1"], Some("http/1.1")),
        (&with_h2, &[], None),
        (&without, &["h2", "http/1.1"], Some("http/1.1")),
        (&without, &[], None),
    ] {
        let mut session = Session::begin(site.address(), "test", &client_config(offered)).unwrap();
        assert_eq!(session.alpn.as_deref(), agreed, "of {offered:?}");
        if agreed != Some("h2") {
            assert_eq!(status_of(&mut session.client, "test"), 200, "{offered:?}");
        }
    }
    for (site, offered) in [(&without, "h2"), (&with_h2, "spdy/3")] {
        let failed = Session::begin(site.address(), "test", &client_config(&[offered])).map(|s| s.alpn);
        assert!(failed.unwrap_err().to_string().contains("NoApplicationProtocol"), "{offered}");
        site.becomes("handshakes_failed", 1);
    }
}

#[test]
fn both_versions_of_tls_are_served_and_their_sessions_resumed() {
    let app = ok();
    let site = secure("", &app.origin());
    for (offered, version) in [
        (&rustls::version::TLS12, ProtocolVersion::TLSv1_2),
        (&rustls::version::TLS13, ProtocolVersion::TLSv1_3),
    ] {
        let config = config_of(offered);
        // More than there are workers, so that a session is resumed by one that did not begin it.
        for again in [false, true, true, true, true, true] {
            let mut session = Session::begin(site.address(), "test", &config).unwrap();
            assert_eq!((session.version, session.resumed), (version, again));
            assert_eq!(status_of(&mut session.client, "test"), 200);
        }
    }
}

#[test]
fn a_session_is_taken_up_again_by_any_worker_over_either_protocol() {
    let site = secure("", NO_APP);
    let config = client_config(&["h2", "http/1.1"]);
    let over_http1 = {
        let mut config = (*config).clone();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Arc::new(config)
    };
    for (config, begun, asked) in [
        (&config, false, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0"),
        // Its tickets are in the same store.
        (&over_http1, true, "GET / HTTP/1.1\r\nHost: a b\r\n\r\n"),
    ] {
        for again in [begun, true, true, true, true, true] {
            let mut session = Session::begin(site.address(), "test", config).unwrap();
            assert_eq!(session.resumed, again, "{:?}", session.alpn);
            // The ticket comes before the first bytes of an answer.
            session.client.send(asked).exactly(9);
        }
    }
}

#[test]
fn what_is_not_tls_ends_the_connection_and_disturbs_nobody() {
    let app = ok();
    let site = secure("", &app.origin());
    let mut other = tls::connect(site.address(), "test");
    for (place, said) in ["GET / HTTP/1.1\r\nHost: test\r\n\r\n", "\u{16}\u{3}\u{1}"].into_iter().enumerate()
    {
        let mut client = site.connect();
        client.send(said).finish();
        let answer = client.rest();
        assert!(!answer.starts_with(b"HTTP"), "{:?}", String::from_utf8_lossy(&answer));
        site.becomes("handshakes_failed", place as u64 + 1);
        assert_eq!(status_of(&mut other, "test"), 200);
    }
}

#[test]
fn an_answer_whose_end_is_the_connections_says_that_it_is_the_end() {
    let app = App::start(|mut client| {
        client.head();
        client.send("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nwhole");
    });
    let site = secure("", &app.origin());
    let config = client_config(&["http/1.1"]);
    let mut tcp = std::net::TcpStream::connect(site.address()).unwrap();
    tcp.set_read_timeout(Some(crate::support::PATIENCE)).unwrap();
    let mut session = rustls::ClientConnection::new(config, "test".try_into().unwrap()).unwrap();
    let mut stream = rustls::Stream::new(&mut session, &mut tcp);
    stream.write_all(b"GET / HTTP/1.0\r\nHost: test\r\n\r\n").unwrap();
    let mut text = String::new();
    // Without a close_notify this is an error: it could be somebody in between who cut it (RFC 8446, section 6.1).
    stream.read_to_string(&mut text).unwrap();
    assert!(text.ends_with("\r\n\r\nwhole"), "{text}");
}

#[test]
fn the_app_is_told_what_the_client_used() {
    let app = App::that_echoes();
    let more = "[[listen]]\naddress = \"127.0.0.1:0\"\n[[listen]]\naddress = \"unix:site.sock\"";
    let folder = tempfile::tempdir().unwrap();
    certificate(folder.path(), "site", &["test"]);
    let settings = Settings { listen: ONE, more, ..Settings::default() };
    let site = Sidestream::start_in(folder, &settings.text(&[&app.origin()]));
    let spoof = "X-Forwarded-Proto: gopher\r\n";
    let secure = tls::connect(site.address(), "test").get("/", spoof).response().text();
    assert!(secure.contains("x-forwarded-proto: https\r\n"), "{secure}");
    assert!(secure.contains("x-forwarded-port: 443\r\n"), "{secure}");
    for listener in [1, 2] {
        let plain = Client::connect(site.address_of(listener)).get("/", spoof).response().text();
        assert!(plain.contains("x-forwarded-proto: http\r\n"), "{plain}");
        assert!(plain.contains("x-forwarded-port: 80\r\n"), "{plain}");
    }
}

#[test]
fn a_unix_listener_serves_requests_and_streams_and_leaves_no_file() {
    let app = ok();
    // Not in the site's own folder, which is removed with the site.
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("site.sock");
    // What a process left behind that is no more.
    leave_stale(&path);
    let address = format!("unix:{}", path.display());
    let more = format!("[[listen]]\naddress = {address:?}");
    let site = Settings { more: &more, ..Settings::default() }.before(&app);
    assert_eq!(site.address_of(1), address);
    let mut client = Client::connect(&address);
    for _ in 0..2 {
        assert_eq!(client.get("/", "").response().text(), "ok");
    }
    let mut subscriber = Subscriber::of(Client::connect(&address), "1");
    assert_eq!(site.publish(r#"{"user": 1, "data": "over a file"}"#)["delivered"], 1);
    assert_eq!(subscriber.data(), "over a file");
    drop((subscriber, site));
    assert!(!path.exists());
}
