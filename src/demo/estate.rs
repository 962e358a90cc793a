//! The handle on the simulated estate: what tests and the demo's driver do to it, and what they can ask.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::watch;

use super::faults::Faults;
use super::kind::Kind;
use super::objects;
use super::script::{Exit, JobSpec};
use super::world::{SimNode, SimProject, World};
use crate::estate::Phase;

/// A simulated estate, shared between its servers and whoever drives it.
///
/// Time stands still until [`SimEstate::advance`] is called.
#[derive(Clone, Debug)]
pub struct SimEstate {
    world: Arc<Mutex<World>>,
    /// The newest resource version, for watches to wait on.
    changed: watch::Sender<u64>,
    kubernetes_faults: Faults,
    runai_faults: Faults,
}

/// What a job looks like at one time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobView {
    pub name: String,
    pub namespace: String,
    pub phase: Phase,
    /// Run:AI workload id.
    pub workload_id: String,
    pub controller_uid: String,
    /// Counts runs: 0 is the first, each resume, re-creation and roll-out is one more.
    pub run: u32,
    pub pods: Vec<PodView>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodView {
    pub name: String,
    pub uid: String,
    pub node: Option<String>,
    pub running: bool,
    pub deleting: bool,
    pub restarts: u32,
}

impl SimEstate {
    /// An empty estate at `now`. Scripts run `speed` times faster than written; `rng_seed` decides names and uids.
    pub fn new(now: Timestamp, speed: f64, rng_seed: u64) -> Self {
        let world = World::new(now, speed, rng_seed);
        Self {
            changed: watch::Sender::new(world.cluster.version()),
            world: Arc::new(Mutex::new(world)),
            kubernetes_faults: Faults::default(),
            runai_faults: Faults::default(),
        }
    }

    /// What goes wrong with the simulated Kubernetes API.
    pub fn kubernetes_faults(&self) -> &Faults {
        &self.kubernetes_faults
    }

    /// What goes wrong with the simulated Run:AI API.
    pub fn runai_faults(&self) -> &Faults {
        &self.runai_faults
    }

    /// Carries out everything that is due until `now`.
    pub fn advance(&self, now: Timestamp) {
        self.change(|world| world.advance(now));
    }

    /// Lets `duration` pass.
    pub fn pass(&self, duration: Duration) {
        self.change(|world| {
            let duration =
                jiff::SignedDuration::try_from(duration).unwrap_or(jiff::SignedDuration::MAX);
            let now = world.now.saturating_add(duration).unwrap_or(Timestamp::MAX);
            world.advance(now);
        });
    }

    pub fn now(&self) -> Timestamp {
        self.read(|world| world.now)
    }

    /// Adds a project with its namespace `runai-<name>`.
    pub fn add_project(&self, name: &str, gpu_quota: u32) {
        self.change(|world| {
            let namespace = format!("runai-{name}");
            let (uid, now) = (world.new_uid(), world.now);
            world.cluster.put(
                Kind::Namespace,
                objects::namespace(&namespace, name, &uid, now),
            );
            let id = format!("45000{:02}", world.projects.len() + 1);
            world.projects.push(SimProject {
                id,
                name: name.to_owned(),
                gpu_quota,
            });
        });
    }

    /// Adds a healthy node.
    pub fn add_node(&self, name: &str, pool: &str, gpus: u32) {
        self.change(|world| {
            let node = SimNode {
                pool: pool.to_owned(),
                gpus,
                lost: 0,
                silent: false,
                used: 0,
                unschedulable: false,
            };
            let (uid, now) = (world.new_uid(), world.now);
            world
                .cluster
                .put(Kind::Node, objects::node(name, &node, &uid, now));
            world.nodes.insert(name.to_owned(), node);
        });
    }

    /// Submits a job. It is placed and started as time passes.
    pub fn add_job(&self, spec: JobSpec) {
        self.change(|world| world.add_job(spec, 0));
    }

    /// The job of that name, if it exists now.
    pub fn job(&self, namespace: &str, name: &str) -> Option<JobView> {
        self.read(|world| {
            let job = world.job_named(namespace, name)?;
            let pods = world.job_pods(job.id).map(|pod| PodView {
                name: pod.name.clone(),
                uid: pod.uid.clone(),
                node: pod.node.clone(),
                running: pod.running(),
                deleting: pod.deleting.is_some(),
                restarts: pod.restarts,
            });
            Some(JobView {
                name: name.to_owned(),
                namespace: namespace.to_owned(),
                phase: job.phase.clone(),
                workload_id: job.workload.clone(),
                controller_uid: job.uid.clone(),
                run: job.run,
                pods: pods.collect(),
            })
        })
    }

    /// Ends the container of a pod, after `log` was written. Returns false if there is no such running pod.
    pub fn fail_pod(&self, namespace: &str, pod: &str, exit: Exit, log: &[&str]) -> bool {
        self.change(|world| {
            let Some(uid) = world
                .pod_named(namespace, pod)
                .filter(|pod| pod.running())
                .map(|pod| pod.uid.clone())
            else {
                return false;
            };
            world.log(&uid, log.iter().map(|line| (*line).to_owned()));
            world.exit(&uid, exit);
            true
        })
    }

    /// Ends all running containers of a job at once.
    pub fn fail_job(&self, namespace: &str, name: &str, exit: &Exit, log: &[&str]) {
        self.change(|world| {
            let Some(job) = world.job_named(namespace, name).map(|job| job.id) else {
                return;
            };
            let running: Vec<String> = world
                .job_pods(job)
                .filter(|pod| pod.running())
                .map(|pod| pod.uid.clone())
                .collect();
            for uid in running {
                world.log(&uid, log.iter().map(|line| (*line).to_owned()));
                world.exit(&uid, exit.clone());
            }
        });
    }

    /// Writes lines to the log of a pod.
    pub fn log(&self, namespace: &str, pod: &str, lines: &[&str]) {
        self.change(|world| {
            if let Some(uid) = world.pod_named(namespace, pod).map(|pod| pod.uid.clone()) {
                world.log(&uid, lines.iter().map(|line| (*line).to_owned()));
            }
        });
    }

    /// Takes a GPU of a node out of service, as Xid `xid` would.
    pub fn lose_gpu(&self, node: &str, xid: u32) {
        self.change(|world| world.lose_gpu(node, xid, "0000:5d:00"));
    }

    /// A node stops reporting, or reports again. Its pods are left as they are.
    pub fn node_ready(&self, node: &str, ready: bool) {
        self.change(|world| world.node_ready(node, ready));
    }

    /// The scheduler preempts a job for another one of its project; it comes back after `back`.
    pub fn preempt(&self, namespace: &str, name: &str, by: &str, back: Duration) {
        self.with_job(namespace, name, |world, job| world.preempt(job, by, back));
    }

    /// A person stops a job.
    pub fn suspend(&self, namespace: &str, name: &str) {
        self.with_job(namespace, name, |world, job| {
            world.suspend(job, Some("demo-user@example.com"));
        });
    }

    pub fn resume(&self, namespace: &str, name: &str) {
        self.with_job(namespace, name, World::resume);
    }

    /// A person deletes a job.
    pub fn delete(&self, namespace: &str, name: &str) {
        self.with_job(namespace, name, World::delete_job);
    }

    /// Deletes a pod as `kubectl delete pod` does.
    pub fn delete_pod(&self, namespace: &str, pod: &str) {
        self.change(|world| {
            if let Some(uid) = world.pod_named(namespace, pod).map(|pod| pod.uid.clone()) {
                world.delete_pod(&uid, Duration::from_secs(30));
            }
        });
    }

    /// Ends every open watch, as a restarting API server does.
    pub fn drop_watches(&self) {
        self.kubernetes_faults.end_watches();
        self.changed.send_modify(|_| {});
    }

    /// Compacts the history and ends every open watch: each client has to list again.
    pub fn expire_history(&self) {
        self.change(|world| world.cluster.expire_history());
        self.drop_watches();
    }

    fn with_job(&self, namespace: &str, name: &str, act: impl FnOnce(&mut World, u64)) {
        self.change(|world| {
            if let Some(job) = world.job_named(namespace, name).map(|job| job.id) {
                act(world, job);
            }
        });
    }

    /// Looks at the world.
    pub(super) fn read<T>(&self, look: impl FnOnce(&World) -> T) -> T {
        look(&self.lock())
    }

    /// Changes the world and wakes the watches.
    pub(super) fn change<T>(&self, act: impl FnOnce(&mut World) -> T) -> T {
        let (result, version) = {
            let mut world = self.lock();
            let result = act(&mut world);
            world.settle();
            (result, world.cluster.version())
        };
        self.changed
            .send_if_modified(|seen| std::mem::replace(seen, version) != version);
        result
    }

    /// Resource versions as they come.
    pub(super) fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    fn lock(&self) -> MutexGuard<'_, World> {
        self.world
            .lock()
            .expect("nothing panics while it holds the simulated estate")
    }
}
