//! `compress`: text of an app, compressed on its way.

use std::io::Read as _;

use crate::support::client::field;
use crate::support::{App, Backend, Response, Sidestream, Site, h2};

const PAGE_TYPE: &str = "Content-Type: text/html; charset=utf-8\r\n";
const ALL: &str = "Accept-Encoding: gzip, deflate, br, zstd\r\n";

fn page() -> String {
    (0..300).map(|n| format!("<li>row {n} of a page that is long enough</li>\n")).collect()
}

fn site(origin: &str, compress: &str) -> Sidestream {
    site_with(Site::before(origin), compress)
}

/// A route at `/x/` whose answers are compressed.
fn site_with(site: Site, compress: &str) -> Sidestream {
    let route = "[[route]]\npath = \"/x/\"\n[route.proxy]\nupstream = \"app\"\n";
    site.more(&format!("{route}compress = {compress}\n")).start()
}

/// An app that answers with these fields and the page.
fn app(fields: &str) -> App {
    let page = page();
    App::that_says(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n{fields}\r\n{page}", page.len()))
}

/// What a client reads of a body, as far as it goes.
fn decoded(coding: Option<&str>, bytes: &[u8]) -> String {
    let mut out = Vec::new();
    let mut decoder: Box<dyn std::io::Read + '_> = match coding {
        None => Box::new(bytes),
        Some("br") => Box::new(brotli::Decompressor::new(bytes, 4096)),
        Some("zstd") => Box::new(zstd::stream::read::Decoder::new(bytes).unwrap()),
        Some("gzip") => Box::new(flate2::read::GzDecoder::new(bytes)),
        Some(other) => panic!("{other}"),
    };
    let mut byte = [0];
    while matches!(decoder.read(&mut byte), Ok(1)) {
        out.extend_from_slice(&byte);
    }
    String::from_utf8(out).unwrap()
}

fn text(response: &Response) -> String {
    decoded(response.field("content-encoding"), &response.body)
}

#[test]
fn the_client_gets_the_page_in_a_coding_that_it_takes() {
    let app = app(&format!("{PAGE_TYPE}ETag: \"x\"\r\nAccept-Ranges: bytes\r\nVary: Cookie\r\n"));
    for (compress, accepted, coding) in [
        ("true", "gzip, deflate, br, zstd", Some("zstd")),
        ("true", "gzip, deflate, br", Some("br")),
        ("true", "gzip;q=1.0, br;q=0.5", Some("gzip")),
        ("[\"gzip\", \"br\"]", "gzip, deflate, br, zstd", Some("gzip")),
        ("[\"br\"]", "gzip", None),
        ("{ codings = [\"br\"] }", "*", Some("br")),
        ("true", "identity", None),
        ("true", "gzip;q=0", None),
        ("false", "gzip", None),
    ] {
        let relay = site(&app.origin(), compress);
        let mut client = relay.connect();
        // Twice, so that it is seen where the first one ended.
        for _ in 0..2 {
            let response = client.get("/x/", &format!("Accept-Encoding: {accepted}\r\n")).response();
            assert_eq!(response.field("content-encoding"), coding, "{compress} {accepted}");
            assert!(text(&response) == page(), "{compress} {accepted}");
            let varies = response.head.to_ascii_lowercase().contains("accept-encoding");
            assert_eq!(varies, compress != "false", "{}", response.head);
            if coding.is_some() {
                assert!(response.body.len() < page().len() / 4, "{}", response.body.len());
                assert_eq!(response.field("etag"), Some("W/\"x\""));
                assert_eq!((response.field("content-length"), response.field("accept-ranges")), (None, None));
            } else {
                assert_eq!(response.field("etag"), Some("\"x\""));
                assert_eq!(response.field("accept-ranges"), Some("bytes"));
                assert!(response.field("content-length").is_some());
            }
        }
    }
}

#[test]
fn what_must_stay_as_it_is_does() {
    let whole = format!("200 OK\r\nContent-Length: {}\r\n", page().len());
    let range =
        format!("206 Partial Content\r\nContent-Range: bytes 0-9/10\r\nContent-Length: {}\r\n", page().len());
    for (status, fields, request) in [
        (&whole, "Content-Type: text/event-stream\r\n", ""),
        (&whole, "Content-Type: image/png\r\n", ""),
        (&whole, &*format!("{PAGE_TYPE}Content-Encoding: br\r\n"), ""),
        (&whole, &format!("{PAGE_TYPE}Cache-Control: no-transform, max-age=5\r\n"), ""),
        (&whole, &format!("{PAGE_TYPE}Set-Cookie: a=b\r\n"), ""),
        (&whole, PAGE_TYPE, "Cookie: a=b\r\n"),
        (&whole, PAGE_TYPE, "Authorization: Bearer x\r\n"),
        (&range, PAGE_TYPE, "Range: bytes=0-9\r\n"),
    ] {
        let app = App::that_says(format!("HTTP/1.1 {status}{fields}ETag: \"x\"\r\n\r\n{}", page()));
        let relay = site(&app.origin(), "true");
        let response = relay.connect().get("/x/", &format!("{ALL}{request}")).response();
        assert_eq!(response.field("etag"), Some("\"x\""), "{fields}{request}");
        assert!(response.text() == page(), "{fields}{request}");
    }
    // Credentials, and the operator knows that there is no secret on the page.
    let app = app(&format!("{PAGE_TYPE}Set-Cookie: a=b\r\n"));
    let relay = site(&app.origin(), "{ cookies = true }");
    let response = relay.connect().get("/x/", &format!("{ALL}Cookie: a=b\r\n")).response();
    assert_eq!(response.field("content-encoding"), Some("zstd"));
    assert_eq!(response.field("set-cookie"), Some("a=b"));
}

#[test]
fn small_ones_and_other_types_are_the_operators_to_say() {
    let app = App::that_says(format!(
        "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n{PAGE_TYPE}\r\n{}",
        "x".repeat(100)
    ));
    for (compress, coding) in [
        ("true", None),
        ("{ min = \"100B\" }", Some("zstd")),
        ("{ min = \"101B\" }", None),
        ("{ min = \"0B\", types = [\"application/json\"] }", None),
        ("{ min = \"0B\", types = [\"text/html\"] }", Some("zstd")),
    ] {
        let response = site(&app.origin(), compress).connect().get("/x/", ALL).response();
        assert_eq!(response.field("content-encoding"), coding, "{compress}");
        assert_eq!(text(&response), "x".repeat(100));
    }
}

#[test]
fn a_head_says_what_a_get_would_say() {
    let backend = Backend::start();
    let relay = site(backend.origin(), "true");
    let mut client = relay.connect();
    client.send(format!("HEAD /x/ HTTP/1.1\r\nHost: test\r\n{ALL}\r\n"));
    let mut app = backend.accept();
    app.head();
    app.send(format!("HTTP/1.1 200 OK\r\n{PAGE_TYPE}ETag: \"x\"\r\nContent-Length: 5000\r\n\r\n"));
    let head = client.response_to("HEAD").head;
    for (name, value) in [
        ("content-encoding", Some("zstd")),
        ("etag", Some("W/\"x\"")),
        ("vary", Some("accept-encoding")),
        ("content-length", None),
    ] {
        assert_eq!(field(&head, name), value, "{head}");
    }
    // The connection is at its next request.
    // Of a compressed answer the client knows the weak name, and of an image its own.
    for (known, etag, vary) in
        [("\"y\", W/\"x\"", "W/\"x\"", Some("accept-encoding")), ("\"x\"", "\"x\"", None)]
    {
        client.get("/x/", &format!("{ALL}If-None-Match: {known}\r\n"));
        app.head();
        app.send("HTTP/1.1 304 Not Modified\r\nETag: \"x\"\r\n\r\n");
        let head = client.response().head;
        assert_eq!((field(&head, "etag"), field(&head, "vary")), (Some(etag), vary), "{head}");
        assert_eq!(field(&head, "content-encoding"), None);
    }
    client.get("/x/", ALL);
    app.head();
    app.send(format!("HTTP/1.1 204 No Content\r\n{PAGE_TYPE}\r\n"));
    let head = client.response().head;
    assert_eq!(field(&head, "content-encoding"), None, "{head}");
}

#[test]
fn what_the_app_writes_arrives_at_once() {
    let backend = Backend::start();
    let relay = site(backend.origin(), "true");
    for (accepted, trailer) in [("zstd", ""), ("br", ""), ("gzip", "X-Later: 1\r\n")] {
        let mut client = relay.connect();
        client.get("/x/", &format!("Accept-Encoding: {accepted}\r\nConnection: close\r\n"));
        let mut app = backend.accept();
        app.head();
        app.send(format!(
            "HTTP/1.1 200 OK\r\n{PAGE_TYPE}Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
        ));
        let head = client.head();
        assert_eq!(field(&head, "content-encoding"), Some(accepted), "{head}");
        let (mut got, mut expected) = (Vec::new(), String::new());
        for part in ["<html>shell", "<p>suspended</p>", "<script>$RC()</script>"] {
            app.send(format!("{:x}\r\n{part}\r\n", part.len()));
            expected += part;
            // It comes without the app saying another word.
            while decoded(Some(accepted), &got) != expected {
                got.extend(client.chunk());
            }
        }
        app.send(format!("0\r\n{trailer}\r\n"));
        got.extend(client.chunks());
        assert_eq!(decoded(Some(accepted), &got), expected);
        client.closed();
    }
}

#[test]
fn an_answer_that_breaks_off_is_not_ended_as_if_it_were_whole() {
    let backend = Backend::start();
    let relay = site(backend.origin(), "true");
    for accepted in ["zstd", "br", "gzip"] {
        let mut client = relay.connect();
        client.get("/x/", &format!("Accept-Encoding: {accepted}\r\n"));
        let mut app = backend.accept();
        app.head();
        app.send(format!(
            "HTTP/1.1 200 OK\r\n{PAGE_TYPE}Content-Length: 9000\r\n\r\n{}",
            "only this".repeat(50)
        ));
        client.head();
        let mut got = client.chunk();
        drop(app);
        while let Some(chunk) = client.try_chunk() {
            assert!(!chunk.is_empty(), "{accepted}: it ended as if whole");
            got.extend(chunk);
        }
        assert_eq!(decoded(Some(accepted), &got), "only this".repeat(50), "{accepted}");
        let mut whole = Vec::new();
        let end = match accepted {
            "zstd" => zstd::stream::read::Decoder::new(&*got).unwrap().read_to_end(&mut whole),
            "br" => brotli::Decompressor::new(&*got, 4096).read_to_end(&mut whole),
            _ => flate2::read::GzDecoder::new(&*got).read_to_end(&mut whole),
        };
        assert!(end.is_err(), "{accepted}: a client finds it whole");
    }
}

#[test]
fn over_http2_and_for_old_clients_too() {
    let app = app(PAGE_TYPE);
    let relay = site(&app.origin(), "true");
    let mut client = relay.connect();
    client.send(format!("GET /x/ HTTP/1.0\r\n{ALL}\r\n"));
    let response = client.response();
    assert_eq!(
        (response.field("content-encoding"), response.field("transfer-encoding")),
        (Some("zstd"), None)
    );
    assert!(text(&response) == page());

    let relay = site_with(Site::before(app.origin()).tls(&[&["test"]]), "true");
    h2::with(relay.address(), async |mut session| {
        let request = h2::request("GET", "/x/").header("accept-encoding", "br");
        let response = session.send(request.body(h2::Sent::nothing()).unwrap()).await.unwrap();
        assert_eq!(response.headers()["content-encoding"], "br");
        let mut body = response.into_body();
        let mut got = Vec::new();
        while let Some(piece) = h2::piece(&mut body).await {
            got.extend_from_slice(&piece.unwrap());
        }
        assert!(decoded(Some("br"), &got) == page());
    });
}

#[test]
fn a_large_answer_lets_others_have_their_turn() {
    let page = page().repeat(600);
    let length = page.len();
    let app = App::that_says(format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n{PAGE_TYPE}\r\n{page}"));
    let quick = App::that_says("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    let other = format!(
        "[upstreams.quick]\nservers = [\"{}\"]\n[[route]]\npath = \"/quick\"\n[route.proxy]\nupstream = \"quick\"\n",
        quick.origin()
    );
    let relay = site_with(Site::before(app.origin()).more(&other), "[\"br\"]");
    let mut large = relay.connect();
    large.get("/x/", ALL);
    large.head();
    let mut got = large.chunk();
    // One worker: it is still at the large one.
    let mut small = relay.connect();
    for _ in 0..5 {
        assert_eq!(small.get("/quick", "").response().text(), "ok");
    }
    got.extend(large.chunks());
    assert!(decoded(Some("br"), &got) == page);
    assert!(got.len() < length / 10);
}
