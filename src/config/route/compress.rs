//! `compress`: which answers of an app are compressed on their way, and how.

use std::ops::RangeInclusive;

use toml::de::DeValue;

use crate::config::problem::{Fault, quote};
use crate::config::reader::Value;
use crate::config::schema;

/// A content coding that answers are compressed with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// Brotli.
    Brotli,
    /// Zstandard.
    Zstd,
    /// gzip.
    Gzip,
}

/// As the file writes them, the one that is liked best first: Zstandard takes a third of Brotli's time, and its texts
/// are as small to a few hundredths.
const CODINGS: [(&str, Compression); 3] =
    [("zstd", Compression::Zstd), ("br", Compression::Brotli), ("gzip", Compression::Gzip)];

/// What is compressed if the file does not say: text of any kind, and what is as good as text.
const TYPES: [&str; 10] = [
    "text/*",
    "*+json",
    "*+xml",
    "application/json",
    "application/javascript",
    "application/xml",
    "application/wasm",
    "application/x-ndjson",
    "font/otf",
    "font/ttf",
];

/// Smaller ones fit one packet anyway, and can grow by it.
const MIN: u64 = 1024;

const MIN_BOUNDS: RangeInclusive<u64> = 0..=1024 * 1024;

/// The most entries of `types`.
const MAX_TYPES: usize = 64;

/// What is compressed, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Compress {
    /// The codings; of those that a client likes equally well the first is taken. Not empty.
    pub codings: Vec<Compression>,
    /// Whether answers to requests with credentials are compressed too (BREACH).
    pub cookies: bool,
    /// Answers that are known to be shorter stay as they are, in bytes.
    pub min: u64,
    /// Media types in lower case: whole, "text/*" or "*+json".
    pub types: Vec<String>,
}

impl Compress {
    /// Reads `compress`; none is that nothing is.
    pub(super) fn read(value: &Value<'_>) -> Option<Self> {
        match value.as_flag() {
            Some(true) => return Some(Self::default()),
            Some(false) => return None,
            None => {}
        }
        if matches!(value.node(), DeValue::Array(_)) {
            return Some(Self { codings: codings(value), ..Self::default() });
        }
        if !value.is_table() {
            value.wrong_type("true, false, a list of codings or a table");
            return None;
        }
        let section = value.section(&schema::COMPRESS)?;
        let default = Self::default();
        Some(Self {
            codings: section.value("codings").map_or(default.codings, |value| codings(&value)),
            cookies: section.value("cookies").and_then(|value| value.flag()).unwrap_or(default.cookies),
            min: section.size("min", MIN, MIN_BOUNDS),
            types: section.value("types").map_or(default.types, |value| types(&value)),
        })
    }
}

impl Default for Compress {
    fn default() -> Self {
        Self {
            codings: CODINGS.iter().map(|(_, coding)| *coding).collect(),
            cookies: false,
            min: MIN,
            types: TYPES.iter().map(ToString::to_string).collect(),
        }
    }
}

fn codings(value: &Value<'_>) -> Vec<Compression> {
    let mut codings = Vec::new();
    let entries = value.list();
    if entries.is_empty() && value.node().is_array() {
        value.fault(Fault::new("is empty").hint("write compress = false"));
    }
    for entry in entries {
        match entry.choice(&CODINGS, &[]) {
            Some(coding) if codings.contains(&coding) => entry.fault(Fault::new("is there twice")),
            Some(coding) => codings.push(coding),
            None => {}
        }
    }
    codings
}

fn types(value: &Value<'_>) -> Vec<String> {
    let entries = value.list();
    if entries.len() > MAX_TYPES {
        value.fault(Fault::new(format!("has more than {MAX_TYPES} entries")));
    }
    entries.iter().filter_map(|entry| entry.parse(media_type)).collect()
}

/// A media type, all types of a family ("text/*"), or all of a syntax ("*+json").
fn media_type(text: &str) -> Result<String, Fault> {
    let lower = text.to_ascii_lowercase();
    let is_token = |part: &str| {
        !part.is_empty()
            && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&byte))
    };
    if lower == "text/event-stream" {
        return Err(Fault::new("is never compressed: events would wait for each other"));
    }
    let is_type = match (lower.strip_prefix("*+"), lower.split_once('/')) {
        (Some(syntax), _) => is_token(syntax),
        (None, Some((family, kind))) => is_token(family) && (kind == "*" || is_token(kind)),
        (None, None) => false,
    };
    if is_type {
        return Ok(lower);
    }
    let hint = "write \"text/html\", \"text/*\" or \"*+json\", without parameters";
    Err(Fault::new(format!("is not a media type: {}", quote(text))).hint(hint))
}
