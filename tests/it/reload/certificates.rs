//! Certificates of an authority: what is kept of them is served by listeners that come and by those that change.

use std::fs;

use crate::support::session::{Session, written};
use crate::support::tls::{certificate, client_config};
use crate::support::{NO_APP, Sidestream, in_front_of};

const ADDRESS: &str = "address = \"127.0.0.1:0\"";
/// Nobody is there, and nobody is asked: what is kept is good for a thousand years.
const ACME: &str =
    "acme = { domains = [\"test\"], dir = \"kept\", directory = \"https://127.0.0.1:1/directory\" }";

/// Puts what `NAME.crt` and `NAME.key` hold where the authority's certificate is kept, at once.
fn keep(site: &Sidestream, name: &str) {
    let of = |kind| fs::read_to_string(site.path(&format!("{name}.{kind}"))).unwrap();
    put(site, &(of("key") + &of("crt")));
}

fn put(site: &Sidestream, text: &str) {
    let folder = site.path("kept/127.0.0.1_1_directory");
    fs::create_dir_all(&folder).unwrap();
    fs::write(site.path("new.pem"), text).unwrap();
    fs::rename(site.path("new.pem"), folder.join("test.pem")).unwrap();
}

fn shows(site: &Sidestream, name: &str) -> bool {
    let session = Session::begin(site.address(), "test", &client_config(&[]));
    session.is_ok_and(|session| session.certificate == written(site.folder.path(), name))
}

#[test]
fn what_is_kept_is_served_through_reloads() {
    let site = Sidestream::start(&in_front_of(NO_APP, "", ""));
    for name in ["one", "two"] {
        certificate(site.folder.path(), name, &["test"]);
    }
    let with = format!("{ADDRESS}\n{ACME}");
    assert_eq!(site.reload_with(ADDRESS, &with).changed, ["[[listen]]"]);
    assert!(Session::begin(site.address(), "test", &client_config(&[])).is_err(), "there is none yet");
    keep(&site, "one");
    site.comes_true(|| "what has come is served".to_owned(), || shows(&site, "one"));

    // One that stays as it is, and is made anew with what it had.
    site.reload_with("[publish]", "[limits]\nopens_per_second = 999\n[publish]");
    assert!(shows(&site, "one"));
    put(&site, "nothing");
    let (without_h2, mailed) =
        (format!("{with}\nhttp2 = false"), ACME.replace("dir =", "email = \"a@b.c\", dir ="));
    site.reload_with(&with, &without_h2);
    assert!(shows(&site, "one"), "what is kept now is of no use");
    site.reload_with(ACME, &mailed);
    assert!(shows(&site, "one"));

    // Its file is looked at by whom the last reload began.
    keep(&site, "two");
    site.comes_true(|| "what came last is served".to_owned(), || shows(&site, "two"));

    site.reload_with(&mailed, "");
    assert_eq!(site.connect().get("/", "").response().status, 502, "in cleartext");
    // A listener that comes to serve it serves it at once.
    site.reload_with(ADDRESS, &with);
    assert!(shows(&site, "two"));
}
