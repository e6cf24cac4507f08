//! A question against sockets that say what a test wants.

use std::net::SocketAddr;

use socket2::{Domain, Socket, Type};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, UnixListener};

use super::*;
use crate::config::Origin;

fn question(target: &str) -> Question<'_> {
    Question { target, fields: HeaderMap::new(), max_body: 10 }
}

/// Answers one connection with `said`, and returns what it was asked.
async fn asked_of(said: &'static str) -> (Result<Answer, FetchError>, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let place = Place::new(Origin::Tcp { host: "127.0.0.1".into(), port });
    let answering = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
        // A client that has heard enough may be gone.
        let _ = stream.write_all(said.as_bytes()).await;
        String::from_utf8(head).unwrap().replace(&port.to_string(), "PORT")
    };
    tokio::join!(get(&place, question("/x?y")), answering)
}

#[tokio::test]
async fn an_answer_is_head_and_body() {
    for said in [
        "HTTP/1.1 200 OK\r\nA: b\r\nContent-Length: 2\r\n\r\nhi",
        "HTTP/1.1 200 OK\r\nA: b\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
        "HTTP/1.0 200 OK\r\nA: b\r\n\r\nhi",
    ] {
        let (answer, head) = asked_of(said).await;
        let answer = answer.unwrap();
        assert_eq!((answer.status, &answer.body[..]), (StatusCode::OK, &b"hi"[..]), "{said}");
        assert_eq!(answer.fields["a"], "b");
        assert_eq!(head, "GET /x?y HTTP/1.1\r\nhost: 127.0.0.1:PORT\r\nconnection: close\r\n\r\n");
    }
    let (moved, _) = asked_of("HTTP/1.1 302 Found\r\nLocation: /login\r\nContent-Length: 0\r\n\r\n").await;
    assert_eq!(moved.unwrap().status, StatusCode::FOUND);
}

#[tokio::test]
async fn what_is_too_large_or_broken_is_no_answer() {
    let (long, _) = asked_of("HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\nhello world").await;
    assert!(matches!(long, Err(FetchError::TooLarge { max: 10 })), "{long:?}");
    for said in ["HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhi", "", "hello\r\n\r\n", "HTTP/1.1 200 OK\r\n"]
    {
        let (broken, _) = asked_of(said).await;
        assert!(matches!(broken, Err(FetchError::Broken(_))), "{said}: {broken:?}");
    }
}

#[tokio::test]
async fn a_unix_socket_is_a_place_too() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("app.sock");
    let place = Place::new(Origin::Unix(path.clone()));
    assert!(matches!(get(&place, question("/")).await, Err(FetchError::Connect(_))));
    let listener = UnixListener::bind(&path).unwrap();
    let answering = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut head = [0; 24];
        stream.read_exact(&mut head).await.unwrap();
        stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await.unwrap();
        stream
    };
    let (answer, _open) = tokio::join!(get(&place, question("/")), answering);
    assert_eq!(answer.unwrap().status, StatusCode::NO_CONTENT);
}

#[tokio::test]
async fn silence_has_an_end() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let place = Place::new(Origin::Tcp { host: "127.0.0.1".into(), port });
    let accepting = async {
        let open = listener.accept().await.unwrap();
        // Once they are connected: a clock that is stopped goes on while the system is at work.
        tokio::time::pause();
        open
    };
    let (silent, _open) = tokio::join!(get(&place, question("/")), accepting);
    assert!(matches!(silent, Err(FetchError::Timeout { .. })), "{silent:?}");
}

#[tokio::test(start_paused = true)]
async fn a_server_that_takes_no_connection_is_passed_over() {
    // Its queue is full, so that what comes now is left waiting.
    let full = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    full.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    full.listen(0).unwrap();
    let address = full.local_addr().unwrap();
    let _waiting: Vec<_> = (0..4)
        .map(|_| {
            let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
            socket.set_nonblocking(true).unwrap();
            // It is under way.
            let _ = socket.connect(&address);
            socket
        })
        .collect();
    let port = address.as_socket().unwrap().port();
    let stuck = Place::new(Origin::Tcp { host: "127.0.0.1".into(), port });
    let missing = Place::new(Origin::Unix("/nowhere/app.sock".into()));
    let kind = |answered: Result<Answer, FetchError>| match answered {
        Err(FetchError::Connect(error)) => error.kind(),
        other => panic!("{other:?}"),
    };
    assert_eq!(kind(get(&stuck, question("/")).await), io::ErrorKind::TimedOut);
    assert_eq!(kind(get_from([&stuck, &missing], question("/")).await), io::ErrorKind::NotFound);
}
