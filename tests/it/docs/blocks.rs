//! The blocks of TOML in the documents: each is a configuration, or a part of one, that `sidestream check` takes.

use std::path::Path;

use rcgen::{CertifiedKey, generate_simple_self_signed};
use sidestream::config::{Config, Problems};
use tempfile::TempDir;

use super::at_the_top;

/// The documents, and how many blocks each has at least.
const DOCUMENTS: [(&str, usize); 3] = [("README.md", 4), ("docs/from-nginx.md", 9), ("docs/sources.md", 3)];

/// What a block gets that has nothing like the first: a part of a file says only what it is about.
const COMPLETIONS: [(&str, &str); 4] = [
    ("[[listen]]", "[[listen]]\naddress = \"127.0.0.1:8080\"\n"),
    ("[upstreams.shop]", "[upstreams.shop]\nservers = [\"http://127.0.0.1:8000\"]\n"),
    ("[auth.shop]", "[auth.shop]\nkind = \"jwt\"\nsecret = \"env:SIDESTREAM_SECRET\"\n"),
    ("[[route]]", "[[route]]\npath = \"/\"\n[route.proxy]\nupstream = \"shop\"\n"),
];

/// What stands for the folders of a machine that has all of it.
const FOLDERS: [&str; 5] = ["/etc/ssl/shop/", "/etc/ssl/", "/var/log/shop/", "/run/shop/", "/srv/shop/"];

/// How a block begins that holds keys which this version does not have.
const NOT_YET: &str = "toml not-yet";

#[test]
fn every_block_is_right() {
    let machine = machine();
    for (name, at_least) in DOCUMENTS {
        let text = std::fs::read_to_string(at_the_top(name)).unwrap();
        let blocks = blocks(&text);
        let right: Vec<_> = blocks.iter().filter(|block| block.kind == "toml").collect();
        assert!(right.len() >= at_least, "{name} has {} blocks only", right.len());
        for block in right {
            if let Err(problems) = parse(&block.text, machine.path()) {
                panic!("{name}:{}: {problems}", block.line);
            }
        }
    }
}

#[test]
fn what_is_not_yet_there_is_refused() {
    let machine = machine();
    for (name, _) in DOCUMENTS {
        let text = std::fs::read_to_string(at_the_top(name)).unwrap();
        for block in blocks(&text).iter().filter(|block| block.kind == NOT_YET) {
            let Err(problems) = parse(&block.text, machine.path()) else {
                panic!("{name}:{}: this version has it: say so, and take `not-yet` away", block.line);
            };
            let said = problems.to_string();
            assert!(
                said.contains("unknown key") || said.contains("not in this version"),
                "{name}:{}: {said}",
                block.line
            );
        }
    }
}

#[test]
fn blocks_are_found_wherever_they_stand() {
    let text =
        "a\n```toml\n[x]\n```\n1. b\n\n   ```toml not-yet\n   y = 1\n     z\n   ```\n```nginx\nserver\n```\n";
    let found: Vec<_> = blocks(text).into_iter().map(|block| (block.line, block.kind, block.text)).collect();
    let expected = [(2, "toml", "[x]\n"), (7, NOT_YET, "y = 1\n  z\n"), (11, "nginx", "server\n")];
    assert_eq!(found, expected.map(|(line, kind, text)| (line, kind.to_owned(), text.to_owned())));
}

#[test]
fn a_wrong_block_is_refused() {
    let machine = machine();
    for wrong in
        ["[server]\nworker = 1\n", "[[listen]]\naddress = \"nowhere\"\n", "[[route]]\npath = \"/\"\n"]
    {
        assert!(parse(wrong, machine.path()).is_err(), "{wrong}");
    }
    assert!(parse("[server]\nworkers = 1\n", machine.path()).is_ok());
}

/// A fenced block of a document.
pub(super) struct Block {
    /// Where it begins, counted from 1.
    line: usize,
    /// What is said behind its fence.
    pub(super) kind: String,
    /// What it holds.
    pub(super) text: String,
}

/// The fenced blocks of a document, without what they are indented by.
pub(super) fn blocks(text: &str) -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    let mut open: Option<usize> = None;
    for (at, line) in text.lines().enumerate() {
        let fence = line.trim_start();
        match (open, fence.strip_prefix("```")) {
            (None, Some(kind)) => {
                open = Some(line.len() - fence.len());
                blocks.push(Block { line: at + 1, kind: kind.to_owned(), text: String::new() });
            }
            (Some(_), Some(_)) => open = None,
            (Some(indent), None) => {
                let block = blocks.last_mut().unwrap();
                block.text.push_str(line.get(indent..).unwrap_or_default());
                block.text.push('\n');
            }
            (None, None) => {}
        }
    }
    assert_eq!(open, None, "a block has no end");
    blocks
}

/// A folder with the files that the documents name.
fn machine() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let CertifiedKey { cert, signing_key } =
        generate_simple_self_signed(["shop.example".to_owned()]).unwrap();
    for name in ["fullchain.pem", "shop.pem", "clients.pem"] {
        std::fs::write(folder.path().join(name), cert.pem()).unwrap();
    }
    for name in ["privkey.pem", "shop.key"] {
        std::fs::write(folder.path().join(name), signing_key.serialize_pem()).unwrap();
    }
    std::fs::create_dir(folder.path().join("errors")).unwrap();
    std::fs::write(folder.path().join("errors/5xx.html"), "The shop is closed.").unwrap();
    folder
}

/// Parses a block as the file that it is a part of, on a machine that has what it names.
fn parse(block: &str, machine: &Path) -> Result<Config, Problems> {
    let mut text = block.to_owned();
    for (without, with) in COMPLETIONS {
        if !text.contains(without) {
            text.push_str(with);
        }
    }
    for folder in FOLDERS {
        text = text.replace(&format!("\"{folder}"), &format!("\"{}/", machine.display()));
        text = text.replace(&format!("unix:{folder}"), &format!("unix:{}/", machine.display()));
    }
    let text = text.replace("env:", "instead-of-the-variable-");
    Config::parse(&text, "sidestream.toml", machine)
}
