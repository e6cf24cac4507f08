//! How much is said on stderr, by area, and changed while it runs.

use rustix::process::Signal;

use crate::support::{Client, NO_APP, Program, in_front_of};

#[test]
fn an_area_has_a_level_of_its_own_and_another_after_a_reload() {
    let config = |level: &str| {
        let config = in_front_of(NO_APP, "unauthorized = \"event\"", "");
        config.replace("[log]", &format!("[log]\nlevel = \"{level}\""))
    };
    // One makes the area `connection` say something at `debug`, the other `router`.
    let nonsense = |program: &Program| {
        assert_eq!(Client::connect(&program.address).send("nonsense\r\n\r\n").response().status, 400);
    };
    let refused = |program: &Program| {
        Client::connect(&program.address).get("/events", "").until("Unauthorized");
    };
    let program = Program::run(&config("info"));
    nonsense(&program);
    refused(&program);
    program.reload(&config("info,connection=debug"), "configuration reloaded");
    refused(&program);
    nonsense(&program);
    program.says("connection ended");
    assert_eq!(program.said().matches("connection ended").count(), 1, "{}", program.said());
    assert!(!program.said().contains("stream refused"), "{}", program.said());
    program.reload(&config("info,router=debug"), "configuration reloaded");
    nonsense(&program);
    refused(&program);
    program.says("stream refused");
    assert_eq!(program.said().matches("connection ended").count(), 1, "{}", program.said());
    program.reload(&config("info,rooter=debug"), "is not reloaded");
    program.says("did you mean \"router\"?");
    program.signal(Signal::TERM);
    assert_eq!(program.end().code, Some(0));
}
