//! Values that are right, and where they arrive.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use sidestream::config::{
    AccessLog, Action, Auth, Balance, Config, Endpoint, HeartbeatForm, JwtKeys, OnGap, Origin, PublishCheck,
    Replay, Said, SocketPlace, Unauthorized, UpstreamKind,
};

use super::{GOOD, parse, stream};

#[test]
fn values_other_than_the_defaults_arrive() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("secret"), "from-a-file-with-a-newline\n").unwrap();
    let text = r#"
        [server]
        workers = 3
        shutdown_timeout = "1m"
        max_connections = 100
        trusted_proxies = ["10.0.0.0/8", "::1", "unix"]
        [[listen]]
        address = "unix:in.sock"
        server_names = ["Shop.Example", "*.shop.example"]
        http2 = false
        idle_timeout = "250ms"
        max_headers = "8KiB"
        [[listen]]
        address = "127.0.0.1:0"
        [[listen]]
        address = "127.0.0.1:0"
        [upstreams.django]
        servers = ["unix:./app.sock", "http://[::1]:9000", "http://App", "https://App"]
        kind = "node"
        max_body = "0B"
        balance = "least-connections"
        max_connections = 2
        queue_timeout = "1s"
        retry_for = "5s"
        health = { path = "/up?x", every = "1s", host = "shop.example:8000" }
        [auth.a]
        kind = "jwt"
        secret = "file:secret"
        algorithms = ["HS512"]
        user_claim = "uid"
        query = ""
        header = "X-Token"
        cookie = "session"
        issuer = "me"
        audience = "you"
        leeway = "0s"
        require = { admin = true, level = 3, org = { id = "x" } }
        [publish]
        socket = ""
        mode = "600"
        allow_uids = [0, 33]
        http = ":9001"
        token = "t"
        max_batch = 5
        [store]
        age = "7d"
        max_channels = 7
        [log]
        access = "./access.log"
        level = "off"
        [[route]]
        path = "/"
        hosts = ["A.example"]
        [route.proxy]
        upstream = "django"
        max_body = "1GiB"
        [[route]]
        path = "/s/"
        [route.stream]
        auth = ["a"]
        channels = ["org:{org}"]
        allow = ["news.*"]
        hello = { data = "hi" }
        heartbeat = { every = "10ms", event = "ping", data = "x", id = true }
        replay = "none"
        on_gap = { event = "refresh", data = "" }
        retry = "250ms"
        max_age = "0s"
        unauthorized = "event"
        backlog = "1KiB"
        headers = { X-Robots-Tag = "none", cache-control = "no-cache" }
        [[route]]
        path = "/anonymous"
        [route.stream]
        auth = []
        heartbeat = false
        on_gap = "ignore"
        [[route]]
        path = "/hook"
        [route.publish]
        webhook = "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIz"
    "#;
    let config =
        Config::parse(text, "sidestream.toml", folder.path()).unwrap_or_else(|problems| panic!("{problems}"));

    assert_eq!(config.server.workers, 3);
    assert_eq!(config.server.shutdown_timeout, Duration::from_secs(60));
    assert_eq!(config.server.max_connections, Some(100));
    let trusted = &config.server.trusted_proxies;
    assert!(trusted.unix);
    for (ip, want) in
        [("10.1.2.3", true), ("::ffff:10.1.2.3", true), ("::1", true), ("11.0.0.1", false), ("::2", false)]
    {
        assert_eq!(trusted.contains(ip.parse().unwrap()), want, "{ip}");
    }

    let listen = &config.listen[0];
    assert_eq!(listen.endpoint, Endpoint::Unix(folder.path().join("in.sock")));
    assert_eq!(listen.server_names, ["shop.example", "*.shop.example"]);
    assert!(!listen.http2);
    assert_eq!(listen.deadlines.idle_timeout, Duration::from_millis(250));
    assert_eq!(listen.max_headers, 8192);

    let upstream = &config.upstreams[0];
    assert_eq!(upstream.kind, UpstreamKind::Node);
    assert_eq!(upstream.max_body, 0);
    let tcp = |host: &str, port| Origin::Tcp { host: host.to_owned(), port };
    let unix = Origin::Unix(folder.path().join("app.sock"));
    let tls = Origin::Tls { host: "app".to_owned(), port: 443 };
    assert_eq!(upstream.servers, [unix, tcp("::1", 9000), tcp("app", 80), tls]);
    assert!(upstream.tls.is_some());
    assert_eq!((upstream.balance, upstream.max_connections), (Balance::LeastConnections, 2));
    assert_eq!(upstream.queue_timeout, Duration::from_secs(1));
    assert_eq!(upstream.retry_for, Duration::from_secs(5));
    let health = upstream.health.as_ref().unwrap();
    assert_eq!((health.path.as_str(), health.every), ("/up?x", Duration::from_secs(1)));
    assert_eq!(health.host.as_ref().unwrap(), "shop.example:8000");

    let Auth::Jwt(provider) = &config.auth[0] else { panic!("{:?}", config.auth) };
    assert_eq!(provider.name, "a");
    assert_eq!(format!("{:?}", provider.algorithms), "[HS512]");
    let JwtKeys::One(key) = &provider.keys else { panic!("{:?}", provider.keys) };
    assert_eq!(key.decoding.try_get_as_bytes().unwrap(), b"from-a-file-with-a-newline");
    assert_eq!((provider.query.as_deref(), provider.header.as_deref()), (None, Some("x-token")));
    assert_eq!((provider.cookie.as_deref(), provider.issuer.as_deref()), (Some("session"), Some("me")));
    assert_eq!(provider.audience, ["you"]);
    let mut require = provider.require.clone();
    require.sort_by(|a, b| a.0.cmp(&b.0));
    let want =
        [("admin", serde_json::json!(true)), ("level", 3.into()), ("org", serde_json::json!({"id": "x"}))];
    assert_eq!(require, want.map(|(name, value)| (name.to_owned(), value)));

    assert_eq!((&config.publish.socket, config.publish.mode), (&None, 0o600));
    assert_eq!(config.publish.allow_uids, Some(vec![0, 33]));
    let (address, token) = config.publish.http.as_ref().unwrap();
    assert_eq!((address.to_string().as_str(), token.expose()), ("0.0.0.0:9001", "t"));
    assert_eq!((config.store.age, config.store.max_channels), (Duration::from_secs(7 * 86400), 7));
    assert_eq!(config.log.access, AccessLog::File(folder.path().join("access.log")));

    let routes: Vec<_> = config.routes.iter().map(|route| (route.path.as_str(), route.is_prefix())).collect();
    assert_eq!(routes, [("/", true), ("/s/", false), ("/anonymous", false), ("/hook", false)]);
    assert_eq!(config.routes[0].hosts, ["a.example"]);
    let Action::Proxy(proxy) = &config.routes[0].action else { panic!() };
    assert_eq!((proxy.upstream, proxy.max_body), (0, 1 << 30));

    let stream = stream(&config.routes[1]);
    let said =
        |event: Option<&str>, data: &str| Said { event: event.map(str::to_owned), data: data.to_owned() };
    assert_eq!(
        (stream.auth.as_slice(), stream.replay, stream.backlog),
        ([0].as_slice(), Replay::Nothing, 1024)
    );
    assert_eq!((stream.channels[0].as_str(), stream.allow[0].as_str()), ("org:{org}", "news.*"));
    assert_eq!(stream.hello, Some(said(None, "hi")));
    let heartbeat = stream.heartbeat.as_ref().unwrap();
    assert_eq!(heartbeat.every, Duration::from_millis(10));
    assert_eq!(heartbeat.form, HeartbeatForm::Event { said: said(Some("ping"), "x"), id: true });
    assert_eq!(stream.on_gap, OnGap::Event(said(Some("refresh"), "")));
    assert_eq!((stream.retry, stream.max_age), (Duration::from_millis(250), None));
    assert_eq!(stream.unauthorized, Unauthorized::Event);
    assert_eq!(stream.headers.len(), 2);

    let anonymous = super::stream(&config.routes[2]);
    assert_eq!((anonymous.auth.len(), anonymous.channels.as_slice()), (0, ["all".to_owned()].as_slice()));
    assert_eq!((&anonymous.heartbeat, &anonymous.on_gap), (&None, &OnGap::Ignore));
    let Action::Publish(publish) = &config.routes[3].action else { panic!() };
    let PublishCheck::Webhook(key) = &publish.check else { panic!() };
    assert_eq!(key, b"012345678901234567890123");
}

#[test]
fn routes_that_a_request_tells_apart_may_share_a_path() {
    assert!(parse(&GOOD.replace("/events", "/")).is_ok(), "a prefix and an exact path");
    let route = |hosts: &str| {
        format!("[[route]]\npath = \"/x\"\nhosts = {hosts}\n[route.proxy]\nupstream = \"app\"\n")
    };
    assert!(parse(&format!("{GOOD}{}{}", route("[\"a.example\"]"), route("[]"))).is_ok());
    assert!(parse(&format!("{GOOD}{}{}", route("[\"a.example\"]"), route("[\"b.example\"]"))).is_ok());
    let shown =
        parse(&format!("{GOOD}{}{}", route("[\"a.example\"]"), route("[\"b.example\", \"A.example\"]")));
    let shown = shown.unwrap_err().to_string();
    assert!(shown.starts_with("error: an earlier route has the path `/x` on the same host\n"), "{shown}");
}

#[test]
fn flags_alone_are_a_configuration() {
    let secret = "correct-horse-battery-staple";
    let config = Config::from_flags("http://127.0.0.1:8000", secret, "0.0.0.0:8080").unwrap();
    assert_eq!(config.publish.socket, Some(SocketPlace::Path(PathBuf::from("./sidestream.sock"))));
    let paths: Vec<_> = config.routes.iter().map(|route| route.path.as_str()).collect();
    assert_eq!(paths, ["/", "/events"]);
    assert_eq!(stream(&config.routes[1]).auth, [0]);

    let shown = Config::from_flags("127.0.0.1:8000", "hunter2", "8080").unwrap_err().to_string();
    assert_eq!(
        shown,
        "error: `--upstream` is neither http://HOST:PORT, https://HOST nor unix:PATH\n  = write \"http://127.0.0.1:8000\"\n\n\
         error: `--jwt-secret` is shorter than 16 bytes\n  = `openssl rand -hex 32` makes a good one\n\n\
         error: `--listen` is a port without an address\n  = write \"0.0.0.0:8080\"\n\n\
         3 errors in the command line"
    );
}

#[test]
fn secrets_are_not_printed() {
    let config =
        Config::from_flags("http://127.0.0.1:8000", "correct-horse-battery-staple", ":8080").unwrap();
    assert!(!format!("{config:?}").contains("horse"));
    let hook = "[[route]]\npath = \"/hook\"\n[route.publish]\ntoken = \"hunter2\"\n";
    let broken = format!("{:?}", parse(&GOOD.replace("address", "adress")).unwrap_err());
    assert!(broken.contains("adress") && !broken.contains("horse"), "{broken}");
    assert!(!format!("{:?}", parse(&format!("{GOOD}{hook}")).unwrap()).contains("hunter2"));
}
