//! The documents that are made from the code, and what the others must hold.

use std::fmt::Write as _;
use std::path::PathBuf;

mod blocks;
mod commands;
mod package;
mod runbook;

/// Set to write what is out of date instead of failing.
const UPDATE: &str = "UPDATE_DOCS";

fn at_the_top(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(name)
}

#[test]
fn the_configuration_reference_says_what_the_example_says() {
    let example = std::fs::read_to_string(at_the_top("config.example.toml")).unwrap();
    let made = reference(&example);
    let path = at_the_top("docs/configuration.md");
    if std::env::var_os(UPDATE).is_some() {
        std::fs::write(&path, &made).unwrap();
    }
    let stored = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(stored == made, "docs/configuration.md is out of date: {UPDATE}=1 cargo test --test it docs");
    for key in ["`address`", "`handshake_timeout`", "`user_claim`", "`backlog`", "`webhook`"] {
        assert!(made.contains(key), "{key} is missing");
    }
}

#[test]
fn the_reference_is_made_of_sections_keys_and_sentences() {
    let example = "\
# About the file.

# The process.
[server]
# Threads; 0 is one
# per core.
workers = 0
# Another way.
#names = [\"a\"]
";
    let made = reference(example);
    let expected = "\
## `[server]`

The process.

| key | default | |
|---|---|---|
| `workers` | `0` | Threads; 0 is one per core. |
| `names` | none, e.g. `[\"a\"]` | Another way. |
";
    assert!(made.ends_with(expected), "{made}");
    assert!(made.contains("About the file."));
}

/// Makes the reference of an example: its comments are the sentences, its values the defaults.
fn reference(example: &str) -> String {
    let mut made = String::from(
        "# Configuration\n\n\
         Made from [`config.example.toml`](../config.example.toml), which shows the same as a file; a test holds the two \
         together.\n",
    );
    let mut comment: Vec<&str> = Vec::new();
    let mut in_table = false;
    let mut last_key = "";
    for line in example.lines() {
        if let Some(text) = line.strip_prefix("# ") {
            comment.push(text);
        } else if line.starts_with('[') {
            let said = sentence(&mut comment);
            let _ = write!(made, "\n## `{line}`\n");
            if !said.is_empty() {
                let _ = write!(made, "\n{said}\n");
            }
            in_table = false;
        } else if let Some((key, value)) = line.split_once(" = ") {
            if !in_table {
                made.push_str("\n| key | default | |\n|---|---|---|\n");
                in_table = true;
            }
            let said = sentence(&mut comment);
            let value = value.replace('|', "\\|");
            match key.strip_prefix('#') {
                Some(key) if key == last_key => {
                    let _ = writeln!(made, "| | or `{value}` | {said} |");
                }
                Some(key) => {
                    let _ = writeln!(made, "| `{key}` | none, e.g. `{value}` | {said} |");
                    last_key = key;
                }
                None => {
                    let _ = writeln!(made, "| `{key}` | `{value}` | {said} |");
                    last_key = key;
                }
            }
        } else if line.is_empty() && !comment.is_empty() {
            let said = sentence(&mut comment);
            let _ = write!(made, "\n{said}\n");
        }
    }
    made
}

fn sentence(comment: &mut Vec<&str>) -> String {
    std::mem::take(comment).join(" ")
}

/// Tables of what is held by which test, and how many tests each names at least.
const HELD: [(&str, usize); 2] = [("docs/security.md", 40), ("docs/operations.md", 2)];

#[test]
fn every_test_that_a_document_names_is_there() {
    for (name, at_least) in HELD {
        let text = std::fs::read_to_string(at_the_top(name)).unwrap();
        let named: Vec<_> = text.split('`').filter(|word| is_path_of_test(word)).collect();
        assert!(named.len() >= at_least, "{name} names {} tests only", named.len());
        for test in named {
            assert!(is_there(test), "{name} names {test}, which there is not");
        }
    }
}

#[test]
fn a_test_that_is_not_there_is_not_found() {
    for test in [
        "docs::every_test_that_a_document_names_is_there",
        "ask::recheck::a_session_that_is_gone_ends_its_streams",
        "auth::ticket::tests::nothing_else_is_a_ticket",
        "hub::tests::a_full_inbox_refuses_instead_of_losing",
    ] {
        assert!(is_path_of_test(test), "{test}");
    }
    assert!(is_there("docs::a_test_that_is_not_there_is_not_found"));
    assert!(is_there("auth::ticket::tests::nothing_else_is_a_ticket"));
    for test in [
        "docs::nothing",
        "nothing::a_test",
        "auth::ticket::tests::a_test",
        "docs::reference",
        "docs::is_there",
    ] {
        assert!(!is_there(test), "{test}");
    }
    for other in ["user:{user}", "a::", "::a", "publish", "a::b c", "Vec::new"] {
        assert!(!is_path_of_test(other), "{other}");
    }
}

/// Whether this is how a test is named: modules and a function, all in lower case.
fn is_path_of_test(word: &str) -> bool {
    let is_name = |part: &str| {
        !part.is_empty() && part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
    };
    word.contains("::") && word.split("::").all(is_name)
}

/// Whether there is such a test: among the integration tests, or in the crate under its modules.
fn is_there(test: &str) -> bool {
    let Some((modules, function)) = test.rsplit_once("::") else { return false };
    let file = modules.replace("::", "/");
    let own = modules.strip_suffix("::tests").map(|modules| format!("src/{}.rs", modules.replace("::", "/")));
    let files = [format!("tests/it/{file}.rs"), format!("src/{file}.rs")].into_iter().chain(own);
    let sought = format!("fn {function}(");
    files.filter_map(|file| std::fs::read_to_string(at_the_top(&file)).ok()).any(|text| {
        text.match_indices(&sought).any(|(place, _)| {
            let before = text[..place].trim_end().trim_end_matches("async").trim_end();
            before.ends_with(']') && before.rsplit('\n').next().is_some_and(|line| line.contains("test"))
        })
    })
}
