//! What controllers do in the simulated cluster: make and replace pods, give up, complete, suspend, roll out.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::events::Reporter;
use super::kind::Kind;
use super::objects::{self, controller_kind};
use super::script::{Cure, JobKind, JobSpec};
use super::world::{Container, History, SimJob, SimPod, Task, World};
use crate::estate::Phase;

/// The Job controller waits this long before it replaces a failed pod.
const JOB_RETRY: Duration = Duration::from_secs(10);

impl World {
    /// Makes a job: its controller, its claims, and at once its pods.
    pub(super) fn add_job(&mut self, spec: JobSpec, run: u32) -> u64 {
        let id = self.add_job_without_pods(spec, run);
        self.fill_job(id, run);
        self.refresh(id);
        id
    }

    pub(super) fn add_job_without_pods(&mut self, spec: JobSpec, run: u32) -> u64 {
        let id = self.jobs.last_key_value().map_or(1, |(id, _)| id + 1);
        let (namespace, now) = (spec.namespace(), self.now);
        for claim in &spec.claims {
            if self
                .cluster
                .get(Kind::PersistentVolumeClaim, &namespace, claim)
                .is_none()
            {
                let uid = self.new_uid();
                self.cluster.put(
                    Kind::PersistentVolumeClaim,
                    objects::claim(&namespace, claim, &uid, now),
                );
            }
        }
        let job = SimJob {
            id,
            uid: self.new_uid(),
            workload: self.new_uid(),
            created: now,
            run,
            pods: Vec::new(),
            avoid: Vec::new(),
            suspended: false,
            held_until: None,
            born: 0,
            failed: None,
            completed: None,
            failed_pods: 0,
            template_hash: self.suffix(10),
            phase: Phase::Creating,
            phase_message: String::new(),
            phase_since: now,
            transition: None,
            history: Vec::new(),
            deleted: None,
            spec,
        };
        self.names.insert((namespace, job.spec.name.clone()), id);
        self.jobs.insert(id, job);
        if let Some(job) = self.jobs.get(&id) {
            let controller = objects::controller(job);
            self.cluster.put(controller_kind(job.spec.kind), controller);
        }
        self.write_replica_set(id);
        id
    }

    fn write_replica_set(&mut self, id: u64) {
        let uid = self.new_uid();
        let Some(job) = self
            .jobs
            .get(&id)
            .filter(|job| job.spec.kind == JobKind::Inference)
        else {
            return;
        };
        let name = format!("{}-{}", job.spec.name, job.template_hash);
        self.cluster.put(
            Kind::ReplicaSet,
            objects::replica_set(job, &name, &uid, self.now),
        );
    }

    /// Makes the pods that are missing, if the job still wants pods in this run.
    pub(super) fn fill_job(&mut self, id: u64, run: u32) {
        let Some(job) = self.jobs.get(&id) else {
            return;
        };
        let over = job.failed.is_some() || job.completed.is_some() || job.deleted.is_some();
        if job.run != run || over || job.suspended || job.transition == Some(Phase::Deleting) {
            return;
        }
        let replaces_failed = job.spec.kind == JobKind::Training;
        let wanted = (0..job.spec.pods).filter(|slot| {
            !self.job_pods(id).any(|pod| {
                pod.slot == *slot && pod.deleting.is_none() && !(replaces_failed && pod.failed())
            })
        });
        for slot in wanted.collect::<Vec<_>>() {
            self.create_pod(id, slot);
        }
    }

    /// Makes one pod and has it scheduled. A pod whose namesake is still being deleted is made when that one is gone.
    fn create_pod(&mut self, id: u64, slot: u32) {
        let Some(uid) = self.insert_pod(id, slot) else {
            return;
        };
        self.write_pod(&uid);
        let name = self
            .pods
            .get(&uid)
            .map(|pod| pod.name.clone())
            .unwrap_or_default();
        if let Some(about) = self.about_controller(id) {
            let reporter = if about.kind == "PyTorchJob" {
                Reporter::TrainingOperator
            } else {
                Reporter::JobController
            };
            let message = format!("Created pod: {name}");
            self.emit(
                &about,
                reporter,
                "Normal",
                "SuccessfulCreate",
                &message,
                &[],
            );
        }
        self.plan(Duration::from_millis(200), Task::Schedule { pod: uid });
    }

    /// Makes one pod, not yet stored. `None` while a namesake exists.
    pub(super) fn insert_pod(&mut self, id: u64, slot: u32) -> Option<String> {
        let (uid, suffix, now) = (self.new_uid(), self.suffix(5), self.now);
        let ip = format!("10.244.{}.{}", self.rng.u8(..), self.rng.u8(2..));
        let job = self.jobs.get_mut(&id)?;
        let name = &job.spec.name;
        let name = match job.spec.kind {
            JobKind::Training => format!("{name}-{suffix}"),
            JobKind::Workspace => format!("{name}-{slot}"),
            JobKind::Inference => format!("{name}-{}-{suffix}", job.template_hash),
            JobKind::Distributed => {
                let (role, index) = objects::replica(slot);
                format!("{name}-{role}-{index}")
            }
        };
        if self
            .cluster
            .get(Kind::Pod, &job.spec.namespace(), &name)
            .is_some()
        {
            return None;
        }
        let cured = match job.spec.cure {
            // Whether a gang lies on a faulty node is known only when all of it has been placed.
            Cure::Never | Cure::OffFaultyNode => false,
            Cure::NextRun => job.run > 0,
            Cure::NewPod => job.run > 0 || job.born >= job.spec.pods,
        };
        let script = if cured {
            job.spec.cured.clone()
        } else {
            job.spec.script.clone()
        };
        job.born += 1;
        job.pods.push(uid.clone());
        let pod = SimPod {
            job: id,
            slot,
            namespace: job.spec.namespace(),
            name: name.clone(),
            uid: uid.clone(),
            created: now,
            script,
            node: None,
            holds_gpus: false,
            ip,
            scheduled: None,
            unschedulable: None,
            container: Container::Waiting {
                reason: "ContainerCreating".to_owned(),
                message: String::new(),
            },
            last: None,
            restarts: 0,
            ready: false,
            ready_since: now,
            deleting: None,
            disrupted: None,
        };
        self.pods.insert(uid.clone(), pod);
        Some(uid)
    }

    /// A pod's container ended for good: the controller retries, completes or gives up.
    pub(super) fn pod_ended(&mut self, id: u64, uid: &str, well: bool) {
        // The GPUs of a pod that has ended are free, though its object stays.
        self.release(uid);
        let Some(job) = self.jobs.get_mut(&id) else {
            return;
        };
        let (run, now) = (job.run, self.now);
        let failed_pod = if well {
            None
        } else {
            self.pods.get(uid).map(|pod| pod.slot)
        };
        if failed_pod.is_some() {
            job.failed_pods += 1;
        }
        let exhausted = job.failed_pods > job.spec.backoff_limit && job.failed.is_none();
        let kind = job.spec.kind;
        match failed_pod {
            Some(slot) if exhausted => self.give_up(id, slot, now),
            Some(_) if kind == JobKind::Training => {
                self.plan(JOB_RETRY, Task::FillJob { job: id, run });
            }
            Some(_) => {}
            None => {
                let all_well = self.job_pods(id).all(SimPod::succeeded);
                if let Some(job) = self
                    .jobs
                    .get_mut(&id)
                    .filter(|job| all_well && job.failed.is_none())
                {
                    job.completed = Some(now);
                }
                self.refresh(id);
            }
        }
    }

    fn give_up(&mut self, id: u64, slot: u32, now: Timestamp) {
        let Some(job) = self.jobs.get_mut(&id) else {
            return;
        };
        let (kind, name) = (job.spec.kind, job.spec.name.clone());
        let (reason, message) = if kind == JobKind::Distributed {
            let role = if slot == 0 { "Master" } else { "Worker" };
            (
                "PyTorchJobFailed",
                format!("PyTorchJob {name} is failed because 1 {role} replica(s) failed."),
            )
        } else {
            (
                "BackoffLimitExceeded",
                "Job has reached the specified backoff limit".to_owned(),
            )
        };
        job.failed = Some((reason.to_owned(), message.clone(), now));
        let reporter = if kind == JobKind::Distributed {
            Reporter::TrainingOperator
        } else {
            Reporter::JobController
        };
        if let Some(about) = self.about_controller(id) {
            self.emit(&about, reporter, "Warning", reason, &message, &[]);
        }
        if kind == JobKind::Training {
            // The Job controller stops what still runs; the training operator leaves it (cleanPodPolicy None).
            for uid in self.living(id) {
                if self
                    .pods
                    .get(&uid)
                    .is_some_and(|pod| !pod.failed() && !pod.succeeded())
                {
                    self.delete_pod(&uid, Duration::from_secs(30));
                }
            }
        }
        self.refresh(id);
    }

    fn living(&self, id: u64) -> Vec<String> {
        self.job_pods(id)
            .filter(|pod| pod.deleting.is_none())
            .map(|pod| pod.uid.clone())
            .collect()
    }

    fn delete_pods(&mut self, id: u64) {
        for uid in self.living(id) {
            self.delete_pod(&uid, Duration::from_secs(30));
        }
    }

    /// Stops a job and frees its GPUs. `actor` is named in Run:AI's history, where a person did it.
    pub(super) fn suspend(&mut self, id: u64, actor: Option<&str>) {
        let now = self.now;
        let Some(job) = self.jobs.get_mut(&id).filter(|job| !job.suspended) else {
            return;
        };
        job.suspended = true;
        job.transition = Some(Phase::Stopping);
        if let Some(actor) = actor {
            let message = format!("Workload stop requested by {actor}");
            job.record(History::Phase {
                at: now,
                phase: Phase::Stopping,
                message,
            });
        }
        self.delete_pods(id);
        self.refresh(id);
        self.plan(Duration::from_secs(2), Task::Stopped { job: id });
    }

    pub(super) fn stopped(&mut self, id: u64) {
        if let Some(job) = self
            .jobs
            .get_mut(&id)
            .filter(|job| job.transition == Some(Phase::Stopping))
        {
            job.transition = None;
            self.refresh(id);
        }
    }

    /// Begins a new run of a stopped job.
    pub(super) fn resume(&mut self, id: u64) {
        let Some(job) = self.jobs.get_mut(&id).filter(|job| job.suspended) else {
            return;
        };
        job.suspended = false;
        job.failed = None;
        job.completed = None;
        job.failed_pods = 0;
        job.run += 1;
        job.transition = Some(Phase::Resuming);
        let run = job.run;
        self.refresh(id);
        self.plan(Duration::from_secs(1), Task::FillJob { job: id, run });
    }

    /// A changed pod template: a new ReplicaSet or revision, new pods, the old ones deleted.
    pub(super) fn roll_out(&mut self, id: u64) {
        let hash = self.suffix(10);
        let old = self.living(id);
        let Some(job) = self.jobs.get_mut(&id) else {
            return;
        };
        job.run += 1;
        job.template_hash = hash;
        let run = job.run;
        self.write_replica_set(id);
        for uid in old {
            self.delete_pod(&uid, Duration::from_secs(30));
        }
        self.fill_job(id, run);
        self.refresh(id);
    }

    /// Changes how many pods a job wants.
    pub(super) fn scale(&mut self, id: u64, pods: u32) {
        let Some(job) = self.jobs.get_mut(&id) else {
            return;
        };
        job.spec.pods = pods;
        let run = job.run;
        let surplus: Vec<String> = self
            .job_pods(id)
            .filter(|pod| pod.slot >= pods)
            .map(|pod| pod.uid.clone())
            .collect();
        for uid in surplus {
            self.delete_pod(&uid, Duration::from_secs(30));
        }
        self.fill_job(id, run);
        self.refresh(id);
    }

    /// The scheduler takes the job's GPUs for another workload; its pods wait and come back after `back`.
    pub(super) fn preempt(&mut self, id: u64, by: &str, back: Duration) {
        let now = self.now;
        let delay =
            SignedDuration::try_from(back.div_f64(self.speed)).unwrap_or(SignedDuration::MAX);
        let Some(job) = self.jobs.get_mut(&id) else {
            return;
        };
        job.held_until = now.checked_add(delay).ok();
        let (namespace, name) = (job.spec.namespace(), job.spec.name.clone());
        let living = self.living(id);
        if let Some(about) = self.about_pod_group(id) {
            let message = format!(
                "Workload {namespace}/{name} was preempted by higher priority workload {namespace}/{by}"
            );
            let count = living.len().to_string();
            let annotations = [
                ("evictor-action-type", "preempt"),
                ("evictor-pod-group-name", by),
                ("evictor-pod-group-namespace", namespace.as_str()),
                ("num-evicted-pods", count.as_str()),
            ];
            self.emit(
                &about,
                Reporter::Scheduler,
                "Normal",
                "Evict",
                &message,
                &annotations,
            );
        }
        for uid in living {
            if let Some(pod) = self.pods.get_mut(&uid) {
                pod.disrupted = Some("PreemptionByScheduler");
            }
            self.delete_pod(&uid, Duration::from_secs(30));
        }
    }

    /// Deletes a job with all that belongs to it. Run:AI shows it as deleting for a moment.
    pub(super) fn delete_job(&mut self, id: u64) {
        let Some(job) = self.jobs.get_mut(&id).filter(|job| job.deleted.is_none()) else {
            return;
        };
        if job.transition == Some(Phase::Deleting) {
            return;
        }
        job.transition = Some(Phase::Deleting);
        let (kind, namespace, name) = (job.spec.kind, job.spec.namespace(), job.spec.name.clone());
        let set = format!("{name}-{}", job.template_hash);
        self.cluster
            .remove(controller_kind(kind), &namespace, &name);
        if kind == JobKind::Inference {
            self.cluster.remove(Kind::ReplicaSet, &namespace, &set);
        }
        self.delete_pods(id);
        self.refresh(id);
        self.plan(Duration::from_secs(2), Task::RemoveJob { job: id });
    }

    pub(super) fn remove_job(&mut self, id: u64) {
        let now = self.now;
        if let Some(job) = self.jobs.get_mut(&id) {
            job.deleted = Some(now);
        }
    }
}
