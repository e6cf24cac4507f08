//! `request_headers` and `response_headers`: what an operator changes in the fields that pass a route.

use std::fs;

use crate::support::client::field;
use crate::support::{App, Backend, NO_APP, Sidestream, Site};

/// A route at `/x/` with these lines, in front of an app.
fn site(origin: &str, lines: &str) -> Sidestream {
    site_with(Site::before(origin), lines)
}

fn site_with(site: Site, lines: &str) -> Sidestream {
    site.more(&format!("[[route]]\npath = \"/x/\"\n[route.proxy]\nupstream = \"app\"\n{lines}\n")).start()
}

/// The lines of a field.
fn lines<'h>(head: &'h str, name: &str) -> Vec<&'h str> {
    let of_name = |line: &'h str| {
        let (found, value) = line.split_once(':')?;
        found.eq_ignore_ascii_case(name).then_some(value.trim())
    };
    head.lines().skip(1).filter_map(of_name).collect()
}

#[test]
fn requests_are_changed_last_of_all() {
    let app = App::that_echoes();
    let relay = site(
        &app.origin(),
        "request_headers = { remove = [\"Accept-Encoding\", \"X-Real-IP\", \"x-both\"], \
         set = { X-Api-Key = \"k\", Host = \"app.internal:8000\", X-Forwarded-Proto = \"https\", Cookie = \"c=d\" }, \
         add = { X-Both = \"ours\", X-List = [\"one\", \"two\"] } }",
    );
    let sent = "Accept-Encoding: gzip\r\nX-Api-Key: guessed\r\nx-api-key: again\r\nX-Both: theirs\r\n\
                X-List: zero\r\nCookie: a=b\r\nX-Forwarded-Proto: gopher\r\nX-Other: 1\r\n";
    let head = relay.connect().get("/x/", sent).response().text();
    for (name, expected) in [
        ("accept-encoding", &[][..]),
        ("x-real-ip", &[]),
        ("x-api-key", &["k"]),
        ("host", &["app.internal:8000"]),
        ("x-forwarded-host", &["test"]),
        ("x-forwarded-proto", &["https"]),
        ("cookie", &["c=d"]),
        ("x-both", &["ours"]),
        ("x-list", &["zero", "one", "two"]),
        ("x-other", &["1"]),
    ] {
        assert_eq!(lines(&head, name), expected, "{head}");
    }
    // Another route knows nothing of it.
    let head = relay.connect().get("/", sent).response().text();
    assert_eq!(
        (lines(&head, "x-api-key"), lines(&head, "x-both")),
        (vec!["guessed", "again"], vec!["theirs"])
    );
}

#[test]
fn what_a_rule_speaks_of_is_not_said_in_trailers() {
    let backend = Backend::start();
    let relay =
        site(backend.origin(), "request_headers = { set = { X-Key = \"k\" }, remove = [\"X-Gone\"] }");
    let mut client = relay.connect();
    client.send(
        "POST /x/ HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum, X-Key, X-Gone\r\n\r\n\
         5\r\nhello\r\n0\r\nX-Sum: 1\r\nX-Key: evil\r\nX-Gone: evil\r\n\r\n",
    );
    let mut app = backend.accept();
    app.head();
    let body = app.until("\r\n\r\n").to_ascii_lowercase();
    assert_eq!(body, "5\r\nhello\r\n0\r\nx-sum: 1\r\n\r\n");
    app.answer("ok");
    assert_eq!(client.response().text(), "ok");
}

#[test]
fn answers_are_changed_and_so_are_our_own() {
    let rules = "response_headers = { remove = [\"Server\", \"X-Powered-By\"], set = { X-Frame-Options = \"DENY\" }, \
                 add = { Link = [\"<b>\", \"<c>\"] } }";
    let app = App::that_says(
        "HTTP/1.1 200 OK\r\nServer: gunicorn\r\nX-Powered-By: Next.js\r\nX-Frame-Options: SAMEORIGIN\r\n\
         X-Frame-Options: twice\r\nLink: <a>\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\nContent-Length: 2\r\n\r\nok",
    );
    let relay = site(&app.origin(), rules);
    let response = relay.connect().get("/x/", "").response();
    assert_eq!(response.text(), "ok");
    for (name, expected) in [
        ("server", &[][..]),
        ("x-powered-by", &[]),
        ("x-frame-options", &["DENY"]),
        ("link", &["<a>", "<b>", "<c>"]),
        ("set-cookie", &["a=1", "b=2"]),
    ] {
        assert_eq!(lines(&response.head, name), expected, "{}", response.head);
    }
    let untouched = relay.connect().get("/", "").response();
    assert_eq!(
        (untouched.field("server"), untouched.field("x-powered-by")),
        (Some("gunicorn"), Some("Next.js"))
    );

    // There is no app: an answer of our own, as nginx's `always` has it.
    let relay = site_with(Site::before(NO_APP).upstream("max_body = \"1KiB\""), rules);
    let failed = relay.connect().get("/x/", "").response();
    assert_eq!((failed.status, failed.field("x-frame-options")), (502, Some("DENY")));
    let large = relay.connect().post("/x/", "", &"x".repeat(2000)).response();
    assert_eq!((large.status, large.field("x-frame-options")), (413, Some("DENY")));
    assert_eq!(large.field("connection"), Some("close"), "what frames the answer stays");
    let elsewhere = relay.connect().get("/", "").response();
    assert_eq!((elsewhere.status, elsewhere.field("x-frame-options")), (502, None));
}

#[test]
fn a_file_that_the_app_hands_in_is_an_answer_too() {
    let app = App::that_says(
        "HTTP/1.1 200 OK\r\nX-Accel-Redirect: /in/a.txt\r\nServer: x\r\nContent-Length: 0\r\n\r\n",
    );
    let files = "[[route]]\npath = \"/in/\"\ninternal = true\n[route.files]\nroot = \"in\"\n";
    let rules = "response_headers = { set = { X-Frame-Options = \"DENY\" }, remove = [\"server\"] }";
    let relay = site_with(Site::before(app.origin()).more(files), rules);
    let missing = relay.connect().get("/x/", "").response();
    assert_eq!((missing.status, missing.field("x-frame-options")), (404, Some("DENY")), "{}", missing.head);
    fs::create_dir(relay.path("in")).unwrap();
    fs::write(relay.path("in/a.txt"), "plain").unwrap();
    let response = relay.connect().get("/x/", "").response();
    assert_eq!((response.status, response.text().as_str()), (200, "plain"));
    assert_eq!((response.field("x-frame-options"), response.field("server")), (Some("DENY"), None));
}

#[test]
fn nothing_is_changed_in_the_answer_to_an_upgrade() {
    let backend = Backend::start();
    let relay = site(
        backend.origin(),
        "response_headers = { set = { X-Frame-Options = \"DENY\" }, remove = [\"sec-websocket-accept\"] }",
    );
    let mut client = relay.connect();
    client.get(
        "/x/",
        "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
         Sec-WebSocket-Version: 13\r\n",
    );
    let mut app = backend.accept();
    app.head();
    app.send("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: y\r\n\r\n");
    let head = client.head();
    assert_eq!(
        (field(&head, "sec-websocket-accept"), field(&head, "x-frame-options")),
        (Some("y"), None),
        "{head}"
    );
}

#[test]
fn a_secret_is_read_from_its_file_and_shown_nowhere() {
    let app = App::that_echoes();
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("key"), "s3cret-of-the-file\n").unwrap();
    let key = folder.path().join("key");
    let rules = format!(
        "request_headers = {{ set = {{ X-Api-Key = \"file:{}\", Authorization = \"Bearer s3cret\" }} }}",
        key.display()
    );
    let head = site(&app.origin(), &rules).connect().get("/x/", "").response().text();
    assert_eq!(lines(&head, "x-api-key"), ["s3cret-of-the-file"]);
    assert_eq!(lines(&head, "authorization"), ["Bearer s3cret"]);

    let text = format!(
        "[upstreams.app]\nservers = [\"http://127.0.0.1:1\"]\n[[listen]]\naddress = \"127.0.0.1:0\"\n[[route]]\n\
         path = \"/\"\n[route.proxy]\nupstream = \"app\"\n{rules}\n"
    );
    let config = sidestream::config::Config::parse(&text, "a.toml", folder.path()).unwrap();
    assert!(!format!("{config:?}").contains("s3cret"), "{config:?}");
    let broken = text.replace("} }\n", "}, remove = [\"te\"] }\n");
    let problems = sidestream::config::Config::parse(&broken, "a.toml", folder.path()).unwrap_err();
    let shown = problems.to_string();
    assert!(shown.contains("Authorization") && !shown.contains("s3cret"), "{shown}");
}
