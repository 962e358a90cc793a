//! Whether what open alerts tell of is still there: jobs that went away, or ran again under the same name, while this
//! process did not look, and nodes and sources that are no longer ours.

use std::collections::HashSet;
use std::sync::PoisonError;

use jiff::{SignedDuration, Timestamp};
use tracing::info;

use super::Pipeline;
use crate::alert::identity::Alias;
use crate::alert::report::{JobReport, view};
use crate::alert::service::Result;
use crate::alert::{Alert, AlertState};
use crate::detect::{FailureClass, assess};
use crate::estate::JobKey;
use crate::estate::index::RUNAI_SCOPE;
use crate::watch::report;

/// How long after a list is complete what is not in it counts as gone.
const LIST_SETTLES: SignedDuration = SignedDuration::from_secs(30);

impl Pipeline {
    /// Compares the open alerts with what is there: jobs that went away, or ran again under the same name, while this
    /// process did not look.
    pub(super) async fn compare(&mut self, now: Timestamp) -> Result<()> {
        let open = self.alerts.open().await?;
        let mut told_of: HashSet<String> = HashSet::new();
        for alert in open {
            if matches!(alert.class, FailureClass::Node | FailureClass::Source) {
                if self.left_us(&alert, now) {
                    info!(
                        alert.number = alert.number,
                        "what an open alert tells of is no longer there"
                    );
                    let known = self.store.aliases_of_job(&alert.job_id).await?;
                    let key = JobKey {
                        cluster: alert.subject.cluster.clone(),
                        namespace: String::new(),
                        name: alert.subject.name.clone(),
                    };
                    self.work.batch.add(report::removed(&alert, &key, known));
                }
                continue;
            }
            let subject = &alert.subject;
            if !self
                .control
                .admits(subject.project.as_deref(), &subject.namespace, now)
            {
                continue;
            }
            let known: Vec<Alias> = self.store.aliases_of_job(&alert.job_id).await?;
            told_of.extend(known.iter().filter_map(|alias| match alias {
                Alias::Runai(id) => Some(id.clone()),
                Alias::Kubernetes(_) | Alias::Source(_) => None,
            }));
            let mut views = alert.track.failing_views.clone();
            if views.is_empty() {
                views.insert(view(&subject.cluster, &subject.namespace, &subject.name));
            }
            for view in views {
                let Some(key) = report::key_of_view(&view) else {
                    continue;
                };
                if !self.looked_at(&key, &known, now) {
                    continue;
                }
                match self.now_at(&key, &known, now) {
                    There::Same => {}
                    // It took the place of what our own action ended: the alert is its too.
                    There::Other(mut anew) if acted_for(&alert) => {
                        anew.identity.aliases.extend(known.iter().cloned());
                        self.work.batch.add(*anew);
                    }
                    There::Nothing if alert.state == AlertState::Mitigating => {}
                    There::Other(_) | There::Nothing => {
                        info!(
                            alert.number = alert.number,
                            "the job of an open alert is no longer there"
                        );
                        let removed = report::removed(&alert, &key, known.clone());
                        self.work.batch.add(removed);
                    }
                }
            }
        }
        self.work
            .gone_workloads
            .retain(|id| told_of.contains(id.as_str()));
        Ok(())
    }

    /// What is in the place of a job that is known by these names.
    fn now_at(&self, key: &JobKey, known: &[Alias], now: Timestamp) -> There {
        let estate = self.estate.read().unwrap_or_else(PoisonError::into_inner);
        let Some(job) = estate.job(key) else {
            return There::Nothing;
        };
        let aliases: Vec<Alias> = job.aliases().into_iter().map(Alias::from).collect();
        if aliases.is_empty() || aliases.iter().any(|alias| known.contains(alias)) {
            return There::Same;
        }
        let judged = assess(job, &estate, &self.thresholds, now);
        There::Other(Box::new(report::of_job(job, judged.symptoms)))
    }

    /// Whether the node or source of an alert is known to be there no more: the node was removed, or the source is no
    /// longer configured.
    fn left_us(&self, alert: &Alert, now: Timestamp) -> bool {
        let subject = &alert.subject;
        if alert.class == FailureClass::Source {
            let known = self.sources.statuses(now);
            // A source under another (`runai/prod`) is heard of only after that one was.
            let settled = known
                .iter()
                .all(|status| status.state.last_success.is_some());
            return settled
                && !known
                    .iter()
                    .any(|status| status.state.source == subject.name);
        }
        self.settled(&format!("nodes@{}", subject.cluster), now)
            && self
                .estate
                .read()
                .unwrap_or_else(PoisonError::into_inner)
                .node(&subject.cluster, &subject.name)
                .is_none()
    }

    /// Whether a list was complete a while ago.
    fn settled(&self, scope: &str, now: Timestamp) -> bool {
        self.work
            .lists
            .get(scope)
            .is_some_and(|done| now.duration_since(*done) >= LIST_SETTLES)
    }

    /// Whether the sources that know a job by `aliases` have listed everything they have, a while ago.
    fn looked_at(&self, key: &JobKey, aliases: &[Alias], now: Timestamp) -> bool {
        !aliases.is_empty()
            && aliases.iter().all(|alias| match alias {
                Alias::Runai(_) if self.counts_all => self.settled(RUNAI_SCOPE, now),
                Alias::Runai(id) => self.work.gone_workloads.contains(id),
                Alias::Kubernetes(_) => self.settled(&format!("pods@{}", key.cluster), now),
                Alias::Source(_) => false,
            })
    }
}

/// What is found where a job was.
enum There {
    Same,
    /// Another run, and what it shows.
    Other(Box<JobReport>),
    Nothing,
}

/// Whether an action of ours is or was carried out for the alert.
fn acted_for(alert: &Alert) -> bool {
    alert.state == AlertState::Mitigating || alert.track.acted.is_some()
}
