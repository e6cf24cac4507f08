//! One line of the access log.

use std::io::Write as _;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::format::{Combined, Format, logfmt};

/// Query parameters whose values never reach a log, besides those that the configuration names.
const SECRET_PARAMETERS: [&str; 8] =
    ["token", "access_token", "id_token", "jwt", "ticket", "authorization", "api_key", "signature"];

/// What stands for a secret value.
const REDACTED: &str = "-";

/// The longest target that is written; the rest is cut. Bounds a line whatever the client sends.
const MAX_TARGET: usize = 2048;

/// A line under construction: the fields that every line has come first, then those that the caller adds.
#[derive(Debug)]
pub struct Line<'a> {
    out: &'a mut Vec<u8>,
    secret_parameters: &'a [String],
    form: Form,
}

#[derive(Debug)]
enum Form {
    Json,
    Logfmt,
    Combined(Box<Combined>),
}

impl<'a> Line<'a> {
    /// Begins a line.
    pub(super) fn begin(
        out: &'a mut Vec<u8>,
        kind: &str,
        now: SystemTime,
        secret_parameters: &'a [String],
        format: Format,
    ) -> Self {
        let since = now.duration_since(UNIX_EPOCH).unwrap_or_default();
        let (seconds, millis) = (since.as_secs(), since.subsec_millis());
        let form = match format {
            Format::Json => Form::Json,
            Format::Logfmt => Form::Logfmt,
            Format::Combined => Form::Combined(Box::new(Combined::begin(kind, now))),
        };
        // Writing to a Vec cannot fail, here and below.
        let _ = match form {
            Form::Json => write!(out, "{{\"time\":{seconds}.{millis:03},\"kind\":\"{kind}\""),
            Form::Logfmt => write!(out, "time={seconds}.{millis:03} kind={kind}"),
            Form::Combined(_) => Ok(()),
        };
        Self { out, secret_parameters, form }
    }

    /// Adds a text, escaped.
    pub fn text(mut self, name: &str, value: &str) -> Self {
        self.name(name);
        match &mut self.form {
            Form::Json => escape(self.out, value),
            Form::Logfmt => logfmt(self.out, value),
            Form::Combined(combined) => combined.text(name, value),
        }
        self
    }

    /// Adds a target with the secrets of its query taken out.
    pub fn target(self, value: &str) -> Self {
        let shown = redacted(cut(value), self.secret_parameters);
        self.text("target", &shown)
    }

    /// Adds what only a combined line has: the page that a request comes from, without the secrets of its query, and the program.
    pub fn asker(self, referer: &str, agent: &str) -> Self {
        if !matches!(self.form, Form::Combined(_)) {
            return self;
        }
        let shown = without_userinfo(cut(referer));
        let shown = redacted(&shown, self.secret_parameters);
        self.text("referer", &shown).text("agent", cut(agent))
    }

    /// Adds a whole number.
    pub fn number(mut self, name: &str, value: u64) -> Self {
        self.name(name);
        match &mut self.form {
            Form::Combined(combined) => combined.number(name, value),
            _ => self.out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes()),
        }
        self
    }

    /// Adds a duration, in seconds with microseconds.
    pub fn duration(mut self, name: &str, value: Duration) -> Self {
        if !matches!(self.form, Form::Combined(_)) {
            self.name(name);
            let _ = write!(self.out, "{}.{:06}", value.as_secs(), value.subsec_micros());
        }
        self
    }

    /// Writes the name of the field that comes next, where there are names.
    fn name(&mut self, name: &str) {
        let _ = match self.form {
            Form::Json => write!(self.out, ",\"{name}\":"),
            Form::Logfmt => write!(self.out, " {name}="),
            Form::Combined(_) => Ok(()),
        };
    }

    /// Ends the line.
    pub(super) fn end(self) {
        match self.form {
            Form::Json => self.out.extend_from_slice(b"}\n"),
            Form::Logfmt => self.out.push(b'\n'),
            Form::Combined(combined) => combined.end(self.out),
        }
    }
}

/// What of a target is written: what is kept of one for a line that comes later need not be longer.
pub fn cut(target: &str) -> &str {
    let end = target.len().min(MAX_TARGET);
    // A target is ASCII (others are refused); cut elsewhere only if that ever changes.
    target.get(..end).unwrap_or_default()
}

/// A target whose secret parameters have lost their values. Borrowed if it had none.
pub fn redacted<'t>(target: &'t str, secret_parameters: &[String]) -> std::borrow::Cow<'t, str> {
    let Some((path, query)) = target.split_once('?') else {
        return target.into();
    };
    let is_secret = |name: &str| {
        let name = percent_encoding::percent_decode_str(name).decode_utf8_lossy();
        SECRET_PARAMETERS.iter().any(|s| s.eq_ignore_ascii_case(&name))
            || secret_parameters.iter().any(|s| s.eq_ignore_ascii_case(&name))
    };
    // Some write `?` or `;` for `&`; what comes after is nothing that a provider reads, and a secret all the same.
    let pairs = || query.split_inclusive(['&', '?', ';']);
    if !pairs().any(|pair| pair.split_once('=').is_some_and(|(name, _)| is_secret(name))) {
        return target.into();
    }
    let mut out = String::with_capacity(target.len());
    out.push_str(path);
    out.push('?');
    for pair in pairs() {
        match pair.split_once('=') {
            Some((name, value)) if is_secret(name) => {
                out.push_str(name);
                out.push('=');
                out.push_str(REDACTED);
                out.push_str(value.get(value.trim_end_matches(['&', '?', ';']).len()..).unwrap_or_default());
            }
            _ => out.push_str(pair),
        }
    }
    out.into()
}

/// A host, or the address of a page, without the name and the password that may stand before it.
pub fn without_userinfo(text: &str) -> std::borrow::Cow<'_, str> {
    let start = text.find("//").map_or(0, |at| at + 2);
    let (scheme, rest) = text.split_at(start);
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    match rest.get(..end).and_then(|host| host.rfind('@')) {
        Some(at) => format!("{scheme}{}", rest.get(at + 1..).unwrap_or_default()).into(),
        None => text.into(),
    }
}

/// Writes a JSON string. Control characters are escaped, so a line is always one line, and none of them does anything to
/// the terminal that it is read on: neither those of ASCII nor those behind DEL (C1), which come as two bytes.
pub(super) fn escape(out: &mut Vec<u8>, value: &str) {
    out.push(b'"');
    let mut bytes = value.bytes().peekable();
    while let Some(byte) = bytes.next() {
        match (byte, bytes.peek()) {
            (b'"' | b'\\', _) => out.extend_from_slice(&[b'\\', byte]),
            (0..=0x1f | 0x7f, _) => {
                let _ = write!(out, "\\u{byte:04x}");
            }
            (0xc2, Some(&second @ 0x80..=0x9f)) => {
                bytes.next();
                let _ = write!(out, "\\u{second:04x}");
            }
            _ => out.push(byte),
        }
    }
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn secrets_leave_the_query() {
        let own = ["sesame".to_owned()];
        for (target, expected) in [
            ("/events", "/events"),
            ("/events?channels=a", "/events?channels=a"),
            ("/events?token=abc.def", "/events?token=-"),
            ("/events?a=1&TOKEN=abc&b=2", "/events?a=1&TOKEN=-&b=2"),
            ("/events?t%6fken=abc", "/events?t%6fken=-"),
            ("/events?sesame=abc&token", "/events?sesame=-&token"),
            ("/events?token=a&token=b=c", "/events?token=-&token=-"),
            ("/events?a=b?token=c;ticket=d&e", "/events?a=b?token=-;ticket=-&e"),
        ] {
            assert_eq!(redacted(target, &own), expected);
        }
    }

    #[test]
    fn who_is_named_before_a_host_is_left_out() {
        for (text, expected) in [
            ("shop.example", "shop.example"),
            ("ana:sesame@shop.example:8080", "shop.example:8080"),
            ("https://ana:se@same@shop.example/a@b?c@d", "https://shop.example/a@b?c@d"),
            ("https://shop.example/a@b", "https://shop.example/a@b"),
        ] {
            assert_eq!(without_userinfo(text), expected);
        }
    }

    proptest! {
        #[test]
        fn a_line_is_one_json_object(user in ".*", status: u16) {
            let mut buffer = Vec::new();
            let now = UNIX_EPOCH + Duration::from_millis(1500);
            Line::begin(&mut buffer, "request", now, &[], Format::Json)
                .text("user", &user)
                .number("status", status.into())
                .duration("duration", Duration::from_micros(12))
                .end();
            prop_assert_eq!(buffer.iter().filter(|b| **b == b'\n').count(), 1);
            let text = std::str::from_utf8(&buffer).unwrap();
            prop_assert!(!text.trim_end().chars().any(char::is_control));
            let read: serde_json::Value = serde_json::from_slice(&buffer).unwrap();
            prop_assert_eq!(&read["user"], &user);
            prop_assert_eq!(&read["time"], 1.5);
            prop_assert_eq!(&read["duration"], 0.000_012);
        }
    }
    fn in_form(format: Format, kind: &str, client: &str) -> String {
        let mut buffer = Vec::new();
        let now = UNIX_EPOCH + Duration::from_millis(1_795_280_580_250);
        Line::begin(&mut buffer, kind, now, &[], format)
            .text("client", client)
            .text("user", "a b")
            .text("method", "GET")
            .target("/a?token=secret")
            .text("protocol", "HTTP/2")
            .number("status", 200)
            .number("bytes", 5)
            .duration("duration", Duration::from_micros(12))
            .asker("https://shop.example/?ticket=secret", "Mozilla/5.0 \"x\"\n")
            .end();
        String::from_utf8(buffer).unwrap()
    }

    #[test]
    fn the_same_line_in_each_form() {
        assert_eq!(
            in_form(Format::Logfmt, "request", "203.0.113.9"),
            "time=1795280580.250 kind=request client=203.0.113.9 user=\"a b\" method=GET target=\"/a?token=-\" \
             protocol=HTTP/2 status=200 bytes=5 duration=0.000012\n"
        );
        assert_eq!(
            in_form(Format::Combined, "request", "203.0.113.9"),
            "203.0.113.9 - a_b [21/Nov/2026:17:03:00 +0000] \"GET /a?token=- HTTP/2\" 200 5 \
             \"https://shop.example/?ticket=-\" \"Mozilla/5.0 \\\"x\\\"\\u000a\"\n"
        );
        assert_eq!(in_form(Format::Combined, "open", "unix"), "", "a stream has one line");
        assert!(in_form(Format::Combined, "close", "a\nb").starts_with("a\\u000ab - "));
    }
}
