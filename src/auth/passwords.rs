//! Names and passwords of a route (`basic_auth`, RFC 7617).
//!
//! Checking a hash is slow on purpose, so it is done on a thread for what blocks, a few at a time in the whole process:
//! guesses cost their sender time and the worker none. A password that was right once is known from then on by its
//! digest under a key of this process, so who has it waits for nobody.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use aws_lc_rs::error::Unspecified;
use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderValue;
use http::header::{AUTHORIZATION, HeaderMap};
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;

use crate::config::{BasicAuth, Password, Secret};

/// How many hashes are checked at once in the process.
const CHECKS: usize = 2;
/// How many may wait for that: at a cost of 10, what is done in about two seconds.
const WAITING: usize = 64;
/// The longest credential that is looked at, in bytes as it comes.
const MAX_CREDENTIAL: usize = 1024;

/// Why a request is not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PasswordError {
    /// It has no name and password.
    Missing,
    /// They are wrong.
    Wrong,
    /// Too many are being checked.
    Busy,
}

/// How many hashes may be checked. One for the process; cheap to clone.
#[derive(Debug, Clone)]
pub struct Checks {
    running: Arc<Semaphore>,
    waiting: Arc<Semaphore>,
}

impl Default for Checks {
    fn default() -> Self {
        Self { running: Arc::new(Semaphore::new(CHECKS)), waiting: Arc::new(Semaphore::new(WAITING)) }
    }
}

/// Who may come in at a route.
#[derive(Debug)]
pub struct Passwords {
    users: HashMap<Vec<u8>, Known>,
    /// What is checked for a name that nobody has, so that the time it takes does not say so.
    decoy: Known,
    key: hmac::Key,
    challenge: HeaderValue,
    checks: Checks,
}

/// A password, as far as it is known.
#[derive(Debug)]
struct Known {
    /// Of one that is right.
    digest: OnceLock<hmac::Tag>,
    /// Whose hash has to be checked for another one.
    hash: Option<Secret>,
}

impl Passwords {
    /// Takes the users of a route.
    ///
    /// # Errors
    /// The system gives no random bytes.
    pub fn new(config: &BasicAuth, checks: &Checks) -> Result<Self, Unspecified> {
        let mut bits = [0; 32];
        aws_lc_rs::rand::fill(&mut bits)?;
        let key = hmac::Key::new(hmac::HMAC_SHA256, &bits);
        let known = |password: &Password| match password {
            Password::Plain(secret) => {
                Known { digest: hmac::sign(&key, secret.expose().as_bytes()).into(), hash: None }
            }
            Password::Bcrypt(hash) => Known { digest: OnceLock::new(), hash: Some(hash.clone()) },
        };
        let users: HashMap<_, _> = config
            .users
            .iter()
            .map(|(name, password)| (name.clone().into_bytes(), known(password)))
            .collect();
        let hash = users.values().find_map(|known| known.hash.clone());
        let challenge = format!("Basic realm=\"{}\", charset=\"UTF-8\"", config.realm);
        Ok(Self {
            users,
            decoy: Known { digest: OnceLock::new(), hash },
            key,
            // A realm is visible ASCII without quotes.
            challenge: HeaderValue::try_from(challenge).unwrap_or(HeaderValue::from_static("Basic")),
            checks: checks.clone(),
        })
    }

    /// What a client is told to send.
    pub fn challenge(&self) -> &HeaderValue {
        &self.challenge
    }

    /// Whether a request has the name and the password of a user.
    ///
    /// # Errors
    /// Why it is not let in.
    pub async fn check(&self, fields: &HeaderMap) -> Result<(), PasswordError> {
        let (name, password) = presented(fields)?;
        let user = self.users.get(&name);
        let known = user.unwrap_or(&self.decoy);
        let digest = hmac::sign(&self.key, &password);
        let is_known = known.digest.get().is_some_and(|right| {
            aws_lc_rs::constant_time::verify_slices_are_equal(right.as_ref(), digest.as_ref()).is_ok()
        });
        if is_known {
            return Ok(());
        }
        let Some(hash) = &known.hash else { return Err(PasswordError::Wrong) };
        if !self.fits(hash.clone(), password).await? || user.is_none() {
            return Err(PasswordError::Wrong);
        }
        // Of two that are checked at once the first is kept; the other one was right as well.
        let _ = known.digest.set(digest);
        Ok(())
    }

    async fn fits(&self, hash: Secret, password: Vec<u8>) -> Result<bool, PasswordError> {
        let waiting = self.checks.waiting.clone().try_acquire_owned().map_err(|_| PasswordError::Busy)?;
        // Never closed.
        let running = self.checks.running.clone().acquire_owned().await.map_err(|_| PasswordError::Busy)?;
        drop(waiting);
        let checked = spawn_blocking(move || {
            // Held to its end, also when the client has gone meanwhile.
            let _running = running;
            bcrypt::verify(&password, hash.expose()).unwrap_or(false)
        });
        checked.await.map_err(|_| PasswordError::Busy)
    }
}

/// The name and the password that a request comes with.
fn presented(fields: &HeaderMap) -> Result<(Vec<u8>, Vec<u8>), PasswordError> {
    let mut lines = fields.get_all(AUTHORIZATION).iter();
    let (Some(line), None) = (lines.next(), lines.next()) else { return Err(PasswordError::Missing) };
    let line = line.as_bytes();
    let Some((scheme, rest)) = line.split_at_checked(b"Basic ".len()) else {
        return Err(PasswordError::Missing);
    };
    if !scheme.eq_ignore_ascii_case(b"Basic ") {
        return Err(PasswordError::Missing);
    }
    if rest.len() > MAX_CREDENTIAL {
        return Err(PasswordError::Wrong);
    }
    let pair = STANDARD.decode(rest.trim_ascii()).map_err(|_| PasswordError::Wrong)?;
    let colon = pair.iter().position(|byte| *byte == b':').ok_or(PasswordError::Wrong)?;
    Ok((pair[..colon].to_vec(), pair[colon + 1..].to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of "right", with the least cost.
    const HASH: &str = "$2y$04$";

    fn secret(text: &str) -> Secret {
        Secret::resolve(text).unwrap()
    }

    fn passwords(users: &[(&str, Password)], checks: &Checks) -> Passwords {
        let users = users.iter().map(|(name, password)| ((*name).to_owned(), password.clone())).collect();
        Passwords::new(&BasicAuth { realm: "Staging".to_owned(), users }, checks).unwrap()
    }

    fn hashed(password: &str) -> Password {
        let hash = bcrypt::hash_with_salt(password, 4, [7; 16]).unwrap();
        let hash = hash.format_for_version(bcrypt::Version::TwoY);
        assert!(hash.starts_with(HASH));
        Password::Bcrypt(secret(&hash))
    }

    fn fields(pair: &str) -> HeaderMap {
        let mut fields = HeaderMap::new();
        fields.insert(AUTHORIZATION, format!("Basic {}", STANDARD.encode(pair)).parse().unwrap());
        fields
    }

    #[tokio::test]
    async fn only_the_right_pair_is_let_in_and_then_without_a_check() {
        let checks = Checks::default();
        let all = passwords(
            &[("anna", hashed("right")), ("bob", Password::Plain(secret("b:b"))), ("ä", hashed("ö"))],
            &checks,
        );
        assert_eq!(all.challenge(), "Basic realm=\"Staging\", charset=\"UTF-8\"");
        for (pair, right) in [
            ("anna:right", true),
            ("anna:right ", false),
            ("Anna:right", false),
            ("anna:", false),
            ("anna", false),
            (":", false),
            ("bob:b:b", true),
            ("bob:right", false),
            ("nobody:right", false),
            ("ä:ö", true),
        ] {
            let expected = if right { Ok(()) } else { Err(PasswordError::Wrong) };
            assert_eq!(all.check(&fields(pair)).await, expected, "{pair}");
        }
        let _all_of_them = checks.running.acquire_many(2).await.unwrap();
        let _waiting = checks.waiting.try_acquire_many(64).unwrap();
        assert_eq!(all.check(&fields("anna:right")).await, Ok(()), "known by now");
        assert_eq!(all.check(&fields("bob:b:b")).await, Ok(()), "known from the start");
        assert_eq!(all.check(&fields("anna:wrong")).await, Err(PasswordError::Busy));
    }

    #[tokio::test]
    async fn what_is_no_such_credential_is_none() {
        let all = passwords(&[("anna", hashed("right"))], &Checks::default());
        let of = |line: &str| HeaderMap::from_iter([(AUTHORIZATION, line.parse().unwrap())]);
        assert_eq!(all.check(&HeaderMap::new()).await, Err(PasswordError::Missing));
        assert_eq!(all.check(&of("Bearer x")).await, Err(PasswordError::Missing));
        assert_eq!(all.check(&of("Basic")).await, Err(PasswordError::Missing));
        assert_eq!(all.check(&of("Basic !")).await, Err(PasswordError::Wrong));
        assert_eq!(all.check(&of(&format!("Basic {}", "A".repeat(2000)))).await, Err(PasswordError::Wrong));
        let mut twice = fields("anna:right");
        twice.append(AUTHORIZATION, HeaderValue::from_static("Basic x"));
        assert_eq!(all.check(&twice).await, Err(PasswordError::Missing));
        let lower = of(&format!("basic {}", STANDARD.encode("anna:right")));
        assert_eq!(all.check(&lower).await, Ok(()));
    }
}
