//! `POST /disconnect`: a user's streams are ended, and the user may be kept out for a while. Reading it is pure.
//!
//! Invariant: as with a publication, nothing unknown or doubtful is passed over: a misspelt `block` that was ignored
//! would let somebody back in.

use std::time::Duration;

use bytes::Bytes;

use crate::event::{Event, Timestamp};
use crate::hub::DisconnectError;
use crate::publish::Publisher;
use crate::publish::publication::{Limits, Object, fields};
use crate::publish::refusal::{Refusal, RefusalKind};

/// The shortest block.
const MIN_BLOCK: Duration = Duration::from_secs(1);

/// The longest block. Who is to stay out for longer must lose the credential.
const MAX_BLOCK: Duration = Duration::from_secs(24 * 3600);

/// What an event without data says: something that a page can parse.
const NO_DATA: &str = "{}";

/// A request to disconnect a user.
#[derive(Debug, PartialEq, Eq)]
struct Disconnect {
    user: String,
    event: Option<Event>,
    block: Option<Duration>,
}

/// Ends the streams of the user that a request names, and writes the answer: how many there were.
pub(super) async fn disconnect(publisher: &Publisher, json: &[u8], now: Timestamp) -> Result<Bytes, Refusal> {
    let Disconnect { user, event, block } = read(json, &publisher.limits())?;
    let ended = publisher.hub().disconnect(&user, event, block, now).map_err(|error| {
        let kind = match error {
            DisconnectError::Overloaded | DisconnectError::TooManyBlocks | DisconnectError::Away => {
                RefusalKind::Unavailable
            }
        };
        Refusal::new(kind, error.to_string())
    })?;
    let ended = ended.count().await.map_err(|_| {
        let message = "the store does not answer; the streams end when it does, or in a few seconds";
        Refusal::new(RefusalKind::Unavailable, message)
    })?;
    Ok(format!("{{\"disconnected\":{ended}}}").into())
}

fn read(json: &[u8], limits: &Limits) -> Result<Disconnect, Refusal> {
    let object = Object::read(json, || {
        Refusal::new(
            RefusalKind::InvalidPublication,
            "what is to be disconnected is a JSON object, such as {\"user\": 42, \"block\": \"10m\"}",
        )
    })?;
    let (mut user, mut event, mut data, mut block) = (None, None, None, None);
    for (name, value) in object.0 {
        let field = match &*name {
            "user" => &mut user,
            "event" => &mut event,
            "data" => &mut data,
            "block" => &mut block,
            _ => return Err(invalid(&name, "is unknown; there are user, event, data, block")),
        };
        if field.replace(value).is_some() {
            return Err(invalid(&name, "is given twice"));
        }
    }
    let user = user.ok_or_else(|| invalid("user", "is missing"))?;
    let says = event.is_some() || data.is_some();
    Ok(Disconnect {
        user: fields::user_id("user", user)?.into_owned(),
        event: says.then(|| said(event, data, limits)).transpose()?,
        block: block.map(self::block).transpose()?,
    })
}

fn said(event: Option<&str>, data: Option<&str>, limits: &Limits) -> Result<Event, Refusal> {
    Ok(Event {
        name: event.map(fields::event_name).transpose()?.flatten(),
        data: fields::data(data.unwrap_or(NO_DATA), limits.max_event)?,
        retry: None,
    })
}

fn block(json: &str) -> Result<Duration, Refusal> {
    let block = fields::duration("block", json)?;
    if !(MIN_BLOCK..=MAX_BLOCK).contains(&block) {
        return Err(invalid("block", "must be between 1s and 24h"));
    }
    Ok(block)
}

fn invalid(field: &str, message: &'static str) -> Refusal {
    Refusal::of_field(RefusalKind::InvalidPublication, field, message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::EventName;

    fn parse(json: &str) -> Result<Disconnect, Refusal> {
        read(json.as_bytes(), &Limits { max_event: 100 })
    }

    #[test]
    fn reads_what_the_contract_names() {
        let plain = Disconnect { user: "42".to_owned(), event: None, block: None };
        assert_eq!(parse(r#"{"user": 42}"#).unwrap(), plain);
        assert_eq!(parse(r#" {"user": "42"} "#).unwrap(), plain);
        let whole = parse(r#"{"user":"a@b","event":"logout","data":{"why":1},"block":"10m"}"#).unwrap();
        let event =
            Event { name: EventName::published("logout").ok(), data: r#"{"why":1}"#.into(), retry: None };
        let block = Some(Duration::from_secs(600));
        assert_eq!(whole, Disconnect { user: "a@b".to_owned(), event: Some(event), block });
        for (json, data) in [(r#"{"user":1,"event":"x"}"#, "{}"), (r#"{"user":1,"data":"bye"}"#, "bye")] {
            assert_eq!(parse(json).unwrap().event.unwrap().data, data);
        }
    }

    #[test]
    fn names_what_is_wrong() {
        for (json, field) in [
            (r"{}", "user"),
            (r#"{"user": null}"#, "user"),
            (r#"{"user": ""}"#, "user"),
            (r#"{"user": "a:b"}"#, "user"),
            (r#"{"user": [1]}"#, "user"),
            (r#"{"user": 1, "user": 2}"#, "user"),
            (r#"{"user": 1, "users": [2]}"#, "users"),
            (r#"{"user": 1, "blok": "1m"}"#, "blok"),
            (r#"{"user": 1, "block": 60}"#, "block"),
            (r#"{"user": 1, "block": null}"#, "block"),
            (r#"{"user": 1, "block": "0s"}"#, "block"),
            (r#"{"user": 1, "block": "25h"}"#, "block"),
            (r#"{"user": 1, "event": "error"}"#, "event"),
            (r#"{"user": 1, "event": "a\nb"}"#, "event"),
            (r#"{"user": 1, "data": "\u0000"}"#, "data"),
        ] {
            let refusal = parse(json).unwrap_err();
            assert_eq!(
                (refusal.kind(), refusal.field()),
                (RefusalKind::InvalidPublication, Some(field)),
                "{json}"
            );
        }
        assert_eq!(parse("{").unwrap_err().kind(), RefusalKind::InvalidJson);
        assert_eq!(parse("[]").unwrap_err().kind(), RefusalKind::InvalidPublication);
        let long = format!(r#"{{"user": 1, "data": "{}"}}"#, "x".repeat(101));
        assert_eq!(parse(&long).unwrap_err().kind(), RefusalKind::TooLarge);
    }
}
