//! The way in for what Sidestream fetches itself: publications that nobody waits for with a connection.
//!
//! Invariant: what is handed in together is tried in its order, and after the first that is refused for now, nothing of
//! it is tried: so a source that hands in the rest again keeps the order.

use std::sync::Arc;

use crate::config::Map;
use crate::event::{Epoch, EventId, Timestamp};
use crate::hub::{NotKept, Publication};
use crate::publish::publication::{self, Whom, fields};
use crate::publish::publisher::{not_kept, refused};
use crate::publish::refusal::{Refusal, RefusalKind};
use crate::publish::{Publisher, map};

/// A publisher with a map. Cloning it is cheap.
#[derive(Debug, Clone)]
pub struct Intake {
    publisher: Publisher,
    map: Option<Arc<Map>>,
}

/// Why a publication was not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NotTaken {
    /// It is wrong, or its key was used for another: it would be refused again.
    Never(Refusal),
    /// There was no room for it, or it could not be kept: the same may be taken later.
    Later(Refusal),
    /// It may be kept, or not: the same with a key makes one of it.
    Unknown(Refusal),
}

impl Intake {
    /// A way into the hub. Without a map, what is read must be a publication.
    pub fn new(publisher: Publisher, map: Option<Map>) -> Self {
        Self { publisher, map: map.map(Arc::new) }
    }

    /// Makes a publication of JSON text; `user` is whose list it is an entry of, if it is one.
    ///
    /// # Errors
    /// They name what is wrong, and repeat nothing of it.
    pub fn read(&self, json: &[u8], user: Option<&str>) -> Result<Publication, Refusal> {
        let limits = &self.publisher.limits();
        match &self.map {
            None => publication::parse_for(json, limits, Whom::Anybody),
            Some(map) => {
                let body = publication::value(json)?;
                map::publication_of_list(map, body, limits, Whom::Anybody, user.unwrap_or_default())
            }
        }
    }

    /// Hands publications in, and waits until each is as safe as the store promises. The keys are remembered until then
    /// at least.
    pub async fn hand_in(
        &self,
        publications: impl Iterator<Item = Publication>,
        now: Timestamp,
        until: Timestamp,
    ) -> Vec<Result<EventId, NotTaken>> {
        let mut refusal = None;
        let mut receipts = Vec::new();
        for publication in publications {
            if let Some(refusal) = &refusal {
                receipts.push(Err(NotTaken::Later(Refusal::clone(refusal))));
                continue;
            }
            let receipt = self.publisher.hub().publish_remembered(vec![publication], now, until);
            receipts.push(match receipt.map_err(|error| refused(error, false)) {
                // One publication in, one receipt out.
                Ok(mut receipts) => {
                    receipts.pop().ok_or_else(|| NotTaken::Never(not_kept(NotKept::Failed, false)))
                }
                Err(error) if error.kind() == RefusalKind::Unavailable => {
                    refusal = Some(error.clone());
                    Err(NotTaken::Later(error))
                }
                Err(error) => Err(NotTaken::Never(error)),
            });
        }
        let mut taken = Vec::with_capacity(receipts.len());
        for receipt in receipts {
            taken.push(match receipt {
                Ok(receipt) => receipt.acknowledged().await.map(|(id, _)| id).map_err(|error| {
                    let refusal = not_kept(error, false);
                    match error {
                        NotKept::Failed | NotKept::Away => NotTaken::Later(refusal),
                        NotKept::Unknown => NotTaken::Unknown(refusal),
                        NotKept::KeyReused { .. } => NotTaken::Never(refusal),
                    }
                }),
                Err(error) => Err(error),
            });
        }
        taken
    }

    /// The epoch of the ids that are given.
    pub fn epoch(&self) -> Epoch {
        self.publisher.hub().epoch()
    }

    /// The text of what a pointer's names lead to in JSON, if that is a string, a number or a truth value.
    pub fn find(json: &str, names: &[String]) -> Option<String> {
        let mut found = json.trim_ascii();
        for name in names {
            found = map::inside(found, name)?;
        }
        fields::scalar("", found).ok().map(std::borrow::Cow::into_owned)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_found_wherever_it_is_and_as_text() {
        let names = |pointer: &str| pointer.split('/').skip(1).map(str::to_owned).collect::<Vec<_>>();
        for (json, pointer, found) in [
            (r#"{"id": 1757481510478, "message": "hi"}"#, "/id", Some("1757481510478")),
            (r#" {"id": "a-1"} "#, "/id", Some("a-1")),
            (r#"{"meta": {"ids": [7, 8]}}"#, "/meta/ids/1", Some("8")),
            (r#"{"message": "hi"}"#, "/id", None),
            (r#"{"id": null}"#, "/id", None),
            (r#"{"id": {}}"#, "/id", None),
            ("not json", "/id", None),
        ] {
            assert_eq!(Intake::find(json, &names(pointer)).as_deref(), found, "{json}");
        }
    }
}
