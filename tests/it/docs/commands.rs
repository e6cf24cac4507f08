//! The pages of the manual and the completions of shells: made of the command line, and kept so that a package needs no build
//! for them.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use clap_complete::Shell;
use tempfile::TempDir;

use super::{UPDATE, at_the_top};

/// Holds a folder to what was made: the same files, with the same text.
fn hold(folder: &str, made: &BTreeMap<String, String>) {
    let stored = at_the_top(folder);
    if std::env::var_os(UPDATE).is_some() {
        let _ = fs::remove_dir_all(&stored);
        fs::create_dir_all(&stored).unwrap();
        for (name, text) in made {
            fs::write(stored.join(name), text).unwrap();
        }
    }
    assert!(files(&stored) == *made, "{folder} is out of date: {UPDATE}=1 cargo test --test it docs");
}

fn files(folder: &Path) -> BTreeMap<String, String> {
    let name = |path: &Path| path.file_name().unwrap().to_str().unwrap().to_owned();
    let paths = fs::read_dir(folder).into_iter().flatten().map(|entry| entry.unwrap().path());
    paths.map(|path| (name(&path), fs::read_to_string(&path).unwrap())).collect()
}

#[test]
fn the_manual_is_that_of_the_commands() {
    let folder = TempDir::new().unwrap();
    let command = sidestream::cli::definition().disable_help_subcommand(true);
    clap_mangen::generate_to(command, folder.path()).unwrap();
    let made = files(folder.path());
    for page in ["sidestream.1", "sidestream-run.1", "sidestream-health.1", "sidestream-explain.1"] {
        assert!(made[page].contains(".SH SYNOPSIS"), "{page}");
    }
    hold("packaging/man", &made);
}

#[test]
fn completions_are_those_of_the_commands() {
    let mut made = BTreeMap::new();
    for (shell, name) in
        [(Shell::Bash, "sidestream.bash"), (Shell::Zsh, "_sidestream"), (Shell::Fish, "sidestream.fish")]
    {
        let mut text = Vec::new();
        clap_complete::generate(shell, &mut sidestream::cli::definition(), "sidestream", &mut text);
        let text = String::from_utf8(text).unwrap();
        assert!(text.contains("last-event-id"), "{name}");
        made.insert(name.to_owned(), text);
    }
    hold("packaging/completions", &made);
}
