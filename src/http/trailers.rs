//! Fields behind a body. They pass, but say nothing that they could not say in a head, and nothing that a head alone
//! may say (RFC 9110, section 6.5.1): an app that merges them into its fields must not be misled by it.

use http::header::HeaderMap;

use super::fields::{END_TO_END, is_for_proxy, is_hop_by_hop, is_kept_back};
use super::forwarded::is_forwarding;

/// Takes out of a request's trailers what a client must not tell an app, whoever the client is: a trusted proxy has
/// its say in the head.
pub fn clean_request_trailers(trailers: &mut HeaderMap) {
    retain(trailers, |name| !is_kept_back(name) && !name.contains('_') && !is_forwarding(name));
}

/// Takes out of a response's trailers what concerns the app's connection, or was said to its proxy.
pub fn clean_response_trailers(trailers: &mut HeaderMap) {
    retain(trailers, |name| !is_for_proxy(name) && name != "set-cookie");
}

fn retain(trailers: &mut HeaderMap, stays: impl Fn(&str) -> bool) {
    let gone: Vec<_> = trailers
        .keys()
        .filter(|name| {
            let name = name.as_str();
            is_hop_by_hop(name) || END_TO_END.contains(&name) || !stays(name)
        })
        .cloned()
        .collect();
    for name in gone {
        trailers.remove(name);
    }
}
