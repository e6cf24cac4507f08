use proptest::prelude::*;

use super::*;

/// What comes of a body that comes in pieces: its data, its trailers, and what is left behind its end; or how it is
/// broken.
fn read(mut framing: Framing, pieces: &[&[u8]]) -> Result<(Vec<u8>, HeaderMap, Vec<u8>), String> {
    let (mut buffer, mut data) = (BytesMut::new(), Vec::new());
    for piece in pieces {
        buffer.extend_from_slice(piece);
        loop {
            match framing.take(&mut buffer).map_err(|fault| fault.to_string())? {
                Piece::Data(bytes) => {
                    assert!(!bytes.is_empty(), "an empty piece would look like an end");
                    data.extend_from_slice(&bytes);
                }
                Piece::Missing => break,
                Piece::Trailers(trailers) => return Ok((data, trailers, rest(buffer, pieces, piece))),
                Piece::End => return Ok((data, HeaderMap::new(), rest(buffer, pieces, piece))),
            }
        }
    }
    Err("truncated".to_owned())
}

fn rest(buffer: BytesMut, pieces: &[&[u8]], last: &[u8]) -> Vec<u8> {
    let place = pieces.iter().position(|piece| std::ptr::eq(*piece, last)).unwrap();
    [&buffer[..], &pieces[place + 1..].concat()].concat()
}

fn chunked(text: &str) -> Result<(String, HeaderMap, String), String> {
    let (data, trailers, rest) = read(Framing::chunked(), &[text.as_bytes()])?;
    Ok((String::from_utf8(data).unwrap(), trailers, String::from_utf8(rest).unwrap()))
}

#[test]
fn a_body_is_as_long_as_it_says() {
    let (data, _, rest) = read(Framing::length(5), &[b"hel", b"lo, and more"]).unwrap();
    assert_eq!((&data[..], &rest[..]), (&b"hello"[..], &b", and more"[..]));
    assert_eq!(read(Framing::length(5), &[b"hell"]), Err("truncated".to_owned()));
    assert!(Framing::none().is_end());
    assert!(!Framing::close().is_end());
}

#[test]
fn it_is_taken_whole_only_when_it_is() {
    let (mut framing, mut buffer) = (Framing::length(5), BytesMut::from("hell"));
    assert_eq!(framing.take_whole(&mut buffer), None);
    buffer.extend_from_slice(b"o!");
    assert_eq!(framing.take_whole(&mut buffer).unwrap(), "hello");
    assert!(framing.is_end());
    assert_eq!(&buffer[..], b"!");
    assert_eq!(Framing::chunked().take_whole(&mut BytesMut::from("0\r\n\r\n")), None);
}

#[test]
fn chunks_make_a_body() {
    for text in [
        "5\r\nhello\r\n0\r\n\r\nnext",
        "2\r\nhe\r\n00003\r\nllo\r\n000\r\n\r\nnext",
        "5;a=b;c=\"d\"\r\nhello\r\n0;e\r\n\r\nnext",
        "5 \t;a\r\nhello\r\n0 \r\n\r\nnext",
    ] {
        assert_eq!(chunked(text), Ok(("hello".to_owned(), HeaderMap::new(), "next".to_owned())), "{text:?}");
    }
    let (data, ..) = chunked(&format!("aB\r\n{}\r\n0\r\n\r\n", "x".repeat(0xab))).unwrap();
    assert_eq!(data.len(), 0xab);
}

#[test]
fn trailers_are_fields() {
    let (_, trailers, rest) = chunked("0\r\nA: b\r\nC:d\r\n\r\nnext").unwrap();
    assert_eq!(
        (&trailers["a"], &trailers["c"], &rest[..]),
        (&"b".parse().unwrap(), &"d".parse().unwrap(), "next")
    );
    for text in ["0\r\nA\r\n\r\n", "0\r\nA : b\r\n\r\n", "0\r\n A: b\r\n\r\n", "0\r\nA: b\0\r\n\r\n"] {
        assert!(chunked(text).is_err_and(|fault| fault != "truncated"), "{text:?}");
    }
}

#[test]
fn what_is_no_chunk_is_refused_and_not_waited_for() {
    for text in [
        "\r\n",
        "x\r\n",
        "-5\r\nhello\r\n",
        "+5\r\nhello\r\n",
        "0x5\r\nhello\r\n",
        "5\nhello\r\n",
        " 5\r\nhello\r\n",
        "5 5\r\nhello\r\n",
        "5\r\r\nhello\r\n",
        "5;a\rb\r\nhello\r\n",
        "5\r\nhello0\r\n\r\n",
        "5\r\nhello\n0\r\n\r\n",
        "5\r\nhelloX",
        "10000000000000000\r\n",
        "ffffffffffffffffff\r\n",
    ] {
        assert!(chunked(text).is_err_and(|fault| fault != "truncated"), "{text:?}");
    }
}

#[test]
fn lines_and_trailers_have_their_bounds() {
    let extension = "a".repeat(MAX_CHUNK_LINE);
    assert!(chunked(&format!("5;{extension}")).is_err_and(|fault| fault != "truncated"));
    assert!(chunked(&format!("5;{extension}\r\nhello\r\n0\r\n\r\n")).is_err());
    let value = "b".repeat(MAX_TRAILERS);
    assert!(chunked(&format!("0\r\nA: {value}")).is_err_and(|fault| fault != "truncated"));
    assert!(chunked(&format!("0\r\nA: {value}\r\n\r\n")).is_err());
    let many: String = (0..=MAX_FIELDS).map(|n| format!("x-{n}: y\r\n")).collect();
    assert!(chunked(&format!("0\r\n{many}\r\n")).is_err());
}

const BODY: &[u8] = b"5;a=b\r\nhello\r\nf\r\n0\r\n\r\nHTTP/1.1 2\r\n1\r\n!\r\n0\r\nA: b\r\nC: d\r\n\r\nnext";

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn where_it_is_cut_does_not_matter(mut cuts in prop::collection::vec(0..BODY.len(), 0..6)) {
        cuts.extend([0, BODY.len()]);
        cuts.sort_unstable();
        let pieces: Vec<_> = cuts.windows(2).map(|cut| &BODY[cut[0]..cut[1]]).filter(|piece| !piece.is_empty()).collect();
        prop_assert_eq!(read(Framing::chunked(), &pieces), read(Framing::chunked(), &[BODY]));
        prop_assert!(read(Framing::chunked(), &pieces).is_ok());
    }

    #[test]
    fn a_part_of_it_is_never_whole(length in 0..BODY.len() - 4) {
        prop_assert_eq!(read(Framing::chunked(), &[&BODY[..length]]), Err("truncated".to_owned()));
    }

    #[test]
    fn no_bytes_whatever_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..64), from in 0..BODY.len()) {
        let _ = read(Framing::chunked(), &[&BODY[..from], &bytes]);
    }
}
