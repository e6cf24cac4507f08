//! Sources: publications of apps that speak Redis and know nothing of Sidestream.
//!
//! Each `[[source]]` is read by a task of its own on a thread that does nothing else, so that neither a flood of messages nor
//! a Redis that hangs touches requests, streams or the publish socket: on the control thread, a batch of 256 messages would
//! hold publishers up for a hundred times as long as one of them takes. Invariants: nothing of a Redis is told done
//! (acknowledged, noted as published) before the hub has kept it; every queue has a bound, and what goes over it is
//! counted and said; a content, a password or a token never reaches the log.

mod channel;
mod feed;
mod group;
mod lease;
mod link;
mod lists;

use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};

use tokio::sync::oneshot;
use tokio::task::{LocalSet, spawn_local};

use crate::config;
use crate::hub::{Hub, Watch};
use crate::metrics::Counters;
use crate::publish::{Intake, Publisher};
use crate::shutdown::{Signal, Stage};

use channel::Channel;
use feed::Feed;
use group::Group;
use link::Link;
use lists::Lists;

pub use link::{Unreachable, check};

/// How the names of nodes begin.
const NODE: &str = "node-";

/// The thread that reads sources.
#[derive(Debug)]
pub struct Sources {
    thread: JoinHandle<()>,
    /// Dropped to end it.
    running: oneshot::Sender<()>,
}

impl Sources {
    /// Begins to read the sources of a configuration, and goes on until the signal says that the process drains. None if
    /// there is nothing to read. The counters are this thread's own.
    ///
    /// # Errors
    /// If there can be no thread, or no random name for this node.
    pub fn start(
        sources: &[config::Source],
        (hub, publisher): (&Hub, &Publisher),
        counters: &Arc<Counters>,
        mut signal: Signal,
    ) -> io::Result<Option<Self>> {
        if sources.is_empty() {
            return Ok(None);
        }
        let node = node()?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (sources, hub, publisher) = (sources.to_vec(), hub.clone(), publisher.clone());
        let counters = counters.clone();
        // Before there are streams, so that none is missed.
        watchers(&sources, &hub);
        let (running, ended) = oneshot::channel();
        let thread = Builder::new().name("sources".to_owned()).spawn(move || {
            let ending = async move {
                tokio::select! {
                    () = signal.reached(Stage::Draining) => {}
                    _ = ended => {}
                }
            };
            LocalSet::new().block_on(&runtime, run(sources, (&hub, &publisher), &counters, &node, ending));
        })?;
        Ok(Some(Self { thread, running }))
    }

    /// Ends it and waits for that, which takes no longer than a source may take to leave.
    pub fn finish(self) {
        drop(self.running);
        if self.thread.join().is_err() {
            tracing::error!("the thread that reads sources panicked");
        }
    }
}

async fn run(
    sources: Vec<config::Source>,
    (hub, publisher): (&Hub, &Publisher),
    counters: &Arc<Counters>,
    node: &str,
    ending: impl Future<Output = ()>,
) {
    let (drain, draining) = tokio::sync::watch::channel(());
    let mut watchers = watchers(&sources, hub).iter().cloned();
    let tasks: Vec<_> = sources
        .into_iter()
        .map(|source| {
            let config::Source { redis, prefix, map, kind } = source;
            let label: Rc<str> = label(&kind).into();
            let feed = Feed::new(Intake::new(publisher.clone(), map), counters.clone(), label.clone());
            let link = Link::new(redis, label);
            let mut draining = draining.clone();
            // An error is that the other end is gone, which says the same.
            let ending = async move { draining.changed().await.unwrap_or(()) };
            match kind {
                config::SourceKind::Channel { name, lease } => {
                    let source = Channel::new(link, feed, &prefix, name, (node, lease));
                    spawn_local(source.run(ending))
                }
                config::SourceKind::Lists { key, read, every, configure } => {
                    let settings = lists::Settings { key, read, every, configure };
                    // There is one for each source of this kind.
                    let watch = watchers.next().unwrap_or_default();
                    let source = Lists::new(link, feed, (hub.clone(), watch), (prefix, node), settings);
                    spawn_local(source.run(ending))
                }
                config::SourceKind::Stream { key, group } => {
                    spawn_local(Group::new(link, feed, (key, group), node).run(ending))
                }
            }
        })
        .collect();
    ending.await;
    drop(drain);
    for task in tasks {
        if task.await.is_err() {
            tracing::error!("a source panicked");
        }
    }
}

/// One for each source that asks which users are there.
fn watchers<'h>(sources: &[config::Source], hub: &'h Hub) -> &'h [Arc<Watch>] {
    let is_of_users = |source: &&config::Source| matches!(source.kind, config::SourceKind::Lists { .. });
    match sources.iter().filter(is_of_users).count() {
        0 => &[],
        count => hub.watch(count),
    }
}

/// What a source is called in the log.
pub fn label(kind: &config::SourceKind) -> String {
    match kind {
        config::SourceKind::Channel { name, .. } => format!("channel {name}"),
        config::SourceKind::Lists { key, .. } => format!("lists {}", key.of("{user}")),
        config::SourceKind::Stream { key, .. } => format!("stream {key}"),
    }
}

/// A name that no other node has, nor this one when it is started again.
fn node() -> io::Result<String> {
    let mut bits = [0; 8];
    aws_lc_rs::rand::fill(&mut bits).map_err(|_| io::Error::other("the system gives no random bytes"))?;
    Ok(format!("{NODE}{:016x}", u64::from_ne_bytes(bits)))
}
