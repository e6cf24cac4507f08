//! Static files: the folder of a route, from the target of a request to an answer; and files that an app hands in by
//! `X-Accel-Redirect` or `X-Sendfile`.
//!
//! Why not `tower-http`'s `ServeDir`: it follows symbolic links out of its folder, opens, looks at and reads each file on
//! another thread, and sends one range only. Here a file whose name and bytes the kernel has in its caches is answered
//! by the worker itself in four system calls, and one that it has not by a thread that may wait, so no worker waits for a
//! disk.
//!
//! Invariants: what is served lies beneath the root, is a regular file and has no hidden name (`path`, `root`); a folder
//! is never listed; what is said of a file (`condition`, `reply`) and what is sent of it are of the same open file, so a
//! file that is replaced meanwhile is sent as it was.

mod body;
mod cache;
mod condition;
mod handed;
mod immutable;
mod media;
mod path;
mod range;
mod reply;
mod root;

use std::cell::Cell;
use std::fmt;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::Arc;
use std::time::SystemTime;

use http::header::{CACHE_CONTROL, HeaderMap, HeaderValue, LOCATION};
use http::{Method, Response, StatusCode, Uri};
use rustix::io::Errno;
use tokio::task::spawn_blocking;

use crate::config::{FilesRoute, Immutable};
use crate::http::{Coding, Codings};
use crate::transport::DirectFiles;

pub use body::{FileBody, FileBodyError};
pub use handed::{Client, Handed};

use body::{Sending, read_small};
use cache::{Cache, Kept, Key};
use condition::Validators;
use immutable::is_immutable;
use media::{Media, media};
use path::FilePath;
use reply::{Representation, Source};
use root::{Meta, Opened, Root, is_absent, open_beneath};

/// How long a file may be kept whose name holds a hash of what is in it: a year, which is for ever (RFC 9111).
const FOR_EVER: HeaderValue = HeaderValue::from_static("public, max-age=31536000, immutable");
/// Other files: a page's second visitor is served by the cache in between, a deploy is seen within a minute.
const FOR_A_WHILE: HeaderValue = HeaderValue::from_static("public, max-age=60");
/// Pages name the other files, and an old one would name those of the last deploy: they are asked for again each time.
const ASK_AGAIN: HeaderValue = HeaderValue::from_static("no-cache");
/// What an app gives to one client is not for a cache in between, unless the app says so.
const PRIVATE: HeaderValue = HeaderValue::from_static("private, no-cache");

/// A route's files.
#[derive(Debug)]
pub struct Files {
    root: Root,
    /// How much of a target is the route's own part.
    own: usize,
    index: Option<String>,
    immutable: Immutable,
    internal: bool,
    sending: Sending,
    cache: Cache,
    /// Whether it has been said that links lead out of the root.
    said: Cell<bool>,
}

/// Why there is no file for a request.
#[derive(Debug)]
pub enum FilesError {
    /// Files are read, by GET and HEAD.
    Method,
    /// There is no such file, or none that is served.
    Missing,
    /// It is there, and this process may not read it.
    Denied,
    /// It is not what the client takes it for.
    Precondition,
    /// No range that was asked for is within it.
    Range {
        /// How long it is, in bytes.
        size: u64,
    },
    /// As many are being sent as may be.
    Busy,
    /// The machine could not open it.
    Io(std::io::Error),
}

impl fmt::Display for FilesError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Method => f.write_str("a file can be read, and nothing else"),
            Self::Missing => f.write_str("there is nothing here"),
            Self::Denied => f.write_str("this file may not be read"),
            Self::Precondition => f.write_str("the file is not what the request takes it for"),
            Self::Range { size } => write!(f, "the file has {size} bytes, and none in that range"),
            Self::Busy => f.write_str("too many files are being sent at the moment"),
            Self::Io(_) => f.write_str("the file cannot be read at the moment"),
        }
    }
}

impl std::error::Error for FilesError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io(error) => Some(error),
            _ => None,
        }
    }
}

impl Files {
    /// The files of a route at `path`.
    pub fn new(path: &str, route: &FilesRoute) -> Self {
        // Of an exact path, the last segment is the name of the file.
        let own = path.rfind('/').map_or(0, |slash| slash + 1);
        Self {
            root: Root::new(route.root.clone()),
            own,
            index: route.index.clone(),
            immutable: route.immutable.clone(),
            internal: route.internal,
            sending: Sending::default(),
            cache: Cache::default(),
            said: Cell::new(false),
        }
    }

    /// Whether only an app reaches them, by naming a file in its answer.
    pub fn is_internal(&self) -> bool {
        self.internal
    }

    /// Answers a request whose target begins with the route's path.
    pub async fn answer(
        &self,
        method: &Method,
        target: &Uri,
        request: &HeaderMap,
        direct: Option<&Rc<DirectFiles>>,
    ) -> Result<Response<FileBody>, FilesError> {
        if !matches!(*method, Method::GET | Method::HEAD) {
            return Err(FilesError::Method);
        }
        let below = target.path().get(self.own..).ok_or(FilesError::Missing)?;
        let codings = Codings::accepted(request);
        let key = cache::key(below, codings);
        let folder = self.root.folder().map_err(|error| self.failed(error))?;
        let kept = match self.cache.find(&key, &folder.folder) {
            Some(kept) => kept,
            None => {
                let path = FilePath::parse(below).ok_or(FilesError::Missing)?;
                let Found::File(file) = self.find(path, codings).await? else { return Ok(redirect(target)) };
                let media = media(file.path.as_bytes());
                let cache = self.cache_of(target.path(), below, media);
                match self.keep(key, &file, media, &cache) {
                    Some(kept) => kept,
                    None => {
                        let kind = HeaderValue::from_static(media.name);
                        let represented = file.represented(kind, media.may_be_coded, cache);
                        return represented.answer(method, request, true, &self.sending.by(direct));
                    }
                }
            }
        };
        let represented = Representation {
            size: kept.meta.size,
            source: Source::Memory(kept.bytes),
            validators: kept.validators,
            kind: HeaderValue::from_static(kept.media.name),
            coding: kept.coding,
            varies: kept.media.may_be_coded,
            cache: kept.cache,
        };
        represented.answer(method, request, true, &self.sending.by(direct))
    }

    /// Keeps a small file of which it is certain that it would be seen to change.
    fn keep(&self, key: Key, file: &FoundFile, media: Media, cache: &HeaderValue) -> Option<Kept> {
        let meta = file.meta;
        if meta.size == 0 || meta.size > cache::LARGEST {
            return None;
        }
        let validators = Validators::of(&meta, file.coding, SystemTime::now());
        let bytes = validators.is_strong.then(|| read_small(&file.file, 0..meta.size)).flatten()?;
        let kept = Kept { bytes, meta, validators, media, coding: file.coding, cache: cache.clone() };
        let path =
            file.coding.map_or_else(|| file.path.clone(), |coding| file.path.with_suffix(suffix(coding)));
        self.cache.keep(key, path, kept.clone());
        Some(kept)
    }

    fn cache_of(&self, path: &str, below: &str, kind: Media) -> HeaderValue {
        if is_immutable(&self.immutable, path, below) {
            FOR_EVER
        } else if kind.name.starts_with("text/html") {
            ASK_AGAIN
        } else {
            FOR_A_WHILE
        }
    }

    /// Finds a file: at once, if all that it takes is in the kernel's caches, else on a thread that may wait.
    async fn find(&self, path: FilePath, codings: Codings) -> Result<Found, FilesError> {
        let codings = if media(path.as_bytes()).may_be_coded { codings } else { Codings::default() };
        let mut search = Search { path, index: self.index.clone(), codings };
        loop {
            let folder = self.root.folder().map_err(|error| self.failed(error))?;
            let mut found = search.run(&folder.folder, true);
            if let Err(Errno::AGAIN) = found {
                let folder = folder.folder.clone();
                // Boxed within: the future of a request that need not wait has no room for this.
                let wait = spawn_blocking(move || {
                    let found = search.run(&folder, false);
                    (search, found)
                });
                (search, found) = wait.await.map_err(|error| FilesError::Io(std::io::Error::other(error)))?;
            }
            match found {
                Ok(found) => return Ok(found),
                // Perhaps it is in the folder that has taken this one's place.
                Err(error) if is_absent(error) && folder.may_be_old => self.root.forget(),
                Err(error) => return Err(self.failed(error)),
            }
        }
    }

    fn failed(&self, error: Errno) -> FilesError {
        let root = self.root.path();
        match error {
            Errno::XDEV if !self.said.replace(true) => {
                tracing::warn!(
                    ?root,
                    "a symbolic link leads out of the root of a files route; such links are not followed, and this is \
                     said once"
                );
                FilesError::Missing
            }
            error if is_absent(error) => FilesError::Missing,
            Errno::ACCESS | Errno::PERM => {
                tracing::warn!(
                    ?root,
                    "a file may not be read: its mode, or that of a folder, does not let this process"
                );
                FilesError::Denied
            }
            error => {
                let error = std::io::Error::from(error);
                tracing::warn!(?root, %error, "a file cannot be opened");
                FilesError::Io(error)
            }
        }
    }
}

/// What is looked for.
#[derive(Debug)]
struct Search {
    path: FilePath,
    index: Option<String>,
    codings: Codings,
}

#[derive(Debug)]
enum Found {
    File(FoundFile),
    /// A folder that has an index, asked for without its `/`.
    Folder,
}

#[derive(Debug)]
struct FoundFile {
    path: FilePath,
    file: File,
    meta: Meta,
    coding: Option<Coding>,
}

impl FoundFile {
    fn represented(self, kind: HeaderValue, varies: bool, cache: HeaderValue) -> Representation {
        let Self { file, meta, coding, .. } = self;
        let validators = Validators::of(&meta, coding, SystemTime::now());
        Representation {
            source: Source::File(file),
            size: meta.size,
            validators,
            kind,
            coding,
            varies,
            cache,
        }
    }
}

impl Search {
    /// `now` is only what needs no disk.
    fn run(&self, folder: &Arc<OwnedFd>, now: bool) -> Result<Found, Errno> {
        let index = |path: &FilePath| match &self.index {
            Some(index) => self.open(folder, path.join(index), now),
            None => Err(Errno::NOENT),
        };
        if self.path.is_folder {
            return index(&self.path)?.map(Found::File).ok_or(Errno::NOENT);
        }
        match self.open(folder, self.path.clone(), now)? {
            Some(file) => Ok(Found::File(file)),
            None => index(&self.path)?.map(|_| Found::Folder).ok_or(Errno::NOENT),
        }
    }

    /// Opens a file, or the best of its encoded forms; none if it is a folder.
    fn open(&self, folder: &OwnedFd, path: FilePath, now: bool) -> Result<Option<FoundFile>, Errno> {
        let Opened::File(file, meta) = open_beneath(folder, &path, now)? else { return Ok(None) };
        for coding in self.codings.iter() {
            match open_beneath(folder, &path.with_suffix(suffix(coding)), now) {
                // One that is older was made of something else.
                Ok(Opened::File(coded, its)) if its.modified.0 >= meta.modified.0 => {
                    return Ok(Some(FoundFile { path, file: coded, meta: its, coding: Some(coding) }));
                }
                Err(Errno::AGAIN) if now => return Err(Errno::AGAIN),
                _ => {}
            }
        }
        Ok(Some(FoundFile { path, file, meta, coding: None }))
    }
}

/// How the name of an encoded form goes on.
fn suffix(coding: Coding) -> &'static str {
    match coding {
        Coding::Brotli => "br",
        Coding::Zstd => "zst",
        Coding::Gzip => "gz",
    }
}

/// Sends a client to the same path with a `/` behind it, so that what the index names is beside it.
fn redirect(target: &Uri) -> Response<FileBody> {
    // A path that begins with two slashes would name a host; none gets here (`path`).
    let to = match target.query() {
        Some(query) => format!("{}/?{query}", target.path()),
        None => format!("{}/", target.path()),
    };
    let mut response = Response::new(FileBody::empty());
    let Ok(to) = HeaderValue::from_str(&to) else { return response };
    *response.status_mut() = StatusCode::MOVED_PERMANENTLY;
    response.headers_mut().insert(LOCATION, to);
    // A browser would keep it for ever, and one day the path may be a page of the app.
    response.headers_mut().insert(CACHE_CONTROL, ASK_AGAIN);
    response
}
