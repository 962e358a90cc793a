//! Reads, at a bounded cost, how far running GPU jobs are: the newest lines of a few pods of each, and what the GPUs of
//! all of them do, asked for once.
//!
//! Nothing has to be remembered over a restart: since when a job is silent stands in the times of its last lines, which
//! the first reading of a log takes from its tail.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::stream::{self, StreamExt};
use jiff::{SignedDuration, Timestamp};
use tokio::sync::{Mutex, mpsc};
use tokio::time::{Interval, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::Observation;
use super::control::MonitoringControl;
use super::kubernetes::client::{Clusters, KubeError};
use crate::detect::Thresholds;
use crate::detect::silent::{Purpose, purpose};
use crate::estate::index::Job;
use crate::estate::progress::{GpuUse, PodGpus, Progress};
use crate::estate::{ContainerState, JobKey, Pod, SharedEstate};

/// What GPUs do, by namespace and pod.
pub type GpusByPod = HashMap<(String, String), PodGpus>;
/// Asks for the GPUs of all pods at once. An error is a sentence for people.
pub type AskGpus =
    Arc<dyn Fn(Thresholds) -> BoxFuture<'static, Result<GpusByPod, String>> + Send + Sync>;

/// How often and how much is read.
#[derive(Clone, Debug)]
pub struct Settings {
    /// From the beginning of one round over all jobs to the next; a round that takes longer is followed at once.
    pub every: Duration,
    /// Between two questions to the clusters, whatever the number of jobs: five a second leave an API server its peace.
    pub pace: Duration,
    /// Questions that may wait for their answers at one time.
    pub concurrency: usize,
    /// Pods read of each job, and of one that seems silent: a gang often logs on its first or its last rank alone.
    pub pods: usize,
    pub pods_when_silent: usize,
    /// Lines of the first reading of a log.
    pub first_tail_lines: u32,
    /// Lines of later ones, which ask only for what is new.
    pub tail_lines: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            every: Duration::from_mins(1),
            pace: Duration::from_millis(200),
            concurrency: 4,
            pods: 3,
            pods_when_silent: 16,
            first_tail_lines: 200,
            tail_lines: 500,
        }
    }
}

/// The parts of the sampler.
pub struct Sampler {
    pub clusters: Clusters,
    pub estate: SharedEstate,
    pub monitoring: MonitoringControl,
    pub thresholds: Thresholds,
    pub gpus: Option<AskGpus>,
    pub settings: Settings,
}

/// A pod whose log is to be read.
struct Wanted {
    pod: String,
    uid: String,
    container: String,
    started: Option<Timestamp>,
    rank: Option<u32>,
    node: Option<String>,
}

/// A job that is to be read.
struct Plan {
    key: JobKey,
    progress: Progress,
    wanted: Vec<Wanted>,
    /// All its pods, whose GPUs count.
    pods: Vec<String>,
}

impl Sampler {
    /// Reads round after round until `stop`.
    pub async fn run(self, out: mpsc::Sender<Observation>, stop: CancellationToken) {
        let mut rounds = interval(self.settings.every);
        rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut pace = interval(self.settings.pace.max(Duration::from_millis(1)));
        pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let pace = Mutex::new(pace);
        while stop.run_until_cancelled(rounds.tick()).await.is_some() {
            if stop
                .run_until_cancelled(self.round(&pace, &out))
                .await
                .is_none()
            {
                return;
            }
        }
    }

    async fn round(&self, pace: &Mutex<Interval>, out: &mpsc::Sender<Observation>) {
        let plans = self.plans(Timestamp::now());
        if plans.is_empty() {
            return;
        }
        let gpus = match &self.gpus {
            Some(ask) => match ask(self.thresholds.clone()).await {
                Ok(gpus) => Some(gpus),
                Err(error) => {
                    warn!(error, "cannot ask what the GPUs do");
                    None
                }
            },
            None => None,
        };
        let gpus = gpus.as_ref();
        let mut read = stream::iter(plans)
            .map(|plan| self.read(plan, gpus, pace))
            .buffer_unordered(self.settings.concurrency.max(1));
        while let Some((job, progress)) = read.next().await {
            let progress = Box::new(progress);
            if out
                .send(Observation::Progress { job, progress })
                .await
                .is_err()
            {
                return;
            }
        }
    }

    /// The jobs whose silence would mean something.
    fn plans(&self, now: Timestamp) -> Vec<Plan> {
        let estate = self.estate.read().unwrap_or_else(PoisonError::into_inner);
        let mut plans: Vec<Plan> = estate
            .jobs()
            .filter(|job| self.clusters.cluster(&job.key.cluster).is_some())
            .filter(|job| {
                self.monitoring
                    .admits(job.project.as_deref(), &job.key.namespace, now)
            })
            .filter_map(|job| self.plan(job))
            .collect();
        // The longest unread first: if the round is cut short by the end of a process, the next one begins there.
        plans.sort_by(|a, b| (a.progress.read, &a.key).cmp(&(b.progress.read, &b.key)));
        plans
    }

    fn plan(&self, job: &Job) -> Option<Plan> {
        let mut pods: Vec<&Pod> = job
            .current_pods()
            .into_iter()
            .filter(|pod| pod.gpus > 0.0 && pod.phase == "Running" && pod.deleting.is_none())
            .collect();
        if pods.is_empty() {
            return None;
        }
        pods.sort_by(|a, b| (a.rank, &a.name).cmp(&(b.rank, &b.name)));
        let purpose = purpose(job.kind(), &job.key.name, job.is_service(), &job.pods);
        let mut progress = job.progress.clone().unwrap_or_default();
        let names: Vec<String> = pods.iter().map(|pod| pod.name.clone()).collect();
        progress.keep(|name| names.iter().any(|known| known == name));
        let count = match purpose {
            // Servers wait for requests: nothing of them is judged by their logs.
            Purpose::Service => return None,
            Purpose::Interactive => 1,
            Purpose::Batch if self.seems_silent(&progress) => self.settings.pods_when_silent,
            Purpose::Batch => self.settings.pods,
        };
        let wanted = spread(pods.len(), count)
            .filter_map(|index| wanted(pods[index]))
            .collect();
        Some(Plan {
            key: (*job.key).clone(),
            progress,
            wanted,
            pods: names,
        })
    }

    /// Half way to a hang, more of its pods are heard.
    fn seems_silent(&self, progress: &Progress) -> bool {
        let half = i64::try_from(self.thresholds.hang_seconds / 2).unwrap_or(i64::MAX);
        match (progress.read, progress.last_line()) {
            (Some(read), Some(line)) => {
                read.duration_since(line) >= SignedDuration::from_secs(half)
            }
            (Some(_) | None, Some(_) | None) => false,
        }
    }

    /// Reads what is new of a job. Only if every chosen pod answered is the job known to be silent.
    async fn read(
        &self,
        plan: Plan,
        gpus: Option<&GpusByPod>,
        pace: &Mutex<Interval>,
    ) -> (JobKey, Progress) {
        let Plan {
            key,
            mut progress,
            wanted,
            pods,
        } = plan;
        let mut heard_all = !wanted.is_empty();
        for Wanted {
            pod,
            uid,
            container,
            started,
            rank,
            node,
        } in wanted
        {
            pace.lock().await.tick().await;
            let Some(cluster) = self.clusters.cluster(&key.cluster) else {
                break;
            };
            let known = progress.pod(&pod, &uid, started);
            known.rank = rank;
            known.node = node;
            let since = known.last_line;
            let lines = if since.is_some() {
                self.settings.tail_lines
            } else {
                self.settings.first_tail_lines
            };
            match cluster
                .logs_since(&key.namespace, &pod, &container, since, lines)
                .await
            {
                Ok(lines) => {
                    for line in lines {
                        known.take(line.at, &line.text);
                    }
                }
                // It says nothing yet, or is gone: the watch tells.
                Err(KubeError::NoLog { .. } | KubeError::NotFound { .. }) => {}
                Err(error) => {
                    heard_all = false;
                    debug!(%error, pod, "cannot read how far a pod is");
                }
            }
        }
        if heard_all {
            progress.read = Some(Timestamp::now());
        }
        progress.gpus = gpus.map(|gpus| GpuUse {
            pods: pods
                .into_iter()
                .filter_map(|pod| {
                    let used = gpus.get(&(key.namespace.clone(), pod.clone()))?;
                    Some((pod, *used))
                })
                .collect(),
        });
        (key, progress)
    }
}

fn wanted(pod: &Pod) -> Option<Wanted> {
    let main = pod
        .containers
        .iter()
        .find(|container| !container.init && !container.is_sidecar())?;
    let started = match &main.state {
        ContainerState::Running { started } => *started,
        ContainerState::Waiting { .. }
        | ContainerState::Terminated(_)
        | ContainerState::Unknown => {
            return None;
        }
    };
    Some(Wanted {
        pod: pod.name.clone(),
        uid: pod.uid.clone(),
        container: main.name.to_string(),
        started,
        rank: pod.rank,
        node: pod.node.clone(),
    })
}

/// `count` of `all` indices: the first, the last, and others evenly between.
fn spread(all: usize, count: usize) -> impl Iterator<Item = usize> {
    let count = count.clamp(1, all.max(1)).min(all);
    (0..count).map(move |n| {
        if count == 1 {
            0
        } else {
            n * (all - 1) / (count - 1)
        }
    })
}

#[cfg(test)]
mod tests {
    use super::spread;

    #[test]
    fn of_a_gang_the_first_the_last_and_some_between_are_heard() {
        let of = |all, count| spread(all, count).collect::<Vec<_>>();
        assert_eq!(of(512, 3), [0, 255, 511]);
        assert_eq!(of(2, 3), [0, 1]);
        assert_eq!(of(1, 3), [0]);
        assert_eq!(of(4, 1), [0]);
        assert_eq!(of(0, 3), Vec::<usize>::new());
    }
}
