//! What happens to a simulated pod on its way: placed, started, stepping through its script, ended, deleted.

use std::time::Duration;

use jiff::SignedDuration;

use super::events::Reporter;
use super::kind::Kind;
use super::script::{Act, Cure, Exit, JobKind, ProgressLine, Start};
use super::world::{Container, Ended, Task, World};
use super::{objects, pod_status};

/// The longest pause between two starts of a crashing container (the kubelet's own limit).
const LONGEST_BACKOFF: Duration = Duration::from_mins(5);

impl World {
    /// Places the pod on a node, or says why not.
    pub(super) fn schedule(&mut self, uid: &str) {
        let Some(pod) = self
            .pods
            .get(uid)
            .filter(|pod| pod.node.is_none() && pod.deleting.is_none())
        else {
            return;
        };
        let Some(job) = self.jobs.get(&pod.job) else {
            return;
        };
        let (job_id, gpus) = (job.id, job.spec.gpus);
        let scheduler = Reporter::scheduler(job.spec.runai);
        if let Start::OverQuota {
            requested,
            quota,
            allocated,
        } = pod.script.start
        {
            let message = format!(
                "Non-preemptible workload is over quota. Workload requested {requested} GPUs, but {} quota is {quota} \
                 GPUs, while {allocated} GPUs are already allocated for non-preemptible pods. Use a preemptible workload \
                 to go over quota.",
                job.spec.project
            );
            self.hold_back(uid, &message);
            return;
        }
        if let Some(until) = job.held_until.filter(|until| *until > self.now) {
            let wait = until
                .duration_since(self.now)
                .unsigned_abs()
                .mul_f64(self.speed);
            let message = format!(
                "{} node(s) didn't have enough resources: GPUs.",
                self.nodes.len()
            );
            self.hold_back(uid, &message);
            self.plan(
                wait,
                Task::Schedule {
                    pod: uid.to_owned(),
                },
            );
            return;
        }
        let (pool, avoid) = (job.spec.pool.clone(), job.avoid.clone());
        let room = self.nodes.iter().find(|(name, node)| {
            node.pool == pool
                && !node.unschedulable
                && !node.silent
                && !avoid.contains(name)
                && node.gpus.saturating_sub(node.lost) >= node.used + gpus
        });
        let Some(name) = room.map(|(name, _)| name.clone()) else {
            let cordoned = self
                .nodes
                .values()
                .filter(|node| node.unschedulable)
                .count();
            let message = format!(
                "0/{} nodes are available: {} Insufficient nvidia.com/gpu, {cordoned} node(s) were unschedulable.",
                self.nodes.len(),
                self.nodes.len() - cordoned
            );
            self.hold_back(uid, &message);
            return;
        };
        if let Some(node) = self.nodes.get_mut(&name) {
            node.used += gpus;
        }
        self.waiting.remove(uid);
        let now = self.now;
        if let Some(pod) = self.pods.get_mut(uid) {
            pod.node = Some(name.clone());
            pod.holds_gpus = true;
            pod.scheduled = Some(now);
            pod.unschedulable = None;
        }
        self.write_pod(uid);
        if let Some(about) = self.about_pod(uid) {
            let message = format!(
                "Successfully assigned {}/{} to {name}",
                about.namespace, about.name
            );
            self.emit(&about, scheduler, "Normal", "Scheduled", &message, &[]);
        }
        self.refresh(job_id);
        self.plan(
            Duration::from_millis(800),
            Task::StartContainer {
                pod: uid.to_owned(),
            },
        );
    }

    /// The pod stays pending for the reason in `message`.
    fn hold_back(&mut self, uid: &str, message: &str) {
        let Some(pod) = self.pods.get_mut(uid) else {
            return;
        };
        let job = pod.job;
        pod.unschedulable = Some(message.to_owned());
        self.waiting.insert(uid.to_owned());
        self.write_pod(uid);
        let runai = self.jobs.get(&job).is_some_and(|job| job.spec.runai);
        let reason = if runai {
            "Unschedulable"
        } else {
            "FailedScheduling"
        };
        if let Some(about) = self.about_pod(uid) {
            let scheduler = Reporter::scheduler(runai);
            self.emit(&about, scheduler, "Warning", reason, message, &[]);
        }
        if let Some(about) = self.about_pod_group(job).filter(|_| runai) {
            self.emit(
                &about,
                Reporter::Scheduler,
                "Normal",
                "Unschedulable",
                message,
                &[],
            );
        }
        self.refresh(job);
    }

    /// Starts the container, or begins to fail at it.
    pub(super) fn start_container(&mut self, uid: &str) {
        let Some(pod) = self.pods.get(uid).filter(|pod| pod.deleting.is_none()) else {
            return;
        };
        let Some(job) = self.jobs.get(&pod.job) else {
            return;
        };
        let (job_id, restarts) = (job.id, pod.restarts);
        if job.spec.cure == Cure::OffFaultyNode && job.run > 0 && !self.touches_faulty_node(job_id)
        {
            let cured = job.spec.cured.clone();
            if let Some(pod) = self.pods.get_mut(uid) {
                pod.script = cured;
            }
        }
        let Some(pod) = self.pods.get(uid) else {
            return;
        };
        let script = pod.script.clone();
        if matches!(script.start, Start::Blocked { .. }) {
            self.retry_blocked(uid, 0);
            return;
        }
        let (slot, now) = (pod.slot, self.now);
        self.new_log(uid);
        if let Some(pod) = self.pods.get_mut(uid) {
            pod.container = Container::Running { since: now };
            pod.ready = true;
            pod.ready_since = now;
        }
        self.write_pod(uid);
        self.kubelet_event(uid, "Normal", "Pulled", |job| {
            format!(
                "Container image \"{}\" already present on machine and can be accessed by the pod",
                job.spec.image
            )
        });
        self.kubelet_event(uid, "Normal", "Created", |_| "Container created".to_owned());
        self.kubelet_event(uid, "Normal", "Started", |_| "Container started".to_owned());
        for step in script.steps {
            if step.slot.is_none_or(|wanted| wanted == slot) {
                self.plan(
                    step.after,
                    Task::Act {
                        pod: uid.to_owned(),
                        restarts,
                        act: step.act,
                    },
                );
            }
        }
        self.refresh(job_id);
    }

    fn touches_faulty_node(&self, job: u64) -> bool {
        self.job_pods(job)
            .filter(|pod| pod.deleting.is_none())
            .filter_map(|pod| self.nodes.get(pod.node.as_deref()?))
            .any(|node| node.lost > 0 || node.silent)
    }

    /// One more attempt at a container that cannot start: the full words first, then the short ones.
    pub(super) fn retry_blocked(&mut self, uid: &str, attempt: u32) {
        let Some(pod) = self.pods.get_mut(uid).filter(|pod| pod.deleting.is_none()) else {
            return;
        };
        let Start::Blocked {
            first,
            then,
            events,
            every,
        } = pod.script.start.clone()
        else {
            return;
        };
        let fresh = attempt.is_multiple_of(2);
        let (reason, message) = if fresh { first } else { then };
        let job = pod.job;
        pod.container = Container::Waiting { reason, message };
        self.write_pod(uid);
        let pause = if fresh {
            for (kind, reason, message) in events {
                self.kubelet_event(uid, kind, reason, |_| message);
            }
            Duration::from_secs(2)
        } else {
            // The kubelet doubles its pause, up to its limit.
            every
                .saturating_mul(1 << (attempt / 2).min(5))
                .min(LONGEST_BACKOFF)
        };
        self.refresh(job);
        self.plan(
            pause,
            Task::RetryBlocked {
                pod: uid.to_owned(),
                attempt: attempt + 1,
            },
        );
    }

    /// Takes one step of a pod's script, unless its container was restarted or ended since.
    pub(super) fn act(&mut self, uid: &str, restarts: u32, act: Act) {
        let Some(pod) = self
            .pods
            .get(uid)
            .filter(|pod| pod.restarts == restarts && pod.running() && pod.deleting.is_none())
        else {
            return;
        };
        let (job, node) = (pod.job, pod.node.clone());
        match act {
            Act::Log(lines) => self.log(uid, lines),
            Act::Progress { every, line } => self.progress(uid, restarts, every, line, 1),
            Act::Exit(exit) => self.exit(uid, exit),
            Act::Event(kind, reason, message) => self.kubelet_event(uid, kind, reason, |_| message),
            Act::Ready(ready) => {
                let now = self.now;
                if let Some(pod) = self.pods.get_mut(uid) {
                    pod.ready = ready;
                    pod.ready_since = now;
                }
                self.write_pod(uid);
                self.refresh(job);
            }
            Act::LoseGpu { xid, pci } => {
                if let Some(node) = node {
                    self.lose_gpu(&node, xid, pci);
                }
            }
            Act::Preempt { by, back } => self.preempt(job, &by, back),
            Act::StopByUser => self.suspend(job, Some("demo-user@example.com")),
        }
    }

    pub(super) fn progress(
        &mut self,
        uid: &str,
        restarts: u32,
        every: Duration,
        line: ProgressLine,
        n: u32,
    ) {
        let Some(pod) = self
            .pods
            .get(uid)
            .filter(|pod| pod.restarts == restarts && pod.running())
        else {
            return;
        };
        let slot = pod.slot;
        self.log(uid, super::logs::progress(line, slot, n));
        self.plan(
            every,
            Task::Progress {
                pod: uid.to_owned(),
                restarts,
                every,
                line,
                n: n + 1,
            },
        );
    }

    /// The container ends now; the kubelet or the controller does what follows.
    pub(super) fn exit(&mut self, uid: &str, exit: Exit) {
        let Some(pod) = self.pods.get(uid) else {
            return;
        };
        let Some(job) = self.jobs.get(&pod.job) else {
            return;
        };
        let (job_id, in_place) = (job.id, job.spec.restarts_in_place);
        let started = match &pod.container {
            Container::Running { since } => *since,
            Container::Waiting { .. } => self.now,
            Container::Ended(_) => return,
        };
        let (now, code) = (self.now, exit.code);
        let always = matches!(job.spec.kind, JobKind::Workspace | JobKind::Inference);
        let Some(pod) = self.pods.get_mut(uid) else {
            return;
        };
        let ended = Ended {
            exit,
            started,
            finished: now,
        };
        pod.ready = false;
        pod.ready_since = now;
        if in_place && (code != 0 || always) {
            pod.last = Some(ended);
            pod.container = Container::Waiting {
                reason: "CrashLoopBackOff".to_owned(),
                message: format!(
                    "back-off {}s restarting failed container={} pod={}_{}({uid})",
                    backoff(pod.restarts).as_secs(),
                    objects::container_name(job),
                    pod.name,
                    pod.namespace
                ),
            };
            let pause = backoff(pod.restarts);
            self.write_pod(uid);
            self.kubelet_event(uid, "Warning", "BackOff", |job| {
                format!(
                    "Back-off restarting failed container {} in pod",
                    objects::container_name(job)
                )
            });
            self.plan(
                pause,
                Task::StartAgain {
                    pod: uid.to_owned(),
                },
            );
        } else {
            pod.container = Container::Ended(ended);
            self.write_pod(uid);
            self.pod_ended(job_id, uid, code == 0);
        }
        self.refresh(job_id);
    }

    /// The kubelet tries a crashed container once more.
    pub(super) fn start_again(&mut self, uid: &str) {
        if let Some(pod) = self.pods.get_mut(uid) {
            pod.restarts += 1;
            self.start_container(uid);
        }
    }

    /// Marks the pod as being deleted; its object goes when its container has stopped.
    pub(super) fn delete_pod(&mut self, uid: &str, grace: Duration) {
        let now = self.now;
        let Some(pod) = self.pods.get_mut(uid).filter(|pod| pod.deleting.is_none()) else {
            return;
        };
        let job = pod.job;
        self.waiting.remove(uid);
        if grace.is_zero() {
            self.remove_pod(uid);
            return;
        }
        pod.deleting = Some(
            now.saturating_add(SignedDuration::from_secs(30))
                .unwrap_or(now),
        );
        pod.ready = false;
        self.write_pod(uid);
        self.kubelet_event(uid, "Normal", "Killing", |job| {
            format!("Stopping container {}", objects::container_name(job))
        });
        // A container that heeds SIGTERM is gone long before the grace period ends.
        self.plan(
            grace.min(Duration::from_secs(1)),
            Task::RemovePod {
                pod: uid.to_owned(),
            },
        );
        self.refresh(job);
    }

    /// The pod's object, its logs and its claim on a node are gone.
    pub(super) fn remove_pod(&mut self, uid: &str) {
        self.release(uid);
        let Some(pod) = self.pods.remove(uid) else {
            return;
        };
        self.logs.remove(uid);
        self.waiting.remove(uid);
        self.cluster.remove(Kind::Pod, &pod.namespace, &pod.name);
        let Some(job) = self.jobs.get_mut(&pod.job) else {
            return;
        };
        job.pods.retain(|other| other != uid);
        let (job, name) = (job.id, job.spec.name.clone());
        self.refresh(job);
        // The job of that name may be another one by now, which waited for the pod's name.
        if let Some((job, run)) = self
            .job_named(&pod.namespace, &name)
            .map(|job| (job.id, job.run))
        {
            self.fill_job(job, run);
            self.refresh(job);
        }
    }

    /// Gives the pod's GPUs back and lets waiting pods try again.
    pub(super) fn release(&mut self, uid: &str) {
        let Some(pod) = self.pods.get_mut(uid).filter(|pod| pod.holds_gpus) else {
            return;
        };
        pod.holds_gpus = false;
        let gpus = self.jobs.get(&pod.job).map_or(0, |job| job.spec.gpus);
        if let Some(node) = pod.node.as_ref().and_then(|name| self.nodes.get_mut(name)) {
            node.used = node.used.saturating_sub(gpus);
        }
        self.retry_waiting();
    }

    /// Pods that found no room are tried once more.
    pub(super) fn retry_waiting(&mut self) {
        for pod in self.waiting.clone() {
            self.plan(Duration::from_millis(100), Task::Schedule { pod });
        }
    }

    fn kubelet_event(
        &mut self,
        uid: &str,
        kind: &str,
        reason: &str,
        message: impl FnOnce(&super::world::SimJob) -> String,
    ) {
        let Some(mut about) = self.about_pod(uid) else {
            return;
        };
        let Some(job) = about.job.and_then(|job| self.jobs.get(&job)) else {
            return;
        };
        about.field_path = Some(format!(
            "spec.containers{{{}}}",
            objects::container_name(job)
        ));
        let message = message(job);
        self.emit(&about, Reporter::Kubelet, kind, reason, &message, &[]);
    }

    /// Stores the pod as it is now.
    pub(super) fn write_pod(&mut self, uid: &str) {
        let Some(pod) = self.pods.get(uid) else {
            return;
        };
        let Some(job) = self.jobs.get(&pod.job) else {
            return;
        };
        let set = format!("{}-{}", job.spec.name, job.template_hash);
        let (owner, owner_uid) = match job.spec.kind {
            JobKind::Inference => {
                let found = self.cluster.get(Kind::ReplicaSet, &pod.namespace, &set);
                let owner_uid = found.map_or_else(|| job.uid.clone(), |set| set.uid.clone());
                (set.as_str(), owner_uid)
            }
            JobKind::Training | JobKind::Distributed | JobKind::Workspace => {
                (job.spec.name.as_str(), job.uid.clone())
            }
        };
        let mut value = objects::pod(job, pod, owner, &owner_uid);
        value["status"] = pod_status::status(pod, objects::container_name(job), &job.spec.image);
        self.cluster.put(Kind::Pod, value);
    }
}

/// The pause before the next start: the first is at once, then 10 s, doubling up to 5 min.
fn backoff(restarts: u32) -> Duration {
    if restarts == 0 {
        Duration::from_secs(1)
    } else {
        Duration::from_secs(10)
            .saturating_mul(1 << (restarts - 1).min(5))
            .min(LONGEST_BACKOFF)
    }
}
