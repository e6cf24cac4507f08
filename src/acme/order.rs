//! One order: from the hosts to the certificate.

use std::time::Duration;

use instant_acme::{
    Account, AuthorizationStatus, CertificateIdentifier, ChallengeType, Identifier, KeyAuthorization,
    NewOrder, Order, OrderStatus, RetryPolicy,
};
use rcgen::{CertificateParams, CustomExtension, DistinguishedName, KeyPair};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::sign::CertifiedKey;

use super::challenges::{Challenges, InFlight};
use super::error::AcmeError;
use crate::config::ChallengeKind;
use crate::tls::provider;

/// How an order is looked at until it has come to something: after a quarter of a second, then less and less often.
const LOOKS: RetryPolicy = RetryPolicy::new()
    .initial_delay(Duration::from_millis(250))
    .backoff(1.5)
    .timeout(Duration::from_secs(120));

/// Orders a certificate for hosts, and shows in one way that they are ours. Returns the key and the chain (PEM).
pub(super) async fn order(
    account: &Account,
    domains: &[String],
    kind: ChallengeKind,
    replaces: Option<&CertificateIdentifier<'static>>,
    challenges: &Challenges,
) -> Result<String, AcmeError> {
    let names: Vec<_> = domains.iter().cloned().map(Identifier::Dns).collect();
    let mut order = begin(account, &names, replaces).await?;
    if order.state().status == OrderStatus::Pending {
        // Answered for until the authority has made up its mind.
        let _in_flight = prove(&mut order, kind, challenges).await?;
        match order.poll_ready(&LOOKS).await {
            Ok(OrderStatus::Ready) => {}
            Ok(_) | Err(instant_acme::Error::Api(_)) => return Err(why(&mut order, kind).await),
            Err(error) => return Err(error.into()),
        }
    }
    let key = KeyPair::generate().map_err(AcmeError::Request)?;
    let mut params = CertificateParams::new(domains.to_vec()).map_err(AcmeError::Request)?;
    params.distinguished_name = DistinguishedName::new();
    let request = params.serialize_request(&key).map_err(AcmeError::Request)?;
    order.finalize_csr(request.der()).await?;
    let chain = order.poll_certificate(&LOOKS).await?;
    Ok(format!("{}{chain}", key.serialize_pem()))
}

/// Begins an order. One that replaces another certificate is not counted by some limits; where the authority takes offence
/// at that, it is an order like any other.
async fn begin(
    account: &Account,
    names: &[Identifier],
    replaces: Option<&CertificateIdentifier<'static>>,
) -> Result<Order, AcmeError> {
    if let Some(replaces) = replaces {
        match account.new_order(&NewOrder::new(names).replaces(replaces.clone())).await {
            Ok(order) => return Ok(order),
            Err(instant_acme::Error::Api(said)) if said.status == Some(429) => {
                return Err(instant_acme::Error::Api(said).into());
            }
            Err(error) => tracing::debug!(%error, "an order that replaces another was refused"),
        }
    }
    Ok(account.new_order(&NewOrder::new(names)).await?)
}

/// Has the authority look at each host that it does not know to be ours.
async fn prove(
    order: &mut Order,
    kind: ChallengeKind,
    challenges: &Challenges,
) -> Result<Vec<InFlight>, AcmeError> {
    let mut in_flight = Vec::new();
    let mut all = order.authorizations();
    while let Some(authorization) = all.next().await {
        let mut authorization = authorization?;
        if authorization.status == AuthorizationStatus::Valid {
            continue;
        }
        let domain = authorization.identifier().to_string();
        let Some(mut challenge) = authorization.challenge(type_of(kind)) else {
            return Err(AcmeError::NoChallenge { domain, kind });
        };
        let key = challenge.key_authorization();
        in_flight.push(match kind {
            ChallengeKind::Http01 => challenges.put_page(&challenge.token, key.as_str()),
            ChallengeKind::TlsAlpn01 => {
                let certificate = certificate(&domain, &key)?;
                challenges.put_handshake(&domain, certificate).map_err(AcmeError::Handshake)?
            }
        });
        challenge.set_ready().await?;
    }
    Ok(in_flight)
}

fn type_of(kind: ChallengeKind) -> ChallengeType {
    match kind {
        ChallengeKind::Http01 => ChallengeType::Http01,
        ChallengeKind::TlsAlpn01 => ChallengeType::TlsAlpn01,
    }
}

/// The certificate that shows in a handshake that a host is ours (RFC 8737, section 3).
fn certificate(domain: &str, key: &KeyAuthorization) -> Result<CertifiedKey, AcmeError> {
    let signing = KeyPair::generate().map_err(AcmeError::Request)?;
    let mut params = CertificateParams::new([domain.to_owned()]).map_err(AcmeError::Request)?;
    params.custom_extensions = vec![CustomExtension::new_acme_identifier(key.digest().as_ref())];
    let made = params.self_signed(&signing).map_err(AcmeError::Request)?;
    let der = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(signing.serialize_der()));
    let signing = provider().key_provider.load_private_key(der).map_err(AcmeError::Handshake)?;
    Ok(CertifiedKey::new(vec![made.der().clone()], signing))
}

/// Which host was not believed to be ours, and what is said of it.
async fn why(order: &mut Order, kind: ChallengeKind) -> AcmeError {
    let whole = order.state().error.clone();
    let mut all = order.authorizations();
    while let Some(Ok(mut authorization)) = all.next().await {
        if let Err(error) = authorization.refresh().await {
            return error.into();
        }
        if authorization.status == AuthorizationStatus::Valid {
            continue;
        }
        let domain = authorization.identifier().to_string();
        let said = authorization.challenges.iter().find_map(|challenge| challenge.error.clone());
        return AcmeError::Unproved { domain, kind, said: said.or(whole).map(Box::new) };
    }
    match whole {
        Some(said) => instant_acme::Error::Api(said).into(),
        None => instant_acme::Error::Str("the order came to nothing").into(),
    }
}
