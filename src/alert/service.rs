//! The shell of alerting: loads what an event is about, lets the core decide, and saves the new state with the effects
//! it wants in one transaction.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use jiff::Timestamp;

use super::effects::{effects, page, report_again, request_diagnosis, show};
use super::grouping::group;
use super::identity::Alias;
use super::lifecycle::{Birth, Event, EventKind, Note, Outcome, open};
use super::placement::{Placement, place};
use super::report::JobReport;
use super::settings::Settings;
use super::severity::{Share, severity};
use super::{Alert, AlertState, Group, Track};
use crate::diagnose::Diagnosis;
use crate::notify::Subject;
use crate::safety::Safety;
use crate::store::{AlertFilter, Store, StoreError, TimelineEntry, Tx, new_id};

/// Reports placed in one transaction: large enough to see what a batch has in common, short enough for others to write.
const BATCH: usize = 200;
/// Recent alerts that a new one is compared with.
const RECENT: i64 = 500;

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
        let job_told = |report: &JobReport| {
            report
                .identity
                .aliases
                .iter()
                .find_map(|alias| told.get(&alias.key()))
                .cloned()
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
            let mut work = Work::new(&mut tx, &self.settings, now);
            work.failing = u64::try_from(work.tx.count_open_alerts().await?).unwrap_or(0);
            for (report, job) in batch {
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
        let mut work = Work::new(&mut tx, &self.settings, now);
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
        let mut work = Work::new(tx, &self.settings, now);
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
        let mut work = Work::new(&mut tx, &self.settings, now);
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

    /// What happened to an alert, oldest first.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn timeline(&self, alert_id: &str) -> Result<Vec<TimelineEntry>> {
        Ok(self.store.timeline(alert_id).await?)
    }
}

/// The changes of one transaction.
struct Work<'a> {
    tx: &'a mut Tx,
    settings: &'a Settings,
    now: Timestamp,
    /// Alerts not resolved, for the share of jobs that fail.
    failing: u64,
    /// Known alerts that changed, with what is to follow.
    changed: BTreeMap<String, (Alert, Vec<Outcome>)>,
    /// Alerts opened in this transaction.
    new: BTreeMap<String, (Alert, Vec<Outcome>)>,
}

impl<'a> Work<'a> {
    fn new(tx: &'a mut Tx, settings: &'a Settings, now: Timestamp) -> Self {
        Self {
            tx,
            settings,
            now,
            failing: 0,
            changed: BTreeMap::new(),
            new: BTreeMap::new(),
        }
    }

    /// Places one report and applies it.
    async fn take(&mut self, report: &JobReport, job: Option<&str>, jobs_total: u64) -> Result<()> {
        let job_id = match (report.failing(), job) {
            (true, _) => self.tx.resolve_job(&report.identity, self.now).await?,
            (false, Some(job)) => job.to_owned(),
            (false, None) => match self.tx.known_job(&report.identity).await? {
                Some(job) => job,
                None => return Ok(()),
            },
        };
        let mut alerts = self.tx.alerts_of_job(&job_id).await?;
        // What this transaction changed already counts, not what was read.
        alerts.retain(|alert| !self.changed.contains_key(&alert.id));
        alerts.extend(
            self.changed
                .values()
                .chain(self.new.values())
                .map(|(a, _)| a)
                .filter(|a| a.job_id == job_id)
                .cloned(),
        );
        let severity = match report.most_telling() {
            Some(symptom) => {
                let share = Share {
                    failing: self.failing + 1,
                    total: jobs_total,
                };
                severity(
                    symptom.class,
                    &report.subject,
                    share,
                    &self.settings.severities,
                )
            }
            None => super::Severity::Low,
        };
        let event = Event::Reported {
            report: Box::new(report.clone()),
            severity,
        };
        let mut placed = place(report, &alerts, self.settings);
        if let Placement::Supersede(id) = &placed
            && let Some(over) = alerts.iter_mut().find(|alert| alert.id == *id)
        {
            self.apply(over.clone(), Event::Superseded);
            if let Some((ended, _)) = self.changed.get(id).or_else(|| self.new.get(id)) {
                over.clone_from(ended);
            }
            placed = place(report, &alerts, self.settings);
        }
        match placed {
            Placement::Nowhere | Placement::Supersede(_) => {}
            Placement::Known(id) => {
                if let Some(alert) = alerts.into_iter().find(|alert| alert.id == id) {
                    self.apply(alert, event);
                }
            }
            Placement::New => self.open(report, job_id, severity).await?,
        }
        Ok(())
    }

    async fn open(
        &mut self,
        report: &JobReport,
        job_id: String,
        severity: super::Severity,
    ) -> Result<()> {
        let number = self.tx.next_alert_number().await?;
        let birth = Birth {
            id: new_id(),
            number,
            job_id,
            severity,
            demo: self.settings.demo,
        };
        if let Some((alert, outcomes)) = open(birth, report, self.now) {
            self.failing += 1;
            self.new.insert(alert.id.clone(), (alert, outcomes));
        }
        Ok(())
    }

    fn apply(&mut self, mut alert: Alert, event: Event) {
        let outcomes = alert.apply(event, self.settings, self.now);
        if outcomes.is_empty() {
            return;
        }
        let place = if self.new.contains_key(&alert.id) {
            &mut self.new
        } else {
            &mut self.changed
        };
        match place.get_mut(&alert.id) {
            Some((known, pending)) => {
                *known = alert;
                pending.extend(outcomes);
            }
            None => {
                place.insert(alert.id.clone(), (alert, outcomes));
            }
        }
    }

    /// Groups what is new, saves everything, and asks for the effects.
    async fn finish(mut self) -> Result<Ingested> {
        self.split().await?;
        let groups = self.group().await?;
        let mut touched: BTreeSet<String> = groups.keys().cloned().collect();
        // Resolved ones first: a job has one open alert at most, and the database insists.
        let mut all: Vec<(Alert, Vec<Outcome>)> =
            std::mem::take(&mut self.changed).into_values().collect();
        all.sort_by_key(|(alert, _)| alert.state != AlertState::Resolved);
        let opened: Vec<String> = self.new.keys().cloned().collect();
        all.extend(std::mem::take(&mut self.new).into_values());
        for (alert, outcomes) in &all {
            self.tx
                .save_alert(alert, alert.look_at(self.settings))
                .await?;
            for outcome in outcomes {
                if let Outcome::Record { kind, by, text } = outcome {
                    self.tx
                        .record_alert_event(&alert.id, *kind, by.as_deref(), text, self.now)
                        .await?;
                }
            }
            for effect in effects(alert, outcomes, self.settings, self.now) {
                self.tx.add_effect(&effect, self.now).await?;
            }
            touched.extend(alert.group_id.clone());
        }
        let ended = |(alert, outcomes): &&(Alert, Vec<Outcome>)| {
            let resolves = |o: &Outcome| {
                matches!(
                    o,
                    Outcome::Record {
                        kind: EventKind::Resolved,
                        ..
                    }
                )
            };
            alert.approval_id.is_some() && outcomes.iter().any(resolves)
        };
        let settled = all
            .iter()
            .filter(ended)
            .map(|(alert, _)| alert.id.clone())
            .collect();
        for id in touched {
            self.settle_group(&id, groups.get(&id)).await?;
        }
        Ok(Ingested {
            opened,
            changed: all.len(),
            settled,
        })
    }

    /// A recovery that was followed by a failure of another cause: the old alert ends, a new one tells the rest.
    async fn split(&mut self) -> Result<()> {
        let mut born = Vec::new();
        for (alert, outcomes) in self.changed.values_mut() {
            let Some(at) = outcomes.iter().position(|o| matches!(o, Outcome::Split(_))) else {
                continue;
            };
            let Outcome::Split(diagnosis) = outcomes.swap_remove(at) else {
                continue;
            };
            let mut next = alert.clone();
            alert.state = AlertState::Resolved;
            alert.resolved = Some(self.now);
            alert.resolution = Some("recovered".to_owned());
            alert.track.failing_views.clear();
            next.id = new_id();
            next.number = self.tx.next_alert_number().await?;
            (next.opened, next.updated) = (self.now, self.now);
            next.count = 1;
            next.acknowledged_by = None;
            next.group_id = None;
            next.approval_id = None;
            next.action_note = None;
            next.feedback = 0;
            next.track = Track {
                seen: next.track.seen,
                telling: next.track.telling,
                claims: next.track.claims,
                failing_views: next.track.failing_views,
                ..Track::default()
            };
            let cause = diagnosis
                .findings
                .first()
                .map_or_else(String::new, |finding| finding.title.clone());
            next.diagnosis = Some(*diagnosis);
            let text = format!("told apart as #{}: {cause}", next.number);
            outcomes.extend([Outcome::Show, Outcome::Page]);
            outcomes.push(Outcome::Record {
                kind: EventKind::Resolved,
                by: None,
                text,
            });
            let text = format!("another cause than #{}: {cause}", alert.number);
            let follow = vec![
                Outcome::Record {
                    kind: EventKind::Opened,
                    by: None,
                    text,
                },
                Outcome::Show,
                Outcome::Page,
                Outcome::Tell(Note::Diagnosed),
            ];
            born.push((next, follow));
        }
        self.new.extend(
            born.into_iter()
                .map(|(alert, outcomes)| (alert.id.clone(), (alert, outcomes))),
        );
        Ok(())
    }

    /// Decides who tells the new alerts, and returns the groups that changed.
    async fn group(&mut self) -> Result<BTreeMap<String, Group>> {
        let mut changed = BTreeMap::new();
        if self.new.is_empty() {
            return Ok(changed);
        }
        let settings = &self.settings.grouping;
        let since = self
            .now
            .saturating_sub(settings.window.max(settings.storm_window))
            .unwrap_or(self.now);
        let mut recent = self.tx.alerts_opened_since(since, RECENT).await?;
        for alert in &mut recent {
            if let Some((current, _)) = self.changed.get(&alert.id) {
                *alert = current.clone();
            }
        }
        let groups = self.tx.open_groups().await?;
        let new: Vec<Alert> = self.new.values().map(|(alert, _)| alert.clone()).collect();
        let grouping = group(&new, &recent, &groups, settings, self.now);
        for (group_id, members) in grouping.joins {
            if let Some(known) = groups.iter().find(|group| group.id == group_id) {
                let mut known = changed.remove(&group_id).unwrap_or_else(|| known.clone());
                known.updated = self.now;
                known.members.extend(members.iter().cloned());
                self.enroll(&group_id, &members, &recent);
                changed.insert(group_id, known);
            }
        }
        for (key, members) in grouping.founds {
            let id = new_id();
            self.enroll(&id, &members, &recent);
            let founded = Group {
                id: id.clone(),
                key,
                opened: self.now,
                updated: self.now,
                resolved: None,
                members,
            };
            changed.insert(id, founded);
        }
        for (alert, _) in self.new.values_mut() {
            alert.track.own_message = alert.group_id.is_none();
        }
        Ok(changed)
    }

    fn enroll(&mut self, group_id: &str, members: &[String], recent: &[Alert]) {
        for id in members {
            let record = Outcome::Record {
                kind: EventKind::Grouped,
                by: None,
                text: group_id.to_owned(),
            };
            if let Some((alert, outcomes)) =
                self.new.get_mut(id).or_else(|| self.changed.get_mut(id))
            {
                alert.group_id = Some(group_id.to_owned());
                outcomes.push(record);
            } else if let Some(alert) = recent.iter().find(|alert| alert.id == *id) {
                let mut alert = alert.clone();
                alert.group_id = Some(group_id.to_owned());
                self.changed
                    .insert(id.clone(), (alert, vec![Outcome::Show, record]));
            }
        }
    }

    /// A group is over when all its members are, and begins again with any of them.
    async fn settle_group(&mut self, id: &str, changed: Option<&Group>) -> Result<()> {
        let known = match changed {
            Some(group) => Some(group.clone()),
            None => self.tx.group(id).await?,
        };
        let Some(mut group) = known else {
            return Ok(());
        };
        let over = self.tx.count_open_members(id).await? == 0;
        if changed.is_none() && over == group.resolved.is_some() {
            return Ok(());
        }
        group.resolved = over.then_some(self.now);
        self.tx.save_group(&group).await?;
        let subject = Subject::Group(id.to_owned());
        for effect in show(&subject, self.settings, self.now) {
            self.tx.add_effect(&effect, self.now).await?;
        }
        if let Some(effect) = page(&subject, id, self.settings, self.now) {
            self.tx.add_effect(&effect, self.now).await?;
        }
        Ok(())
    }
}
