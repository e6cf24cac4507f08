//! Who may ask, and what.

use serde_json::json;

use super::{TOKEN, ask, config};
use crate::support::Sidestream;

#[test]
fn it_is_about_users_and_needs_the_token() {
    let site = Sidestream::start(&config("", ""));
    let target = "/explain?user=42&id=000000-1";
    assert_eq!(ask(&mut site.admin(), target, TOKEN).0, 200);
    let refused = ask(&mut site.admin(), target, "another");
    assert_eq!((refused.0, &refused.1["error"]), (401, &json!("unauthorized")));
    let mut client = site.admin();
    let posted = client.send(format!(
        "POST {target} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\nAuthorization: Bearer {TOKEN}\r\n\r\n"
    ));
    assert_eq!(posted.response().status, 405);

    let open = Sidestream::start(&config("", "").replace(&format!("token = \"{TOKEN}\""), ""));
    let refused = ask(&mut open.admin(), target, "");
    assert_eq!((refused.0, &refused.1["error"]), (403, &json!("no_token")));
    let why = "only looking is allowed, and not at users and their streams, since [admin] has no token";
    assert_eq!(refused.1["message"], why);
}

#[test]
fn a_question_that_cannot_be_answered_is_refused() {
    let site = Sidestream::start(&config("", ""));
    for (query, says) in [
        ("", "say whom and what"),
        ("?user=42", "say whom and what"),
        ("?id=000000-1", "say whom and what"),
        ("?user=&id=000000-1", "user is no user's id"),
        ("?user=a%20b&id=000000-1", "user is no user's id"),
        ("?user=42&id=", "id is not one"),
        ("?user=42&id=118", "id is not one"),
    ] {
        let (status, said) = ask(&mut site.admin(), &format!("/explain{query}"), TOKEN);
        assert_eq!((status, &said["error"]), (400, &json!("invalid_question")), "{query}");
        assert!(said["message"].as_str().unwrap().starts_with(says), "{query}: {said}");
    }
}
