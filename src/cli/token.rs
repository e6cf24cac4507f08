//! `sidestream token`: a token to develop with, signed as an app would sign it.

use std::time::{Duration, SystemTime};

use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Map, Value};

use crate::config::Secret;
use crate::event;

use super::failure::Failure;
use super::{duration, terminal};

/// Claims that options of their own set.
const OWN_CLAIMS: [&str; 3] = ["sub", "iat", "exp"];

/// Print a development token for a user.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  JWT_SECRET=… sidestream token --user 42
  sidestream token --user 42 --secret file:jwt.key --for 10m --claim team=red --claim level=3")]
pub(super) struct Args {
    /// The user, as the claim `sub`.
    #[arg(long, value_name = "ID")]
    user: String,
    /// What signs it (HS256): env:NAME, file:PATH or the secret itself.
    #[arg(long, value_name = "SECRET", default_value = "env:JWT_SECRET")]
    secret: String,
    /// How long it is good for.
    #[arg(long = "for", value_name = "TIME", default_value = "1h", value_parser = duration::parse)]
    lifetime: Duration,
    /// A further claim; the value is JSON, or else a string. May be repeated.
    #[arg(long = "claim", value_name = "NAME=VALUE", value_parser = claim)]
    claims: Vec<(String, Value)>,
}

/// Prints the token and nothing else.
pub(super) fn command(args: Args) -> Result<(), Failure> {
    if !event::is_user_id(&args.user) {
        return Err(Failure::new(format!("{:?} cannot be a user's id", args.user))
            .help("ids hold letters, digits and any of _ . @ -, at most 195 of them"));
    }
    let secret = Secret::resolve(&args.secret).map_err(|error| {
        Failure::new(format!("--secret {error}"))
            .help("it is the [auth] secret of the server: give --secret env:NAME or --secret file:PATH, or set JWT_SECRET")
    })?;
    terminal::line(sign(&args.user, args.lifetime, args.claims, &secret, SystemTime::now())?)
}

/// Signs a token with HS256 that is good from `now` on for `lifetime`.
pub(super) fn sign(
    user: &str,
    lifetime: Duration,
    claims: Vec<(String, Value)>,
    secret: &Secret,
    now: SystemTime,
) -> Result<String, Failure> {
    let now = now
        .duration_since(SystemTime::UNIX_EPOCH)
        .map_err(|error| Failure::new("this machine's clock stands before 1970").because(error))?;
    let mut body = Map::from_iter(claims);
    body.insert("sub".to_owned(), user.into());
    body.insert("iat".to_owned(), now.as_secs().into());
    body.insert("exp".to_owned(), now.saturating_add(lifetime).as_secs().into());
    let key = EncodingKey::from_secret(secret.expose().as_bytes());
    jsonwebtoken::encode(&Header::new(Algorithm::HS256), &body, &key)
        .map_err(|error| Failure::new("the token could not be signed").because(error))
}

/// Reads one `--claim`.
fn claim(text: &str) -> Result<(String, Value), String> {
    let (name, value) =
        text.split_once('=').filter(|(name, _)| !name.is_empty()).ok_or("write it as NAME=VALUE")?;
    if OWN_CLAIMS.contains(&name) {
        return Err(format!("{name} comes from --user and --for"));
    }
    let value = serde_json::from_str(value).unwrap_or_else(|_| value.into());
    Ok((name.to_owned(), value))
}

#[cfg(test)]
mod tests {
    use jsonwebtoken::{DecodingKey, Validation};
    use serde_json::json;

    use super::*;

    #[test]
    fn signs_what_a_provider_accepts() {
        let secret = Secret::resolve("a secret of more than sixteen bytes").unwrap();
        let claims = vec![("team".to_owned(), json!("red"))];
        let token = sign("42", Duration::from_secs(60), claims, &secret, SystemTime::now()).unwrap();
        let key = DecodingKey::from_secret(secret.expose().as_bytes());
        let read =
            jsonwebtoken::decode::<Value>(&token, &key, &Validation::new(Algorithm::HS256)).unwrap().claims;
        assert_eq!((&read["sub"], &read["team"]), (&json!("42"), &json!("red")));
        assert_eq!(read["exp"].as_u64().unwrap() - read["iat"].as_u64().unwrap(), 60);
    }

    #[test]
    fn a_claim_is_json_or_else_a_string() {
        for (text, value) in [
            ("a=1", json!(1)),
            ("a=red", json!("red")),
            ("a=[1,2]", json!([1, 2])),
            ("a=\"1\"", json!("1")),
            ("a=", json!("")),
            ("a=b=c", json!("b=c")),
        ] {
            assert_eq!(claim(text), Ok(("a".to_owned(), value)), "{text}");
        }
        for text in ["a", "=1", "sub=1", "exp=0"] {
            assert!(claim(text).is_err(), "{text}");
        }
    }
}
