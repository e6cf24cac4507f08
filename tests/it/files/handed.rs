//! Files that an app hands in by X-Accel-Redirect and X-Sendfile.

use super::{get, lines, write};
use crate::support::{App, Sidestream, Site};

const INTERNAL: &str = "[[route]]\npath = \"/protected/\"\ninternal = true\n[route.files]\nroot = \"private\"\n\
     [[route]]\npath = \"/static/\"\n[route.files]\nroot = \"static\"\n";

/// Behind an app that answers with these fields, each with its CRLF, and a body that nobody is to see.
fn handing(fields: &str) -> (App, Sidestream) {
    handing_with("200 OK", fields)
}

fn handing_with(status: &str, fields: &str) -> (App, Sidestream) {
    let app = App::that_says(format!("HTTP/1.1 {status}\r\nContent-Length: 6\r\n{fields}\r\nhidden"));
    let relay = Site::before(app.origin()).more(INTERNAL).start();
    write(&relay.path("private/a.pdf"), b"0123456789");
    write(&relay.path("private/ä b.pdf"), b"umlaut");
    write(&relay.path("private/.hidden"), b"hidden");
    write(&relay.path("private/folder/index.html"), b"index");
    write(&relay.path("private/a.txt"), b"plain");
    write(&relay.path("private/a.txt.gz"), b"gzipped");
    write(&relay.path("static/public.txt"), b"public");
    write(&relay.path("outside"), b"outside");
    (app, relay)
}

#[test]
fn a_client_does_not_get_there_by_itself() {
    let (_app, relay) = handing("");
    for target in ["/protected/a.pdf", "/protected/", "/protected/none"] {
        assert_eq!(get(&relay, target, "").status, 404, "{target}");
    }
}

#[test]
fn the_client_gets_the_file_with_what_the_app_said() {
    let (_app, relay) = handing(
        "X-Accel-Redirect: /protected/a.pdf\r\nContent-Type: application/x-own\r\nSet-Cookie: a=1\r\n\
         Set-Cookie: b=2\r\nContent-Disposition: attachment; filename=\"b.pdf\"\r\nCache-Control: no-store\r\n\
         ETag: \"theirs\"\r\nLast-Modified: Thu, 01 Jan 1970 00:00:00 GMT\r\nVary: Cookie\r\nX-Frame-Options: DENY\r\n\
         X-Accel-Buffering: no\r\nX-Accel-Expires: 5\r\n",
    );
    let response = get(&relay, "/download", "");
    assert_eq!((response.status, response.text().as_str()), (200, "0123456789"));
    let head = &response.head;
    assert_eq!(lines(head, "content-type"), ["application/x-own"]);
    assert_eq!(lines(head, "set-cookie"), ["a=1", "b=2"]);
    assert_eq!(lines(head, "content-disposition"), ["attachment; filename=\"b.pdf\""]);
    assert_eq!(lines(head, "cache-control"), ["no-store"]);
    assert_eq!(lines(head, "x-frame-options"), ["DENY"]);
    assert_eq!(lines(head, "content-length"), ["10"]);
    assert_eq!(lines(head, "vary"), ["Cookie"]);
    assert_eq!(lines(head, "etag").len(), 1);
    assert_ne!(response.field("etag"), Some("\"theirs\""));
    assert_eq!(lines(head, "last-modified").len(), 1);
    assert!(!head.to_ascii_lowercase().contains("x-accel"), "{head}");

    let tag = response.field("etag").unwrap();
    let part = get(&relay, "/download", &format!("Range: bytes=2-4\r\nIf-Range: {tag}\r\n"));
    assert_eq!((part.status, part.text().as_str()), (206, "234"));
    assert_eq!(
        (part.field("content-range"), part.field("content-type")),
        (Some("bytes 2-4/10"), Some("application/x-own"))
    );
    assert_eq!(lines(&part.head, "set-cookie").len(), 2);
    let parts = get(&relay, "/download", "Range: bytes=0-0,9-9\r\n");
    assert!(parts.field("content-type").unwrap().starts_with("multipart/byteranges"));
    assert_eq!(parts.text().matches("Content-Type: application/x-own\r\n").count(), 2);
    let unchanged = get(&relay, "/download", &format!("If-None-Match: {tag}\r\n"));
    assert_eq!((unchanged.status, lines(&unchanged.head, "set-cookie").len()), (304, 2));
    let beyond = get(&relay, "/download", "Range: bytes=10-\r\n");
    assert_eq!((beyond.status, beyond.field("content-range")), (416, Some("bytes */10")));
    let mut client = relay.connect();
    client.send("HEAD /download HTTP/1.1\r\nHost: test\r\n\r\n");
    let head = client.response_to("HEAD");
    assert_eq!((head.status, head.field("content-length")), (200, Some("10")));
    // What the app did for a POST is done; what is left is to read.
    let mut client = relay.connect();
    let posted = client.post("/download", "If-None-Match: *\r\nRange: bytes=0-0\r\n", "{}").response();
    assert_eq!((posted.status, posted.text().as_str()), (200, "0123456789"));
}

#[test]
fn without_a_word_of_the_app_a_file_is_for_this_client_only() {
    let (_app, relay) = handing("X-Accel-Redirect: /protected/a.txt\r\n");
    let response = get(&relay, "/download", "Accept-Encoding: gzip\r\n");
    assert_eq!(response.text(), "gzipped");
    assert_eq!(response.field("cache-control"), Some("private, no-cache"));
    assert_eq!(
        (response.field("content-encoding"), response.field("vary")),
        (Some("gzip"), Some("Accept-Encoding"))
    );
    assert_eq!(response.field("content-type"), Some("text/plain; charset=utf-8"));
}

#[test]
fn a_form_that_the_app_has_encoded_stands_alone() {
    let (_app, relay) = handing("X-Accel-Redirect: /protected/a.txt\r\nContent-Encoding: br\r\n");
    let response = get(&relay, "/download", "Accept-Encoding: gzip, br\r\n");
    assert_eq!((response.text().as_str(), response.field("content-encoding")), ("plain", Some("br")));
}

#[test]
fn names_are_encoded_as_in_a_target() {
    let (_app, relay) = handing("X-Accel-Redirect: /protected/%C3%A4%20b.pdf?x=1\r\n");
    assert_eq!(get(&relay, "/download", "").text(), "umlaut");
}

#[test]
fn an_error_of_the_app_may_be_a_file() {
    let (_app, relay) = handing_with("403 Forbidden", "X-Accel-Redirect: /protected/a.txt\r\n");
    let response = get(&relay, "/download", "If-None-Match: *\r\nRange: bytes=0-1\r\n");
    assert_eq!((response.status, response.text().as_str()), (403, "plain"));
}

#[test]
fn what_cannot_be_handed_over_says_nothing_of_where_it_would_be() {
    for (name, status) in [
        ("/protected/none", 404),
        ("/protected/.hidden", 502),
        ("/protected/../outside", 502),
        ("/protected/%2e%2e/outside", 502),
        ("/protected/folder", 404),
        ("/static/public.txt", 502),
        ("/elsewhere", 502),
        ("http://other.example/protected/a.pdf", 502),
        ("protected/a.pdf", 502),
        ("@named", 502),
    ] {
        let (_app, relay) = handing(&format!("X-Accel-Redirect: {name}\r\nSet-Cookie: a=1\r\n"));
        let response = get(&relay, "/download", "");
        assert_eq!(response.status, status, "{name}");
        let all = format!("{}{}", response.head, response.text());
        assert!(!all.contains("hidden") && !all.contains("outside") && !all.contains("protected"), "{all}");
    }
}

#[test]
fn a_path_of_the_machine_is_of_an_internal_root() {
    let app = App::start(|mut client| {
        while let Some(head) = client.try_head() {
            // The test says which path, in its target.
            let path = head.split(' ').nth(1).unwrap().to_owned();
            client.send(format!("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX-Sendfile: {path}\r\n\r\n"));
        }
    });
    let relay = Site::before(app.origin()).more(INTERNAL).start();
    write(&relay.path("private/a.pdf"), b"0123456789");
    write(&relay.path("private/100%.pdf"), b"percent");
    write(&relay.path("static/public.txt"), b"public");
    write(&relay.path("private-not/a.pdf"), b"outside");
    let target = |name: &str| relay.path(name).display().to_string();
    let response = get(&relay, &target("private/a.pdf"), "Range: bytes=0-1\r\n");
    assert_eq!((response.status, response.text().as_str()), (206, "01"));
    assert_eq!(response.field("x-sendfile"), None);
    assert_eq!(get(&relay, &target("private/100%.pdf"), "").text(), "percent");
    for name in ["static/public.txt", "private-not/a.pdf", "private/../private/a.pdf", "private", "none"] {
        let response = get(&relay, &target(name), "");
        assert_eq!(response.status, 502, "{name}");
        assert_eq!(response.field("x-sendfile"), None);
    }
    assert_eq!(get(&relay, "/etc/passwd", "").status, 502);
}

#[test]
fn a_root_is_found_also_by_its_real_path() {
    let app = App::start(|mut client| {
        while let Some(head) = client.try_head() {
            let path = head.split(' ').nth(1).unwrap().to_owned();
            client.send(format!("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX-Sendfile: {path}\r\n\r\n"));
        }
    });
    let relay = Site::before(app.origin()).more(INTERNAL).start();
    write(&relay.path("releases/1/a.pdf"), b"one");
    std::os::unix::fs::symlink("releases/1", relay.path("private")).unwrap();
    let real = relay.path("releases/1/a.pdf").canonicalize().unwrap();
    assert_eq!(get(&relay, &real.display().to_string(), "").text(), "one");
}

#[test]
fn without_an_internal_route_the_answer_is_the_apps_own() {
    for name in
        ["X-Accel-Redirect: /static/a", "X-Accel-Redirect: /protected/a.pdf", "X-Sendfile: /etc/passwd"]
    {
        let app = App::that_says(format!("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n{name}\r\n\r\nown"));
        // A route with files that anybody may have is no such route.
        let public = "[[route]]\npath = \"/static/\"\n[route.files]\nroot = \"static\"\n";
        for relay in [Site::before(app.origin()).start(), Site::before(app.origin()).more(public).start()] {
            write(&relay.path("static/a"), b"public");
            let response = get(&relay, "/", "");
            assert_eq!((response.status, response.text().as_str()), (200, "own"), "{name}");
            let head = response.head.to_ascii_lowercase();
            assert!(!head.contains("x-accel") && !head.contains("x-sendfile"), "{head}");
        }
    }
}

#[test]
fn with_one_an_answer_for_another_place_is_an_error_of_the_app() {
    let (_app, relay) = handing("X-Accel-Redirect: /static/public.txt\r\n");
    let response = get(&relay, "/", "Accept: application/json\r\n");
    assert_eq!((response.status, &response.json()["error"]), (502, &"bad_gateway".into()));
}
