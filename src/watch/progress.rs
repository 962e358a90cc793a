//! Reads, at a bounded cost, how far running GPU jobs are: the newest lines of a few pods of each, and what the GPUs of
//! all of them do, asked for once.
//!
//! Nothing has to be remembered over a restart: since when a job is silent stands in the times of its last lines, which
//! the first reading of a log takes from its tail.

mod choose;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::stream::{self, StreamExt};
use jiff::{SignedDuration, Timestamp};
use tokio::sync::{Mutex, mpsc};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::control::MonitoringControl;
use super::kubernetes::client::{Clusters, KubeError};
use super::sources::Sources;
use super::{Beat, Observation};
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
    /// From the beginning of one round to the next. What does not fit into a round comes into one of the next.
    pub every: Duration,
    /// Between two questions to one cluster while there are few jobs: five a second leave any API server its peace.
    pub pace: Duration,
    /// The shortest time between two questions to one cluster, however many jobs run: twenty a second are little beside
    /// what the kubelets of a cluster with so many jobs ask.
    pub fastest: Duration,
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
            fastest: Duration::from_millis(50),
            concurrency: 8,
            pods: 3,
            pods_when_silent: 16,
            first_tail_lines: 200,
            tail_lines: 500,
        }
    }
}

/// The name under which the sampler beats.
pub const SOURCE: &str = "progress";

/// The parts of the sampler.
pub struct Sampler {
    pub clusters: Clusters,
    pub estate: SharedEstate,
    pub monitoring: MonitoringControl,
    pub sources: Sources,
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
    urgency: f64,
}

/// What became of one reading of a job.
struct Reading {
    job: JobKey,
    progress: Progress,
    /// Questions that were answered, be it with nothing.
    answered: usize,
    /// Questions that were not, and why the last of them was not.
    failed: usize,
    error: Option<String>,
}

/// The questions of one round to one cluster, at an even distance.
type Paces = HashMap<String, Mutex<Interval>>;

impl Sampler {
    /// Reads round after round until `stop`.
    pub async fn run(self, out: mpsc::Sender<Observation>, stop: CancellationToken) {
        self.sources
            .expect(SOURCE, self.settings.every, Timestamp::now());
        let mut rounds = interval(self.settings.every);
        rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while stop.run_until_cancelled(rounds.tick()).await.is_some() {
            if stop.run_until_cancelled(self.round(&out)).await.is_none() {
                return;
            }
        }
    }

    async fn round(&self, out: &mpsc::Sender<Observation>) {
        let began = Instant::now();
        let now = Timestamp::now();
        let plans = self.plans(now);
        let jobs = plans.len();
        // Of those that were never read the age is not known; they are among the first to be.
        let oldest = plans.iter().filter_map(|plan| plan.progress.read).min();
        let lag = oldest.map(|read| now.duration_since(read).as_millis());
        let (plans, paces) = self.round_of(plans);
        let mut problem = None;
        let gpus = match &self.gpus {
            Some(ask) if !plans.is_empty() => match ask(self.thresholds.clone()).await {
                Ok(gpus) => Some(gpus),
                Err(error) => {
                    warn!(error, "cannot ask what the GPUs do");
                    None
                }
            },
            Some(_) | None => None,
        };
        let (gpus, paces) = (gpus.as_ref(), &paces);
        let (mut answered, mut failed) = (0, 0);
        // Where answers are slow the least urgent wait for a later round.
        let in_time = |_: &Plan| std::future::ready(began.elapsed() < self.settings.every);
        let mut read = stream::iter(plans)
            .take_while(in_time)
            .map(|plan| self.read(plan, gpus, paces))
            .buffer_unordered(self.settings.concurrency.max(1));
        while let Some(reading) = read.next().await {
            answered += reading.answered;
            failed += reading.failed;
            problem = reading.error.or(problem);
            let observation = Observation::Progress {
                job: reading.job,
                progress: Box::new(reading.progress),
            };
            if out.send(observation).await.is_err() {
                return;
            }
        }
        // A log or two that cannot be read are no failure of the source.
        let error = problem
            .filter(|_| failed > answered)
            .map(|problem| format!("{failed} logs of running jobs cannot be read: {problem}"));
        let beat = Beat {
            source: SOURCE.to_owned(),
            at: Timestamp::now(),
            error,
            objects: jobs as u64,
            lag_ms: lag.and_then(|ms| u64::try_from(ms).ok()),
        };
        // That nobody listens any more is noticed with the next reading.
        let _ = out.send(Observation::Beat(beat)).await;
    }

    /// What is read this time, the most urgent first, and how fast each cluster is asked.
    fn round_of(&self, plans: Vec<Plan>) -> (Vec<Plan>, Paces) {
        let mut asked: BTreeMap<String, usize> = BTreeMap::new();
        for plan in &plans {
            *asked.entry(plan.key.cluster.clone()).or_default() += plan.wanted.len();
        }
        let Settings {
            every,
            pace,
            fastest,
            ..
        } = self.settings;
        let paces: Paces = asked
            .into_iter()
            .map(|(cluster, questions)| {
                let mut pace = interval(choose::pace(questions, every, fastest, pace));
                pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
                (cluster, Mutex::new(pace))
            })
            .collect();
        let most = choose::most_questions(every, fastest);
        let mut taken: HashMap<String, usize> = HashMap::new();
        let plans = plans
            .into_iter()
            .filter(|plan| {
                let taken = taken.entry(plan.key.cluster.clone()).or_default();
                *taken += plan.wanted.len();
                *taken <= most
            })
            .collect();
        (plans, paces)
    }

    /// The jobs whose silence would mean something, the most urgent first.
    fn plans(&self, now: Timestamp) -> Vec<Plan> {
        let estate = self.estate.read().unwrap_or_else(PoisonError::into_inner);
        let mut plans: Vec<Plan> = estate
            .jobs()
            .filter(|job| self.clusters.cluster(&job.key.cluster).is_some())
            .filter(|job| {
                self.monitoring
                    .admits(job.project.as_deref(), &job.key.namespace, now)
            })
            .filter_map(|job| self.plan(job, now))
            .collect();
        plans.sort_by(|a, b| {
            b.urgency
                .total_cmp(&a.urgency)
                .then_with(|| a.key.cmp(&b.key))
        });
        plans
    }

    fn plan(&self, job: &Job, now: Timestamp) -> Option<Plan> {
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
            Purpose::Batch if choose::quiet_for(&progress) >= self.hang() / 2 => {
                self.settings.pods_when_silent
            }
            Purpose::Batch => self.settings.pods,
        };
        let wanted = spread(pods.len(), count)
            .filter_map(|index| wanted(pods[index]))
            .collect();
        let gpus: f64 = pods.iter().map(|pod| pod.gpus).sum();
        Some(Plan {
            key: (*job.key).clone(),
            urgency: choose::urgency(&progress, gpus, self.hang(), now),
            progress,
            wanted,
            pods: names,
        })
    }

    fn hang(&self) -> SignedDuration {
        SignedDuration::from_secs(i64::try_from(self.thresholds.hang_seconds).unwrap_or(i64::MAX))
    }

    /// Reads what is new of a job. Only if every chosen pod answered is the job known to be silent.
    async fn read(&self, plan: Plan, gpus: Option<&GpusByPod>, paces: &Paces) -> Reading {
        let Plan {
            key,
            mut progress,
            wanted,
            pods,
            urgency: _,
        } = plan;
        let asked = wanted.len();
        let (mut answered, mut failed, mut last_error) = (0, 0, None);
        for Wanted {
            pod,
            uid,
            container,
            started,
            rank,
            node,
        } in wanted
        {
            if let Some(pace) = paces.get(&key.cluster) {
                pace.lock().await.tick().await;
            }
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
                    answered += 1;
                    for line in lines {
                        known.take(line.at, &line.text);
                    }
                }
                // It says nothing yet, or is gone: the watch tells.
                Err(KubeError::NoLog { .. } | KubeError::NotFound { .. }) => answered += 1,
                Err(error) => {
                    failed += 1;
                    last_error = Some(error.explain());
                    debug!(%error, pod, "cannot read how far a pod is");
                }
            }
        }
        if asked > 0 && answered == asked {
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
        Reading {
            job: key,
            progress,
            answered,
            failed,
            error: last_error,
        }
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
