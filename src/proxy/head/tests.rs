use proptest::prelude::*;

use super::*;

fn take(text: &str) -> Result<Option<Head>, AnswerFault> {
    take_answer(&mut BytesMut::from(text), &mut Seen::default(), &mut HeaderMap::new(), false)
}

fn head(text: &str) -> Head {
    take(text)
        .unwrap_or_else(|fault| panic!("{fault}: {text:?}"))
        .unwrap_or_else(|| panic!("partial: {text:?}"))
}

/// How the answer with those fields ends, in short.
fn ends(fields: &str) -> String {
    let head = head(&format!("HTTP/1.1 200 OK\r\n{fields}\r\n"));
    let keeps = if head.keeps { "keeps" } else { "closes" };
    format!("{:?}, {keeps}", head.framing)
}

#[test]
fn a_request_is_written_as_it_is() {
    for (target, written) in [("/a?b", "/a?b"), ("?b", "/?b"), ("*", "*"), ("/", "/")] {
        let mut out = Vec::new();
        write_request_line(&mut out, &Method::PUT, &target.parse().unwrap(), "");
        write_field(&mut out, &HeaderName::from_static("b"), b"\xff 2");
        let expected = [format!("PUT {written} HTTP/1.1\r\nb: ").as_bytes(), b"\xff 2\r\n"].concat();
        assert_eq!(out, expected, "{target}");
    }
}

#[test]
fn what_is_behind_the_head_stays() {
    let mut read = BytesMut::from("HTTP/1.1 404 Not Here\r\nA: b\r\nContent-Length: 2\r\n\r\nok");
    let head = take_answer(&mut read, &mut Seen::default(), &mut HeaderMap::new(), false).unwrap().unwrap();
    assert_eq!((head.status.as_u16(), &head.fields["a"]), (404, &HeaderValue::from_static("b")));
    let reason = head.extensions.get::<ReasonPhrase>().unwrap();
    assert_eq!((reason.as_bytes(), &read[..]), (&b"Not Here"[..], &b"ok"[..]));
    assert!(self::head("HTTP/1.1 404 Not Found\r\n\r\n").extensions.is_empty());
}

#[test]
fn a_reason_may_be_missing_or_unreadable() {
    for line in ["HTTP/1.1 200", "HTTP/1.0 200", "HTTP/1.1 200 ", "HTTP/1.1 200 \u{e4}"] {
        for end in ["\r\n", "\n"] {
            let head = head(&format!("{line}{end}Content-Length: 0{end}{end}"));
            assert_eq!(head.status, StatusCode::OK, "{line:?}");
        }
    }
}

#[test]
fn the_end_of_the_body_is_where_all_readers_see_it() {
    for (fields, expected) in [
        ("Content-Length: 5\r\n", "Framing(Length(5)), keeps"),
        ("Content-Length: 05\r\n", "Framing(Length(5)), keeps"),
        ("Content-Length: 5\r\nContent-Length: 5\r\n", "Framing(Length(5)), keeps"),
        ("Content-Length: 5, 5\r\n", "Framing(Length(5)), keeps"),
        ("Content-Length: 18446744073709551615\r\n", "Framing(Length(18446744073709551615)), keeps"),
        ("Content-Length: 5\r\nConnection: x, Close\r\n", "Framing(Length(5)), closes"),
        (
            "Connection: keep-alive\r\nConnection: close\r\nContent-Length: 5\r\n",
            "Framing(Length(5)), closes",
        ),
        ("Transfer-Encoding: Chunked\r\n", "Framing(Chunked(Size)), keeps"),
        // Somebody between may have taken the length.
        ("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", "Framing(Chunked(Size)), closes"),
        ("Transfer-Encoding: identity\r\n", "Framing(Close), closes"),
        ("", "Framing(Close), closes"),
    ] {
        assert_eq!(ends(fields), expected, "{fields:?}");
    }
    let fields = head("HTTP/1.1 200 OK\r\nContent-Length: 5,5\r\nContent-Length: 5\r\n\r\n").fields;
    assert_eq!(fields.get_all(CONTENT_LENGTH).iter().collect::<Vec<_>>(), ["5"]);
}

#[test]
fn what_readers_could_differ_about_is_refused() {
    for fields in [
        "Content-Length: 5\r\nContent-Length: 6\r\n",
        "Content-Length: 5, 6\r\n",
        "Content-Length: +5\r\n",
        "Content-Length: -5\r\n",
        "Content-Length: 0x5\r\n",
        "Content-Length: 5 5\r\n",
        "Content-Length: 5,\r\n",
        "Content-Length:\r\n",
        "Content-Length: 18446744073709551616\r\n",
        "Transfer-Encoding: identity\r\nContent-Length: 5\r\n",
        "Transfer-Encoding:\r\nContent-Length: 5\r\n",
        "Transfer-Encoding: gzip\r\n",
        "Transfer-Encoding: xchunked\r\n",
        "Transfer-Encoding: \"chunked\"\r\n",
        "Transfer-Encoding: chunked;q=1\r\n",
        "Transfer-Encoding: gzip, chunked\r\n",
        "Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked, chunked\r\n",
        "Transfer-Encoding: chunked, identity\r\n",
        " Folded: yes\r\n",
        "A: b\r\n folded\r\n",
        "A : b\r\n",
        "A\r\n",
        "A: b\rC: d\r\n",
        "A: b\0\r\n",
        ": b\r\n",
    ] {
        assert!(take(&format!("HTTP/1.1 200 OK\r\n{fields}\r\n")).is_err(), "{fields:?}");
    }
    for line in ["HTTP/2.0 200 OK", "HTTP/1.1 099 OK", "HTTP/1.1 20 OK", "HTTP/1.1  200 OK", "ICY 200 OK"] {
        assert!(take(&format!("{line}\r\n\r\n")).is_err(), "{line:?}");
    }
    assert!(matches!(
        take("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"),
        Err(AnswerFault::Coding)
    ));
}

#[test]
fn some_answers_have_no_body_whatever_they_say() {
    let fields = "Content-Length: 99\r\n\r\n";
    for status in ["204", "304", "103", "101"] {
        assert!(head(&format!("HTTP/1.1 {status} X\r\n{fields}")).framing.is_end(), "{status}");
    }
    let mut read = BytesMut::from("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
    let head = take_answer(&mut read, &mut Seen::default(), &mut HeaderMap::new(), true).unwrap().unwrap();
    assert!(head.framing.is_end() && head.keeps);
}

#[test]
fn http_1_0_keeps_its_connection_only_if_it_says_so() {
    for (fields, keeps) in
        [("", false), ("Connection: Keep-Alive\r\n", true), ("Connection: keep-alive, close\r\n", false)]
    {
        let head = head(&format!("HTTP/1.0 200 OK\r\nContent-Length: 0\r\n{fields}\r\n"));
        assert_eq!(head.keeps, keeps, "{fields:?}");
    }
}

#[test]
fn a_head_has_its_bounds() {
    let fields = |count: usize| -> String { (0..count).map(|n| format!("x-{n}: y\r\n")).collect() };
    assert_eq!(head(&format!("HTTP/1.1 200 OK\r\n{}\r\n", fields(MAX_FIELDS))).fields.len(), MAX_FIELDS);
    assert!(take(&format!("HTTP/1.1 200 OK\r\n{}\r\n", fields(MAX_FIELDS + 1))).is_err());
    // Refused before its end is there, and when it comes all at once.
    for end in ["", "\r\n\r\n"] {
        let long = format!("HTTP/1.1 200 OK\r\nA: {}{end}", "b".repeat(MAX_HEAD));
        assert!(matches!(take(&long), Err(AnswerFault::HeadTooLarge)), "{end:?}");
    }
}

#[test]
fn a_head_that_comes_byte_by_byte_is_parsed_a_few_times_only() {
    for end in ["\r\n", "\n"] {
        let text = format!("HTTP/1.1 200 OK{end}A: {}{end}B: c{end}{end}", "b".repeat(MAX_HEAD / 2));
        let (mut seen, mut parsed) = (Seen::default(), Vec::new());
        for length in 1..=text.len() {
            if seen.is_due(&text.as_bytes()[..length]) {
                parsed.push(length);
            }
        }
        assert!(parsed.len() < 24 && parsed.ends_with(&[text.len()]), "{parsed:?}");
    }
    // What can never be whole is not waited for.
    let mut seen = Seen { searched: MAX_HEAD - 1, parsed: MAX_HEAD - 1 };
    assert!(seen.is_due(&vec![b'x'; MAX_HEAD]));
}

#[test]
fn lines_without_anything_before_a_head_are_nothing() {
    let (mut read, mut seen) = (BytesMut::new(), Seen::default());
    for byte in "\r\n\n\r\n".bytes() {
        read.extend_from_slice(&[byte]);
        assert!(take_answer(&mut read, &mut seen, &mut HeaderMap::new(), false).unwrap().is_none());
    }
    assert!(read.is_empty());
    read.extend_from_slice(b"HTTP/1.1 200 OK\r\n\r\n");
    assert!(take_answer(&mut read, &mut seen, &mut HeaderMap::new(), false).unwrap().is_some());
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_head_that_comes_in_pieces_is_the_same(cut in 0..90usize) {
        let text = "HTTP/1.1 201 Made\r\nContent-Length: 7\r\nSet-Cookie: a=b\r\nSet-Cookie: c=d\r\nVia: x\r\n\r\n";
        let cut = cut.min(text.len() - 1);
        let (mut read, mut seen, mut fields) = (BytesMut::from(&text[..cut]), Seen::default(), HeaderMap::new());
        prop_assert!(take_answer(&mut read, &mut seen, &mut fields, false).unwrap().is_none());
        prop_assert_eq!(&read[..], &text.as_bytes()[..cut]);
        read.extend_from_slice(&text.as_bytes()[cut..]);
        let taken = take_answer(&mut read, &mut seen, &mut fields, false).unwrap().unwrap();
        prop_assert_eq!(taken.fields, head(text).fields);
        prop_assert!(read.is_empty());
    }

    #[test]
    fn no_bytes_whatever_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), from in 0..40usize) {
        let mut text = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n".to_vec();
        text.truncate(from);
        text.extend(bytes);
        let _ = take_answer(&mut BytesMut::from(&text[..]), &mut Seen::default(), &mut HeaderMap::new(), false);
    }
}
