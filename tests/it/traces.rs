//! Spans as they arrive at a collector: what they say, whose children they are, and which requests have them.

mod callers;
mod collector;
mod exporting;
mod publications;
mod streams;

use std::time::{SystemTime, UNIX_EPOCH};

use collector::{Collector, Span};
use serde_json::json;

use crate::support::client::field;
use crate::support::h2_session::H2Session;
use crate::support::{App, Backend, NO_APP, Sidestream, WEBSOCKET, in_front_of, tls, token};

pub(crate) const INTERNAL: u64 = 1;
pub(crate) const SERVER: u64 = 2;
pub(crate) const CLIENT: u64 = 3;
pub(crate) const PRODUCER: u64 = 4;

/// A site in front of an app, with a stream at `/events`, of whose requests a share is recorded.
fn site(app: &str, collector: &Collector, share: &str, more: &str) -> Sidestream {
    Sidestream::start(&text(app, collector, share, more))
}

/// The same, on HTTP/2 too: on the second listener, under TLS.
fn site_with_h2(app: &str, collector: &Collector, more: &str) -> Sidestream {
    let folder = tempfile::tempdir().unwrap();
    tls::certificate(folder.path(), "test", &["test"]);
    let listen =
        "[[listen]]\naddress = \"127.0.0.1:0\"\ntls = [{ cert = \"test.crt\", key = \"test.key\" }]\n";
    Sidestream::start_in(folder, &text(app, collector, "1", &format!("{listen}{more}")))
}

fn text(app: &str, collector: &Collector, share: &str, more: &str) -> String {
    let text = in_front_of(app, "", more);
    text.replace("[log]\naccess = \"access.log\"\n", &collector.log(share))
}

#[track_caller]
fn assert_says(span: &Span, said: &[(&str, &str)]) {
    for (key, value) in said {
        assert_eq!(span.get(key), Some(*value), "{key} of {span:?}");
    }
}

#[test]
fn a_request_has_a_span_and_so_has_what_the_app_was_asked() {
    let (app, collector) = (App::that_echoes(), Collector::start());
    let site = site(&app.origin(), &collector, "1", "");
    let fields = "User-Agent: test/1\r\nHost: shop.example:8443\r\n";
    let mut client = site.connect();
    client.send(format!("GET /shop?token=secret HTTP/1.1\r\n{fields}\r\n"));
    let head = client.response().text();
    let (client, server) = (collector.span("GET"), collector.span("GET /"));
    assert_eq!((server.kind(), client.kind()), (SERVER, CLIENT));
    assert_eq!((server.parent(), client.parent()), (None, Some(server.id())));
    assert_eq!(server.trace(), client.trace());
    let expected = format!("00-{}-{}-01", server.trace(), client.id());
    assert_eq!(field(&head, "traceparent"), Some(&*expected), "the app is within what it was asked");
    assert_says(
        &server,
        &[
            ("http.request.method", "GET"),
            ("url.path", "/shop"),
            ("url.scheme", "http"),
            ("server.address", "shop.example"),
            ("server.port", "8443"),
            ("http.route", "/"),
            ("http.response.status_code", "200"),
            ("http.response.body.size", &head.len().to_string()),
            ("network.protocol.version", "1.1"),
            ("client.address", "127.0.0.1"),
            ("user_agent.original", "test/1"),
            ("sidestream.request_id", field(&head, "x-request-id").unwrap()),
        ],
    );
    assert_says(
        &client,
        &[
            ("http.request.method", "GET"),
            ("http.response.status_code", "200"),
            ("server.address", "127.0.0.1"),
            ("server.port", app.origin().rsplit(':').next().unwrap()),
            ("sidestream.upstream", "app"),
        ],
    );
    assert!(!server.has_failed() && !client.has_failed(), "{server:?}");
    let ((begun, ended), (asked, heard)) = (server.times(), client.times());
    assert!(begun <= asked && asked <= heard && heard <= ended, "{server:?} {client:?}");
    let now = u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos()).unwrap();
    assert!(now - 60_000_000_000 < begun && ended < now, "{server:?}");
}

#[test]
fn each_batch_says_who_sends_it_and_each_line_of_the_log_its_trace() {
    let (app, collector) = (App::that_says("HTTP/1.1 204 X\r\n\r\n"), Collector::start());
    let site = site(&app.origin(), &collector, "1", "");
    site.connect().get("/", "").response();
    let batch = collector.batch();
    let resource = &batch["body"]["resourceSpans"][0]["resource"]["attributes"];
    assert_eq!(resource[0], json!({"key": "service.name", "value": {"stringValue": "sidestream"}}));
    let version = json!({"stringValue": env!("CARGO_PKG_VERSION")});
    assert_eq!(resource[1], json!({"key": "service.version", "value": version}));
    assert_eq!(resource[2]["key"], "service.instance.id");
    assert_eq!(resource[2]["value"]["stringValue"].as_str().unwrap().len(), 36);
    site.comes_true(|| "the line is written".to_owned(), || !site.access_log().is_empty());
    let line: serde_json::Value = serde_json::from_str(site.access_log().lines().next().unwrap()).unwrap();
    assert_eq!(line["trace"], collector::spans(&batch)[0].trace());
}

#[test]
fn http_2_is_told_as_such() {
    let (app, collector) = (App::that_echoes(), Collector::start());
    let site = site_with_h2(&app.origin(), &collector, "");
    let mut session = H2Session::connect(site.address_of(1));
    let head = session.get("/a", &[]).into_body();
    let (client, server) = (collector.span("GET"), collector.span("GET /"));
    assert_says(
        &server,
        &[("network.protocol.version", "2"), ("url.scheme", "https"), ("server.address", "test")],
    );
    let expected = format!("00-{}-{}-01", server.trace(), client.id());
    assert_eq!(field(&head, "traceparent"), Some(&*expected));
}

#[test]
fn a_span_says_what_went_wrong() {
    let (broken, collector) =
        (App::that_says("HTTP/1.1 500 X\r\nContent-Length: 0\r\n\r\n"), Collector::start());
    let more = format!(
        "[[route]]\npath = \"/down\"\n[route.proxy]\nupstream = \"down\"\n\
         [upstreams.down]\nservers = [\"{NO_APP}\"]\nkind = \"asgi\"\n\
         [[route]]\npath = \"/other\"\nhosts = [\"other.example\"]\n[route.proxy]\nupstream = \"app\"\n"
    );
    let site = site(&broken.origin(), &collector, "1", &more);
    let mut client = site.connect();
    assert_eq!(client.get("/down", "").response().status, 502);
    let (server, asked) = (collector.span("GET /down"), collector.span("GET"));
    assert!(server.has_failed() && asked.has_failed());
    assert_says(&server, &[("error.type", "502"), ("sidestream.refused", "upstream")]);
    assert_says(&asked, &[("error.type", "connect"), ("sidestream.upstream", "down")]);
    assert_eq!(client.post("/", "", "{}").response().status, 500);
    let (server, asked) = (collector.span("POST /"), collector.span("POST"));
    assert_says(&server, &[("error.type", "500")]);
    assert_says(&asked, &[("error.type", "500"), ("http.response.status_code", "500")]);
    client.send("BREW /pot HTTP/1.1\r\nHost: test\r\n\r\n");
    let status = client.response().status;
    let server = collector.span_where("of a method that is made up", |span| {
        span.kind() == SERVER && span.get("url.path") == Some("/pot")
    });
    assert_says(
        &server,
        &[
            ("http.request.method", "_OTHER"),
            ("http.request.method_original", "BREW"),
            ("http.response.status_code", &status.to_string()),
        ],
    );
    assert!(server.0["name"].as_str().unwrap().starts_with("HTTP"), "{server:?}");
}

#[test]
fn a_client_that_goes_away_is_no_fault_of_the_server() {
    let (app, collector) = (Backend::start(), Collector::start());
    let site = site(app.origin(), &collector, "1", "");
    let mut client = site.connect();
    client.get("/slow", "");
    let mut asked = app.accept();
    asked.head();
    drop(client);
    let (server, asked) = (collector.span("GET /"), collector.span("GET"));
    assert_eq!((server.get("error.type"), server.has_failed()), (Some("client_gone"), false));
    assert_eq!(server.get("http.response.status_code"), None);
    assert_eq!((asked.get("error.type"), asked.has_failed()), (Some("client_gone"), true));
}

#[test]
fn an_answer_that_breaks_off_is_a_failure() {
    let collector = Collector::start();
    let app = App::start(|mut client| {
        client.try_head();
        let _ = client.try_send("HTTP/1.1 200 X\r\nContent-Length: 9\r\n\r\nhello");
    });
    let site = site(&app.origin(), &collector, "1", "");
    let mut client = site.connect();
    client.get("/", "");
    client.rest();
    let server = collector.span("GET /");
    assert_eq!((server.get("error.type"), server.has_failed()), (Some("broken"), true));
    assert_says(&server, &[("http.response.status_code", "200"), ("http.response.body.size", "5")]);
}

#[test]
fn a_tunnel_is_recorded_until_it_is_one() {
    let collector = Collector::start();
    let app = App::start(|mut client| {
        client.try_head();
        let switched = "HTTP/1.1 101 X\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n";
        let _ = client.try_send(switched);
        client.rest();
    });
    let site = site(&app.origin(), &collector, "1", "");
    let mut client = site.connect();
    assert!(client.get("/socket", WEBSOCKET).head().starts_with("HTTP/1.1 101 "));
    for span in [collector.span("GET /"), collector.span("GET")] {
        assert_eq!((span.get("http.response.status_code"), span.has_failed()), (Some("101"), false));
    }
}

#[test]
fn no_secret_is_in_a_span() {
    let (app, collector) = (App::that_echoes(), Collector::start());
    let site = site(&app.origin(), &collector, "1", "");
    let token = token("42");
    let mut client = site.connect();
    for target in ["/events?token=", "/a?token=", "/missing?x=1&jwt="] {
        client.get(&format!("{target}{token}x"), "").response();
    }
    let fields = format!("Authorization: Bearer {token}\r\nCookie: token={token}; sessionid={token}\r\n");
    client.get("/b", &fields).response();
    client.send(format!("GET http://ana:{token}@test/c HTTP/1.1\r\nHost: test\r\n\r\n"));
    client.response();
    client.send(format!("GET /d HTTP/1.0\r\nHost: ana:{token}@test\r\n\r\n"));
    client.rest();
    site.publish(&format!("{{\"user\": \"{token}\", \"data\": \"{token}\"}}"));
    site.drain();
    site.wait();
    let spans = collector.rest();
    assert!(spans.len() >= 8, "{spans:?}");
    let all = format!("{spans:?}");
    assert!(!all.contains(&token[..20]) && !all.contains("ana"), "{all}");
}

#[test]
fn what_is_to_be_sent_is_sent_at_the_end() {
    let (app, collector) = (App::that_echoes(), Collector::start());
    let site = site(&app.origin(), &collector, "1", "");
    site.connect().get("/last", "Connection: close\r\n").response();
    site.drain();
    site.wait();
    assert_eq!(collector.rest().len(), 2);
}
