//! Every long-lived task has a name and one owner. A task that ends early is a fault: the rest are stopped, and the
//! process ends with an error so that Kubernetes starts it again.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use tokio::task::{self, JoinSet};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

/// Time for what is in hand after a stop was asked for; below the 30 s that Kubernetes gives a pod.
pub const GRACE: Duration = Duration::from_secs(20);

#[derive(Debug, thiserror::Error)]
pub enum TaskError {
    #[error("task {name} ended though nobody asked it to")]
    EndedEarly { name: &'static str },
    #[error("task {name} failed")]
    Failed {
        name: &'static str,
        #[source]
        source: anyhow::Error,
    },
    #[error("task {name} panicked")]
    Panicked { name: &'static str },
}

/// Completes when the program is asked to stop. Boxed, so that the whole program is compiled once, here, not anew for
/// each kind of future a caller has.
pub type Stop = Pin<Box<dyn Future<Output = ()> + Send>>;

/// The name of a task and how it ended.
type Outcome = (&'static str, Result<(), anyhow::Error>);

/// Owns the tasks and the token that stops them.
#[derive(Debug, Default)]
pub struct Supervisor {
    tasks: JoinSet<Outcome>,
    names: std::collections::HashMap<task::Id, &'static str>,
    shutdown: CancellationToken,
}

impl Supervisor {
    pub fn new() -> Self {
        Self::default()
    }

    /// The token that tasks watch to know when to end.
    pub fn shutdown(&self) -> CancellationToken {
        self.shutdown.clone()
    }

    /// Starts a named task. It runs until the shutdown token is cancelled; ending before is a fault.
    pub fn spawn<F>(&mut self, name: &'static str, task: F)
    where
        F: Future<Output = Result<(), anyhow::Error>> + Send + 'static,
    {
        self.spawn_boxed(name, Box::pin(task));
    }

    fn spawn_boxed(
        &mut self,
        name: &'static str,
        task: Pin<Box<dyn Future<Output = Result<(), anyhow::Error>> + Send>>,
    ) {
        let handle = self.tasks.spawn(async move { (name, task.await) });
        self.names.insert(handle.id(), name);
    }

    /// Waits until `stop` completes or a task ends, then stops the rest and waits for them, at most [`GRACE`].
    ///
    /// # Errors
    /// When a task ended though it was not asked to.
    pub async fn run(mut self, stop: Stop) -> Result<(), TaskError> {
        let outcome = tokio::select! {
            () = stop => {
                info!("stopping");
                Ok(())
            }
            Some(ended) = self.tasks.join_next_with_id() => Err(self.fault(ended)),
        };
        if let Err(fault) = &outcome {
            error!(error = %chain(fault), "a task ended; stopping the others");
        }
        self.shutdown.cancel();
        let drained = tokio::time::timeout(GRACE, async {
            while let Some(ended) = self.tasks.join_next_with_id().await {
                match ended {
                    Ok((_, (_, Ok(())))) => {}
                    Ok((_, (name, Err(error)))) => warn!(
                        task = name,
                        error = format!("{error:#}"),
                        "ended with an error while stopping"
                    ),
                    Err(error) if error.is_cancelled() => {}
                    Err(error) => {
                        let name = self.names.get(&error.id()).copied().unwrap_or("unknown");
                        error!(task = name, "panicked while stopping");
                    }
                }
            }
        })
        .await;
        if drained.is_err() {
            warn!(
                grace_s = GRACE.as_secs(),
                "tasks still run after the grace period; they are dropped"
            );
        }
        outcome
    }

    fn fault(&self, ended: Result<(task::Id, Outcome), task::JoinError>) -> TaskError {
        match ended {
            Ok((_, (name, Ok(())))) => TaskError::EndedEarly { name },
            Ok((_, (name, Err(source)))) => TaskError::Failed { name, source },
            Err(error) => TaskError::Panicked {
                name: self.names.get(&error.id()).copied().unwrap_or("unknown"),
            },
        }
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        text.push_str(": ");
        text.push_str(&source.to_string());
        next = source.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_task_that_ends_early_stops_the_others_and_is_named() {
        let mut supervisor = Supervisor::new();
        let shutdown = supervisor.shutdown();
        let (stopped, was_stopped) = tokio::sync::oneshot::channel();
        supervisor.spawn("poller", async { Ok(()) });
        supervisor.spawn("worker", async move {
            shutdown.cancelled().await;
            stopped.send(()).ok();
            Ok(())
        });
        let outcome = supervisor.run(Box::pin(std::future::pending())).await;
        assert!(matches!(
            outcome,
            Err(TaskError::EndedEarly { name: "poller" })
        ));
        assert!(
            was_stopped.await.is_ok(),
            "the other task was asked to stop"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_panic_is_a_fault_too() {
        let mut supervisor = Supervisor::new();
        supervisor.spawn("fragile", async { panic!("a bug") });
        let outcome = supervisor.run(Box::pin(std::future::pending())).await;
        assert!(matches!(
            outcome,
            Err(TaskError::Panicked { name: "fragile" })
        ));
    }

    #[tokio::test(start_paused = true)]
    async fn a_task_that_will_not_stop_is_given_up_after_the_grace_period() {
        let mut supervisor = Supervisor::new();
        supervisor.spawn("stubborn", std::future::pending());
        let began = tokio::time::Instant::now();
        let outcome = supervisor.run(Box::pin(std::future::ready(()))).await;
        assert!(outcome.is_ok());
        assert_eq!(began.elapsed(), GRACE);
    }
}
