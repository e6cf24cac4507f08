//! The routing table: from a path and a host to a route.
//!
//! Paths are compared as they are written, byte for byte: a path with `%2e`, `//` or `..` in it is never a stream's
//! or a publisher's, and goes to the app as it came.

use std::collections::HashMap;

use crate::config::Route;
use crate::http::covers;

/// The routes, found by path.
#[derive(Debug)]
pub(super) struct Table {
    /// Routes of exactly one path.
    exact: HashMap<String, Vec<Entry>>,
    /// Routes of a prefix, the longest first.
    prefixes: Vec<(String, Entry)>,
}

#[derive(Debug)]
struct Entry {
    route: usize,
    hosts: Vec<String>,
}

impl Table {
    pub(super) fn new(routes: &[Route]) -> Self {
        let mut table = Self { exact: HashMap::new(), prefixes: Vec::new() };
        for (place, route) in routes.iter().enumerate() {
            let entry = Entry { route: place, hosts: route.hosts.clone() };
            if route.is_prefix() {
                table.prefixes.push((route.path.clone(), entry));
            } else {
                table.exact.entry(route.path.clone()).or_default().push(entry);
            }
        }
        // Of routes for the same path, one that names hosts is tried before one that takes any.
        for entries in table.exact.values_mut() {
            entries.sort_by_key(|entry| entry.hosts.is_empty());
        }
        table.prefixes.sort_by_key(|(path, entry)| (std::cmp::Reverse(path.len()), entry.hosts.is_empty()));
        table
    }

    /// The place of the route for a request.
    pub(super) fn find(&self, path: &str, host: Option<&str>) -> Option<usize> {
        let exact = self.exact.get(path).into_iter().flatten();
        let prefixes =
            self.prefixes.iter().filter(|(prefix, _)| path.starts_with(prefix)).map(|(_, entry)| entry);
        exact.chain(prefixes).find(|entry| entry.is_for(host)).map(|entry| entry.route)
    }
}

impl Entry {
    fn is_for(&self, host: Option<&str>) -> bool {
        self.hosts.is_empty() || host.is_some_and(|host| self.hosts.iter().any(|name| covers(name, host)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Action, ProxyRoute, PublishCheck, PublishRoute};

    fn table(routes: &[(&str, bool, &[&str])]) -> Table {
        let routes: Vec<_> = routes
            .iter()
            .map(|(path, proxy, hosts)| Route {
                path: (*path).to_owned(),
                hosts: hosts.iter().map(|host| (*host).to_owned()).collect(),
                cors: None,
                front: None,
                action: if *proxy {
                    Action::Proxy(Box::new(ProxyRoute::new(0, &[])))
                } else {
                    Action::Publish(PublishRoute::new(PublishCheck::Webhook(Vec::new())))
                },
            })
            .collect();
        Table::new(&routes)
    }

    #[test]
    fn the_longest_match_wins() {
        let table = table(&[
            ("/", true, &[]),
            ("/api/", true, &[]),
            ("/api/events/", false, &[]),
            ("/about", true, &[]),
        ]);
        for (path, route) in [
            ("/", 0),
            ("/x", 0),
            ("/api", 0),
            ("/api/", 1),
            ("/api/x", 1),
            ("/api/events/", 2),
            ("/api/events", 1),
            ("/api/events/x", 1),
            ("/api/%65vents/", 1),
            ("/about", 3),
            ("/about/", 0),
        ] {
            assert_eq!(table.find(path, None), Some(route), "{path}");
        }
    }

    #[test]
    fn hosts_choose_among_the_same_paths() {
        let table = table(&[("/", true, &[]), ("/", true, &["a.example"]), ("/x", false, &["*.b.example"])]);
        assert_eq!(table.find("/", Some("A.example")), Some(1));
        assert_eq!(table.find("/", Some("c.example")), Some(0));
        assert_eq!(table.find("/", None), Some(0));
        assert_eq!(table.find("/x", Some("y.b.example")), Some(2));
        assert_eq!(table.find("/x", Some("b.example")), Some(0));
    }

    #[test]
    fn no_route_is_none() {
        assert_eq!(table(&[("/x", true, &[])]).find("/y", None), None);
    }
}
