//! Files that an app hands in: which route they are of.

use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use http::{Response, response};

use super::refusal::Refusal;
use super::{Do, ReplyBody, Router};
use crate::files::{Client, Files, Handed};
use crate::http::HandedFile;

impl Router {
    /// Answers with the file that an app names, in the place of its answer's body.
    pub(super) async fn hand_over(
        &self,
        named: HandedFile,
        app: response::Parts,
        client: Option<Box<Client>>,
        host: Option<&str>,
    ) -> Result<Response<ReplyBody>, Refusal> {
        let found = match &named {
            HandedFile::Target(target) => self.at_target(target.as_bytes(), host),
            HandedFile::Path(path) => self.at_path(path.as_bytes()),
        };
        let (Some((files, file)), Some(client)) = (found, client) else {
            return Err(Refusal::HandedNowhere(named));
        };
        let response = files.hand_over(file, app, &client).await;
        if let Err(error) = &response {
            tracing::warn!(file = ?named, %error, "the app hands in a file that cannot be sent");
        }
        Ok(response?.map(ReplyBody::file))
    }

    fn at_target(&self, target: &[u8], host: Option<&str>) -> Option<(&Files, Handed)> {
        let path = std::str::from_utf8(target).ok()?;
        let path = path.split(['?', '#']).next().unwrap_or_default();
        match &*self.routes[self.table.find(path, host)?].action {
            Do::Files(files, _) if files.is_internal() => Some((files, files.at_target(path)?)),
            _ => None,
        }
    }

    fn at_path(&self, path: &[u8]) -> Option<(&Files, Handed)> {
        let path = Path::new(std::ffi::OsStr::from_bytes(path));
        self.internal_files().find_map(|files| Some((files, files.at_path(path)?)))
    }

    fn internal_files(&self) -> impl Iterator<Item = &Files> {
        self.routes.iter().filter_map(|entry| match &*entry.action {
            Do::Files(files, _) if files.is_internal() => Some(&**files),
            _ => None,
        })
    }
}
