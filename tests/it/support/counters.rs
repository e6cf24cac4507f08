//! What a Sidestream counts, as `GET /healthz` on its publish socket says it.

use std::time::{Duration, Instant};

use super::{Client, PATIENCE, Sidestream};

/// The pause between two looks at what must become so.
const LOOK: Duration = Duration::from_millis(2);

impl Sidestream {
    /// One of its counters, by its name.
    pub(crate) fn count(&self, name: &str) -> u64 {
        let health = self.ask("/healthz");
        health[name].as_u64().unwrap_or_else(|| panic!("no {name} in {health}"))
    }

    /// Waits until a counter has a value.
    pub(crate) fn becomes(&self, name: &str, value: u64) {
        let mut seen = 0;
        self.comes_true(
            || format!("{name} is {value}"),
            || {
                seen = self.count(name);
                seen == value
            },
        );
    }

    /// How many streams a channel has.
    pub(crate) fn streams_of(&self, channel: &str) -> u64 {
        self.ask(&format!("/channels/{channel}"))["streams"].as_u64().unwrap()
    }

    /// Waits until something is so.
    pub(crate) fn comes_true(&self, what: impl Fn() -> String, mut is_so: impl FnMut() -> bool) {
        let begun = Instant::now();
        while !is_so() {
            assert!(
                begun.elapsed() < PATIENCE,
                "it does not come true that {}: {}",
                what(),
                self.ask("/healthz")
            );
            std::thread::sleep(LOOK);
        }
    }

    /// Does something again and again until it comes to what is waited for.
    pub(crate) fn comes<T>(&self, mut what: impl FnMut() -> T, is_it: impl Fn(&T) -> bool) -> T {
        let mut last = None;
        self.comes_true(|| "it comes to what is waited for".to_owned(), || is_it(last.insert(what())));
        last.unwrap()
    }

    /// The JSON of a path of the publish socket.
    pub(crate) fn ask(&self, target: &str) -> serde_json::Value {
        let socket = format!("unix:{}", self.publish_socket().display());
        Client::connect(&socket).get(target, "Connection: close\r\n").response().json()
    }
}
