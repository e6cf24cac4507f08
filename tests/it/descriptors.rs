//! A process that has no file descriptors left: it waits for some, and goes on.

use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::support::{Client, PATIENCE};

/// So few that sixty clients are too many, though the configuration lets ten thousand in.
const DESCRIPTORS: &str = "40";

const CONFIG: &str = r#"
[server]
workers = 1
max_connections = 10000
[log]
access = "off"
[publish]
socket = "publish.sock"
[[listen]]
address = "unix:site.sock"
[upstreams.app]
servers = ["http://127.0.0.1:9"]
[[route]]
path = "/"
[route.proxy]
upstream = "app"
"#;

/// A server of its own process, ended with the test.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Sends a request that is refused without the app, which would take a descriptor too.
fn ask(client: &mut Client) {
    assert_eq!(client.send("GET /x HTTP/1.1\r\nHost: a b\r\n\r\n").response().status, 400);
}

#[test]
fn a_listener_outlives_a_time_without_descriptors() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("site.toml"), CONFIG).unwrap();
    let mut command = Command::new("sh");
    command.args(["-c", &format!("ulimit -n {DESCRIPTORS} && exec \"$0\" run --config site.toml")]);
    command.arg(env!("CARGO_BIN_EXE_sidestream")).current_dir(folder.path());
    let _process = Process(command.stdin(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());

    let (path, publish) = (folder.path().join("site.sock"), folder.path().join("publish.sock"));
    let begun = Instant::now();
    while UnixStream::connect(&path).is_err() {
        assert!(begun.elapsed() < PATIENCE, "it does not start");
        std::thread::sleep(Duration::from_millis(2));
    }
    // They come while it still starts, as clients do after a restart.
    let connect = || Client::connect(&format!("unix:{}", path.display()));
    let mut early = connect();
    let others: Vec<_> = (0..60).map(|_| connect()).collect();
    // Those who were let in are served; each that goes makes room for one more.
    ask(&mut early);
    drop(early);
    for mut client in others {
        ask(&mut client);
    }
    ask(&mut connect());
    let health =
        Client::connect(&format!("unix:{}", publish.display())).get("/healthz", "").response().json();
    let errors = health["accept_errors"].as_u64().unwrap();
    assert!(errors > 0, "there was room for all");
    assert!(errors < 100, "it tried {errors} times without rest");
}
