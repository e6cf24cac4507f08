//! Webhooks: the check of a publisher by signature, after the Standard Webhooks specification.
//!
//! Invariant: a body is good only if its sender signed it, with its id and the time, not long ago. The id is what
//! makes a repetition within that time harmless: it is the publication's idempotency key.

use std::fmt;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderMap;

use crate::publish::publication::MAX_KEY;

/// How far the sender's time may be from ours, both ways, in seconds.
pub const TOLERANCE: u64 = 5 * 60;

/// The message's id.
pub const ID: &str = "webhook-id";

/// When the message was sent, in seconds since 1970.
pub const TIMESTAMP: &str = "webhook-timestamp";

/// The signatures, separated by spaces: one for each key the sender uses just now.
pub const SIGNATURE: &str = "webhook-signature";

/// What begins a signature by a shared key; others are for public keys and are not read.
const VERSION: &str = "v1,";

/// A message that is believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Signed<'a> {
    /// Its id.
    pub id: &'a str,
    /// The first second since 1970 in which the same bytes are not believed any more.
    pub until: u64,
}

/// Verifies a request by the bytes of the shared key. `now` is in seconds since 1970.
///
/// # Errors
/// What is missing or wrong; the request must then not be acted on.
pub fn verify<'a>(
    key: &[u8],
    headers: &'a HeaderMap,
    body: &[u8],
    now: u64,
) -> Result<Signed<'a>, WebhookError> {
    let id = only(headers, ID)?;
    if !(1..=MAX_KEY).contains(&id.len()) || !id.bytes().all(|b| b.is_ascii_graphic()) {
        return Err(WebhookError::Malformed { header: ID });
    }
    let timestamp = only(headers, TIMESTAMP)?;
    let signatures = only(headers, SIGNATURE)?;
    let sent = seconds(timestamp)?;

    let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, key));
    for part in [id.as_bytes(), b".", timestamp.as_bytes(), b".", body] {
        context.update(part);
    }
    let expected = context.sign();
    let signed = signatures
        .split_ascii_whitespace()
        .filter_map(|signature| STANDARD.decode(signature.strip_prefix(VERSION)?).ok())
        .any(|given| verify_slices_are_equal(expected.as_ref(), &given).is_ok());
    if !signed {
        return Err(WebhookError::Signature);
    }
    // After the signature: only its sender is told that a clock is wrong.
    if sent.saturating_add(TOLERANCE) < now {
        return Err(WebhookError::TooOld);
    }
    if now.saturating_add(TOLERANCE) < sent {
        return Err(WebhookError::TooNew);
    }
    Ok(Signed { id, until: sent.saturating_add(TOLERANCE + 1) })
}

/// A header's value, which must be there once.
fn only<'a>(headers: &'a HeaderMap, header: &'static str) -> Result<&'a str, WebhookError> {
    let mut values = headers.get_all(header).into_iter();
    let value = values.next().ok_or(WebhookError::Missing { header })?;
    match (values.next(), value.to_str()) {
        (None, Ok(value)) => Ok(value),
        _ => Err(WebhookError::Malformed { header }),
    }
}

/// Reads digits only: what is signed is the text, so that there must be one text to each time.
fn seconds(timestamp: &str) -> Result<u64, WebhookError> {
    let malformed = WebhookError::Malformed { header: TIMESTAMP };
    match timestamp.parse::<u64>() {
        Ok(seconds) if seconds.to_string() == timestamp => Ok(seconds),
        _ => Err(malformed),
    }
}

/// Why a webhook is not believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WebhookError {
    /// A header is not there.
    Missing {
        /// Its name.
        header: &'static str,
    },
    /// A header is there twice or cannot be read.
    Malformed {
        /// Its name.
        header: &'static str,
    },
    /// No signature is by the key, or the message was changed.
    Signature,
    /// It was sent more than [`TOLERANCE`] ago.
    TooOld,
    /// It was sent more than [`TOLERANCE`] from now.
    TooNew,
}

impl fmt::Display for WebhookError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing { header } => write!(f, "the header {header} is missing"),
            Self::Malformed { header } => write!(f, "the header {header} is given twice or malformed"),
            Self::Signature => f.write_str("no signature in webhook-signature matches"),
            Self::TooOld => f.write_str("webhook-timestamp is more than 5 minutes ago; is the clock right?"),
            Self::TooNew => {
                f.write_str("webhook-timestamp is more than 5 minutes ahead; is the clock right?")
            }
        }
    }
}

impl std::error::Error for WebhookError {}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The example of the specification's reference libraries.
    const KEY: &str = "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    const MESSAGE: &str = "msg_p5jXN8AQM9LWM0D4loKWxJek";
    const SENT: u64 = 1_614_265_330;
    const BODY: &str = r#"{"test": 2432232314}"#;
    const SIGNED: &str = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";

    fn headers(id: &str, timestamp: &str, signature: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in [(ID, id), (TIMESTAMP, timestamp), (SIGNATURE, signature)] {
            headers.insert(name, value.parse().unwrap());
        }
        headers
    }

    fn example(signature: &str) -> HeaderMap {
        headers(MESSAGE, &SENT.to_string(), signature)
    }

    fn check(headers: &HeaderMap, body: &str, now: u64) -> Result<String, WebhookError> {
        let key = STANDARD.decode(KEY).unwrap();
        verify(&key, headers, body.as_bytes(), now).map(|signed| signed.id.to_owned())
    }

    #[test]
    fn verifies_the_reference_example() {
        assert_eq!(check(&example(SIGNED), BODY, SENT), Ok(MESSAGE.to_owned()));
        // A second one, which senders' manuals print.
        let key = STANDARD.decode("plJ3nmyCDGBKInavdOK15jsl").unwrap();
        let headers =
            headers("msg_loFOjxBNrRLzqYUf", "1731705121", "v1,rAvfW3dJ/X/qxhsaXPOyyCGmRKsaKWcsNccKXlIktD0=");
        let body = br#"{"event_type":"ping","data":{"success":true}}"#;
        assert!(verify(&key, &headers, body, 1_731_705_121).is_ok());
    }

    #[test]
    fn one_good_signature_among_several_is_enough() {
        for list in
            [format!("v1,AAAA v1a,xyz {SIGNED}"), format!("{SIGNED} v1,!!!"), format!("v2  {SIGNED} ")]
        {
            assert!(check(&example(&list), BODY, SENT).is_ok(), "{list}");
        }
    }

    #[test]
    fn what_was_not_signed_is_not_believed() {
        let bare = &SIGNED[3..];
        for signature in ["", "v1,", "v1", "v1,AAAA", bare, &format!("v1a,{bare}"), &SIGNED.replace('=', "")]
        {
            assert_eq!(check(&example(signature), BODY, SENT), Err(WebhookError::Signature), "{signature}");
        }
        let changed = [
            (example(SIGNED), BODY.replace('4', "5")),
            (headers("msg_other", &SENT.to_string(), SIGNED), BODY.to_owned()),
            (headers(MESSAGE, &(SENT + 1).to_string(), SIGNED), BODY.to_owned()),
            (example(SIGNED), format!("{BODY}\n")),
        ];
        for (headers, body) in changed {
            assert_eq!(check(&headers, &body, SENT), Err(WebhookError::Signature));
        }
        let key = b"another key of good length";
        assert_eq!(verify(key, &example(SIGNED), BODY.as_bytes(), SENT), Err(WebhookError::Signature));
    }

    #[test]
    fn the_time_may_be_five_minutes_off() {
        let at = |now| check(&example(SIGNED), BODY, now);
        assert!(at(SENT + TOLERANCE).is_ok());
        assert!(at(SENT - TOLERANCE).is_ok());
        assert_eq!(at(SENT + TOLERANCE + 1), Err(WebhookError::TooOld));
        assert_eq!(at(SENT - TOLERANCE - 1), Err(WebhookError::TooNew));
        assert_eq!(at(u64::MAX), Err(WebhookError::TooOld));
        assert_eq!(at(0), Err(WebhookError::TooNew));
    }

    #[test]
    fn each_header_is_there_once_and_readable() {
        for header in [ID, TIMESTAMP, SIGNATURE] {
            let mut without = example(SIGNED);
            let value = without.remove(header).unwrap();
            assert_eq!(check(&without, BODY, SENT), Err(WebhookError::Missing { header }));
            let mut twice = example(SIGNED);
            twice.append(header, value);
            assert_eq!(check(&twice, BODY, SENT), Err(WebhookError::Malformed { header }));
        }
        for timestamp in ["", "x", "-1", "+1614265330", "01614265330", "1614265330.0", "99999999999999999999"]
        {
            let header = TIMESTAMP;
            assert_eq!(
                check(&headers(MESSAGE, timestamp, SIGNED), BODY, SENT),
                Err(WebhookError::Malformed { header })
            );
        }
        for id in ["", "a b", &"x".repeat(MAX_KEY + 1)] {
            let header = ID;
            assert_eq!(
                check(&headers(id, &SENT.to_string(), SIGNED), BODY, SENT),
                Err(WebhookError::Malformed { header })
            );
        }
    }

    proptest! {
        #[test]
        fn any_signature_text_is_refused(text in "[ -~]{0,80}") {
            prop_assert_eq!(check(&example(&text), BODY, SENT), Err(WebhookError::Signature));
        }
    }
}
