//! Servers whose host has a name.

use rustix::process::Signal;

use crate::support::{App, Backend, Client, Program, Site, in_front_of};

#[test]
fn of_the_addresses_of_a_name_the_next_is_tried() {
    let app = App::that_echoes();
    // In many places `localhost` is ::1 first, where nobody listens.
    let origin = app.origin().replace("127.0.0.1", "localhost");
    let site = Site::before(origin).start();
    for _ in 0..3 {
        assert_eq!(site.connect().get("/", "").response().status, 200);
    }
    assert_eq!(app.connections(), 1);
}

#[test]
fn a_name_that_cannot_be_found_is_no_reason_not_to_start() {
    let backend = Backend::start();
    let site = Site::before(format!("http://app.invalid\", \"{}", backend.origin())).start();
    let mut client = site.connect();
    client.get("/", "");
    let mut app = backend.accept();
    app.head();
    app.answer("ok");
    assert_eq!(client.response().text(), "ok");
}

#[test]
fn the_log_says_which_name_it_is() {
    let program = Program::run(&in_front_of("http://app.invalid", "", ""));
    let response = Client::connect(&program.address).get("/", "").response();
    assert_eq!((response.status, response.field("retry-after")), (502, Some("2")));
    program.signal(Signal::TERM);
    let said = program.end().stderr;
    assert!(said.contains("at http://app.invalid:80: the name of its host cannot be found"), "{said}");
}
