//! Jobs that run but get nowhere: hangs, idle and held GPUs, stragglers, stale checkpoints, slowdowns. Pure.
//!
//! Judged by what logs say and by what the GPUs themselves report, never by CPU. `now` is when the logs were last read:
//! a log that nobody read is not silent.

use jiff::{SignedDuration, Timestamp};

use super::{Assessment, FailureClass, Symptom, Thresholds};
use crate::estate::index::Job;
use crate::estate::progress::{GpuUse, PodProgress, Progress};
use crate::estate::{Container, ContainerState, Phase, Pod, Workload};

/// A job may take this many times its usual step before its silence means something.
const STEPS_LATE: i32 = 10;
/// Twice the longest pause that it came back from: evaluations and checkpoints were among them.
const PAUSES_LATE: i32 = 2;
/// What saves or evaluates may take this many times longer than it otherwise might.
const BUSY: i32 = 2;
/// Without a marker ever read, a rhythm of this many lines shows that the job speaks at all.
const LINES_OF_RHYTHM: u64 = 10;
/// A rank this many usual steps behind the others holds them up, or has stopped.
const RANKS_LATE: i32 = 5;
/// A main process may be gone this long, while its pod still holds GPUs, before it is told.
const PROCESS_GONE: SignedDuration = SignedDuration::from_mins(5);
/// One that ended well may leave this long to side-cars that upload results and flush logs.
const PROCESS_DONE: SignedDuration = SignedDuration::from_mins(15);
/// Slower than half its own past, over this long.
const SLOWDOWN: SignedDuration = SignedDuration::from_mins(15);
const SLOWER: f64 = 0.5;

/// What a job is for, which decides whether silence means anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Works towards an end.
    Batch,
    /// Waits for a person: notebooks, workspaces.
    Interactive,
    /// Waits for requests.
    Service,
}

/// A job as far as its silence matters.
#[derive(Clone, Debug)]
pub struct Quiet<'a> {
    pub purpose: Purpose,
    pub pods: Vec<&'a Pod>,
    pub workload: Option<&'a Workload>,
    pub progress: Option<&'a Progress>,
}

/// One way in which a running job gets nowhere.
#[derive(Clone, Debug, PartialEq)]
pub struct Silence {
    /// An id of the failure taxonomy.
    pub cause: &'static str,
    /// 0..=1.
    pub confidence: f64,
    pub since: Timestamp,
    /// What was seen, as a sentence without a full stop.
    pub detail: String,
    pub pod: Option<String>,
    pub node: Option<String>,
}

impl Silence {
    /// The state as people and alerts name it.
    #[must_use]
    pub fn state(&self) -> &'static str {
        match self.cause {
            "hang" => "Hang",
            "idle_gpus" => "IdleGPUs",
            "held_no_process" => "HeldNoProcess",
            "straggler" => "Straggler",
            "throughput_drop" => "ThroughputDrop",
            "stale_checkpoint" => "StaleCheckpoint",
            _ => "RestartWithoutProgress",
        }
    }
}

/// What the job is for, by its kind, its images and its name.
#[must_use]
pub fn purpose<'a>(
    kind: &str,
    name: &str,
    service: bool,
    pods: impl IntoIterator<Item = &'a Pod>,
) -> Purpose {
    const INTERACTIVE: [&str; 8] = [
        "jupyter",
        "notebook",
        "code-server",
        "vscode",
        "rstudio",
        "workspace",
        "interactive",
        "jlab",
    ];
    const SERVING: [&str; 10] = [
        "vllm",
        "tritonserver",
        "text-generation-inference",
        "sglang",
        "ollama",
        "torchserve",
        "lmdeploy",
        "inference-server",
        "tensorboard",
        "kserve",
    ];
    let kind = kind.to_ascii_lowercase();
    let mut words = vec![name.to_ascii_lowercase(), kind.clone()];
    let mut forever = service;
    for pod in pods {
        for container in pod.containers.iter().filter(|c| !c.init && !c.is_sidecar()) {
            words.push(container.image.to_ascii_lowercase());
            words.push(container.name.to_ascii_lowercase());
        }
        forever |= pod.owner.as_ref().is_some_and(|owner| {
            matches!(
                owner.kind.as_str(),
                "ReplicaSet" | "Deployment" | "DaemonSet" | "Revision"
            )
        });
    }
    let has = |known: &[&str]| {
        words
            .iter()
            .any(|word| known.iter().any(|part| word.contains(part)))
    };
    // A RayCluster by itself waits for what people submit to it.
    let waits = matches!(
        kind.as_str(),
        "workspace" | "interactive" | "notebook" | "raycluster"
    );
    if waits || has(&INTERACTIVE) {
        Purpose::Interactive
    } else if forever || kind.contains("inference") || has(&SERVING) {
        Purpose::Service
    } else {
        Purpose::Batch
    }
}

pub(super) fn assess(job: &Job, thresholds: &Thresholds, now: Timestamp, found: &mut Assessment) {
    let quiet = Quiet {
        purpose: purpose(job.kind(), &job.key.name, job.is_service(), &job.pods),
        pods: job.current_pods(),
        workload: job.workload.as_deref(),
        progress: job.progress.as_ref(),
    };
    for silence in silences(&quiet, thresholds, now) {
        let again = silence.cause == "restart_no_progress";
        let class = if again {
            FailureClass::Crashed
        } else {
            FailureClass::Stalled
        };
        let mut symptom = Symptom::new(class, silence.state(), silence.detail, silence.since);
        symptom.pod = silence.pod;
        symptom.node = silence.node;
        found.now(if again { symptom.wrapping() } else { symptom });
    }
    // A container that ended while its pod runs on says so once; nothing else changes when the time is up.
    if let Some(gone) = process_gone(&quiet)
        && let Ok(at) = gone.since.checked_add(gone.patience)
        && at > now
    {
        found.recheck = Some(found.recheck.map_or(at, |earlier| earlier.min(at)));
    }
}

/// Every way in which the job gets nowhere, gravest first.
#[must_use]
pub fn silences(job: &Quiet<'_>, thresholds: &Thresholds, now: Timestamp) -> Vec<Silence> {
    let mut found = Vec::new();
    if !runs(job) {
        return found;
    }
    if let Some(Gone {
        pod,
        since,
        patience,
    }) = process_gone(job)
        && now.duration_since(since) >= patience
    {
        found.push(Silence {
            cause: "held_no_process",
            confidence: 0.9,
            since,
            detail: format!(
                "the main process of {} ended at {}, but the pod still holds {}",
                pod.name,
                since.strftime("%H:%M UTC"),
                gpus(pod.gpus)
            ),
            pod: Some(pod.name.clone()),
            node: pod.node.clone(),
        });
        return found;
    }
    let Some(progress) = job.progress else {
        return found;
    };
    if let Some(again) = restarts(progress, now) {
        found.push(again);
    }
    let hang = hang(job, progress, thresholds);
    let hangs = hang.is_some();
    found.extend(hang);
    if !hangs {
        found.extend(unused(job, progress, thresholds, now));
    }
    if !hangs && job.purpose == Purpose::Batch {
        found.extend(straggler(progress));
        found.extend(slowdown(progress));
        found.extend(stale_checkpoint(progress, thresholds));
    }
    found
}

/// All pods run that hold GPUs, and the job holds some.
pub(crate) fn runs(job: &Quiet<'_>) -> bool {
    let phase_allows = job.workload.is_none_or(|workload| {
        matches!(
            workload.phase,
            Phase::Running | Phase::Degraded | Phase::Updating
        )
    });
    let mut holding = job
        .pods
        .iter()
        .filter(|pod| pod.gpus > 0.0 && pod.deleting.is_none() && pod.phase != "Succeeded")
        .peekable();
    phase_allows && holding.peek().is_some() && holding.all(|pod| pod.phase == "Running")
}

fn mains(pod: &Pod) -> impl Iterator<Item = &Container> {
    pod.containers
        .iter()
        .filter(|container| !container.init && !container.is_sidecar())
}

/// A running pod whose main containers have all ended: a side-car keeps it, and with it its GPUs.
fn process_gone<'a>(job: &Quiet<'a>) -> Option<Gone<'a>> {
    job.pods
        .iter()
        .copied()
        .filter(|pod| pod.gpus > 0.0 && pod.phase == "Running" && pod.deleting.is_none())
        .find_map(|pod| {
            let mut last = None;
            let mut patience = PROCESS_DONE;
            for container in mains(pod) {
                match &container.state {
                    ContainerState::Terminated(end) => {
                        last = last.max(end.finished);
                        if end.exit_code != 0 {
                            patience = PROCESS_GONE;
                        }
                    }
                    ContainerState::Waiting { .. }
                    | ContainerState::Running { .. }
                    | ContainerState::Unknown => return None,
                }
            }
            last.map(|since| Gone {
                pod,
                since,
                patience,
            })
        })
}

/// A pod that holds GPUs though its main process has ended.
struct Gone<'a> {
    pod: &'a Pod,
    since: Timestamp,
    /// How long that may last.
    patience: SignedDuration,
}

/// What the GPUs say, as far as it bears on a silence that began at `since`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Gpus {
    Idle,
    Pinned,
    /// They do something, then nothing, as at work.
    Working,
    /// Run:AI does not count them as idle; whether they work or spin, it does not say.
    Busy,
    Unknown,
}

fn gpus_since(job: &Quiet<'_>, progress: &Progress, silent_for: SignedDuration) -> Gpus {
    /// Less than this of the silence covered by metrics tells little of it.
    const COVERED: SignedDuration = SignedDuration::from_mins(5);
    if let Some(used) = &progress.gpus
        && !used.pods.is_empty()
        && used.window() >= COVERED.min(silent_for)
    {
        return if used.idle() {
            Gpus::Idle
        } else if used.pinned() {
            Gpus::Pinned
        } else if used.pods.values().all(|pod| pod.idle() || pod.pinned()) {
            // Some ranks wait in a collective and spin; the one they wait for does nothing.
            Gpus::Pinned
        } else if used.window() > silent_for {
            // The window reaches back to when it still worked.
            Gpus::Unknown
        } else {
            Gpus::Working
        };
    }
    let (allocated, idle) = job
        .workload
        .map_or((None, None), |w| (w.allocated_gpus, w.idle_allocated_gpus));
    match (allocated, idle) {
        (Some(allocated), Some(idle)) if allocated > 0.0 && idle >= allocated => Gpus::Idle,
        (Some(allocated), Some(_)) if allocated > 0.0 => Gpus::Busy,
        (Some(_) | None, Some(_) | None) => Gpus::Unknown,
    }
}

const STILL_SPEAKS: &str = "though its log still speaks";

fn hang(job: &Quiet<'_>, progress: &Progress, thresholds: &Thresholds) -> Option<Silence> {
    if job.purpose != Purpose::Batch {
        return None;
    }
    let now = progress.read?;
    let last_line = progress.last_line()?;
    let last_progress = progress.last_progress();
    let silent_for = now.duration_since(last_line);
    let stalled_for = last_progress.map(|at| now.duration_since(at));
    let pods = || progress.pods.values();
    let rhythm = pods().filter_map(PodProgress::usual_gap).min();
    let pause = pods()
        .map(PodProgress::longest_gap)
        .max()
        .unwrap_or_default();
    let busy = pods().any(|pod| pod.saving.is_some() || pod.evaluating.is_some());
    let patience = |base: u64| {
        let mut patience = seconds(base).max(pause * PAUSES_LATE);
        if let Some(step) = rhythm {
            patience = patience.max(step * STEPS_LATE);
        }
        if busy { patience * BUSY } else { patience }
    };
    let gpus = gpus_since(job, progress, silent_for);
    if gpus == Gpus::Working {
        return None;
    }
    let sure = patience(thresholds.hang_seconds);
    let alone = patience(thresholds.silence_seconds);
    let has_markers = last_progress.is_some();
    let (confidence, what) = if has_markers && silent_for >= sure && gpus == Gpus::Idle {
        (0.93, "while its GPUs do nothing")
    } else if has_markers && silent_for >= sure && gpus == Gpus::Pinned {
        (
            0.85,
            "while its GPUs spin at 100 %, as in a collective that never ends",
        )
    } else if has_markers && rhythm.is_some() && silent_for >= alone {
        let what = if gpus == Gpus::Busy {
            "though its GPUs are not idle"
        } else {
            "and nothing says what its GPUs do"
        };
        (0.65, what)
    } else if has_markers && silent_for >= alone && gpus == Gpus::Unknown {
        (0.5, "and nothing says what its GPUs do")
    } else if !has_markers && silent_for >= alone && gpus == Gpus::Idle {
        (0.75, "while its GPUs do nothing")
    } else if !has_markers
        && gpus == Gpus::Unknown
        && silent_for >= alone * BUSY
        && pods()
            .any(|pod| pod.lines >= LINES_OF_RHYTHM && silent_for >= pod.longest_pause * STEPS_LATE)
    {
        (0.45, "and nothing says what its GPUs do")
    } else if let Some(stalled) = stalled_for
        && rhythm.is_some()
        && stalled >= alone
        && matches!(gpus, Gpus::Idle | Gpus::Pinned)
        && !at_its_end(progress)
    {
        (0.6, STILL_SPEAKS)
    } else {
        return None;
    };
    let speaks = what == STILL_SPEAKS;
    let since = if speaks { last_progress? } else { last_line };
    let late = behind(progress);
    let mut detail = if speaks {
        format!(
            "no progress for {} {what}",
            spoken(now.duration_since(since))
        )
    } else {
        format!("no log line for {} {what}", spoken(silent_for))
    };
    if let Some(point) = progress.furthest() {
        detail = format!("{detail}; it stopped at {point}");
    }
    if let Some(step) = rhythm.filter(|step| step.as_secs() > 0) {
        detail = format!("{detail}, where steps usually took {}", spoken(step));
    }
    if let Some((name, pod)) = late {
        let rank = pod
            .rank
            .map(|rank| format!("rank {rank}, "))
            .unwrap_or_default();
        detail = format!("{detail}; {rank}{name} stopped first");
    }
    Some(Silence {
        cause: "hang",
        confidence,
        since,
        detail,
        pod: late.map(|(name, _)| name.to_owned()),
        node: late.and_then(|(_, pod)| pod.node.clone()),
    })
}

/// The pod that stopped a step before the others, if one did.
fn behind(progress: &Progress) -> Option<(&str, &PodProgress)> {
    let mut points: Vec<_> = progress
        .pods
        .iter()
        .filter_map(|(name, pod)| Some((name.as_str(), pod, pod.furthest()?)))
        .collect();
    points.sort_by(|a, b| {
        if a.2.is_beyond(&b.2) {
            std::cmp::Ordering::Greater
        } else {
            std::cmp::Ordering::Less
        }
    });
    let (first, second) = (points.first()?, points.get(1)?);
    second.2.is_beyond(&first.2).then_some((first.0, first.1))
}

/// The last step of its total is done.
fn at_its_end(progress: &Progress) -> bool {
    progress.furthest().is_some_and(|point| {
        point
            .total
            .is_some_and(|total| total > 0.0 && point.step >= total)
    })
}

/// GPUs that are held and not used.
fn unused(
    job: &Quiet<'_>,
    progress: &Progress,
    thresholds: &Thresholds,
    now: Timestamp,
) -> Option<Silence> {
    if job.purpose == Purpose::Service {
        return None;
    }
    let held: f64 = job.pods.iter().map(|pod| pod.gpus).sum();
    let one = (job.pods.len() == 1).then(|| job.pods[0]);
    let silence = |cause, confidence, since, detail| Silence {
        cause,
        confidence,
        since,
        detail,
        pod: one.map(|pod| pod.name.clone()),
        node: one.and_then(|pod| pod.node.clone()),
    };
    if let Some(used) = &progress.gpus
        && used.idle()
    {
        let window = used.window();
        let since = now.checked_sub(window).unwrap_or(now);
        if job.purpose == Purpose::Batch
            && used.unoccupied()
            && covers(job, used)
            && window >= seconds(thresholds.held_gpu_seconds)
        {
            let detail = format!(
                "no process has held memory on its {} for at least {}",
                gpus(held),
                spoken(window)
            );
            return Some(silence("held_no_process", 0.75, since, detail));
        }
        if covers(job, used) && window >= seconds(thresholds.idle_gpu_seconds) {
            let detail = format!(
                "its {} have been at 0 % for at least {}",
                gpus(held),
                spoken(window)
            );
            return Some(silence("idle_gpus", 0.9, since, detail));
        }
    }
    // Run:AI states idleness of this moment; how long it lasts is told by the log.
    let workload = job.workload?;
    let (allocated, idle) = (workload.allocated_gpus?, workload.idle_allocated_gpus?);
    let quiet = progress.read?.duration_since(progress.last_line()?);
    if progress.gpus.is_none()
        && job.purpose == Purpose::Interactive
        && allocated > 0.0
        && idle >= allocated
        && quiet >= seconds(thresholds.silence_seconds)
    {
        let detail = format!(
            "Run:AI reports its {} idle, and the last log line is {} old",
            gpus(allocated),
            spoken(quiet)
        );
        return Some(silence("idle_gpus", 0.7, progress.last_line()?, detail));
    }
    None
}

/// Metrics are there for every pod that holds a GPU.
fn covers(job: &Quiet<'_>, used: &GpuUse) -> bool {
    job.pods
        .iter()
        .filter(|pod| pod.gpus > 0.0)
        .all(|pod| used.pods.contains_key(&pod.name))
}

/// One rank that lags while the others get on.
fn straggler(progress: &Progress) -> Option<Silence> {
    let now = progress.read?;
    let (name, pod) = behind(progress)?;
    let (mine, best) = (pod.furthest()?, progress.furthest()?);
    let step = progress
        .pods
        .values()
        .filter_map(PodProgress::usual_gap)
        .min()?;
    let steps_behind = best.step - mine.step;
    // The others did the step that it does now long ago, and are still at work.
    let others_work = now.duration_since(best.at) < step * RANKS_LATE;
    let there = progress
        .pods
        .values()
        .flat_map(|pod| &pod.points)
        .filter(|point| point.epoch == mine.epoch && point.step >= mine.step)
        .map(|point| point.at)
        .min()?;
    let late = mine.at.max(there).duration_since(there) >= step * RANKS_LATE
        || now.duration_since(mine.at) >= step * RANKS_LATE;
    let same_epoch = mine.epoch == best.epoch;
    if !(same_epoch && others_work && steps_behind >= f64::from(RANKS_LATE) && late) {
        return None;
    }
    let rank = pod
        .rank
        .map_or_else(|| name.to_owned(), |rank| format!("rank {rank} ({name})"));
    let place = pod
        .node
        .as_ref()
        .map(|node| format!(" on {node}"))
        .unwrap_or_default();
    Some(Silence {
        cause: "straggler",
        confidence: 0.6,
        since: mine.at,
        detail: format!(
            "{rank}{place} is at step {}, the others are at {}",
            mine.step, best.step
        ),
        pod: Some(name.to_owned()),
        node: pod.node.clone(),
    })
}

fn slowdown(progress: &Progress) -> Option<Silence> {
    let now = progress.read?;
    let (pod, before, lately) = progress
        .pods
        .values()
        .filter(|pod| pod.saving.is_none() && pod.evaluating.is_none())
        .find_map(|pod| {
            let (before, lately) = pod.rates(SLOWDOWN)?;
            (lately < before * SLOWER).then_some((pod, before, lately))
        })?;
    let since = pod.points.back()?.at.checked_sub(SLOWDOWN).unwrap_or(now);
    Some(Silence {
        cause: "throughput_drop",
        confidence: 0.6,
        since,
        detail: format!(
            "a step takes {} now, and took {} before",
            step_time(lately),
            step_time(before)
        ),
        pod: None,
        node: None,
    })
}

fn step_time(rate: f64) -> String {
    let seconds = 1.0 / rate;
    if seconds >= 10.0 {
        format!("{seconds:.0} s")
    } else {
        format!("{seconds:.2} s")
    }
}

/// The job gets on, but has not saved for much longer than it used to.
fn stale_checkpoint(progress: &Progress, thresholds: &Thresholds) -> Option<Silence> {
    /// Times the usual distance.
    const LATE: i32 = 3;
    /// Below an hour little is lost.
    const LITTLE: SignedDuration = SignedDuration::from_hours(1);
    let now = progress.read?;
    let last = progress.last_checkpoint()?;
    let age = now.duration_since(last);
    let usual = progress
        .pods
        .values()
        .filter_map(PodProgress::checkpoint_gap)
        .max();
    let patience = usual.map_or(seconds(thresholds.checkpoint_seconds), |gap| {
        (gap * LATE).max(LITTLE)
    });
    let went_on = progress.furthest().is_some_and(|point| point.at > last);
    if age < patience || !went_on || at_its_end(progress) {
        return None;
    }
    let usual = usual
        .map(|gap| format!("; it used to save every {}", spoken(gap)))
        .unwrap_or_default();
    Some(Silence {
        cause: "stale_checkpoint",
        confidence: if usual.is_empty() { 0.5 } else { 0.75 },
        since: last,
        detail: format!("the last checkpoint is {} old{usual}", spoken(age)),
        pod: None,
        node: None,
    })
}

/// Attempts that end where the ones before them ended.
fn restarts(progress: &Progress, now: Timestamp) -> Option<Silence> {
    const ATTEMPTS: u32 = 2;
    let before = progress.before?;
    if progress.attempts_without_progress < ATTEMPTS || progress.advanced() == Some(true) {
        return None;
    }
    Some(Silence {
        cause: "restart_no_progress",
        confidence: 0.85,
        since: progress.furthest().map_or(now, |point| point.at),
        detail: format!(
            "{} attempts in a row did not get beyond {before}",
            progress.attempts_without_progress + 1
        ),
        pod: None,
        node: None,
    })
}

fn seconds(seconds: u64) -> SignedDuration {
    SignedDuration::from_secs(i64::try_from(seconds).unwrap_or(i64::MAX / 4))
}

fn gpus(count: f64) -> String {
    if (count - 1.0).abs() < f64::EPSILON {
        "1 GPU".to_owned()
    } else {
        format!("{count} GPUs")
    }
}

/// A duration as people say it.
fn spoken(age: SignedDuration) -> String {
    let minutes = age.as_mins();
    match minutes {
        0 => format!("{} s", age.as_secs().max(0)),
        1..=119 => format!("{minutes} min"),
        120..=2879 => format!("{} h", minutes / 60),
        _ => format!("{} days", minutes / 1440),
    }
}

#[cfg(test)]
mod tests;
