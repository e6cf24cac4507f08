//! Text that nobody would write.

use proptest::prelude::*;

use super::{GOOD, parse};

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_text_makes_it_panic(text in "(\\PC|[\\[\\]{}=\"'#\n\r\t.,a-z0-9_-]){0,200}") {
        if let Err(problems) = parse(&text) {
            prop_assert!(problems.to_string().ends_with("in sidestream.toml"));
        }
    }

    #[test]
    fn no_change_of_the_example_makes_it_panic_or_tell_the_secret(
        edits in prop::collection::vec((any::<prop::sample::Index>(), 0usize..40, "\\PC{0,8}|[\\[\\]{}=\"'#\n,. ]{1,4}"), 1..6),
    ) {
        let secret_line = "secret = \"correct-horse-battery-staple\"\n";
        let example = include_str!("../../../config.example.toml").replace("secret = \"env:JWT_SECRET\"\n", secret_line);
        // Everything may change but the line of the secret itself.
        let (before, after) = example.split_once(secret_line).unwrap();
        let (mut before, mut after) = (before.to_owned(), after.to_owned());
        for (place, length, new) in edits {
            let place = place.index(before.len() + after.len());
            let (part, at) =
                if place < before.len() { (&mut before, place) } else { (&mut after, place - before.len()) };
            let at = part.floor_char_boundary(at);
            let end = part.floor_char_boundary((at + length).min(part.len())).max(at);
            part.replace_range(at..end, &new);
        }
        let text = format!("{}\n{secret_line}{after}", before.trim_end_matches('\n'));
        if let Err(problems) = parse(&text) {
            prop_assert!(!problems.to_string().contains("horse"), "{problems}");
        }
    }

    #[test]
    fn nothing_around_a_secret_makes_it_be_shown(
        before in "(\\PC|[\\[\\]{}=\"'#., \t]){0,6}",
        after in "(\\PC|[\\[\\]{}=\"'#., \t\n]){0,6}",
    ) {
        let line = format!("{before}secret = \"correct-horse-battery-staple\"{after}\n");
        let text = GOOD.replacen("secret = \"correct-horse-battery-staple\"\n", &line, 1);
        if let Err(problems) = parse(&text) {
            prop_assert!(!problems.to_string().contains("horse"), "{problems}");
        }
    }
}
