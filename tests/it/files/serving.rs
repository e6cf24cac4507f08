//! What is said of a file, and which form of it is sent.

use std::fs::{self, File};
use std::time::{Duration, Instant, SystemTime};

use super::{get, put, serving};
use crate::support::pace::at_best;
use crate::support::{NO_APP, PATIENCE, Site};

const YEAR: &str = "public, max-age=31536000, immutable";

#[test]
fn a_file_comes_with_its_type_and_how_long_it_may_be_kept() {
    let relay = serving(
        &[
            ("a.css", b"a{}"),
            ("page.html", b"<p>"),
            ("app.27e1a4c2b3d0.js", b"1"),
            ("LICENSE", b"free"),
            ("empty.txt", b""),
            ("sub/pic ture.PNG", b"png"),
        ],
        "",
    );
    for (target, kind, cache, body) in [
        ("/static/a.css", "text/css; charset=utf-8", "public, max-age=60", "a{}"),
        ("/static/page.html", "text/html; charset=utf-8", "no-cache", "<p>"),
        ("/static/app.27e1a4c2b3d0.js?v=1", "text/javascript; charset=utf-8", YEAR, "1"),
        ("/static/LICENSE", "application/octet-stream", "public, max-age=60", "free"),
        ("/static/empty.txt", "text/plain; charset=utf-8", "public, max-age=60", ""),
        ("/static/sub/pic%20ture.PNG", "image/png", "public, max-age=60", "png"),
    ] {
        let response = get(&relay, target, "");
        assert_eq!((response.status, response.text().as_str()), (200, body), "{target}");
        assert_eq!(response.field("content-type"), Some(kind), "{target}");
        assert_eq!(response.field("cache-control"), Some(cache), "{target}");
        assert_eq!(response.field("content-length"), Some(&*body.len().to_string()), "{target}");
        assert_eq!(response.field("accept-ranges"), Some("bytes"));
        assert_eq!(response.field("x-content-type-options"), Some("nosniff"));
        assert!(response.field("etag").unwrap().starts_with('"'), "{}", response.head);
        assert!(response.field("last-modified").is_some() && response.field("date").is_some());
    }
}

#[test]
fn head_says_the_same_and_sends_nothing() {
    let relay = serving(&[("a.css", b"a{}"), ("large.bin", &[7; 300_000])], "");
    let mut client = relay.connect();
    for target in ["/static/a.css", "/static/large.bin"] {
        let get = client.get(target, "Range: bytes=0-0\r\nIf-Range: \"x\"\r\n").response();
        client.send(format!("HEAD {target} HTTP/1.1\r\nHost: test\r\nRange: bytes=0-0\r\n\r\n"));
        let head = client.response_to("HEAD");
        assert_eq!(head.status, 200);
        let without_date = |head: &str| {
            head.lines()
                .filter(|line| !line.starts_with("date"))
                .map(str::to_owned)
                .collect::<std::collections::BTreeSet<_>>()
        };
        assert_eq!(without_date(&head.head), without_date(&get.head));
    }
    assert_eq!(client.get("/static/a.css", "").response().text(), "a{}");
}

#[test]
fn other_methods_are_refused() {
    let relay = serving(&[("a.css", b"a{}")], "");
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "PATCH"] {
        let mut client = relay.connect();
        client.send(format!("{method} /static/a.css HTTP/1.1\r\nHost: test\r\nContent-Length: 0\r\n\r\n"));
        let response = client.response();
        assert_eq!((response.status, response.field("allow")), (405, Some("GET, HEAD")), "{method}");
    }
}

#[test]
fn a_folder_is_its_index_and_is_never_listed() {
    let relay = serving(&[("docs/index.html", b"index"), ("plain/a.css", b"a"), ("index.html", b"top")], "");
    assert_eq!(get(&relay, "/static/docs/", "").text(), "index");
    assert_eq!(get(&relay, "/static/", "").text(), "top");
    let response = get(&relay, "/static/docs?a=/b", "");
    assert_eq!((response.status, response.field("location")), (301, Some("/static/docs/?a=/b")));
    for target in [
        "/static/plain",
        "/static/plain/",
        "/static/plain/a.css/",
        "/static/docs/index.html/",
        "/static/none/",
    ] {
        assert_eq!(get(&relay, target, "").status, 404, "{target}");
    }
    let other =
        serving(&[("docs/index.html", b"index"), ("docs/default.htm", b"other")], "index = \"default.htm\"");
    assert_eq!(get(&other, "/static/docs/", "").text(), "other");
    let none = serving(&[("docs/index.html", b"index")], "index = \"\"");
    assert_eq!(get(&none, "/static/docs/", "").status, 404);
    assert_eq!(get(&none, "/static/docs", "").status, 404);
    assert_eq!(get(&none, "/static/docs/index.html", "").text(), "index");
}

#[test]
fn the_form_that_the_client_likes_best_is_sent() {
    let relay = serving(
        &[
            ("a.js", b"plain"),
            ("a.js.br", b"brotli"),
            ("a.js.zst", b"zstandard"),
            ("a.js.gz", b"gzipped!"),
            ("b.js", b"plain"),
            ("b.js.gz", b"gzipped!"),
            ("c.png", b"plain"),
            ("c.png.gz", b"gzipped!"),
            ("index.html", b"page"),
            ("index.html.br", b"coded page"),
        ],
        "",
    );
    let mut tags = std::collections::BTreeSet::new();
    for (target, accept, coding, body) in [
        ("/static/a.js", "", None, "plain"),
        ("/static/a.js", "gzip, deflate, br, zstd", Some("br"), "brotli"),
        ("/static/a.js", "gzip, zstd", Some("zstd"), "zstandard"),
        ("/static/a.js", "gzip;q=1, br;q=0.9", Some("gzip"), "gzipped!"),
        ("/static/a.js", "br;q=0, gzip;q=0.1", Some("gzip"), "gzipped!"),
        ("/static/a.js", "identity, br;q=0.5", None, "plain"),
        ("/static/a.js", "deflate", None, "plain"),
        ("/static/a.js", "*", Some("br"), "brotli"),
        ("/static/b.js", "br, gzip", Some("gzip"), "gzipped!"),
        ("/static/", "br", Some("br"), "coded page"),
    ] {
        let fields = if accept.is_empty() { String::new() } else { format!("Accept-Encoding: {accept}\r\n") };
        let response = get(&relay, target, &fields);
        assert_eq!(
            (response.field("content-encoding"), response.text().as_str()),
            (coding, body),
            "{target} {accept}"
        );
        assert_eq!(response.field("vary"), Some("Accept-Encoding"), "{target} {accept}");
        assert!(response.field("content-type").unwrap().starts_with("text/"), "{}", response.head);
        tags.insert((target, response.field("etag").unwrap().to_owned()));
        let same =
            get(&relay, target, &format!("{fields}If-None-Match: {}\r\n", response.field("etag").unwrap()));
        assert_eq!((same.status, same.field("vary")), (304, Some("Accept-Encoding")), "{target} {accept}");
    }
    assert_eq!(tags.len(), 4 + 1 + 1, "{tags:?}");
    let picture = get(&relay, "/static/c.png", "Accept-Encoding: gzip\r\n");
    assert_eq!((picture.field("content-encoding"), picture.field("vary")), (None, None));
    // Asked for by itself, it is a file like others.
    let itself = get(&relay, "/static/a.js.gz", "Accept-Encoding: gzip\r\n");
    assert_eq!(
        (itself.field("content-encoding"), itself.field("content-type")),
        (None, Some("application/gzip"))
    );
}

#[test]
fn a_form_that_is_older_than_its_file_is_not_sent() {
    let relay = serving(&[("a.js", b"new"), ("a.js.br", b"old")], "");
    let file = File::options().write(true).open(relay.path("static/a.js.br")).unwrap();
    file.set_modified(SystemTime::now() - Duration::from_secs(3600)).unwrap();
    let response = get(&relay, "/static/a.js", "Accept-Encoding: br\r\n");
    assert_eq!((response.field("content-encoding"), response.text().as_str()), (None, "new"));
    // Nor one whose file is gone.
    fs::remove_file(relay.path("static/a.js")).unwrap();
    assert_eq!(get(&relay, "/static/a.js", "Accept-Encoding: br\r\n").status, 404);
}

#[test]
fn what_is_immutable_can_be_said() {
    let files: &[(&str, &[u8])] = &[("app.27e1a4c2b3d0.js", b"1"), ("dist/x/a.js", b"2"), ("a.js", b"3")];
    for (lines, expected) in [
        ("", [true, false, false]),
        ("immutable = false", [false, false, false]),
        ("immutable = \"dist/**\"", [false, true, false]),
        ("immutable = [\"dist/*\", \"?.js\"]", [false, true, true]),
    ] {
        let relay = serving(files, lines);
        for ((name, _), expected) in files.iter().zip(expected) {
            let response = get(&relay, &format!("/static/{name}"), "");
            assert_eq!(response.field("cache-control") == Some(YEAR), expected, "{lines} {name}");
        }
    }
}

#[test]
fn an_exact_path_is_one_file() {
    let exact = "[[route]]\npath = \"/favicon.ico\"\n[route.files]\nroot = \"icons\"\n";
    let relay = Site::before(NO_APP).more(exact).start();
    super::write(&relay.path("icons/favicon.ico"), b"icon");
    assert_eq!(get(&relay, "/favicon.ico", "").text(), "icon");
    assert_eq!(get(&relay, "/favicon.ico/", "").status, 502, "it is the app's");
    assert_eq!(get(&relay, "/favicon.icon", "").status, 502);
}

#[test]
fn a_deploy_that_replaces_the_root_is_seen() {
    let relay = Site::before(NO_APP)
        .more("[[route]]\npath = \"/static/\"\n[route.files]\nroot = \"current/static\"\n")
        .start();
    let link = |release: &str| {
        std::os::unix::fs::symlink(release, relay.path("next")).unwrap();
        fs::rename(relay.path("next"), relay.path("current")).unwrap();
    };
    // The folder is not there at first.
    assert_eq!(get(&relay, "/static/one.css", "").status, 404);
    super::write(&relay.path("1/static/one.css"), b"one");
    link("1");
    assert_eq!(get(&relay, "/static/one.css", "").text(), "one");
    // A file that only the new one has is found as soon as an app could have started: well before the second for which
    // the files of the old one are known.
    let most = Duration::from_millis(900);
    let mut deploys = 2;
    let took = at_best(most, || {
        let (file, release) = (format!("/static/{deploys}.css"), deploys.to_string());
        super::write(&relay.path(&format!("{release}{file}")), b"new");
        let begun = Instant::now();
        link(&release);
        while get(&relay, &file, "").status == 404 {
            assert!(begun.elapsed() < PATIENCE, "it is never found");
        }
        deploys += 1;
        begun.elapsed()
    });
    assert!(took < most, "{took:?}");
    relay.comes_true(|| "one.css is gone".to_owned(), || get(&relay, "/static/one.css", "").status != 200);
}

#[test]
fn pages_of_other_origins_are_told() {
    let lines =
        "[[route]]\npath = \"/fonts/\"\ncors = { origins = \"*\" }\n[route.files]\nroot = \"static\"\n";
    let relay = Site::before(NO_APP).more(lines).start();
    put(&relay, "a.woff2", b"font");
    let response = get(&relay, "/fonts/a.woff2", "Origin: https://other.example\r\n");
    assert_eq!((response.status, response.field("access-control-allow-origin")), (200, Some("*")));
    assert_eq!(response.field("content-type"), Some("font/woff2"));
}
