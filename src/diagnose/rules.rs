//! What no single sign shows: failures that are recognised over time, over several pods, or by what is missing. Pure.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use jiff::SignedDuration;
use regex::Regex;

use super::hit::{Hit, Tier};
use super::knowledge::Knowledge;
use super::standing::{
    Standing, TERMINATING, deaths, is_by_the_job, is_ready, is_starting, is_unscheduled,
};
use super::{Evidence, logs, silent};
use crate::detect::{REPEATED, preemptions};
use crate::estate::{ContainerState, Phase, Pod};

/// Images of 30 GB take this long from a slow store.
const PULLING: SignedDuration = SignedDuration::from_mins(10);
const INITIALIZING: SignedDuration = SignedDuration::from_mins(20);
const PENDING: SignedDuration = SignedDuration::from_mins(30);
/// Restarts from which the lack of progress is told.
const ATTEMPTS: u32 = 3;

/// Words of a program that ended before its total because it meant to.
static MEANT: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"(?i)early[ -]?stop|signal(?:ing|led) (?:the )?trainer to stop|(?:training|run|fit) (?:is )?(?:complete|finished|done)\b|(?:finished|completed) training|converged|(?:target|max(?:imum)?)[ _](?:metric|accuracy|loss|steps?|time) (?:was )?reached|no more data|end of (?:data|training)")
        .expect("a constant that the tests compile")
});

/// Hits of the rules, given those of the signs.
pub(super) fn hits(
    evidence: &Evidence,
    knowledge: &Knowledge,
    standing: Standing,
    signs: &[Hit],
) -> Vec<Hit> {
    let mut rules = Rules {
        evidence,
        knowledge,
        hits: Vec::new(),
    };
    rules.terminating();
    rules.starting(signs);
    rules.missing_pods(signs);
    rules.silent(standing);
    rules.repetition(signs);
    rules.early_end(standing);
    rules.partial(standing);
    rules.hits
}

struct Rules<'a> {
    evidence: &'a Evidence,
    knowledge: &'a Knowledge,
    hits: Vec<Hit>,
}

impl Rules<'_> {
    fn add(
        &mut self,
        id: &str,
        source: &'static str,
        pod: Option<&str>,
        node: Option<&str>,
        line: String,
    ) {
        let Some(failure) = self.knowledge.index(id) else {
            return;
        };
        self.hits.push(Hit {
            failure,
            // What a node does to other jobs is a fact of the node, and no plain cause in a log yields to it.
            tier: if source == "node" {
                Tier::Node
            } else {
                Tier::State
            },
            source,
            pod: pod.map(str::to_owned),
            container: None,
            node: node.map(str::to_owned),
            at: None,
            order: 0,
            rank: None,
            line,
            weak: false,
            fatal: false,
        });
    }

    fn is_named(&self, signs: &[Hit], ids: &[&str]) -> bool {
        signs.iter().chain(&self.hits).any(|hit| {
            !hit.weak && ids.contains(&self.knowledge.failures()[hit.failure].id.as_str())
        })
    }

    fn terminating(&mut self) {
        let evidence = self.evidence;
        for pod in &evidence.pods {
            if let Some(since) = pod.deleting {
                let age = evidence.collected.duration_since(since);
                if age >= TERMINATING {
                    let line = format!("pod {} has been terminating for {}", pod.name, spoken(age));
                    self.add(
                        "pod_stuck_terminating",
                        "status",
                        Some(&pod.name),
                        pod.node.as_deref(),
                        line,
                    );
                }
            }
        }
    }

    fn starting(&mut self, signs: &[Hit]) {
        let evidence = self.evidence;
        let now = evidence.collected;
        for pod in evidence
            .pods
            .iter()
            .filter(|pod| is_starting(pod) && !is_unscheduled(pod))
        {
            let of_pod = |reason: &str| {
                evidence
                    .events
                    .iter()
                    .filter(|event| event.object.name == pod.name && event.reason == reason)
                    .max_by_key(|event| event.last)
            };
            let failing = signs
                .iter()
                .any(|hit| hit.pod.as_deref() == Some(&pod.name) && !hit.weak);
            if let Some(pulling) = of_pod("Pulling").filter(|_| !failing) {
                let age = now.duration_since(pulling.last);
                if age >= PULLING
                    && of_pod("Pulled").is_none_or(|pulled| pulled.last < pulling.last)
                {
                    let line = format!("{} for {}", pulling.message, spoken(age));
                    self.add("image_pull_slow", "event", Some(&pod.name), None, line);
                }
            }
        }
        if let Some(workload) = &evidence.workload {
            let age = now.duration_since(workload.phase_updated.unwrap_or(workload.created));
            let phase = workload.phase.as_str();
            match workload.phase {
                Phase::Initializing | Phase::Creating | Phase::Resuming if age >= INITIALIZING => {
                    let line = format!("phase {phase} for {}", spoken(age));
                    self.add("runai_initializing_long", "runai", None, None, line);
                }
                Phase::Pending if age >= PENDING => {
                    self.add(
                        "long_pending",
                        "runai",
                        None,
                        None,
                        format!("phase Pending for {}", spoken(age)),
                    );
                }
                Phase::Creating
                | Phase::Initializing
                | Phase::Resuming
                | Phase::Pending
                | Phase::Deleting
                | Phase::Running
                | Phase::Updating
                | Phase::Stopped
                | Phase::Stopping
                | Phase::Degraded
                | Phase::Failed
                | Phase::Completed
                | Phase::Terminating
                | Phase::Unknown
                | Phase::Other(_) => {}
            }
        }
        let oldest = evidence
            .pods
            .iter()
            .filter(|pod| is_unscheduled(pod))
            .min_by_key(|pod| pod.created);
        if let Some(pod) = oldest.filter(|_| evidence.workload.is_none()) {
            let age = now.duration_since(pod.created);
            if age >= PENDING {
                let line = format!("pod {} has been pending for {}", pod.name, spoken(age));
                self.add("long_pending", "status", Some(&pod.name), None, line);
            }
        }
    }

    fn missing_pods(&mut self, signs: &[Hit]) {
        let evidence = self.evidence;
        if !evidence.pods.is_empty() {
            return;
        }
        if let Some(workload) = evidence
            .workload
            .as_ref()
            .filter(|workload| workload.phase == Phase::Failed)
            && evidence.logs.is_empty()
            && evidence
                .controllers
                .iter()
                .all(|controller| controller.failed == 0)
        {
            let message = workload.phase_message.as_deref().unwrap_or("no message");
            self.add(
                "runai_failed_no_pods",
                "runai",
                None,
                None,
                format!("phase Failed: {message}"),
            );
        }
        let active = evidence
            .controllers
            .iter()
            .find(|controller| controller.active > 0 && controller.kind.ends_with("Job"));
        if let Some(job) = active
            && !evidence.pods_unread
            && !self.is_named(signs, &["resource_quota_exceeded", "admission_denied"])
        {
            let line = format!(
                "{} {} counts {} active pods, but none exists",
                job.kind, job.name, job.active
            );
            self.add("pods_vanished", "status", None, None, line);
        }
    }

    /// What runs without getting anywhere, as its logs and GPUs tell. Never inferred from CPU.
    fn silent(&mut self, standing: Standing) {
        for silence in silent::of(self.evidence) {
            // Of a job that is in trouble anyway, only what the trouble does not explain counts.
            if standing != Standing::Well
                && !matches!(silence.cause, "restart_no_progress" | "held_no_process")
            {
                continue;
            }
            let source = if silence.cause == "held_no_process" {
                "status"
            } else {
                "log"
            };
            self.add(
                silence.cause,
                source,
                silence.pod.as_deref(),
                silence.node.as_deref(),
                silence.detail,
            );
        }
    }

    fn repetition(&mut self, signs: &[Hit]) {
        let evidence = self.evidence;
        let expected = ["preempted", "reclaimed", "consolidated"];
        let events = preemptions(&evidence.events, evidence.collected).len();
        if events >= REPEATED && self.is_named(signs, &expected) {
            self.add(
                "repeated_preemption",
                "event",
                None,
                None,
                format!("preempted {events} times in 24 hours"),
            );
        }
        for pod in &evidence.pods {
            for container in pod
                .containers
                .iter()
                .filter(|container| container.restarts >= ATTEMPTS)
            {
                let step = |previous: bool| {
                    evidence
                        .logs
                        .iter()
                        .find(|log| {
                            log.pod == pod.name
                                && log.container == container.name
                                && log.previous == previous
                        })
                        .and_then(logs::last_step)
                };
                if let (Some(before), Some(now)) = (step(true), step(false))
                    && before == now
                {
                    let line = format!(
                        "{} restarts, and the last attempts both ended at step {now}",
                        container.restarts
                    );
                    self.add("restart_no_progress", "log", Some(&pod.name), None, line);
                    return;
                }
            }
        }
        let mut by_node: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for (node, job) in &evidence.neighbours {
            let jobs = by_node.entry(node).or_default();
            if *job != evidence.job.name && !jobs.contains(&job.as_str()) {
                jobs.push(job);
            }
        }
        let ends = deaths(evidence);
        for (node, jobs) in by_node {
            let here = |pod: &&Pod| pod.node.as_deref() == Some(node) && !is_ready(pod);
            let Some(pod) = evidence.pods.iter().find(here) else {
                continue;
            };
            // One other job may be chance, unless this one too ended as on a bad node.
            let suspect = ends.iter().any(|death| {
                death.pod.node.as_deref() == Some(node) && !is_by_the_job(death.end.exit_code)
            });
            if jobs.len() >= 2 || (suspect && !jobs.is_empty()) {
                let line = format!(
                    "{node}: {} also failed here within the hour",
                    jobs.join(", ")
                );
                self.add(
                    "bad_node_many_jobs",
                    "node",
                    Some(&pod.name),
                    Some(node),
                    line,
                );
            }
        }
    }

    /// Ended well by its exit code, but far from its total.
    fn early_end(&mut self, standing: Standing) {
        if standing != Standing::Completed {
            return;
        }
        let short = self
            .evidence
            .logs
            .iter()
            .filter(|log| !log.previous)
            .find_map(|log| {
                let (step, total) = logs::last_step_of(log)?;
                let meant = log
                    .lines
                    .iter()
                    .rev()
                    .take(200)
                    .any(|line| MEANT.is_match(&line.text));
                if meant {
                    return None;
                }
                (step * 10 < total * 9).then(|| (log.pod.clone(), step, total))
            });
        if let Some((pod, step, total)) = short {
            let line = format!("ended with exit code 0 at step {step} of {total}");
            self.add("exit_0_incomplete", "log", Some(&pod), None, line);
        }
    }

    fn partial(&mut self, standing: Standing) {
        let Some(workload) = &self.evidence.workload else {
            return;
        };
        if let Some(requested) = workload.requested_pods
            && workload.phase == Phase::Running
            && workload.running_pods > 0
            && workload.running_pods < requested
            && standing != Standing::Completed
            && self.evidence.pods.iter().all(|pod| {
                is_unscheduled(pod)
                    || pod.containers.iter().all(|container| {
                        container.init || matches!(container.state, ContainerState::Running { .. })
                    })
            })
        {
            let line = format!("{} of {requested} pods run", workload.running_pods);
            self.add("partial_gang", "runai", None, None, line);
        }
    }
}

/// A duration as people say it.
pub(super) fn spoken(age: SignedDuration) -> String {
    let minutes = age.as_mins();
    match minutes {
        0 => format!("{} s", age.as_secs().max(0)),
        1..=119 => format!("{minutes} min"),
        120..=2879 => format!("{} h", minutes / 60),
        _ => format!("{} days", minutes / 1440),
    }
}
