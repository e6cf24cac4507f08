//! What holds for publishers follows a reload, for those who are connected too.

use std::os::unix::fs::PermissionsExt as _;

use crate::support::{Client, NO_APP, Sidestream, in_front_of};

#[test]
fn bounds_tokens_and_modes_follow() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let publish = format!("socket = \"publish.sock\"\nhttp = \"127.0.0.1:{port}\"\n");
    let text = |more: &str| {
        in_front_of(NO_APP, "", "").replace("socket = \"publish.sock\"", &format!("{publish}{more}"))
    };
    let site = Sidestream::start(&text("token = \"the first token\""));
    let mut remote = Client::connect(&format!("127.0.0.1:{port}"));
    let mut status = |token: &str| {
        let fields = format!("Authorization: Bearer {token}\r\n");
        remote.post("/publish", &fields, r#"{"user": 1, "data": "x"}"#).response().status
    };
    assert_eq!((status("the first token"), status("the other token")), (200, 401));
    let reloaded =
        site.reload(&text("token = \"the other token\"\nmax_event = \"1KiB\"\nmode = \"0600\"")).unwrap();
    assert!(reloaded.changed == ["[publish]"] && reloaded.kept.is_empty());
    assert_eq!((status("the first token"), status("the other token")), (401, 200));
    let large = serde_json::json!({ "user": 1, "data": "x".repeat(2000) }).to_string();
    assert_eq!(site.publish(&large)["error"], "too_large");
    let mode = std::fs::metadata(site.publish_socket()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);

    // The token follows also when the address cannot.
    let moved = text("token = \"the last token\"").replace(&port.to_string(), "1");
    assert_eq!(site.reload(&moved).unwrap().kept, ["[publish] http"]);
    assert_eq!((status("the other token"), status("the last token")), (401, 200));

    let uid = rustix::process::getuid().as_raw();
    site.reload(&text(&format!("token = \"the other token\"\nallow_uids = [{}]", uid + 1))).unwrap();
    assert_eq!(site.publish(r#"{"user": 1, "data": "x"}"#)["error"], "forbidden");
    let elsewhere = text("token = \"the other token\"").replace("publish.sock", "elsewhere.sock");
    assert_eq!(site.reload(&elsewhere).unwrap().kept, ["[publish] socket"]);
    assert_eq!(site.publish(r#"{"user": 1, "data": "x"}"#)["delivered"], 0);
}
