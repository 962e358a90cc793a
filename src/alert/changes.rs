//! The changes of one transaction: places what was reported, lets alerts move on, groups what is new, and saves
//! everything with the effects it wants.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::effects::{effects, page, show};
use super::grouping::group;
use super::lifecycle::{Birth, Event, EventKind, Note, Outcome, open};
use super::placement::{Placement, place};
use super::report::JobReport;
use super::service::{Ingested, Result};
use super::settings::Settings;
use super::severity::{Share, severity};
use super::silence::cover;
use super::{Alert, AlertState, Group, Severity, Track};
use crate::notify::Subject;
use crate::store::{Tx, new_id};

/// Recent alerts that a new one is compared with.
const RECENT: i64 = 500;

/// The changes of one transaction.
pub(super) struct Changes<'a> {
    pub(super) tx: &'a mut Tx,
    settings: &'a Settings,
    now: Timestamp,
    /// Alerts not resolved, for the share of jobs that fail.
    pub(super) failing: u64,
    /// Known alerts that changed, with what is to follow.
    changed: BTreeMap<String, (Alert, Vec<Outcome>)>,
    /// Alerts opened in this transaction.
    new: BTreeMap<String, (Alert, Vec<Outcome>)>,
}

impl<'a> Changes<'a> {
    pub(super) fn new(tx: &'a mut Tx, settings: &'a Settings, now: Timestamp) -> Self {
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
    pub(super) async fn take(
        &mut self,
        report: &JobReport,
        job: Option<&str>,
        jobs_total: u64,
    ) -> Result<()> {
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
        let counted = alerts
            .iter()
            .any(|alert| alert.state != AlertState::Resolved);
        let severity = match report.most_telling() {
            Some(symptom) => {
                // A job with an open alert is among those that are counted.
                let share = Share {
                    failing: self.failing + u64::from(!counted),
                    total: jobs_total,
                };
                severity(
                    symptom.class,
                    &report.subject,
                    share,
                    &self.settings.severities,
                )
            }
            None => Severity::Low,
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

    async fn open(&mut self, report: &JobReport, job_id: String, severity: Severity) -> Result<()> {
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

    pub(super) fn apply(&mut self, mut alert: Alert, event: Event) {
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
    pub(super) async fn finish(mut self) -> Result<Ingested> {
        self.split().await?;
        self.cover().await?;
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

    /// Looks up which silences and maintenance windows cover what changed.
    async fn cover(&mut self) -> Result<()> {
        if self.changed.is_empty() && self.new.is_empty() {
            return Ok(());
        }
        let silences = self.tx.silences_in_force(self.now).await?;
        let windows = &self.settings.windows;
        for (alert, outcomes) in self.changed.values_mut().chain(self.new.values_mut()) {
            let cover = cover(alert, &silences, windows, self.now);
            outcomes.extend(alert.be_covered(cover));
        }
        Ok(())
    }

    /// Alerts that are told for the first time: new ones, and those that were silenced until now.
    fn appearing(&self) -> Vec<Alert> {
        let appears = |alert: &&Alert| {
            alert.state != AlertState::Resolved && alert.is_untold() && !alert.silenced(self.now)
        };
        let all = self.changed.values().chain(self.new.values());
        all.map(|(alert, _)| alert)
            .filter(appears)
            .cloned()
            .collect()
    }

    /// Decides who tells what nobody was told of yet, and returns the groups that changed.
    async fn group(&mut self) -> Result<BTreeMap<String, Group>> {
        let mut changed = BTreeMap::new();
        let new = self.appearing();
        if new.is_empty() {
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
        for told in &new {
            let known = self
                .new
                .get_mut(&told.id)
                .or_else(|| self.changed.get_mut(&told.id));
            if let Some((alert, outcomes)) = known {
                alert.track.own_message = alert.group_id.is_none();
                // What was found out meanwhile was said to nobody.
                if alert.diagnosis.is_some() && !outcomes.contains(&Outcome::Tell(Note::Diagnosed))
                {
                    outcomes.push(Outcome::Tell(Note::Diagnosed));
                }
            }
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
