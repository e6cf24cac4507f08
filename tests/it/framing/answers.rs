//! Where the app's answer ends: what it sends beyond that is nobody's, and must never open the next answer.

use crate::support::{Backend, Site};

#[test]
fn a_body_where_there_is_none_is_not_the_next_answer() {
    let backend = Backend::start();
    let site = Site::before(backend.origin()).start();
    let stray = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nstray";
    let length = stray.len();
    for (method, answer) in [
        // Apps that forget that they were asked for the head only.
        ("HEAD", format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{stray}")),
        (
            "HEAD",
            format!(
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{length:x}\r\n{stray}\r\n0\r\n\r\n"
            ),
        ),
        ("GET", format!("HTTP/1.1 204 No Content\r\n\r\n{stray}")),
        ("GET", format!("HTTP/1.1 204 No Content\r\nContent-Length: {length}\r\n\r\n{stray}")),
        ("GET", format!("HTTP/1.1 304 Not Modified\r\nContent-Length: {length}\r\n\r\n{stray}")),
        ("GET", format!("HTTP/1.1 304 Not Modified\r\nTransfer-Encoding: chunked\r\n\r\n{stray}")),
        ("GET", format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{stray}")),
        ("POST", format!("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n{stray}")),
    ] {
        let mut client = site.connect();
        client.send(format!("{method} / HTTP/1.1\r\nHost: test\r\n\r\n"));
        let mut app = backend.accept();
        app.head();
        app.send(&answer);
        let response = client.response_to(method);
        assert_eq!(response.status.to_string(), answer[9..12], "{method} {answer:?}");
        assert_eq!(response.body, b"", "{method} {answer:?}");
        app.closed();
        // Neither to the one who asked nor to anybody else.
        for mut next in [client, site.connect()] {
            next.get("/next", "Connection: close\r\n");
            let mut app = backend.accept();
            assert!(app.head().starts_with("GET /next "));
            app.send("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 5\r\n\r\nright");
            assert_eq!(next.response().text(), "right", "{method} {answer:?}");
            next.closed();
        }
    }
}
