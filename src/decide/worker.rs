//! From a new alert to a diagnosis and, where something safe may help, a question to people.

use std::sync::{Arc, PoisonError, RwLockReadGuard};

use jiff::{SignedDuration, Timestamp};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, info, info_span, warn};

use super::ledger;
use super::{Known, Proposal, proposal, service_of};
use crate::alert::effects::DiagnoseRequest;
use crate::alert::lifecycle::{Event, Note, root_cause};
use crate::alert::service::{AlertError, Alerts};
use crate::alert::{Alert, AlertState};
use crate::diagnose::collect::Collector;
use crate::diagnose::knowledge::Knowledge;
use crate::diagnose::{Diagnosis, Verdict, analyze};
use crate::estate::index::{Estate, Job};
use crate::estate::{JobKey, SharedEstate};
use crate::notify::worker::{Again, Handled, back_off, work};
use crate::safety::{Proposed, Safety};
use crate::store::{Effect, EffectKind, Store, StoreError};
use crate::telemetry::DECISIONS;

/// So long after a start a diagnosis waits for what the sources list: what is read by halves gives a wrong one, and a
/// source that never lists must not hold it up for ever.
const LISTS_AWAITED: SignedDuration = SignedDuration::from_secs(30);
/// How soon it looks again whether they did.
const LISTS_PAUSE: SignedDuration = SignedDuration::from_millis(500);

/// The worker for `Diagnose` effects.
#[derive(Clone)]
pub struct Diagnoser {
    pub store: Store,
    pub alerts: Alerts,
    pub safety: Safety,
    pub collector: Collector,
    pub knowledge: Arc<Knowledge>,
    pub estate: SharedEstate,
    /// Names this process in claims.
    pub owner: String,
    /// When this process began to read the estate.
    pub started: Timestamp,
}

/// Why a diagnosis could not be brought to its end for now.
#[derive(Debug, thiserror::Error)]
enum Fault {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Alert(#[from] AlertError),
}

impl Diagnoser {
    /// Works until `stop`.
    pub async fn run(&self, stop: CancellationToken) {
        work(
            &self.store,
            EffectKind::Diagnose,
            &self.owner,
            &stop,
            |effect| self.carry_out(effect),
        )
        .await;
    }

    async fn carry_out(&self, effect: Effect) -> Handled {
        let request: DiagnoseRequest = match effect.payload() {
            Ok(request) => request,
            Err(error) => {
                // A later version wrote it; the alert stays, and can be troubleshot again.
                warn!(effect.id = %effect.id, %error, "cannot read a request for a diagnosis; it is dropped");
                return self.finish(&effect).await;
            }
        };
        let now = Timestamp::now();
        if now.duration_since(self.started) < LISTS_AWAITED
            && self.estate().is_being_read(&request.job.cluster)
        {
            let at = now.saturating_add(LISTS_PAUSE).unwrap_or(now);
            return Err(Again::waits(at, "the estate is still being read"));
        }
        let span = info_span!("diagnose", alert.id = %request.alert_id);
        let told = async {
            match self.diagnose(&request).await {
                Ok(()) | Err(Fault::Alert(AlertError::NotFound(_))) => Ok(()),
                Err(fault) => {
                    let at = back_off(effect.failures + 1, Timestamp::now());
                    Err(Again::failed(at, fault.to_string()))
                }
            }
        }
        .instrument(span)
        .await;
        told?;
        self.finish(&effect).await
    }

    async fn finish(&self, effect: &Effect) -> Handled {
        let now = Timestamp::now();
        self.store
            .finish_effect(effect, &self.owner, now)
            .await
            .map_err(|fault| Again::failed(back_off(effect.failures + 1, now), fault.to_string()))
    }

    async fn diagnose(&self, request: &DiagnoseRequest) -> Result<(), Fault> {
        let alert = self.alerts.get(&request.alert_id).await?;
        if alert.state == AlertState::Resolved {
            if request.asked {
                self.alerts.report_again(&alert, Timestamp::now()).await?;
            }
            return Ok(());
        }
        let evidence = self.collector.collect(&request.job, Timestamp::now()).await;
        let knowledge = Arc::clone(&self.knowledge);
        // A gang's logs are megabytes of matching: not on a thread that answers Slack.
        let diagnosed = tokio::task::spawn_blocking(move || analyze(&evidence, &knowledge)).await;
        let Ok(diagnosis) = diagnosed else {
            warn!("the analysis panicked; the alert stays without a diagnosis");
            return Ok(());
        };
        let now = Timestamp::now();
        // Another cause is told in the thread by the alert itself.
        let before = alert.diagnosis;
        let alert = self
            .alerts
            .attach_diagnosis(&alert.id, diagnosis.clone(), now)
            .await?;
        if request.asked
            && diagnosis.state != Verdict::Failing
            && alert.diagnosis.as_ref() != Some(&diagnosis)
        {
            let text =
                "Looked again: nothing is wrong with it now. The cause that was found is kept.";
            let text = text.to_owned();
            self.alerts
                .tell(&alert, &Note::Action { text }, now)
                .await?;
            return Ok(());
        }
        let still_fails = diagnosis.state == Verdict::Failing;
        // An earlier one that tells more is kept.
        let diagnosis = alert.diagnosis.clone().unwrap_or(diagnosis);
        let nothing_new = before
            .as_ref()
            .is_some_and(|known| root_cause(known) == root_cause(&diagnosis));
        info!(
            alert.number = alert.number,
            cause = diagnosis
                .findings
                .first()
                .map_or("none", |finding| finding.cause.as_str()),
            "diagnosed {}",
            alert.subject.name
        );
        if request.asked && nothing_new {
            self.alerts.report_again(&alert, now).await?;
        }
        if !still_fails {
            return Ok(());
        }
        self.propose(&alert, &diagnosis, &request.job).await
    }

    async fn propose(
        &self,
        alert: &Alert,
        diagnosis: &Diagnosis,
        key: &JobKey,
    ) -> Result<(), Fault> {
        let Some((job, unschedulable)) = self.look_up(key) else {
            return Ok(());
        };
        let executions = self
            .store
            .executions_of_service(&service_of(&job), ledger_horizon())
            .await?;
        let past = ledger::past(&executions);
        let known = Known {
            past: &past,
            unschedulable_nodes: &unschedulable,
        };
        let proposed: Proposal = match proposal(alert, diagnosis, &job, known, Timestamp::now()) {
            Ok(proposed) => proposed,
            Err(why) => {
                info!(target: DECISIONS, number = alert.number, "nothing is proposed: {why}");
                return Ok(());
            }
        };
        let now = Timestamp::now();
        let mut tx = self.store.begin().await?;
        // Alerts before the gate, as everywhere.
        tx.lock_alerts().await?;
        let answer = self
            .safety
            .propose(&mut tx, &alert.id, &proposed, now)
            .await?;
        let event = match answer {
            Proposed::Asked(approval) => {
                info!(target: DECISIONS, number = alert.number, approval = approval.number, action = %approval.spec.kind.as_str(), "asks people");
                (alert.approval_id.as_deref() != Some(approval.id.as_str())).then(|| {
                    Event::ApprovalOffered {
                        text: format!(
                            "Proposes to {}: {}",
                            approval.spec.kind.verb(),
                            approval.reason
                        ),
                        approval_id: approval.id,
                    }
                })
            }
            Proposed::Permitted(execution) => {
                info!(target: DECISIONS, number = alert.number, action = %execution.spec.kind.as_str(), "runs by policy");
                Some(Event::ActionNoted {
                    text: format!(
                        "By policy, within the limits: {}",
                        execution.spec.kind.verb()
                    ),
                    mitigating: true,
                })
            }
            Proposed::AlreadyDecided(_) | Proposed::AlreadyPermitted(_) => None,
            Proposed::LogOnly(why) => {
                info!(target: DECISIONS, number = alert.number, "only recorded: {why}");
                None
            }
            Proposed::Invalid(invalid) => {
                warn!(target: DECISIONS, number = alert.number, "a proposal was invalid: {invalid}");
                None
            }
        };
        if let Some(event) = event {
            self.alerts.apply(&mut tx, &alert.id, event, now).await?;
        }
        tx.commit().await?;
        Ok(())
    }

    fn estate(&self) -> RwLockReadGuard<'_, Estate> {
        self.estate.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// The job as it is seen now, and the nodes of its cluster that take no new pods.
    fn look_up(&self, key: &JobKey) -> Option<(Job, Vec<String>)> {
        let estate = self.estate();
        let job = estate.job(key)?.clone();
        let unschedulable = estate
            .nodes()
            .filter(|entry| entry.node.cluster == key.cluster && entry.node.unschedulable)
            .map(|entry| entry.node.name.clone())
            .collect();
        Some((job, unschedulable))
    }
}

fn ledger_horizon() -> Timestamp {
    let now = Timestamp::now();
    now.checked_sub(ledger::MEMORY).unwrap_or(now)
}
