//! The shell of alerting: loads what an event is about, lets the core decide, and saves the new state with the effects
//! it wants in one transaction.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use jiff::Timestamp;

use super::changes::Changes;
use super::effects::{notes, report_again, request_diagnosis, told_by};
use super::identity::{Alias, Identity};
use super::lifecycle::{Event, Note};
use super::matcher::Matcher;
use super::report::{JobReport, Presence};
use super::settings::Settings;
use super::silence::{Silence, cover};
use super::{Alert, AlertState};
use crate::diagnose::Diagnosis;
use crate::safety::Safety;
use crate::store::{AlertFilter, Store, StoreError, TimelineEntry, Tx};

/// Reports placed in one transaction: large enough to see what a batch has in common, short enough for others to write.
const BATCH: usize = 200;
/// Open alerts read at once.
const OPEN_READ: i64 = 500;

#[derive(Debug, thiserror::Error)]
pub enum AlertError {
    #[error("there is no alert {0}")]
    NotFound(String),
    #[error(transparent)]
    Store(#[from] StoreError),
}

pub type Result<T, E = AlertError> = std::result::Result<T, E>;

/// All alerts; cheap to clone.
#[derive(Clone)]
pub struct Alerts {
    store: Store,
    settings: Arc<Settings>,
    safety: Option<Safety>,
}

/// A silence by labels, to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewSilence {
    /// All of them must fit; none fits everything.
    pub matchers: Vec<Matcher>,
    pub until: Timestamp,
    pub by: String,
    pub reason: Option<String>,
}

/// What a batch of reports led to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ingested {
    /// Ids of the alerts that were opened.
    pub opened: Vec<String>,
    /// How many alerts changed, new ones included.
    pub changed: usize,
    /// Ids of the alerts that ended while something was proposed for them.
    pub settled: Vec<String>,
}

impl Alerts {
    #[must_use]
    pub fn new(store: Store, settings: Settings) -> Self {
        Self {
            store,
            settings: Arc::new(settings),
            safety: None,
        }
    }

    /// Withdraws what was proposed for an alert when the alert ends.
    #[must_use]
    pub fn withdrawing(mut self, safety: Safety) -> Self {
        self.safety = Some(safety);
        self
    }

    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Takes in what was seen of some jobs; `jobs_total` is the number of jobs known at all. Taking in the same reports
    /// again changes nothing, so a failed call is repeated whole.
    ///
    /// # Errors
    /// When the database refuses; batches before the failing one are saved.
    pub async fn ingest(
        &self,
        reports: &[JobReport],
        jobs_total: u64,
        now: Timestamp,
    ) -> Result<Ingested> {
        let mut ingested = Ingested::default();
        let told: HashMap<String, String> = if reports.is_empty() {
            HashMap::new()
        } else {
            self.store
                .aliases_of_open_alerts()
                .await?
                .into_iter()
                .collect()
        };
        let under_repair = if reports.is_empty() {
            HashMap::new()
        } else {
            self.store.jobs_under_repair().await?
        };
        let job_told = |report: &JobReport| {
            let known = report
                .identity
                .aliases
                .iter()
                .find_map(|alias| told.get(&alias.key()));
            // A run that appears under the name of a job that we repair is what the repair made of it.
            let remade = || {
                let Identity {
                    cluster,
                    namespace,
                    name,
                    aliases,
                    ..
                } = &report.identity;
                if aliases.is_empty() || report.presence == Presence::Removed {
                    return None;
                }
                under_repair.get(&(cluster.clone(), namespace.clone(), name.clone()))
            };
            known.or_else(remade).cloned()
        };
        // What fails in this call may end in it too.
        let failing: HashSet<&Alias> = reports
            .iter()
            .filter(|report| report.failing())
            .flat_map(|report| &report.identity.aliases)
            .collect();
        let fails = |report: &JobReport| {
            report
                .identity
                .aliases
                .iter()
                .any(|alias| failing.contains(alias))
        };
        // Nearly all reports are of healthy jobs of which nobody was told anything.
        let relevant: Vec<(&JobReport, Option<String>)> = reports
            .iter()
            .map(|report| (report, job_told(report)))
            .filter(|(report, job)| report.failing() || job.is_some() || fails(report))
            .collect();
        for batch in relevant.chunks(BATCH) {
            let mut tx = self.store.begin().await?;
            tx.lock_alerts().await?;
            let mut work = Changes::new(&mut tx, &self.settings, now);
            work.failing = u64::try_from(work.tx.count_open_alerts().await?).unwrap_or(0);
            for (report, job) in batch {
                if let Some(job) = job
                    && report
                        .identity
                        .aliases
                        .iter()
                        .any(|alias| !told.contains_key(&alias.key()))
                {
                    work.tx.name_job(job, &report.identity.aliases).await?;
                }
                work.take(report, job.as_deref(), jobs_total).await?;
            }
            let done = work.finish().await?;
            tx.commit().await?;
            ingested.opened.extend(done.opened);
            ingested.changed += done.changed;
            self.withdraw(&done.settled, now).await;
            ingested.settled.extend(done.settled);
        }
        Ok(ingested)
    }

    /// Looks at the alerts whose time has come: hold-downs and silences that end.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn sweep(&self, now: Timestamp) -> Result<usize> {
        let ids = self.store.alerts_to_look_at(now).await?;
        if ids.is_empty() {
            return Ok(0);
        }
        let mut tx = self.store.begin().await?;
        tx.lock_alerts().await?;
        let mut work = Changes::new(&mut tx, &self.settings, now);
        for id in &ids {
            if let Some(alert) = work.tx.alert(id).await? {
                work.apply(alert, Event::TimePassed);
            }
        }
        let done = work.finish().await?;
        tx.commit().await?;
        self.withdraw(&done.settled, now).await;
        Ok(done.changed)
    }

    /// Applies an event inside the caller's transaction, which saves what brought it about.
    ///
    /// # Errors
    /// When there is no such alert or the database refuses.
    pub async fn apply(
        &self,
        tx: &mut Tx,
        alert_id: &str,
        event: Event,
        now: Timestamp,
    ) -> Result<Alert> {
        tx.lock_alerts().await?;
        let alert = tx
            .alert(alert_id)
            .await?
            .ok_or_else(|| AlertError::NotFound(alert_id.to_owned()))?;
        let mut work = Changes::new(tx, &self.settings, now);
        work.apply(alert, event);
        work.finish().await?;
        tx.alert(alert_id)
            .await?
            .ok_or_else(|| AlertError::NotFound(alert_id.to_owned()))
    }

    /// Applies an event in a transaction of its own.
    ///
    /// # Errors
    /// When there is no such alert or the database refuses.
    pub async fn happen(&self, alert_id: &str, event: Event, now: Timestamp) -> Result<Alert> {
        let mut tx = self.store.begin().await?;
        let alert = self.apply(&mut tx, alert_id, event, now).await?;
        tx.commit().await?;
        if alert.state == AlertState::Resolved && alert.approval_id.is_some() {
            self.withdraw(std::slice::from_ref(&alert.id), now).await;
        }
        Ok(alert)
    }

    /// Nobody needs to decide about what is over. Its own transaction: the gate takes its lock before that of the
    /// alerts. Should it fail, the question expires, and the gate looks at the target before anything runs.
    async fn withdraw(&self, alerts: &[String], now: Timestamp) {
        let Some(safety) = &self.safety else { return };
        for id in alerts {
            let withdrawn: Result<()> = async {
                let mut tx = self.store.begin().await?;
                safety
                    .withdraw(&mut tx, id, "the alert is over", now)
                    .await?;
                Ok(tx.commit().await?)
            }
            .await;
            if let Err(error) = withdrawn {
                tracing::warn!(alert.id = %id, error = %error, "cannot withdraw what was proposed for an alert");
            }
        }
    }

    /// Adds what was found out. After a recovery another root cause makes another alert, which is returned then.
    ///
    /// # Errors
    /// When there is no such alert or the database refuses.
    pub async fn attach_diagnosis(
        &self,
        alert_id: &str,
        diagnosis: Diagnosis,
        now: Timestamp,
    ) -> Result<Alert> {
        let mut tx = self.store.begin().await?;
        tx.lock_alerts().await?;
        let alert = tx
            .alert(alert_id)
            .await?
            .ok_or_else(|| AlertError::NotFound(alert_id.to_owned()))?;
        let mut work = Changes::new(&mut tx, &self.settings, now);
        work.apply(alert, Event::Diagnosed(Box::new(diagnosis)));
        let done = work.finish().await?;
        let id = done.opened.first().map_or(alert_id, String::as_str);
        let alert = tx
            .alert(id)
            .await?
            .ok_or_else(|| AlertError::NotFound(id.to_owned()))?;
        tx.commit().await?;
        Ok(alert)
    }

    /// Someone takes it on. Acknowledged in PagerDuty too, if it was paged.
    ///
    /// # Errors
    /// When there is no such alert or the database refuses.
    pub async fn acknowledge(&self, alert_id: &str, by: &str, now: Timestamp) -> Result<Alert> {
        self.happen(alert_id, Event::Acknowledged { by: by.to_owned() }, now)
            .await
    }

    /// Someone takes on every open alert of a group. Returns how many changed.
    ///
    /// # Errors
    /// When there is no such group or the database refuses.
    pub async fn acknowledge_group(
        &self,
        group_id: &str,
        by: &str,
        now: Timestamp,
    ) -> Result<usize> {
        let event = Event::Acknowledged { by: by.to_owned() };
        self.happen_to_group(group_id, &event, now).await
    }

    /// Holds back pages and thread notes of every open alert of a group. Returns how many changed.
    ///
    /// # Errors
    /// When there is no such group or the database refuses.
    pub async fn silence_group(
        &self,
        group_id: &str,
        by: &str,
        until: Timestamp,
        now: Timestamp,
    ) -> Result<usize> {
        let by = by.to_owned();
        let event = Event::Silenced { by, until };
        self.happen_to_group(group_id, &event, now).await
    }

    async fn happen_to_group(
        &self,
        group_id: &str,
        event: &Event,
        now: Timestamp,
    ) -> Result<usize> {
        if self.store.group(group_id).await?.is_none() {
            return Err(AlertError::NotFound(group_id.to_owned()));
        }
        let members = self.store.open_members(group_id).await?;
        let mut told = 0;
        for batch in members.chunks(BATCH) {
            let mut tx = self.store.begin().await?;
            tx.lock_alerts().await?;
            let mut changes = Changes::new(&mut tx, &self.settings, now);
            for id in batch {
                if let Some(alert) = changes.tx.alert(id).await?
                    && alert.state != AlertState::Resolved
                {
                    changes.apply(alert, event.clone());
                }
            }
            told += changes.finish().await?.changed;
            tx.commit().await?;
        }
        Ok(told)
    }

    /// Someone declares it over. Only what begins to fail after that opens it again.
    ///
    /// # Errors
    /// When there is no such alert or the database refuses.
    pub async fn resolve(&self, alert_id: &str, by: &str, now: Timestamp) -> Result<Alert> {
        self.happen(alert_id, Event::ResolvedBy { by: by.to_owned() }, now)
            .await
    }

    /// Holds back pages and thread notes until `until`; the message goes on being edited.
    ///
    /// # Errors
    /// When there is no such alert or the database refuses.
    pub async fn silence(
        &self,
        alert_id: &str,
        by: &str,
        until: Timestamp,
        now: Timestamp,
    ) -> Result<Alert> {
        self.happen(
            alert_id,
            Event::Silenced {
                by: by.to_owned(),
                until,
            },
            now,
        )
        .await
    }

    /// Ends a silence.
    ///
    /// # Errors
    /// When there is no such alert or the database refuses.
    pub async fn unsilence(&self, alert_id: &str, by: &str, now: Timestamp) -> Result<Alert> {
        self.happen(alert_id, Event::Unsilenced { by: by.to_owned() }, now)
            .await
    }

    /// Makes a silence by labels. It covers the open alerts that fit at once, and those to come.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn add_silence(&self, new: NewSilence, now: Timestamp) -> Result<(Silence, usize)> {
        let mut tx = self.store.begin().await?;
        tx.lock_alerts().await?;
        let silence = Silence {
            number: tx.next_silence_number().await?,
            matchers: new.matchers,
            starts: now,
            ends: new.until,
            by: new.by,
            reason: new.reason,
        };
        tx.save_silence(&silence).await?;
        tx.commit().await?;
        let covered = self.cover_anew(now).await?;
        Ok((silence, covered))
    }

    /// Ends a silence by labels. What it covered and still fails is told now. `None` if there is no such silence, or
    /// not any more.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn end_silence(&self, number: i64, now: Timestamp) -> Result<Option<Silence>> {
        let mut tx = self.store.begin().await?;
        tx.lock_alerts().await?;
        let known = tx.silence(number).await?;
        let Some(mut silence) = known.filter(|silence| silence.ends > now) else {
            return Ok(None);
        };
        silence.ends = now;
        tx.save_silence(&silence).await?;
        tx.commit().await?;
        self.cover_anew(now).await?;
        Ok(Some(silence))
    }

    /// Silences by labels that hold at `now` or will, oldest first.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn silences(&self, now: Timestamp) -> Result<Vec<Silence>> {
        Ok(self.store.silences(now).await?)
    }

    /// Looks at the open alerts anew whose silence changed. Returns how many those are. Should it fail in between, the
    /// rest follows with whatever happens to them next.
    async fn cover_anew(&self, now: Timestamp) -> Result<usize> {
        let silences = self.store.silences(now).await?;
        let open = self
            .store
            .alerts(AlertFilter {
                limit: i64::MAX,
                ..AlertFilter::default()
            })
            .await?;
        let changed: Vec<&Alert> = open
            .iter()
            .filter(|alert| cover(alert, &silences, &self.settings.windows, now) != alert.covered)
            .collect();
        for batch in changed.chunks(BATCH) {
            let mut tx = self.store.begin().await?;
            tx.lock_alerts().await?;
            let mut work = Changes::new(&mut tx, &self.settings, now);
            for alert in batch {
                if let Some(alert) = work.tx.alert(&alert.id).await? {
                    work.apply(alert, Event::SilencesChanged);
                }
            }
            work.finish().await?;
            tx.commit().await?;
        }
        Ok(changed.len())
    }

    /// 👍 or 👎 for what the alert says.
    ///
    /// # Errors
    /// When there is no such alert or the database refuses.
    pub async fn feedback(
        &self,
        alert_id: &str,
        by: &str,
        up: bool,
        now: Timestamp,
    ) -> Result<Alert> {
        self.happen(
            alert_id,
            Event::Rated {
                by: by.to_owned(),
                up,
            },
            now,
        )
        .await
    }

    /// Says what became of an action; `mitigating` while it runs or is being verified.
    ///
    /// # Errors
    /// When there is no such alert or the database refuses.
    pub async fn note_action(
        &self,
        alert_id: &str,
        text: &str,
        mitigating: bool,
        now: Timestamp,
    ) -> Result<Alert> {
        self.happen(
            alert_id,
            Event::ActionNoted {
                text: text.to_owned(),
                mitigating,
            },
            now,
        )
        .await
    }

    /// Asks for the alert's job to be troubleshot (again).
    ///
    /// # Errors
    /// When there is no such alert or the database refuses.
    pub async fn troubleshoot(&self, alert_id: &str, now: Timestamp) -> Result<Alert> {
        let mut tx = self.store.begin().await?;
        let alert = tx
            .alert(alert_id)
            .await?
            .ok_or_else(|| AlertError::NotFound(alert_id.to_owned()))?;
        tx.add_effect(
            &request_diagnosis(&alert, false, true, &self.settings, now),
            now,
        )
        .await?;
        tx.commit().await?;
        Ok(alert)
    }

    /// Says in the thread what is known, though it was said before: somebody asked.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn report_again(&self, alert: &Alert, now: Timestamp) -> Result<()> {
        let mut tx = self.store.begin().await?;
        for effect in report_again(alert, &self.settings, now) {
            tx.add_effect(&effect, now).await?;
        }
        Ok(tx.commit().await?)
    }

    /// Says something in the thread, without a trace on the message itself.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn tell(&self, alert: &Alert, note: &Note, now: Timestamp) -> Result<()> {
        let Some(subject) = told_by(alert).into_iter().next() else {
            return Ok(());
        };
        let mut tx = self.store.begin().await?;
        for effect in notes(&subject, alert, note, &self.settings, now) {
            tx.add_effect(&effect, now).await?;
        }
        Ok(tx.commit().await?)
    }

    /// An alert by id.
    ///
    /// # Errors
    /// When there is no such alert or the database does not answer.
    pub async fn get(&self, alert_id: &str) -> Result<Alert> {
        self.store
            .alert(alert_id)
            .await?
            .ok_or_else(|| AlertError::NotFound(alert_id.to_owned()))
    }

    /// An alert by its short number.
    ///
    /// # Errors
    /// When there is no such alert or the database does not answer.
    pub async fn by_number(&self, number: i64) -> Result<Alert> {
        self.store
            .alert_by_number(number)
            .await?
            .ok_or_else(|| AlertError::NotFound(format!("#{number}")))
    }

    /// Alerts, newest first.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn list(&self, filter: AlertFilter) -> Result<Vec<Alert>> {
        Ok(self.store.alerts(filter).await?)
    }

    /// All that are not over.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn open(&self) -> Result<Vec<Alert>> {
        let mut open = Vec::new();
        loop {
            let page = AlertFilter {
                limit: OPEN_READ,
                offset: i64::try_from(open.len()).unwrap_or(i64::MAX),
                ..AlertFilter::default()
            };
            let page = self.store.alerts(page).await?;
            let last = i64::try_from(page.len()).unwrap_or(i64::MAX) < OPEN_READ;
            open.extend(page);
            if last {
                return Ok(open);
            }
        }
    }

    /// What happened to an alert, oldest first.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn timeline(&self, alert_id: &str) -> Result<Vec<TimelineEntry>> {
        Ok(self.store.timeline(alert_id).await?)
    }
}
