//! The query of a target, as forms write it.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

/// The values of a parameter, in order, decoded: `+` is a space, and bytes that are not UTF-8 are replaced.
pub fn query_values<'q>(query: Option<&'q str>, name: &'q str) -> impl Iterator<Item = Cow<'q, str>> {
    query.unwrap_or_default().split('&').filter_map(move |pair| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        (decode(key) == name).then(|| decode(value))
    })
}

fn decode(text: &str) -> Cow<'_, str> {
    if !text.bytes().any(|b| matches!(b, b'%' | b'+')) {
        return text.into();
    }
    let spaced = text.replace('+', " ");
    Cow::Owned(percent_decode_str(&spaced).decode_utf8_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_decoded() {
        let query = Some("a=1&b=x%20y+z&%61=2&c&d=%FF");
        let all = |name| query_values(query, name).map(Cow::into_owned).collect::<Vec<_>>();
        assert_eq!(all("a"), ["1", "2"]);
        assert_eq!(all("b"), ["x y z"]);
        assert_eq!(all("c"), [""]);
        assert_eq!(all("d"), ["\u{fffd}"]);
        assert_eq!(all("e"), [""; 0]);
        assert_eq!(query_values(None, "a").count(), 0);
    }
}
