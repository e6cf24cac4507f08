//! `sidestream explain`: what an operator reads, and what a script learns by the exit code.

use std::fs;
use std::path::Path;

use tempfile::TempDir;

use super::{Running, lines, run, sidestream};
use crate::support::{Client, NO_APP, SECRET, Subscriber, publish};

/// Runs a server with an admin socket from `sidestream.toml`; gives its address.
fn serve(folder: &Path) -> (Running, String) {
    let config = format!(
        r#"
[publish]
socket = "publish.sock"
[log]
access = "off"
[[listen]]
address = "127.0.0.1:0"
[upstreams.app]
servers = ["{NO_APP}"]
[auth.jwt]
kind = "jwt"
secret = "{SECRET}"
[admin]
address = "unix:admin.sock"
token = "the-admin-token"
[[route]]
path = "/"
[route.proxy]
upstream = "app"
[[route]]
path = "/events"
[route.stream]
auth = ["jwt"]
"#
    );
    fs::write(folder.join("sidestream.toml"), config).unwrap();
    let mut running = Running::start(sidestream(folder, &["run"]));
    let mut log = lines(running.0.stderr.take().unwrap());
    let line = log.find(|line| line.contains("listening")).unwrap();
    let address = line.split('"').nth(1).unwrap_or_else(|| panic!("no address in {line}")).to_owned();
    // It must not fill.
    std::thread::spawn(move || log.count());
    (running, address)
}

#[test]
fn it_is_told_in_words_and_by_the_exit_code() {
    let folder = TempDir::new().unwrap();
    let (_running, address) = serve(folder.path());
    let mut tab = Subscriber::of(Client::connect(&address), "42");
    let reply = publish(&folder.path().join("publish.sock"), r#"{"user": 42, "data": "hi"}"#);
    let id = reply["id"].as_str().unwrap().to_owned();
    assert_eq!(tab.event().id.as_ref(), Some(&id));

    let (code, stdout, stderr) = run(folder.path(), &["explain", "--user", "42", "--id", &id]);
    assert_eq!((code, stderr.as_str()), (0, ""), "{stdout}");
    let lines: Vec<_> = stdout.lines().collect();
    assert_eq!(lines[..2], ["delivered: it was written to 1 stream of user 42", ""]);
    assert!(lines[2].starts_with("  event    kept, published 20"), "{stdout}");
    assert!(lines[2].ends_with("Z for user:42, unread"), "{stdout}");
    assert!(
        lines[3].starts_with("  stream   written: it was taken by the client's socket, between 20"),
        "{stdout}"
    );
    assert!(lines[4].contains("/events, HTTP/1.1, worker "), "{stdout}");
    assert!(lines[4].ends_with(&format!("Z, open, last id {id}")), "{stdout}");
    assert!(lines[5].starts_with("  records  all streams that ended since 20"), "{stdout}");
    assert_eq!(lines.len(), 6, "{stdout}");

    // Of somebody else, by address and token, and as JSON.
    let admin = format!("unix:{}", folder.path().join("admin.sock").display());
    fs::write(folder.path().join("token"), "the-admin-token\n").unwrap();
    let by_address = ["--address", &admin, "--token", "file:token", "--json"];
    let question = ["explain", "--user", "43", "--id", &id];
    let (code, stdout, stderr) = run(folder.path(), &[&question[..], &by_address[..]].concat());
    assert_eq!((code, stderr.as_str()), (1, ""), "{stdout}");
    let said: serde_json::Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!((&said["outcome"], &said["event"]["id"]), (&"not-granted".into(), &id.as_str().into()));

    let wrong = ["--address", &admin, "--token", "another-token"];
    let (code, stdout, stderr) = run(folder.path(), &[&question[..], &wrong[..]].concat());
    assert_eq!((code, stdout.as_str()), (1, ""));
    let says = format!("error: {admin} does not say: status 401: this needs the token of [admin]\n  help: ");
    assert!(stderr.starts_with(&says) && !stderr.contains("another-token"), "{stderr}");
}

#[test]
fn who_cannot_be_asked_is_an_error_that_says_what_to_do() {
    let folder = TempDir::new().unwrap();
    let question = |more: &[&str]| {
        let (code, stdout, stderr) =
            run(folder.path(), &[&["explain", "--user", "42", "--id", "000000-1"], more].concat());
        assert_eq!((code, stdout.as_str()), (1, ""), "{stderr}");
        stderr
    };
    let stderr = question(&[]);
    assert!(
        stderr.starts_with("error: there is no sidestream.toml in this folder\n  help: name the"),
        "{stderr}"
    );
    let stderr = question(&["--address", "unix:gone.sock", "--token", "x"]);
    assert!(stderr.starts_with("error: no answer from unix:gone.sock: "), "{stderr}");
    let stderr = question(&["--address", "unix:gone.sock", "--token", "env:NOT_SET_ANYWHERE"]);
    assert!(stderr.starts_with("error: --token ") && stderr.contains("NOT_SET_ANYWHERE"), "{stderr}");
    let base = "[[listen]]\naddress = \"127.0.0.1:0\"\n[upstreams.app]\nservers = [\"http://127.0.0.1:9\"]\n\
                [[route]]\npath = \"/\"\n[route.proxy]\nupstream = \"app\"\n";
    for (admin, says) in [
        ("", "has no [admin]"),
        ("[admin]\n", "[admin] of sidestream.toml has no token"),
        (
            "[admin]\naddress = \"127.0.0.1:0\"\ntoken = \"x\"\n",
            "where 127.0.0.1:0 is, only the server knows",
        ),
    ] {
        fs::write(folder.path().join("sidestream.toml"), format!("{base}{admin}")).unwrap();
        let stderr = question(&[]);
        assert!(stderr.starts_with("error: ") && stderr.contains(says), "{stderr}");
    }
}
