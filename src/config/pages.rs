//! `error_pages`: a folder with pages of one's own for what we answer ourselves, read at the start.
//!
//! Invariant: what stands for a placeholder is a number or a request's name, which mean nothing in HTML or JSON.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use super::problem::Fault;
use super::reader::Value;

/// The largest page, in bytes: one is sent whole for every error.
const MAX_PAGE: u64 = 256 * 1024;

/// The statuses that have pages.
const STATUSES: std::ops::RangeInclusive<u16> = 400..=599;

/// Pages of one's own, by status.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ErrorPages {
    /// For people, by their status; 4 and 5 are those for all that have none of their own.
    pub html: BTreeMap<u16, Page>,
    /// For programs, likewise.
    pub json: BTreeMap<u16, Page>,
}

/// A page, in pieces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page(pub Vec<PagePiece>);

/// A piece of a page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PagePiece {
    /// Text as it is.
    Text(String),
    /// `{status}`: the number of the status.
    Status,
    /// `{request_id}`: what the request is called in the log.
    RequestId,
}

const PLACEHOLDERS: [(&str, PagePiece); 2] =
    [("{status}", PagePiece::Status), ("{request_id}", PagePiece::RequestId)];

impl ErrorPages {
    /// Reads the folder.
    pub(super) fn read(value: &Value<'_>, base: &Path) -> Option<Self> {
        value.parse(|text| match text {
            "" => Err(Fault::new("is empty").hint("write the folder of the pages")),
            text => Self::of(&base.join(text)),
        })
    }

    fn of(folder: &Path) -> Result<Self, Fault> {
        let unreadable = |error: std::io::Error| Fault::new(format!("cannot be read: {error}"));
        let mut pages = Self::default();
        for entry in fs::read_dir(folder).map_err(unreadable)? {
            let name = entry.map_err(unreadable)?.file_name();
            // Other files may lie beside them: sources, and what an editor leaves.
            let Some((status, kind)) = name.to_str().and_then(|name| name.split_once('.')) else { continue };
            let pages = match kind {
                "html" => &mut pages.html,
                "json" => &mut pages.json,
                _ => continue,
            };
            let Some(status) = key(status) else { continue };
            let shown = Path::new(&name).display();
            let text =
                page(&folder.join(&name)).map_err(|why| Fault::new(format!("holds {shown}, which {why}")))?;
            pages.insert(status, Page::parse(&text));
        }
        if pages == Self::default() {
            let fault = Fault::new("holds no page");
            return Err(fault.hint("pages are called like \"502.html\", \"5xx.html\" or \"429.json\""));
        }
        Ok(pages)
    }

    /// The page for a status.
    pub fn of_status(&self, status: u16, json: bool) -> Option<&Page> {
        let pages = if json { &self.json } else { &self.html };
        pages.get(&status).or_else(|| pages.get(&(status / 100)))
    }
}

/// `502` as it is, and `5xx` as 5.
fn key(status: &str) -> Option<u16> {
    match status {
        "4xx" => Some(4),
        "5xx" => Some(5),
        digits => digits.parse().ok().filter(|status| STATUSES.contains(status)),
    }
}

fn page(path: &Path) -> Result<String, String> {
    let size = fs::metadata(path).map_err(|error| format!("cannot be read: {error}"))?.len();
    if size > MAX_PAGE {
        return Err("is larger than 256KiB".to_owned());
    }
    fs::read_to_string(path).map_err(|error| format!("cannot be read: {error}"))
}

impl Page {
    fn parse(text: &str) -> Self {
        let mut pieces = Vec::new();
        let mut rest = text;
        let next = |rest: &str| {
            let found =
                PLACEHOLDERS.iter().filter_map(|(name, piece)| Some((rest.find(name)?, *name, piece)));
            found.min_by_key(|(at, ..)| *at).map(|(at, name, piece)| (at, name.len(), piece.clone()))
        };
        while let Some((at, length, piece)) = next(rest) {
            if at > 0 {
                pieces.push(PagePiece::Text(rest[..at].to_owned()));
            }
            pieces.push(piece);
            rest = &rest[at + length..];
        }
        pieces.push(PagePiece::Text(rest.to_owned()));
        Self(pieces)
    }

    /// The page for a request.
    pub fn fill(&self, status: u16, request_id: &str) -> String {
        let mut text = String::new();
        for piece in &self.0 {
            match piece {
                PagePiece::Text(piece) => text.push_str(piece),
                PagePiece::Status => text.push_str(&status.to_string()),
                PagePiece::RequestId => text.push_str(request_id),
            }
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_are_filled_and_other_braces_stay() {
        for (text, filled) in [
            ("", ""),
            ("p{margin:0}", "p{margin:0}"),
            ("{status}", "502"),
            ("<{status}> {{request_id}} {status}", "<502> {abc} 502"),
            ("{Status} {status", "{Status} {status"),
        ] {
            assert_eq!(Page::parse(text).fill(502, "abc"), filled, "{text}");
        }
    }

    #[test]
    fn a_page_of_its_own_comes_before_that_of_all() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["502.html", "5xx.html", "429.json", "600.html", "style.css", "5xx.html.bak"] {
            fs::write(folder.path().join(name), name).unwrap();
        }
        let pages = ErrorPages::of(folder.path()).unwrap();
        let found = |status, json| pages.of_status(status, json).map(|page| page.fill(status, ""));
        assert_eq!(found(502, false).as_deref(), Some("502.html"));
        assert_eq!(found(503, false).as_deref(), Some("5xx.html"));
        assert_eq!((found(404, false), found(502, true)), (None, None));
        assert_eq!(found(429, true).as_deref(), Some("429.json"));
        assert_eq!(pages.html.len() + pages.json.len(), 3);
    }
}
