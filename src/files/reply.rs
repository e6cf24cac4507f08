//! From a file that was found to the answer: which conditions hold, which parts are wanted, what is said of them.

use std::fs::File;
use std::ops::Range;

use bytes::Bytes;
use http::header::{
    ACCEPT_RANGES, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG,
    HeaderMap, HeaderValue, LAST_MODIFIED, RANGE, VARY, X_CONTENT_TYPE_OPTIONS,
};
use http::{Method, Response, StatusCode};

use super::FilesError;
use super::body::{FileBody, Piece, Way};
use super::condition::{Validators, Verdict};
use super::range::{Wanted, wanted};
use crate::http::Coding;

/// How many fields an answer has, at most, with what others add.
const FIELDS: usize = 12;

/// A file, and what is said of it.
#[derive(Debug)]
pub(super) struct Representation {
    pub(super) source: Source,
    pub(super) size: u64,
    pub(super) validators: Validators,
    pub(super) kind: HeaderValue,
    pub(super) coding: Option<Coding>,
    /// Whether another request may get another coding of it.
    pub(super) varies: bool,
    pub(super) cache: HeaderValue,
}

/// Where the bytes of a file are.
#[derive(Debug)]
pub(super) enum Source {
    File(File),
    /// All of them.
    Memory(Bytes),
}

impl Source {
    fn part(self, part: Range<u64>, way: &Way<'_>) -> Result<FileBody, FilesError> {
        match self {
            Self::File(file) => FileBody::part(file, part, way),
            Self::Memory(bytes) => Ok(FileBody::whole(slice(&bytes, &part))),
        }
    }
}

/// A part of bytes that are in memory, and so are no more than a length in memory can say.
fn slice(bytes: &Bytes, part: &Range<u64>) -> Bytes {
    let place = |at: u64| usize::try_from(at).map_or(bytes.len(), |at| at.min(bytes.len()));
    bytes.slice(place(part.start)..place(part.end))
}

impl Representation {
    /// Answers a request. `is_asked_for` is whether the client asked for this file: its conditions and ranges are of
    /// something else where an app put the file in the place of an error.
    pub(super) fn answer(
        self,
        method: &Method,
        request: &HeaderMap,
        is_asked_for: bool,
        way: &Way<'_>,
    ) -> Result<Response<FileBody>, FilesError> {
        let verdict =
            if is_asked_for { self.validators.judge(request) } else { Verdict::Send { range: false } };
        let mut fields = HeaderMap::with_capacity(FIELDS);
        self.describe(&mut fields);
        let range = match verdict {
            Verdict::Failed => return Err(FilesError::Precondition),
            Verdict::NotModified => return Ok(answer(StatusCode::NOT_MODIFIED, fields, FileBody::empty())),
            // Of a HEAD, no part is defined (section 14.2).
            Verdict::Send { range } => request.get(RANGE).filter(|_| range && *method == Method::GET),
        };
        fields.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
        fields.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        if let Some(coding) = self.coding {
            fields.insert(CONTENT_ENCODING, HeaderValue::from_static(coding.name()));
        }
        let size = self.size;
        let parts = match range.and_then(|range| range.to_str().ok()).map(|range| wanted(range, size)) {
            Some(Wanted::Nothing) => return Err(FilesError::Range { size }),
            Some(Wanted::Parts(parts)) => parts,
            Some(Wanted::Whole) | None => {
                fields.insert(CONTENT_TYPE, self.kind);
                if *method == Method::HEAD {
                    fields.insert(CONTENT_LENGTH, HeaderValue::from(size));
                    return Ok(answer(StatusCode::OK, fields, FileBody::empty()));
                }
                return Ok(answer(StatusCode::OK, fields, self.source.part(0..size, way)?));
            }
        };
        let body = if let [part] = parts.as_slice() {
            fields.insert(CONTENT_RANGE, header(&content_range(part, size)));
            fields.insert(CONTENT_TYPE, self.kind);
            self.source.part(part.clone(), way)?
        } else {
            let boundary = format!("{:016x}", fastrand::u64(..));
            fields.insert(CONTENT_TYPE, header(&format!("multipart/byteranges; boundary={boundary}")));
            let kind = String::from_utf8_lossy(self.kind.as_bytes()).into_owned();
            let begin = |part: Range<u64>| {
                let range = content_range(&part, size);
                let head =
                    format!("\r\n--{boundary}\r\nContent-Type: {kind}\r\nContent-Range: {range}\r\n\r\n");
                [Piece::Text(head.into()), Piece::Part(part)]
            };
            let end = Piece::Text(Bytes::from(format!("\r\n--{boundary}--\r\n")));
            let pieces = parts.into_iter().flat_map(begin).chain([end]);
            match self.source {
                Source::File(file) => FileBody::pieces(file, pieces.collect(), way)?,
                Source::Memory(bytes) => {
                    let text = |piece| match piece {
                        Piece::Text(text) => text,
                        Piece::Part(part) => slice(&bytes, &part),
                    };
                    FileBody::whole(pieces.flat_map(text).collect())
                }
            }
        };
        Ok(answer(StatusCode::PARTIAL_CONTENT, fields, body))
    }

    /// What is said also to who has the file already (RFC 9110, section 15.4.5).
    fn describe(&self, fields: &mut HeaderMap) {
        fields.insert(ETAG, self.validators.tag.clone());
        if let Some(date) = &self.validators.date {
            fields.insert(LAST_MODIFIED, date.clone());
        }
        fields.insert(CACHE_CONTROL, self.cache.clone());
        if self.varies {
            fields.insert(VARY, HeaderValue::from_static("Accept-Encoding"));
        }
    }
}

fn answer(status: StatusCode, fields: HeaderMap, body: FileBody) -> Response<FileBody> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    *response.headers_mut() = fields;
    response
}

/// A field of text that we made.
fn header(text: &str) -> HeaderValue {
    // Digits, letters and punctuation are always a valid value.
    HeaderValue::from_str(text).unwrap_or(HeaderValue::from_static(""))
}

fn content_range(part: &Range<u64>, size: u64) -> String {
    format!("bytes {}-{}/{size}", part.start, part.end - 1)
}
