//! The way a process ends: running, then draining, then stopped. One direction only.

use tokio::sync::watch;

/// Where the process is on its way out. Later stages compare greater.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// Serving.
    Running,
    /// Accepting nothing new; letting requests finish and ending streams.
    Draining,
    /// Ending now, whatever is open.
    Stopped,
}

/// Makes the two ends. Dropping the trigger changes nothing: what runs, runs on.
pub fn channel() -> (Trigger, Signal) {
    let (sender, receiver) = watch::channel(Stage::Running);
    (Trigger(sender), Signal(receiver))
}

/// The end that says so.
#[derive(Debug, Clone)]
pub struct Trigger(watch::Sender<Stage>);

impl Trigger {
    /// Begins the graceful end. Does nothing if that has begun.
    pub fn drain(&self) {
        self.advance(Stage::Draining);
    }

    /// Ends at once.
    pub fn stop(&self) {
        self.advance(Stage::Stopped);
    }

    fn advance(&self, stage: Stage) {
        self.0.send_if_modified(|current| {
            let later = stage > *current;
            if later {
                *current = stage;
            }
            later
        });
    }
}

/// The end that everything that runs listens to.
#[derive(Debug, Clone)]
pub struct Signal(watch::Receiver<Stage>);

impl Signal {
    /// The stage now.
    pub fn stage(&self) -> Stage {
        *self.0.borrow()
    }

    /// Waits until `stage` or a later one is reached; forever if the trigger is gone before.
    pub async fn reached(&mut self, stage: Stage) {
        if self.0.wait_for(|current| *current >= stage).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn stages_go_one_way() {
        let (trigger, mut signal) = channel();
        assert_eq!(signal.stage(), Stage::Running);
        trigger.stop();
        trigger.drain();
        assert_eq!(signal.stage(), Stage::Stopped);
        signal.reached(Stage::Draining).await;
    }
}
