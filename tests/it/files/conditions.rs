//! Conditional requests (RFC 9110, section 13).

use super::{get, lines, put, serving};

#[test]
fn who_has_the_file_is_told_so() {
    let relay = serving(&[("a.css", b"a{}")], "");
    let whole = get(&relay, "/static/a.css", "");
    let (tag, date) = (whole.field("etag").unwrap(), whole.field("last-modified").unwrap());
    let mut client = relay.connect();
    for (fields, status) in [
        (format!("If-None-Match: {tag}\r\n"), 304),
        (format!("If-None-Match: W/{tag}\r\n"), 304),
        (format!("If-None-Match: \"x\", {tag}\r\n"), 304),
        (format!("If-None-Match: \"x\"\r\nIf-None-Match: {tag}\r\n"), 304),
        ("If-None-Match: *\r\n".to_owned(), 304),
        ("If-None-Match: \"x\"\r\n".to_owned(), 200),
        (format!("If-None-Match: \"x\"\r\nIf-Modified-Since: {date}\r\n"), 200),
        (format!("If-Modified-Since: {date}\r\n"), 304),
        ("If-Modified-Since: Thu, 01 Jan 1970 00:00:00 GMT\r\n".to_owned(), 200),
        ("If-Modified-Since: nonsense\r\n".to_owned(), 200),
        (format!("If-Match: {tag}\r\n"), 200),
        ("If-Match: *\r\n".to_owned(), 200),
        ("If-Match: \"x\"\r\n".to_owned(), 412),
        (format!("If-Match: W/{tag}\r\n"), 412),
        (format!("If-Unmodified-Since: {date}\r\n"), 200),
        ("If-Unmodified-Since: Thu, 01 Jan 1970 00:00:00 GMT\r\n".to_owned(), 412),
        (format!("If-Match: {tag}\r\nIf-None-Match: {tag}\r\n"), 304),
        (format!("If-Match: \"x\"\r\nIf-None-Match: {tag}\r\n"), 412),
        (format!("If-None-Match: {tag}\r\nRange: bytes=0-0\r\n"), 304),
        ("If-Match: \"x\"\r\nRange: bytes=0-0\r\n".to_owned(), 412),
    ] {
        for method in ["GET", "HEAD"] {
            client.send(format!("{method} /static/a.css HTTP/1.1\r\nHost: test\r\n{fields}\r\n"));
            let response = client.response_to(method);
            assert_eq!(response.status, status, "{method} {fields}");
            if status == 304 {
                assert_eq!(response.field("etag"), Some(tag));
                assert_eq!(response.field("cache-control"), Some("public, max-age=60"));
                assert_eq!(lines(&response.head, "vary"), ["Accept-Encoding"]);
                assert_eq!(response.field("content-type"), None);
            }
        }
    }
}

#[test]
fn another_state_of_the_file_has_another_tag() {
    let relay = serving(&[("a.css", b"a{}")], "");
    let first = get(&relay, "/static/a.css", "");
    let fields = format!("If-None-Match: {}\r\n", first.field("etag").unwrap());
    put(&relay, "a.css", b"a{color:red}");
    let second = get(&relay, "/static/a.css", &fields);
    assert_eq!((second.status, second.text().as_str()), (200, "a{color:red}"));
}
