//! `traceparent` and `tracestate`, the fields by which a trace goes from one program to the next (W3C Trace Context). Pure.
//!
//! Invariant: what is not to the letter of the standard is no trace, and begins a new one.

use http::header::{HeaderMap, HeaderName, HeaderValue};

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// The length of a `traceparent` of version 00; one of a later version may have more behind it.
const LENGTH: usize = 55;

/// The most entries that a `tracestate` has (section 3.3.1.1), and the most bytes that are passed on of it.
const MAX_ENTRIES: usize = 32;
const MAX_STATE: usize = 2048;

/// The flags that are passed on: recorded, and of random bits.
const SAMPLED: u8 = 1;
const RANDOM: u8 = 2;

/// A place in a trace. Neither number is zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Context {
    pub(super) trace: u128,
    pub(super) span: u64,
    pub(super) is_sampled: bool,
    /// Whether all bits of the trace's number are random, as whoever made it says.
    pub(super) is_random: bool,
}

/// What the fields of a request say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Said {
    Nothing,
    /// What is not a place in a trace.
    Invalid,
    Context(Context),
}

impl Said {
    pub(super) fn of(fields: &HeaderMap) -> Self {
        let mut lines = fields.get_all(TRACEPARENT).iter();
        match (lines.next(), lines.next()) {
            (None, _) => Self::Nothing,
            (Some(one), None) => Context::parse(one.as_bytes()).map_or(Self::Invalid, Self::Context),
            // Nobody could say which of them holds.
            (Some(_), Some(_)) => Self::Invalid,
        }
    }
}

impl Context {
    fn parse(text: &[u8]) -> Option<Self> {
        let (head, rest) = text.split_at_checked(LENGTH)?;
        let version = hex(head.get(..2)?)?;
        if version == 0xff || (version == 0 && !rest.is_empty()) || !(rest.is_empty() || rest[0] == b'-') {
            return None;
        }
        if [2, 35, 52].iter().any(|at| head[*at] != b'-') {
            return None;
        }
        let (trace, span) = (hex(head.get(3..35)?)?, hex(head.get(36..52)?)?);
        let flags = hex(head.get(53..)?)?;
        Some(Self {
            trace: Some(trace).filter(|trace| *trace != 0)?,
            span: u64::try_from(span).ok().filter(|span| *span != 0)?,
            is_sampled: flags & u128::from(SAMPLED) != 0,
            is_random: flags & u128::from(RANDOM) != 0,
        })
    }

    /// Says it in the place of what the fields say.
    pub(super) fn put(self, fields: &mut HeaderMap) {
        let flags = u8::from(self.is_sampled) * SAMPLED + u8::from(self.is_random) * RANDOM;
        let text = format!("00-{:032x}-{:016x}-{flags:02x}", self.trace, self.span);
        // Hexadecimal digits and hyphens are always a valid value.
        if let Ok(value) = HeaderValue::try_from(text) {
            fields.insert(TRACEPARENT, value);
        }
    }
}

/// Takes out all that is said of a trace.
pub(super) fn clear(fields: &mut HeaderMap) {
    fields.remove(TRACEPARENT);
    fields.remove(TRACESTATE);
}

/// Takes out a `tracestate` that is not to the letter; the trace goes on without it (section 3.3).
pub(super) fn clear_bad_state(fields: &mut HeaderMap) {
    let mut lines = fields.get_all(TRACESTATE).iter();
    let (mut entries, mut bytes) = (0, 0);
    let is_good = lines.all(|line| {
        bytes += line.len();
        let mut members = line.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
        members.all(|member| {
            entries += usize::from(!member.is_empty());
            member.is_empty() || is_member(member)
        })
    });
    if !is_good || entries > MAX_ENTRIES || bytes > MAX_STATE {
        fields.remove(TRACESTATE);
    }
}

/// Whether it is `key=value` (section 3.3.1.3).
fn is_member(member: &[u8]) -> bool {
    let Some(equals) = memchr::memchr(b'=', member) else { return false };
    let (key, value) = (&member[..equals], &member[equals + 1..]);
    let is_key_byte =
        |byte: &u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-' | b'*' | b'/' | b'@');
    let begins = key.first().is_some_and(|first| first.is_ascii_lowercase() || first.is_ascii_digit());
    let is_value_byte = |byte: &u8| matches!(byte, 0x20..=0x7e) && !matches!(byte, b',' | b'=');
    (1..=256).contains(&key.len())
        && begins
        && key.iter().all(is_key_byte)
        && (1..=256).contains(&value.len())
        && value.iter().all(is_value_byte)
}

/// A number in hexadecimal digits, which are lower case.
fn hex(text: &[u8]) -> Option<u128> {
    text.iter().try_fold(0, |number: u128, digit| {
        let digit = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return None,
        };
        Some(number << 4 | u128::from(digit))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn said(lines: &[&str]) -> Said {
        let mut fields = HeaderMap::new();
        for line in lines {
            fields.append(TRACEPARENT, line.parse().unwrap());
        }
        Said::of(&fields)
    }

    #[test]
    fn a_place_in_a_trace_is_read_and_written() {
        assert_eq!(said(&[]), Said::Nothing);
        for (flags, is_sampled, is_random) in
            [("00", false, false), ("01", true, false), ("02", false, true), ("ff", true, true)]
        {
            let text = GOOD.replace("-01", &format!("-{flags}"));
            let Said::Context(context) = said(&[&text]) else { panic!("{text}") };
            assert_eq!(
                context,
                Context {
                    trace: 0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736,
                    span: 0x00f0_67aa_0ba9_02b7,
                    is_sampled,
                    is_random,
                }
            );
            let mut fields = HeaderMap::new();
            context.put(&mut fields);
            let known = if flags == "ff" { "03" } else { flags };
            assert_eq!(fields[TRACEPARENT], text.replace("-ff", &format!("-{known}")));
        }
        // Of a later version what is known of it.
        for later in [GOOD.replacen("00", "cc", 1), format!("{}-what-comes", GOOD.replacen("00", "cc", 1))] {
            assert!(matches!(said(&[&later]), Said::Context(_)), "{later}");
        }
    }

    #[test]
    fn what_is_not_to_the_letter_is_none() {
        for bad in [
            "",
            "x",
            &GOOD[..54],
            &GOOD.replacen("00", "ff", 1),
            &GOOD.replacen("00", "0x", 1),
            &GOOD.to_uppercase(),
            &format!("{GOOD}-x"),
            &format!("{GOOD}0"),
            &format!("{}x", GOOD.replacen("00", "cc", 1)),
            &GOOD.replace("-01", "-0g"),
            &GOOD.replace("-01", "_01"),
            &GOOD.replace("4bf92f3577b34da6a3ce929d0e0e4736", &"0".repeat(32)),
            &GOOD.replace("00f067aa0ba902b7", &"0".repeat(16)),
            &GOOD.replace("00f067aa0ba902b7", "00f067aa0ba902b-"),
        ] {
            assert_eq!(said(&[bad]), Said::Invalid, "{bad}");
        }
        assert_eq!(said(&[GOOD, GOOD]), Said::Invalid);
    }

    #[test]
    fn a_bad_state_ends_here() {
        let left = |lines: &[&str]| {
            let mut fields = HeaderMap::new();
            for line in lines {
                fields.append(TRACESTATE, line.parse().unwrap());
            }
            clear_bad_state(&mut fields);
            fields.get_all(TRACESTATE).iter().count()
        };
        let many = |count: usize| (0..count).map(|n| format!("k{n}=v")).collect::<Vec<_>>().join(",");
        assert_eq!(left(&["a=1, fw529a3039@dt=FfAAA==,b=2"]), 0, "an equals sign in a value");
        assert_eq!(left(&["rojo=00f067aa0ba902b7,congo=t61rcWkgMzE", "tenant@vendor=x y"]), 2);
        assert_eq!((left(&[&many(32)]), left(&[&many(33)])), (1, 0));
        for bad in ["a", "=1", "a=", "A=1", "a=1;b", "a\u{9}=1"] {
            assert_eq!(left(&[bad]), usize::from(bad == "a=1;b"), "{bad}");
        }
        assert_eq!(left(&[&format!("a={}", "x".repeat(257))]), 0);
    }
}
