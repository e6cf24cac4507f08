//! The account of a request: what is counted of it and written down of it when all of it is over.
//!
//! Invariants: every request is counted once, under the route that it reached, also when its client goes away or a mistake
//! of ours ends it; and the clock is read at its end alone: when it begins and when an app has answered are times of polls.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use http::header::HeaderMap;
use tokio::time::Instant;

use super::body::RequestLog;
use super::traced::{App, Traced};
use crate::clock;
use crate::config::{Config, Route};
use crate::metrics::{Class, Counters, RouteCells, RouteLabel, UpstreamCells};
use crate::proxy::{Answer, ProxyError};
use crate::trace::Span;

/// Where the requests of a route are counted.
#[derive(Debug, Default)]
pub(super) struct Meter {
    cells: Arc<RouteCells>,
    upstream: Option<Arc<UpstreamCells>>,
    /// What spans say of the route: its path, and the app behind it.
    path: String,
    app: Option<App>,
}

impl Meter {
    /// Of a route.
    pub(super) fn of(route: &Route, config: &Config, counters: &Counters) -> Rc<Self> {
        let label = config.label_of(route);
        let upstream = route.upstream().map(|_| counters.upstreams.of(label.upstream.clone()));
        let app = route.upstream().and_then(|place| config.upstreams.get(place)).map(App::of);
        Rc::new(Self { cells: counters.routes.of(label), upstream, path: route.path.clone(), app })
    }

    /// Of what reaches no route.
    pub(super) fn of_none(counters: &Counters) -> Rc<Self> {
        Rc::new(Self { cells: counters.routes.of(RouteLabel::default()), ..Self::default() })
    }
}

/// A request, from its head to the end of its answer.
#[derive(Debug)]
pub(super) struct Account {
    /// None until it is known which route it reaches, and for a stream, which is counted elsewhere once it is open.
    meter: Option<Rc<Meter>>,
    begun: Instant,
    /// 0 while there is no answer.
    status: u16,
    /// Of the body of its answer.
    bytes: u64,
    /// What is written down or recorded, if anything is.
    pub(super) log: Option<Box<RequestLog>>,
}

impl Account {
    pub(super) fn open(log: Option<Box<RequestLog>>) -> Self {
        Self { meter: None, begun: clock::now(), status: 0, bytes: 0, log }
    }

    /// It has reached a route, or none. To be said once, before anything is waited for.
    pub(super) fn reached(&mut self, meter: &Rc<Meter>) {
        meter.cells.active.inc();
        self.meter = Some(meter.clone());
    }

    /// Its span, if it is recorded.
    pub(super) fn span(&self) -> Option<&Span> {
        self.log.as_ref().and_then(|log| log.traced.as_deref()).map(Traced::span)
    }

    fn traced(&mut self) -> Option<&mut Traced> {
        self.log.as_mut().and_then(|log| log.traced.as_deref_mut())
    }

    /// The app is going to be asked, with these fields.
    pub(super) fn asks(&mut self, fields: &mut HeaderMap) {
        let Self { meter, log: Some(log), .. } = self else { return };
        if let Some(traced) = &mut log.traced {
            traced.asks(meter.as_ref().and_then(|meter| meter.app.as_ref()), fields);
        }
    }

    /// The app has answered, or has not.
    pub(super) fn heard(&mut self, answer: &Result<Answer, ProxyError>) {
        if answer.is_ok()
            && let Some(upstream) = self.meter.as_ref().and_then(|meter| meter.upstream.as_ref())
        {
            upstream.first_byte.note(clock::now() - self.begun);
        }
        if let Some(traced) = self.traced() {
            traced.heard(answer);
        }
    }

    /// It is answered with this status.
    pub(super) fn answered(&mut self, status: u16) {
        self.status = status;
    }

    /// It is refused, for the reason that this word is for.
    #[must_use]
    pub(super) fn because(mut self, refused: Option<&'static str>) -> Self {
        if let Some(log) = &mut self.log {
            log.refused = refused;
            if let Some(traced) = &mut log.traced {
                traced.because(refused);
            }
        }
        self
    }

    /// So many bytes of its answer have been taken.
    pub(super) fn took(&mut self, bytes: u64) {
        self.bytes += bytes;
    }

    /// It has become a stream, which has lines and numbers of its own.
    pub(super) fn leave(mut self) {
        let traced = self.log.take().and_then(|log| log.traced);
        if let Some(meter) = self.meter.take() {
            meter.cells.active.dec();
            meter.cells.count(Class::Status(200));
            if let Some(traced) = traced {
                traced.end(&meter.path, 200, None);
            }
        }
    }

    /// Its answer breaks off.
    pub(super) fn breaks(&mut self) {
        if let Some(traced) = self.traced() {
            traced.breaks();
        }
    }

    fn close(&mut self, time: Duration) {
        if self.status == 0 && std::thread::panicking() {
            // Whoever catches it says this to the client.
            self.status = 500;
            if let Some(log) = &mut self.log {
                log.panicked();
            }
        }
        let meter = self.meter.take();
        if let Some(Meter { cells, .. }) = meter.as_deref() {
            cells.active.dec();
            cells.count(if self.status == 0 { Class::Aborted } else { Class::Status(self.status) });
            cells.time.note(time);
            cells.answered.add(self.bytes);
        }
        if let Some(log) = self.log.take() {
            let route = meter.as_ref().map_or("", |meter| &meter.path);
            log.write(route, self.status, self.bytes, time);
        }
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        if self.meter.is_some() || self.log.is_some() {
            self.close(self.begun.elapsed());
        }
    }
}
