//! What Cargo.toml says of the package for Debian: every file that goes into it is there.

use std::fs;

use super::at_the_top;

/// Where what is compiled is said to be, wherever it is.
const COMPILED: &str = "target/release/";

#[test]
fn every_file_of_the_package_is_there() {
    let manifest: toml::Table = fs::read_to_string(at_the_top("Cargo.toml")).unwrap().parse().unwrap();
    let package = &manifest["package"]["metadata"]["deb"];
    let sources: Vec<_> = package["assets"].as_array().unwrap().iter().map(|asset| &asset[0]).collect();
    let sources: Vec<_> = sources.iter().map(|source| source.as_str().unwrap()).collect();
    assert!(sources.contains(&"target/release/sidestream"), "{sources:?}");
    for source in sources.iter().filter(|source| !source.starts_with(COMPILED)) {
        assert!(is_there(source), "{source} is not there");
    }
    let units = package["systemd-units"]["unit-scripts"].as_str().unwrap();
    let name = package["systemd-units"]["unit-name"].as_str().unwrap();
    for kind in ["service", "sysusers"] {
        assert!(is_there(&format!("{units}{name}.{kind}")), "{kind}");
    }
}

#[test]
fn what_is_not_there_is_seen() {
    for source in ["nothing.md", "docs/*.nothing", "nothing/*.md"] {
        assert!(!is_there(source), "{source}");
    }
    assert!(is_there("docs/*.md") && is_there("LICENSE-*"));
}

/// Whether a file is there, or one that a pattern with `*` in its name is for.
fn is_there(source: &str) -> bool {
    let Some((before, after)) = source.split_once('*') else { return at_the_top(source).is_file() };
    let (folder, start) = before.rsplit_once('/').unwrap_or((".", before));
    let names =
        fs::read_dir(at_the_top(folder)).into_iter().flatten().map(|entry| entry.unwrap().file_name());
    names
        .filter_map(|name| name.into_string().ok())
        .any(|name| name.starts_with(start) && name.ends_with(after))
}
