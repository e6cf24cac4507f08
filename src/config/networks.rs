//! Lists of networks: who is trusted, who is let in, and who is kept out.

use std::net::IpAddr;

use ipnet::IpNet;

use super::problem::Fault;
use super::reader::Value;

/// Networks, and whether whoever comes by Unix socket is among them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Networks {
    /// The networks.
    pub networks: Vec<IpNet>,
    /// Whether peers on a Unix socket belong to it.
    pub unix: bool,
}

impl Networks {
    /// Reads a list.
    pub(super) fn read(value: &Value<'_>) -> Self {
        let mut list = Self::default();
        for entry in value.list() {
            if entry.node().as_str() == Some("unix") {
                list.unix = true;
            } else {
                list.networks.extend(entry.parse(network));
            }
        }
        list
    }

    /// Whether nobody is among them.
    pub fn is_empty(&self) -> bool {
        self.networks.is_empty() && !self.unix
    }

    /// Whether an address is among them. An IPv4 address seen through an IPv6 socket counts as the IPv4 address it is.
    pub fn contains(&self, ip: IpAddr) -> bool {
        let ip = ip.to_canonical();
        self.networks.iter().any(|network| network.contains(&ip))
    }

    /// Whether a client is among them; one without an address came by Unix socket.
    pub fn have(&self, client: Option<IpAddr>) -> bool {
        client.map_or(self.unix, |ip| self.contains(ip))
    }
}

/// Reads a network, or one address.
fn network(text: &str) -> Result<IpNet, Fault> {
    if let Ok(ip) = text.parse::<IpAddr>() {
        return Ok(ip.into());
    }
    let network: IpNet = text.parse().map_err(|_| {
        Fault::new("is neither a network nor \"unix\"").hint("write \"10.0.0.0/8\", \"::1\" or \"unix\"")
    })?;
    if network.trunc() != network {
        // Whether the address or the whole network was meant is not for us to guess.
        return Err(Fault::new("is one address, but with the size of a network").hint(format!(
            "write \"{}\" or \"{}\"",
            network.trunc(),
            network.addr()
        )));
    }
    Ok(network)
}
