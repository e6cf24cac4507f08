//! Static files, seen by a client.

mod conditions;
mod escape;
mod fallback;
mod handed;
mod large;
mod over_h2;
mod ranges;
mod serving;

use std::fs::{self, File};
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::support::{NO_APP, Response, Sidestream, Site};

/// A route for the folder `static` at `/static/`, with more lines.
fn route(more: &str) -> String {
    format!("[[route]]\npath = \"/static/\"\n[route.files]\nroot = \"static\"\n{more}\n")
}

/// A Sidestream that serves a folder with these files, and its app is not there.
fn serving(files: &[(&str, &[u8])], more: &str) -> Sidestream {
    let relay = Site::before(NO_APP).more(&route(more)).start();
    for (name, bytes) in files {
        put(&relay, name, bytes);
    }
    relay
}

/// Writes a file of the folder, a minute ago.
fn put(relay: &Sidestream, name: &str, bytes: &[u8]) {
    write(&relay.path("static").join(name), bytes);
}

fn write(path: &Path, bytes: &[u8]) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
    // As a build would have left it: whole seconds, and not just now.
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let time = UNIX_EPOCH + Duration::from_secs(now - 60);
    File::options().write(true).open(path).unwrap().set_modified(time).unwrap();
}

fn get(relay: &Sidestream, target: &str, fields: &str) -> Response {
    relay.connect().get(target, fields).response()
}

/// The lines of a head with this name.
fn lines<'h>(head: &'h str, name: &str) -> Vec<&'h str> {
    let named = head.lines().skip(1).filter_map(|line| line.split_once(':'));
    named.filter(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim()).collect()
}
