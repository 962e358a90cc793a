//! Which logs to read of a job, and in which order: of a gang of 512, the few that tell why it failed. Pure.

use std::collections::{HashMap, HashSet};

use jiff::Timestamp;

use super::Settings;
use crate::diagnose::Evidence;
use crate::diagnose::standing::{deaths, is_ready, is_sidecar};
use crate::estate::{Container, ContainerState, Pod};

/// Pods of a job in which nothing died: enough to see that it talks.
const QUIET_PODS: usize = 4;

/// One log to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct WantedLog {
    pub(super) pod: String,
    pub(super) container: String,
    pub(super) previous: bool,
    pub(super) tail_lines: u32,
}

/// The pods of the job, the most telling first: those that ended by themselves before those that were ended, early
/// before late, low ranks before high ones.
pub(super) fn pods(evidence: &Evidence) -> Vec<&Pod> {
    let deaths = deaths(evidence);
    let mut first_death: HashMap<&str, (bool, Option<Timestamp>)> = HashMap::new();
    for death in &deaths {
        let this = (death.is_teardown(), death.at());
        first_death
            .entry(death.pod.name.as_str())
            .and_modify(|first| *first = (*first).min(this))
            .or_insert(this);
    }
    let mut pods: Vec<&Pod> = evidence.pods.iter().collect();
    pods.sort_by_cached_key(|pod| {
        let death = first_death.get(pod.name.as_str()).copied();
        (
            death.is_none(),
            death,
            is_ready(pod),
            pod.rank.unwrap_or(u32::MAX),
            pod.created,
            pod.name.clone(),
        )
    });
    pods
}

/// The logs to read, the most telling first.
pub(super) fn logs(evidence: &Evidence, settings: &Settings) -> Vec<WantedLog> {
    let deaths = deaths(evidence);
    let pods = pods(evidence);
    let limit = if deaths.is_empty() {
        QUIET_PODS.min(settings.pods)
    } else {
        settings.pods
    };
    let dead: HashSet<(&str, &str)> = deaths
        .iter()
        .map(|death| (death.pod.name.as_str(), death.container.name.as_str()))
        .collect();
    let mut wanted = Vec::new();
    for (place, pod) in pods.into_iter().take(limit).enumerate() {
        let tail_lines = if place == 0 {
            settings.first_tail_lines
        } else {
            settings.tail_lines
        };
        for container in &pod.containers {
            let died = dead.contains(&(pod.name.as_str(), container.name.as_str()));
            if (is_sidecar(container) || container.init) && !died {
                continue;
            }
            let log = |previous: bool| WantedLog {
                pod: pod.name.clone(),
                container: container.name.to_string(),
                previous,
                tail_lines,
            };
            if has_previous(container) {
                wanted.push(log(true));
            }
            if has_log(container) {
                wanted.push(log(false));
            }
        }
    }
    wanted
}

fn has_previous(container: &Container) -> bool {
    container.restarts > 0 || container.last.is_some()
}

fn has_log(container: &Container) -> bool {
    match &container.state {
        ContainerState::Running { .. } | ContainerState::Terminated(_) => true,
        // While it waits to be restarted, the last run's log is still read as the current one.
        ContainerState::Waiting { .. } => has_previous(container),
        ContainerState::Unknown => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnose::tests::Scene;

    #[test]
    fn of_a_great_gang_the_first_dead_is_read_first_and_longest() {
        let mut scene = Scene::new("gang");
        for rank in 0..512 {
            scene = scene.pod(&format!("gang-{rank}"), |pod| {
                let pod = pod.rank(rank);
                if rank == 300 {
                    pod.exited(1, "Error", 900)
                } else {
                    pod.exited(143, "Error", 800)
                }
            });
        }
        let wanted = logs(&scene.evidence(), &Settings::default());
        assert_eq!(wanted.len(), 24);
        assert_eq!(
            (wanted[0].pod.as_str(), wanted[0].tail_lines),
            ("gang-300", 200)
        );
        assert_eq!(
            (wanted[1].pod.as_str(), wanted[1].tail_lines),
            ("gang-0", 100)
        );
    }

    #[test]
    fn the_log_before_the_restart_comes_before_the_present_one() {
        let scene = Scene::new("train").pod("train-0", |pod| {
            pod.crash_looping(1, "Error", 900, 4)
                .sidecar("istio-proxy", None)
        });
        let wanted: Vec<(String, bool)> = logs(&scene.evidence(), &Settings::default())
            .into_iter()
            .map(|log| (log.container, log.previous))
            .collect();
        assert_eq!(
            wanted,
            [("main".to_owned(), true), ("main".to_owned(), false)]
        );
    }

    #[test]
    fn a_container_that_never_started_has_no_log_to_read() {
        let scene = Scene::new("train").pod("train-0", |pod| pod.waiting("ImagePullBackOff", "x"));
        assert!(logs(&scene.evidence(), &Settings::default()).is_empty());
    }
}
