//! What an app may answer, and who somebody is after it.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use serde_json::json;

use super::super::Reason;
use super::answer::{Unclear, Verdict, judge};
use crate::config::AskProvider;
use crate::fetch::Answer;

pub(super) fn provider() -> AskProvider {
    AskProvider {
        name: "ask".into(),
        upstream: 0,
        path: "/me".into(),
        cookies: vec!["sessionid".into()],
        user: vec!["/user/id".into(), "/id".into()],
        user_header: None,
        channels: None,
        cache: Duration::ZERO,
        recheck: Duration::from_secs(1),
    }
}

fn judged(provider: &AskProvider, status: u16, body: &str, fields: HeaderMap) -> Result<Verdict, Unclear> {
    let status = StatusCode::from_u16(status).unwrap();
    judge(provider, &Answer { status, fields, body: Bytes::copy_from_slice(body.as_bytes()) })
}

/// The user's id, or why there is none.
fn user(status: u16, body: &str) -> Result<String, Reason> {
    match judged(&provider(), status, body, HeaderMap::new()).unwrap() {
        Verdict::Known(identity) => Ok(identity.user.clone()),
        Verdict::Refused(reason) => Err(reason),
    }
}

#[test]
fn a_user_is_found_by_the_first_pointer_that_leads_somewhere() {
    assert_eq!(user(200, r#"{"id": 7}"#).unwrap(), "7");
    assert_eq!(user(201, r#"{"id": "x", "user": {"id": "y"}}"#).unwrap(), "y");
    assert_eq!(user(200, r#"{"id": "x", "user": null}"#).unwrap(), "x");
    assert_eq!(user(200, r#"{"id": "x", "user": {"id": null}}"#).unwrap(), "x");
}

#[test]
fn nobody_is_signed_in() {
    for (status, body) in [
        (401, ""),
        (403, r#"{"id": 7}"#),
        (302, ""),
        (307, r#"{"id": 7}"#),
        (200, "{}"),
        (200, "null"),
        (200, ""),
        (204, ""),
        (200, r#"{"user": null}"#),
        (200, r#"{"id": ""}"#),
        (200, r#"{"id": false}"#),
        (200, "[]"),
        (200, "7"),
    ] {
        assert_eq!(user(status, body), Err(Reason::SignedOut), "{status} {body}");
    }
}

#[test]
fn an_id_that_cannot_be_one_lets_nobody_in() {
    for id in [json!("a b"), json!("*"), json!("1,user:2"), json!(1.5), json!(true), json!(["x"]), json!({})]
    {
        let body = json!({ "id": id }).to_string();
        assert_eq!(user(200, &body), Err(Reason::Claim("/id".into())), "{body}");
    }
}

#[test]
fn anything_else_is_unclear() {
    for (status, body) in [
        (404, ""),
        (400, ""),
        (429, ""),
        (500, r#"{"id": 7}"#),
        (503, ""),
        (200, "<html>"),
        (200, "{\"id\":"),
    ] {
        assert!(judged(&provider(), status, body, HeaderMap::new()).is_err(), "{status} {body}");
    }
}

#[test]
fn a_header_may_name_the_user() {
    let provider =
        AskProvider { user: Vec::new(), user_header: Some("x-user".parse().unwrap()), ..provider() };
    let say = |value: &str, body| {
        let fields = HeaderMap::from_iter([("x-user".parse().unwrap(), value.parse().unwrap())]);
        match judged(&provider, 200, body, fields).unwrap() {
            Verdict::Known(identity) => Ok(identity.user.clone()),
            Verdict::Refused(reason) => Err(reason),
        }
    };
    assert_eq!(say("42", "<html>").unwrap(), "42");
    assert_eq!(say("", "{}"), Err(Reason::SignedOut));
    assert_eq!(say("a b", "{}"), Err(Reason::Claim("x-user".into())));
}

#[test]
fn only_what_the_operator_points_at_widens_the_channels() {
    let claims = |provider: &AskProvider| {
        let body = r#"{"id": 7, "org": "acme", "channels": ["admin"], "may": {"see": ["news"]}}"#;
        match judged(provider, 200, body, HeaderMap::new()).unwrap() {
            Verdict::Known(identity) => identity.claims.clone(),
            Verdict::Refused(reason) => panic!("{reason}"),
        }
    };
    let plain = claims(&provider());
    assert_eq!((plain.get("channels"), &plain["org"]), (None, &json!("acme")));
    let pointed = claims(&AskProvider { channels: Some("/may/see".into()), ..provider() });
    assert_eq!(pointed["channels"], json!(["news"]));
    let top = claims(&AskProvider { channels: Some("/channels".into()), ..provider() });
    assert_eq!(top["channels"], json!(["admin"]));
}

#[test]
fn an_answer_weighs_what_it_takes_in_memory() {
    let weight = |body: &str| judged(&provider(), 200, body, HeaderMap::new()).unwrap().weight();
    let digits = format!(r#"{{"id": 7, "x": [{}0]}}"#, "0,".repeat(30_000));
    assert!(weight(&digits) > 30_000 * size_of::<serde_json::Value>(), "{}", weight(&digits));
    let text = format!(r#"{{"id": 7, "x": {{"y": "{}"}}}}"#, "x".repeat(1000));
    assert!((1000..1500).contains(&weight(&text)), "{}", weight(&text));
    assert_eq!(judged(&provider(), 401, "{}", HeaderMap::new()).unwrap().weight(), 0);
}

proptest::proptest! {
    #[test]
    fn no_answer_makes_it_panic(status in 100..600_u16, body in "[ -~]{0,60}|\\{\"id\": ?[^\"]{0,20}\\}") {
        if let Ok(Verdict::Known(identity)) = judged(&provider(), status, &body, HeaderMap::new()) {
            proptest::prop_assert!((200..300).contains(&status));
            proptest::prop_assert!(crate::event::is_user_id(&identity.user));
        }
    }
}
