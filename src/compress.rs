//! Compression of an app's answers on their way to the client: which, with what, and the bodies that do it.
//!
//! Invariants: what is compressed is named so in every field that depends on it, and is never an event stream, a
//! range, an answer that forbids it or one that is coded already. Beside credentials nothing is compressed unless the
//! route asks for it: whoever can have a browser repeat a request and sees how long the answers are could guess what
//! is in them (BREACH). Memory is bounded by [`MOST`] answers of 1.1 MiB at most, on each worker; an answer
//! that finds no room goes out as it is.

mod body;
mod coder;
mod fields;

use std::cell::Cell;
use std::rc::Rc;

use http::header::{AUTHORIZATION, COOKIE, HeaderMap, HeaderValue, IF_NONE_MATCH};
use http::request::Parts;
use http::{Method, StatusCode};
use http_body::Body;

use crate::config::{Compress, Compression};
use crate::http::{Coding, Codings};

pub use body::{CompressError, Compressed};

/// The most answers that are compressed at the same time, on each worker.
pub const MOST: usize = 64;

/// The compression of one route.
#[derive(Debug)]
pub struct Compressor {
    codings: Vec<Coding>,
    rules: Compress,
    room: Room,
}

/// How much is compressed at present, on one worker.
#[derive(Debug, Clone, Default)]
pub struct Room(Rc<Cell<usize>>);

/// What a request says of the compression of its answer.
#[derive(Debug, Clone, Copy)]
pub struct Asked {
    coding: Option<Coding>,
    /// Whether the answer has no body, whatever it says of it.
    pub is_head: bool,
    forbids: bool,
    has_credentials: bool,
    /// Whether the client asks for an answer by a weak name, which is what a compressed one was given.
    knows_weak: bool,
}

/// That an answer is going to be compressed. Its place is free again when its body has ended.
#[derive(Debug)]
pub struct Start {
    coding: Coding,
    place: Place,
}

impl Compressor {
    /// The compression that a route's rules speak of, within the room of its worker.
    pub fn new(rules: &Compress, room: Room) -> Self {
        let codings = rules.codings.iter().map(|coding| match coding {
            Compression::Brotli => Coding::Brotli,
            Compression::Zstd => Coding::Zstd,
            Compression::Gzip => Coding::Gzip,
        });
        Self { codings: codings.collect(), rules: rules.clone(), room }
    }

    /// Reads a request.
    pub fn asked(&self, parts: &Parts) -> Asked {
        let fields = &parts.headers;
        let knows_weak = |value: &HeaderValue| value.as_bytes().windows(2).any(|pair| pair == b"W/");
        Asked {
            knows_weak: fields.get_all(IF_NONE_MATCH).iter().any(knows_weak),
            coding: Codings::accepted(fields).choose(&self.codings),
            is_head: parts.method == Method::HEAD,
            forbids: fields::forbids(fields),
            has_credentials: fields.contains_key(COOKIE) || fields.contains_key(AUTHORIZATION),
        }
    }

    /// Makes of an answer's fields those of the compressed one, if it is going to be compressed. `length` is that of its
    /// body in bytes, if it is known. The answer to a HEAD says what that to a GET would say.
    pub fn start(
        &self,
        asked: Asked,
        status: StatusCode,
        fields: &mut HeaderMap,
        length: Option<u64>,
    ) -> Option<Start> {
        // It does not say of what type it is. Of what was not compressed, it stays as it is.
        let not_modified = status == StatusCode::NOT_MODIFIED && asked.knows_weak;
        let is_text = || fields::is_one_of(fields, &self.rules.types);
        let is_whole =
            not_modified || fields::has_whole_body(status) && fields::may_change(fields) && is_text();
        if !is_whole || length.is_some_and(|length| length < self.rules.min) && !not_modified {
            return None;
        }
        // Also of one that stays as it is: another request would have got another one.
        fields::vary(fields);
        if asked.forbids || fields::forbids(fields) {
            return None;
        }
        if !self.rules.cookies && (asked.has_credentials || fields.contains_key(http::header::SET_COOKIE)) {
            return None;
        }
        let coding = asked.coding?;
        if not_modified {
            // It speaks of the answer that the client has, and calls it by the name that it had then.
            fields::weaken(fields);
            return None;
        }
        let place = self.room.enter()?;
        fields::code(fields, coding);
        (!asked.is_head).then_some(Start { coding, place })
    }
}

impl Start {
    /// The compressed body.
    pub fn of<B: Body>(self, body: B) -> Compressed<B> {
        Compressed::new(body, self.coding, self.place)
    }
}

impl Room {
    fn enter(&self) -> Option<Place> {
        let count = self.0.get();
        (count < MOST).then(|| {
            self.0.set(count + 1);
            Place(self.clone())
        })
    }
}

/// A part of the room, free again when it is dropped.
#[derive(Debug)]
struct Place(Room);

impl Drop for Place {
    fn drop(&mut self) {
        let count = &self.0.0;
        count.set(count.get().saturating_sub(1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::Request;

    fn map(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        lines.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
    }

    const HTML: (&str, &str) = ("content-type", "text/html; charset=utf-8");

    /// What becomes of the fields of an answer to a GET: its coding, and whether it says that it varies.
    fn coded(
        rules: &Compress,
        request: &[(&'static str, &'static str)],
        status: u16,
        answer: &[(&'static str, &'static str)],
        length: Option<u64>,
    ) -> (Option<String>, bool) {
        let mut parts = Request::get("/").body(()).unwrap().into_parts().0;
        parts.headers = map(request);
        let compressor = Compressor::new(rules, Room::default());
        let mut fields = map(answer);
        let status = StatusCode::from_u16(status).unwrap();
        let start = compressor.start(compressor.asked(&parts), status, &mut fields, length);
        let coding = start.map(|_| fields["content-encoding"].to_str().unwrap().to_owned());
        (coding, fields.contains_key("vary"))
    }

    #[test]
    fn what_may_be_compressed_is() {
        let accept = ("accept-encoding", "gzip, br, zstd");
        let rules = Compress::default();
        for (answer, length) in [
            (&[HTML][..], Some(1024)),
            (&[HTML], None),
            (&[("content-type", "Application/JSON")], None),
            (&[("content-type", "image/svg+xml")], None),
            (&[HTML, ("cache-control", "max-age=5, private")], None),
        ] {
            let coded = coded(&rules, &[accept], 200, answer, length);
            assert_eq!(coded, (Some("zstd".to_owned()), true), "{answer:?}");
        }
        assert_eq!(coded(&rules, &[accept], 404, &[HTML], None).0.unwrap(), "zstd");
        assert_eq!(coded(&rules, &[("accept-encoding", "br, gzip")], 200, &[HTML], None).0.unwrap(), "br");
    }

    #[test]
    fn what_may_not_be_compressed_is_not() {
        let accept = ("accept-encoding", "gzip, br, zstd");
        let rules = Compress::default();
        for (status, answer, length) in [
            (200, &[HTML][..], Some(1023)),
            (206, &[HTML], None),
            (204, &[HTML], None),
            (205, &[HTML], None),
            (200, &[HTML, ("content-encoding", "gzip")], None),
            (200, &[HTML, ("content-encoding", "identity")], None),
            (200, &[HTML, ("content-range", "bytes 0-1/2")], None),
            (200, &[HTML, ("trailer", "x-sum")], None),
            (200, &[HTML, ("content-digest", "sha-256=:AA==:")], None),
            (200, &[("content-type", "text/event-stream")], None),
            (200, &[("content-type", "text/event-stream; charset=utf-8")], None),
            (200, &[("content-type", "image/png")], None),
            (200, &[("content-type", "")], None),
            (200, &[], None),
        ] {
            assert_eq!(
                coded(&rules, &[accept], status, answer, length),
                (None, false),
                "{status} {answer:?}"
            );
        }
        // These could have been, for another request.
        for (request, answer) in [
            (&[][..], &[HTML][..]),
            (&[("accept-encoding", "deflate")], &[HTML]),
            (&[("accept-encoding", "zstd;q=0")], &[HTML]),
            (&[accept, ("cookie", "a=b")], &[HTML]),
            (&[accept, ("authorization", "x")], &[HTML]),
            (&[accept, ("cache-control", "no-transform")], &[HTML]),
            (&[accept], &[HTML, ("set-cookie", "a=b")]),
            (&[accept], &[HTML, ("cache-control", "public, No-Transform")]),
        ] {
            assert_eq!(coded(&rules, request, 200, answer, None), (None, true), "{request:?} {answer:?}");
        }
        let asked_for = Compress { cookies: true, ..rules };
        for request in [("cookie", "a=b"), ("authorization", "x")] {
            assert!(coded(&asked_for, &[accept, request], 200, &[HTML], None).0.is_some());
        }
    }

    #[test]
    fn there_is_room_for_so_many() {
        let (compressor, asked) = (
            Compressor::new(&Compress::default(), Room::default()),
            Asked {
                coding: Some(Coding::Gzip),
                is_head: false,
                forbids: false,
                has_credentials: false,
                knows_weak: false,
            },
        );
        let start = || compressor.start(asked, StatusCode::OK, &mut map(&[HTML]), None);
        let mut held: Vec<_> = (0..MOST).map(|_| start().unwrap()).collect();
        let mut fields = map(&[HTML, ("etag", "\"x\"")]);
        assert!(compressor.start(asked, StatusCode::OK, &mut fields, None).is_none());
        assert_eq!(
            (&fields["vary"], &fields["etag"]),
            (&"accept-encoding".parse().unwrap(), &"\"x\"".parse().unwrap())
        );
        held.pop();
        assert!(start().is_some());
    }
}
