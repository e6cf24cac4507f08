//! Whole answers over a socket, cut wherever it may be, and what is no answer at all.

use std::sync::Arc;
use std::time::Duration;

use http_body_util::BodyExt as _;
use proptest::prelude::*;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::task::{LocalSet, yield_now};
use tokio::time::timeout;

use super::*;
use crate::config::{self, UpstreamKind};
use crate::proxy::spool::Spools;
use crate::proxy::standing::Shared;
use crate::transport::Socket;

/// Nothing takes so long: the app's side always ends.
const PATIENCE: Duration = Duration::from_secs(60);

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\n\r\n";

/// What came of an answer: its status and fields, its body as far as it came, what came behind it or how it broke, and
/// whether its connection is used again.
#[derive(Debug, PartialEq)]
struct Came {
    head: String,
    body: Vec<u8>,
    end: Result<HeaderMap, String>,
    keeps: bool,
}

/// Asks on a connection whose app answers with those pieces, each when the one before has been read, and then closes.
fn ask(pieces: &[&[u8]], is_head: bool) -> Result<Came, String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (upstream, answer) = LocalSet::new().block_on(&runtime, async {
        let nowhere = vec![config::Origin::Unix("/nowhere".into())];
        let config = config::Upstream {
            kind: UpstreamKind::Asgi,
            response_timeout: PATIENCE,
            ..config::Upstream::new("app", nowhere)
        };
        let shared = Arc::new(Shared::new(&config));
        let spools = Spools::new("/nowhere".into(), 0, 0);
        let upstream = Rc::new(Upstream::new(&config, shared, spools, Arc::default(), Rc::default()));
        let (ours, mut app) = UnixStream::pair().unwrap();
        upstream.keep(Box::new(Connection::new(Socket::from(ours).into(), 0, PATIENCE)));
        let saying = async {
            // What is not read makes the end a reset.
            app.read_exact(&mut [0; REQUEST.len()]).await.unwrap();
            for piece in pieces {
                // It may be given up before it has said all.
                let _ = app.write_all(piece).await;
                for _ in 0..4 {
                    yield_now().await;
                }
            }
            drop(app);
        };
        let (came, ()) = timeout(PATIENCE, async { tokio::join!(hear(&upstream, is_head), saying) })
            .await
            .unwrap_or_else(|_| panic!("it hangs: {pieces:?}"));
        (upstream, came)
    });
    drop(upstream);
    answer
}

async fn hear(upstream: &Rc<Upstream>, is_head: bool) -> Result<Came, String> {
    let request = Outgoing::new(REQUEST.to_vec(), None, false);
    let mut question = Question { request, is_head, fields: HeaderMap::new() };
    let mut response = match exchange(upstream, &mut question).await.map_err(|error| error.to_string())? {
        Answered::Response(response) => response,
        Answered::Switched(response, connection) => {
            let (_, early, _) = connection.into_link().unwrap();
            let head = format!("{} {:?}", response.status(), response.headers());
            return Ok(Came { head, body: early.to_vec(), end: Ok(HeaderMap::new()), keeps: false });
        }
    };
    let head = format!("{} {:?}", response.status(), response.headers());
    let (mut body, mut end) = (Vec::new(), Ok(HeaderMap::new()));
    while let Some(frame) = response.body_mut().frame().await {
        match frame.map(|frame| frame.into_data()) {
            Ok(Ok(data)) => body.extend_from_slice(&data),
            Ok(Err(frame)) => end = Ok(frame.into_trailers().unwrap()),
            Err(error) => end = Err(error.to_string()),
        }
    }
    Ok(Came { head, body, end, keeps: upstream.take_idle(&Attempt::new(false)).is_some() })
}

/// Answers of each kind, and whether their connection is used again.
const ANSWERS: [(&str, bool); 12] = [
    ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nA: b\r\n\r\nhello", true),
    ("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", true),
    ("HTTP/1.1 204\r\nSet-Cookie: a\r\nSet-Cookie: b\r\n\r\n", true),
    (
        "\r\nHTTP/1.1 103 Early\r\nLink: x\r\n\r\nHTTP/1.1 200 Fine\r\nTransfer-Encoding: chunked\r\n\r\n\
         5;a=b\r\nhello\r\n1\r\n!\r\n0\r\nA: b\r\nC: d\r\n\r\n",
        true,
    ),
    ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", true),
    ("HTTP/1.1 200 OK\r\nKeep-Alive: max=9, timeout=5\r\nContent-Length: 2\r\n\r\nok", true),
    // It would close it any moment.
    ("HTTP/1.1 200 OK\r\nKeep-Alive: timeout=1\r\nContent-Length: 2\r\n\r\nok", false),
    ("HTTP/1.1 200 OK\r\nKeep-Alive: timeout=x\r\nContent-Length: 2\r\n\r\nok", true),
    ("HTTP/1.0 200 OK\n\nuntil the end", false),
    ("HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok", true),
    ("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok", false),
    ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n1\r\no\r\n0\r\n\r\n", false),
];

#[test]
fn a_whole_answer_frees_its_connection_if_nothing_speaks_against_it() {
    for (answer, keeps) in ANSWERS {
        let came = ask(&[answer.as_bytes()], false).unwrap();
        assert!(came.end.is_ok(), "{answer:?}");
        assert_eq!(came.keeps, keeps, "{answer:?}");
    }
    let head = ask(&[b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"], true).unwrap();
    assert!(head.body.is_empty() && head.keeps);
    let switched = ask(&[b"HTTP/1.1 101 Now\r\nUpgrade: websocket\r\n\r\nearly"], false).unwrap();
    assert_eq!(switched.body, b"early");
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 128, ..ProptestConfig::default() })]

    #[test]
    fn where_an_answer_is_cut_does_not_matter(
        which in 0..ANSWERS.len(),
        mut cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..8),
    ) {
        let answer = ANSWERS[which].0.as_bytes();
        let mut places: Vec<_> = cuts.drain(..).map(|cut| cut.index(answer.len())).chain([0, answer.len()]).collect();
        places.sort_unstable();
        let pieces: Vec<_> = places.windows(2).map(|cut| &answer[cut[0]..cut[1]]).filter(|piece| !piece.is_empty()).collect();
        prop_assert_eq!(ask(&pieces, false), ask(&[answer], false));
    }

    #[test]
    fn a_part_of_an_answer_is_never_whole(which in 0..ANSWERS.len(), length in any::<prop::sample::Index>()) {
        let (answer, _) = ANSWERS[which];
        let part = &answer[..length.index(answer.len())];
        // Of one that ends with its connection nobody can say.
        if !answer.starts_with("HTTP/1.0 200 OK\n\n") || !part.contains("\n\n") {
            let came = ask(&[part.as_bytes()], false);
            prop_assert!(came.as_ref().map_or(true, |came| came.end.is_err() && !came.keeps), "{:?}", came);
        }
    }

    #[test]
    fn no_bytes_whatever_make_it_panic_or_hang(
        which in 0..ANSWERS.len(),
        from in any::<prop::sample::Index>(),
        pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..40), 0..4),
        is_head in any::<bool>(),
    ) {
        let answer = ANSWERS[which].0.as_bytes();
        let begun = &answer[..from.index(answer.len())];
        let mut said = vec![begun];
        said.extend(pieces.iter().map(Vec::as_slice));
        let _ = ask(&said, is_head);
    }

    #[test]
    fn one_byte_that_is_wrong_makes_no_answer_of_another(
        which in 0..ANSWERS.len(),
        place in any::<prop::sample::Index>(),
        byte in any::<u8>(),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut answer = ANSWERS[which].0.as_bytes().to_vec();
        let place = place.index(answer.len());
        answer[place] = byte;
        let (one, two) = answer.split_at(cut.index(answer.len()));
        let (cut, whole) = (ask(&[one, two], false), ask(&[&answer], false));
        // What is behind an answer may come before or after its connection is kept; nothing else may differ.
        match (cut, whole) {
            (Ok(cut), Ok(whole)) => {
                prop_assert_eq!((cut.head, cut.end), (whole.head, whole.end));
                prop_assert_eq!(cut.body, whole.body);
            }
            (cut, whole) => prop_assert_eq!(cut.is_ok(), whole.is_ok(), "{:?} {:?}", cut, whole),
        }
    }
}
