//! Pages of other origins: who may use a route, and that a refusal can be read by whoever may.

use crate::support::client::field;
use crate::support::h2_session::H2Session;
use crate::support::{Client, NO_APP, Response, Sidestream, Subscriber, in_front_of, tls, token};

const APP: &str = "http://localhost:3000";
const CORS: &str =
    "cors = { origins = [\"https://app.example\", \"http://localhost:3000\"], credentials = true }";

/// A stream at `/shared`, one for anybody at `/open`, and a publish route, with `cors`; the stream at `/events` has
/// none.
fn site() -> Sidestream {
    let folder = tempfile::tempdir().unwrap();
    tls::certificate(folder.path(), "test", &["test"]);
    let more = format!(
        r#"
[[listen]]
address = "127.0.0.1:0"
tls = [{{ cert = "test.crt", key = "test.key" }}]
[[route]]
path = "/shared"
{CORS}
[route.stream]
auth = ["jwt"]
[[route]]
path = "/told"
{CORS}
[route.stream]
auth = ["jwt"]
unauthorized = "event"
[[route]]
path = "/open"
cors = {{ origins = "*" }}
[route.stream]
auth = []
[[route]]
path = "/hook"
{CORS}
[route.publish]
token = "a token of the tests"
"#
    );
    Sidestream::start_in(folder, &in_front_of(NO_APP, "", &more))
}

fn ask(mut client: Client, method: &str, target: &str, fields: &str) -> Response {
    client.send(format!("{method} {target} HTTP/1.1\r\nHost: test\r\n{fields}\r\n"));
    client.response_to(method)
}

/// What a head says of origins, each line as it came.
fn said(head: &str) -> Vec<String> {
    let lines = head.lines().map(str::to_ascii_lowercase);
    let mut said: Vec<_> =
        lines.filter(|line| line.starts_with("access-control-") || line.starts_with("vary")).collect();
    said.sort();
    said
}

const LISTED: [&str; 3] = [
    "access-control-allow-credentials: true",
    "access-control-allow-origin: http://localhost:3000",
    "vary: origin",
];

#[test]
fn a_preflight_needs_no_token_and_is_told_what_may_be_sent() {
    let site = site();
    for target in ["/shared", "/hook", "/told"] {
        let asks = format!(
            "Origin: {APP}\r\nAccess-Control-Request-Method: GET\r\n\
             Access-Control-Request-Headers: authorization,cache-control,last-event-id,x-other,webhook-id\r\n\
             Access-Control-Request-Private-Network: true\r\n"
        );
        let answer = ask(site.connect(), "OPTIONS", target, &asks);
        assert_eq!(answer.status, 204, "{}", answer.head);
        let expected = [
            "access-control-allow-credentials: true",
            "access-control-allow-headers: authorization, cache-control, last-event-id, webhook-id",
            "access-control-allow-methods: get, post",
            "access-control-allow-origin: http://localhost:3000",
            "access-control-max-age: 7200",
            "vary: access-control-request-headers",
            "vary: origin",
        ];
        assert_eq!(said(&answer.head), expected);
        assert!(answer.field("content-length").is_none_or(|length| length == "0"));
    }
}

#[test]
fn a_preflight_of_a_stranger_is_told_nothing() {
    let site = site();
    let asks = |origin: &str| format!("Origin: {origin}\r\nAccess-Control-Request-Method: GET\r\n");
    for origin in ["https://evil.example", "null", "http://localhost:3001", "https://app.example.evil"] {
        let answer = ask(site.connect(), "OPTIONS", "/shared", &asks(origin));
        assert_eq!(answer.status, 204);
        assert_eq!(said(&answer.head), ["vary: access-control-request-headers", "vary: origin"]);
    }
    let answer = ask(site.connect(), "OPTIONS", "/events", &asks(APP));
    assert_eq!((answer.status, said(&answer.head).len()), (405, 0), "a route without cors");
    assert_eq!(ask(site.connect(), "OPTIONS", "/shared", "").status, 405, "not a preflight");
}

#[test]
fn anybody_may_read_a_route_that_is_for_anybody() {
    let site = site();
    let asks = "Origin: https://any.example\r\nAccess-Control-Request-Method: GET\r\n";
    let expected = [
        "access-control-allow-methods: get, post",
        "access-control-allow-origin: *",
        "access-control-max-age: 7200",
        "vary: access-control-request-headers",
    ];
    assert_eq!(said(&ask(site.connect(), "OPTIONS", "/open", asks).head), expected);
    let head = Subscriber::open(site.connect(), "/open", "").head;
    assert_eq!(said(&head), ["access-control-allow-origin: *"]);
}

#[test]
fn streams_and_refusals_can_be_read_by_the_pages_that_are_listed() {
    let site = site();
    let origin = format!("Origin: {APP}\r\n");
    let good = format!("/shared?token={}", token("42"));
    let stream = Subscriber::open(site.connect(), &good, &origin);
    assert_eq!(said(&stream.head), LISTED);
    let stream = Subscriber::open(tls::connect(site.address_of(1), "test"), &good, &origin);
    assert_eq!(said(&stream.head), LISTED);
    let publish = "Authorization: Bearer wrong\r\nContent-Length: 2\r\nContent-Type: application/json\r\n";
    for (method, target, fields, status) in [
        ("GET", "/shared", "", 401),
        ("GET", &*format!("{good}&channels=secret"), "", 403),
        ("GET", &*format!("{good}&userId=43"), "", 403),
        ("GET", &*good, "Content-Length: 1\r\n", 400),
        ("DELETE", "/shared", "", 405),
        ("GET", "/told", "", 200),
        ("POST", "/hook", publish, 401),
        ("GET", "/hook", "", 405),
    ] {
        let answer = ask(site.connect(), method, target, &format!("{origin}{fields}"));
        assert_eq!(answer.status, status, "{method} {target}");
        assert_eq!(said(&answer.head), LISTED, "{method} {target}");
        let stranger =
            ask(site.connect(), method, target, &format!("Origin: https://evil.example\r\n{fields}"));
        assert_eq!((stranger.status, said(&stranger.head)), (status, vec!["vary: origin".to_owned()]));
    }
    // A request without an origin depends on it as much.
    assert_eq!(said(&ask(site.connect(), "GET", "/shared", "").head), ["vary: origin"]);
}

#[test]
fn a_listed_page_may_use_the_cookie() {
    let site = site();
    let cookie = format!("Cookie: token={}\r\n", token("42"));
    let of = |origin: &str| format!("{cookie}Origin: {origin}\r\n");
    assert_eq!(ask(site.connect(), "GET", "/events", &of(APP)).status, 403);
    assert_eq!(ask(site.connect(), "GET", "/shared", &of("https://evil.example")).status, 403);
    let mut stream = Subscriber::open(site.connect(), "/shared", &of(APP));
    site.publish(r#"{"user": 42, "data": "one"}"#);
    assert_eq!(stream.data(), "one");
}

#[test]
fn it_is_the_same_on_http2() {
    let site = site();
    let mut session = H2Session::connect(site.address_of(1));
    let good = format!("/shared?token={}", token("42"));
    for (method, target, status) in
        [("GET", &*good, 200), ("GET", "/shared", 401), ("DELETE", "/shared", 405)]
    {
        let answer = session.send(method, target, &[("origin", APP)]);
        assert_eq!(answer.status(), status);
        assert_eq!(answer.headers()["access-control-allow-origin"], APP);
        assert_eq!(answer.headers()["access-control-allow-credentials"], "true");
        assert_eq!(answer.headers()["vary"], "Origin");
    }
    let fields = [("origin", APP), ("access-control-request-method", "POST")];
    let answer = session.send("OPTIONS", "/shared", &fields);
    assert_eq!(
        (answer.status().as_u16(), &answer.headers()["access-control-allow-origin"]),
        (204, &APP.parse().unwrap())
    );
}

#[test]
fn every_header_of_a_document_can_be_said() {
    let headers = "headers = { Cache-Control = \"no-cache\", Connection = \"keep-alive\", Access-Control-Allow-Origin \
                   = \"*\", Access-Control-Allow-Headers = \"Cache-Control\", Access-Control-Allow-Credentials = \
                   \"true\" }";
    let folder = tempfile::tempdir().unwrap();
    tls::certificate(folder.path(), "test", &["test"]);
    let listen =
        "[[listen]]\naddress = \"127.0.0.1:0\"\ntls = [{ cert = \"test.crt\", key = \"test.key\" }]\n";
    let site = Sidestream::start_in(folder, &in_front_of(NO_APP, headers, listen));
    let head = Subscriber::of(site.connect(), "42").head;
    let mut lines: Vec<_> = head.lines().filter(|line| !line.starts_with("date: ")).collect();
    lines[1..].sort_unstable();
    let expected = [
        "HTTP/1.1 200 OK",
        "access-control-allow-credentials: true",
        "access-control-allow-headers: Cache-Control",
        "access-control-allow-origin: *",
        "cache-control: no-cache",
        "connection: keep-alive",
        "content-type: text/event-stream",
        "referrer-policy: no-referrer",
        "transfer-encoding: chunked",
        "x-accel-buffering: no",
    ];
    assert_eq!(lines, expected);

    let mut client = site.connect();
    client.send(format!("GET /events?token={} HTTP/1.0\r\n\r\n", token("42")));
    assert_eq!(field(&Subscriber::opened(client).head, "connection"), Some("close"));
    let target = format!("/events?token={}", token("42"));
    let answer = H2Session::connect(site.address_of(1)).send("GET", &target, &[]);
    assert_eq!(answer.headers()["access-control-allow-headers"], "Cache-Control");
    assert!(!answer.headers().contains_key("connection"));
}

#[test]
fn a_user_id_in_the_query_decides_nothing() {
    let site = site();
    let good = format!("/events?token={}", token("42"));
    Subscriber::open(site.connect(), &format!("{good}&userId=42"), "");
    for query in ["userId=43", "userId=", "userId=42&userId=43", "user%49d=43"] {
        let answer = ask(site.connect(), "GET", &format!("{good}&{query}"), "");
        assert_eq!(answer.status, 403, "{query}");
        assert!(answer.text().contains("userId"), "{}", answer.text());
    }
    assert_eq!(ask(site.connect(), "GET", "/events?userId=42", "").status, 401);
    assert_eq!(ask(site.connect(), "GET", "/open?userId=42", "").status, 403);
    let ticket =
        |user: &str| ask(site.connect(), "POST", &format!("{good}&ticket=1&userId={user}"), "").status;
    assert_eq!((ticket("42"), ticket("43")), (200, 403));
}
