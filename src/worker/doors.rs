//! The listeners of a worker: which it accepts from, and by which rules.
//!
//! Invariant: the rules that a connection began with hold for it to its end; a listener that is no longer wanted has
//! accepted every connection that was there before it is closed.

use std::cell::{Cell, RefCell};
use std::io;
use std::os::fd::OwnedFd;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::Duration;

use http::HeaderValue;
use tokio::sync::Notify;
use tokio::task::{AbortHandle, spawn_local};
use tokio::time::sleep;

use crate::config::Listen;
use crate::connection::{self, Drain, Handler, Settings, Shared};
use crate::listener::{ConnectionLimit, Listener, Permit, Unaccepted};
use crate::metrics::Counters;
use crate::router::Redirect;
use crate::tls::Tls;

use super::generation::{Parts, Rules};

/// How long those who came by a listener just before it was closed have to send what they came for.
const LATE_COMERS: Duration = Duration::from_millis(500);

/// What a worker is given of a listener. Those of a configuration come in its order.
#[derive(Debug)]
pub struct Door {
    /// Its number, the same for as long as it is open.
    pub number: usize,
    /// Its sockets, of which there is mostly one; none if the worker has them already.
    pub sockets: Vec<Unaccepted>,
    /// Its TLS; none is cleartext.
    pub tls: Option<Tls>,
    /// Where its requests are sent instead.
    pub redirect: Option<Redirect>,
}

/// The listeners that are open, and the connections that came in by any.
#[derive(Debug, Default)]
pub(super) struct Doors {
    open: RefCell<Vec<OpenDoor>>,
    /// Those that have been closed, and have connections.
    closed: RefCell<Vec<Weak<Drain>>>,
    connections: Rc<Connections>,
}

#[derive(Debug)]
struct OpenDoor {
    number: usize,
    drain: Rc<Drain>,
    /// What the next connection begins with.
    settings: Rc<RefCell<Rc<Settings>>>,
    accepting: Vec<Accepting>,
}

/// One of its sockets.
#[derive(Debug)]
struct Accepting {
    /// Gone when it is closed.
    listener: Weak<Listener>,
    task: AbortHandle,
    /// Says that it is to be closed.
    closing: Rc<Notify>,
}

/// A listener of a configuration, before it is opened or changed.
#[derive(Debug)]
pub(super) struct Planned {
    sockets: Vec<Unaccepted>,
    redirect: Option<Redirect>,
    hsts: Option<HeaderValue>,
    settings: Rc<Settings>,
}

impl Planned {
    /// What its requests get besides.
    pub(super) fn rules(&self) -> Rules {
        Rules {
            listener: self.settings.listener,
            redirect: self.redirect.clone(),
            hsts: self.hsts.clone(),
            drain: Rc::downgrade(&self.settings.drain),
        }
    }
}

impl Doors {
    /// Makes ready the listeners of a configuration, whose order `doors` have.
    pub(super) fn plan(&self, doors: Vec<Door>, parts: &Parts) -> Vec<Planned> {
        let open = self.open.borrow();
        let drain_of = |number| open.iter().find(|open| open.number == number).map(|open| open.drain.clone());
        let plan = |(door, listen): (Door, &Listen)| {
            let Door { number, sockets, tls, redirect } = door;
            let drain = drain_of(number).unwrap_or_default();
            let settings = Rc::new(settings(parts, number, listen, tls, drain));
            Planned { sockets, redirect, hsts: listen.hsts.map(|hsts| hsts.field()), settings }
        };
        doors.into_iter().zip(&parts.config.listen).map(plan).collect()
    }

    /// Opens, changes and closes listeners until they are the planned ones. `accept` accepts for as long as it is told.
    pub(super) fn become_those(
        &self,
        planned: Vec<Planned>,
        accept: impl Fn(Rc<Listener>, Entrance) -> AbortHandle,
    ) {
        let mut before = self.open.take();
        let mut doors = Vec::new();
        for Planned { sockets, settings, .. } in planned {
            let number = settings.listener;
            if let Some(place) = before.iter().position(|open| open.number == number) {
                let open = before.swap_remove(place);
                *open.settings.borrow_mut() = settings;
                doors.push(open);
                continue;
            }
            let drain = settings.drain.clone();
            let settings = Rc::new(RefCell::new(settings));
            let mut accepting = Vec::new();
            for listener in sockets.into_iter().map(Listener::new) {
                match listener.map(Rc::new) {
                    Ok(listener) => {
                        let closing = Rc::new(Notify::new());
                        let entrance = Entrance {
                            settings: settings.clone(),
                            closing: closing.clone(),
                            connections: self.connections.clone(),
                        };
                        let known = Rc::downgrade(&listener);
                        let task = accept(listener, entrance);
                        accepting.push(Accepting { listener: known, task, closing });
                    }
                    Err(error) => tracing::error!(%error, "a worker cannot accept at a new listener"),
                }
            }
            if !accepting.is_empty() {
                doors.push(OpenDoor { number, drain, settings, accepting });
            }
        }
        self.open.replace(doors);
        for open in before {
            self.close(open);
        }
    }

    /// Closes a listener. Its connections end when they have nothing more to do; streams and tunnels go on.
    fn close(&self, open: OpenDoor) {
        open.accepting.iter().for_each(|one| one.closing.notify_one());
        let mut closed = self.closed.borrow_mut();
        closed.retain(|drain| drain.strong_count() > 0);
        closed.push(Rc::downgrade(&open.drain));
        spawn_local(async move {
            // Whoever has just come is answered first.
            sleep(LATE_COMERS).await;
            open.drain.begin();
        });
    }

    /// Closes all of them at once: the kernel refuses from here on, or another process accepts.
    pub(super) fn close_all(&self) {
        for open in self.open.borrow().iter() {
            open.accepting.iter().for_each(|one| one.task.abort());
        }
    }

    /// Has connections end behind their next answer.
    pub(super) fn announce_end(&self) {
        self.each_drain(Drain::announce);
    }

    /// Has connections end when they have nothing more to do.
    pub(super) fn end_connections(&self) {
        self.each_drain(Drain::begin);
    }

    /// The sockets once more that it accepts from, each with the number of its listener.
    pub(super) fn share(&self) -> io::Result<Vec<(usize, OwnedFd)>> {
        let open = self.open.borrow();
        let each = open.iter().flat_map(|open| open.accepting.iter().map(|one| (open.number, one)));
        let shared = each.filter_map(|(number, one)| Some((number, one.listener.upgrade()?)));
        shared.map(|(number, listener)| Ok((number, listener.share()?))).collect()
    }

    /// Ends tunnels, which do not end by themselves.
    pub(super) fn end_tunnels(&self) {
        self.each_drain(Drain::end_tunnels);
    }

    /// Waits until there is no connection.
    pub(super) async fn empty(&self) {
        while self.connections.count.get() > 0 {
            self.connections.none.notified().await;
        }
    }

    fn each_drain(&self, tell: impl Fn(&Drain)) {
        self.open.borrow().iter().for_each(|open| tell(&open.drain));
        self.closed.borrow().iter().filter_map(Weak::upgrade).for_each(|drain| tell(&drain));
    }
}

fn settings(parts: &Parts, number: usize, listen: &Listen, tls: Option<Tls>, drain: Rc<Drain>) -> Settings {
    Settings {
        listener: number,
        drain,
        deadlines: listen.deadlines.clone(),
        max_headers: listen.max_headers,
        server_names: listen.server_names.clone(),
        addresses: parts.addresses.clone(),
        tls,
        proxy_protocol: listen.proxy_protocol,
        trusted: parts.config.server.trusted_proxies.clone(),
    }
}

/// What it takes to let connections in by one listener.
#[derive(Debug)]
pub(super) struct Entrance {
    settings: Rc<RefCell<Rc<Settings>>>,
    closing: Rc<Notify>,
    connections: Rc<Connections>,
}

impl Entrance {
    /// Accepts until it is closed, and then whoever has been waiting.
    pub(super) async fn accept<H: Handler>(
        self,
        listener: Rc<Listener>,
        shared: Rc<Shared<H>>,
        limit: ConnectionLimit,
    ) {
        let accepted = |socket, address, permit| {
            let held = OpenConnection::new(&self.connections, &shared.counters, permit);
            let settings = self.settings.borrow().clone();
            spawn_local(connection::serve(shared.clone(), settings, socket, address, held));
        };
        tokio::select! {
            () = listener.accept_all(&limit, &shared.counters, accepted) => {}
            () = self.closing.notified() => {}
        }
        listener.accept_waiting(&limit, &shared.counters, accepted).await;
    }
}

/// The connections of a worker.
#[derive(Debug, Default)]
struct Connections {
    count: Cell<usize>,
    none: Notify,
}

/// One connection, counted while this lives.
struct OpenConnection {
    connections: Rc<Connections>,
    counters: Arc<Counters>,
    _permit: Permit,
}

impl OpenConnection {
    fn new(connections: &Rc<Connections>, counters: &Arc<Counters>, permit: Permit) -> Self {
        connections.count.set(connections.count.get() + 1);
        counters.connections.inc();
        Self { connections: connections.clone(), counters: counters.clone(), _permit: permit }
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.counters.connections.dec();
        if std::thread::panicking() {
            self.counters.panics.inc();
        }
        self.connections.count.set(self.connections.count.get() - 1);
        if self.connections.count.get() == 0 {
            self.connections.none.notify_one();
        }
    }
}
