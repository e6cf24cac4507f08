//! The thread that sends spans, and the way to it.
//!
//! Invariants: the queue is bounded, and what finds no room in it is counted; there is no thread until traces are asked
//! for; the end of the process waits for the collector no longer than [`FLUSH`].

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, timeout};

use super::otlp::Resource;
use super::post::{Collector, PostError};
use super::span::Recorded;
use super::tracer::Tracer;
use crate::config::Traces;

/// How many spans may wait to be sent.
const QUEUED: usize = 8192;

/// The most spans in one request, and how long the first of them waits for others.
const BATCH: usize = 512;
const INTERVAL: Duration = Duration::from_secs(1);

/// How often the thread looks whether a batch is full: it is not woken for every span.
const LOOK: Duration = Duration::from_millis(50);

/// How long the end of the process is held up by what is still to be sent.
const FLUSH: Duration = Duration::from_secs(2);

/// What has become of spans.
#[derive(Debug, Default)]
pub struct Figures {
    sent: AtomicU64,
    dropped: AtomicU64,
}

impl Figures {
    /// Those that the collector has taken.
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// Those that were lost: there was no room for them, or the collector did not take them.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}

/// The way to the thread. A cheap handle; any thread may have one.
#[derive(Debug, Clone)]
pub(super) struct Queue {
    sender: mpsc::Sender<Recorded>,
    figures: Arc<Figures>,
}

impl Queue {
    pub(super) fn put(&self, span: Recorded) {
        if self.sender.try_send(span).is_err() {
            self.figures.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[cfg(test)]
    pub(super) fn nowhere() -> Self {
        Self { sender: mpsc::channel(1).0, figures: Arc::default() }
    }
}

/// The thread, once there is one, and what it is told to do.
#[derive(Debug, Default)]
pub struct Exporter {
    figures: Arc<Figures>,
    running: Option<Running>,
}

#[derive(Debug)]
struct Running {
    queue: Queue,
    orders: watch::Sender<Orders>,
    thread: JoinHandle<()>,
}

/// What the thread is to do.
#[derive(Debug, Clone, Default)]
struct Orders {
    /// Where spans go; none loses them, since nobody wants them any more.
    collector: Option<Arc<Collector>>,
    /// Whether the process ends.
    ends: bool,
}

impl Exporter {
    /// What has become of spans.
    pub fn figures(&self) -> Arc<Figures> {
        self.figures.clone()
    }

    /// Has spans sent where a configuration says from now on, those too that have begun before. Gives what decides of
    /// which requests; none records nothing.
    ///
    /// # Errors
    /// If the system gives no thread or no descriptors. Then nothing is recorded.
    pub fn become_those(&mut self, traces: Option<&Traces>) -> io::Result<Option<Tracer>> {
        let collector = traces.map(|traces| Arc::new(Collector::new(traces)));
        let Some(traces) = traces else {
            self.order(collector);
            return Ok(None);
        };
        if self.running.is_none() {
            self.running = Some(Running::start(self.figures.clone())?);
        }
        self.order(collector);
        Ok(self.running.as_ref().map(|running| Tracer::new(traces.share, running.queue.clone())))
    }

    fn order(&self, collector: Option<Arc<Collector>>) {
        if let Some(Running { orders, .. }) = &self.running {
            orders.send_modify(|orders| orders.collector = collector);
        }
    }

    /// Sends what is there and ends, within two seconds.
    pub fn finish(self) {
        let Some(Running { orders, thread, .. }) = self.running else { return };
        orders.send_modify(|orders| orders.ends = true);
        if thread.join().is_err() {
            tracing::error!("the thread that sends traces panicked");
        }
    }
}

impl Running {
    fn start(figures: Arc<Figures>) -> io::Result<Self> {
        let (sender, spans) = mpsc::channel(QUEUED);
        let (orders, ordered) = watch::channel(Orders::default());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let sending = Sending {
            spans,
            orders: ordered.clone(),
            resource: Resource::new(),
            figures: figures.clone(),
            lost: None,
        };
        let send = move || {
            runtime.block_on(until_the_end(sending, ordered));
            // A name that is looked up cannot be told to stop.
            runtime.shutdown_background();
        };
        let thread = std::thread::Builder::new().name("traces".to_owned()).spawn(send)?;
        Ok(Self { queue: Queue { sender, figures }, orders, thread })
    }
}

async fn until_the_end(sending: Sending, mut orders: watch::Receiver<Orders>) {
    let end = async {
        // The other end is gone only with the process.
        let _ = orders.wait_for(|orders| orders.ends).await;
        sleep(FLUSH).await;
    };
    tokio::select! {
        () = sending.run() => {}
        () = end => tracing::warn!("the collector of traces is too slow: the last spans are lost"),
    }
}

/// What the thread works with.
struct Sending {
    spans: mpsc::Receiver<Recorded>,
    orders: watch::Receiver<Orders>,
    resource: Resource,
    figures: Arc<Figures>,
    /// How many spans were lost since the collector went away.
    lost: Option<u64>,
}

impl Sending {
    async fn run(mut self) {
        let mut batch = Vec::with_capacity(BATCH);
        loop {
            let ends = self.gather(&mut batch).await;
            if !batch.is_empty() {
                self.send(&batch).await;
            }
            if ends && batch.len() < BATCH {
                return;
            }
            batch.clear();
        }
    }

    /// Waits until there is a batch. Says whether the process ends.
    async fn gather(&mut self, batch: &mut Vec<Recorded>) -> bool {
        let Self { spans, orders, .. } = self;
        let ends = async {
            // The other end is gone only with the process.
            let _ = orders.wait_for(|orders| orders.ends).await;
        };
        tokio::pin!(ends);
        tokio::select! {
            biased;
            () = &mut ends => {
                take(spans, batch);
                return true;
            }
            span = spans.recv() => batch.extend(span),
        }
        let full = Instant::now() + INTERVAL;
        loop {
            take(spans, batch);
            if batch.len() >= BATCH || Instant::now() >= full {
                return false;
            }
            if timeout(LOOK, &mut ends).await.is_ok() {
                take(spans, batch);
                return true;
            }
        }
    }

    async fn send(&mut self, batch: &[Recorded]) {
        let Some(collector) = self.orders.borrow().collector.clone() else { return };
        let body = bytes::Bytes::from(self.resource.body(batch));
        let mut outcome = collector.post(body.clone()).await;
        // One that is known to be away is not waited for.
        if let Err(Some(wait)) = outcome.as_ref().map_err(PostError::retry)
            && self.lost.is_none()
        {
            sleep(wait).await;
            outcome = collector.post(body).await;
        }
        let count = batch.len() as u64;
        let lost = match &outcome {
            Ok(rejected) => (*rejected).min(count),
            Err(_) => count,
        };
        self.figures.sent.fetch_add(count - lost, Ordering::Relaxed);
        self.figures.dropped.fetch_add(lost, Ordering::Relaxed);
        match (outcome, self.lost) {
            (Ok(_), None) => {}
            (Ok(_), Some(lost)) => {
                tracing::info!(%collector, lost, "the collector of traces is back");
                self.lost = None;
            }
            (Err(error), None) => {
                tracing::warn!(%collector, %error, "the collector of traces takes nothing; spans are lost until it does");
                self.lost = Some(count);
            }
            (Err(_), Some(before)) => self.lost = Some(before + count),
        }
    }
}

/// Takes what is there, as far as the batch has room.
fn take(spans: &mut mpsc::Receiver<Recorded>, batch: &mut Vec<Recorded>) {
    while batch.len() < BATCH
        && let Ok(span) = spans.try_recv()
    {
        batch.push(span);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::Kind;

    #[test]
    fn what_finds_no_room_is_counted() {
        let figures = Arc::new(Figures::default());
        let (sender, mut spans) = mpsc::channel(2);
        let tracer = Tracer::new(1.0, Queue { sender, figures: figures.clone() });
        let end = || tracer.begin_alone(Kind::Producer).into_iter().for_each(crate::trace::Span::end);
        for _ in 0..5 {
            end();
        }
        assert_eq!((figures.dropped(), spans.len()), (3, 2));
        let mut batch = Vec::new();
        take(&mut spans, &mut batch);
        assert_eq!(batch.len(), 2);
        drop(spans);
        end();
        assert_eq!(figures.dropped(), 4);
    }
}
