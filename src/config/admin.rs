//! `[admin]`: where the operator looks in. Without the section there is nothing to look at from outside.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;

use super::problem::Fault;
use super::reader::{Section, Value};
use super::{Endpoint, Secret};

/// This machine only, at the port that scrapers of metrics know.
const ADDRESS: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 9090);

/// The operator's own listener.
#[derive(Debug, Clone, PartialEq)]
pub struct Admin {
    /// The address it is bound to.
    pub endpoint: Endpoint,
    /// What whoever changes anything has to show; without one, nobody does.
    pub token: Option<Secret>,
}

impl Admin {
    /// Reads `[admin]`. `taken` are the addresses that listeners have.
    pub(super) fn read(section: Option<Section<'_>>, base: &Path, taken: &[Endpoint]) -> Option<Self> {
        let section = section?;
        let address = section.value("address");
        let token = section.value("token").and_then(|value| Secret::read(&value, section.report.base));
        let endpoint = match address {
            Some(value) => endpoint(&value, base, taken)?,
            None => Endpoint::Tcp(ADDRESS),
        };
        Some(Self { endpoint, token })
    }
}

fn endpoint(value: &Value<'_>, base: &Path, taken: &[Endpoint]) -> Option<Endpoint> {
    let endpoint = value.parse(|text| Endpoint::parse(text, base))?;
    // `taken` has no address with port 0: of those each gets a port of its own.
    if taken.contains(&endpoint) {
        value
            .fault(Fault::new("is taken by a [[listen]] of this file").hint("give it an address of its own"));
    }
    Some(endpoint)
}
