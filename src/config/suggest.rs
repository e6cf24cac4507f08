//! 'Did you mean': the nearest of the words that would have been right.

/// Longer words are nobody's slip of a finger, and the comparison costs the product of the lengths.
const MAX_WORD: usize = 64;

/// The candidate that `word` is most likely a misspelling of, if there is one.
pub(super) fn closest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    if word.is_empty() || word.len() > MAX_WORD {
        return None;
    }
    let word = word.to_ascii_lowercase().replace('-', "_");
    candidates
        .into_iter()
        .filter_map(|candidate| {
            let lower = candidate.to_ascii_lowercase().replace('-', "_");
            let distance = strsim::damerau_levenshtein(&word, &lower);
            // Half a short word, a third of a long one: `tsl` is `tls`, but `cert` is not `key`.
            let bound = (word.chars().count().max(lower.chars().count()) / 3).max(1);
            let longer = lower.starts_with(&word) || word.starts_with(&lower);
            (distance <= bound || (longer && word.len().min(lower.len()) >= 4))
                .then_some((distance, candidate))
        })
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_finds_its_word_and_a_stranger_finds_none() {
        let words = ["address", "server_names", "tls", "http2", "header_timeout", "jwt"];
        for (word, want) in [
            ("adress", Some("address")),
            ("Address", Some("address")),
            ("server-names", Some("server_names")),
            ("server_name", Some("server_names")),
            ("tsl", Some("tls")),
            ("http", Some("http2")),
            ("header", Some("header_timeout")),
            ("jwtt", Some("jwt")),
            ("port", None),
            ("x", None),
            ("", None),
        ] {
            assert_eq!(closest(word, words), want, "{word}");
        }
        assert_eq!(closest(&"a".repeat(100_000), words), None);
    }
}
