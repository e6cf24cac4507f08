//! Publishing over HTTP: at the Unix socket, and on TCP with a token.

use std::net::TcpStream;
use std::time::Duration;

use sidestream::hub::INBOX_LIMIT;
use sidestream::publish::Bounds;

use super::*;

/// A response, taken apart.
struct Answer {
    status: u16,
    head: String,
    text: String,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }

    fn lines(&self) -> Vec<Value> {
        self.text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    fn has(&self, field: &str) -> bool {
        self.head.lines().any(|line| line.eq_ignore_ascii_case(field))
    }

    #[track_caller]
    fn refused(&self, status: u16, error: &str, field: Option<&str>) {
        assert_eq!(self.status, status, "{}", self.text);
        refused(&self.json(), error, field);
    }
}

impl Peer {
    fn answer(&mut self) -> Answer {
        let head = String::from_utf8(self.until(b"\r\n\r\n")).unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        let mut text = String::new();
        for _ in 0..length.map_or(0, |length| length.parse::<usize>().unwrap()) {
            while self.read.is_empty() {
                let mut more = [0; 4096];
                let got = self.stream.read(&mut more).unwrap();
                assert!(got > 0, "closed within the body");
                self.read.extend_from_slice(&more[..got]);
            }
            text.push(self.read.remove(0).into());
        }
        Answer { status, head, text }
    }

    fn get(&mut self, target: &str) -> Answer {
        self.send(format!("GET {target} HTTP/1.1\r\nHost: x\r\n\r\n")).answer()
    }

    fn post(&mut self, fields: &str, body: &str) -> Answer {
        self.send(request("/publish", fields, body)).answer()
    }
}

fn request(target: &str, fields: &str, body: &str) -> String {
    format!("POST {target} HTTP/1.1\r\nHost: x\r\n{fields}Content-Length: {}\r\n\r\n{body}", body.len())
}

const NDJSON: &str = "Content-Type: application/x-ndjson\r\n";

#[test]
fn an_object_gets_a_receipt() {
    let doors = Doors::open();
    let _streams = [doors.subscribe(&["user:42"]), doors.subscribe(&["user:42", "all"])];
    let mut peer = doors.connect();
    for fields in
        ["", "Content-Type: application/json\r\n", "content-type: Application/JSON; charset=utf-8\r\n"]
    {
        let answer = peer.post(fields, r#" {"user":42,"data":1}"#);
        assert_eq!(answer.status, 200, "{}", answer.text);
        assert!(answer.has("content-type: application/json"));
        assert_eq!(delivered(&answer.json()), 2);
    }
    let answer =
        peer.send(request("/publish?x=1", "", r#"{"channels":["user:42","all"],"data":1}"#)).answer();
    assert_eq!(delivered(&answer.json()), 1);
}

#[test]
fn a_body_comes_in_parts_too() {
    let doors = Doors::open();
    let mut peer = doors.connect();
    peer.send("POST /publish HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n4\r\n{\"us\r\n");
    assert_eq!(delivered(&peer.send("11\r\ner\":1, \"data\": 2}\r\n0\r\n\r\n").answer().json()), 0);
    peer.send("POST /publish HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 19\r\n\r\n");
    assert_eq!(peer.until(b"\r\n\r\n"), b"HTTP/1.1 100 Continue\r\n\r\n");
    assert_eq!(delivered(&peer.send(r#"{"user":1,"data":1}"#).answer().json()), 0);
}

#[test]
fn an_array_is_published_whole_or_not_at_all() {
    let doors = Doors::open();
    let _stream = doors.subscribe(&["a", "b"]);
    let mut peer = doors.connect();
    let answer =
        peer.post("", r#"[{"channel":"a","data":1},{"channels":["a","b"],"data":2},{"user":1,"data":3}]"#);
    let replies = answer.json();
    let counts: Vec<u64> = replies.as_array().unwrap().iter().map(delivered).collect();
    assert_eq!(counts, [1, 1, 0]);
    assert_eq!(peer.post("", " [] ").text, "[]");
    assert_eq!(delivered(&peer.post("", r#"{"channel":"a","data":1,"key":"k"}"#).json()), 1);

    let good = r#"{"channel":"a","data":1}"#;
    for (batch, status, error, field) in [
        (format!(r#"[{good},{{"data":1}}]"#), 400, "invalid_publication", Some("[1].user")),
        (format!(r#"[{good},7]"#), 400, "invalid_publication", Some("[1]")),
        (format!(r#"[{good},{{"channel":"a",]"#), 400, "invalid_json", None),
        (format!(r#"[{good},{{"channel":"a","data":2,"key":"k"}}]"#), 409, "key_reused", Some("[1].key")),
        (
            r#"[{"channel":"a","data":1,"key":"l"},{"channel":"a","data":2,"key":"l"}]"#.to_owned(),
            409,
            "key_reused",
            Some("[1].key"),
        ),
        (format!("[{}]", [good; 6].join(",")), 413, "too_large", None),
    ] {
        peer.post("", &batch).refused(status, error, field);
    }
    assert_eq!(doors.events("a"), 3);
    // The same key for the same publication is the same, also within one array.
    let twice = peer.post("", &format!("[{0},{0}]", r#"{"channel":"a","data":1,"key":"l"}"#)).json();
    assert_eq!(twice[0], twice[1]);
    assert_eq!(doors.events("a"), 4);
}

#[test]
fn lines_are_published_each_on_its_own() {
    let doors = Doors::open();
    let mut peer = doors.connect();
    let body = "{\"channel\":\"a\",\"data\":1}\n\n{\"channel\":\"a\",\"da\n{\"nope\":1}\r\n{\"channel\":\"a\",\"data\":2}";
    let answer = peer.post(NDJSON, body);
    assert_eq!(answer.status, 200);
    assert!(answer.has("content-type: application/x-ndjson"));
    let lines = answer.lines();
    assert_eq!(lines.len(), 4);
    assert_eq!((delivered(&lines[0]), delivered(&lines[3])), (0, 0));
    refused(&lines[1], "invalid_json", None);
    refused(&lines[2], "invalid_publication", Some("nope"));
    assert_eq!(doors.events("a"), 2);
    assert_eq!(peer.post(NDJSON, "").text, "");
    let many = peer.post(NDJSON, &"{\"channel\":\"b\",\"data\":1}\n".repeat(3000));
    assert_eq!(many.lines().len(), 3000);
    assert_eq!(doors.events("b"), 3000);
}

#[test]
fn lines_have_bounds() {
    let bounds = Bounds { max_lines: 2, max_body: 200_000, ..bounds() };
    let doors = Doors::with(Options { bounds, ..Options::default() });
    let line = "{\"channel\":\"a\",\"data\":1}\n";
    assert_eq!(doors.connect().post(NDJSON, &line.repeat(2)).lines().len(), 2);
    let lines = doors.connect().post(NDJSON, &line.repeat(3)).lines();
    assert_eq!(lines.len(), 3);
    refused(&lines[2], "too_large", None);
    for rest in ["x".repeat(100_000), " \n".repeat(150_000)] {
        let lines = doors.connect().post(NDJSON, &format!("{line}{rest}")).lines();
        assert_eq!(delivered(&lines[0]), 0);
        refused(&lines[1], "too_large", None);
    }
    assert_eq!(doors.events("a"), 6);
}

#[test]
fn a_body_that_is_too_long_is_refused() {
    let doors = Doors::open();
    let data = "x".repeat(2 << 20);
    for body in [format!(r#"{{"user":1,"data":"{data}"}}"#), format!(r#"[{{"user":1,"data":"{data}"}}]"#)] {
        let mut peer = doors.connect();
        peer.send(request("/publish", "", &body)).answer().refused(413, "too_large", None);
        let mut peer = doors.connect();
        peer.send(format!(
            "POST /publish HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{body}\r\n0\r\n\r\n",
            body.len()
        ));
        peer.answer().refused(413, "too_large", None);
    }
    // An array may be as long as its publications together; white space before it does not hide it.
    let one = r#"{"user":2,"data":1}"#;
    for before in [0, 10, 60_000] {
        let around = |text: &str| format!("{}{text}{}", " ".repeat(before), " ".repeat(100_000));
        assert_eq!(doors.connect().post("", &around(&format!("[{one}]"))).status, 200);
        doors.connect().post("", &around(one)).refused(413, "too_large", None);
    }
    // Told by its length alone, before any of it.
    let mut peer = doors.connect();
    peer.send("POST /publish HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\n\r\n");
    peer.answer().refused(413, "too_large", None);
    let data = "x".repeat(5000);
    let body = format!(r#"{{"user":1,"data":"{data}"}}"#);
    doors.connect().post("", &body).refused(413, "too_large", Some("data"));
    assert_eq!(doors.events("user:1"), 0);
}

#[test]
fn bad_requests_get_their_status() {
    let doors = Doors::open();
    let mut peer = doors.connect();
    peer.post("", r#"{"user":1}"#).refused(400, "invalid_publication", Some("data"));
    peer.post("", "").refused(400, "invalid_json", None);
    for kind in ["text/plain", "application/x-www-form-urlencoded", "application/jsonl"] {
        let fields = format!("Content-Type: {kind}\r\n");
        peer.post(&fields, "{}").refused(415, "unsupported_media_type", None);
    }
    peer.get("/").refused(404, "not_found", None);
    peer.get("/channels").refused(404, "not_found", None);
    for (method, target, allow) in [
        ("GET", "/publish", "allow: POST"),
        ("PUT", "/publish", "allow: POST"),
        ("DELETE", "/channels/a", "allow: GET, HEAD"),
        ("DELETE", "/healthz", "allow: GET, HEAD"),
    ] {
        let answer = peer.send(format!("{method} {target} HTTP/1.1\r\nHost: x\r\n\r\n")).answer();
        answer.refused(405, "method_not_allowed", None);
        assert!(answer.has(allow), "{}", answer.head);
    }
}

#[test]
fn browsers_are_kept_out() {
    let doors = Doors::open();
    for field in [
        "Origin: http://127.0.0.1\r\n",
        "Origin: null\r\n",
        "Sec-Fetch-Mode: no-cors\r\n",
        "sec-fetch-site: none\r\n",
    ] {
        doors.connect().post(field, r#"{"user":1,"data":1}"#).refused(403, "forbidden", None);
    }
    assert_eq!(doors.events("user:1"), 0);
}

#[test]
fn a_channel_is_looked_up() {
    let doors = Doors::open();
    let _stream = doors.subscribe(&["user:a@b"]);
    let mut peer = doors.connect();
    let id = peer.post("", r#"{"user":"a@b","data":1}"#).json()["id"].clone();
    let found = serde_json::json!({"channel": "user:a@b", "streams": 1, "events": 1, "last_id": id});
    assert_eq!(peer.get("/channels/user:a@b").json(), found);
    assert_eq!(peer.get("/channels/user%3Aa%40b?x").json(), found);
    let none = serde_json::json!({"channel": "a/b", "streams": 0, "events": 0, "last_id": null});
    assert_eq!(peer.get("/channels/a/b").json(), none);
    for bad in ["/channels/", "/channels/a%2Cb", "/channels/%ff", "/channels/%0a"] {
        peer.get(bad).refused(400, "invalid_publication", Some("channel"));
    }
    let head = peer.send("HEAD /channels/a HTTP/1.1\r\nHost: x\r\n\r\n").until(b"\r\n\r\n");
    assert!(head.starts_with(b"HTTP/1.1 200"));
}

#[test]
fn health_tells_the_numbers() {
    let doors = Doors::open();
    doors.counters[0].streams.add(3);
    let health = doors.connect().get("/healthz").json();
    assert_eq!(
        (&health["status"], &health["streams"], &health["evicted"]),
        (&"ok".into(), &3.into(), &0.into())
    );
}

#[test]
fn an_overload_is_said_and_loses_nothing() {
    let doors = Doors::with(Options { held: true, ..Options::default() });
    let _stream = doors.subscribe(&["a"]);
    let mut peer = doors.connect();
    let batch = "{\"channel\":\"a\",\"data\":1}\n".repeat(INBOX_LIMIT);
    assert!(peer.post(NDJSON, &batch).lines().iter().all(|line| delivered(line) == 1));
    let answer = peer.post("", r#"{"channel":"a","data":1}"#);
    answer.refused(503, "unavailable", None);
    assert!(answer.has("retry-after: 1"));
    refused(&doors.connect().send("{\"channel\":\"a\",\"data\":1}\n").line(), "unavailable", None);
    assert_eq!(doors.events("a"), INBOX_LIMIT);
    doors.release();
    eventually("room", || doors.connect().post("", r#"{"channel":"a","data":1}"#).status == 200);
}

#[test]
fn the_door_on_tcp_asks_for_the_token() {
    let doors = Doors::open();
    let over_tcp = |bytes: String| {
        let mut stream = TcpStream::connect(doors.tcp).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(bytes.as_bytes()).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        text
    };
    let publication = r#"{"user":1,"data":1}"#;
    let with = |fields: &str| over_tcp(request("/publish", fields, publication));
    for fields in ["", "Authorization: Bearer wrong\r\n", "Authorization: Basic s3cret\r\n"] {
        let text = with(fields);
        assert!(text.starts_with("HTTP/1.1 401 "), "{text}");
        assert!(
            text.contains("www-authenticate: Bearer") && text.contains(r#""error":"unauthorized""#),
            "{text}"
        );
        assert!(!text.contains(TOKEN));
    }
    let health = "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n";
    assert!(over_tcp(health.to_owned()).starts_with("HTTP/1.1 401 "));
    assert!(over_tcp(format!("{publication}\n")).starts_with("HTTP/1.1 400 "));
    assert_eq!(doors.events("user:1"), 0);

    let text = with(&format!("Authorization: Bearer {TOKEN}\r\n"));
    assert!(text.starts_with("HTTP/1.1 200 "), "{text}");
    let browser = with(&format!("Authorization: Bearer {TOKEN}\r\nOrigin: http://x\r\n"));
    assert!(browser.starts_with("HTTP/1.1 403 "), "{browser}");
    assert_eq!(doors.events("user:1"), 1);
}

#[test]
fn slow_heads_and_bodies_are_not_waited_for() {
    let short = Duration::from_millis(100);
    let bounds = Bounds { body_time: short, head_time: short, ..bounds() };
    let doors = Doors::with(Options { bounds, ..Options::default() });
    let mut peer = doors.connect();
    peer.send("POST /publish HTTP/1.1\r\nHost: x\r\nContent-Length: 19\r\n\r\n{\"user\":1,");
    peer.answer().refused(400, "invalid_json", None);
    let mut peer = doors.connect();
    peer.send(format!(
        "POST /publish HTTP/1.1\r\nHost: x\r\n{NDJSON}Content-Length: 99\r\n\r\n{{\"user\":1,\"data\":1}}\n{{"
    ));
    let lines = peer.answer().lines();
    assert_eq!(delivered(&lines[0]), 0);
    refused(&lines[1], "invalid_json", None);
    let mut peer = doors.connect();
    peer.send("POST /publish HTTP/1.1\r\nHost");
    let mut rest = Vec::new();
    // Closed, whether or not a 408 comes first.
    peer.stream.read_to_end(&mut rest).unwrap();
}
