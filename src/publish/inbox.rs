//! The unread inbox of a user, for the app: `GET /inbox/USER` and `POST /inbox/USER/read`.

use bytes::Bytes;
use http::uri::Uri;
use percent_encoding::percent_decode_str;

use crate::event::{Timestamp, is_user_id};
use crate::http::query_values;
use crate::publish::Publisher;
use crate::publish::refusal::{Refusal, RefusalKind};
use crate::unread::{self, UnreadError};

/// What a path below `/inbox/` is for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// What the user has not read.
    Unread(String),
    /// To mark some of it.
    Mark(String),
}

impl Asked {
    /// Reads what is behind `/inbox/`. User ids hold no slash.
    pub(super) fn of(path: &str) -> Result<Self, Refusal> {
        let (user, marks) = match path.strip_suffix("/read") {
            Some(user) => (user, true),
            None => (path, false),
        };
        let user = percent_decode_str(user).decode_utf8().ok().filter(|user| is_user_id(user));
        let user = user.map(std::borrow::Cow::into_owned).ok_or_else(|| {
            let message = "must be a user's id: letters, digits, _ . @ and -";
            Refusal::of_field(RefusalKind::InvalidPublication, "user", message)
        })?;
        Ok(if marks { Self::Mark(user) } else { Self::Unread(user) })
    }
}

/// Shows what a user has not read, past `?after=` if that is given.
pub(super) async fn show(
    publisher: &Publisher,
    user: &str,
    uri: &Uri,
    now: Timestamp,
) -> Result<Bytes, Refusal> {
    let after = query_values(uri.query(), "after").next();
    let page = unread::page(publisher.hub(), user, after.as_deref(), now).await;
    page.map_err(|error| refused(&error, "after"))
}

/// Marks what the app names.
pub(super) async fn mark(
    publisher: &Publisher,
    user: &str,
    json: &[u8],
    now: Timestamp,
) -> Result<Bytes, Refusal> {
    let marked = unread::mark(publisher.hub(), user, json, now).await;
    marked.map_err(|error| refused(&error, "read"))
}

fn refused(error: &UnreadError, field: &str) -> Refusal {
    let message = error.to_string();
    match error {
        UnreadError::NotMarked(_) | UnreadError::Store(_) => Refusal::new(RefusalKind::Unavailable, message),
        UnreadError::Json(error) if !error.is_data() => Refusal::new(RefusalKind::InvalidJson, message),
        UnreadError::Json(_) | UnreadError::NotObject | UnreadError::OneOf => {
            Refusal::new(RefusalKind::InvalidPublication, message)
        }
        UnreadError::TooMany => Refusal::of_field(RefusalKind::TooLarge, field, message),
        UnreadError::Id => Refusal::of_field(RefusalKind::InvalidPublication, field, message),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_names_a_user() {
        assert_eq!(Asked::of("42"), Ok(Asked::Unread("42".to_owned())));
        assert_eq!(Asked::of("a%40b.c/read"), Ok(Asked::Mark("a@b.c".to_owned())));
        assert_eq!(Asked::of("read"), Ok(Asked::Unread("read".to_owned())));
        for bad in ["", "/read", "a/b", "a:b", "a%2Fb", "%ff", "42/"] {
            assert_eq!(Asked::of(bad).unwrap_err().field(), Some("user"), "{bad}");
        }
    }
}
