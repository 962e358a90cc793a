//! Keeps PagerDuty's view of alerts and groups true: what it heard last is compared with how things are now, so that
//! an event that comes late never pages for what is over.

mod steps;
mod trigger;

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use self::steps::{Now, Step, Told, steps, told};
use self::trigger::{alert_trigger, class, group_trigger};
use super::pace::{Pace, Urgency};
use super::pagerduty::{PagerDuty, PagerError, PagerEvent, Trigger};
use super::view::Views;
use super::worker::{Again, Handled, back_off, store_fault, turn, work};
use super::{Page, Subject};
use crate::alert::effects::notes;
use crate::alert::lifecycle::{Event, Note};
use crate::alert::service::{AlertError, Alerts};
use crate::alert::settings::Settings as AlertSettings;
use crate::alert::{Alert, AlertState, GroupKey, Severity};
use crate::chat::alert::GroupView;
use crate::store::{Effect, EffectKind, PageRow, Store, StoreError};

const KEY_PACE: &str = "pagerduty";
/// 120 calls a minute are allowed for one key.
const BETWEEN: Duration = Duration::from_millis(500);
const PATIENCE: Duration = Duration::from_secs(20);
/// What only an operator can repair is tried this seldom.
const OPERATOR_WAIT: SignedDuration = SignedDuration::from_mins(5);
/// After so many failures people are told that nobody is woken: about ten seconds of trouble, or one refusal.
const FAILURES_TOLD: i64 = 4;

fn alert_now(alert: &Alert, page_from: Severity, at: Timestamp) -> Now {
    match alert.state {
        AlertState::Resolved => Now::Over,
        AlertState::Acknowledged => Now::Acknowledged,
        AlertState::Mitigating if alert.acknowledged_by.is_some() => Now::Acknowledged,
        AlertState::Open | AlertState::Mitigating
            if (alert.severity >= page_from || alert.track.escalated) && !alert.silenced(at) =>
        {
            Now::Failing
        }
        AlertState::Open | AlertState::Mitigating => Now::Quiet,
    }
}

/// A group fails while any member does that nobody acknowledged.
fn group_now(view: &GroupView, page_from: Severity, at: Timestamp) -> Now {
    if view.group.resolved.is_some() {
        return Now::Over;
    }
    let members: Vec<Now> = view
        .members
        .iter()
        .map(|member| alert_now(&member.alert, page_from, at))
        .collect();
    if members.contains(&Now::Failing) {
        Now::Failing
    } else if members.contains(&Now::Acknowledged) {
        Now::Acknowledged
    } else {
        Now::Quiet
    }
}

fn one_cause(view: &GroupView) -> bool {
    !matches!(view.group.key, GroupKey::Storm(_))
}

/// Grows with each failing again of a member, and in a storm with each member.
fn group_episode(view: &GroupView) -> i64 {
    let each = i64::from(!one_cause(view));
    let members = view.members.iter();
    members.map(|member| member.alert.episode() + each).sum()
}

/// Everything a page is made from.
struct Subjected {
    now: Now,
    episode: i64,
    /// False for a storm, whose members have nothing in common but the hour.
    one_cause: bool,
    key: String,
    trigger: Trigger,
}

/// Tells PagerDuty; cheap to clone.
#[derive(Clone)]
pub struct Pager {
    inner: Arc<Inner>,
}

struct Inner {
    store: Store,
    client: PagerDuty,
    views: Views,
    page_from: Severity,
    pace: Pace,
    owner: String,
    /// Where people are told that PagerDuty cannot be.
    alerts: Alerts,
}

enum Fault {
    Pager(PagerError),
    Store(StoreError),
    Resting(Duration),
}

impl From<StoreError> for Fault {
    fn from(fault: StoreError) -> Self {
        Self::Store(fault)
    }
}

impl Pager {
    /// `settings` are those of alerting: who is paged from when on, and where people are told of trouble. `owner` names
    /// this process among all replicas.
    #[must_use]
    pub fn new(
        store: Store,
        client: PagerDuty,
        views: Views,
        settings: &AlertSettings,
        owner: &str,
    ) -> Self {
        let owner = format!("{owner}/pagerduty");
        let alerts = Alerts::new(store.clone(), settings.clone());
        Self {
            inner: Arc::new(Inner {
                store,
                client,
                views,
                page_from: settings.page_from,
                pace: Pace::new(BETWEEN),
                owner,
                alerts,
            }),
        }
    }

    /// Pages until `stop`. Its own worker: a page never waits behind chat.
    pub async fn run(&self, stop: CancellationToken) {
        let inner = &self.inner;
        work(
            &inner.store,
            EffectKind::Page,
            &inner.owner,
            &stop,
            |effect| self.handle(effect),
        )
        .await;
    }

    /// Carries out what is due now, once; returns how much that was.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn deliver_due(&self) -> Result<usize, StoreError> {
        turn(
            &self.inner.store,
            EffectKind::Page,
            &self.inner.owner,
            &|effect| self.handle(effect),
        )
        .await
    }

    async fn handle(&self, effect: Effect) -> Handled {
        let now = Timestamp::now();
        let (outcome, subject) = match effect.payload::<Page>() {
            Ok(page) => (
                self.inner.bring_up_to_date(&page.subject).await,
                Some(page.subject),
            ),
            Err(unreadable) => {
                error!(effect.id = %effect.id, error = %unreadable, "dropped a page that cannot be read");
                (Ok(()), None)
            }
        };
        if let Some(subject) = &subject {
            self.inner.tell_of_trouble(subject, &effect, &outcome).await;
        }
        let later = |wait: Duration| {
            now.saturating_add(SignedDuration::try_from(wait).unwrap_or(OPERATOR_WAIT))
                .unwrap_or(now)
        };
        match outcome {
            Ok(()) => self
                .inner
                .store
                .finish_effect(&effect, &self.inner.owner, Timestamp::now())
                .await
                .map_err(|fault| store_fault(&fault, now)),
            Err(Fault::Store(fault)) => Err(store_fault(&fault, now)),
            Err(Fault::Resting(wait)) => {
                Err(Again::waits(later(wait), "PagerDuty is rate limiting"))
            }
            Err(Fault::Pager(fault)) => {
                let at = match &fault {
                    PagerError::RateLimited { retry_after } => later(*retry_after),
                    PagerError::Unavailable { .. } | PagerError::Unreachable(_) => {
                        back_off(effect.failures + 1, now)
                    }
                    PagerError::Rejected { .. } | PagerError::Refused { .. } => {
                        error!(error = %fault, "PagerDuty will not take a page until someone acts");
                        now.saturating_add(OPERATOR_WAIT).unwrap_or(now)
                    }
                };
                Err(Again::failed(at, fault.to_string()))
            }
        }
    }
}

impl Inner {
    /// Says once in the thread that nobody is woken, and once that PagerDuty was told after all.
    async fn tell_of_trouble(
        &self,
        subject: &Subject,
        effect: &Effect,
        outcome: &Result<(), Fault>,
    ) {
        let why = match outcome {
            Ok(()) => None,
            Err(Fault::Pager(fault)) => {
                let for_good = matches!(
                    fault,
                    PagerError::Rejected { .. } | PagerError::Refused { .. }
                );
                if !for_good && effect.failures + 1 < FAILURES_TOLD {
                    return;
                }
                Some(fault.to_string())
            }
            // Our own trouble, or a wait that PagerDuty asked for a moment ago.
            Err(Fault::Store(_) | Fault::Resting(_)) => return,
        };
        if let Err(error) = self.note_trouble(subject, why).await {
            // It is said at the next attempt.
            warn!(%error, "cannot say that PagerDuty is away");
        }
    }

    async fn note_trouble(&self, subject: &Subject, why: Option<String>) -> Result<(), StoreError> {
        let now = Timestamp::now();
        let about = match subject {
            Subject::Alert(id) => self.store.alert(id).await?,
            Subject::Group(id) => {
                let mut members = self.store.group_members(id).await?;
                members.sort_by_key(|alert| alert.state == AlertState::Resolved);
                members.into_iter().next()
            }
        };
        let Some(alert) = about else {
            return Ok(());
        };
        let mut tx = self.store.begin().await?;
        // Before the page's own row, as everywhere.
        tx.lock_alerts().await?;
        let since = why.is_some().then_some(now);
        if tx.note_paging_trouble(&subject.key(), since).await? {
            let note = Note::Paging { why: why.clone() };
            for effect in notes(subject, &alert, &note, self.alerts.settings(), now) {
                tx.add_effect(&effect, now).await?;
            }
            let event = Event::PagingTroubled { why };
            match self.alerts.apply(&mut tx, &alert.id, event, now).await {
                Ok(_) | Err(AlertError::NotFound(_)) => {}
                Err(AlertError::Store(fault)) => return Err(fault),
            }
        }
        tx.commit().await
    }

    /// The page of an alert that its group took over: the group's is the same incident.
    async fn is_taken_over(&self, subject: &Subject, row: &PageRow) -> Result<bool, StoreError> {
        let Some(group) = self.group_of(subject).await? else {
            return Ok(false);
        };
        let of_group = self.store.page(&Subject::Group(group).key()).await?;
        Ok(of_group.is_some_and(|of_group| of_group.dedup_key == row.dedup_key))
    }

    async fn group_of(&self, subject: &Subject) -> Result<Option<String>, StoreError> {
        Ok(match subject {
            Subject::Alert(id) => self.store.alert(id).await?.and_then(|alert| alert.group_id),
            Subject::Group(_) => None,
        })
    }

    /// Whoever was woken for the first of several alerts with one cause is not woken again for their group: the group
    /// goes on with that incident.
    async fn take_over(
        &self,
        subject: &Subject,
        current: &Subjected,
    ) -> Result<Option<PageRow>, StoreError> {
        let Subject::Group(id) = subject else {
            return Ok(None);
        };
        if !current.one_cause {
            return Ok(None);
        }
        let Some(first) = self
            .store
            .open_pages_of_members(id)
            .await?
            .into_iter()
            .next()
        else {
            return Ok(None);
        };
        let row = PageRow {
            dedup_key: first.dedup_key,
            state: first.state,
            episode: current.episode,
        };
        self.store
            .save_page(&subject.key(), &row, Timestamp::now())
            .await?;
        Ok(Some(row))
    }

    async fn bring_up_to_date(&self, subject: &Subject) -> Result<(), Fault> {
        let Some(current) = self.current(subject).await? else {
            return Ok(());
        };
        let name = subject.key();
        let grouped = self.group_of(subject).await?.is_some();
        let row = match self.store.page(&name).await? {
            Some(row) if self.is_taken_over(subject, &row).await? => return Ok(()),
            // Its group tells it.
            None if grouped => return Ok(()),
            Some(row) => Some(row),
            None => self.take_over(subject, &current).await?,
        };
        // The key under which it was paged stays, even if the failure is called otherwise by now.
        let key = row
            .as_ref()
            .map_or_else(|| current.key.clone(), |row| row.dedup_key.clone());
        let told = told(row.as_ref());
        let episode = match (subject, told) {
            // Members of a group come and go. Who acknowledged it has it, until it was over as a whole. Of what a storm
            // brings later, whoever acknowledged it knows nothing.
            (Subject::Group(_), Told::Acknowledged { episode }) if current.one_cause => episode,
            (Subject::Group(_) | Subject::Alert(_), _) => current.episode,
        };
        for step in steps(told, current.now, episode) {
            // Waking somebody is its group's to do.
            if grouped && *step == Step::Trigger {
                break;
            }
            self.pace
                .turn(KEY_PACE, Urgency::News, PATIENCE)
                .await
                .map_err(Fault::Resting)?;
            let save = |state: &str| PageRow {
                dedup_key: key.clone(),
                state: state.to_owned(),
                episode: current.episode,
            };
            let (event, after) = match step {
                Step::Trigger => {
                    // Before the call: if its outcome is never known, a recovery still resolves it.
                    self.store
                        .save_page(&name, &save("triggering"), Timestamp::now())
                        .await?;
                    let trigger = Box::new(current.trigger.clone());
                    (
                        PagerEvent::Trigger {
                            key: key.clone(),
                            trigger,
                        },
                        "triggered",
                    )
                }
                Step::Acknowledge => (PagerEvent::Acknowledge { key: key.clone() }, "acknowledged"),
                Step::Resolve => (PagerEvent::Resolve { key: key.clone() }, "resolved"),
            };
            if let Err(fault) = self.client.send(&event).await {
                if let PagerError::RateLimited { retry_after } = &fault {
                    self.pace.rest(KEY_PACE, *retry_after);
                }
                return Err(Fault::Pager(fault));
            }
            self.store
                .save_page(&name, &save(after), Timestamp::now())
                .await?;
            info!(page.subject = %name, "PagerDuty was told: {after}");
        }
        Ok(())
    }

    async fn current(&self, subject: &Subject) -> Result<Option<Subjected>, StoreError> {
        let at = Timestamp::now();
        Ok(match subject {
            Subject::Alert(id) => self.store.alert(id).await?.map(|alert| Subjected {
                now: alert_now(&alert, self.page_from, at),
                episode: alert.episode(),
                one_cause: true,
                key: format!("nightbell:{}:{}", alert.job_id, class(&alert)),
                trigger: alert_trigger(&alert),
            }),
            Subject::Group(id) => self.views.group(id).await?.map(|view| Subjected {
                now: group_now(&view, self.page_from, at),
                episode: group_episode(&view),
                one_cause: one_cause(&view),
                key: format!("nightbell:group:{id}"),
                trigger: group_trigger(&view),
            }),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detect::FailureClass;

    #[test]
    fn what_joins_an_acknowledged_storm_pages_again_and_what_joins_one_cause_does_not() {
        use crate::alert::Group;
        use crate::alert::lifecycle::{Birth, open};
        use crate::alert::report::tests::{at, report, symptom};
        use crate::chat::alert::AlertView;
        let member = |number| {
            let birth = Birth {
                id: format!("a{number}"),
                number,
                job_id: format!("j{number}"),
                severity: Severity::High,
                demo: false,
            };
            let crash = symptom(FailureClass::Crashed, "OOMKilled", 0);
            let (alert, _) = open(birth, &report("train", vec![crash]), at(0)).expect("a failure");
            AlertView {
                alert,
                approval: None,
                execution: None,
                links: Vec::new(),
            }
        };
        for (key, grows) in [
            (GroupKey::Storm("alerts".to_owned()), true),
            (GroupKey::Node("prod/gpu-07".to_owned()), false),
        ] {
            let mut view = GroupView {
                group: Group {
                    id: "g".to_owned(),
                    key,
                    opened: at(0),
                    updated: at(0),
                    resolved: None,
                    members: Vec::new(),
                },
                members: vec![member(1)],
                links: Vec::new(),
            };
            let before = group_episode(&view);
            view.members.push(member(2));
            assert_eq!(group_episode(&view) > before, grows);
        }
    }
}
