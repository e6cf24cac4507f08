//! Tests of the HTTP/2 client against frames as servers send them.

use super::*;

#[derive(Debug, Clone, Default, PartialEq)]
struct Seen {
    heads: Vec<(u32, u16)>,
    bodies: Vec<(u32, u8)>,
    ends: Vec<u32>,
    broken: Vec<u32>,
}

fn seen(text: &[u8], size: usize) -> (Seen, Vec<u8>) {
    let (mut http2, mut out, mut seen) = (Http2::default(), Vec::new(), Seen::default());
    for piece in text.chunks(size) {
        http2
            .feed(piece, &mut out, |request, signal| match signal {
                Signal::Status(status) => seen.heads.push((request, status)),
                Signal::Data(data) => seen.bodies.extend(data.iter().map(|byte| (request, *byte))),
                Signal::End => seen.ends.push(request),
                Signal::Broken => seen.broken.push(request),
            })
            .unwrap();
    }
    (seen, out)
}

#[test]
fn answers_are_the_same_wherever_they_are_cut() {
    let mut text = Vec::new();
    frame(&mut text, SETTINGS, 0, 0, &[0, 3, 0, 0, 0, 128]);
    frame(&mut text, HEADERS, END_HEADERS, 1, &[0x88, 0x5f, 1, b'x']);
    frame(&mut text, HEADERS, END_HEADERS, 3, &[0x3f, 0xe1, 0x1f, 0x48, 3, b'4', b'0', b'3']);
    frame(&mut text, DATA, 0, 1, b"ab");
    frame(&mut text, DATA, PADDED | END_STREAM, 3, b"\x02cd\0\0");
    frame(&mut text, PING, 0, 0, b"12345678");
    frame(&mut text, RST_STREAM, 0, 5, &[0, 0, 0, 8]);
    frame(&mut text, DATA, END_STREAM, 1, b"");
    let expected = Seen {
        heads: vec![(0, 200), (1, 999)],
        bodies: vec![(0, b'a'), (0, b'b'), (1, b'c'), (1, b'd')],
        ends: vec![1, 0],
        broken: vec![2],
    };
    let mut answers = Vec::new();
    frame(&mut answers, SETTINGS, ACK, 0, &[]);
    frame(&mut answers, PING, ACK, 0, b"12345678");
    for size in 1..=text.len() {
        assert_eq!(seen(&text, size), (expected.clone(), answers.clone()), "in pieces of {size}");
    }
}

#[test]
fn a_first_request_opens_the_connection() {
    let path = vec![b'p'; 300];
    let request = Request { method: "GET", host: "h", path: &path, headers: &[], body: b"" };
    let (mut http2, mut out) = (Http2::default(), Vec::new());
    assert_eq!(http2.request(&request, &mut out), 0);
    assert!(out.starts_with(PREFACE));
    let mut fields = vec![0x82, 0x87, 0x04, 127, 0xad, 0x01];
    fields.extend_from_slice(&path);
    fields.extend_from_slice(&[0x01, 1, b'h']);
    let mut head = Vec::new();
    frame(&mut head, HEADERS, END_STREAM | END_HEADERS, 1, &fields);
    assert!(out.ends_with(&head));
    out.clear();
    assert_eq!(http2.request(&request, &mut out), 1);
    assert_eq!(out[5..9], [0, 0, 0, 3]);
}

#[test]
fn a_server_that_goes_away_is_an_error() {
    let mut text = Vec::new();
    frame(&mut text, GOAWAY, 0, 0, &[0; 8]);
    assert!(Http2::default().feed(&text, &mut Vec::new(), |_, _| ()).is_err());
    assert!(Http2::default().feed(b"HTTP/1.1 400 Bad Request\r\n\r\n", &mut Vec::new(), |_, _| ()).is_err());
}
