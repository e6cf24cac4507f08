//! `POST /reload`: the configuration is read again, and who asked is told what became of it.

use std::fmt;
use std::pin::Pin;

use bytes::Bytes;
use http::{Response, StatusCode};
use serde_json::json;

use super::{View, door};
use crate::config::Problems;

/// What became of a reload.
#[derive(Debug)]
pub enum Outcome {
    /// A configuration is in force, be it the one that was.
    Done {
        /// Its number.
        generation: u64,
        /// The sections that are not what they were.
        changed: Vec<&'static str>,
        /// Keys that say otherwise, and for which the process has to be started anew.
        kept: Vec<&'static str>,
    },
    /// The file has mistakes; everything is as it was.
    Config(Problems),
    /// Something that it names cannot be opened, in a sentence; everything is as it was.
    Unavailable(String),
    /// The process is ending.
    Ending,
}

type Pending = Pin<Box<dyn Future<Output = Outcome>>>;

/// Asks for a reload.
pub struct Reload(Box<dyn Fn() -> Pending + Send>);

impl Reload {
    /// Asks by calling `ask`.
    pub fn new<F: Future<Output = Outcome> + 'static>(ask: impl Fn() -> F + Send + 'static) -> Self {
        Self(Box::new(move || Box::pin(ask())))
    }
}

impl fmt::Debug for Reload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reload").finish_non_exhaustive()
    }
}

/// Asks for it, waits and tells.
pub(super) async fn answer(view: &View) -> Response<Bytes> {
    let Some(Reload(ask)) = &view.reload else {
        let message = "there is no file to read again: it runs by flags";
        return door::refusal(StatusCode::CONFLICT, "no_file", message);
    };
    match ask().await {
        Outcome::Done { generation, changed, kept } => {
            door::said(StatusCode::OK, &json!({ "generation": generation, "changed": changed, "kept": kept }))
        }
        Outcome::Config(problems) => {
            let place = |problem| {
                let (line, column) = problems.place_of(problem).unzip();
                json!({ "message": problem.message(), "file": problems.origin(), "line": line, "column": column })
            };
            let message = "the file has mistakes: everything is as it was";
            let list: Vec<_> = problems.iter().map(place).collect();
            let said = json!({ "error": "invalid_configuration", "message": message, "problems": list });
            door::said(StatusCode::UNPROCESSABLE_ENTITY, &said)
        }
        Outcome::Unavailable(why) => {
            let message = format!("{why}: everything is as it was");
            door::refusal(StatusCode::UNPROCESSABLE_ENTITY, "cannot_be_opened", &message)
        }
        Outcome::Ending => door::refusal(StatusCode::SERVICE_UNAVAILABLE, "ending", "the process is ending"),
    }
}
