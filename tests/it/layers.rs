//! The house rules of the source, read from the source: who may import whom, how long a file is, what none is called.
//!
//! The rules are checked on made-up input too, so that a checker which finds nothing is found out.

mod code;

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use code::{code_of, modules_used};

/// The tiers, highest first. A module imports from lower tiers only, and siblings never from each other.
const TIERS: [&[&str]; 11] = [
    &["main"],
    &["cli"],
    &["server"],
    &["worker", "admin"],
    &["router", "connection", "listener", "source"],
    &["proxy", "files", "stream", "publish"],
    &["unread"],
    &["hub", "auth", "acme", "trace"],
    &["store", "fetch", "limits", "compress"],
    &["config", "http", "tls", "transport", "handover"],
    &["event", "metrics", "access_log", "shutdown", "systemd", "clock"],
];

/// The crate's map, which names all modules and belongs to no tier.
const MAP: &str = "lib";

/// Names that say nothing of what is inside.
const EMPTY_NAMES: [&str; 9] =
    ["mod", "util", "utils", "common", "types", "helper", "helpers", "manager", "misc"];

const LONGEST: usize = 400;
const MEDIAN: usize = 200;

/// A file of Rust, by its path from the crate's folder.
struct Source {
    path: String,
    text: String,
}

impl Source {
    fn lines(&self) -> usize {
        self.text.lines().count()
    }

    /// The modules it is within, from the root of the crate: `src/hub/keys.rs` is `hub`, `keys`.
    fn modules(&self) -> Vec<&str> {
        let path = self.path.strip_prefix("src/").unwrap_or(&self.path);
        path.strip_suffix(".rs").unwrap_or(path).split('/').collect()
    }

    fn is_test(&self) -> bool {
        self.modules().last() == Some(&"tests")
    }
}

fn sources(folder: &str) -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    let mut folders = vec![root.join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(source(root, path));
            }
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found
}

fn source(root: &Path, path: PathBuf) -> Source {
    let text = fs::read_to_string(&path).unwrap();
    let path = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
    Source { path, text }
}

fn tier(module: &str) -> Option<usize> {
    TIERS.iter().position(|tier| tier.contains(&module))
}

/// What breaks the rule of the tiers, a line each.
fn broken_tiers(sources: &[Source]) -> String {
    let mut broken = String::new();
    for source in sources.iter().filter(|source| !source.is_test()) {
        let modules = source.modules();
        let own = modules[0];
        if own == MAP {
            continue;
        }
        let Some(own_tier) = tier(own) else {
            let _ = writeln!(broken, "{}: {own} has no tier", source.path);
            continue;
        };
        for used in modules_used(&code_of(&source.text), modules.len()) {
            match tier(&used) {
                _ if used == own => {}
                None => {
                    let _ = writeln!(broken, "{}: {used} has no tier", source.path);
                }
                Some(tier) if tier <= own_tier => {
                    let _ = writeln!(broken, "{}: {own} must not use {used}", source.path);
                }
                Some(_) => {}
            }
        }
    }
    broken
}

/// What breaks the rules of length, a line each.
fn too_long(sources: &[Source]) -> String {
    let mut broken = String::new();
    for source in sources.iter().filter(|source| source.lines() > LONGEST) {
        let head: Vec<_> = source.text.lines().take_while(|line| line.starts_with("//!")).collect();
        let says_why =
            head.iter().any(|line| line.split(|c: char| !c.is_alphabetic()).any(|word| word == "lines"));
        if !says_why {
            let _ = writeln!(broken, "{}: {} lines without a reason", source.path, source.lines());
        }
    }
    broken
}

fn median(sources: &[Source]) -> usize {
    let mut lines: Vec<_> = sources.iter().map(Source::lines).collect();
    lines.sort_unstable();
    lines[lines.len() / 2]
}

/// Paths that have an empty name in them, a line each.
fn empty_names(sources: &[Source]) -> String {
    let is_empty = |source: &&Source| source.modules().iter().any(|name| EMPTY_NAMES.contains(name));
    sources.iter().filter(is_empty).map(|source| format!("{}\n", source.path)).collect()
}

#[test]
fn modules_use_only_what_is_below_them() {
    let sources = sources("src");
    assert_eq!(broken_tiers(&sources), "");
    // A reader of paths that finds none would be content with anything.
    let used: usize = sources.iter().map(|s| modules_used(&code_of(&s.text), s.modules().len()).len()).sum();
    assert!(used > 100, "{used} paths into other modules were found");
}

#[test]
fn the_map_of_the_crate_names_every_module_of_the_tiers_and_no_other() {
    let map = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/lib.rs")).unwrap();
    let code = code_of(&map);
    let declared: Vec<_> =
        code.lines().filter_map(|line| line.trim().strip_prefix("pub mod ")?.strip_suffix(';')).collect();
    assert!(declared.len() > 15, "{declared:?}");
    for module in declared {
        assert!(tier(module).is_some(), "{module} has no tier");
    }
}

#[test]
fn files_are_short_or_say_why_not() {
    let (src, tests) = (sources("src"), sources("tests"));
    assert_eq!(too_long(&src), "");
    assert_eq!(too_long(&tests), "");
    assert!(src.len() > 50 && median(&src) < MEDIAN, "{} files, median {}", src.len(), median(&src));
}

#[test]
fn files_are_nouns_of_the_field() {
    assert_eq!(empty_names(&sources("src")), "");
    assert_eq!(empty_names(&sources("tests")), "");
}

#[test]
fn the_checkers_find_what_is_wrong() {
    let made_up = |path: &str, text: &str| Source { path: path.to_owned(), text: text.to_owned() };
    for (path, text, found) in [
        ("src/hub.rs", "use crate::event::Event;", ""),
        ("src/hub.rs", "use crate::stream::Streams;", "src/hub.rs: hub must not use stream\n"),
        ("src/hub/keys.rs", "fn f() { crate::stream::go() }", "src/hub/keys.rs: hub must not use stream\n"),
        ("src/hub.rs", "use crate::auth::Identity;", "src/hub.rs: hub must not use auth\n"),
        ("src/hub/keys.rs", "use crate::hub::Hub; use super::Hub;", ""),
        (
            "src/hub/keys.rs",
            "use super::super::stream::Streams;",
            "src/hub/keys.rs: hub must not use stream\n",
        ),
        ("src/hub.rs", "use super::stream;", "src/hub.rs: hub must not use stream\n"),
        (
            "src/hub.rs",
            "use crate::{event::{Event, EventId}, stream::Streams};",
            "src/hub.rs: hub must not use stream\n",
        ),
        ("src/hub.rs", "use crate::room::Room;", "src/hub.rs: room has no tier\n"),
        ("src/room.rs", "use crate::event::Event;", "src/room.rs: room has no tier\n"),
        ("src/hub.rs", "// use crate::stream::Streams;\n/// [x](crate::stream)\n/* crate::stream */", ""),
        ("src/hub.rs", "const X: &str = \"crate::stream\"; const Y: &str = r#\"crate::stream\"#;", ""),
        (
            "src/hub.rs",
            "const C: char = '\"'; use crate::stream::X; const D: char = '\"';",
            "src/hub.rs: hub must not use stream\n",
        ),
        (
            "src/hub.rs",
            "fn f<'a>(x: &'a str) { crate::stream::f(x) }",
            "src/hub.rs: hub must not use stream\n",
        ),
        ("src/hub.rs", "#[cfg(test)]\nmod tests { use crate::stream::{A}; fn f() { \"}\"; } }", ""),
        (
            "src/hub.rs",
            "#[cfg(test)] mod tests { fn f() {} } use crate::stream::X;",
            "src/hub.rs: hub must not use stream\n",
        ),
        (
            "src/hub.rs",
            "#[cfg(test)] mod tests; use crate::stream::X;",
            "src/hub.rs: hub must not use stream\n",
        ),
        ("src/hub/tests.rs", "use crate::stream::Streams;", ""),
        ("src/main.rs", "sidestream::cli::main()", ""),
        ("src/main.rs", "sidestream::room::main()", "src/main.rs: room has no tier\n"),
    ] {
        assert_eq!(broken_tiers(&[made_up(path, text)]), found, "{path}: {text}");
    }

    let long = "\n".repeat(LONGEST + 1);
    assert_eq!(too_long(&[made_up("src/hub.rs", &"\n".repeat(LONGEST))]), "");
    assert_eq!(too_long(&[made_up("src/hub.rs", &long)]), "src/hub.rs: 401 lines without a reason\n");
    let excused = format!("//! A table.\n//! It has more lines than others since it is one table.\n{long}");
    assert_eq!(too_long(&[made_up("src/hub.rs", &excused)]), "");
    let elsewhere = format!("//! Guidelines.\n\n// Many lines.\n{long}");
    assert_ne!(too_long(&[made_up("src/hub.rs", &elsewhere)]), "");

    assert_eq!(
        empty_names(&[made_up("src/hub/mod.rs", ""), made_up("src/hub/utils/x.rs", "")]).lines().count(),
        2
    );
    assert_eq!(empty_names(&[made_up("src/model.rs", "")]), "");
    assert_eq!(median(&[made_up("a", "\n"), made_up("b", "\n\n\n"), made_up("c", "\n\n")]), 2);
}
