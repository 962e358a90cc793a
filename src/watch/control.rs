//! Whether monitoring runs, for which project, and until when. The state is durable and shared by replicas; a limited
//! watch ends by itself, also after a restart.

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use tokio::sync::{Mutex, watch};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::store::{Result, Store};

const SETTING: &str = "monitoring";
/// How soon a change made by another replica is seen.
const REFRESH: Duration = Duration::from_secs(5);

/// Which projects the configuration lets us watch (`monitored_projects`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Projects {
    #[default]
    All,
    Only(Vec<String>),
}

impl Projects {
    /// `["*"]` and an empty list mean all.
    #[must_use]
    pub fn from_names(names: &[String]) -> Self {
        if names.is_empty() || names.iter().any(|name| name == "*") {
            return Self::All;
        }
        let mut names = names.to_vec();
        names.sort();
        names.dedup();
        Self::Only(names)
    }
}

/// The state of monitoring.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Monitoring {
    pub enabled: bool,
    /// `None`: every configured project.
    pub project: Option<String>,
    /// When it stops by itself.
    pub until: Option<Timestamp>,
    /// Who started or stopped it, for people; `None` while it runs as configured.
    pub changed_by: Option<String>,
    /// Since when it is so; `None` while it runs as configured.
    pub since: Option<Timestamp>,
}

impl Default for Monitoring {
    /// Everything that is configured is watched, until someone says otherwise.
    fn default() -> Self {
        Self {
            enabled: true,
            project: None,
            until: None,
            changed_by: None,
            since: None,
        }
    }
}

impl Monitoring {
    /// The state as it holds at `now`: a watch whose time is over has stopped.
    #[must_use]
    pub fn at(self, now: Timestamp) -> Self {
        match self.until {
            Some(until) if self.enabled && until <= now => Self {
                enabled: false,
                project: self.project,
                until: None,
                changed_by: Some("the time limit".to_owned()),
                since: Some(until),
            },
            Some(_) | None => self,
        }
    }

    /// Which projects are looked at: the configured ones, narrowed to the one asked for. `Only` of none when that one
    /// is not configured, or monitoring is off.
    #[must_use]
    pub fn projects(&self, configured: &Projects) -> Projects {
        match (configured, &self.project) {
            _ if !self.enabled => Projects::Only(Vec::new()),
            (configured, None) => configured.clone(),
            (Projects::All, Some(project)) => Projects::Only(vec![project.clone()]),
            (Projects::Only(names), Some(project)) => Projects::Only(
                names
                    .iter()
                    .filter(|name| *name == project)
                    .cloned()
                    .collect(),
            ),
        }
    }

    /// Whether what happens to a job in this project and namespace is to be told.
    ///
    /// A job that Kubernetes alone knows has no project; its namespace stands for one, with or without the `runai-`
    /// that Run:AI puts before it.
    #[must_use]
    pub fn admits(&self, configured: &Projects, project: Option<&str>, namespace: &str) -> bool {
        match self.projects(configured) {
            Projects::All => true,
            Projects::Only(names) => names.iter().any(|name| match project {
                Some(project) => project == name,
                None => namespace == name || namespace.strip_prefix("runai-") == Some(name),
            }),
        }
    }
}

/// The one place where monitoring is started and stopped. Clones share the state.
#[derive(Clone, Debug)]
pub struct MonitoringControl {
    store: Store,
    configured: Projects,
    state: Arc<watch::Sender<Monitoring>>,
    /// Held from reading or writing the database to publishing, so that an older state never follows a newer one.
    turn: Arc<Mutex<()>>,
}

impl MonitoringControl {
    /// Takes up the saved state.
    pub async fn open(store: Store, configured: Projects, now: Timestamp) -> Result<Self> {
        let saved: Monitoring = store.setting(SETTING).await?.unwrap_or_default();
        let state = Arc::new(watch::Sender::new(saved.at(now)));
        Ok(Self {
            store,
            configured,
            state,
            turn: Arc::default(),
        })
    }

    /// Starts monitoring of one project or of all, for a time or until stopped. Replaces what was set before.
    pub async fn start(
        &self,
        project: Option<String>,
        limit: Option<SignedDuration>,
        who: &str,
        now: Timestamp,
    ) -> Result<Monitoring> {
        let until = limit.map(|limit| now.checked_add(limit).unwrap_or(Timestamp::MAX));
        let started = Monitoring {
            enabled: true,
            project,
            until,
            changed_by: Some(who.to_owned()),
            since: Some(now),
        };
        self.save(started, now).await
    }

    /// Stops monitoring until someone starts it. Stopping twice keeps the first stop's name and time.
    pub async fn stop(&self, who: &str, now: Timestamp) -> Result<Monitoring> {
        let current = self.current(now);
        if !current.enabled {
            return Ok(current);
        }
        let stopped = Monitoring {
            enabled: false,
            until: None,
            changed_by: Some(who.to_owned()),
            since: Some(now),
            ..current
        };
        self.save(stopped, now).await
    }

    async fn save(&self, state: Monitoring, now: Timestamp) -> Result<Monitoring> {
        let _turn = self.turn.lock().await;
        let mut tx = self.store.begin().await?;
        tx.save_setting(SETTING, &state, now).await?;
        tx.commit().await?;
        self.publish(state.clone());
        Ok(state)
    }

    fn publish(&self, state: Monitoring) {
        self.state.send_if_modified(|held| {
            let changed = *held != state;
            *held = state;
            changed
        });
    }

    /// The state at `now`.
    #[must_use]
    pub fn current(&self, now: Timestamp) -> Monitoring {
        self.state.borrow().clone().at(now)
    }

    /// The projects that the configuration allows.
    #[must_use]
    pub fn configured(&self) -> &Projects {
        &self.configured
    }

    /// Whether what happens to a job in this project and namespace is to be told at `now`.
    #[must_use]
    pub fn admits(&self, project: Option<&str>, namespace: &str, now: Timestamp) -> bool {
        self.current(now)
            .admits(&self.configured, project, namespace)
    }

    /// Hears of every change.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<Monitoring> {
        self.state.subscribe()
    }

    /// Takes over what another replica saved, and ends a watch whose time is over.
    pub async fn refresh(&self, now: Timestamp) -> Result<()> {
        let _turn = self.turn.lock().await;
        let saved: Monitoring = self.store.setting(SETTING).await?.unwrap_or_default();
        let current = saved.at(now);
        if *self.state.borrow() != current && !current.enabled {
            info!(
                monitoring.by = current.changed_by.as_deref(),
                "monitoring is off"
            );
        }
        self.publish(current);
        Ok(())
    }

    /// Keeps the state fresh until `stop`. While the database is away the last known state holds, its limit included.
    pub async fn run(&self, stop: CancellationToken) {
        while stop
            .run_until_cancelled(tokio::time::sleep(REFRESH))
            .await
            .is_some()
        {
            let now = Timestamp::now();
            if let Err(error) = self.refresh(now).await {
                warn!(error = %error, "cannot read the state of monitoring");
                self.publish(self.current(now));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_790_000_000 + second).expect("a time in range")
    }

    fn only(names: &[&str]) -> Projects {
        Projects::Only(names.iter().map(|name| (*name).to_owned()).collect())
    }

    #[test]
    fn a_watch_ends_at_its_limit() {
        let limited = Monitoring {
            until: Some(at(60)),
            ..Monitoring::default()
        };
        assert!(limited.clone().at(at(59)).enabled);
        let ended = limited.at(at(60));
        assert!(!ended.enabled);
        assert_eq!(ended.since, Some(at(60)));
    }

    #[test]
    fn jobs_are_admitted_by_project_else_by_namespace() {
        let narrowed = Monitoring {
            project: Some("etl".to_owned()),
            ..Monitoring::default()
        };
        for (project, namespace, admitted) in [
            (Some("etl"), "anything", true),
            (Some("nlp"), "runai-etl", false),
            (None, "runai-etl", true),
            (None, "etl", true),
            (None, "etl-2", false),
        ] {
            assert_eq!(
                narrowed.admits(&Projects::All, project, namespace),
                admitted,
                "{project:?} {namespace}"
            );
        }
        assert!(Monitoring::default().admits(&Projects::All, None, "kube-system"));
        let off = Monitoring {
            enabled: false,
            ..Monitoring::default()
        };
        assert!(!off.admits(&Projects::All, Some("etl"), "runai-etl"));
    }

    #[test]
    fn asking_for_a_project_never_widens_what_is_configured() {
        let asked = |project: &str| Monitoring {
            project: Some(project.to_owned()),
            ..Monitoring::default()
        };
        assert_eq!(
            asked("etl").projects(&only(&["etl", "nlp"])),
            only(&["etl"])
        );
        assert_eq!(asked("secret").projects(&only(&["etl"])), only(&[]));
        assert_eq!(asked("etl").projects(&Projects::All), only(&["etl"]));
        assert_eq!(
            Monitoring::default().projects(&only(&["etl"])),
            only(&["etl"])
        );
    }

    #[test]
    fn a_star_anywhere_means_all_projects() {
        let names = |names: &[&str]| {
            names
                .iter()
                .map(|name| (*name).to_owned())
                .collect::<Vec<_>>()
        };
        assert_eq!(Projects::from_names(&names(&["*"])), Projects::All);
        assert_eq!(Projects::from_names(&names(&["etl", "*"])), Projects::All);
        assert_eq!(Projects::from_names(&[]), Projects::All);
        assert_eq!(
            Projects::from_names(&names(&["nlp", "etl", "nlp"])),
            only(&["etl", "nlp"])
        );
    }
}
