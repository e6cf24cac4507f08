//! The forms of a line: JSON and logfmt have the same fields, and combined is what Apache and nginx write.

use std::io::Write as _;
use std::time::SystemTime;

use super::line::escape;

/// How the lines of the access log look.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Format {
    /// An object a line.
    #[default]
    Json,
    /// `name=value`, with quotes and escapes as in JSON where a value has more than letters, digits and `-._:/@`.
    Logfmt,
    /// `client - user [time] "request" status bytes "referer" "agent"`. A stream has one line, when it ends.
    Combined,
}

/// What a combined line is made of; what nobody has said is `-`.
#[derive(Debug)]
pub(super) struct Combined {
    now: SystemTime,
    is_wanted: bool,
    client: String,
    user: String,
    method: String,
    target: String,
    protocol: String,
    status: u64,
    bytes: Option<u64>,
    referer: String,
    agent: String,
}

impl Combined {
    /// A line of a kind. A stream's is written at its end, with 200 and no count of bytes; HTTP/1.1 stands for its protocol.
    pub(super) fn begin(kind: &str, now: SystemTime) -> Self {
        let is_stream = kind == "close";
        let either = |stream: &str| if is_stream { stream.to_owned() } else { String::new() };
        Self {
            now,
            is_wanted: kind != "open",
            client: String::new(),
            user: String::new(),
            method: either("GET"),
            target: String::new(),
            protocol: either("HTTP/1.1"),
            status: if is_stream { 200 } else { 0 },
            bytes: None,
            referer: String::new(),
            agent: String::new(),
        }
    }

    pub(super) fn text(&mut self, name: &str, value: &str) {
        let place = match name {
            "client" => &mut self.client,
            "user" => &mut self.user,
            "method" => &mut self.method,
            "target" => &mut self.target,
            "protocol" => &mut self.protocol,
            "referer" => &mut self.referer,
            "agent" => &mut self.agent,
            _ => return,
        };
        value.clone_into(place);
    }

    pub(super) fn number(&mut self, name: &str, value: u64) {
        match name {
            "status" => self.status = value,
            "bytes" => self.bytes = Some(value),
            _ => {}
        }
    }

    pub(super) fn end(self, out: &mut Vec<u8>) {
        if !self.is_wanted {
            return;
        }
        // As hyper and the log's readers have it: `Sat, 21 Nov 2026 17:03:00 GMT` becomes `21/Nov/2026:17:03:00 +0000`.
        let date = httpdate::fmt_http_date(self.now);
        let part = |range| date.get(range).unwrap_or("-");
        let (day, month, year, time) = (part(5..7), part(8..11), part(12..16), part(17..25));
        // A space or a quote in a user's name would be read as the next field's.
        let user: String = self.user.chars().map(|c| if c == ' ' || c == '"' { '_' } else { c }).collect();
        let request = if self.target.is_empty() && self.method.is_empty() {
            String::new()
        } else {
            format!("{} {} {}", self.method, self.target, self.protocol)
        };
        plain(out, &self.client);
        out.extend_from_slice(b" - ");
        plain(out, &user);
        let _ = write!(out, " [{day}/{month}/{year}:{time} +0000] ");
        quoted(out, &request);
        let _ = write!(out, " {} ", self.status);
        match self.bytes {
            Some(bytes) => out.extend_from_slice(itoa::Buffer::new().format(bytes).as_bytes()),
            None => out.push(b'-'),
        }
        for text in [&self.referer, &self.agent] {
            out.push(b' ');
            quoted(out, text);
        }
        out.push(b'\n');
    }
}

/// Writes a text between quotes, or `-` between them for none.
fn quoted(out: &mut Vec<u8>, text: &str) {
    escape(out, if text.is_empty() { "-" } else { text });
}

/// Writes a text without quotes, or `-` for none. What would end a line or touch a terminal is escaped.
fn plain(out: &mut Vec<u8>, text: &str) {
    let begun = out.len();
    quoted(out, text);
    out.pop();
    out.remove(begun);
}

/// Writes a logfmt value.
pub(super) fn logfmt(out: &mut Vec<u8>, value: &str) {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:/@".contains(&byte);
    if !value.is_empty() && value.bytes().all(is_plain) {
        out.extend_from_slice(value.as_bytes());
    } else {
        escape(out, value);
    }
}
