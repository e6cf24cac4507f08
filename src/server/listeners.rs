//! The listeners of the process: those of the configuration in force, each with a number that it keeps while it is open.
//!
//! Invariant: what a new configuration needs is bound and prepared before anything of what is open changes, so that it
//! can still be refused.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use crate::config::{Config, Endpoint, Listen};
use crate::handover::{Heir, Inheritance};
use crate::listener::{Bound, SocketFile, Unaccepted};
use crate::tls::{Credentials, Tls, TlsError};
use crate::worker::Door;

use super::certificates::{self, Keeper, Served};
use super::{BindError, redirects};

/// One that is open.
#[derive(Debug)]
pub(super) struct Listening {
    pub(super) number: usize,
    /// As the file has it.
    pub(super) asked: Endpoint,
    /// As it is bound.
    pub(super) bound: Endpoint,
    pub(super) tls: Option<Tls>,
    /// What its TLS is made of, shared with who looks after the files.
    served: Option<Arc<Mutex<Served>>>,
    /// Removed with this.
    _file: Option<SocketFile>,
}

/// All that are open, in the order of the configuration.
#[derive(Debug, Default)]
pub(super) struct Listeners {
    pub(super) open: Vec<Listening>,
    next_number: usize,
    /// What the process was started with, kept for a configuration that names it again.
    pub(super) inherited: Inheritance,
}

/// Those of another configuration, in its order: ready, and not in force.
#[derive(Debug)]
pub(super) struct Plan(Vec<(Source, PlannedTls)>);

#[derive(Debug)]
enum Source {
    /// The place of one that is open.
    Open(usize),
    New(Bound),
}

#[derive(Debug)]
enum PlannedTls {
    Cleartext,
    New(Tls, Served),
    /// That of the listener as it is.
    Same,
    /// That of the listener, which makes new connections with these.
    With(Box<Credentials>, Served),
}

impl Plan {
    /// The addresses, if all of them are new ones.
    pub(super) fn addresses(&self) -> Vec<String> {
        let addresses = self.0.iter().filter_map(|(source, _)| match source {
            Source::New(bound) => Some(bound.endpoint.to_string()),
            Source::Open(_) => None,
        });
        addresses.collect()
    }
}

impl Listeners {
    /// None open yet.
    pub(super) fn new(inherited: Inheritance) -> Self {
        Self { inherited, ..Self::default() }
    }

    /// Makes ready what a configuration needs; `before` is the one in force.
    pub(super) fn plan(&self, config: &Config, before: Option<&Config>) -> Result<Plan, BindError> {
        let mut is_taken = vec![false; self.open.len()];
        let mut plan = Vec::new();
        for listen in &config.listen {
            let is_it =
                |(place, open): &(usize, &Listening)| open.asked == listen.endpoint && !is_taken[*place];
            let known = self.open.iter().enumerate().find(is_it);
            let old = known.and_then(|(place, _)| before?.listen.get(place));
            let tls = plan_tls(listen, known.map(|(_, open)| open), old);
            let tls = tls.map_err(|cause| BindError::Tls { listener: listen.endpoint.to_string(), cause })?;
            let source = match known {
                Some((place, _)) => {
                    is_taken[place] = true;
                    Source::Open(place)
                }
                None => {
                    let all = config.listen.iter().map(|listen| &listen.endpoint);
                    let own = self.open.iter().map(|open| &open.bound);
                    let (asked, workers) = (&listen.endpoint, config.server.workers);
                    let bound = Bound::bind(Heir::Listener, asked, (all, own), &self.inherited, workers);
                    Source::New(bound.map_err(BindError::Listen)?)
                }
            };
            plan.push((source, tls));
        }
        Ok(Plan(plan))
    }

    /// Puts a plan into force. Returns what each worker is to accept from. What is not in the plan
    /// is gone from the file system now, and the workers close it.
    pub(super) fn become_those(&mut self, plan: Plan, config: &Config) -> Vec<Vec<Door>> {
        let mut before: Vec<_> = std::mem::take(&mut self.open).into_iter().map(Some).collect();
        let mut sockets = Vec::new();
        for ((source, planned), listen) in plan.0.into_iter().zip(&config.listen) {
            let (mut listening, own) = match source {
                Source::Open(place) => match before.get_mut(place).and_then(Option::take) {
                    Some(open) => (open, VecDeque::new()),
                    None => continue,
                },
                Source::New(bound) => {
                    let (number, asked) = (self.next_number, listen.endpoint.clone());
                    self.next_number += 1;
                    let endpoint = bound.endpoint.clone();
                    let (sockets, _file) = bound.into_parts();
                    (
                        Listening { number, asked, bound: endpoint, tls: None, served: None, _file },
                        sockets.into(),
                    )
                }
            };
            match planned {
                PlannedTls::Cleartext => (listening.tls, listening.served) = (None, None),
                PlannedTls::New(tls, served) => {
                    (listening.tls, listening.served) = (Some(tls), Some(Arc::new(Mutex::new(served))));
                }
                PlannedTls::Same => {}
                PlannedTls::With(credentials, served) => {
                    if let Some(tls) = &listening.tls {
                        tls.set(*credentials);
                    }
                    listening.served = Some(Arc::new(Mutex::new(served)));
                }
            }
            self.open.push(listening);
            sockets.push(own);
        }
        let redirects = redirects::of(config, &self.open);
        let mut doors = Vec::new();
        for left in (1..=config.server.workers).rev() {
            let each = self.open.iter().zip(&mut sockets).zip(&redirects);
            let door =
                |((listening, sockets), redirect): ((&Listening, &mut VecDeque<Unaccepted>), &Option<_>)| {
                    // One each, or as many as there are of a process that had more workers.
                    let share = sockets.len().div_ceil(left);
                    Door {
                        number: listening.number,
                        sockets: sockets.drain(..share).collect(),
                        tls: listening.tls.clone(),
                        redirect: Option::clone(redirect),
                    }
                };
            doors.push(each.map(door).collect());
        }
        doors
    }

    /// The TLS of those that have any, each with its address.
    pub(super) fn tls(&self) -> Vec<(String, Tls)> {
        let with_tls = self.open.iter().filter_map(|open| Some((open.bound.to_string(), open.tls.clone()?)));
        with_tls.collect()
    }

    /// What looks after the files of the certificates.
    pub(super) fn keeper(&self) -> Keeper {
        let mut keeper = Keeper::default();
        for listening in &self.open {
            if let (Some(tls), Some(served)) = (&listening.tls, &listening.served) {
                keeper.add(listening.bound.to_string(), tls.clone(), served.clone());
            }
        }
        keeper
    }
}

/// `known` is the listener if it is open, `before` what the file said of it.
fn plan_tls(
    listen: &Listen,
    known: Option<&Listening>,
    before: Option<&Listen>,
) -> Result<PlannedTls, TlsError> {
    let known = known.filter(|_| listen.is_tls());
    let Some((known, served)) = known.and_then(|open| open.tls.as_ref().zip(open.served.as_ref())) else {
        let new = certificates::tls_of(listen)?;
        return Ok(new.map_or(PlannedTls::Cleartext, |(tls, served)| PlannedTls::New(tls, served)));
    };
    let is_same = |old: &Listen| {
        old.tls == listen.tls
            && old.acme == listen.acme
            && old.client_ca == listen.client_ca
            && old.http2 == listen.http2
    };
    if before.is_some_and(is_same) {
        return Ok(PlannedTls::Same);
    }
    let served = Served::new(listen, Some(&served.lock().unwrap_or_else(PoisonError::into_inner)));
    let credentials = known.prepare(served.identity(), listen.http2)?;
    Ok(PlannedTls::With(Box::new(credentials), served))
}
