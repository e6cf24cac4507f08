//! Validators, and what a request makes of them (RFC 9110, sections 8.8 and 13). Pure.

use std::fmt::Write as _;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::HeaderValue;
use http::header::{
    GetAll, HeaderMap, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE,
};

use super::root::Meta;
use crate::http::Coding;

/// What was written up to here has no time of its own: builds that are to come out the same each time set their files
/// to the first second of 1970 or the first day of 1980.
const NO_TIME: i64 = 315_619_200;

/// A file that was written that short a time ago may be written once more within what its file system calls the same
/// moment, so what is known of it is not enough to tell the two apart.
const SETTLED: Duration = Duration::from_secs(1);

/// What tells one state of a file from another.
#[derive(Debug, Clone)]
pub(super) struct Validators {
    /// The ETag: made of size and time. Not of the inode, which differs from one machine to the next.
    pub(super) tag: HeaderValue,
    /// As HTTP writes it; none if the file has no time of its own.
    pub(super) date: Option<HeaderValue>,
    /// The same in whole seconds.
    modified: Option<SystemTime>,
    /// Whether they will tell this state of the file from every other.
    pub(super) is_strong: bool,
}

/// What a request wants, according to its conditions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The file, and whether a range of it will do.
    Send { range: bool },
    /// Nothing: it has it already.
    NotModified,
    /// Nothing: the file is not what it was taken for.
    Failed,
}

impl Validators {
    pub(super) fn of(meta: &Meta, coding: Option<Coding>, now: SystemTime) -> Self {
        let has_time = meta.modified.0 > NO_TIME;
        let (seconds, nanos) = if has_time { meta.modified } else { meta.changed };
        let mut tag = String::with_capacity(48);
        let written = UNIX_EPOCH + Duration::new(u64::try_from(seconds).unwrap_or(0), 0);
        let is_strong = written + SETTLED + Duration::from_secs(1) <= now;
        // Writing to a String cannot fail.
        let _ = write!(tag, "{}\"{seconds:x}.{nanos:x}-{:x}", if is_strong { "" } else { "W/" }, meta.size);
        if let Some(coding) = coding {
            let _ = write!(tag, "-{}", coding.name());
        }
        tag.push('"');
        // Never later than the answer itself (section 8.8.2.1).
        let modified = (has_time && written <= now).then_some(written);
        let date = modified.and_then(|time| HeaderValue::from_str(&httpdate::fmt_http_date(time)).ok());
        // Digits, letters and punctuation are always a valid value.
        let tag = HeaderValue::from_str(&tag).unwrap_or(HeaderValue::from_static("\"\""));
        Self { tag, date, modified, is_strong }
    }

    /// Holds a request's conditions against this state of the file, in the order of section 13.2.2.
    pub(super) fn judge(&self, fields: &HeaderMap) -> Verdict {
        let lines = |name| fields.get_all(name);
        if fields.contains_key(IF_MATCH) {
            if !self.is_among(lines(IF_MATCH), true) {
                return Verdict::Failed;
            }
        } else if let Some(date) = date(fields.get(IF_UNMODIFIED_SINCE))
            && self.modified.is_none_or(|modified| modified > date)
        {
            return Verdict::Failed;
        }
        if fields.contains_key(IF_NONE_MATCH) {
            if self.is_among(lines(IF_NONE_MATCH), false) {
                return Verdict::NotModified;
            }
        } else if let Some(date) = date(fields.get(IF_MODIFIED_SINCE))
            && self.modified.is_some_and(|modified| modified <= date)
        {
            return Verdict::NotModified;
        }
        Verdict::Send { range: fields.get(IF_RANGE).is_none_or(|line| self.is_the_same(line)) }
    }

    /// Whether the client's part is of this very state (section 13.1.5): by strong comparison, or by the exact date.
    fn is_the_same(&self, line: &HeaderValue) -> bool {
        let text = line.as_bytes().trim_ascii();
        if text.ends_with(b"\"") {
            return self.is_strong && text == self.tag.as_bytes();
        }
        self.is_strong && self.modified.is_some() && date(Some(line)) == self.modified
    }

    fn is_among(&self, lines: GetAll<'_, HeaderValue>, strongly: bool) -> bool {
        let tag = self.tag.as_bytes();
        let opaque = tag.strip_prefix(b"W/").unwrap_or(tag);
        lines.iter().any(|line| {
            let text = line.as_bytes();
            text.trim_ascii() == b"*"
                || tags(text)
                    .any(|(tag, is_weak)| tag == opaque && !(strongly && (is_weak || !self.is_strong)))
        })
    }
}

/// The tags of a line with their quotes, and whether each is weak. Ends at what is no tag.
fn tags(mut text: &[u8]) -> impl Iterator<Item = (&[u8], bool)> {
    std::iter::from_fn(move || {
        while let [b' ' | b'\t' | b',', rest @ ..] = text {
            text = rest;
        }
        let (rest, is_weak) = match text.strip_prefix(b"W/") {
            Some(rest) => (rest, true),
            None => (text, false),
        };
        let inside = rest.strip_prefix(b"\"")?;
        let end = memchr::memchr(b'"', inside)? + 2;
        text = &rest[end..];
        Some((&rest[..end], is_weak))
    })
}

/// A date of a condition. What is none is not looked at.
fn date(line: Option<&HeaderValue>) -> Option<SystemTime> {
    httpdate::parse_http_date(line?.to_str().ok()?.trim()).ok()
}

#[cfg(test)]
mod tests {
    use http::header::HeaderName;

    use super::*;

    /// 2026-03-01 12:00:00.5 UTC.
    const META: Meta =
        Meta { size: 10, modified: (1_772_366_400, 500_000_000), changed: (1_772_366_401, 7), id: (1, 2) };
    const DATE: &str = "Sun, 01 Mar 2026 12:00:00 GMT";
    const BEFORE: &str = "Sun, 01 Mar 2026 11:59:59 GMT";
    const AFTER: &str = "Sun, 01 Mar 2026 12:00:01 GMT";
    const TAG: &str = "\"69a42a40.1dcd6500-a\"";

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(1_772_366_400 + seconds)
    }

    fn judge(lines: &[(&'static str, &str)]) -> Verdict {
        let fields =
            lines.iter().map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap()));
        Validators::of(&META, None, at(60)).judge(&fields.collect())
    }

    #[test]
    fn a_tag_is_of_one_state_and_one_coding() {
        let validators = Validators::of(&META, None, at(60));
        assert_eq!(validators.tag, TAG);
        assert_eq!(validators.modified, Some(at(0)));
        let longer = Validators::of(&Meta { size: 11, ..META }, None, at(60));
        let later = Validators::of(&Meta { modified: (META.modified.0, 500_000_001), ..META }, None, at(60));
        let coded = Validators::of(&META, Some(Coding::Brotli), at(60));
        let elsewhere = Validators::of(&Meta { changed: (0, 0), id: (3, 4), ..META }, None, at(60));
        assert!([&longer, &later, &coded].iter().all(|other| other.tag != TAG));
        assert_eq!(elsewhere.tag, TAG);
    }

    #[test]
    fn a_file_without_a_time_is_known_by_when_it_was_put_there() {
        let built = Meta { modified: (1, 0), ..META };
        let validators = Validators::of(&built, None, at(60));
        assert_eq!(validators.modified, None);
        let again = Meta { changed: (1_772_366_402, 7), ..built };
        assert_ne!(Validators::of(&again, None, at(60)).tag, validators.tag);
    }

    #[test]
    fn what_was_just_written_is_not_vouched_for() {
        let young = Validators::of(&META, None, at(1));
        assert_eq!(young.tag, format!("W/{TAG}"));
        let fields = HeaderMap::from_iter([(IF_NONE_MATCH, young.tag.clone())]);
        assert_eq!(young.judge(&fields), Verdict::NotModified);
        for (name, value) in [(IF_RANGE, TAG), (IF_RANGE, young.tag.to_str().unwrap()), (IF_RANGE, DATE)] {
            let fields = HeaderMap::from_iter([(name, value.parse().unwrap())]);
            assert_eq!(young.judge(&fields), Verdict::Send { range: false }, "{value}");
        }
        let fields = HeaderMap::from_iter([(IF_MATCH, TAG.parse().unwrap())]);
        assert_eq!(young.judge(&fields), Verdict::Failed);
        let future = Validators::of(&META, None, at(0) - Duration::from_secs(10));
        assert_eq!(future.modified, None);
    }

    #[test]
    fn conditions_in_their_order() {
        let (send, whole) = (Verdict::Send { range: true }, Verdict::Send { range: false });
        let other = "\"x\"";
        for (lines, expected) in [
            (&[][..], send),
            (&[("if-none-match", TAG)], Verdict::NotModified),
            (&[("if-none-match", "W/\"69a42a40.1dcd6500-a\"")], Verdict::NotModified),
            (&[("if-none-match", "\"a,b\", \"69a42a40.1dcd6500-a\"")], Verdict::NotModified),
            (&[("if-none-match", "*")], Verdict::NotModified),
            (&[("if-none-match", other)], send),
            (&[("if-none-match", "69a42a40.1dcd6500-a")], send),
            (&[("if-none-match", "")], send),
            (&[("if-none-match", "\"69a42a40.1dcd6500-a")], send),
            (&[("if-modified-since", DATE)], Verdict::NotModified),
            (&[("if-modified-since", AFTER)], Verdict::NotModified),
            (&[("if-modified-since", BEFORE)], send),
            (&[("if-modified-since", "yesterday")], send),
            // The tag counts, not the date.
            (&[("if-none-match", other), ("if-modified-since", AFTER)], send),
            (&[("if-match", TAG)], send),
            (&[("if-match", "*")], send),
            (&[("if-match", other)], Verdict::Failed),
            (&[("if-match", "W/\"69a42a40.1dcd6500-a\"")], Verdict::Failed),
            (&[("if-match", TAG), ("if-unmodified-since", BEFORE)], send),
            (&[("if-unmodified-since", DATE)], send),
            (&[("if-unmodified-since", BEFORE)], Verdict::Failed),
            (&[("if-unmodified-since", "never")], send),
            (&[("if-match", TAG), ("if-none-match", TAG)], Verdict::NotModified),
            (&[("if-match", other), ("if-none-match", TAG)], Verdict::Failed),
            (&[("if-range", TAG)], send),
            (&[("if-range", other)], whole),
            (&[("if-range", "W/\"69a42a40.1dcd6500-a\"")], whole),
            (&[("if-range", DATE)], send),
            (&[("if-range", AFTER)], whole),
            (&[("if-range", "x")], whole),
        ] {
            assert_eq!(judge(lines), expected, "{lines:?}");
        }
    }
}
