//! The commands as a shell sees them: what they print, where, and their exit codes.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// How long anything in these tests may take before it counts as hanging.
const PATIENCE: Duration = Duration::from_secs(20);

fn sidestream(folder: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sidestream"));
    command.args(args).current_dir(folder).env_remove("JWT_SECRET").stdin(Stdio::null());
    command
}

fn run(folder: &Path, args: &[&str]) -> (i32, String, String) {
    let Output { status, stdout, stderr } = sidestream(folder, args).output().unwrap();
    (status.code().unwrap(), String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
}

/// A running command, ended when the test ends.
struct Running(Child);

impl Running {
    fn start(mut command: Command) -> Self {
        Self(command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap())
    }

    fn lines(&mut self) -> impl Iterator<Item = String> + use<> {
        BufReader::new(self.0.stdout.take().unwrap()).lines().map(Result::unwrap)
    }

    fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_child(&self.0);
        rustix::process::kill_process(pid, signal).unwrap();
    }

    /// The exit code, and what was written to stderr.
    fn end(mut self) -> (Option<i32>, String) {
        let begun = Instant::now();
        let status = loop {
            if let Some(status) = self.0.try_wait().unwrap() {
                break status;
            }
            assert!(begun.elapsed() < PATIENCE, "the command does not end");
            thread::sleep(Duration::from_millis(5));
        };
        let mut stderr = String::new();
        self.0.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
        (status.code(), stderr)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It fails when the command has ended, which is as good.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A publish socket that takes one line and answers with `reply`. The line comes out of the handle.
fn publish_socket(folder: &Path, reply: &'static str) -> JoinHandle<String> {
    let listener = UnixListener::bind(folder.join("sidestream.sock")).unwrap();
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut line = String::new();
        BufReader::new(&stream).read_line(&mut line).unwrap();
        stream.write_all(reply.as_bytes()).unwrap();
        line
    })
}

/// An HTTP server that answers its connections with `answers`, one after the other. The request heads come out.
fn stream_server(answers: Vec<&'static str>) -> (String, JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/events", listener.local_addr().unwrap());
    let served = thread::spawn(move || {
        let answer = |answer: &str| {
            let (mut stream, _) = listener.accept().unwrap();
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            let head = read_head(&mut stream);
            stream.write_all(answer.as_bytes()).unwrap();
            head
        };
        answers.into_iter().map(answer).collect()
    });
    (url, served)
}

fn read_head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    String::from_utf8(head).unwrap()
}

#[test]
fn help_and_version_go_to_stdout_and_usage_errors_to_stderr() {
    let folder = TempDir::new().unwrap();
    let (code, stdout, stderr) = run(folder.path(), &["--help"]);
    assert_eq!((code, stderr.as_str()), (0, ""));
    for command in ["run", "demo", "check", "publish", "listen", "token"] {
        assert!(stdout.contains(&format!("\n  {command} ")), "{command} in {stdout}");
    }
    assert!(stdout.contains("Examples:"));
    assert_eq!(run(folder.path(), &["--version"]).1, concat!("sidestream ", env!("CARGO_PKG_VERSION"), "\n"));
    let (code, stdout, stderr) = run(folder.path(), &["publish", "--data", "x"]);
    assert_eq!((code, stdout.as_str()), (2, ""));
    assert!(stderr.contains("--user"), "{stderr}");
}

#[test]
fn run_without_a_file_says_what_to_do() {
    let folder = TempDir::new().unwrap();
    for args in [&[][..], &["run"]] {
        let (code, stdout, stderr) = run(folder.path(), args);
        assert_eq!((code, stdout.as_str()), (1, ""));
        assert!(stderr.starts_with("error: there is no sidestream.toml in this folder\n"), "{stderr}");
        assert!(stderr.contains("--upstream"), "{stderr}");
    }
}

#[test]
fn check_shows_the_routing_table_or_the_mistakes() {
    let folder = TempDir::new().unwrap();
    let write = |text: &str| fs::write(folder.path().join("sidestream.toml"), text).unwrap();
    let good = "\
[[listen]]
address = \"127.0.0.1:8080\"
[upstreams.app]
servers = [\"http://127.0.0.1:8000\"]
[[route]]
path = \"/\"
proxy = { upstream = \"app\" }
[[route]]
path = \"/events\"
stream = { auth = [] }
";
    write(good);
    let (code, stdout, stderr) = run(folder.path(), &["check"]);
    assert_eq!((code, stderr.as_str()), (0, ""));
    assert!(stdout.starts_with("sidestream.toml: ok\n"), "{stdout}");
    for part in ["127.0.0.1:8080", "/events", "proxy", "app (http://127.0.0.1:8000)"] {
        assert!(stdout.contains(part), "{part} in {stdout}");
    }

    write(&good.replace("address", "adress"));
    let (code, stdout, stderr) = run(folder.path(), &["check", "--config", "sidestream.toml"]);
    assert_eq!((code, stdout.as_str()), (1, ""));
    assert!(stderr.contains("sidestream.toml:2:1"), "{stderr}");
    assert!(stderr.contains("did you mean `address`"), "{stderr}");
}

#[test]
fn token_prints_the_token_alone_and_never_the_secret() {
    let folder = TempDir::new().unwrap();
    let secret = "not to be printed, at any time";
    let output =
        sidestream(folder.path(), &["token", "--user", "42"]).env("JWT_SECRET", secret).output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty());
    let token = String::from_utf8(output.stdout).unwrap();
    assert_eq!(token.lines().count(), 1);
    assert_eq!(token.split('.').count(), 3);

    let (code, stdout, stderr) = run(folder.path(), &["token", "--user", "42"]);
    assert_eq!((code, stdout.as_str()), (1, ""));
    assert!(stderr.contains("JWT_SECRET"), "{stderr}");
    let (code, _, stderr) = run(folder.path(), &["token", "--user", "a b", "--secret", secret]);
    assert_eq!(code, 1);
    assert!(!stderr.contains(secret), "{stderr}");
}

#[test]
fn publish_sends_one_line_and_prints_the_reply() {
    let folder = TempDir::new().unwrap();
    let served = publish_socket(folder.path(), "{\"id\":\"e-1\",\"delivered\":3}\n");
    let data = "{\n\"title\": \"hi\"}";
    let args = ["publish", "--user", "42", "--user", "43", "--event", "note", "--key", "k", "--data", data];
    let (code, stdout, stderr) = run(folder.path(), &args);
    assert_eq!((code, stdout.as_str(), stderr.as_str()), (0, "{\"id\":\"e-1\",\"delivered\":3}\n", ""));
    let line = served.join().unwrap();
    let sent: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!(
        sent,
        serde_json::json!({"users": ["42", "43"], "event": "note", "key": "k", "data": {"title": "hi"}})
    );
}

#[test]
fn publish_reads_stdin() {
    let folder = TempDir::new().unwrap();
    let served = publish_socket(folder.path(), "{\"id\":\"e-1\",\"delivered\":0}\n");
    let mut command = sidestream(folder.path(), &["publish", "--channel", "all", "--data", "-"]);
    let mut running = Running::start({
        command.stdin(Stdio::piped());
        command
    });
    running.0.stdin.take().unwrap().write_all(b"two\nlines\n").unwrap();
    assert_eq!(running.end(), (Some(0), String::new()));
    assert_eq!(served.join().unwrap(), "{\"channels\":[\"all\"],\"data\":\"two\\nlines\"}\n");
}

#[test]
fn a_refused_publication_is_exit_code_1_with_the_servers_words() {
    let folder = TempDir::new().unwrap();
    let refusal = "{\"error\":\"invalid_publication\",\"field\":\"event\",\"message\":\"is reserved\"}\n";
    let served = publish_socket(folder.path(), refusal);
    let (code, stdout, stderr) =
        run(folder.path(), &["publish", "--user", "42", "--event", "open", "--data", "x"]);
    assert_eq!((code, stdout.as_str()), (1, ""));
    assert_eq!(stderr, "error: the server refused it: invalid_publication, field `event`: is reserved\n");
    served.join().unwrap();
}

#[test]
fn publish_tells_a_missing_socket_from_a_dead_one() {
    let folder = TempDir::new().unwrap();
    let publish = || run(folder.path(), &["publish", "--user", "42", "--data", "x"]);
    let (code, _, stderr) = publish();
    assert_eq!(code, 1);
    assert!(stderr.contains("there is no publish socket at ./sidestream.sock"), "{stderr}");

    let socket = folder.path().join("sidestream.sock");
    drop(UnixListener::bind(&socket).unwrap());
    let (code, _, stderr) = publish();
    assert_eq!(code, 1);
    assert!(stderr.contains("nobody listens at ./sidestream.sock"), "{stderr}");

    fs::remove_file(&socket).unwrap();
    let served = publish_socket(folder.path(), "");
    let (code, _, stderr) = publish();
    assert_eq!(code, 1);
    assert!(stderr.contains("closed ./sidestream.sock without a reply"), "{stderr}");
    served.join().unwrap();
}

const STREAM: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n";

#[test]
fn listen_prints_events_and_comes_back_with_the_last_id() {
    let folder = TempDir::new().unwrap();
    let first: &'static str = format!(
        "{STREAM}retry: 10\nid: e-0\n\nid: e-1\nevent: note\ndata: {{\"a\": 1}}\n\nid: e-2\ndata: cut"
    )
    .leak();
    let second: &'static str = format!("{STREAM}id: e-2\ndata: hi\n\n").leak();
    let gone = "HTTP/1.1 204 No Content\r\n\r\n";
    let (url, served) = stream_server(vec![first, second, gone]);
    let (code, stdout, stderr) = run(folder.path(), &["listen", &url, "--token", "t.t.t"]);
    assert_eq!(code, 0, "{stderr}");
    assert_eq!(
        stdout,
        "{\"id\":\"e-1\",\"event\":\"note\",\"data\":{\"a\": 1}}\n{\"id\":\"e-2\",\"event\":\"message\",\"data\":\"hi\"}\n"
    );
    let heads: Vec<String> = served.join().unwrap().iter().map(|head| head.to_lowercase()).collect();
    assert!(heads[0].contains("authorization: bearer t.t.t\r\n") && !heads[0].contains("last-event-id"));
    assert!(heads[1].contains("last-event-id: e-1\r\n"), "{}", heads[1]);
    assert!(heads[2].contains("last-event-id: e-2\r\n"), "{}", heads[2]);
}

#[test]
fn listen_once_ends_with_the_stream() {
    let folder = TempDir::new().unwrap();
    let (url, served) = stream_server(vec![format!("{STREAM}data: 1\n\n").leak()]);
    let (code, stdout, _) = run(folder.path(), &["listen", &url, "--once", "--last-event-id", "e-9"]);
    assert_eq!((code, stdout.as_str()), (0, "{\"id\":\"e-9\",\"event\":\"message\",\"data\":1}\n"));
    assert!(served.join().unwrap()[0].contains("last-event-id: e-9\r\n"));
}

#[test]
fn listen_ends_when_the_server_refuses() {
    let folder = TempDir::new().unwrap();
    for (answer, said) in [
        (
            "HTTP/1.1 401 Unauthorized\r\ncontent-length: 42\r\n\r\n{\"error\":\"x\",\"message\":\"the token is old\"}",
            "the server answers 401 Unauthorized: the token is old",
        ),
        ("HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n", "the server answers 403 Forbidden"),
        ("HTTP/1.1 404 Not Found\r\ncontent-length: 4\r\n\r\nnope", "404 Not Found: nope"),
        ("HTTP/1.1 302 Found\r\nlocation: /login\r\ncontent-length: 0\r\n\r\n", "it points to /login"),
        ("HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: 0\r\n\r\n", "no event stream"),
        ("220 smtp ready\r\n", "did not answer"),
    ] {
        let (url, served) = stream_server(vec![answer]);
        let (code, stdout, stderr) = run(folder.path(), &["listen", &url]);
        assert_eq!((code, stdout.as_str()), (1, ""), "{said}");
        assert!(stderr.contains(said), "{said} in {stderr}");
        served.join().unwrap();
    }
}

#[test]
fn listen_without_a_server_is_exit_code_1() {
    let folder = TempDir::new().unwrap();
    // Nobody listens on a port that was just given back.
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let (code, _, stderr) = run(folder.path(), &["listen", &format!("http://127.0.0.1:{port}/")]);
    assert_eq!(code, 1);
    assert!(stderr.contains(&format!("cannot connect to 127.0.0.1:{port}")), "{stderr}");
}

#[test]
fn a_closed_stdout_is_no_error() {
    let folder = TempDir::new().unwrap();
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut command =
        sidestream(folder.path(), &["token", "--user", "1", "--secret", "sixteen bytes or more"]);
    let output = command.stdout(writer).stderr(Stdio::piped()).spawn().unwrap().wait_with_output().unwrap();
    assert_eq!((output.status.code(), output.stderr.len()), (Some(0), 0));
}

#[test]
fn demo_serves_its_page_its_streams_and_its_lines_to_copy() {
    let folder = TempDir::new().unwrap();
    let mut command = sidestream(folder.path(), &["demo", "--listen", "127.0.0.1:0"]);
    command.env("TMPDIR", folder.path());
    let mut demo = Running::start(command);
    let mut lines = demo.lines();
    let text: Vec<String> = lines.by_ref().take_while(|line| !line.starts_with("Ctrl-C")).collect();
    let after = |start: &str, end: char| {
        let found =
            text.iter().find_map(|line| line.split_once(start)?.1.split(end).next().map(str::to_owned));
        found.unwrap_or_else(|| panic!("no {start:?} in {text:#?}"))
    };
    let (origin, url, socket) = (after("open ", ' '), after("curl -N '", '\''), after("--socket ", ' '));
    assert!(url.starts_with(&format!("{origin}/events?token=")));

    let page = get(&origin, "/");
    assert!(page.starts_with("HTTP/1.1 200 ") && page.contains("<title>Sidestream demo</title>"), "{page}");
    let facts = get(&origin, "/api/demo");
    assert!(facts.contains("\"streams_held\":0") && facts.contains("x-forwarded-for"), "{facts}");

    let mut listening = Running::start(sidestream(folder.path(), &["listen", &url, "--once"]));
    let mut events = listening.lines();
    // The stream is open once its first event is there.
    assert!(events.next().unwrap().contains("\"event\":\"hello\""));
    let publish = [
        "publish",
        "--socket",
        &socket,
        "--user",
        "ana",
        "--event",
        "notification",
        "--data",
        "{\"title\":\"x\"}",
    ];
    let (code, reply, stderr) = run(folder.path(), &publish);
    assert_eq!(code, 0, "{stderr}");
    assert!(reply.contains("\"delivered\":1"), "{reply}");
    assert!(events.next().unwrap().contains("\"event\":\"notification\",\"data\":{\"title\":\"x\"}"));

    demo.signal(rustix::process::Signal::TERM);
    assert_eq!(demo.end(), (Some(0), String::new()));
    assert_eq!(listening.end().0, Some(0));
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "something is left behind");
}

#[test]
fn a_port_in_use_is_exit_code_1_and_says_what_to_do() {
    let folder = TempDir::new().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let mut command = sidestream(folder.path(), &["demo", "--listen", &address]);
    let (code, stderr) = Running::start({
        command.env("TMPDIR", folder.path());
        command
    })
    .end();
    assert_eq!(code, Some(1));
    assert!(stderr.contains(&address) && stderr.contains("demo --listen 127.0.0.1:8081"), "{stderr}");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "something is left behind");
}

/// The whole answer to a GET on a connection of its own.
fn get(origin: &str, path: &str) -> String {
    let host = origin.strip_prefix("http://").unwrap();
    let mut stream = TcpStream::connect(host).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}
