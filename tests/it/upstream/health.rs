//! Health checks: whole requests, whose answers decide where the others go.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use crate::support::client::field;
use crate::support::{App, Backend, Sidestream, Site};

const CHECKED: &str = "health = { path = \"/healthz?x\", every = \"100ms\" }";

/// An app that says its name, and whether it is well when it is asked that.
struct Patient {
    app: App,
    is_well: Arc<AtomicBool>,
    checks: Arc<AtomicUsize>,
}

impl Patient {
    fn start(name: &'static str) -> Self {
        let (is_well, checks) = (Arc::new(AtomicBool::new(true)), Arc::new(AtomicUsize::new(0)));
        let (well, count) = (is_well.clone(), checks.clone());
        let app = App::start(move |mut client| {
            while let Some(head) = client.try_head() {
                let answer = if !head.starts_with("GET /healthz?x ") {
                    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{name}", name.len())
                } else {
                    count.fetch_add(1, Ordering::SeqCst);
                    let status = if well.load(Ordering::SeqCst) { "302 Found" } else { "500 Oops" };
                    format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n")
                };
                if client.try_send(answer).is_err() {
                    return;
                }
            }
        });
        Self { app, is_well, checks }
    }
}

/// Four answers.
fn said(site: &Sidestream) -> String {
    (0..4).map(|_| site.connect().get("/", "").response().text()).collect()
}

#[test]
fn a_server_that_is_not_well_is_passed_over_until_it_is() {
    let (one, two) = (Patient::start("a"), Patient::start("b"));
    let origins = format!("{}\", \"{}", one.app.origin(), two.app.origin());
    let site = Site::before(origins).workers(3).upstream(CHECKED).start();
    one.is_well.store(false, Ordering::SeqCst);
    site.comes(|| said(&site), |said| said == "bbbb");
    // Not after the first failure.
    assert!(one.checks.load(Ordering::SeqCst) >= 3);
    one.is_well.store(true, Ordering::SeqCst);
    site.comes(|| said(&site), |said| said == "abab" || said == "baba");
    // When none is well, all are asked.
    for patient in [&one, &two] {
        patient.is_well.store(false, Ordering::SeqCst);
    }
    let checks = [&one, &two].map(|patient| patient.checks.load(Ordering::SeqCst));
    site.comes_true(
        || "both are down".to_owned(),
        || {
            let now = [&one, &two].map(|patient| patient.checks.load(Ordering::SeqCst));
            now.iter().zip(checks).all(|(now, before)| *now > before + 4)
        },
    );
    let said = said(&site);
    assert!(said.contains('a') && said.contains('b'), "{said}");
}

#[test]
fn a_check_is_a_whole_request_for_the_host_that_the_app_knows() {
    let backend = Backend::start();
    let checked = "health = { path = \"/up\", every = \"100ms\", host = \"shop.example\" }";
    let site = Site::before(backend.origin()).workers(4).upstream(checked);
    let site = site.start();
    for _ in 0..2 {
        let mut app = backend.accept();
        let head = app.head();
        assert!(head.starts_with("GET /up HTTP/1.1\r\n"), "{head}");
        assert_eq!(field(&head, "host"), Some("shop.example"));
        app.answer("");
        app.closed();
    }
    drop(site);
}

#[test]
fn a_check_takes_its_turn() {
    let backend = Backend::start();
    let site = Site::before(backend.origin()).upstream(CHECKED).upstream("max_connections = 1").start();
    let mut client = site.connect();
    client.get("/", "");
    let mut app = loop {
        let mut app = backend.accept();
        if app.head().starts_with("GET / ") {
            break app;
        }
        app.send("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
    };
    let begun = std::time::Instant::now();
    while begun.elapsed() < std::time::Duration::from_millis(400) {
        assert!(backend.is_left_alone(), "it is busy, and gets one more");
        std::thread::yield_now();
    }
    app.answer("ok");
    assert_eq!(client.response().text(), "ok");
    let mut app = backend.accept();
    assert!(app.head().starts_with("GET /healthz?x "));
    app.answer("");
}
