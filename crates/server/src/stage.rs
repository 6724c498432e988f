//! Tasks that belong together: they end together, and none ends unnoticed.

use std::future::Future;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

/// Tasks that end together.
pub(crate) struct Stage {
    shutdown: watch::Sender<bool>,
    tasks: JoinSet<()>,
    failed: mpsc::Sender<anyhow::Error>,
}

/// Goes with a task, and says so when that ends although nobody wanted it to: a server that takes reports and no longer
/// judges them is worse than none.
struct Guard {
    task: &'static str,
    shutdown: watch::Receiver<bool>,
    failed: mpsc::Sender<anyhow::Error>,
}

impl Stage {
    /// A stage without tasks, which says in `failed` that one of its tasks ended by itself.
    pub(crate) fn new(failed: &mpsc::Sender<anyhow::Error>) -> Self {
        Self {
            shutdown: watch::Sender::new(false),
            tasks: JoinSet::new(),
            failed: failed.clone(),
        }
    }

    /// Runs a task that ends after shutdown only.
    pub(crate) fn spawn<F>(&mut self, name: &'static str, task: impl FnOnce(watch::Receiver<bool>) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let guard = Guard {
            task: name,
            shutdown: self.shutdown.subscribe(),
            failed: self.failed.clone(),
        };
        let task = task(self.shutdown.subscribe());
        self.tasks.spawn(async move {
            let _guard = guard;
            task.await;
        });
    }

    /// Ends all tasks, and drops those that do not end in time.
    pub(crate) async fn end(mut self, patience: Duration) {
        self.shutdown.send_replace(true);
        let all = async { while self.tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(patience, all).await.is_err() {
            tracing::warn!(n_tasks = self.tasks.len(), "tasks did not end in time and are dropped");
        }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        // What it said when it panicked is on stderr. The first reason is enough.
        if std::thread::panicking() {
            let _ = self.failed.try_send(anyhow::anyhow!("{} panicked", self.task));
        } else if !*self.shutdown.borrow() {
            let _ = self.failed.try_send(anyhow::anyhow!("{} ended", self.task));
        }
    }
}

/// Completes when the stage ends.
pub(crate) async fn over(mut shutdown: watch::Receiver<bool>) {
    // Whoever would say so is gone: that is an end as well.
    let _ = shutdown.wait_for(|is_over| *is_over).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_task_that_ends_before_its_time_is_a_failure_of_the_server() {
        async fn panics(mut shutdown: watch::Receiver<bool>, when_stopped: bool) {
            if when_stopped {
                let _ = shutdown.changed().await;
            }
            panic!("as the test wants it");
        }
        async fn ends(mut shutdown: watch::Receiver<bool>, when_stopped: bool) {
            if when_stopped {
                let _ = shutdown.changed().await;
            }
        }
        for (does_panic, when_stopped, expected) in [
            (true, false, Some("judging panicked")),
            (true, true, Some("judging panicked")),
            (false, false, Some("judging ended")),
            (false, true, None),
        ] {
            let (failed, mut failures) = mpsc::channel(1);
            let mut stage = Stage::new(&failed);
            drop(failed);
            if does_panic {
                stage.spawn("judging", |shutdown| panics(shutdown, when_stopped));
            } else {
                stage.spawn("judging", |shutdown| ends(shutdown, when_stopped));
            }
            let said = if when_stopped {
                stage.end(Duration::from_secs(30)).await;
                failures.recv().await
            } else {
                failures.recv().await
            };
            let said = said.map(|error| error.to_string());
            assert_eq!(said.as_deref(), expected, "{does_panic} {when_stopped}");
        }
    }
}
