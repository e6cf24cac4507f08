//! What publishers may write and what they are told when it is wrong.

use std::time::Duration;

use proptest::prelude::*;

use super::*;

const LIMITS: Limits = Limits { max_event: 1024 };

fn good(json: &str) -> Publication {
    parse(json.as_bytes(), &LIMITS).unwrap_or_else(|refusal| panic!("{json}: {refusal:?}"))
}

fn refused(json: &str) -> Refusal {
    parse(json.as_bytes(), &LIMITS).expect_err(json)
}

/// Asserts that a publication is refused as invalid, for this field, in words that hold these.
#[track_caller]
fn invalid(json: &str, field: &str, words: &str) {
    let refusal = refused(json);
    assert_eq!(refusal.kind(), RefusalKind::InvalidPublication, "{json}: {refusal}");
    assert_eq!(refusal.field(), Some(field), "{json}: {refusal}");
    assert!(refusal.message().contains(words), "{json}: {refusal}");
}

fn channels(json: &str) -> Vec<String> {
    good(json).channels.iter().map(ToString::to_string).collect()
}

#[test]
fn reads_every_field() {
    let read = good(
        r#" {"user": 42, "event": "notification", "data": {"title": "hi"}, "ttl": "1h", "key": "order-17",
             "collapse": "cart", "retry": 250} "#,
    );
    assert_eq!(read.channels[0].as_str(), "user:42");
    assert_eq!(read.event.name.unwrap().as_str(), "notification");
    assert_eq!(read.event.data, r#"{"title": "hi"}"#);
    assert_eq!(read.event.retry, Some(250));
    assert_eq!(read.ttl, Some(Duration::from_secs(3600)));
    assert_eq!(read.key.as_deref(), Some("order-17"));
    assert_eq!(read.collapse.as_deref(), Some("cart"));

    let least = good(r#"{"channel":"all","data":"hi"}"#);
    assert_eq!(least.event.data, "hi");
    assert_eq!((least.event.name, least.event.retry), (None, None));
    assert_eq!((least.ttl, least.key, least.collapse), (None, None, None));
}

#[test]
fn recipients_are_strings_or_integers_each_once() {
    assert_eq!(channels(r#"{"user":"a@b.c","data":1}"#), ["user:a@b.c"]);
    assert_eq!(channels(r#"{"user":-7,"data":1}"#), ["user:-7"]);
    assert_eq!(channels(r#"{"user":-0,"data":1}"#), ["user:0"]);
    assert_eq!(channels(r#"{"user":18446744073709551615,"data":1}"#), ["user:18446744073709551615"]);
    assert_eq!(channels(r#"{"\u0075ser":"\u0034\u0032","data":1}"#), ["user:42"]);
    assert_eq!(channels(r#"{"users":[2, "1", "2" ,2],"data":1}"#), ["user:2", "user:1"]);
    assert_eq!(channels(r#"{"channels":["b","a","b"],"data":1}"#), ["b", "a"]);
}

#[test]
fn a_recipient_that_is_none_is_refused() {
    invalid(r#"{"data":1}"#, "user", "exactly one of user, users, channel, channels");
    invalid(r#"{"user":1,"channel":"a","data":1}"#, "channel", "user is given as well");
    invalid(r#"{"users":[1],"user":1,"data":1}"#, "users", "user is given as well");
    for (value, words) in [
        ("1.0", "not a fraction"),
        ("1e3", "not a fraction"),
        ("true", "not a boolean"),
        ("null", "not null"),
        ("[1]", "not a list"),
        ("{}", "not an object"),
        ("18446744073709551616", "beyond 64 bits"),
        (r#""""#, "must not be empty"),
        (r#""a:b""#, "must not hold ':'"),
        (r#""a\nb""#, r"must not hold '\n'"),
        (r#""\ud800""#, "surrogate"),
    ] {
        invalid(&format!(r#"{{"user":{value},"data":1}}"#), "user", words);
    }
    invalid(r#"{"users":[],"data":1}"#, "users", "must not be empty");
    invalid(r#"{"users":7,"data":1}"#, "users", "must be a list");
    invalid(r#"{"users":[1,null],"data":1}"#, "users[1]", "not null");
    invalid(r#"{"channel":7,"data":1}"#, "channel", "must be a string");
    invalid(r#"{"channel":"a,b","data":1}"#, "channel", "','");
    invalid(r#"{"channels":["a",""],"data":1}"#, "channels[1]", "empty");
    let many: Vec<usize> = (0..=MAX_RECIPIENTS).collect();
    invalid(&format!(r#"{{"users":{many:?},"data":1}}"#), "users", "more than 1000");
    assert_eq!(channels(&format!(r#"{{"users":{:?},"data":1}}"#, &many[1..])).len(), MAX_RECIPIENTS);
}

#[test]
fn fields_are_known_and_given_once() {
    invalid(r#"{"usr":1,"data":1}"#, "usr", "did you mean user?");
    invalid(r#"{"Data":1}"#, "Data", "did you mean data?");
    invalid(r#"{"payload":1}"#, "payload", "there are user, users");
    invalid(r#"{"":1}"#, "", "is unknown");
    invalid(r#"{"user":1,"data":1,"data":2}"#, "data", "is given twice");
    invalid(r#"{"user":1,"d\u0061ta":1,"data":2}"#, "data", "is given twice");
    assert!(refused(&format!(r#"{{"{}":1}}"#, "x".repeat(5000))).field().unwrap().len() < 100);
}

#[test]
fn each_field_has_its_bounds() {
    let with = |more: &str| format!(r#"{{"user":1,"data":1,{more}}}"#);
    invalid(r#"{"user":1}"#, "data", "is missing");
    for reserved in ["error", "open", "reset", "read"] {
        invalid(&with(&format!(r#""event":"{reserved}""#)), "event", "Sidestream's own");
    }
    invalid(&with(r#""event":"a\r\nid: 1""#), "event", r"'\r'");
    invalid(&with(r#""event":null"#), "event", "must be a string, not null");
    assert_eq!(good(&with(r#""event":"message""#)).event.name, None);

    for bad in ["1", "1.5h", "h", "-1s", "1 h", "1H", "", "1h30m", "99999999999999999999d"] {
        invalid(&with(&format!(r#""ttl":"{bad}""#)), "ttl", "unit");
    }
    for bad in ["999ms", "0s", "31d", "721h", "99999999999999999d"] {
        let refusal = refused(&with(&format!(r#""ttl":"{bad}""#)));
        assert_eq!(refusal.field(), Some("ttl"), "{bad}");
    }
    invalid(&with(r#""ttl":3600"#), "ttl", "must be a string, not an integer");
    assert_eq!(good(&with(r#""ttl":"1500ms""#)).ttl, Some(Duration::from_millis(1500)));
    assert_eq!(good(&with(r#""ttl":"30d""#)).ttl, Some(MAX_TTL));

    for field in ["key", "collapse"] {
        for bad in ["", "a b", "ü", "\\n", "\\u0000", &"x".repeat(MAX_KEY + 1)] {
            invalid(&with(&format!(r#""{field}":"{bad}""#)), field, "visible ASCII");
        }
        good(&with(&format!(r#""{field}":"{}""#, "x".repeat(MAX_KEY))));
    }
    for bad in ["-1", "1.0", "86400001", "4294967296", "\"5\"", "null"] {
        invalid(&with(&format!(r#""retry":{bad}"#)), "retry", "milliseconds");
    }
    assert_eq!(good(&with(r#""retry":86400000"#)).event.retry, Some(MAX_RETRY_MS));
}

#[test]
fn data_is_bounded_and_holds_no_nul() {
    invalid(r#"{"user":1,"data":"a\u0000b"}"#, "data", "U+0000");
    let just = format!(r#"{{"user":1,"data":"{}"}}"#, "x".repeat(LIMITS.max_event));
    assert_eq!(good(&just).event.data.len(), LIMITS.max_event);
    for over in ["x".repeat(LIMITS.max_event + 1), "x".repeat(2 << 20)] {
        let refusal = refused(&format!(r#"{{"user":1,"data":"{over}"}}"#));
        assert_eq!((refusal.kind(), refusal.field()), (RefusalKind::TooLarge, Some("data")));
    }
}

#[test]
fn broken_text_is_refused_where_it_breaks() {
    for (json, words) in [
        (&b""[..], "EOF while parsing a value at line 1 column 1 (byte 0)"),
        (b"{", "line 1 column 1 (byte 0)"),
        (b"{\"user\":1,\n\"data\":}", "line 2 column 8 (byte 18)"),
        (b"{\"user\":1}x", "trailing characters at line 1 column 11 (byte 10)"),
        (b"{\"user\":1,}", "trailing comma at line 1 column 11 (byte 10)"),
        (b"\n {\"user\":\"\xff\"}", "not UTF-8 at line 2 column 11 (byte 11)"),
        (b"{\"user\":\"a\nb\"}", "control character"),
        (b"{\"user\":01}", "line 1 column"),
        (b"{secret}", "line 1 column 2 (byte 1)"),
        // Broken further on: said before the unknown field.
        (b"{\"nope\":1, \"user\"", "line 1 column"),
    ] {
        let refusal = parse(json, &LIMITS).unwrap_err();
        assert_eq!(refusal.kind(), RefusalKind::InvalidJson, "{refusal}");
        assert!(refusal.message().contains(words), "{refusal}");
        assert!(!refusal.message().contains("secret"), "{refusal}");
    }
}

#[test]
fn what_is_no_object_is_no_publication() {
    for json in ["7", "\"secret\"", "[]", "null", "true"] {
        let refusal = refused(json);
        assert_eq!(refusal.kind(), RefusalKind::InvalidPublication);
        assert_eq!(refusal.field(), None);
        assert!(!refusal.message().contains("secret"));
    }
}

#[test]
fn nesting_takes_no_stack() {
    let limits = Limits { max_event: 1 << 20 };
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let read = parse(format!(r#"{{"user":1,"data":{deep}}}"#).as_bytes(), &limits).unwrap();
    assert_eq!(read.event.data.len(), 200_000);
    for field in ["user", "users", "channels", "event", "nope"] {
        let json = format!(r#"{{"{field}":{deep}}}"#);
        assert!(parse(json.as_bytes(), &limits).is_err());
    }
    assert!(parse(deep.as_bytes(), &limits).is_err());
    assert!(parse_batch(deep.as_bytes(), &limits, 10).is_err());
}

#[test]
fn a_batch_is_all_or_nothing() {
    let batch = |json: &str, max| parse_batch(json.as_bytes(), &LIMITS, max);
    assert_eq!(batch("[]", 2).unwrap(), []);
    let two = r#"[{"user":1,"data":1}, {"channel":"a","data":2}]"#;
    assert_eq!(batch(two, 2).unwrap().len(), 2);
    let long = batch(two, 1).unwrap_err();
    assert_eq!((long.kind(), long.field()), (RefusalKind::TooLarge, None));

    for (json, field) in [
        (r#"[{"user":1,"data":1},{"data":1}]"#, "[1].user"),
        (r#"[{"users":[1,null],"data":1},{"user":1,"data":1}]"#, "[0].users[1]"),
        (r#"[{"user":1,"data":1},7]"#, "[1]"),
    ] {
        let refusal = batch(json, 10).unwrap_err();
        assert_eq!(refusal.kind(), RefusalKind::InvalidPublication);
        assert_eq!(refusal.field(), Some(field));
    }
    for json in ["[{\"user\":1,\"data\":1},{\"user\":2,\"da", r#"[{"data":1},{"user":}]"#] {
        assert_eq!(batch(json, 10).unwrap_err().kind(), RefusalKind::InvalidJson);
    }
    let object = batch(r#"{"user":1,"data":1}"#, 10).unwrap_err();
    assert_eq!(object.field(), None);
    assert!(object.message().contains("array"));
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(bytes: Vec<u8>) {
        let _ = parse(&bytes, &LIMITS);
        let _ = parse_batch(&bytes, &LIMITS, 3);
    }

    #[test]
    fn near_misses_are_read_or_refused(
        parts in prop::collection::vec(
            prop::sample::select(vec![
                "{", "}", "[", "]", ",", ":", "\"user\"", "\"users\"", "\"channel\"", "\"data\"", "\"event\"",
                "\"ttl\"", "\"1h\"", "1", "-", "null", "\\", "\"", "\n", " ", "\\u0000", "ü",
            ]),
            0..24,
        ),
    ) {
        let text = parts.concat();
        let _ = parse(text.as_bytes(), &LIMITS);
        let _ = parse_batch(text.as_bytes(), &LIMITS, 3);
    }

    #[test]
    fn a_string_comes_through_unchanged(data in "[^\\x00]{0,200}") {
        let json = serde_json::json!({"user": 1, "data": data}).to_string();
        prop_assert_eq!(&good(&json).event.data[..], data.as_bytes());
    }
}
