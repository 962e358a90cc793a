//! The course of one run, small enough to keep with an alert: when each rank began, first erred and ended, and what
//! had changed shortly before. Pictures are drawn from it. Pure.

use std::collections::HashMap;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::measured::Reading;
use super::{Diagnosis, Evidence, Role, Verdict};
use crate::estate::{Container, ContainerState, Pod, Termination};
use crate::redact;

/// Up to this many pods have a lane each.
const LANES: usize = 16;
/// Lanes that stand for many pods each, once there are more pods than lanes.
const BANDS: usize = 12;
/// Changes older than this before the failure are not "recent".
const RECENT: SignedDuration = SignedDuration::from_hours(6);
const CHANGES: usize = 5;
const CHANGE_LENGTH: usize = 160;
const NAME_LENGTH: usize = 120;
/// Points of a curve: a phone shows no more.
const READINGS: usize = 120;
/// Fewer points are no curve.
const FEWEST: usize = 3;
/// Memory that came this near to its limit is worth a look, as a part of it.
const NEAR: f64 = 0.7;

/// What happened to the ranks of a job over time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Course {
    pub began: Timestamp,
    /// The last end, or when it was looked at if anything still runs.
    pub until: Timestamp,
    /// How many pods have a place in the lanes.
    pub pods: usize,
    /// By rank, at most [`LANES`]; of a bigger gang the first to fail, then bands of the others by when they ended.
    pub lanes: Vec<Lane>,
    /// Oldest first.
    pub changes: Vec<Change>,
    /// What the first to fail used before its end, where something measured it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usage: Option<Usage>,
}

/// Something that was used over time, up to the end.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Usage {
    pub kind: UsageKind,
    /// Name of the pod.
    pub pod: String,
    /// Bytes, or percent of a GPU; oldest first, at most [`READINGS`].
    pub readings: Vec<Reading>,
    /// In bytes.
    pub limit: Option<f64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UsageKind {
    Memory,
    Gpu,
}

/// One pod, or a band of pods that ended one after the other.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Lane {
    /// Name of the pod (of the first one of a band).
    pub pod: String,
    pub pods: usize,
    pub rank: Option<u32>,
    pub node: Option<String>,
    /// The earliest of a band.
    pub began: Timestamp,
    /// The first line that tells of trouble.
    pub trouble: Option<Timestamp>,
    /// The first end of a band; `None` while all run.
    pub ended: Option<Timestamp>,
    /// The last end of a band.
    pub last_ended: Option<Timestamp>,
    pub end: LaneEnd,
    /// The first to fail.
    pub first: bool,
}

/// How the pods of a lane ended; of a band, how most did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LaneEnd {
    Runs,
    Completed,
    Failed,
    /// By a signal, or after the first failure: it was taken down.
    Stopped,
}

/// Something that was done or happened to the job's world before it failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    pub at: Timestamp,
    pub text: String,
}

/// The course of a run, if times of any container are known.
#[must_use]
pub fn course(evidence: &Evidence, diagnosis: &Diagnosis) -> Option<Course> {
    let troubles = troubles(evidence, diagnosis);
    let first = diagnosis.first_failure.as_ref();
    let mut lanes: Vec<Lane> = evidence
        .pods
        .iter()
        .filter_map(|pod| lane(pod, diagnosis.state))
        .collect();
    // By the rank that the pods say, before one of them gets the global rank of the process that failed in it.
    lanes.sort_by_key(|a| (a.rank, natural(&a.pod)));
    for lane in &mut lanes {
        lane.trouble = troubles.get(lane.pod.as_str()).copied();
        if let Some(first) = first.filter(|first| first.pod == lane.pod) {
            lane.first = true;
            lane.rank = first.rank.or(lane.rank);
        }
    }
    // Who ended with an error of its own after the first one was taken down by it.
    let first_end = lanes
        .iter()
        .find(|lane| lane.first)
        .and_then(|lane| lane.ended);
    if let Some(first_end) = first_end {
        for lane in lanes.iter_mut().filter(|lane| !lane.first) {
            if lane.end == LaneEnd::Failed && lane.ended.is_some_and(|ended| ended > first_end) {
                lane.end = LaneEnd::Stopped;
            }
        }
    }
    let began = lanes.iter().map(|lane| lane.began).min()?;
    let until = if lanes.iter().any(|lane| lane.ended.is_none()) {
        evidence.collected
    } else {
        lanes.iter().filter_map(|lane| lane.ended).max()?
    };
    let pods = lanes.len();
    if pods > LANES {
        lanes = bands(lanes);
    }
    Some(Course {
        began,
        until: until.max(began),
        pods,
        lanes,
        changes: changes(evidence, first_end.unwrap_or(until)),
        usage: first.and_then(|first| usage(evidence, &first.pod)),
    })
}

/// The memory of a pod that came near its limit, else what its first GPU did.
fn usage(evidence: &Evidence, pod: &str) -> Option<Usage> {
    let thinned = |readings: &[Reading]| -> Vec<Reading> {
        let step = readings.len().div_ceil(READINGS).max(1);
        // Counted from the end, which matters most.
        let mut kept: Vec<Reading> = readings.iter().rev().step_by(step).copied().collect();
        kept.reverse();
        kept
    };
    let name = redact::line(pod, NAME_LENGTH);
    let memory = evidence.measured.memory.iter().find(|memory| {
        memory.pod == pod
            && memory.working_set.len() >= FEWEST
            && memory
                .limit
                .zip(memory.peak())
                .is_some_and(|(limit, peak)| peak >= NEAR * limit)
    });
    if let Some(memory) = memory {
        return Some(Usage {
            kind: UsageKind::Memory,
            pod: name,
            readings: thinned(&memory.working_set),
            limit: memory.limit,
        });
    }
    let gpu = evidence
        .measured
        .gpus
        .iter()
        .filter(|gpu| gpu.pod.as_deref() == Some(pod) && gpu.utilization.len() >= FEWEST)
        .min_by(|a, b| a.index.cmp(&b.index))?;
    Some(Usage {
        kind: UsageKind::Gpu,
        pod: name,
        readings: thinned(&gpu.utilization),
        limit: None,
    })
}

/// The lane of a pod's main container: its last run that ended if the job fails, else the one that runs.
fn lane(pod: &Pod, state: Verdict) -> Option<Lane> {
    let mut mains = pod
        .containers
        .iter()
        .filter(|container| !container.init && !super::standing::is_sidecar(container));
    let container = mains
        .clone()
        .find(|container| ended_run(container, state).is_some_and(|end| end.exit_code != 0))
        .or_else(|| mains.next())?;
    let lane = Lane {
        pod: redact::line(&pod.name, NAME_LENGTH),
        pods: 1,
        rank: pod.rank,
        node: pod
            .node
            .as_ref()
            .map(|node| redact::line(node, NAME_LENGTH)),
        began: pod.created,
        trouble: None,
        ended: None,
        last_ended: None,
        end: LaneEnd::Runs,
        first: false,
    };
    if let Some(run) = ended_run(container, state) {
        let finished = run.finished?;
        return Some(Lane {
            began: run.started.unwrap_or(pod.created).min(finished),
            ended: Some(finished),
            last_ended: Some(finished),
            end: match (run.exit_code, run.signal, run.reason.as_deref()) {
                (0, _, _) => LaneEnd::Completed,
                (_, _, Some("OOMKilled")) => LaneEnd::Failed,
                (143, _, _) | (_, Some(15), _) => LaneEnd::Stopped,
                (_, _, _) => LaneEnd::Failed,
            },
            ..lane
        });
    }
    match &container.state {
        ContainerState::Running {
            started: Some(started),
        } => Some(Lane {
            began: *started,
            ..lane
        }),
        ContainerState::Running { started: None }
        | ContainerState::Waiting { .. }
        | ContainerState::Terminated(_)
        | ContainerState::Unknown => None,
    }
}

fn ended_run(container: &Container, state: Verdict) -> Option<&Termination> {
    match (&container.state, &container.last) {
        (ContainerState::Terminated(end), _) => Some(end),
        (
            ContainerState::Running { .. }
            | ContainerState::Waiting { .. }
            | ContainerState::Unknown,
            Some(last),
        ) if state == Verdict::Failing => Some(last),
        (
            ContainerState::Running { .. }
            | ContainerState::Waiting { .. }
            | ContainerState::Unknown,
            _,
        ) => None,
    }
}

/// When each pod first logged a line that a finding shows.
fn troubles<'e>(evidence: &'e Evidence, diagnosis: &Diagnosis) -> HashMap<&'e str, Timestamp> {
    let mut at: HashMap<&str, Timestamp> = HashMap::new();
    let told: Vec<_> = diagnosis
        .findings
        .iter()
        .filter(|finding| finding.role != Role::Expected)
        .flat_map(|finding| &finding.evidence)
        .filter(|line| matches!(line.source.as_str(), "log" | "previous_log"))
        .collect();
    for log in &evidence.logs {
        let mut lines = told
            .iter()
            .filter(|line| line.pod.as_deref() == Some(log.pod.as_str()))
            .peekable();
        if lines.peek().is_none() {
            continue;
        }
        let texts: Vec<&str> = lines.map(|line| line.line.as_str()).collect();
        let found = log.lines.iter().find_map(|line| {
            let time = line.at?;
            // The beginning is enough, and is not cut or redacted as often as the rest.
            let head = |text: &str| text.trim().chars().take(40).collect::<String>();
            texts
                .iter()
                .any(|text| head(text) == head(&redact::clean(&line.text)))
                .then_some(time)
        });
        if let Some(found) = found {
            let known = at.entry(log.pod.as_str()).or_insert(found);
            *known = (*known).min(found);
        }
    }
    at
}

/// The first to fail, then the others in bands by when they ended.
fn bands(lanes: Vec<Lane>) -> Vec<Lane> {
    let (mut shown, mut others): (Vec<Lane>, Vec<Lane>) =
        lanes.into_iter().partition(|lane| lane.first);
    others.sort_by(|a, b| {
        (a.ended.is_none(), a.ended, natural(&a.pod)).cmp(&(
            b.ended.is_none(),
            b.ended,
            natural(&b.pod),
        ))
    });
    let size = others.len().div_ceil(BANDS).max(1);
    shown.extend(others.chunks(size).filter_map(band));
    shown
}

fn band(lanes: &[Lane]) -> Option<Lane> {
    let head = lanes.first()?;
    let mut counted: HashMap<LaneEnd, usize> = HashMap::new();
    for lane in lanes {
        *counted.entry(lane.end).or_default() += 1;
    }
    let end = counted
        .into_iter()
        .max_by_key(|(end, count)| (*count, *end))
        .map_or(head.end, |(end, _)| end);
    let one_node = lanes.iter().all(|lane| lane.node == head.node);
    Some(Lane {
        pods: lanes.len(),
        rank: None,
        node: head.node.clone().filter(|_| one_node),
        began: lanes.iter().map(|lane| lane.began).min()?,
        trouble: lanes.iter().filter_map(|lane| lane.trouble).min(),
        ended: lanes.iter().filter_map(|lane| lane.ended).min(),
        last_ended: lanes.iter().filter_map(|lane| lane.ended).max(),
        end,
        first: false,
        ..head.clone()
    })
}

/// What people and controllers did to the job, and what changed on its nodes, in the hours before `failed`.
fn changes(evidence: &Evidence, failed: Timestamp) -> Vec<Change> {
    let recent = |at: Timestamp| at <= failed && failed.duration_since(at) <= RECENT;
    let mut changes: Vec<Change> = Vec::new();
    for entry in &evidence.history {
        if let Some(actor) = entry.actor.as_ref().filter(|_| recent(entry.at)) {
            changes.push(change(entry.at, &format!("{actor}: {}", entry.message)));
        }
    }
    for event in &evidence.events {
        let told = match event.reason.as_str() {
            "ScalingReplicaSet" | "SuccessfulRescale" | "Resumed" | "Suspended" => {
                format!(
                    "{} {}: {}",
                    event.object.kind, event.object.name, event.message
                )
            }
            "NodeNotSchedulable" => format!("Node {} was cordoned.", event.object.name),
            "NodeSchedulable" => format!("Node {} was uncordoned.", event.object.name),
            "Rebooted" | "KubeletUpgrade" => {
                format!("Node {}: {}", event.object.name, event.message)
            }
            _ => continue,
        };
        if recent(event.last) {
            changes.push(change(event.last, &told));
        }
    }
    for known in &evidence.surroundings.changes {
        if recent(known.at) {
            changes.push(change(
                known.at,
                &format!("{}: {}", known.object, known.told),
            ));
        }
    }
    changes.sort_by_key(|change| change.at);
    changes.dedup_by(|a, b| a.text == b.text);
    let surplus = changes.len().saturating_sub(CHANGES);
    changes.split_off(surplus)
}

fn change(at: Timestamp, text: &str) -> Change {
    Change {
        at,
        text: redact::line(text, CHANGE_LENGTH),
    }
}

/// Orders `worker-2` before `worker-10`.
fn natural(name: &str) -> (String, u64) {
    let digits = name.len() - name.trim_end_matches(|c: char| c.is_ascii_digit()).len();
    let (stem, number) = name.split_at(name.len() - digits);
    (stem.to_owned(), number.parse().unwrap_or(0))
}

#[cfg(test)]
#[path = "tests/course.rs"]
mod tests;
