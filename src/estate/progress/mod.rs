//! How far a job is, by what its logs say: steps, epochs, rates, checkpoints, and since when nothing was said. Pure.
//!
//! Times are those of the log lines, so that a process that starts anew knows as well as the one before it since when a
//! job is silent.

mod marker;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

pub use marker::{Kind, Marker, read};

/// Points of progress kept per pod. Older ones are thinned, so that they span the whole run.
const POINTS: usize = 96;
/// Checkpoints kept per pod, for the usual time between them.
const CHECKPOINTS: usize = 8;

/// What is known of a job's progress.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    /// By pod: of a large gang only some are read.
    pub pods: BTreeMap<String, PodProgress>,
    /// What its GPUs did, where a source tells.
    pub gpus: Option<GpuUse>,
    /// When the logs were last read, whatever they said.
    pub read: Option<Timestamp>,
    /// The furthest point that an earlier attempt of the job reached.
    pub before: Option<Point>,
    /// Attempts in a row that ended without getting beyond the one before.
    pub attempts_without_progress: u32,
}

/// What the log of a pod's main container says.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PodProgress {
    /// `uid` of the pod, by which a later attempt of the same name is told apart.
    pub uid: String,
    /// When the container that wrote this log started.
    pub started: Option<Timestamp>,
    pub rank: Option<u32>,
    pub node: Option<String>,
    /// Lines read.
    pub lines: u64,
    pub first_line: Option<Timestamp>,
    pub last_line: Option<Timestamp>,
    /// The last line itself, redacted and cut.
    pub last_text: String,
    /// The longest time between two lines that was followed by more of them.
    pub longest_pause: SignedDuration,
    /// How far it was when, oldest first.
    pub points: VecDeque<Point>,
    /// When a marker last said something new.
    pub last_progress: Option<Timestamp>,
    pub loss: Option<f64>,
    pub tokens_per_second: Option<f64>,
    /// When checkpoints were saved, oldest first.
    pub checkpoints: VecDeque<Timestamp>,
    /// A save that began and of which no end was read yet.
    pub saving: Option<Timestamp>,
    /// An evaluation that began after the last step.
    pub evaluating: Option<Timestamp>,
    epoch: Option<f64>,
    bar: Option<f64>,
}

/// How far it was at one time. Steps may count anew in each epoch.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Point {
    pub at: Timestamp,
    pub epoch: Option<f64>,
    pub step: f64,
    pub total: Option<f64>,
}

/// What the GPUs of a job's pods did over a window, from metrics of the GPUs themselves; never from CPU.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct GpuUse {
    pub pods: BTreeMap<String, PodGpus>,
}

/// The GPUs of one pod.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct PodGpus {
    pub gpus: u32,
    /// Over how long the following was so, in seconds.
    pub window_seconds: u64,
    /// Least and greatest utilisation of any of them in the window, in percent.
    pub least: f64,
    pub most: f64,
    /// Memory in use on the fullest of them, in MiB, the greatest in the window.
    pub memory_mib: Option<f64>,
}

impl PodGpus {
    /// Idle GPUs show 0 %, and for a moment 1 % while something asks them.
    pub const IDLE_PERCENT: f64 = 2.0;
    /// A kernel that spins in a collective shows 100 %, sampled as 98 at times.
    pub const PINNED_PERCENT: f64 = 97.0;

    #[must_use]
    pub fn idle(&self) -> bool {
        self.most <= Self::IDLE_PERCENT
    }

    #[must_use]
    pub fn pinned(&self) -> bool {
        self.least >= Self::PINNED_PERCENT
    }
}

impl GpuUse {
    /// Every GPU idle.
    #[must_use]
    pub fn idle(&self) -> bool {
        !self.pods.is_empty() && self.pods.values().all(PodGpus::idle)
    }

    /// Every GPU busy all the time.
    #[must_use]
    pub fn pinned(&self) -> bool {
        !self.pods.is_empty() && self.pods.values().all(PodGpus::pinned)
    }

    /// No GPU holds memory of a process. An idle GPU with no process shows less than this even where the driver keeps a
    /// context open.
    #[must_use]
    pub fn unoccupied(&self) -> bool {
        const DRIVER_MIB: f64 = 64.0;
        !self.pods.is_empty()
            && self
                .pods
                .values()
                .all(|pod| pod.memory_mib.is_some_and(|mib| mib <= DRIVER_MIB))
    }

    /// For how long all of it is known, in seconds.
    #[must_use]
    pub fn window(&self) -> SignedDuration {
        let seconds = self.pods.values().map(|pod| pod.window_seconds).min();
        SignedDuration::from_secs(i64::try_from(seconds.unwrap_or(0)).unwrap_or(0))
    }
}

impl Point {
    /// Whether this is further than `other`. Steps that count anew in a later epoch are further.
    #[must_use]
    pub fn is_beyond(&self, other: &Self) -> bool {
        match (self.epoch, other.epoch) {
            (Some(mine), Some(theirs)) if mine.floor() > theirs.floor() => true,
            (Some(mine), Some(theirs)) if mine.floor() < theirs.floor() => false,
            (Some(_) | None, Some(_) | None) => self.step > other.step,
        }
    }
}

impl std::fmt::Display for Point {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "step {}", self.step)?;
        if let Some(total) = self.total {
            write!(f, " of {total}")?;
        }
        match self.epoch {
            Some(epoch) if epoch.fract() == 0.0 => write!(f, " of epoch {epoch}"),
            Some(_) | None => Ok(()),
        }
    }
}

impl PodProgress {
    /// Takes in a line of the log. Lines not newer than what was read are known; one without a time says nothing of
    /// when.
    pub fn take(&mut self, at: Option<Timestamp>, text: &str) {
        let Some(at) = at else { return };
        if self.last_line.is_some_and(|last| at < last) {
            return;
        }
        if let Some(last) = self.last_line {
            self.longest_pause = self.longest_pause.max(at.duration_since(last));
        }
        self.lines = self.lines.saturating_add(1);
        self.first_line.get_or_insert(at);
        self.last_line = Some(at);
        if !text.trim().is_empty() {
            self.last_text = crate::redact::line(text.trim(), 240);
        }
        for marker in read(text) {
            self.mark(at, marker);
        }
    }

    #[allow(
        clippy::float_cmp,
        reason = "a line that comes again says the very same"
    )]
    fn mark(&mut self, at: Timestamp, marker: Marker) {
        match marker.kind {
            Kind::Step => {
                let point = Point {
                    at,
                    epoch: self.epoch,
                    step: marker.value,
                    total: marker.total,
                };
                if self
                    .points
                    .back()
                    .is_some_and(|last| last.step == point.step && last.epoch == point.epoch)
                {
                    return;
                }
                // Whoever goes on stepping is done with saving and evaluating, though no line said so.
                if let Some(began) = self.saving.take() {
                    self.saved(began);
                }
                self.evaluating = None;
                self.points.push_back(point);
                if self.points.len() > POINTS {
                    self.thin();
                }
                self.last_progress = Some(at);
            }
            Kind::Epoch => {
                if self.epoch != Some(marker.value) {
                    self.epoch = Some(marker.value);
                    self.last_progress = Some(at);
                }
            }
            Kind::Bar => {
                if self.bar != Some(marker.value) {
                    self.bar = Some(marker.value);
                    self.last_progress = Some(at);
                }
            }
            Kind::Loss => {
                // Some log nothing but the loss; two equal values in a row are seldom, and a repeated line is no progress.
                if self.loss != Some(marker.value) {
                    self.loss = Some(marker.value);
                    self.last_progress = Some(at);
                }
            }
            Kind::TokensPerSecond => self.tokens_per_second = Some(marker.value),
            Kind::StepsPerSecond | Kind::SamplesPerSecond => {}
            Kind::CheckpointSaved => {
                self.saving = None;
                self.saved(at);
                self.last_progress = Some(at);
            }
            Kind::CheckpointBegun => {
                self.saving = Some(at);
                self.last_progress = Some(at);
            }
            Kind::CheckpointFailed => self.saving = None,
            Kind::EvaluationBegun => {
                self.evaluating = Some(at);
                self.last_progress = Some(at);
            }
        }
    }

    fn saved(&mut self, at: Timestamp) {
        self.checkpoints.push_back(at);
        if self.checkpoints.len() > CHECKPOINTS {
            self.checkpoints.pop_front();
        }
    }

    /// Drops every second of the older half.
    fn thin(&mut self) {
        let half = self.points.len() / 2;
        let mut index = 0;
        self.points.retain(|_| {
            index += 1;
            index > half || index % 2 == 1
        });
    }

    /// The time between two points of progress, as it usually is; `None` where there are too few to tell.
    #[must_use]
    pub fn usual_gap(&self) -> Option<SignedDuration> {
        const ENOUGH: usize = 2;
        let mut gaps: Vec<SignedDuration> = self
            .points
            .iter()
            .zip(self.points.iter().skip(1))
            .map(|(a, b)| b.at.duration_since(a.at))
            .collect();
        if gaps.len() < ENOUGH {
            return None;
        }
        gaps.sort_unstable();
        gaps.get(gaps.len() / 2).copied()
    }

    /// The longest time between two points of progress so far: evaluations and checkpoints included.
    #[must_use]
    pub fn longest_gap(&self) -> SignedDuration {
        let gaps = self.points.iter().zip(self.points.iter().skip(1));
        gaps.map(|(a, b)| b.at.duration_since(a.at))
            .max()
            .unwrap_or_default()
    }

    /// Steps per second at first and lately, where both can be told: the medians of the older part and of the last
    /// `recent`.
    #[must_use]
    pub fn rates(&self, recent: SignedDuration) -> Option<(f64, f64)> {
        const EARLIER: usize = 8;
        const LATE: usize = 4;
        let end = self.points.back()?.at;
        let (mut early, mut late) = (Vec::new(), Vec::new());
        for (a, b) in self.points.iter().zip(self.points.iter().skip(1)) {
            let seconds = b.at.duration_since(a.at).as_secs_f64();
            let steps = b.step - a.step;
            if a.epoch != b.epoch || steps <= 0.0 || seconds <= 0.0 {
                continue;
            }
            let rates = if end.duration_since(b.at) <= recent {
                &mut late
            } else {
                &mut early
            };
            rates.push(steps / seconds);
        }
        if early.len() < EARLIER || late.len() < LATE {
            return None;
        }
        Some((median(&mut early)?, median(&mut late)?))
    }

    /// How far it is.
    #[must_use]
    pub fn furthest(&self) -> Option<Point> {
        self.points
            .iter()
            .copied()
            .reduce(|best, point| if point.is_beyond(&best) { point } else { best })
    }

    /// The usual time between checkpoints, if there were several.
    #[must_use]
    pub fn checkpoint_gap(&self) -> Option<SignedDuration> {
        let mut gaps: Vec<SignedDuration> = self
            .checkpoints
            .iter()
            .zip(self.checkpoints.iter().skip(1))
            .map(|(a, b)| b.duration_since(*a))
            .collect();
        gaps.sort_unstable();
        gaps.get(gaps.len() / 2).copied()
    }
}

fn median(values: &mut [f64]) -> Option<f64> {
    values.sort_unstable_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}

impl Progress {
    /// The latest line of any pod.
    #[must_use]
    pub fn last_line(&self) -> Option<Timestamp> {
        self.pods.values().filter_map(|pod| pod.last_line).max()
    }

    /// When any pod last got on.
    #[must_use]
    pub fn last_progress(&self) -> Option<Timestamp> {
        self.pods.values().filter_map(|pod| pod.last_progress).max()
    }

    /// When a checkpoint was last saved.
    #[must_use]
    pub fn last_checkpoint(&self) -> Option<Timestamp> {
        let saved = self.pods.values().filter_map(|pod| pod.checkpoints.back());
        saved.max().copied()
    }

    /// How far the job is: the furthest of its pods.
    #[must_use]
    pub fn furthest(&self) -> Option<Point> {
        let points = self.pods.values().filter_map(PodProgress::furthest);
        points.reduce(|best, point| if point.is_beyond(&best) { point } else { best })
    }

    /// Whether the present attempt got beyond where the one before it ended; `None` where that cannot be told.
    #[must_use]
    pub fn advanced(&self) -> Option<bool> {
        let (now, before) = (self.furthest()?, self.before?);
        Some(now.is_beyond(&before))
    }

    /// Takes in what was read of a pod's log. A pod or container that took the place of an earlier one begins anew, and
    /// how far the earlier one was is kept.
    pub fn pod(&mut self, name: &str, uid: &str, started: Option<Timestamp>) -> &mut PodProgress {
        let other = self.pods.get(name).is_some_and(|pod| {
            pod.uid != uid || (pod.started.is_some() && started.is_some() && pod.started != started)
        });
        if other && let Some(old) = self.pods.remove(name) {
            self.ended(&old);
        }
        let pod = self.pods.entry(name.to_owned()).or_default();
        uid.clone_into(&mut pod.uid);
        pod.started = pod.started.or(started);
        pod
    }

    /// Remembers how far an attempt was that is over.
    pub fn ended(&mut self, attempt: &PodProgress) {
        let Some(point) = attempt.furthest() else {
            return;
        };
        if self.before.is_none_or(|before| point.is_beyond(&before)) {
            self.before = Some(point);
            self.attempts_without_progress = 0;
        } else {
            self.attempts_without_progress = self.attempts_without_progress.saturating_add(1);
        }
    }

    /// Drops pods that are no longer of the job.
    pub fn keep(&mut self, is_there: impl Fn(&str) -> bool) {
        let gone: Vec<String> = self
            .pods
            .keys()
            .filter(|name| !is_there(name))
            .cloned()
            .collect();
        for name in gone {
            if let Some(old) = self.pods.remove(&name) {
                self.ended(&old);
            }
        }
    }
}
