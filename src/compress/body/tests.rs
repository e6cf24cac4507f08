//! Bodies in pieces of any size, with pauses between them, and what a client reads of them.

use std::collections::VecDeque;
use std::io::{Read as _, Write as _};
use std::task::Waker;

use proptest::prelude::*;

use super::super::Room;
use super::*;

/// A body of what is in it: pieces, pauses (none), and an end that is an error or not.
struct Pieces {
    pieces: VecDeque<Option<Result<Frame<Bytes>, io::Error>>>,
    /// Whether it does not end behind them.
    is_open: bool,
}

impl Body for Pieces {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        match self.pieces.pop_front() {
            Some(Some(piece)) => Poll::Ready(Some(piece)),
            Some(None) => {
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            None if self.is_open => Poll::Pending,
            None => Poll::Ready(None),
        }
    }
}

fn data(bytes: &[u8]) -> Option<Result<Frame<Bytes>, io::Error>> {
    Some(Ok(Frame::data(Bytes::copy_from_slice(bytes))))
}

fn compressed(coding: Coding, pieces: Vec<Option<Result<Frame<Bytes>, io::Error>>>) -> Compressed<Pieces> {
    let pieces = Pieces { pieces: pieces.into(), is_open: false };
    Compressed::new(pieces, coding, Room::default().enter().unwrap())
}

type Polled = Poll<Option<Result<Frame<Bytes>, CompressError<io::Error>>>>;

fn poll(body: &mut Compressed<Pieces>) -> Polled {
    Pin::new(body).poll_frame(&mut Context::from_waker(Waker::noop()))
}

/// All data of a body, and how it ended.
fn whole(mut body: Compressed<Pieces>) -> (Vec<u8>, Option<HeaderMap>, Result<(), String>) {
    let (mut out, mut trailers) = (Vec::new(), None);
    for _ in 0..100_000 {
        match poll(&mut body) {
            Poll::Pending => {}
            Poll::Ready(None) => return (out, trailers, Ok(())),
            Poll::Ready(Some(Err(error))) => return (out, trailers, Err(error.to_string())),
            Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                Ok(data) => {
                    assert!(!data.is_empty());
                    out.extend_from_slice(&data);
                }
                Err(frame) => trailers = frame.into_trailers().ok(),
            },
        }
    }
    panic!("it does not end");
}

/// What a client makes of it, and whether it finds it whole.
fn decoded(coding: Coding, bytes: &[u8]) -> (Vec<u8>, bool) {
    let mut out = Vec::new();
    let mut decoder: Box<dyn io::Read + '_> = match coding {
        Coding::Brotli => Box::new(brotli::Decompressor::new(bytes, 4096)),
        Coding::Zstd => Box::new(zstd::stream::read::Decoder::new(bytes).unwrap()),
        Coding::Gzip => Box::new(flate2::read::GzDecoder::new(bytes)),
    };
    // Byte by byte: what comes before an error counts.
    let mut byte = [0];
    loop {
        match decoder.read(&mut byte) {
            Ok(0) => return (out, true),
            Ok(_) => out.extend_from_slice(&byte),
            Err(_) => return (out, false),
        }
    }
}

const ALL: [Coding; 3] = [Coding::Brotli, Coding::Zstd, Coding::Gzip];

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_pieces_come_out_as_they_went_in(
        pieces in prop::collection::vec((prop::collection::vec(any::<u8>(), 0..40_000), any::<bool>()), 0..6),
        repeats in 1_usize..4,
    ) {
        for coding in ALL {
            let frames = pieces.iter().flat_map(|(bytes, pauses)| {
                [data(&bytes.repeat(repeats)), if *pauses { None } else { data(b"") }]
            });
            let (out, _, end) = whole(compressed(coding, frames.collect()));
            let expected: Vec<u8> = pieces.iter().flat_map(|(bytes, _)| bytes.repeat(repeats)).collect();
            prop_assert!(end.is_ok());
            prop_assert!(decoded(coding, &out) == (expected, true), "{coding:?}");
        }
    }
}

#[test]
fn whenever_the_app_pauses_the_client_has_all_of_it() {
    for coding in ALL {
        let mut body = compressed(coding, Vec::new());
        let (mut got, mut expected) = (Vec::new(), String::new());
        body.body.is_open = true;
        for text in ["first", ", second", &", third".repeat(10_000), "."] {
            body.body.pieces.push_back(data(text.as_bytes()));
            expected += text;
            // More often than it has turns.
            for _ in 0..50 {
                if let Poll::Ready(frame) = poll(&mut body) {
                    got.extend_from_slice(frame.unwrap().unwrap().data_ref().unwrap());
                }
            }
            let (text, is_whole) = decoded(coding, &got);
            assert!(!is_whole, "{coding:?} has ended");
            assert!(text == expected.as_bytes(), "{coding:?} lacks some of {} bytes", expected.len());
        }
    }
}

#[test]
fn what_breaks_off_is_never_ended() {
    let text = "not to be cut ".repeat(5000);
    for coding in ALL {
        let broken = || Some(Err(io::Error::other("cut")));
        for pieces in [
            vec![data(text.as_bytes()), broken()],
            vec![data(text.as_bytes()), None, broken()],
            vec![broken()],
        ] {
            let (out, _, end) = whole(compressed(coding, pieces));
            assert_eq!(end, Err("cut".to_owned()), "{coding:?}");
            let (got, is_whole) = decoded(coding, &out);
            // An encoder that has said nothing yet has said nothing wrong.
            assert!(!is_whole || out.is_empty(), "{coding:?} ended after {} bytes", got.len());
        }
    }
}

#[test]
fn an_empty_body_and_trailers_are_passed_on() {
    for coding in ALL {
        let trailers = HeaderMap::from_iter([("x-sum".parse().unwrap(), "1".parse().unwrap())]);
        let frames = vec![data(b"text"), Some(Ok(Frame::trailers(trailers.clone())))];
        let (out, got, end) = whole(compressed(coding, frames));
        assert_eq!((decoded(coding, &out), got, end), ((b"text".to_vec(), true), Some(trailers), Ok(())));
        let (out, _, end) = whole(compressed(coding, Vec::new()));
        assert_eq!((decoded(coding, &out), end), ((Vec::new(), true), Ok(())), "{coding:?}");
        assert!(!out.is_empty());
    }
}

#[test]
fn a_large_piece_takes_several_turns() {
    let mut noise = Vec::new();
    for n in 0..(8 * TURN as u64 / 8) {
        noise.write_all(&n.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes()).unwrap();
    }
    for coding in ALL {
        let mut body = compressed(coding, vec![data(&noise)]);
        let mut turns = 0;
        loop {
            match poll(&mut body) {
                Poll::Pending => turns += 1,
                Poll::Ready(None) => break,
                Poll::Ready(Some(frame)) => drop(frame.unwrap()),
            }
        }
        assert!((7..=9).contains(&turns), "{coding:?}: {turns}");
    }
}
