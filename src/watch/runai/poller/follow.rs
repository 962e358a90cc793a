//! What became of workloads that the lists do not show: each is asked for by its id.

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use jiff::Timestamp;
use tracing::debug;

use super::{Found, Halt, Poller};
use crate::watch::Observation;
use crate::watch::runai::RunaiError;
use crate::watch::runai::sweep::FAILING;

/// A workload that could not be looked up is gone after this many full sweeps without it.
const SWEEPS_TO_GONE: u32 = 2;

/// Tells the ids of the workloads that open alerts tell of. While only failing workloads are listed, a workload that
/// does not fail any more is in no list: whether it recovered, finished or was deleted, it is asked for itself.
#[derive(Clone)]
pub struct Followed(Arc<AskIds>);

/// An error is a sentence for people.
type AskIds = dyn Fn() -> BoxFuture<'static, Result<Vec<String>, String>> + Send + Sync;

impl Followed {
    pub fn new(
        ask: impl Fn() -> BoxFuture<'static, Result<Vec<String>, String>> + Send + Sync + 'static,
    ) -> Self {
        Self(Arc::new(ask))
    }
}

impl fmt::Debug for Followed {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Followed")
    }
}

impl Poller {
    /// Learns which workloads are looked at though they do not fail.
    pub(super) async fn follow(&mut self) {
        let Some(Followed(ask)) = &self.settings.followed else {
            self.followed = Some(HashSet::new());
            return;
        };
        if !self.settings.only_failed {
            return;
        }
        self.followed = match ask().await {
            Ok(ids) => Some(ids.into_iter().collect()),
            Err(error) => {
                debug!(error, "cannot tell which workloads are alerted of");
                None
            }
        };
    }

    /// Finds out what became of workloads that a full sweep no longer shows, of `most` of them. Offsets shift when rows
    /// go, so that not being listed proves nothing.
    pub(super) async fn look_up_missing(&mut self, most: usize) -> Result<(), Halt> {
        let only_failed = self.settings.only_failed;
        let unknown = self.followed.iter().flatten().filter(|_| only_failed);
        let mut missing: Vec<String> = unknown
            .filter(|id| !self.known.holds(id))
            .cloned()
            .collect();
        missing.sort_unstable();
        missing.extend(self.known.missing());
        for (nth, id) in missing.into_iter().enumerate() {
            let looked_up = if nth < most {
                Some(self.client.workload(&id).await)
            } else {
                None
            };
            let gone = match looked_up {
                Some(Ok(detail)) if detail.deleted.is_none() => {
                    // With `only_failed` it left the list by not failing any more: told, and let go once no alert
                    // tells of it.
                    let let_go = only_failed
                        && !FAILING.contains(&detail.workload.phase)
                        && self.followed.as_ref().is_some_and(|ids| !ids.contains(&id));
                    self.offer(detail.workload, Timestamp::now(), &mut Found::default())
                        .await?;
                    if let_go {
                        self.known.forget(&id);
                        self.tell(Observation::WorkloadLetGo { id: id.clone() })
                            .await?;
                    }
                    false
                }
                Some(Ok(_) | Err(RunaiError::NotFound)) => true,
                // It is there, in a shape that cannot be read; or its id is none.
                Some(Err(RunaiError::Malformed { .. } | RunaiError::InvalidArgument(_))) => false,
                Some(Err(error @ (RunaiError::Unauthorized | RunaiError::RateLimited { .. }))) => {
                    return Err(error.into());
                }
                // What is not told now, the end of the list would drop.
                Some(Err(error)) if !self.listed => return Err(error.into()),
                Some(Err(_)) | None => {
                    self.known.missed(&id) >= SWEEPS_TO_GONE && !self.settings.only_failed
                }
            };
            if gone {
                self.known.forget(&id);
                self.tell(Observation::WorkloadGone { id }).await?;
            }
        }
        Ok(())
    }
}
