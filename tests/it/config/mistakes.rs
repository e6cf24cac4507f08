//! Mistakes, and what is printed about them. `UPDATE_DOCS=1` writes down what is printed now, to be read once more.

use super::{GOOD, parse};

#[test]
fn every_mistake_is_shown_where_it_is() {
    let mut count = 0;
    let mut differences = String::new();
    let mut anew = String::new();
    for case in include_str!("broken.txt").split("===\n").skip(1) {
        let (change, expected) = case.split_once("\n\n").unwrap();
        let lines = |mark: &str| -> String {
            change.lines().filter_map(|line| Some(line.strip_prefix(mark)?.to_owned() + "\n")).collect()
        };
        let (old, new) = (lines("- "), lines("+ "));
        let text = if old.is_empty() { format!("{GOOD}{new}") } else { GOOD.replacen(&old, &new, 1) };
        assert_ne!(text, GOOD, "nothing changed by:\n{change}");
        let shown = match parse(&text) {
            Ok(_) => "it was taken".to_owned(),
            Err(problems) => problems.to_string(),
        };
        if shown.trim_end() != expected.trim_end() {
            differences += &format!("{change}\n\n--- expected\n{expected}\n--- shown\n{shown}\n\n");
        }
        anew += &format!("===\n{change}\n\n{}\n\n", shown.trim_end());
        count += 1;
    }
    if std::env::var_os("UPDATE_DOCS").is_some() {
        let text = include_str!("broken.txt");
        let head = text.split("===\n").next().unwrap();
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/config/broken.txt");
        std::fs::write(path, format!("{head}{}\n", anew.trim_end())).unwrap();
        return;
    }
    assert!(differences.is_empty(), "\n{differences}");
    assert!(count >= 100, "only {count} cases were found");
}

#[test]
fn all_mistakes_come_in_one_go() {
    let text = GOOD
        .replace("\":8080\"", "\"8080\"")
        .replace("servers", "server")
        .replace("\"correct-horse-battery-staple\"", "\"short\"")
        .replace("\"/\"", "\"x\"")
        .replace("[\"jwt\"]", "[\"jwtt\"]");
    let problems = parse(&text).unwrap_err();
    let lines: Vec<_> = problems
        .iter()
        .map(|problem| text[..problem.span().unwrap().start].matches('\n').count() + 1)
        .collect();
    assert_eq!(lines, [2, 4, 7, 9, 15], "{problems}");
    assert!(problems.to_string().ends_with("\n5 errors in sidestream.toml"), "{problems}");
}

#[test]
fn a_flood_of_mistakes_is_cut() {
    let text: String =
        GOOD.to_owned() + "[server]\n" + &(0..500).map(|n| format!("x{n} = 1\n")).collect::<String>();
    let problems = parse(&text).unwrap_err();
    assert_eq!(problems.count(), 500);
    let shown = problems.to_string();
    assert!(shown.ends_with("… and 460 more\n500 errors in sidestream.toml"), "{shown}");
}

#[test]
fn an_upstream_has_no_more_servers_than_that() {
    let servers = |count: u32| -> String { (1..=count).map(|n| format!("\"http://app:{n}\", ")).collect() };
    let text = |count| GOOD.replace("\"http://127.0.0.1:8000\"", &servers(count));
    assert!(parse(&text(64)).is_ok());
    let shown = parse(&text(65)).unwrap_err().to_string();
    assert!(shown.starts_with("error: `servers` has more than 64 entries\n"), "{shown}");
}

#[test]
fn a_long_line_is_cut_around_the_caret() {
    let names: String = (0..1000).map(|n| format!("\"host{n}.example\", ")).collect();
    let text = GOOD.replace("\":8080\"", &format!("\":8080\"\nserver_names = [{names}\"a b\", {names}]"));
    let shown = parse(&text).unwrap_err().to_string();
    let lines: Vec<_> = shown.lines().collect();
    assert!(lines.iter().all(|line| line.chars().count() < 140), "{shown}");
    let caret = lines[4].find('^').unwrap();
    let under: String = lines[3].chars().skip(caret).take(5).collect();
    assert_eq!(under, "\"a b\"", "{shown}");
    assert!(lines[4][caret..].starts_with("^^^^^"), "{shown}");
}

#[test]
fn what_a_terminal_would_obey_is_not_printed() {
    let text = GOOD.replace("\":8080\"", "\":8080\"\nhttp2 = \"\u{202e}\u{1b}[2J\" # \u{1b}");
    // TOML itself forbids the escape character, so that is what is reported; the line is shown all the same.
    let shown = parse(&text).unwrap_err().to_string();
    assert!(shown.contains("http2 = "), "{shown}");
    assert!(!shown.contains(['\u{1b}', '\u{202e}']), "{shown:?}");
}
