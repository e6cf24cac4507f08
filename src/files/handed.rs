//! Files that an app hands in: it answers with the name of a file, and the client gets the file with what else the app
//! said of it. The app has decided who may have it, so all of it is as if the app had sent the file itself.

use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::rc::Rc;

use http::header::{
    ACCEPT_ENCODING, ACCEPT_RANGES, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE,
    CONTENT_TYPE, ETAG, HeaderMap, HeaderName, HeaderValue, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH,
    IF_RANGE, IF_UNMODIFIED_SINCE, LAST_MODIFIED, RANGE, TRANSFER_ENCODING, VARY,
};
use http::{Method, Response, StatusCode, response};

use super::media::media;
use super::path::FilePath;
use super::{FileBody, Files, FilesError, Found, PRIVATE};
use crate::http::Codings;
use crate::transport::DirectFiles;

/// What an app says of its own body, which is not sent.
const OF_THE_BODY: [HeaderName; 6] =
    [ACCEPT_RANGES, CONTENT_LENGTH, CONTENT_RANGE, ETAG, LAST_MODIFIED, TRANSFER_ENCODING];

/// What an app says of the file, and knows better than we do.
const OF_THE_FILE: [HeaderName; 2] = [CACHE_CONTROL, CONTENT_ENCODING];

/// What of a request a file depends on.
const OF_THE_REQUEST: [HeaderName; 7] =
    [ACCEPT_ENCODING, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE, RANGE];

/// The client's request, as far as it matters for a file that an app hands in.
#[derive(Debug)]
pub struct Client {
    /// Its method. The app has done what it asked for, so what is left is to read.
    pub method: Method,
    /// Its fields.
    pub fields: HeaderMap,
    /// How parts of files get to its socket unread, if they do.
    pub direct: Option<Rc<DirectFiles>>,
}

impl Client {
    /// Keeps of a request what a file needs.
    pub fn of(method: &Method, fields: &HeaderMap, direct: Option<&Rc<DirectFiles>>) -> Self {
        let mut kept = HeaderMap::new();
        for name in OF_THE_REQUEST {
            for value in fields.get_all(&name) {
                kept.append(&name, value.clone());
            }
        }
        Self { method: method.clone(), fields: kept, direct: direct.cloned() }
    }
}

/// A file that is to be handed over.
#[derive(Debug)]
pub struct Handed(FilePath);

impl Files {
    /// The file at a path of the routing table that begins with the route's.
    pub fn at_target(&self, path: &str) -> Option<Handed> {
        path.get(self.own..).and_then(FilePath::parse).map(Handed)
    }

    /// The file at an absolute path of this machine, if it lies below the root: as the configuration names the root, or
    /// as it is called without symbolic links.
    pub fn at_path(&self, path: &Path) -> Option<Handed> {
        let root = self.root.path();
        let below = path.strip_prefix(root).ok().map(Path::to_path_buf);
        let below =
            below.or_else(|| Some(path.strip_prefix(root.canonicalize().ok()?).ok()?.to_path_buf()))?;
        // `..` is not taken out of it: it is refused.
        FilePath::plain(below.as_os_str().as_bytes()).map(Handed)
    }

    /// Answers a client with a file, and with what the app said.
    pub async fn hand_over(
        &self,
        handed: Handed,
        app: response::Parts,
        client: &Client,
    ) -> Result<Response<FileBody>, FilesError> {
        // A form that the app has encoded itself stands alone.
        let is_coded = app.headers.contains_key(CONTENT_ENCODING);
        let codings = if is_coded { Codings::default() } else { Codings::accepted(&client.fields) };
        let found = self.find(handed.0, codings).await?;
        // There is no target that a client could be sent to.
        let Found::File(file) = found else { return Err(FilesError::Missing) };
        let kind = media(file.path.as_bytes());
        let name = app.headers.get(CONTENT_TYPE).cloned();
        let name = name.unwrap_or(HeaderValue::from_static(kind.name));
        let represented = file.represented(name, kind.may_be_coded && !is_coded, PRIVATE);
        let method = if client.method == Method::HEAD { Method::HEAD } else { Method::GET };
        let is_read = matches!(client.method, Method::GET | Method::HEAD);
        let is_asked_for = is_read && app.status == StatusCode::OK;
        let mut response = represented.answer(
            &method,
            &client.fields,
            is_asked_for,
            &self.sending.by(client.direct.as_ref()),
        )?;
        if !is_asked_for {
            *response.status_mut() = app.status;
        }
        merge(response.headers_mut(), app.headers);
        Ok(response)
    }
}

/// Adds what the app said to what is said of the file.
fn merge(ours: &mut HeaderMap, mut theirs: HeaderMap) {
    for name in OF_THE_BODY {
        theirs.remove(name);
    }
    for name in OF_THE_FILE {
        if theirs.contains_key(&name) {
            ours.remove(name);
        }
    }
    // It has been taken already, and of several parts it is the type of each.
    theirs.remove(CONTENT_TYPE);
    let mut last = None;
    for (name, value) in theirs {
        // A name comes once, with the first of its values.
        let is_first = name.is_some();
        last = name.or(last);
        let Some(name) = &last else { continue };
        // In the place of ours, but for what both may say.
        if is_first && *name != VARY {
            ours.insert(name, value);
        } else {
            ours.append(name, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_app_has_the_last_word_on_the_file_and_none_on_its_length() {
        let map = |lines: &[(&'static str, &str)]| {
            let mut map = HeaderMap::new();
            for (name, value) in lines {
                map.append(HeaderName::from_static(name), value.parse().unwrap());
            }
            map
        };
        let mut ours = map(&[
            ("etag", "\"ours\""),
            ("content-type", "multipart/byteranges"),
            ("cache-control", "private"),
            ("vary", "Accept-Encoding"),
        ]);
        let theirs = [
            ("content-length", "5"),
            ("etag", "\"theirs\""),
            ("last-modified", "x"),
            ("content-type", "a/b"),
            ("cache-control", "no-store"),
            ("vary", "Cookie"),
            ("set-cookie", "a=1"),
            ("set-cookie", "b=2"),
            ("content-disposition", "attachment"),
        ];
        merge(&mut ours, map(&theirs));
        let expected = map(&[
            ("etag", "\"ours\""),
            ("content-type", "multipart/byteranges"),
            ("cache-control", "no-store"),
            ("vary", "Accept-Encoding"),
            ("vary", "Cookie"),
            ("set-cookie", "a=1"),
            ("set-cookie", "b=2"),
            ("content-disposition", "attachment"),
        ]);
        assert_eq!(ours, expected);
    }
}
