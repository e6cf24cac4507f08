//! Certificates whose files change: new connections get the new ones, old connections notice nothing.

use std::fs;
use std::path::Path;

use crate::mutual_tls::Authority;
use crate::support::session::{Session, written};
use crate::support::settings::Settings;
use crate::support::tls::{self, certificate, client_config};
use crate::support::{App, NO_APP, Program, Sidestream, Subscriber, publish};

const LISTEN: &str = "tls = [{ cert = \"site.crt\", key = \"site.key\" }]\n";

fn site(listen: &str, upstream: &str) -> Sidestream {
    let folder = tempfile::tempdir().unwrap();
    certificate(folder.path(), "site", &["test"]);
    let settings = Settings { listen: &format!("{LISTEN}{listen}"), ..Settings::default() };
    Sidestream::start_in(folder, &settings.text(&[upstream]))
}

/// Whether a new connection is shown the certificate that is in a file now.
fn shows(site: &Sidestream, name: &str) -> bool {
    let session = Session::begin(site.address(), "test", &client_config(&[])).unwrap();
    session.certificate == written(site.folder.path(), name)
}

/// Puts a pair in the place of the one that is served, as those do who renew: each file at once.
fn replace(folder: &Path, name: &str) {
    for kind in ["crt", "key"] {
        fs::rename(folder.join(format!("{name}.{kind}")), folder.join(format!("site.{kind}"))).unwrap();
    }
}

#[test]
fn new_connections_get_the_new_one_and_the_others_go_on() {
    let app = App::that_says("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    let site = site("", &app.origin());
    let mut request = tls::connect(site.address(), "test");
    assert_eq!(request.get("/", "").response().text(), "ok");
    let mut subscriber = Subscriber::of(tls::connect(site.address(), "test"), "1");
    let before = written(site.folder.path(), "site");

    for renewed in 1..=2 {
        certificate(site.folder.path(), "new", &["test"]);
        replace(site.folder.path(), "new");
        assert!(written(site.folder.path(), "site") != before);
        site.comes_true(|| "the new certificate is shown".to_owned(), || shows(&site, "site"));
        assert_eq!(request.get("/", "").response().text(), "ok", "renewed {renewed} times");
        assert_eq!(site.publish(r#"{"user": 1, "data": "still here"}"#)["delivered"], 1);
        assert_eq!(subscriber.data(), "still here");
    }
}

#[test]
fn sessions_outlive_a_certificate() {
    let site = site("", NO_APP);
    let config = client_config(&["http/1.1"]);
    let resumed = || {
        let mut session = Session::begin(site.address(), "test", &config).unwrap();
        // Its ticket comes with the answer.
        session.client.send("GET / HTTP/1.1\r\nHost: a b\r\n\r\n").response();
        session.resumed
    };
    assert!(!resumed());
    assert!(resumed());
    certificate(site.folder.path(), "new", &["test"]);
    replace(site.folder.path(), "new");
    site.comes_true(|| "the new certificate is shown".to_owned(), || shows(&site, "site"));
    assert!(resumed());
}

#[test]
fn who_vouches_for_clients_changes_too() {
    let folder = tempfile::tempdir().unwrap();
    certificate(folder.path(), "site", &["test"]);
    let (old, new) = (Authority::new(), Authority::new());
    old.write(folder.path());
    let settings =
        Settings { listen: &format!("{LISTEN}client_ca = \"clients.pem\"\n"), ..Settings::default() };
    let app = App::that_echoes();
    let site = Sidestream::start_in(folder, &settings.text(&[&app.origin()]));
    let (old_client, new_client) = (old.client().0, new.client().0);
    let is_let_in = |config| {
        let Ok(mut session) = Session::begin(site.address(), "test", config) else { return false };
        session.client.try_send("GET / HTTP/1.1\r\nHost: test\r\n\r\n").is_ok()
            && session.client.try_head().is_some()
    };
    let mut inside = Session::begin(site.address(), "test", &old_client).unwrap();
    assert!(is_let_in(&old_client) && !is_let_in(&new_client));
    new.write(site.folder.path());
    site.comes_true(|| "the new ones are let in".to_owned(), || is_let_in(&new_client));
    assert!(!is_let_in(&old_client));
    assert_eq!(inside.client.get("/", "").response().status, 200);
}

#[test]
fn files_that_are_wrong_leave_the_last_good_ones_and_are_spoken_of_once() {
    let folder = tempfile::tempdir().unwrap();
    certificate(folder.path(), "site", &["test"]);
    certificate(folder.path(), "other", &["other.example"]);
    let listen = "tls = [{ cert = \"site.crt\", key = \"site.key\" }, { cert = \"other.crt\", key = \"other.key\" }]\n";
    let settings = Settings { listen, ..Settings::default() };
    let program = Program::run_in(folder, &settings.text(&[NO_APP]));
    let folder = program.folder.path();
    let shown_for = |host| Session::begin(&program.address, host, &client_config(&[])).unwrap().certificate;
    let shown = || shown_for("test");
    let good = written(folder, "site");

    // The key of another one; then half a file; then none; each for long enough to be seen.
    certificate(folder, "new", &["test"]);
    let next = written(folder, "new");
    let wait = |what: &str| {
        program.says(what);
        assert!(shown() == good, "after {what}");
    };
    fs::copy(folder.join("new.crt"), folder.join("site.crt")).unwrap();
    wait("the key does not belong to the certificate");
    fs::write(folder.join("site.crt"), "-----BEGIN CERTIFICATE-----\nAAAA").unwrap();
    wait("the certificate file is not valid PEM");
    fs::remove_file(folder.join("site.key")).unwrap();
    fs::copy(folder.join("new.crt"), folder.join("site.crt")).unwrap();
    wait("the key file cannot be read");
    // Another one is in nobody's way.
    certificate(folder, "other", &["other.example"]);
    wait("new certificates are served from now on");
    assert!(shown_for("other.example") == written(folder, "other"));

    fs::copy(folder.join("new.key"), folder.join("site.key")).unwrap();
    let begun = std::time::Instant::now();
    while program.said().matches("are served from now on").count() < 2 {
        assert!(begun.elapsed() < crate::support::PATIENCE, "{}", program.said());
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
    assert!(shown() == next);
    assert!(publish(&program.publish_socket(), r#"{"user": 1, "data": 1}"#)["id"].is_string());
    let said = program.said();
    // The last of the three was wrong when the other one changed, too, if that was not found at the same look.
    assert!((3..=4).contains(&said.matches("cannot be used").count()), "{said}");
}
