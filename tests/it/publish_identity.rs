//! Publish routes whose callers are known by an identity: what the first system's front end calls with its token.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::h2_session::H2Session;
use crate::support::tokens::{in_a, signed};
use crate::support::{NO_APP, Response, Sidestream, Subscriber, in_front_of, tls, token};

const TRIGGER: &str = "/api/notifications/trigger/";

/// The route as the design has it.
const ROUTE: &str = r#"
[[route]]
path = "/api/notifications/trigger/"
[route.publish]
auth = ["jwt"]
map = { user = "/user_id", event = "notification", data = { type = "notification", title = "{/title?}", message = "{/message}" } }
"#;

fn site() -> Sidestream {
    Sidestream::start(&in_front_of(NO_APP, "", ROUTE))
}

fn bearer(user: &str) -> String {
    format!("Authorization: Bearer {}\r\n", token(user))
}

fn post(site: &Sidestream, path: &str, fields: &str, body: &Value) -> Response {
    site.connect().post(path, fields, &body.to_string()).response()
}

#[track_caller]
fn refused(response: &Response, status: u16, error: &str, field: Option<&str>) {
    let said = response.json();
    assert_eq!(response.status, status, "{said}");
    assert_eq!((said["error"].as_str(), said["field"].as_str()), (Some(error), field), "{said}");
}

#[test]
fn the_first_systems_trigger_works_as_its_front_end_has_it() {
    let site = site();
    let mut tabs = [0, 1].map(|_| Subscriber::of(site.connect(), "1"));
    let body = json!({"user_id": 1, "title": "Test SSE", "message": "Real-time works!", "type": "info"});
    let reply = post(&site, TRIGGER, &bearer("1"), &body);
    assert_eq!(reply.status, 200);
    assert_eq!(reply.field("content-type"), Some("application/json"));
    let receipt = reply.json();
    assert_eq!(receipt["delivered"], 2);
    for tab in &mut tabs {
        let said = tab.event();
        assert_eq!((said.event.as_str(), said.id.as_deref()), ("notification", receipt["id"].as_str()));
        let data = r#"{"type":"notification","title":"Test SSE","message":"Real-time works!"}"#;
        assert_eq!(said.data.as_deref(), Some(data));
    }
}

#[test]
fn without_an_identity_it_is_401() {
    let site = site();
    let body = json!({"user_id": 1, "message": "m"});
    let expired = signed(&json!({"sub": "1", "exp": 1000}));
    for fields in ["", "Authorization: Bearer nonsense\r\n", &format!("Authorization: Bearer {expired}\r\n")]
    {
        let reply = post(&site, TRIGGER, fields, &body);
        refused(&reply, 401, "unauthorized", None);
        assert_eq!(reply.field("www-authenticate"), Some("Bearer"));
    }
    // Nothing is said of the body to a stranger.
    refused(&site.connect().post(TRIGGER, "", "{").response(), 401, "unauthorized", None);
    let get = site.connect().get(TRIGGER, &bearer("1")).response();
    assert_eq!((get.status, get.field("allow")), (405, Some("POST")));
}

#[test]
fn a_user_reaches_itself_and_nobody_else() {
    let plain = "[[route]]\npath = \"/plain\"\n[route.publish]\nauth = [\"jwt\"]\n";
    let site = Sidestream::start(&in_front_of(NO_APP, "", &format!("{ROUTE}{plain}")));
    let mut other = Subscriber::of(site.connect(), "2");
    let reply = post(&site, TRIGGER, &bearer("1"), &json!({"user_id": 2, "message": "m"}));
    refused(&reply, 403, "forbidden", Some("/user_id"));
    for (body, status, field) in [
        (json!({"user": "1"}), 200, None),
        (json!({"user": 1}), 200, None),
        (json!({"user": 2}), 403, Some("user")),
        (json!({"user": "01"}), 403, Some("user")),
        (json!({"users": [1]}), 403, Some("users")),
        (json!({"users": [2]}), 403, Some("users")),
        (json!({"channel": "all"}), 403, Some("channel")),
        (json!({"channel": "user:2"}), 403, Some("channel")),
        (json!({"channel": "user:1"}), 403, Some("channel")),
        (json!({"channels": ["user:2"]}), 403, Some("channels")),
        (json!({}), 400, Some("user")),
        (json!({"user": null}), 400, Some("user")),
        (json!({"user": 1, "channel": "all"}), 400, Some("channel")),
    ] {
        let mut body = body;
        body["data"] = json!("x");
        let reply = post(&site, "/plain", &bearer("1"), &body);
        assert_eq!((reply.status, reply.json()["field"].as_str()), (status, field), "{body}");
    }
    let batch = json!([{"user": 1, "data": 1}, {"user": 2, "data": 2}]);
    refused(&post(&site, "/plain", &bearer("1"), &batch), 403, "forbidden", Some("[1].user"));
    // The query never says who somebody is.
    refused(
        &post(&site, "/plain?userId=2", &bearer("1"), &json!({"user": 2, "data": 1})),
        403,
        "forbidden",
        Some("user"),
    );
    site.publish(r#"{"user": 2, "data": "from the app"}"#);
    assert_eq!(other.data(), "from the app");
}

#[test]
fn what_is_missing_is_named() {
    let site = site();
    for (body, field) in [
        (json!({"user_id": 1, "title": "t"}), "/message"),
        (json!({"user_id": 1, "message": null}), "/message"),
        (json!({"message": "m"}), "/user_id"),
        (json!({"user_id": {"id": 1}, "message": "m"}), "/user_id"),
    ] {
        refused(&post(&site, TRIGGER, &bearer("1"), &body), 400, "invalid_publication", Some(field));
    }
    assert_eq!(post(&site, TRIGGER, &bearer("1"), &json!({"user_id": "1", "message": "m"})).status, 200);
}

#[test]
fn staff_reach_anybody() {
    let staff = format!(
        "[auth.staff]\nkind = \"jwt\"\nsecret = \"{}\"\nrequire = {{ is_staff = true }}\n\
         [[route]]\npath = \"/staff\"\n[route.publish]\nauth = [\"staff\"]\nto = \"any\"\n",
        crate::support::SECRET
    );
    let site = Sidestream::start(&in_front_of(NO_APP, "", &staff));
    let mut subscriber = Subscriber::of(site.connect(), "2");
    let to_2 = json!({"user": 2, "data": "hi"});
    refused(&post(&site, "/staff", &bearer("1"), &to_2), 401, "unauthorized", None);
    let staff = signed(&json!({"sub": "1", "is_staff": true, "exp": in_a(Duration::from_secs(60))}));
    let fields = format!("Authorization: Bearer {staff}\r\n");
    assert_eq!(post(&site, "/staff", &fields, &to_2).json()["delivered"], 1);
    assert_eq!(post(&site, "/staff", &fields, &json!({"channel": "all", "data": "all"})).status, 200);
    assert_eq!((subscriber.data(), subscriber.data()), ("hi".to_owned(), "all".to_owned()));
}

#[test]
fn a_cookie_is_no_proof_for_another_sites_page() {
    let site = site();
    let body = json!({"user_id": 1, "message": "m"});
    let cookie = format!("Cookie: token={}\r\n", token("1"));
    let with = |more: &str| post(&site, TRIGGER, &format!("{cookie}{more}"), &body);
    assert_eq!(with("Origin: http://test\r\n").status, 200);
    for origin in ["", "Origin: null\r\n", "Origin: http://evil.example\r\n", "Origin: http://test.evil\r\n"]
    {
        refused(&with(origin), 403, "forbidden", None);
    }
    // A form can send neither this media type nor none.
    for kind in ["Content-Type: text/plain\r\n", "Content-Type: application/x-www-form-urlencoded\r\n", ""] {
        let body = body.to_string();
        let length = body.len();
        let request = format!(
            "POST {TRIGGER} HTTP/1.1\r\nHost: test\r\n{cookie}Origin: http://test\r\n{kind}Content-Length: {length}\r\n\r\n{body}"
        );
        let status = site.connect().send(request).response().status;
        assert_eq!(status, if kind.is_empty() { 403 } else { 415 }, "{kind:?}");
    }
    // With a token in a header no page of another site can have sent it without being let.
    let reply = post(&site, TRIGGER, &format!("{}Origin: http://evil.example\r\n", bearer("1")), &body);
    assert_eq!(reply.status, 200);
}

#[test]
fn a_users_key_is_not_the_apps_nor_anothers() {
    let plain = "[[route]]\npath = \"/plain\"\n[route.publish]\nauth = [\"jwt\"]\n";
    let site = Sidestream::start(&in_front_of(NO_APP, "", plain));
    let keyed = |user: u32, data: u32| json!({"user": user, "data": data, "key": "order-7"});
    let first = post(&site, "/plain", &bearer("1"), &keyed(1, 1)).json();
    assert_eq!(post(&site, "/plain", &bearer("1"), &keyed(1, 1)).json(), first);
    refused(&post(&site, "/plain", &bearer("1"), &keyed(1, 2)), 409, "key_reused", Some("key"));
    // The same key in another's hands is another key.
    assert_eq!(post(&site, "/plain", &bearer("2"), &keyed(2, 1)).status, 200);
    assert!(site.publish(r#"{"user": 1, "data": 3, "key": "order-7"}"#)["id"].is_string());
}

#[test]
fn a_rate_is_one_for_all_workers() {
    let site = Sidestream::start(&in_front_of(NO_APP, "", &format!("{ROUTE}rate = 5\n")));
    let body = json!({"user_id": 1, "message": "m"});
    // Strangers use nothing up.
    for _ in 0..20 {
        assert_eq!(post(&site, TRIGGER, "", &body).status, 401);
    }
    // Over connections of their own, which are spread over the workers.
    let begun = std::time::Instant::now();
    let replies: Vec<_> = (0..40).map(|_| post(&site, TRIGGER, &bearer("1"), &body)).collect();
    let most = 5.0 + 5.0 * begun.elapsed().as_secs_f64() + 1.0;
    let taken = replies.iter().filter(|reply| reply.status == 200).count();
    assert!(taken >= 5 && (taken as f64) <= most, "{taken} of 40, at most {most}");
    let over: Vec<_> = replies.iter().filter(|reply| reply.status != 200).collect();
    for reply in &over {
        refused(reply, 429, "too_many", None);
        assert_eq!(reply.field("retry-after"), Some("1"));
    }
    assert_eq!(site.count("publications_limited"), over.len() as u64);
    let batch = json!(vec![body; 6]);
    let reply = site.comes(|| post(&site, TRIGGER, &bearer("1"), &batch), |reply| reply.status != 429);
    refused(&reply, 413, "too_large", None);
}

#[test]
fn it_is_the_same_over_http2() {
    let folder = tempfile::tempdir().unwrap();
    tls::certificate(folder.path(), "test", &["test"]);
    let listen =
        "[[listen]]\naddress = \"127.0.0.1:0\"\ntls = [{ cert = \"test.crt\", key = \"test.key\" }]\n";
    let site = Sidestream::start_in(folder, &in_front_of(NO_APP, "", &format!("{listen}{ROUTE}")));
    let mut session = H2Session::connect(site.address_of(1));
    let mut tab = session.subscribe("1");
    let cookie = format!("token={}", token("1"));
    let body = r#"{"user_id": 1, "message": "m"}"#;
    let mut fields =
        vec![("cookie", cookie.as_str()), ("content-type", "application/json"), ("origin", "https://test")];
    let reply = session.post(TRIGGER, &fields, body);
    assert_eq!(reply.status(), 200, "{}", reply.body());
    assert_eq!(tab.data(), r#"{"type":"notification","message":"m"}"#);
    fields[2].1 = "https://evil.example";
    assert_eq!(session.post(TRIGGER, &fields, body).status(), 403);
}
