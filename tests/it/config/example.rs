//! `config.example.toml`: every key is right as it stands there, and what it shows as a default is the default.

use std::fs;

use rcgen::{CertifiedKey, KeyPair, generate_simple_self_signed};
use sidestream::config::{Config, Problems};
use tempfile::TempDir;

const EXAMPLE: &str = include_str!("../../../config.example.toml");

/// The keys of the example that have no default.
const REQUIRED: &str = r#"
    [[listen]]
    address = "0.0.0.0:8080"
    [upstreams.app]
    servers = ["http://127.0.0.1:8000"]
    [auth.jwt]
    kind = "jwt"
    secret = "env:JWT_SECRET"
    [auth.authjs]
    kind = "authjs"
    secret = "env:AUTH_SECRET"
    [auth.ask]
    kind = "ask"
    upstream = "app"
    path = "/api/me"
    user = "/id"
    [admin]
    [[route]]
    path = "/"
    [route.proxy]
    upstream = "app"
    [[route]]
    path = "/static/"
    [route.files]
    root = "staticfiles"
    [[route]]
    path = "/events"
    [route.stream]
    auth = ["jwt"]
    [[route]]
    path = "/hooks/publish"
    [route.publish]
    token = "env:HOOK_TOKEN"
    [[source]]
    kind = "redis-pubsub"
    url = "rediss://127.0.0.1"
    ca = "ca.pem"
    channel = "notifications"
    [[source]]
    kind = "redis-list"
    url = "redis://127.0.0.1"
    key = "notifications:{user}"
    [[source]]
    kind = "redis-stream"
    url = "redis://127.0.0.1"
    stream = "notifications"
"#;

const USER: &str = "#username = \"sidestream\"";
const PASSWORD: &str = "#password = \"env:REDIS_PASSWORD\"";
const STORE_SENTINELS: &str = r#"#sentinels = ["10.0.0.1:26379", "10.0.0.2:26379", "10.0.0.3:26379"]"#;
const SOURCE_SENTINELS: &str = r#"#sentinels = ["10.0.0.4:26379", "10.0.0.5:26379", "10.0.0.6:26379"]"#;

/// The first line or key that is taken out, and the lines or keys beginning with `#` that take effect then.
const ALTERNATIVES: &[(&str, &[&str])] = &[
    ("", &["#max_connections"]),
    ("", &["#secret"]),
    ("", &["#error_pages"]),
    ("", &["#maintenance"]),
    ("tls", &["#tls"]),
    ("tls", &["#acme"]),
    ("tls", &["#tls", "#client_ca"]),
    ("tls", &["#tls", "#hsts"]),
    ("", &["#allow_from"]),
    ("", &["#rate"]),
    ("", &["#basic_auth"]),
    ("", &["#health"]),
    ("", &["#traces", "#trace_share"]),
    ("", &["#temp_dir"]),
    ("servers", &["#servers", "#ca = \"ca.pem\""]),
    ("secret", &["#public_key"]),
    ("secret", &["#jwks"]),
    ("", &["#algorithms"]),
    ("", &["#issuer"]),
    ("", &["#cookie"]),
    ("user", &["#user_header"]),
    ("", &["#channels"]),
    ("", &["#allow_uids"]),
    ("", &["#http", "#token"]),
    ("", &["#max_body"]),
    ("", &["#request_headers"]),
    ("", &["#response_headers"]),
    ("compress", &["#compress"]),
    ("", &["#try_upstream"]),
    ("immutable", &["#immutable"]),
    ("", &["#cors"]),
    ("", &["#hello"]),
    ("heartbeat", &["#heartbeat"]),
    ("replay", &["#replay", "#read"]),
    ("on_gap", &["#on_gap"]),
    ("", &["#max_per_user"]),
    ("token", &["#webhook"]),
    ("token", &["#auth", "#to"]),
    ("", &["#map"]),
    ("kind = \"memory\"", &["#kind = \"disk\"", "#path", "#sync"]),
    ("kind = \"memory\"", &["#kind = \"redis\"", "#url", "#prefix", "#retry_for", USER, PASSWORD]),
    (
        "kind = \"memory\"",
        &["#kind = \"redis\"", STORE_SENTINELS, "#master = \"mymaster\"", "#ca = \"redis-ca.pem\""],
    ),
    ("access", &["#access", "#syslog"]),
    ("", &["#username = \"reader\"", "#password = \"env:SOURCE_PASSWORD\""]),
    ("url = \"rediss://127.0.0.1:6379/0\"", &[SOURCE_SENTINELS, "#master = \"events\""]),
];

#[test]
fn what_it_shows_are_the_defaults() {
    let folder = folder();
    let example = parse(EXAMPLE, &folder).unwrap_or_else(|problems| panic!("{problems}"));
    let required = parse(REQUIRED, &folder).unwrap_or_else(|problems| panic!("{problems}"));
    assert_eq!(format!("{example:#?}"), format!("{required:#?}"));
}

#[test]
fn its_alternatives_are_right_too() {
    let folder = folder();
    let key = |line: &'static str| line.split_once(" = ").map_or("", |(key, _)| key);
    for (without, with) in ALTERNATIVES {
        let gone =
            EXAMPLE.lines().position(|line| !without.is_empty() && [key(line), line].contains(without));
        let lines = EXAMPLE.lines().enumerate().filter(|(at, _)| Some(*at) != gone).map(|(_, line)| line);
        let lines = lines
            .map(|line| if with.contains(&key(line)) || with.contains(&line) { &line[1..] } else { line });
        let text: String = lines.flat_map(|line| [line, "\n"]).collect();
        assert_ne!(text, EXAMPLE);
        parse(&text, &folder).unwrap_or_else(|problems| panic!("{with:?}: {problems}"));
    }
    let mut tried: Vec<_> = ALTERNATIVES.iter().flat_map(|(_, with)| with.iter().copied()).collect();
    tried.iter_mut().for_each(|with| *with = with.split_once(" = ").map_or(*with, |(key, _)| key));
    let mut shown: Vec<_> = EXAMPLE.lines().map(key).filter(|key| key.starts_with('#')).collect();
    shown.retain(|key| !key.starts_with("# "));
    tried.sort_unstable();
    tried.dedup();
    shown.sort_unstable();
    shown.dedup();
    assert_eq!(tried, shown);
}

/// A folder with the files that the example names.
fn folder() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed(["a.example".to_owned()]).unwrap();
    write("cert.pem", &cert.pem());
    write("clients.pem", &cert.pem());
    write("ca.pem", &cert.pem());
    write("redis-ca.pem", &cert.pem());
    write("key.pem", &signing_key.serialize_pem());
    fs::create_dir(folder.path().join("errors")).unwrap();
    write("errors/5xx.html", "<p>{status}");
    write("jwt.pub.pem", &KeyPair::generate().unwrap().public_key_pem());
    folder
}

/// Parses with secrets in the places where the example names variables: a test cannot set those.
fn parse(text: &str, folder: &TempDir) -> Result<Config, Problems> {
    let text = text
        .replace("env:WEBHOOK_SECRET", "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIz")
        .replace("env:", "instead-of-the-variable-");
    Config::parse(&text, "config.example.toml", folder.path())
}
