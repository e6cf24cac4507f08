//! The socket's file, tried on a real file system.

use std::os::unix::net::UnixStream;
use std::sync::Barrier;

use tempfile::TempDir;

use super::*;

fn folder() -> (TempDir, PathBuf) {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("sidestream.sock");
    (folder, path)
}

fn bind(path: &Path) -> Result<PublishSocket, SocketError> {
    PublishSocket::bind(path, 0o660, None)
}

fn names(folder: &TempDir) -> Vec<String> {
    fs::read_dir(folder.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect()
}

/// A socket file whose process is gone.
fn leave_stale(path: &Path) {
    drop(UnixListener::bind(path).unwrap());
}

#[test]
fn a_socket_has_its_mode_and_goes_with_its_owner() {
    let (folder, path) = folder();
    for mode in [0o600, 0o660, 0o666] {
        let socket = PublishSocket::bind(&path, mode, None).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, mode);
        assert_eq!(names(&folder), ["sidestream.sock"]);
        UnixStream::connect(&path).unwrap();
        drop(socket);
        assert_eq!(names(&folder), [""; 0]);
    }
}

#[test]
fn a_live_socket_is_not_stolen() {
    let (folder, path) = folder();
    let first = bind(&path).unwrap();
    let error = bind(&path).unwrap_err();
    assert!(matches!(error, SocketError::InUse { .. }), "{error}");
    assert!(error.to_string().contains("in use by a running process"));
    UnixStream::connect(&path).unwrap();
    assert_eq!(names(&folder), ["sidestream.sock"]);
    drop(first);
    bind(&path).unwrap();
}

#[test]
fn a_live_socket_with_a_full_backlog_is_in_use() {
    let (_folder, path) = folder();
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
    socket.bind(&SockAddr::unix(&path).unwrap()).unwrap();
    socket.listen(0).unwrap();
    let _waiting: Vec<_> = std::iter::from_fn(|| {
        let client = Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
        client.set_nonblocking(true).unwrap();
        client.connect(&SockAddr::unix(&path).unwrap()).ok().map(|()| client)
    })
    .take(64)
    .collect();
    assert!(matches!(bind(&path), Err(SocketError::InUse { .. })));
}

#[test]
fn a_stale_socket_is_replaced() {
    let (folder, path) = folder();
    leave_stale(&path);
    let _socket = bind(&path).unwrap();
    UnixStream::connect(&path).unwrap();
    assert_eq!(names(&folder), ["sidestream.sock"]);
}

#[test]
fn what_is_no_socket_is_left_alone() {
    let (folder, path) = folder();
    let target = folder.path().join("stale.sock");
    leave_stale(&target);
    for make in [&|| fs::write(&path, "precious").unwrap() as (), &|| {
        std::os::unix::fs::symlink(&target, &path).unwrap()
    }] as [&dyn Fn(); 2]
    {
        make();
        let error = bind(&path).unwrap_err();
        assert!(matches!(error, SocketError::NotASocket { .. }), "{error}");
        assert!(target.exists());
        fs::remove_file(&path).unwrap();
    }
    fs::create_dir(&path).unwrap();
    assert!(matches!(bind(&path), Err(SocketError::NotASocket { .. })));
    assert_eq!(names(&folder).len(), 2);
}

#[test]
fn a_file_that_is_not_ours_any_more_stays() {
    let (_folder, path) = folder();
    let first = bind(&path).unwrap();
    fs::remove_file(&path).unwrap();
    let second = bind(&path).unwrap();
    drop(first);
    UnixStream::connect(&path).unwrap();
    drop(second);
    assert!(!path.exists());
}

#[test]
fn the_error_says_what_to_do() {
    let (folder, path) = folder();
    let nowhere = folder.path().join("missing/s.sock");
    let error = bind(&nowhere).unwrap_err();
    assert!(error.to_string().contains("make its folder first"), "{error}");
    assert!(error.source().is_some());
    let long = path.with_file_name("s".repeat(108));
    let error = bind(&long).unwrap_err();
    assert!(matches!(error, SocketError::TooLong { .. }), "{error}");
    let full = path.with_file_name("s".repeat(MAX_PATH - folder.path().as_os_str().len() - 1));
    assert_eq!(full.as_os_str().len(), MAX_PATH);
    bind(&full).unwrap();
    assert_eq!(names(&folder), [""; 0]);
}

#[test]
fn of_many_that_start_at_once_over_a_stale_file_one_gets_it() {
    let (folder, path) = folder();
    leave_stale(&path);
    let start = Barrier::new(8);
    let bound: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8)
            .map(|_| {
                scope.spawn(|| {
                    start.wait();
                    bind(&path)
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(bound.iter().filter(|socket| socket.is_ok()).count(), 1, "{bound:?}");
    UnixStream::connect(&path).unwrap();
    assert_eq!(names(&folder), ["sidestream.sock"]);
}
