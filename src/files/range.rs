//! Which parts of a file a request asks for (RFC 9110, section 14). Pure.

use std::ops::Range;

use smallvec::SmallVec;

/// The most ranges of one request. Who asks for more gets the whole file: a few thousand small pieces cost more than
/// what they are pieces of.
const MAX_RANGES: usize = 16;

/// What a request asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Wanted {
    /// The whole file: it names no range, or none that is understood, or too many.
    Whole,
    /// These parts, in the order in which they were named; at least one, none of them empty.
    Parts(SmallVec<[Range<u64>; 1]>),
    /// Nothing that there is.
    Nothing,
}

/// Reads the field `Range` for a file of `size` bytes.
pub(super) fn wanted(text: &str, size: u64) -> Wanted {
    let Some((unit, list)) = text.split_once('=') else { return Wanted::Whole };
    if !unit.trim().eq_ignore_ascii_case("bytes") {
        return Wanted::Whole;
    }
    let (mut parts, mut named, mut total) = (SmallVec::new(), 0, 0u64);
    for spec in list.split(',').map(str::trim).filter(|spec| !spec.is_empty()) {
        named += 1;
        let Some(range) = part(spec, size) else { return Wanted::Whole };
        if named > MAX_RANGES {
            return Wanted::Whole;
        }
        if !range.is_empty() {
            total = total.saturating_add(range.end - range.start);
            parts.push(range);
        }
    }
    match parts.len() {
        0 if named == 0 => Wanted::Whole,
        0 => Wanted::Nothing,
        // Parts that overlap are more than the whole.
        2.. if total >= size => Wanted::Whole,
        _ => Wanted::Parts(parts),
    }
}

/// One range, cut to the size; empty if it lies behind the end. None if it is malformed.
fn part(spec: &str, size: u64) -> Option<Range<u64>> {
    let (first, last) = spec.split_once('-')?;
    let (first, last) = (first.trim_end(), last.trim_start());
    if first.is_empty() {
        let length = number(last)?.min(size);
        return Some(size - length..size);
    }
    let first = number(first)?;
    let last = if last.is_empty() { u64::MAX } else { number(last)? };
    if last < first {
        return None;
    }
    let end = last.saturating_add(1).min(size);
    Some(first.min(end)..end)
}

/// Digits only. A number too large for 64 bits is behind the end of every file.
fn number(text: &str) -> Option<u64> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| text.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parts(ranges: &[(u64, u64)]) -> Wanted {
        Wanted::Parts(ranges.iter().map(|(start, end)| *start..*end).collect())
    }

    #[test]
    fn ranges_of_ten_bytes() {
        for (text, expected) in [
            ("bytes=0-0", parts(&[(0, 1)])),
            ("bytes=0-4", parts(&[(0, 5)])),
            ("bytes=5-", parts(&[(5, 10)])),
            ("bytes=-3", parts(&[(7, 10)])),
            ("bytes=-99", parts(&[(0, 10)])),
            ("bytes=0-99", parts(&[(0, 10)])),
            ("bytes=9-18446744073709551616", parts(&[(9, 10)])),
            ("Bytes=1-2", parts(&[(1, 3)])),
            ("bytes= 1-2 , 4-5", parts(&[(1, 3), (4, 6)])),
            ("bytes=,1-2,,", parts(&[(1, 3)])),
            ("bytes=1-2,20-30", parts(&[(1, 3)])),
            ("bytes=4-5,0-1", parts(&[(4, 6), (0, 2)])),
            ("bytes=10-", Wanted::Nothing),
            ("bytes=10-20,30-", Wanted::Nothing),
            ("bytes=-0", Wanted::Nothing),
            ("bytes=18446744073709551616-", Wanted::Nothing),
            ("bytes=0-,0-,0-", Wanted::Whole),
            ("bytes=0-5,4-9", Wanted::Whole),
            ("bytes=5-4", Wanted::Whole),
            ("bytes=", Wanted::Whole),
            ("bytes", Wanted::Whole),
            ("bytes=a-b", Wanted::Whole),
            ("bytes=1", Wanted::Whole),
            ("bytes=-", Wanted::Whole),
            ("bytes=--1", Wanted::Whole),
            ("bytes=+1-2", Wanted::Whole),
            ("bytes=1-2-3", Wanted::Whole),
            ("bytes=1-2;3-4", Wanted::Whole),
            ("lines=1-2", Wanted::Whole),
            ("", Wanted::Whole),
        ] {
            assert_eq!(wanted(text, 10), expected, "{text}");
        }
        assert_eq!(wanted("bytes=0-", 0), Wanted::Nothing);
        assert_eq!(wanted("bytes=-5", 0), Wanted::Nothing);
        let many = format!("bytes={}", "0-0,".repeat(MAX_RANGES + 1));
        assert_eq!(wanted(&many, 1000), Wanted::Whole);
    }

    proptest! {
        #[test]
        fn parts_are_within_the_file(text in "bytes=[0-9,\\- ]{0,40}", size in 0u64..1000) {
            if let Wanted::Parts(parts) = wanted(&text, size) {
                prop_assert!(!parts.is_empty());
                for part in parts {
                    prop_assert!(part.start < part.end && part.end <= size);
                }
            }
        }
    }
}
