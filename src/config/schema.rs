//! The shape of the file: which sections there are and which keys each of them has.
//!
//! Invariant: a shape lists exactly the keys that the code reading the section asks for (the reader asserts it in
//! debug builds), and `config.example.toml` shows every one of them (a test holds it).

mod secrets;

pub(super) use secrets::is_secret;

/// The keys of one kind of table.
#[derive(Debug)]
pub(super) struct Shape {
    /// How the table is called in messages, the way it is written in the file.
    pub(super) title: &'static str,
    /// The keys it has.
    pub(super) keys: &'static [&'static str],
    /// Keys that Sidestream is going to have, and that this version does not.
    pub(super) later: &'static [&'static str],
}

const fn shape(title: &'static str, keys: &'static [&'static str], later: &'static [&'static str]) -> Shape {
    Shape { title, keys, later }
}

/// The file itself.
pub(super) static ROOT: Shape = shape(
    "the top level of the file",
    &[
        "server",
        "listen",
        "upstreams",
        "auth",
        "publish",
        "store",
        "admin",
        "log",
        "limits",
        "route",
        "source",
    ],
    &[],
);

pub(super) static SERVER: Shape = shape(
    "[server]",
    &[
        "workers",
        "shutdown_timeout",
        "max_connections",
        "trusted_proxies",
        "secret",
        "error_pages",
        "maintenance",
        "temp_dir",
        "spool_memory",
        "spool_disk",
    ],
    &[],
);

pub(super) static LISTEN: Shape = shape(
    "[[listen]]",
    &[
        "address",
        "server_names",
        "tls",
        "acme",
        "client_ca",
        "http2",
        "redirect_https",
        "hsts",
        "proxy_protocol",
        "handshake_timeout",
        "header_timeout",
        "idle_timeout",
        "body_stall",
        "body_min_rate",
        "write_stall",
        "ping_interval",
        "ping_timeout",
        "max_headers",
    ],
    &[],
);

pub(super) static TLS: Shape = shape("an entry of `tls`", &["cert", "key"], &[]);

pub(super) static ACME: Shape =
    shape("`acme`", &["domains", "dir", "email", "directory", "challenge", "ca"], &[]);

pub(super) static HSTS: Shape = shape("`hsts`", &["max_age", "include_subdomains", "preload"], &[]);

pub(super) static UPSTREAM: Shape = shape(
    "[upstreams.NAME]",
    &[
        "servers",
        "kind",
        "connect_timeout",
        "response_timeout",
        "read_timeout",
        "read_ahead",
        "max_body",
        "balance",
        "max_connections",
        "queue_timeout",
        "retry_for",
        "health",
        "ca",
    ],
    &[],
);

pub(super) static HEALTH: Shape = shape("`health`", &["path", "every", "host"], &[]);

/// What most providers are, and every one whose kind is not given.
pub(super) static AUTH: Shape = shape(
    "[auth.NAME]",
    &[
        "kind",
        "secret",
        "public_key",
        "jwks",
        "algorithms",
        "user_claim",
        "query",
        "header",
        "cookie",
        "issuer",
        "audience",
        "leeway",
        "require",
    ],
    &[],
);

pub(super) static AUTH_AUTHJS: Shape =
    shape("[auth.NAME] of kind \"authjs\"", &["kind", "secret", "user_claim", "cookie"], &[]);

pub(super) static AUTH_ASK: Shape = shape(
    "[auth.NAME] of kind \"ask\"",
    &["kind", "upstream", "path", "cookies", "user", "user_header", "channels", "cache", "recheck"],
    &[],
);

pub(super) static PUBLISH: Shape = shape(
    "[publish]",
    &["socket", "mode", "allow_uids", "http", "token", "max_event", "max_batch", "key_window", "max_keys"],
    &[],
);

pub(super) static STORE: Shape = shape(
    "[store]",
    &[
        "kind",
        "path",
        "sync",
        "url",
        "prefix",
        "ca",
        "username",
        "password",
        "sentinels",
        "master",
        "retry_for",
        "age",
        "events",
        "bytes",
        "max_bytes",
        "max_channels",
    ],
    &[],
);

pub(super) static ADMIN: Shape = shape("[admin]", &["address", "token"], &[]);

pub(super) static LOG: Shape =
    shape("[log]", &["access", "syslog", "format", "level", "traces", "trace_share"], &[]);
pub(super) static LIMITS: Shape = shape(
    "[limits]",
    &[
        "streams",
        "streams_per_user",
        "streams_per_address",
        "opens_per_second",
        "opens_per_second_per_address",
        "connections_per_address",
    ],
    &[],
);

pub(super) static ROUTE: Shape = shape(
    "[[route]]",
    &[
        "path",
        "hosts",
        "internal",
        "cors",
        "allow_from",
        "deny_from",
        "rate",
        "basic_auth",
        "proxy",
        "files",
        "stream",
        "publish",
    ],
    &[],
);

pub(super) static RATE: Shape = shape("`rate`", &["requests", "per", "burst", "by"], &[]);

pub(super) static BASIC_AUTH: Shape = shape("`basic_auth`", &["realm", "passwords"], &[]);

pub(super) static CORS: Shape = shape("`cors`", &["origins", "credentials"], &[]);

pub(super) static ROUTE_PROXY: Shape = shape(
    "[route.proxy]",
    &["upstream", "max_body", "strip_prefix", "request_headers", "response_headers", "compress"],
    &[],
);

pub(super) static HEADER_RULES: Shape =
    shape("`request_headers` and `response_headers`", &["set", "add", "remove"], &[]);

pub(super) static COMPRESS: Shape = shape("`compress`", &["codings", "cookies", "min", "types"], &[]);

pub(super) static ROUTE_FILES: Shape =
    shape("[route.files]", &["root", "try_upstream", "index", "immutable"], &[]);

pub(super) static ROUTE_STREAM: Shape = shape(
    "[route.stream]",
    &[
        "auth",
        "channels",
        "allow",
        "hello",
        "heartbeat",
        "replay",
        "read",
        "on_gap",
        "retry",
        "max_age",
        "unauthorized",
        "max_per_user",
        "backlog",
        "headers",
    ],
    &[],
);

pub(super) static HELLO: Shape = shape("`hello`", &["event", "data"], &[]);

pub(super) static ON_GAP: Shape = shape("`on_gap`", &["event", "data"], &[]);

pub(super) static HEARTBEAT: Shape = shape("`heartbeat`", &["every", "comment", "event", "data", "id"], &[]);

pub(super) static ROUTE_PUBLISH: Shape =
    shape("[route.publish]", &["webhook", "token", "auth", "to", "map", "rate"], &[]);

pub(super) static MAP: Shape = shape(
    "`map`",
    &["user", "users", "channel", "channels", "event", "data", "ttl", "key", "collapse", "retry"],
    &[],
);

/// The keys of all kinds; what reads them says which kind has which.
pub(super) static SOURCE: Shape = shape(
    "[[source]]",
    &[
        "kind",
        "url",
        "ca",
        "username",
        "password",
        "sentinels",
        "master",
        "prefix",
        "map",
        "channel",
        "lease",
        "key",
        "read",
        "every",
        "configure",
        "stream",
        "group",
    ],
    &[],
);

pub(super) static SOURCE_READ: Shape = shape("`read` of a [[source]]", &["key", "id", "ttl"], &[]);

/// Every shape, a table before the tables in it.
pub(super) static ALL: &[&Shape] = &[
    &ROOT,
    &SERVER,
    &LISTEN,
    &TLS,
    &ACME,
    &HSTS,
    &UPSTREAM,
    &HEALTH,
    &AUTH,
    &AUTH_AUTHJS,
    &AUTH_ASK,
    &PUBLISH,
    &STORE,
    &ADMIN,
    &LOG,
    &LIMITS,
    &ROUTE,
    &CORS,
    &RATE,
    &BASIC_AUTH,
    &ROUTE_PROXY,
    &HEADER_RULES,
    &COMPRESS,
    &ROUTE_FILES,
    &ROUTE_STREAM,
    &HELLO,
    &ON_GAP,
    &HEARTBEAT,
    &ROUTE_PUBLISH,
    &MAP,
    &SOURCE,
    &SOURCE_READ,
];

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;

    #[test]
    fn no_key_is_both_here_and_later() {
        for shape in ALL {
            for key in shape.keys {
                assert!(!shape.later.contains(key), "{} {key}", shape.title);
            }
        }
    }

    #[test]
    fn the_example_shows_every_key_and_no_other() {
        let mut shown: BTreeMap<String, BTreeSet<&str>> = BTreeMap::new();
        let mut section = String::new();
        let mut inline = String::new();
        for line in include_str!("../../config.example.toml").lines().filter(|line| !line.starts_with("# ")) {
            if line.starts_with('[') {
                section = line.replace("upstreams.app", "upstreams.NAME");
                if let Some(kind) = line.strip_prefix("[auth.").and_then(|rest| rest.strip_suffix(']')) {
                    section = match kind {
                        "jwt" => "[auth.NAME]".to_owned(),
                        kind => format!("[auth.NAME] of kind \"{kind}\""),
                    };
                }
            } else if let Some((key, value)) = line.trim_start_matches('#').split_once(" = ") {
                shown.entry(section.clone()).or_default().insert(key);
                inline += value;
            }
        }
        let headers: BTreeSet<_> = shown.keys().cloned().collect();
        for shape in ALL.iter().filter(|shape| shape.title.starts_with('[')) {
            let inner = |key: &&str| headers.contains(&format!("[route.{key}]"));
            let keys = shape.keys.iter().copied().filter(|key| shape.title != "[[route]]" || !inner(key));
            assert_eq!(shown.remove(shape.title).unwrap_or_default(), keys.collect(), "{}", shape.title);
        }
        assert!(shown.is_empty(), "{shown:?}");
        for shape in [
            &TLS,
            &ACME,
            &HSTS,
            &HEALTH,
            &CORS,
            &RATE,
            &BASIC_AUTH,
            &HEADER_RULES,
            &COMPRESS,
            &HELLO,
            &HEARTBEAT,
            &ON_GAP,
            &SOURCE_READ,
        ] {
            for key in shape.keys {
                assert!(inline.contains(&format!("{key} = ")), "{} {key}", shape.title);
            }
        }
    }
}
