//! A collector that keeps what it is sent, and answers as a test wants.

use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use serde_json::Value;

use crate::support::client::field;
use crate::support::{App, PATIENCE};

/// A collector on a port of its own.
pub(crate) struct Collector {
    app: App,
    status: Arc<AtomicU16>,
    batches: Receiver<Value>,
    seen: Mutex<Vec<Span>>,
}

/// A span as it came.
#[derive(Debug, Clone)]
pub(crate) struct Span(pub(crate) Value);

impl Collector {
    pub(crate) fn start() -> Self {
        let (sender, batches) = channel();
        let status = Arc::new(AtomicU16::new(200));
        let says = status.clone();
        let app = App::start(move |mut client| {
            while let Some(head) = client.try_head() {
                assert!(head.starts_with("POST /v1/traces HTTP/1.1\r\n"), "{head}");
                assert_eq!(field(&head, "content-type"), Some("application/json"), "{head}");
                let length = field(&head, "content-length").unwrap().parse().unwrap();
                let body: Value = serde_json::from_slice(&client.exactly(length)).unwrap();
                let status = says.load(Ordering::SeqCst);
                // Whoever looks for it may have gone.
                let _ = sender.send(serde_json::json!({"status": status, "body": body}));
                let retry = if status == 429 { "Retry-After: 1\r\n" } else { "" };
                let answer = format!("HTTP/1.1 {status} X\r\n{retry}Content-Length: 2\r\n\r\n{{}}");
                if client.try_send(answer).is_err() {
                    return;
                }
            }
        });
        Self { app, status, batches, seen: Mutex::default() }
    }

    /// As `traces` is written.
    pub(crate) fn origin(&self) -> String {
        self.app.origin()
    }

    /// The `[log]` of a site whose spans come here.
    pub(crate) fn log(&self, share: &str) -> String {
        format!("[log]\naccess = \"access.log\"\ntraces = \"{}\"\ntrace_share = {share}\n", self.origin())
    }

    /// Answers with this status from now on.
    pub(crate) fn says(&self, status: u16) {
        self.status.store(status, Ordering::SeqCst);
    }

    /// The next request, as `status` that it is answered with and `body`.
    pub(crate) fn batch(&self) -> Value {
        self.batches.recv_timeout(PATIENCE).expect("a batch of spans")
    }

    /// Waits for a span of this name.
    pub(crate) fn span(&self, name: &str) -> Span {
        self.span_where(name, |span| span.0["name"] == name)
    }

    /// Waits for a span that is the one. Each is given once.
    pub(crate) fn span_where(&self, what: &str, is_it: impl Fn(&Span) -> bool) -> Span {
        let begun = Instant::now();
        let mut seen = self.seen.lock().unwrap();
        loop {
            if let Some(at) = seen.iter().position(&is_it) {
                return seen.remove(at);
            }
            let left = PATIENCE.checked_sub(begun.elapsed()).unwrap_or_default();
            let Ok(batch) = self.batches.recv_timeout(left) else { panic!("no span {what} in {seen:?}") };
            seen.extend(spans(&batch));
        }
    }

    /// All that has come, once nothing more can.
    pub(crate) fn rest(&self) -> Vec<Span> {
        let mut seen = std::mem::take(&mut *self.seen.lock().unwrap());
        seen.extend(self.batches.try_iter().flat_map(|batch| spans(&batch)));
        seen
    }
}

/// The spans of a request.
pub(crate) fn spans(batch: &Value) -> Vec<Span> {
    let resources = batch["body"]["resourceSpans"].as_array().unwrap();
    let scopes = resources.iter().flat_map(|resource| resource["scopeSpans"].as_array().unwrap());
    scopes.flat_map(|scope| scope["spans"].as_array().unwrap()).cloned().map(Span).collect()
}

impl Span {
    /// An attribute: a text as it is, a number in its digits.
    pub(crate) fn get(&self, key: &str) -> Option<&str> {
        let attributes = self.0["attributes"].as_array().unwrap();
        let mut found = attributes.iter().filter(|attribute| attribute["key"] == key);
        let value = &found.next()?["value"];
        assert!(found.next().is_none(), "{key} is there twice: {self:?}");
        value["stringValue"].as_str().or_else(|| value["intValue"].as_str())
    }

    pub(crate) fn trace(&self) -> &str {
        self.0["traceId"].as_str().unwrap()
    }

    pub(crate) fn id(&self) -> &str {
        self.0["spanId"].as_str().unwrap()
    }

    pub(crate) fn parent(&self) -> Option<&str> {
        self.0["parentSpanId"].as_str()
    }

    pub(crate) fn kind(&self) -> u64 {
        self.0["kind"].as_u64().unwrap()
    }

    pub(crate) fn has_failed(&self) -> bool {
        self.0["status"]["code"] == 2
    }

    /// When it began and ended, in nanoseconds.
    pub(crate) fn times(&self) -> (u64, u64) {
        let time = |key: &str| self.0[key].as_str().unwrap().parse().unwrap();
        (time("startTimeUnixNano"), time("endTimeUnixNano"))
    }
}
