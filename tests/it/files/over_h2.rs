//! Files over HTTP/2.

use super::{lines, put, write};
use crate::support::h2::{self, Sent, Whole, piece, request};
use crate::support::{App, NO_APP, Sidestream, Site};

const SIZE: usize = 3 * 1024 * 1024 + 5;

fn bytes() -> Vec<u8> {
    (0..=250).cycle().take(SIZE).collect()
}

fn site(origin: &str, more: &str) -> Sidestream {
    let relay = Site::before(origin).tls(&[&["test"]]).more(&super::route("")).more(more).start();
    put(&relay, "large.bin", &bytes());
    put(&relay, "a.css", b"a{}");
    relay
}

async fn ask(client: &mut h2::H2, method: &str, path: &str, fields: &[(&str, &str)]) -> Whole {
    let asked = fields.iter().fold(request(method, path), |asked, (name, value)| asked.header(*name, *value));
    Whole::of(client.send(asked.body(Sent::nothing()).unwrap()).await.unwrap()).await.unwrap()
}

#[test]
fn a_file_is_the_same_as_over_http_1() {
    let relay = site(NO_APP, "");
    let bytes = bytes();
    h2::with(relay.address(), async |mut client| {
        let small = client.get("/static/a.css").await;
        assert_eq!((small.status, small.text().as_str()), (200, "a{}"));
        assert_eq!(small.fields["content-type"], "text/css; charset=utf-8");
        let tag = small.fields["etag"].to_str().unwrap().to_owned();
        let again = ask(&mut client, "GET", "/static/a.css", &[("if-none-match", &tag)]).await;
        assert_eq!((again.status, again.body.len()), (304, 0));

        let large = client.get("/static/large.bin").await;
        assert_eq!(large.fields["content-length"], SIZE.to_string().as_str());
        assert!(large.body == bytes && large.trailers.is_none());
        let head = ask(&mut client, "HEAD", "/static/large.bin", &[]).await;
        assert_eq!(
            (head.fields["content-length"].clone(), head.body.len()),
            (SIZE.to_string().parse().unwrap(), 0)
        );
        let part = ask(&mut client, "GET", "/static/large.bin", &[("range", "bytes=100000-2999999")]).await;
        assert_eq!(part.status, 206);
        assert!(part.body == bytes[100_000..3_000_000]);
        let parts = ask(&mut client, "GET", "/static/large.bin", &[("range", "bytes=0-1,-200000")]).await;
        assert_eq!(parts.status, 206);
        let end = parts.text().find("\r\n\r\n").unwrap() + 4;
        assert_eq!(parts.body[end..end + 2], bytes[..2]);
        assert!(parts.body.windows(1000).any(|window| window == &bytes[SIZE - 1000..]));
        let none = ask(&mut client, "GET", "/static/large.bin", &[("range", "bytes=9999999-")]).await;
        assert_eq!((none.status, none.fields["content-range"].to_str().unwrap()), (416, "bytes */3145733"));
        assert_eq!(client.get("/static/../a").await.status, 404);
    });
}

#[test]
fn streams_that_are_not_read_hold_up_no_other_and_lose_nothing() {
    let relay = site(NO_APP, "");
    let bytes = bytes();
    h2::with(relay.address(), async |mut client| {
        let mut slow = Vec::new();
        // No more than the client's window for the whole connection lets through.
        for _ in 0..2 {
            let asked = request("GET", "/static/large.bin").body(Sent::nothing()).unwrap();
            let mut response = client.send(asked).await.unwrap();
            let first = piece(response.body_mut()).await.unwrap().unwrap();
            slow.push((first.to_vec(), response));
        }
        assert_eq!(client.get("/static/a.css").await.text(), "a{}");
        // One goes, in the middle of its file.
        drop(slow.pop());
        for (mut came, response) in slow {
            came.extend(Whole::of(response).await.unwrap().body);
            assert!(came == bytes);
        }
    });
}

#[test]
fn a_file_that_becomes_shorter_resets_its_stream_alone() {
    let relay = site(NO_APP, "");
    put(&relay, "broken.bin", &vec![7; 64 << 20]);
    h2::with(relay.address(), async |mut client| {
        let asked = request("GET", "/static/broken.bin").body(Sent::nothing()).unwrap();
        let response = client.send(asked).await.unwrap();
        let file = std::fs::File::options().write(true).open(relay.path("static/broken.bin")).unwrap();
        file.set_len(100_000).unwrap();
        assert!(Whole::of(response).await.is_err());
        assert_eq!(client.get("/static/a.css").await.status, 200);
    });
}

#[test]
fn an_app_hands_in_a_file() {
    let app = App::that_says(
        "HTTP/1.1 200 OK\r\nContent-Length: 6\r\nX-Accel-Redirect: /protected/a.bin\r\nSet-Cookie: a=1\r\n\r\nhidden",
    );
    let internal = "[[route]]\npath = \"/protected/\"\ninternal = true\n[route.files]\nroot = \"private\"\n";
    let relay = site(&app.origin(), internal);
    write(&relay.path("private/a.bin"), &bytes());
    h2::with(relay.address(), async |mut client| {
        let handed = client.get("/download").await;
        assert!(handed.body == bytes());
        assert_eq!(handed.fields["set-cookie"], "a=1");
        assert_eq!(client.get("/protected/a.bin").await.status, 404);
    });
    // The same over HTTP/1 of the same site, where nothing is made of several pieces either.
    let response = crate::support::tls::connect(relay.address(), "test").get("/download", "").response();
    assert!(response.body == bytes() && lines(&response.head, "content-length") == [SIZE.to_string()]);
}
