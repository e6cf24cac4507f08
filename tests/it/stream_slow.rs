//! Readers that do not read: what waits for them is bounded, they are cut off, and nobody else notices.

use std::io::{ErrorKind, Read as _, Write as _};

use crate::support::narrow::{narrow, narrow_client, narrow_tls_client};
use crate::support::{Client, NO_APP, Program, Sidestream, Subscriber, in_front_of, publish, tls, token};

fn event(user: &str, number: usize, size: usize) -> String {
    format!(r#"{{"user": "{user}", "data": "{number} {}"}}"#, "x".repeat(size))
}

fn number(data: &str) -> usize {
    data.split(' ').next().unwrap().parse().unwrap()
}

#[test]
fn one_who_does_not_read_is_cut_off_and_resumes_where_it_was() {
    let folder = tempfile::tempdir().unwrap();
    tls::certificate(folder.path(), "test", &["test"]);
    let more = "[[listen]]\naddress = \"127.0.0.1:0\"\ntls = [{ cert = \"test.crt\", key = \"test.key\" }]\n\
                [store]\nbytes = \"64MiB\"\n";
    let site = Sidestream::start_in(folder, &in_front_of(NO_APP, "backlog = \"32KiB\"", more));
    for over_tls in [false, true] {
        let evicted = site.count("evicted");
        let connect = || match over_tls {
            true => narrow_tls_client(site.address_of(1)),
            false => narrow_client(site.address()),
        };
        let mut slow = Subscriber::of(connect(), "42");
        let mut quick = Subscriber::of(site.connect(), "42");
        let mut published = 0;
        while site.count("evicted") == evicted {
            site.publish(&event("42", published, 50_000));
            // Nobody else waits for the slow one.
            assert_eq!(number(&quick.data()), published);
            published += 1;
            assert!(published < 1000, "it is never cut off");
        }
        // Its own buffers, what the system holds, a TLS session's buffer, and the backlog: not the megabytes that a socket's
        // buffer may grow to.
        assert!(published < 20, "{published} events of 50 kB wait for a reader who does not read");
        assert_eq!(site.count("streams"), 1, "the slow one is gone, the quick one is not");
        site.publish(&event("42", published, 10));
        assert_eq!(number(&quick.data()), published);

        // What was on its way arrives, up to some place; from there it goes on.
        let mut next = 0;
        while let Some(said) = slow.try_event() {
            assert_eq!(number(&said.data.unwrap()), next);
            next += 1;
        }
        assert!(next < published, "it was cut off before the end");
        let mut again = Subscriber::resume(connect(), "42", &slow.last_id);
        for expected in next..=published {
            assert_eq!(number(&again.data()), expected);
        }
        assert_eq!((site.count("evicted"), site.count("resets")), (evicted + 1, 0));
        drop((quick, again));
        site.becomes("streams", 0);
    }
}

#[test]
fn it_is_reset_and_the_log_says_why() {
    let site = Sidestream::start(&in_front_of(NO_APP, "backlog = \"1KiB\"", ""));
    let mut slow = narrow(site.address());
    let request = format!("GET /events?token={} HTTP/1.1\r\nHost: x\r\n\r\n", token("42"));
    slow.write_all(request.as_bytes()).unwrap();
    site.becomes("streams", 1);
    site.comes(|| site.publish(&event("42", 1, 20_000)), |reply| reply["delivered"] == 0);
    site.becomes("evicted", 1);
    assert_eq!(site.count("streams"), 0);
    // What has arrived can be read. What the system held is thrown away, and the end is no end of a whole body.
    let mut read = Vec::new();
    let error = slow.read_to_end(&mut read).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    assert!(read.len() < 100_000 && !read.ends_with(b"0\r\n\r\n"));
    let log = || site.access_log();
    let closed = site.comes(log, |log| log.contains("\"close\""));
    assert!(closed.contains("\"reason\":\"evicted\""), "{closed}");
}

#[test]
fn what_it_asked_to_get_again_does_not_count_against_it() {
    let site = Sidestream::start(&in_front_of(NO_APP, "backlog = \"1KiB\"", "[store]\nbytes = \"64MiB\"\n"));
    let mut first = Subscriber::of(site.connect(), "42");
    // Far more than the socket takes at once.
    for published in 0..100 {
        site.publish(&event("42", published, 100_000));
        assert_eq!(number(&first.data()), published);
    }
    let start = format!("{}-0", first.last_id.split_once('-').unwrap().0);
    let mut slow = Subscriber::resume(narrow_client(site.address()), "42", &start);
    site.publish(&event("42", 100, 10));
    assert_eq!(number(&first.data()), 100);
    for expected in 0..=100 {
        assert_eq!(number(&slow.data()), expected);
    }
    assert_eq!(site.count("evicted"), 0);
}

#[test]
fn one_event_may_be_larger_than_all_that_may_wait() {
    let site = Sidestream::start(&in_front_of(NO_APP, "backlog = \"1KiB\"", ""));
    let mut subscriber = Subscriber::of(narrow_client(site.address()), "42");
    for number_of in 0..3 {
        site.publish(&event("42", number_of, 250_000));
        assert_eq!(number(&subscriber.data()), number_of);
    }
    assert_eq!(site.count("evicted"), 0);
}

#[test]
fn memory_does_not_grow_with_what_is_not_read() {
    let program = Program::run(&in_front_of(NO_APP, "", ""));
    let connection = || narrow_client(&program.address);
    // With the quick one, as many as a user may have.
    let slow: Vec<_> = (0..19).map(|_| Subscriber::of(connection(), "42")).collect();
    // Not a narrow one: after a minute in which its window never holds a segment of this machine's own network, the system
    // takes a client for gone.
    let mut quick = Subscriber::of(Client::connect(&program.address), "42");
    let mut before = 0;
    for published in 0..250 {
        let reply = publish(&program.publish_socket(), &event("42", published, 250_000));
        assert_eq!(number(&quick.data()), published, "{reply}");
        if published == 50 {
            // History is full, and everybody else has been cut off.
            assert_eq!(reply["delivered"], 1);
            before = program.memory();
        }
    }
    let grown = program.memory().saturating_sub(before);
    assert!(grown < 16 * 1024, "{grown} KiB more after 50 MB");
    drop(slow);
}
