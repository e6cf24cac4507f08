//! JWT: a signed token becomes an identity.
//!
//! Invariant: the key decides the algorithm, never the token (RFC 8725, section 3.1), and nothing of a token is read
//! before its signature is good. A token without an end (`exp`) is no credential.

use std::fmt;
use std::time::{Duration, SystemTime};

use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{DecodingKey, Validation};
use serde_json::{Map, Value};

use super::jwks::Keys;
use super::{AuthError, Identity, Reason, identity};
use crate::config::JwtProvider;

/// What one provider holds a token to.
pub(super) struct Jwt {
    signer: Signer,
    validation: Validation,
    leeway: Duration,
    user_claim: String,
    require: Vec<(String, Value)>,
}

/// Whose signatures are good.
pub(super) enum Signer {
    /// That of one key, which is there at once and always.
    One(DecodingKey),
    /// That of a key in a set, by the token's `kid`.
    Set(Keys),
}

impl Jwt {
    pub(super) fn new(provider: &JwtProvider, signer: Signer) -> Self {
        let mut validation = Validation::default();
        validation.algorithms.clone_from(&provider.algorithms);
        // Times are checked below, against the caller's clock.
        validation.validate_exp = false;
        validation.validate_nbf = false;
        validation.required_spec_claims.clear();
        // The crate lets a claim that is absent pass unless it is required.
        if let Some(issuer) = &provider.issuer {
            validation.set_issuer(&[issuer]);
            validation.required_spec_claims.insert("iss".to_owned());
        }
        validation.validate_aud = !provider.audience.is_empty();
        if validation.validate_aud {
            validation.set_audience(&provider.audience);
            validation.required_spec_claims.insert("aud".to_owned());
        }
        Self {
            signer,
            validation,
            leeway: provider.leeway,
            user_claim: provider.user_claim.clone(),
            require: provider.require.clone(),
        }
    }

    /// Verifies a token as of `now`. With one key this is ready at once.
    pub(super) async fn verify(&self, token: &str, now: SystemTime) -> Result<Identity, AuthError> {
        let keys = match &self.signer {
            Signer::One(key) => return self.verify_by(key, &self.validation, token, now),
            Signer::Set(keys) => keys,
        };
        let header = jsonwebtoken::decode_header(token).map_err(|error| reason(error.kind()))?;
        // Before anybody is asked: what the operator does not take is not worth a question.
        if !self.validation.algorithms.contains(&header.alg) {
            return Err(Reason::Algorithm.into());
        }
        let key = keys.find(header.kid.as_deref(), header.alg).await?;
        // The crate wants all algorithms to be of the key's kind; this one fits it.
        let validation = Validation { algorithms: vec![header.alg], ..self.validation.clone() };
        self.verify_by(&key, &validation, token, now)
    }

    fn verify_by(
        &self,
        key: &DecodingKey,
        validation: &Validation,
        token: &str,
        now: SystemTime,
    ) -> Result<Identity, AuthError> {
        let token = jsonwebtoken::decode::<Map<String, Value>>(token, key, validation)
            .map_err(|error| reason(error.kind()))?;
        if token.header.crit.is_some() {
            return Err(Reason::Critical.into());
        }
        let claims = token.claims;
        let expires =
            time(&claims, "exp")?.and_then(|end| end.checked_add(self.leeway)).ok_or_else(|| claim("exp"))?;
        if expires <= now {
            return Err(AuthError::Expired);
        }
        if let Some(begin) = time(&claims, "nbf")?
            && now.checked_add(self.leeway).is_none_or(|now| now < begin)
        {
            return Err(Reason::NotYet.into());
        }
        for (name, value) in &self.require {
            if claims.get(name) != Some(value) {
                return Err(claim(name).into());
            }
        }
        let user = claims
            .get(&self.user_claim)
            .and_then(identity::id)
            .ok_or_else(|| claim(&self.user_claim))?
            .into_owned();
        Ok(Identity { user, expires: Some(expires), claims })
    }
}

impl fmt::Debug for Jwt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Jwt")
            .field("algorithms", &self.validation.algorithms)
            .field("user_claim", &self.user_claim)
            .finish_non_exhaustive()
    }
}

/// Reads a NumericDate (RFC 7519, section 2), which may have a fraction.
pub(super) fn time(claims: &Map<String, Value>, name: &str) -> Result<Option<SystemTime>, Reason> {
    let Some(value) = claims.get(name) else {
        return Ok(None);
    };
    let since_epoch = match value.as_u64() {
        Some(seconds) => Some(Duration::from_secs(seconds)),
        None => value.as_f64().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()),
    };
    since_epoch
        .and_then(|since| SystemTime::UNIX_EPOCH.checked_add(since))
        .map(Some)
        .ok_or_else(|| claim(name))
}

fn claim(name: &str) -> Reason {
    Reason::Claim(name.to_owned())
}

fn reason(kind: &ErrorKind) -> Reason {
    match kind {
        ErrorKind::InvalidAlgorithm => Reason::Algorithm,
        ErrorKind::InvalidSignature => Reason::Signature,
        ErrorKind::InvalidIssuer => claim("iss"),
        ErrorKind::InvalidAudience => claim("aud"),
        ErrorKind::MissingRequiredClaim(name) => claim(name),
        _ => Reason::Malformed,
    }
}
