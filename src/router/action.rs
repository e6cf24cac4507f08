//! What a route leads to, ready for use.
//!
//! Invariant: it is made of the route's own configuration and of nothing that changes with another one, but for those that
//! publish; so a route that did not change keeps its action.

use std::rc::Rc;

use super::proxied::Proxied;
use crate::compress::Room;
use crate::config::{Action, HeaderRules, ProxyRoute, Route};
use crate::files::Files;
use crate::publish::{self, Publisher};
use crate::stream::StreamSettings;

/// A route's action, ready for use.
#[derive(Debug)]
pub(super) enum Do {
    Proxy(Box<Proxied>),
    /// The files, and what is done with a request for none of them.
    Files(Box<Files>, Option<Box<Do>>),
    Stream(Rc<StreamSettings>),
    Publish(Box<publish::route::Route>),
}

impl Do {
    pub(super) fn new(place: usize, route: &Route, publisher: &Publisher, room: &Room) -> Self {
        let proxied = |to: &ProxyRoute| Self::Proxy(Box::new(Proxied::new(to, room)));
        match &route.action {
            Action::Proxy(to) => proxied(to),
            Action::Files(files) => {
                let otherwise = files.try_upstream.as_ref().map(|to| Box::new(proxied(to)));
                Self::Files(Box::new(Files::new(&route.path, files)), otherwise)
            }
            Action::Stream(stream) => Self::Stream(Rc::new(StreamSettings::new(route.name(), stream))),
            Action::Publish(route) => {
                Self::Publish(Box::new(publish::route::Route::new(route, publisher.clone(), place)))
            }
        }
    }

    /// What the route changes in answers.
    pub(super) fn rules(&self) -> Option<&HeaderRules> {
        match self {
            Self::Proxy(proxied) => Some(proxied.rules()),
            Self::Files(_, Some(otherwise)) => otherwise.rules(),
            _ => None,
        }
    }
}
