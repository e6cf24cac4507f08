//! Tickets: what stands for a credential in the address of a stream, sealed so that only we can read or make one.
//!
//! `base64url(version ‖ nonce ‖ AES-256-GCM(user, end, behind, claims))`, with the version and the route as associated
//! data. Invariant: a ticket opens streams of the route that it was made for and of no other, ends no later than the
//! credential behind it and within [`MAX_AGE`], and holds only those claims that the route has a use for. What stands
//! behind the credential is in it too, so that it can be refused when that was taken away.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::error::Unspecified;
use aws_lc_rs::hkdf::{HKDF_SHA256, Salt};
use aws_lc_rs::rand;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{AuthError, Identity, Mark, Reason};

/// The longest that a ticket is good for. Long enough for the reconnects of a page that stays open, short enough for
/// an address that was written down somewhere.
const MAX_AGE: Duration = Duration::from_secs(3600);

/// The most that a ticket may hold, in bytes of JSON; sealed and in base64 it is a third longer and fits any address.
const MAX_TICKET: usize = 2048;

/// The query parameter that a ticket comes in.
pub const PARAMETER: &str = "ticket";

/// The form of what is sealed. Another form gets another number.
const VERSION: u8 = 2;

/// What seals tickets. Nonces are random: of one key, some 2^32 tickets may be made (NIST SP 800-38D, section 8.3),
/// which is a hundred a second for a year.
pub struct Tickets {
    key: LessSafeKey,
}

/// A ticket that was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ticket {
    /// What a client puts into the address. A credential: never give it to a log.
    pub text: String,
    /// For how long it is good.
    pub expires_in: Duration,
}

/// What is sealed.
#[derive(Serialize, Deserialize)]
struct Sealed {
    user: String,
    /// Milliseconds since 1970.
    end: u64,
    /// The marks of the provider that knew the credential.
    behind: Vec<Mark>,
    claims: Map<String, Value>,
}

impl Tickets {
    /// Seals with a key that is made of a secret: the same secret opens what it sealed, in another process too.
    pub fn new(secret: &[u8]) -> Self {
        let extracted = Salt::new(HKDF_SHA256, b"sidestream").extract(secret);
        #[expect(clippy::expect_used, reason = "HKDF-SHA256 gives up to 8160 bytes, and the key has 32")]
        let key = extracted.expand(&[b"ticket"], &AES_256_GCM).expect("32 bytes of HKDF");
        Self { key: LessSafeKey::new(UnboundKey::from(key)) }
    }

    /// Seals with a key that nobody knows: its tickets end with the process.
    pub fn random() -> Result<Self, Unspecified> {
        let mut secret = [0; 32];
        rand::fill(&mut secret)?;
        Ok(Self::new(&secret))
    }

    /// Makes a ticket for streams of `route`, with those of the identity's claims that `keep` names. `behind` are the
    /// marks of the provider that knows the identity.
    pub(super) fn seal<'k>(
        &self,
        route: &str,
        identity: &Identity,
        behind: &[Mark],
        keep: impl IntoIterator<Item = &'k str>,
        now: SystemTime,
    ) -> Result<Ticket, SealError> {
        let latest = now + MAX_AGE;
        let end = identity.expires.map_or(latest, |expires| expires.min(latest));
        let since_epoch = end.duration_since(UNIX_EPOCH).unwrap_or_default();
        let claims = keep.into_iter().filter_map(|name| identity.claims.get_key_value(name));
        let sealed = Sealed {
            user: identity.user.clone(),
            end: u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX),
            behind: behind.to_vec(),
            claims: claims.map(|(name, value)| (name.clone(), value.clone())).collect(),
        };
        // A map of strings and JSON always becomes JSON.
        let mut text = serde_json::to_vec(&sealed).map_err(|_| SealError::TooLarge)?;
        if text.len() > MAX_TICKET {
            return Err(SealError::TooLarge);
        }
        let mut nonce = [0; NONCE_LEN];
        rand::fill(&mut nonce).map_err(|_| SealError::Random)?;
        let bound = Aad::from(bound_to(route));
        self.key
            .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), bound, &mut text)
            .map_err(|_| SealError::TooLarge)?;
        let whole = [&[VERSION][..], &nonce, &text].concat();
        let expires_in = end.duration_since(now).unwrap_or_default();
        Ok(Ticket { text: URL_SAFE_NO_PAD.encode(whole), expires_in })
    }

    /// Opens a ticket for a stream of `route` as of `now`. Says who it is for, and what has to stand behind it still.
    pub(super) fn open(
        &self,
        route: &str,
        ticket: &str,
        now: SystemTime,
    ) -> Result<(Identity, Vec<Mark>), AuthError> {
        let sealed = self.unseal(route, ticket).ok_or(Reason::Ticket)?;
        let end = UNIX_EPOCH.checked_add(Duration::from_millis(sealed.end)).ok_or(Reason::Ticket)?;
        if end <= now {
            return Err(AuthError::Expired);
        }
        Ok((Identity { user: sealed.user, expires: Some(end), claims: sealed.claims }, sealed.behind))
    }

    fn unseal(&self, route: &str, ticket: &str) -> Option<Sealed> {
        // Decoding makes no text longer, so this bounds the work as well.
        if ticket.len() > 2 * MAX_TICKET {
            return None;
        }
        let mut whole = URL_SAFE_NO_PAD.decode(ticket).ok()?;
        let (&mut [version], rest) = whole.split_first_chunk_mut()?;
        let (nonce, text) = rest.split_first_chunk_mut::<NONCE_LEN>()?;
        if version != VERSION {
            return None;
        }
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let json = self.key.open_in_place(nonce, Aad::from(bound_to(route)), text).ok()?;
        serde_json::from_slice(json).ok()
    }
}

impl fmt::Debug for Tickets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tickets(…)")
    }
}

/// What a ticket cannot be moved away from.
fn bound_to(route: &str) -> Vec<u8> {
    [&[VERSION], route.as_bytes()].concat()
}

/// Why there is no ticket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SealError {
    /// The claims that the route uses are longer than 2 KiB.
    TooLarge,
    /// The system gives no random bytes.
    Random,
}

impl fmt::Display for SealError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLarge => write!(
                f,
                "the claims that this stream's channels are made of are longer than a ticket holds, {MAX_TICKET} bytes"
            ),
            Self::Random => f.write_str("the system gives no random bytes"),
        }
    }
}

impl std::error::Error for SealError {}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    const SECRET: &[u8] = b"a secret of sixteen bytes";
    const NOW: u64 = 1_800_000_000;
    const BEHIND: [Mark; 2] = [7, u64::MAX];

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(seconds)
    }

    fn identity(expires: Option<u64>) -> Identity {
        let claims = json!({"org": "acme", "team": 7, "email": "ann@example.com", "channels": ["news"]});
        Identity { user: "42".into(), expires: expires.map(at), claims: claims.as_object().unwrap().clone() }
    }

    fn seal(expires: Option<u64>) -> Ticket {
        Tickets::new(SECRET)
            .seal("/events", &identity(expires), &BEHIND, ["org", "channels", "none"], at(NOW))
            .unwrap()
    }

    fn open(route: &str, ticket: &str, now: u64) -> Result<Identity, AuthError> {
        open_with(&Tickets::new(SECRET), route, ticket, now)
    }

    fn open_with(tickets: &Tickets, route: &str, ticket: &str, now: u64) -> Result<Identity, AuthError> {
        tickets.open(route, ticket, at(now)).map(|(identity, behind)| {
            assert_eq!(behind, BEHIND);
            identity
        })
    }

    fn not_ours() -> Result<Identity, AuthError> {
        Err(Reason::Ticket.into())
    }

    #[test]
    fn a_ticket_stands_for_the_identity_and_the_claims_that_count() {
        let opened = open("/events", &seal(None).text, NOW).unwrap();
        assert_eq!(opened.user, "42");
        assert_eq!(Value::Object(opened.claims), json!({"org": "acme", "channels": ["news"]}));
        assert_eq!(opened.expires, Some(at(NOW + 3600)));
    }

    #[test]
    fn it_ends_with_the_credential_or_after_an_hour() {
        for (expires, end) in [(None, 3600), (Some(NOW + 9999), 3600), (Some(NOW + 60), 60)] {
            let ticket = seal(expires);
            assert_eq!(ticket.expires_in, Duration::from_secs(end));
            assert_eq!(open("/events", &ticket.text, NOW + end - 1).unwrap().expires, Some(at(NOW + end)));
            assert_eq!(open("/events", &ticket.text, NOW + end), Err(AuthError::Expired));
        }
    }

    #[test]
    fn it_is_good_for_its_route_and_its_secret_only() {
        let ticket = seal(None).text;
        for route in ["/events/", "/event", "", "/events a.example"] {
            assert_eq!(open(route, &ticket, NOW), not_ours(), "{route}");
        }
        for tickets in [Tickets::new(b"another secret of ours"), Tickets::random().unwrap()] {
            assert_eq!(open_with(&tickets, "/events", &ticket, NOW), not_ours());
        }
        assert_ne!(ticket, seal(None).text, "two tickets of one nonce");
    }

    #[test]
    fn nothing_else_is_a_ticket() {
        let ticket = seal(None).text;
        let longer = format!("{ticket}AAAA");
        for text in ["", "1", "AQ", "AQAAAAAAAAAAAAAA", &ticket[..40], &longer, &"A".repeat(100_000)] {
            assert_eq!(open("/events", text, NOW), not_ours(), "{text:.50}");
        }
    }

    #[test]
    fn its_size_is_bounded() {
        let mut large = identity(None);
        large.claims.insert("org".into(), json!("x".repeat(MAX_TICKET)));
        let seal = |keep: &[&'static str]| {
            Tickets::new(SECRET).seal("/events", &large, &BEHIND, keep.iter().copied(), at(NOW))
        };
        assert_eq!(seal(&["org"]), Err(SealError::TooLarge));
        assert!(seal(&["team"]).is_ok());
    }

    #[test]
    fn the_key_is_not_shown() {
        assert_eq!(format!("{:?}", Tickets::new(SECRET)), "Tickets(…)");
    }

    proptest! {
        #[test]
        fn one_changed_character_spoils_a_ticket(place in 0..1000_usize, to in "[A-Za-z0-9_-]") {
            let ticket = seal(None).text;
            let place = place % ticket.len();
            let mut changed = ticket.clone();
            changed.replace_range(place..=place, &to);
            prop_assert_eq!(open("/events", &changed, NOW).is_ok(), changed == ticket);
        }
    }
}
