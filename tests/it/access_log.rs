//! The access log: one line of JSON a request and two a stream, with nothing secret in them.

mod forms;
mod levels;
mod refusals;
mod rotation;
mod secrets;
mod syslog;

use std::fs;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::h2_session::H2Session;
use crate::support::program::command;
use crate::support::tokens::{in_a, now, signed};
use crate::support::{App, Client, NO_APP, Program, Sidestream, Subscriber, in_front_of, tls, token};

/// A site whose log outlives it.
struct Logged {
    site: Sidestream,
    folder: TempDir,
}

impl Logged {
    fn start(config: &str) -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), config)
    }

    fn start_in(site: TempDir, config: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("access.log");
        let config = config.replace("\"access.log\"", &format!("\"{}\"", path.display()));
        Self { site: Sidestream::start_in(site, &config), folder }
    }

    /// Ends the site and returns what it wrote, without the times.
    fn end(self) -> Vec<Value> {
        self.site.drain();
        self.site.wait();
        let text = fs::read_to_string(self.folder.path().join("access.log")).unwrap();
        text.lines().map(parse).collect()
    }
}

fn parse(line: &str) -> Value {
    let line: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
    let time = line["time"].as_f64().unwrap();
    assert!((now() as f64 - time).abs() < 60.0, "{line}");
    line
}

fn with_target<'l>(lines: impl IntoIterator<Item = &'l Value>, target: &str) -> &'l Value {
    lines.into_iter().find(|line| line["target"] == target).unwrap_or_else(|| panic!("no line of {target}"))
}

fn of_kind<'l>(lines: &'l [Value], kind: &str) -> Vec<&'l Value> {
    lines.iter().filter(|line| line["kind"] == kind).collect()
}

#[test]
fn every_request_is_one_line() {
    let app = App::that_echoes();
    let logged = Logged::start(&in_front_of(
        &app.origin(),
        "",
        "[[route]]\npath = \"/down\"\n[route.proxy]\nupstream = \"down\"\n[upstreams.down]\nservers = [\"http://127.0.0.1:9\"]\nkind = \"asgi\"\n",
    ));
    let site = &logged.site;
    let mut client = site.connect();
    let page = client.get("/page?a=1&b=%20", "User-Agent: test\r\n").response();
    let id =
        page.text().lines().find_map(|line| line.strip_prefix("x-request-id: ").map(str::to_owned)).unwrap();
    client.send("HEAD /head HTTP/1.1\r\nHost: Shop.Example:8080\r\n\r\n");
    client.response_to("HEAD");
    let down = client.get("/down", "").response();
    let refused = client.get("/events", "").response();
    client.send("TRACE /trace HTTP/1.1\r\nHost: test\r\n\r\n");
    let trace = client.response();
    drop(client);
    let mut client = site.connect();
    client.send("GET /old HTTP/1.0\r\nHost: test\r\n\r\n");
    let old = client.response();
    drop(client);

    let lines = logged.end();
    let expected = [
        ("GET", "test", "/page?a=1&b=%20", "HTTP/1.1", 200, page.body.len()),
        ("HEAD", "Shop.Example:8080", "/head", "HTTP/1.1", 200, 0),
        ("GET", "test", "/down", "HTTP/1.1", 502, down.body.len()),
        ("GET", "test", "/events", "HTTP/1.1", 401, refused.body.len()),
        ("TRACE", "test", "/trace", "HTTP/1.1", 405, trace.body.len()),
        ("GET", "test", "/old", "HTTP/1.0", 200, old.body.len()),
    ];
    assert_eq!(lines.len(), expected.len(), "{lines:#?}");
    for (method, host, target, protocol, status, bytes) in expected {
        // Each worker hands in its own lines, so that those of two connections may change places.
        let line = with_target(&lines, target);
        assert_eq!(line["kind"], "request");
        assert_eq!(line["client"], "127.0.0.1");
        assert_eq!((&line["method"], &line["host"]), (&method.into(), &host.into()), "{line}");
        assert_eq!((&line["target"], &line["protocol"]), (&target.into(), &protocol.into()), "{line}");
        assert_eq!((&line["status"], &line["bytes"]), (&status.into(), &bytes.into()), "{line}");
        let duration = line["duration"].as_f64().unwrap();
        assert!(duration > 0.0 && duration < 10.0, "{line}");
        assert_eq!(line["end"], Value::Null, "{line}");
        assert_eq!(line["id"].as_str().unwrap().len(), 16, "{line}");
    }
    assert_eq!(with_target(&lines, "/page?a=1&b=%20")["id"], *id, "the app was told the same id");
}

#[test]
fn what_was_no_request_has_a_line_too() {
    let logged = Logged::start(&in_front_of(NO_APP, "", ""));
    let large = "x".repeat(70_000);
    for (said, status) in [
        ("GET / HTTP/1.1\r\nHost : test\r\n\r\n".to_owned(), 400),
        ("nonsense\r\n\r\n".to_owned(), 400),
        (format!("GET / HTTP/1.1\r\nHost: test\r\nCookie: {large}\r\n\r\n"), 431),
    ] {
        assert_eq!(logged.site.connect().send(said).response().status, status);
    }
    // Neither a client that only looks, nor one that speaks another protocol and is not answered.
    logged.site.connect().send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").rest();
    drop(logged.site.connect());
    let lines = logged.end();
    let malformed = of_kind(&lines, "malformed");
    let mut seen: Vec<_> = malformed.iter().map(|line| line["status"].as_u64().unwrap()).collect();
    seen.sort_unstable();
    assert_eq!((seen, lines.len()), (vec![400, 400, 431], 3), "{lines:#?}");
    for line in malformed {
        assert_eq!(line["client"], "127.0.0.1");
        let error = line["error"].as_str().unwrap();
        assert!(!error.is_empty() && !error.contains("nonsense"), "{line}");
    }
}

#[test]
fn an_answer_that_was_not_read_or_not_finished_is_marked() {
    let app = App::start(|mut client| {
        let Some(head) = client.try_head() else { return };
        if head.starts_with("GET /never ") {
            // Until the proxy lets go.
            client.rest();
        } else if head.starts_with("GET /half ") {
            client.send("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf");
        } else {
            client.send("HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\nbegin");
            while client.try_send([b'x'; 65536]).is_ok() {}
        }
    });
    let logged = Logged::start(&in_front_of(&app.origin(), "", ""));
    let site = &logged.site;
    let mut client = site.connect();
    client.get("/half", "");
    client.rest();
    drop(client);
    let mut client = site.connect();
    client.get("/endless", "");
    client.until("begin");
    drop(client);
    let mut client = site.connect();
    client.get("/never", "");
    site.comes_true(|| "the app was asked".to_owned(), || app.connections() == 3);
    drop(client);
    site.becomes("connections", 0);

    let lines = logged.end();
    let line = |target| with_target(&lines, target);
    assert_eq!((line("/half")["status"].as_u64(), line("/half")["bytes"].as_u64()), (Some(200), Some(4)));
    assert_eq!(line("/half")["end"], "upstream broke off");
    assert_eq!(
        (line("/endless")["status"].as_u64(), &line("/endless")["end"]),
        (Some(200), &"client went away".into())
    );
    assert_eq!(line("/never")["status"], 499);
    assert_eq!(lines.len(), 3);
}

#[test]
fn a_stream_is_a_line_when_it_opens_and_one_when_it_ends() {
    let short = "[[route]]\npath = \"/short\"\n[route.stream]\nauth = []\nmax_age = \"50ms\"\n\
                 [auth.exact]\nkind = \"jwt\"\nsecret = \"a secret of the tests, thirty-two bytes and more\"\n\
                 leeway = \"0s\"\n[[route]]\npath = \"/exact\"\n[route.stream]\nauth = [\"exact\"]\n";
    let logged = Logged::start(&in_front_of(NO_APP, "allow = [\"news\"]", short));
    let site = &logged.site;
    let id = site.publish(r#"{"user": 42, "data": "before"}"#)["id"].as_str().unwrap().to_owned();
    let start = format!("{}-0", id.split_once('-').unwrap().0);
    let target = format!("/events?channels=news&token={}", token("42"));
    let mut gone = Subscriber::open(site.connect(), &target, &format!("Last-Event-ID: {start}\r\n"));
    for n in 0..3 {
        site.publish(&format!(r#"{{"user": 42, "data": "{n}"}}"#));
    }
    for expected in ["before", "0", "1", "2"] {
        assert_eq!(gone.data(), expected);
    }
    drop(gone);
    site.becomes("streams", 0);
    Subscriber::open(site.connect(), "/short", "").end();
    Subscriber::open(
        site.connect(),
        &format!("/exact?token={}", signed(&json!({"sub": "7", "exp": in_a(Duration::from_secs(3))}))),
        "",
    )
    .end();
    let drained = Subscriber::of(site.connect(), "43");

    let lines = logged.end();
    drained.end();
    let (opened, closed) = (of_kind(&lines, "open"), of_kind(&lines, "close"));
    assert_eq!((opened.len(), closed.len(), lines.len()), (4, 4, 8), "{lines:#?}");
    for (target, user, reason, events) in [
        ("/events?channels=news&token=-", json!("42"), "gone", 4),
        ("/short", Value::Null, "max-age", 0),
        ("/exact?token=-", json!("7"), "expired", 0),
        ("/events?token=-", json!("43"), "drain", 0),
    ] {
        let (opened, closed) =
            (with_target(opened.iter().copied(), target), with_target(closed.iter().copied(), target));
        assert_eq!((&opened["user"], &closed["user"]), (&user, &user));
        assert_eq!((&closed["reason"], &closed["events"]), (&json!(reason), &json!(events)), "{target}");
        assert!(closed["duration"].as_f64().unwrap() > 0.0);
        assert_eq!((&opened["client"], &closed["client"]), (&json!("127.0.0.1"), &json!("127.0.0.1")));
    }
    let opened = |target| with_target(&lines, target);
    let news = opened("/events?channels=news&token=-");
    assert_eq!((&news["channels"], &news["replayed"]), (&json!(3), &json!(1)));
    assert_eq!((&opened("/short")["channels"], &opened("/short")["replayed"]), (&json!(1), &json!(0)));
}

#[test]
fn http_2_is_logged_alike() {
    let app = App::that_echoes();
    let folder = tempfile::tempdir().unwrap();
    tls::certificate(folder.path(), "test", &["test"]);
    let listen =
        "[[listen]]\naddress = \"127.0.0.1:0\"\ntls = [{ cert = \"test.crt\", key = \"test.key\" }]\n";
    let logged = Logged::start_in(folder, &in_front_of(&app.origin(), "", listen));
    let mut session = H2Session::connect(logged.site.address_of(1));
    let page = session.get("/page?token=sesame", &[]);
    drop(session.subscribe("42"));
    drop(session);
    logged.site.becomes("streams", 0);
    let lines = logged.end();
    let line = &of_kind(&lines, "request")[0];
    assert_eq!((&line["protocol"], &line["host"]), (&"HTTP/2".into(), &"test".into()));
    assert_eq!((&line["target"], &line["bytes"]), (&"/page?token=-".into(), &page.body().len().into()));
    assert_eq!(of_kind(&lines, "close")[0]["reason"], "gone");
    assert_eq!(lines.len(), 3);
}

#[test]
fn no_secret_reaches_a_log() {
    let own = "[auth.own]\nkind = \"jwt\"\nsecret = \"a secret of the tests, thirty-two bytes and more\"\n\
               query = \"sesame\"\n[[route]]\npath = \"/own\"\n[route.stream]\nauth = [\"own\"]\n";
    let app = App::that_echoes();
    // Everything that the program and its libraries have to say.
    let config = in_front_of(&app.origin(), "", own).replace("[log]", "[log]\nlevel = \"trace\"");
    let program = Program::run(&config);
    let token = token("42");
    let secret = token.rsplit('.').next().unwrap().to_owned();
    let connect = || Client::connect(&program.address);
    for target in [
        format!("/events?token={token}"),
        format!("/events?channels=forbidden&token={token}"),
        format!("/events?TOKEN={token}"),
        format!("/events?tok%65n={token}"),
        format!("/own?sesame={token}&a=b"),
        format!("/own?a=b&sesame={token}x"),
        format!("/page?sesame={token}&jwt={token}&access_token={token}&ticket={token}"),
        format!("/page?{}&token={token}", "a=b&".repeat(520)),
    ] {
        let mut client = connect();
        client.get(&target, &format!("Connection: close\r\nCookie: token={token}x\r\nX-Token: {token}\r\n"));
        client.head();
    }
    let mut client = connect();
    client.get("/events", &format!("Authorization: Bearer {token}\r\n"));
    client.head();
    program.signal(Signal::TERM);
    drop(client);
    let (ended, log) = program.end_with("access.log");
    assert!(log.lines().count() >= 9, "{log}");
    assert!(log.contains("sesame=-&a=b"), "{log}");
    for (what, text) in [("access log", &log), ("stderr", &ended.stderr), ("stdout", &ended.stdout)] {
        if let Some(place) = text.find(&secret) {
            panic!("a token is in the {what}: {}", &text[place.saturating_sub(400)..place]);
        }
        assert!(!text.contains("Bearer ey"), "{what}");
    }
}

#[test]
fn a_line_stays_a_line_whatever_a_client_sends() {
    let app = App::that_says("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    let logged = Logged::start(&in_front_of(&app.origin(), "", ""));
    let long = format!("/{}", "x".repeat(10_000));
    for head in [
        "GET /\"},{\"kind\":\"forged HTTP/1.1\r\nHost: test\r\n\r\n",
        "GET /\\u000a HTTP/1.1\r\nHost: test\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: te\\\"st\r\n\r\n",
        "GET /\u{fc} HTTP/1.1\r\nHost: test\r\n\r\n",
        "CONNECT test:443 HTTP/1.1\r\nHost: test:443\r\n\r\n",
        "OPTIONS * HTTP/1.1\r\nHost: test\r\n\r\n",
        &format!("GET {long} HTTP/1.1\r\nHost: test\r\n\r\n"),
        &format!("{} / HTTP/1.1\r\nHost: {}\r\n\r\n", "M".repeat(10_000), "h".repeat(10_000)),
        "GET /\u{9b}2J HTTP/1.1\r\nHost: test\r\n\r\n",
    ] {
        let mut client = logged.site.connect();
        client.send(head);
        client.head();
    }
    let lines = logged.end();
    assert!(of_kind(&lines, "forged").is_empty() && lines.len() >= 7, "{lines:#?}");
    // So are names that are.
    let long = |key: &str, line: &Value| line[key].as_str().map_or(0, str::len);
    let longest = |key: &str| lines.iter().map(|line| long(key, line)).max();
    assert_eq!((longest("method"), longest("host")), (Some(32), Some(255)));
    // The end of a target that is long beyond use is cut.
    let longest = lines.iter().filter_map(|line| line["target"].as_str()).map(str::len).max();
    assert_eq!(longest, Some(2048));
}

#[test]
fn it_goes_to_stdout_or_nowhere_if_that_is_wanted() {
    let app = App::that_says("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    for (access, lines) in [("stdout", 2), ("off", 0)] {
        let config = in_front_of(&app.origin(), "", "").replace("\"access.log\"", &format!("\"{access}\""));
        let program = Program::run(&config);
        let mut client = Client::connect(&program.address);
        for _ in 0..2 {
            assert_eq!(client.get("/", "").response().status, 200);
        }
        drop(client);
        program.signal(Signal::TERM);
        let ended = program.end();
        let stdout: Vec<_> = ended.stdout.lines().map(parse).collect();
        assert_eq!(stdout.len(), lines, "{stdout:?}");
        assert!(stdout.iter().all(|line| line["status"] == 200));
        assert!(!ended.stderr.contains("\"kind\""), "{}", ended.stderr);
    }
}

#[test]
fn a_file_is_written_on_and_one_that_cannot_be_is_an_error_at_the_start() {
    let logged = Logged::start(&in_front_of(NO_APP, "", ""));
    let folder = logged.folder.path().to_owned();
    logged.site.connect().get("/events", "").response();
    // Within a moment, and not only at the end.
    let path = folder.join("access.log");
    logged.site.comes_true(
        || "the line is written".to_owned(),
        || fs::read_to_string(&path).is_ok_and(|text| text.lines().count() == 1),
    );
    let config = in_front_of(NO_APP, "", "").replace("\"access.log\"", &format!("\"{}\"", path.display()));
    let other = Sidestream::start(&config);
    other.connect().get("/events", "").response();
    other.stop();
    other.wait();
    assert_eq!(fs::read_to_string(&path).unwrap().lines().count(), 2);

    let config = in_front_of(NO_APP, "", "").replace("\"access.log\"", "\"missing/access.log\"");
    let folder = tempfile::tempdir().unwrap();
    let ended = command(folder.path(), &config).output().unwrap();
    let stderr = String::from_utf8(ended.stderr).unwrap();
    assert_eq!(ended.status.code(), Some(1), "{stderr}");
    assert!(stderr.contains("access = \"missing/access.log\""), "{stderr}");
}
