//! What docs/operations.md says that one sees: each line of the log and each name is in the source.

use std::fs;
use std::path::Path;

use super::at_the_top;
use super::blocks::blocks;

const DOCUMENT: &str = "docs/operations.md";

/// How a block begins that holds lines of the log. In them, `…` stands for what differs.
const LOG: &str = "log";

/// The fewest lines and names that are looked for, so that looking at nothing is seen.
const AT_LEAST: usize = 12;

/// All of the source, with texts that go over several lines as one.
fn source() -> String {
    let mut text = String::new();
    collect(&at_the_top("src"), &mut text);
    let mut joined = String::new();
    for (index, piece) in text.split("\\\n").enumerate() {
        joined.push_str(if index == 0 { piece } else { piece.trim_start() });
    }
    joined
}

fn collect(folder: &Path, text: &mut String) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, text);
        } else {
            text.push_str(&fs::read_to_string(&path).unwrap());
        }
    }
}

/// The parts of a line of the log that stand in the source: its message without its level and fields, at each `…`.
fn parts(line: &str) -> Vec<String> {
    let words: Vec<_> = line.split(' ').skip(1).take_while(|word| !word.contains('=')).collect();
    words.join(" ").split('…').map(|part| part.trim().to_owned()).filter(|part| part.len() > 3).collect()
}

#[test]
fn every_line_of_the_log_is_one_that_is_written() {
    let (text, source) = (fs::read_to_string(at_the_top(DOCUMENT)).unwrap(), source());
    let logs: Vec<_> = blocks(&text).into_iter().filter(|block| block.kind == LOG).collect();
    let lines: Vec<_> = logs.iter().flat_map(|block| block.text.lines()).collect();
    assert!(lines.len() >= AT_LEAST, "{DOCUMENT} shows {} lines only", lines.len());
    for line in lines {
        let parts = parts(line);
        assert!(!parts.is_empty(), "{line}");
        for part in parts {
            assert!(source.contains(&part), "nothing writes {part:?}, of {line:?}");
        }
    }
}

#[test]
fn every_name_is_one_that_is_there() {
    let (text, source) = (fs::read_to_string(at_the_top(DOCUMENT)).unwrap(), source());
    let is_name = |word: &&str| {
        word.contains('_') && word.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
    };
    let names: Vec<_> = text.split('`').skip(1).step_by(2).filter(is_name).collect();
    assert!(names.len() >= AT_LEAST, "{DOCUMENT} has {} names only", names.len());
    for name in names {
        let is_there = source.match_indices(name).any(|(place, _)| {
            let before = source[..place].chars().next_back();
            let after = source[place + name.len()..].chars().next();
            ![before, after].into_iter().flatten().any(|c| c.is_alphanumeric() || c == '_')
        });
        assert!(is_there, "there is no {name} in the source");
    }
}

#[test]
fn a_line_is_taken_to_pieces() {
    assert_eq!(
        parts("WARN the server is left alone for …: … upstream=\"a\""),
        ["the server is left alone for"]
    );
    assert_eq!(parts("INFO stopping; a second signal"), ["stopping; a second signal"]);
    assert!(source().contains("these keys cannot change while it runs and are as they were"));
    assert!(!source().contains("a line that nothing writes".to_uppercase().as_str()));
}
