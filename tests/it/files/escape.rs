//! What a client may write in a target, and that nothing outside the root comes of it.

use std::os::unix::fs::symlink;

use super::{get, route, write};
use crate::support::{App, NO_APP, Site};

const SECRET: &str = "nobody may read this";

/// Ways to leave a folder, to name a file that is hidden, or to say a path in another way than it is compared.
const TARGETS: &[&str] = &[
    "/static/../secret",
    "/static/../static/a.css",
    "/static/./a.css",
    "/static/sub/../../secret",
    "/static/sub/../a.css",
    "/static/..",
    "/static/../",
    "/static/.",
    "/static/%2e%2e/secret",
    "/static/%2E%2E/secret",
    "/static/.%2e/secret",
    "/static/%2e./secret",
    "/static/%2e%2e%2fsecret",
    "/static/..%2fsecret",
    "/static/..%2Fsecret",
    "/static/..%5csecret",
    "/static/..%5Csecret",
    "/static/%2e%2e%5csecret",
    "/static/%252e%252e/secret",
    "/static/%252e%252e%252fsecret",
    "/static/..%252fsecret",
    "/static/%c0%ae%c0%ae/secret",
    "/static/%c0%ae%c0%ae%c0%afsecret",
    "/static/%e0%80%ae%e0%80%ae/secret",
    "/static/%uff0e%uff0e/secret",
    "/static/..;/secret",
    "/static/..;a=b/secret",
    "/static/;/../secret",
    "/static/%00",
    "/static/%00/../secret",
    "/static/a.css%00",
    "/static/a.css%00.png",
    "/static/../secret%00.css",
    "/static//a.css",
    "/static//",
    "/static//etc/passwd",
    "/static/%2fetc%2fpasswd",
    "/static/%2fetc/passwd",
    "/static//%2e%2e/secret",
    "/static/sub//a.css",
    "/static/sub%2fa.css",
    "/static/sub%5ca.css",
    "/static/c:/secret",
    "/static/file:///etc/passwd",
    "/static/.env",
    "/static/%2eenv",
    "/static/.git/config",
    "/static/sub/.htpasswd",
    "/static/a.css/",
    "/static/a.css/.",
    "/static/a.css/..",
    "/static/a.css/../a.css",
    "/static/a.css/x",
    "/static/a.css%20",
    "/static/a.css.",
    "/static/a.css%0a",
    "/static/a.css%0d%0aX-Evil:%201",
    "/static/%",
    "/static/%2",
    "/static/%zz",
    "/static/a.css%",
    "/static/outside",
    "/static/absolute",
    "/static/up/secret",
    "/static/up",
    "/static/up/",
    "/static/far/passwd",
    "/static/self/environ",
    "/static/fd/0",
    "/static/round",
    "/static/dangling",
    "/static/pipe",
    "/static/socket",
    "/static/null",
    "/static/zero",
    "/static/*",
    "/static/?",
    "/static/~root",
    "/static/a.css::$DATA",
    "/static/A.CSS",
];

/// A folder of its own beside a secret, with links and other things in it that are no files.
fn trap(site: Site) -> crate::support::Sidestream {
    let relay = site.start();
    let root = relay.path("static");
    write(&root.join("a.css"), b"fine");
    write(&root.join("sub/a.css"), b"fine");
    write(&root.join("sub/.htpasswd"), SECRET.as_bytes());
    write(&root.join(".env"), SECRET.as_bytes());
    write(&root.join(".git/config"), SECRET.as_bytes());
    write(&relay.path("secret"), SECRET.as_bytes());
    for (target, name) in [
        ("../secret", "outside"),
        ("..", "up"),
        ("/etc", "far"),
        ("/proc/self", "self"),
        ("/proc/self/fd", "fd"),
        ("round", "round"),
        ("none", "dangling"),
        ("/dev/null", "null"),
        ("/dev/zero", "zero"),
    ] {
        symlink(target, root.join(name)).unwrap();
    }
    symlink(relay.path("secret"), root.join("absolute")).unwrap();
    let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
    rustix::fs::mknodat(rustix::fs::CWD, root.join("pipe"), rustix::fs::FileType::Fifo, mode, 0).unwrap();
    drop(std::os::unix::net::UnixListener::bind(root.join("socket")).unwrap());
    relay
}

#[test]
fn no_target_leaves_the_folder() {
    let relay = trap(Site::before(NO_APP).more(&route("")));
    assert_eq!(get(&relay, "/static/a.css", "").text(), "fine");
    assert_eq!(get(&relay, "/static/%61.css", "").text(), "fine");
    for target in TARGETS {
        let mut client = relay.connect();
        let response = client.get(target, "").response();
        assert!(matches!(response.status, 400 | 404), "{target}: {}", response.head);
        assert!(!response.text().contains(SECRET), "{target}");
        assert_eq!(response.field("x-evil"), None, "{target}");
        // The connection is as good as before, unless the target was none.
        if response.status == 404 {
            assert_eq!(client.get("/static/a.css", "").response().text(), "fine", "{target}");
        }
    }
}

#[test]
fn what_is_no_file_goes_to_the_app_as_it_was_written() {
    let app = App::that_echoes();
    let relay = trap(Site::before(app.origin()).more(&route("try_upstream = \"app\"")));
    let mut asked = 0;
    for target in TARGETS {
        let response = get(&relay, target, "");
        assert!(!response.text().contains(SECRET), "{target}");
        if response.status == 200 {
            assert!(
                response.text().starts_with(&format!("GET {target} HTTP/1.1\r\n")),
                "{target}: {}",
                response.text()
            );
            asked += 1;
        }
    }
    assert!(asked > TARGETS.len() - 5, "{asked}");
}

#[test]
fn links_within_the_folder_are_followed() {
    let relay = trap(Site::before(NO_APP).more(&route("")));
    symlink("sub", relay.path("static/inner")).unwrap();
    symlink("../a.css", relay.path("static/sub/link.css")).unwrap();
    assert_eq!(get(&relay, "/static/inner/a.css", "").text(), "fine");
    assert_eq!(get(&relay, "/static/inner/link.css", "").text(), "fine");
}

#[test]
fn well_known_is_not_hidden() {
    let relay = trap(Site::before(NO_APP).more(&route("")));
    write(&relay.path("static/.well-known/security.txt"), b"Contact: x");
    assert_eq!(get(&relay, "/static/.well-known/security.txt", "").text(), "Contact: x");
}

#[test]
fn a_folder_swapped_for_a_link_meanwhile_is_not_left() {
    let relay = trap(Site::before(NO_APP).more(&route("")));
    let root = relay.path("static");
    write(&relay.path("beside/a.css"), SECRET.as_bytes());
    std::fs::create_dir(root.join("turn")).unwrap();
    write(&root.join("turn/a.css"), b"fine");
    symlink("../beside", root.join("evil")).unwrap();
    let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let swapping = {
        let stop = stop.clone();
        std::thread::spawn(move || {
            let turn = root.join("turn");
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                rustix::fs::renameat_with(
                    rustix::fs::CWD,
                    &turn,
                    rustix::fs::CWD,
                    root.join("evil"),
                    rustix::fs::RenameFlags::EXCHANGE,
                )
                .unwrap();
            }
        })
    };
    let mut client = relay.connect();
    let mut served = 0;
    for _ in 0..500 {
        let response = client.get("/static/turn/a.css", "").response();
        assert!(!response.text().contains(SECRET));
        assert!(matches!(response.status, 200 | 404), "{}", response.head);
        served += u32::from(response.status == 200);
    }
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    swapping.join().unwrap();
    assert!(served > 0);
}
