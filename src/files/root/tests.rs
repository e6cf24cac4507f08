use std::fs;
use std::os::unix::fs::symlink;

use super::*;

/// A root with a file, a folder, links that stay in it and links that leave it; and a secret beside it.
fn tree() -> (tempfile::TempDir, Root) {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("root");
    fs::create_dir_all(root.join("a/b")).unwrap();
    fs::write(folder.path().join("secret"), "secret").unwrap();
    fs::write(root.join("a/file"), "file").unwrap();
    symlink("file", root.join("a/inside")).unwrap();
    symlink("../a", root.join("a/b/up")).unwrap();
    symlink("../../secret", root.join("a/outside")).unwrap();
    symlink(folder.path().join("secret"), root.join("absolute")).unwrap();
    symlink("..", root.join("parent")).unwrap();
    symlink("round", root.join("round")).unwrap();
    rustix::fs::mknodat(rustix::fs::CWD, root.join("pipe"), FileType::Fifo, Mode::RUSR | Mode::WUSR, 0)
        .unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(root.join("socket")).unwrap();
    (folder, Root::new(root))
}

fn path(text: &str) -> FilePath {
    FilePath::parse(text).unwrap()
}

#[test]
fn nothing_outside_is_opened_and_nothing_that_is_no_file() {
    let (_folder, root) = tree();
    let folder = root.folder().unwrap().folder;
    for text in
        ["a/outside", "absolute", "parent/secret", "parent", "round", "pipe", "socket", "a/none", "a/file/x"]
    {
        let error = open_beneath(&folder, &path(text), false).unwrap_err();
        assert!(is_absent(error), "{text}: {error}");
        let error = walk(&folder, path(text).as_path()).map(|fd| fstat(fd).unwrap().st_mode);
        assert!(!error.is_ok_and(|mode| FileType::from_raw_mode(mode) == FileType::RegularFile), "{text}");
    }
    assert!(matches!(
        open_beneath(&folder, &path("a/inside"), false),
        Ok(Opened::File(_, Meta { size: 4, .. }))
    ));
    assert!(matches!(open_beneath(&folder, &path("a"), false), Ok(Opened::Folder)));
    assert!(matches!(open_beneath(&folder, &path(""), false), Ok(Opened::Folder)));
}

#[test]
fn without_openat2_no_link_is_followed() {
    let (_folder, root) = tree();
    let folder = root.folder().unwrap().folder;
    assert!(walk(&folder, Path::new("a/file")).is_ok());
    assert!(walk(&folder, Path::new(".")).is_ok());
    assert_eq!(walk(&folder, Path::new("a/inside")).unwrap_err(), Errno::LOOP);
    assert_eq!(walk(&folder, Path::new("parent/secret")).unwrap_err(), Errno::NOTDIR);
    assert!(is_absent(walk(&folder, Path::new("a/none")).unwrap_err()));
}

#[test]
fn a_root_that_is_replaced_is_found_again() {
    let (folder, _) = tree();
    let releases = folder.path();
    fs::create_dir(releases.join("2")).unwrap();
    fs::write(releases.join("2/new"), "").unwrap();
    symlink("root", releases.join("current")).unwrap();
    let root = Root::new(releases.join("current"));
    let old = root.folder().unwrap();
    assert!(!old.may_be_old);
    assert!(open_beneath(&old.folder, &path("new"), false).is_err());
    symlink("2", releases.join("next")).unwrap();
    fs::rename(releases.join("next"), releases.join("current")).unwrap();
    root.forget();
    assert!(open_beneath(&root.folder().unwrap().folder, &path("new"), false).is_ok());
}
