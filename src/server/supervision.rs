//! What the service manager is told while the server runs.
//!
//! Invariant: it hears that the process is alive only after the control thread and every worker have shown it since it last
//! heard so.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::{MissedTickBehavior, interval};

use crate::metrics::{Counters, Totals};
use crate::shutdown::{Signal, Stage};
use crate::systemd::Notifier;

/// How often it is looked whether there is something new to say.
const LOOK: Duration = Duration::from_secs(2);

type Question = mpsc::Sender<()>;

/// The server as the service manager sees it.
#[derive(Debug)]
pub(super) struct Supervision {
    notifier: Notifier,
    watchdog: Option<Duration>,
    workers: Vec<mpsc::UnboundedSender<Question>>,
}

impl Supervision {
    pub(super) fn new(notifier: Notifier, watchdog: Option<Duration>) -> Self {
        Self { notifier, watchdog, workers: Vec::new() }
    }

    pub(super) fn notifier(&self) -> Notifier {
        self.notifier.clone()
    }

    /// What one more worker is asked by.
    pub(super) fn worker(&mut self) -> mpsc::UnboundedReceiver<Question> {
        let (questions, asked) = mpsc::unbounded_channel();
        self.workers.push(questions);
        asked
    }

    /// Tells what there is to tell, without end. `main` ends when every worker accepts connections and this is the process
    /// of which the service manager is to hear.
    pub(super) async fn run(self, main: oneshot::Receiver<()>, counters: Vec<Arc<Counters>>, signal: Signal) {
        let Self { notifier, watchdog, workers } = self;
        if !notifier.is_there() {
            return;
        }
        // Nobody sends.
        let _ = main.await;
        if signal.stage() == Stage::Running {
            notifier.ready();
        }
        let stopping = {
            let (notifier, mut signal) = (notifier.clone(), signal.clone());
            async move {
                signal.reached(Stage::Draining).await;
                notifier.stopping();
            }
        };
        let living = async {
            if let Some(within) = watchdog {
                live(&notifier, within / 2, &workers, &signal).await;
            }
        };
        tokio::join!(stopping, living, show(&notifier, &counters, signal.clone()));
    }
}

/// Says how many streams there are, whenever that has changed.
async fn show(notifier: &Notifier, counters: &[Arc<Counters>], mut signal: Signal) {
    let mut ticks = interval(LOOK);
    let mut said = String::new();
    loop {
        let streams = Totals::of(counters).streams;
        let is_running = signal.stage() == Stage::Running;
        let line = format!("{}{streams} streams", if is_running { "" } else { "draining: " });
        if line != said {
            notifier.status(&line);
            said = line;
        }
        tokio::select! {
            _ = ticks.tick() => {}
            () = signal.reached(Stage::Draining), if is_running => {}
        }
    }
}

/// Says every so often that the process is alive, if it is.
async fn live(
    notifier: &Notifier,
    every: Duration,
    workers: &[mpsc::UnboundedSender<Question>],
    signal: &Signal,
) {
    let mut ticks = interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let (question, mut answers) = mpsc::channel(workers.len().max(1));
        let asked = workers.iter().filter(|worker| worker.send(question.clone()).is_ok()).count();
        drop(question);
        let mut answered = 0;
        // As long as one owes its answer, nothing is said, and the service manager acts.
        while answers.recv().await.is_some() {
            answered += 1;
        }
        // Those that have drained are gone, and need not answer any more.
        if answered == workers.len() || signal.stage() > Stage::Running && answered == asked {
            notifier.alive();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixDatagram;

    use super::*;
    use crate::shutdown;

    #[tokio::test]
    async fn it_is_alive_while_every_worker_answers() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let manager = UnixDatagram::bind(&path).unwrap();
        manager.set_nonblocking(true).unwrap();
        let notifier = Notifier::connect(path.as_os_str()).unwrap();
        let (_trigger, signal) = shutdown::channel();
        let (one, mut asked_one) = mpsc::unbounded_channel::<Question>();
        let (other, mut asked_other) = mpsc::unbounded_channel::<Question>();
        let workers = [one, other];
        let mut heard = [0; 64];
        let mut hears = || manager.recv(&mut heard).map(|length| heard[..length].to_vec()).ok();

        tokio::select! {
            () = live(&notifier, Duration::from_millis(1), &workers, &signal) => unreachable!(),
            () = async {
                for _ in 0..3 {
                    asked_one.recv().await.unwrap().try_send(()).unwrap();
                    let late = asked_other.recv().await.unwrap();
                    // The one that has not answered yet keeps it from being said, however often others get their turn.
                    for _ in 0..100 {
                        tokio::task::yield_now().await;
                    }
                    assert_eq!(hears(), None);
                    late.try_send(()).unwrap();
                    drop(late);
                    // It asks again only after it has said so.
                    while asked_one.is_empty() {
                        tokio::time::sleep(Duration::from_millis(1)).await;
                    }
                    assert_eq!(hears().as_deref(), Some(&b"WATCHDOG=1"[..]));
                }
                // One that is gone has not answered either.
                drop((asked_one.recv().await, asked_other.recv().await));
                asked_other.close();
                for _ in 0..3 {
                    asked_one.recv().await.unwrap().try_send(()).unwrap();
                }
                assert_eq!(hears(), None);
            } => {}
        }
    }
}
