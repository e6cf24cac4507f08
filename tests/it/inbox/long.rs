//! Much that is unread: it comes in pages, with what is published meanwhile behind it.

use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::json;

use super::{MOMENT, STORES, all_is_read, notify, site};
use crate::support::narrow::narrow_client;
use crate::support::{Sidestream, Subscriber};

/// More than a few pages, and more than one page of the app's.
const MANY: usize = 3000;

fn sites(stream: &'static str) -> impl Iterator<Item = Sidestream> {
    STORES.into_iter().map(move |store| site(stream, &format!("{store}events = 20000\nbytes = \"64MiB\"")))
}

/// Publishes many for a user, an array at a time.
fn notify_many(site: &Sidestream, user: u64, numbers: std::ops::Range<usize>) {
    for start in numbers.clone().step_by(500) {
        let batch: Vec<_> = (start..numbers.end.min(start + 500))
            .map(|number| json!({ "user": user, "data": number.to_string() }))
            .collect();
        let said = site.post("/publish", &serde_json::Value::from(batch).to_string());
        assert_eq!(said.status, 200, "{}", said.text());
    }
}

fn numbers(range: std::ops::Range<usize>) -> Vec<String> {
    range.map(|number| number.to_string()).collect()
}

#[test]
fn all_of_it_comes_in_order_and_live_events_behind_it() {
    for site in sites("") {
        notify_many(&site, 42, 0..MANY);
        assert_eq!(site.ask("/inbox/42")["unread"], MANY);
        let is_over = AtomicBool::new(false);
        let (mut tab, live) = std::thread::scope(|scope| {
            // Other users' and the user's own, from before the stream begins until after it has caught up.
            let publishing = scope.spawn(|| {
                let mut count = MANY;
                while !is_over.load(Ordering::Relaxed) {
                    notify_many(&site, 43, 0..10);
                    notify_many(&site, 42, count..count + 1);
                    count += 1;
                }
                count
            });
            let mut tab = Subscriber::of(site.connect(), "42");
            assert_eq!(told(&mut tab, MANY), numbers(0..MANY));
            is_over.store(true, Ordering::Relaxed);
            (tab, publishing.join().unwrap())
        });
        assert_eq!(told(&mut tab, live - MANY), numbers(MANY..live));
        assert!(tab.is_silent_for(MOMENT));
        all_is_read(&site, 42);
        assert!(Subscriber::of(site.connect(), "42").is_silent_for(MOMENT));
    }
}

/// The data of so many events. What only leaves the client at an id is none.
fn told(tab: &mut Subscriber, events: usize) -> Vec<String> {
    let mut all = Vec::new();
    while all.len() < events {
        all.extend(tab.event().data);
    }
    all
}

#[test]
fn one_who_reads_slowly_gets_a_page_at_a_time_and_the_rest_stays_unread() {
    // Far more than the system's buffers take.
    const EVENTS: usize = 450;
    let large = "x".repeat(20_000);
    let number = |data: &str| data.split(' ').next().unwrap().parse::<usize>().unwrap();
    for site in sites("backlog = \"1KiB\"") {
        for number in 0..EVENTS {
            notify(&site, 42, &format!("{number} {large}"));
        }
        let mut slow = Subscriber::of(narrow_client(site.address()), "42");
        for number in EVENTS..EVENTS + 20 {
            notify(&site, 42, &format!("{number} {large}"));
        }
        assert!(site.count("replayed") < EVENTS as u64, "it was read before anybody took it");
        for (place, data) in told(&mut slow, 100).iter().enumerate() {
            assert_eq!(number(data), place);
        }
        drop(slow);
        site.comes_true(|| "the reader is gone".to_owned(), || site.streams_of("user:42") == 0);
        // What its socket has taken is read, also that which it was still given before.
        let left = usize::try_from(site.ask("/inbox/42")["unread"].as_u64().unwrap()).unwrap();
        assert!((1..EVENTS + 20 - 90).contains(&left), "{left}");
        let mut back = Subscriber::of(site.connect(), "42");
        for (place, data) in told(&mut back, left).iter().enumerate() {
            assert_eq!(number(data), EVENTS + 20 - left + place);
        }
        all_is_read(&site, 42);
        assert_eq!((site.count("evicted"), site.count("resets")), (0, 0));
    }
}
