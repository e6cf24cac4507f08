//! `[route.files]`: a folder whose files are served.

use std::path::PathBuf;

use toml::de::DeValue;

use super::{Names, ProxyRoute, named};
use crate::config::Upstream;
use crate::config::problem::{Fault, Problem, quote};
use crate::config::reader::{Section, Value};

/// The longest pattern of names, and the most of them: each is held against every file that is asked for.
const MAX_PATTERN: usize = 256;
const MAX_PATTERNS: usize = 32;

/// The file that stands for its folder.
const INDEX: &str = "index.html";

/// Serves the files of a folder.
#[derive(Debug, Clone, PartialEq)]
pub struct FilesRoute {
    /// The folder. It need not be there yet, and what stands at its path may be replaced while requests come.
    pub root: PathBuf,
    /// Where a request goes whose file is not there; none is 404.
    pub try_upstream: Option<ProxyRoute>,
    /// The file that stands for its folder; none is no such file.
    pub index: Option<String>,
    /// Which files never change under their names.
    pub immutable: Immutable,
    /// Whether only an app reaches it, by naming a file in its answer.
    pub internal: bool,
}

/// Which files never change under their names, because a hash of what is in them is part of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Immutable {
    /// Those that common tools have named so.
    Hashed,
    /// None.
    Never,
    /// Those that one of these patterns covers: `*` is any characters but `/`, `**` is any, `?` is one but `/`. A
    /// pattern without `/` is for the name of the file, others are for its path below the route's.
    Named(Vec<String>),
}

impl FilesRoute {
    pub(super) fn read(
        section: &Section<'_>,
        names: &Names<'_>,
        upstreams: &[Upstream],
        internal: bool,
    ) -> Option<Self> {
        let root = section.required("root", "write the folder, like root = \"staticfiles\"");
        let fallback = section.value("try_upstream");
        let index = section.value("index").map(|value| value.parse(index));
        let immutable = section.value("immutable").and_then(|value| immutable(&value));
        let to = fallback.as_ref().and_then(|value| named(value, "upstreams", names.upstreams.as_ref()));
        if internal && let Some(fallback) = &fallback {
            let problem = fallback.problem("is the app, which named the file itself");
            section.report.add(problem.hint("a route with `internal` has none"));
        }
        let root = root?.parse(|text| match text {
            "" => Err(Fault::new("is empty").hint("write \".\" for the folder of this file")),
            text if text.contains('\0') => Err(Fault::new("holds NUL")),
            text => {
                let root: PathBuf = section.report.base.join(text).components().collect();
                // A folder that is not there yet is made later, like Django's by collectstatic.
                if root.exists() && !root.is_dir() {
                    return Err(Fault::new("is not a folder").hint("name the folder that the file is in"));
                }
                Ok(root)
            }
        })?;
        let try_upstream = to.map(|upstream| ProxyRoute::new(upstream, upstreams));
        Some(Self {
            root,
            try_upstream,
            index: index.unwrap_or_else(|| Some(Some(INDEX.to_owned()))).flatten(),
            immutable: immutable.unwrap_or(Immutable::Hashed),
            internal,
        })
    }
}

/// Reports `internal` on a route that serves no files.
pub(super) fn only_for_files(section: &Section<'_>, internal: bool) {
    if internal && !section.has("files") {
        let problem = Problem::new("`internal` is for routes with [route.files]");
        section.report.add(problem.at(section.key_span("internal")));
    }
}

fn index(text: &str) -> Result<Option<String>, Fault> {
    match text {
        "" => Ok(None),
        "." | ".." => Err(Fault::new("is not the name of a file")),
        text if text.contains(['/', '\0']) => {
            Err(Fault::new("is more than the name of a file").hint("it is looked for in every folder"))
        }
        text => Ok(Some(text.to_owned())),
    }
}

fn immutable(value: &Value<'_>) -> Option<Immutable> {
    match value.as_flag() {
        Some(true) => return Some(Immutable::Hashed),
        Some(false) => return Some(Immutable::Never),
        None if value.is_text() => return Some(Immutable::Named(vec![value.parse(pattern)?])),
        None if matches!(value.node(), DeValue::Array(_)) => {}
        None => {
            value.wrong_type("true, false, a pattern or a list of patterns");
            return None;
        }
    }
    let entries = value.list();
    if entries.len() > MAX_PATTERNS {
        value.fault(Fault::new(format!("has more than {MAX_PATTERNS} entries")));
    }
    Some(Immutable::Named(entries.iter().filter_map(|entry| entry.parse(pattern)).collect()))
}

fn pattern(text: &str) -> Result<String, Fault> {
    if text.is_empty() {
        return Err(Fault::new("is empty").hint("write false if no file is immutable"));
    }
    if text.len() > MAX_PATTERN {
        return Err(Fault::new(format!("is longer than {MAX_PATTERN} bytes")));
    }
    if text.starts_with('/') {
        let below = quote(text.trim_start_matches('/'));
        return Err(Fault::new("begins with `/`")
            .hint(format!("paths are taken below the route's path: write {below}")));
    }
    if let Some(found) = text.chars().find(|c| "[]{}\\".contains(*c)) {
        return Err(Fault::new(format!("must not hold {found:?}"))
            .hint("`*` is any characters but `/`, `**` is any, `?` is one"));
    }
    Ok(text.to_owned())
}
