//! Where the listeners of `redirect_https` send their clients: to the listeners with TLS, as they were bound.

use crate::config::{Config, Endpoint, Listen, RedirectPort};
use crate::router::{Hosts, Redirect};

use super::listeners::Listening;

/// The port of `https`, where nothing else is said.
const HTTPS: u16 = 443;

/// Where each listener sends its clients, if it does. `listeners` are those of the configuration as they were bound.
pub(super) fn of(config: &Config, listeners: &[Listening]) -> Vec<Option<Redirect>> {
    let port_of = |listening: &Listening| match listening.bound {
        Endpoint::Tcp(address) if listening.tls.is_some() => Some(address.port()),
        _ => None,
    };
    let https = listeners.iter().find_map(port_of).unwrap_or(HTTPS);
    let served = listeners.iter().zip(&config.listen).filter_map(|(listening, listen)| {
        let tls = listening.tls.as_ref()?;
        Some(match listen.server_names.as_slice() {
            [] => Hosts::Certified(tls.clone()),
            names => Hosts::Named(names.to_vec()),
        })
    });
    let served: Vec<_> = served.collect();
    let redirect = |listen: &Listen| {
        let port = match listen.redirect_https? {
            RedirectPort::OfListener => https,
            RedirectPort::Given(port) => port.get(),
        };
        let hosts = match listen.server_names.as_slice() {
            [] => served.clone(),
            names => vec![Hosts::Named(names.to_vec())],
        };
        Some(Redirect { port, hosts })
    };
    config.listen.iter().map(redirect).collect()
}
