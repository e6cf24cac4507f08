//! Under a service manager: sockets that it has opened, and what it is told.

use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::process::Signal;

use crate::support::program::command;
use crate::support::{Client, NO_APP, PATIENCE, Program, Subscriber, in_front_of, publish};

/// A configuration whose listener is a socket of this name.
fn on(name: &str) -> String {
    in_front_of(NO_APP, "", "").replace("\"127.0.0.1:0\"", &format!("\"fd:{name}\""))
}

/// The command that runs a configuration with a socket, given as often as there are names.
fn with_socket(folder: &Path, config: &str, socket: OwnedFd, names: &[&str]) -> Command {
    let plain = command(folder, config);
    let numbers: Vec<_> = (3..3 + names.len()).map(|number| format!("{number}<&0")).collect();
    let script = format!(
        "export LISTEN_PID=$$ LISTEN_FDS={} LISTEN_FDNAMES={}; exec \"$0\" \"$@\" {} 0</dev/null",
        names.len(),
        names.join(":"),
        numbers.join(" ")
    );
    let mut shell = Command::new("sh");
    shell.args(["-c", &script]).arg(plain.get_program()).args(plain.get_args()).current_dir(folder);
    shell.stdin(socket).stdout(Stdio::piped()).stderr(Stdio::piped());
    shell
}

fn start(config: &str, socket: OwnedFd, names: &[&str]) -> Program {
    let folder = tempfile::tempdir().unwrap();
    let command = with_socket(folder.path(), config, socket, names);
    Program::start(folder, command)
}

/// What it says of a start that fails.
fn refused(config: &str, socket: OwnedFd, names: &[&str]) -> String {
    let folder = tempfile::tempdir().unwrap();
    let ended = with_socket(folder.path(), config, socket, names).output().unwrap();
    assert_eq!(ended.status.code(), Some(1));
    String::from_utf8(ended.stderr).unwrap()
}

fn tcp() -> (OwnedFd, String) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    (listener.into(), address)
}

#[test]
fn clients_come_by_a_socket_that_was_given() {
    let (socket, address) = tcp();
    let program = start(&on("web"), socket, &["other", "web"]);
    assert_eq!(program.address, address);
    let mut stream = Subscriber::of(Client::connect(&address), "42");
    publish(&program.publish_socket(), r#"{"user": 42, "data": "hi"}"#);
    assert_eq!(stream.data(), "hi");

    // What does not concern it leaves it alone, and it can go and come back.
    program.reload(&on("web").replace("[log]\n", "[log]\nlevel = \"debug\"\n"), "configuration reloaded");
    Subscriber::of(Client::connect(&address), "43");
    program.reload(&on("other"), "configuration reloaded");
    Subscriber::of(Client::connect(&address), "44");
    program.reload(&on("web"), "configuration reloaded");
    Subscriber::of(Client::connect(&address), "45");
    program.reload(&on("nobody"), "no socket of that name was given; there are `fd:other`, `fd:web`");
    Subscriber::of(Client::connect(&address), "46");

    program.signal(Signal::TERM);
    stream.end();
    assert_eq!(program.end().code, Some(0));
}

#[test]
fn clients_come_by_a_unix_socket_that_was_given() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("in.sock");
    let listener = UnixListener::bind(&path).unwrap();
    let program = start(&on("3"), listener.into(), &["unknown"]);
    assert_eq!(program.address, format!("unix:{}", path.display()));
    let stream = Subscriber::of(Client::connect(&program.address), "42");
    program.signal(Signal::TERM);
    stream.end();
    assert_eq!(program.end().code, Some(0));
    assert!(path.exists(), "it is not ours to remove");
}

#[test]
fn publishers_come_by_a_socket_that_was_given() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("publish.sock");
    let listener = UnixListener::bind(&path).unwrap();
    let config = in_front_of(NO_APP, "", "").replace("\"publish.sock\"", "\"fd:publish\"");
    let program = start(&config, listener.into(), &["publish"]);
    assert!(publish(&path, r#"{"user": 42, "data": "hi"}"#)["id"].is_string());
    program.signal(Signal::TERM);
    assert_eq!(program.end().code, Some(0));
    assert!(path.exists(), "it is not ours to remove");
}

#[test]
fn a_socket_that_cannot_be_used_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let listens_not = || {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        socket.bind(&"127.0.0.1:0".parse::<std::net::SocketAddr>().unwrap().into()).unwrap();
        OwnedFd::from(socket)
    };
    let publishes = in_front_of(NO_APP, "", "").replace("\"publish.sock\"", "\"fd:web\"");
    let datagrams = OwnedFd::from(UnixDatagram::bind(folder.path().join("d")).unwrap());
    for (config, socket, names, why) in [
        (on("web"), tcp().0, &["web", "web"][..], "several sockets of that name"),
        (on("web"), tcp().0, &["api"], "fd:web: no socket of that name was given; there are `fd:api`"),
        (on("web"), listens_not(), &["web"], "needs Accept=no"),
        (on("web"), datagrams, &["web"], "needs ListenStream="),
        (publishes, tcp().0, &["web"], "[publish] socket: cannot listen on fd:web: it is a TCP socket"),
    ] {
        let said = refused(&config, socket, names);
        assert!(said.contains(why), "{said}");
    }
    // Those of another process, which has started this one.
    let ended = command(folder.path(), &on("web"))
        .envs([("LISTEN_PID", "1"), ("LISTEN_FDS", "1"), ("LISTEN_FDNAMES", "web")])
        .output()
        .unwrap();
    let said = String::from_utf8(ended.stderr).unwrap();
    assert!(said.contains("nor any other"), "{said}");
}

/// Waits until the service manager is told something that begins like this; returns all that it was told until then.
fn hears(manager: &UnixDatagram, begin: &str) -> Vec<String> {
    let mut heard = Vec::new();
    let mut bytes = [0; 512];
    loop {
        let length = manager.recv(&mut bytes).unwrap_or_else(|_| panic!("no {begin} in {heard:?}"));
        heard.push(String::from_utf8(bytes[..length].to_vec()).unwrap());
        if heard.last().unwrap().starts_with(begin) {
            return heard;
        }
    }
}

#[test]
fn the_service_manager_is_told_how_it_does() {
    let folder = tempfile::tempdir().unwrap();
    let manager = UnixDatagram::bind(folder.path().join("notify")).unwrap();
    manager.set_read_timeout(Some(PATIENCE)).unwrap();
    let config = in_front_of(NO_APP, "", "");
    let home = tempfile::tempdir().unwrap();
    let mut command = command(home.path(), &config);
    command.env("NOTIFY_SOCKET", folder.path().join("notify")).env("WATCHDOG_USEC", "50000");
    let program = Program::start(home, command);

    assert_eq!(hears(&manager, "READY=1"), ["READY=1"]);
    let first = Subscriber::of(Client::connect(&program.address), "42");
    hears(&manager, "STATUS=1 streams");
    for _ in 0..3 {
        hears(&manager, "WATCHDOG=1");
    }
    program.reload(&config.replace("[log]\n", "[log]\nlevel = \"debug\"\n"), "configuration reloaded");
    assert!(hears(&manager, "RELOADING=1").last().unwrap().contains("\nMONOTONIC_USEC="));
    hears(&manager, "READY=1");
    // A file that is refused leaves it as ready as before.
    program.reload("nonsense", "not reloaded");
    hears(&manager, "RELOADING=1");
    hears(&manager, "READY=1");
    program.signal(Signal::TERM);
    hears(&manager, "STOPPING=1");
    first.end();
    assert_eq!(program.end().code, Some(0));
    manager.set_read_timeout(Some(Duration::from_millis(1))).unwrap();
    let mut bytes = [0; 512];
    while let Ok(length) = manager.recv(&mut bytes) {
        assert_ne!(&bytes[..length], b"READY=1", "after the end");
    }
}
