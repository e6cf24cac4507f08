//! What a request has to pass before its route's action: `allow_from`, `deny_from`, `rate`, `basic_auth`.

use std::num::NonZeroU32;
use std::ops::RangeInclusive;
use std::time::Duration;

use crate::config::problem::{Fault, Problem, quote};
use crate::config::reader::{Section, Value};
use crate::config::{Networks, Secret, schema};

/// More requests than this in a period are as good as no limit.
const REQUESTS: RangeInclusive<u64> = 1..=1_000_000;
/// A day is what an app itself should count over.
const PERIODS: RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_secs(24 * 3600);
const PERIOD: Duration = Duration::from_secs(1);
/// The longest that a bucket may take to be full again: what is longer counts nothing any more.
const MAX_REFILL: Duration = Duration::from_secs(7 * 24 * 3600);

/// How a browser calls what it asks a password for, unless the file says.
const REALM: &str = "Restricted";
/// The longest name of a user and of a realm, in bytes.
const MAX_NAME: usize = 128;
/// Of a longer password bcrypt would take no notice of the end (its own bound).
const MAX_PASSWORD: usize = 72;
/// The most users of a route: people who are told a password, not customers.
const MAX_USERS: usize = 1000;
/// The slowest hash that is taken: a second of one core for each guess is enough.
const COSTS: RangeInclusive<u32> = 4..=14;

/// The keys, in the order in which they are asked.
const KEYS: [&str; 4] = ["allow_from", "deny_from", "rate", "basic_auth"];

/// What a request has to pass first, in this order.
#[derive(Debug, Clone, PartialEq)]
pub struct Front {
    /// Who is let in; none is everybody.
    pub allow_from: Option<Networks>,
    /// Who is not, whatever `allow_from` says.
    pub deny_from: Networks,
    /// How often.
    pub rate: Option<RateLimit>,
    /// With which password.
    pub basic_auth: Option<BasicAuth>,
}

/// How often something may be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateLimit {
    /// So many requests,
    pub requests: NonZeroU32,
    /// in this time,
    pub per: Duration,
    /// so many of them at once at most,
    pub burst: NonZeroU32,
    /// by whom.
    pub by: RateBy,
}

/// Whose requests are counted together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RateBy {
    /// Those of an address; of IPv6, of its network of 64 bits.
    Address,
    /// All that the route gets.
    Route,
}

/// Names and passwords (RFC 7617).
#[derive(Debug, Clone, PartialEq)]
pub struct BasicAuth {
    /// How it is called to the user. Visible ASCII and spaces, without `"` and `\`.
    pub realm: String,
    /// Names, without `:`, and their passwords; at least one.
    pub users: Vec<(String, Password)>,
}

/// A password as it is known.
#[derive(Debug, Clone, PartialEq)]
pub enum Password {
    /// As it is.
    Plain(Secret),
    /// By its bcrypt hash, which is a good one.
    Bcrypt(Secret),
}

impl Front {
    /// Reads what a route says of it.
    pub(super) fn read(section: &Section<'_>) -> Option<Box<Self>> {
        let [allow_from, deny_from, rate, basic_auth] = KEYS.map(|key| section.value(key));
        if section.is_empty_list("allow_from")
            && let Some(value) = &allow_from
        {
            value
                .fault(Fault::new("is empty: nobody could come in").hint("leave it out to let everybody in"));
        }
        let front = Self {
            allow_from: allow_from.map(|value| Networks::read(&value)),
            deny_from: deny_from.map(|value| Networks::read(&value)).unwrap_or_default(),
            rate: rate.and_then(|value| RateLimit::read(&value.section(&schema::RATE)?, &value)),
            basic_auth: basic_auth.and_then(|value| BasicAuth::read(&value.section(&schema::BASIC_AUTH)?)),
        };
        let is_any = front.allow_from.is_some()
            || front.deny_from != Networks::default()
            || front.rate.is_some()
            || front.basic_auth.is_some();
        is_any.then(|| Box::new(front))
    }
}

/// Reports keys on a route where they would say nothing.
pub(super) fn only_where_it_counts(section: &Section<'_>, internal: bool) {
    let report = |key: &str, message: &str, hint: &str| {
        section.report.add(Problem::new(message).at(section.key_span(key)).hint(hint));
    };
    for key in KEYS.into_iter().filter(|key| internal && section.has(key)) {
        let message = format!("`{key}` has no effect on a route with `internal`: no client reaches it");
        report(key, &message, "write it at the route of the app");
    }
    if section.has("stream") && section.has("rate") {
        let hint = "opens_per_second and opens_per_second_per_address of [limits] are for streams";
        report("rate", "a stream is no request that comes again and again", hint);
    }
    for action in ["stream", "publish"] {
        if section.has(action) && section.has("basic_auth") {
            let message = format!("[route.{action}] has checks of its own, and they use Authorization too");
            report("basic_auth", &message, "`basic_auth` is for proxy and files routes");
        }
    }
}

impl RateLimit {
    fn read(section: &Section<'_>, whole: &Value<'_>) -> Option<Self> {
        let number = |value: Option<Value<'_>>| {
            let count = value?.count(REQUESTS)?;
            u32::try_from(count).ok().and_then(NonZeroU32::new)
        };
        let per = section.duration("per", PERIOD, PERIODS);
        let burst = number(section.value("burst"));
        let by = section
            .value("by")
            .map(|value| value.choice(&[("address", RateBy::Address), ("route", RateBy::Route)], &[]));
        let requests = number(section.required("requests", "write rate = { requests = 10, per = \"1s\" }"))?;
        let burst = burst.unwrap_or(requests);
        let refill = per.saturating_mul(burst.get()) / requests.get();
        if refill > MAX_REFILL {
            let fault = Fault::new("would take more than a week to come back to its burst");
            whole.fault(fault.hint("make `burst` or `per` smaller"));
        }
        Some(Self { requests, per, burst, by: by.unwrap_or(Some(RateBy::Address))? })
    }
}

impl BasicAuth {
    fn read(section: &Section<'_>) -> Option<Self> {
        let realm = section.value("realm").map_or(Some(REALM.to_owned()), |value| value.parse(realm));
        let help = "write passwords = { anna = \"env:ANNA_PASSWORD\" }";
        let passwords = section.required("passwords", help)?;
        let entries = passwords.entries();
        if passwords.is_table() && !(1..=MAX_USERS).contains(&entries.len()) {
            passwords.fault(Fault::new(format!("must name 1 to {MAX_USERS} users")).hint(help));
        }
        let users = entries.into_iter().filter_map(|(name, value)| {
            if let Err(why) = user(name.get_ref()) {
                let problem = Problem::new(format!("{} {why}", quote(name.get_ref())));
                section.report.add(problem.at(name.span()));
            }
            Some((name.get_ref().to_string(), password(&value, section)?))
        });
        Some(Self { users: users.collect(), realm: realm? })
    }
}

fn realm(text: &str) -> Result<String, Fault> {
    let is_good = |byte: u8| matches!(byte, b' '..=b'~') && !matches!(byte, b'"' | b'\\');
    match text {
        "" => Err(Fault::new("is empty")),
        text if text.len() > MAX_NAME => Err(Fault::new(format!("is longer than {MAX_NAME} bytes"))),
        text if !text.bytes().all(is_good) => {
            Err(Fault::new("must be ASCII letters, digits, spaces and signs other than \" and \\"))
        }
        text => Ok(text.to_owned()),
    }
}

/// Whether a name can be sent: what is behind its first `:` would be taken for the password.
fn user(name: &str) -> Result<(), &'static str> {
    match name {
        "" => Err("is no name"),
        name if name.contains(':') => Err("holds `:`, which ends a name"),
        name if name.len() > MAX_NAME => Err("is too long a name"),
        name if name.chars().any(char::is_control) => Err("holds a control character"),
        _ => Ok(()),
    }
}

/// Reads a password or its hash; of the other kinds of hash that an htpasswd file may have, it says so.
fn password(value: &Value<'_>, section: &Section<'_>) -> Option<Password> {
    let secret = Secret::read(value, section.report.base)?;
    let hint = "`htpasswd -nbB NAME PASSWORD` makes a bcrypt hash, behind the colon";
    let text = secret.expose();
    let is_bcrypt = ["$2a$", "$2b$", "$2y$"].iter().any(|kind| text.starts_with(kind));
    let fault = if is_bcrypt {
        match text.parse::<bcrypt::HashParts>() {
            Ok(parts) if COSTS.contains(&parts.get_cost()) => return Some(Password::Bcrypt(secret)),
            Ok(_) => Fault::new(format!(
                "is a bcrypt hash with a cost beyond {} to {}",
                COSTS.start(),
                COSTS.end()
            )),
            Err(_) => Fault::new("begins like a bcrypt hash and is none"),
        }
    } else if is_other_hash(text) {
        Fault::new("is a hash of a kind that is not understood here")
    } else if text.len() > MAX_PASSWORD {
        Fault::new(format!("is longer than {MAX_PASSWORD} bytes"))
    } else {
        return Some(Password::Plain(secret));
    };
    value.fault(fault.hint(hint));
    None
}

/// Whether it looks like `$apr1$…`, `$6$…` or `{SHA}…`: nobody means that to be typed in.
fn is_other_hash(text: &str) -> bool {
    let scheme = |rest: &str, end: char| {
        rest.split_once(end).is_some_and(|(kind, rest)| {
            !kind.is_empty()
                && !rest.is_empty()
                && kind.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        })
    };
    text.strip_prefix('$').is_some_and(|rest| scheme(rest, '$') && rest.contains('$'))
        || text.strip_prefix('{').is_some_and(|rest| scheme(rest, '}'))
}
