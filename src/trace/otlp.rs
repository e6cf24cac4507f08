//! Spans as OTLP has them, in JSON (opentelemetry-proto, `trace/v1`). Pure.
//!
//! JSON and not protobuf: every collector takes it at the same address, and whoever looks at what is sent can read it.

use std::fmt::Write as _;
use std::time::{SystemTime, UNIX_EPOCH};

use super::span::{Recorded, Value};

const NAME: &str = env!("CARGO_PKG_NAME");
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The status of a span that has failed.
const ERROR: u8 = 2;

/// Who this process is, as every batch says it.
#[derive(Debug)]
pub(super) struct Resource {
    instance: String,
}

impl Resource {
    /// This process, under a name of its own (a UUID of random bits).
    pub(super) fn new() -> Self {
        let bits = fastrand::u128(..) & !(0xf << 76 | 0x3 << 62) | 0x4 << 76 | 0x2 << 62;
        let digits = format!("{bits:032x}");
        let parts = [0..8, 8..12, 12..16, 16..20, 20..32].map(|part| digits.get(part).unwrap_or_default());
        Self { instance: parts.join("-") }
    }

    /// The body of a request that hands in these spans.
    pub(super) fn body(&self, spans: &[Recorded]) -> String {
        let mut out = String::with_capacity(512 + spans.len() * 768);
        out.push_str(r#"{"resourceSpans":[{"resource":{"attributes":["#);
        let said =
            [("service.name", NAME), ("service.version", VERSION), ("service.instance.id", &self.instance)];
        list(&mut out, said, |out, (key, value)| {
            put_attribute(out, key, &Value::Text(value.to_owned().into()));
        });
        // Writing to a String cannot fail, here and below.
        let _ =
            write!(out, r#"]}},"scopeSpans":[{{"scope":{{"name":"{NAME}","version":"{VERSION}"}},"spans":["#);
        list(&mut out, spans, put_span);
        out.push_str("]}]}]}");
        out
    }
}

fn put_span(out: &mut String, span: &Recorded) {
    let Recorded { trace, id, parent, kind, name, start, time, attributes, has_failed } = span;
    let _ = write!(out, r#"{{"traceId":"{trace:032x}","spanId":"{id:016x}""#);
    if let Some(parent) = parent {
        let _ = write!(out, r#","parentSpanId":"{parent:016x}""#);
    }
    let (begun, ended) = (nanos(*start), nanos(*start + *time));
    let kind = *kind as u8;
    let _ = write!(
        out,
        r#","flags":1,"kind":{kind},"startTimeUnixNano":"{begun}","endTimeUnixNano":"{ended}","name":"#
    );
    put_text(out, name);
    out.push_str(r#","attributes":["#);
    list(out, attributes, |out, (key, value)| put_attribute(out, key, value));
    out.push(']');
    if *has_failed {
        let _ = write!(out, r#","status":{{"code":{ERROR}}}"#);
    }
    out.push('}');
}

/// The keys are our own words, which need no escaping.
fn put_attribute(out: &mut String, key: &str, value: &Value) {
    let _ = write!(out, r#"{{"key":"{key}","value":{{"#);
    match value {
        Value::Text(text) => {
            out.push_str(r#""stringValue":"#);
            put_text(out, text);
        }
        // A whole number has 64 bits, and is a string in JSON.
        Value::Number(number) => {
            let _ = write!(out, r#""intValue":"{number}""#);
        }
    }
    out.push_str("}}");
}

fn put_text(out: &mut String, text: &str) {
    // What cannot be written is none: a text always can.
    out.push_str(&serde_json::to_string(text).unwrap_or_else(|_| "\"\"".to_owned()));
}

fn list<T>(out: &mut String, of: impl IntoIterator<Item = T>, mut put: impl FnMut(&mut String, T)) {
    for (place, one) in of.into_iter().enumerate() {
        if place > 0 {
            out.push(',');
        }
        put(out, one);
    }
}

fn nanos(time: SystemTime) -> u128 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;

    use super::*;
    use crate::trace::Kind;

    fn recorded(name: &'static str) -> Recorded {
        Recorded {
            trace: 0xab,
            id: 0xc,
            parent: Some(0xd),
            kind: Kind::Server,
            name: name.into(),
            start: UNIX_EPOCH + Duration::from_nanos(1_500_000_000_000_000_001),
            time: Duration::from_nanos(41),
            attributes: vec![("url.path", "/a\"\n".into()), ("http.response.status_code", 503.into())],
            has_failed: true,
        }
    }

    #[test]
    fn a_batch_is_one_object() {
        let resource = Resource::new();
        let other = Recorded { parent: None, has_failed: false, attributes: Vec::new(), ..recorded("b") };
        let body = resource.body(&[recorded("GET /"), other]);
        let body: serde_json::Value = serde_json::from_str(&body).unwrap();
        let batch = &body["resourceSpans"][0];
        assert_eq!(batch["scopeSpans"][0]["scope"], json!({"name": NAME, "version": VERSION}));
        let said = batch["resource"]["attributes"].as_array().unwrap();
        assert_eq!(said[0], json!({"key": "service.name", "value": {"stringValue": "sidestream"}}));
        assert_eq!(said[2]["value"]["stringValue"], json!(resource.instance));
        let spans = batch["scopeSpans"][0]["spans"].as_array().unwrap();
        assert_eq!(
            spans[0],
            json!({
                "traceId": "000000000000000000000000000000ab",
                "spanId": "000000000000000c",
                "parentSpanId": "000000000000000d",
                "flags": 1,
                "kind": 2,
                "startTimeUnixNano": "1500000000000000001",
                "endTimeUnixNano": "1500000000000000042",
                "name": "GET /",
                "attributes": [
                    {"key": "url.path", "value": {"stringValue": "/a\"\n"}},
                    {"key": "http.response.status_code", "value": {"intValue": "503"}},
                ],
                "status": {"code": 2},
            })
        );
        assert_eq!((&spans[1]["parentSpanId"], &spans[1]["status"]), (&json!(null), &json!(null)));
    }

    #[test]
    fn an_instance_has_a_name_of_its_own() {
        let (one, other) = (Resource::new().instance, Resource::new().instance);
        assert_ne!(one, other);
        let lengths: Vec<_> = one.split('-').map(str::len).collect();
        assert_eq!((lengths, one.as_bytes()[14]), (vec![8, 4, 4, 4, 12], b'4'));
        assert!(b"89ab".contains(&one.as_bytes()[19]), "{one}");
    }
}
