//! Large estates for storms and measurements: many running jobs at once, without their starts.

use super::estate::SimEstate;
use super::kind::Kind;
use super::objects;
use super::script::JobSpec;
use super::world::{Container, SimNode, World};
use crate::estate::Phase;

/// Nodes of the load hold this many GPUs; a pod of the load takes one.
const GPUS_PER_NODE: u32 = 8;
const PROJECT: &str = "demo-load";

impl SimEstate {
    /// Adds `jobs` running jobs of `pods_per_job` pods each, in project `demo-load`, with nodes to hold them.
    ///
    /// Jobs are named `load-00000` and on; they neither log nor end by themselves.
    pub fn populate(&self, jobs: u32, pods_per_job: u32) {
        self.add_project(PROJECT, jobs.saturating_mul(pods_per_job));
        self.change(|world| {
            let first = world.jobs.len();
            for n in 0..jobs {
                world.add_running(&format!("load-{:05}", first + n as usize), pods_per_job);
            }
        });
    }
}

impl World {
    fn add_running(&mut self, name: &str, pods: u32) {
        let mut spec = if pods == 1 {
            JobSpec::training(PROJECT, name)
        } else {
            JobSpec::distributed(PROJECT, name, pods)
        };
        spec.gpus = 1;
        "load".clone_into(&mut spec.pool);
        spec.script.steps.clear();
        let now = self.now;
        // Its pods are made below, already running, so the job begins without any.
        let id = self.add_job_without_pods(spec, 0);
        for slot in 0..pods {
            let node = self.node_with_room();
            let Some(uid) = self.insert_pod(id, slot) else {
                continue;
            };
            if let Some(pod) = self.pods.get_mut(&uid) {
                pod.node = Some(node);
                pod.holds_gpus = true;
                pod.scheduled = Some(now);
                pod.container = Container::Running { since: now };
                pod.ready = true;
            }
            self.write_pod(&uid);
        }
        if let Some(job) = self.jobs.get_mut(&id) {
            job.phase = Phase::Running;
        }
        self.refresh(id);
    }

    /// The newest node of the load if it has room, else a new one.
    fn node_with_room(&mut self) -> String {
        // `demo-load-` sorts behind the scenario's nodes.
        let newest = self
            .nodes
            .iter_mut()
            .next_back()
            .filter(|(_, node)| node.pool == "load");
        if let Some((name, node)) = newest
            && node.used < node.gpus
        {
            node.used += 1;
            return name.clone();
        }
        let name = format!("demo-load-{:06}", self.nodes.len());
        let node = SimNode {
            pool: "load".to_owned(),
            gpus: GPUS_PER_NODE,
            lost: 0,
            silent: false,
            used: 1,
            unschedulable: false,
        };
        let (uid, now) = (self.new_uid(), self.now);
        self.cluster
            .put(Kind::Node, objects::node(&name, &node, &uid, now));
        self.nodes.insert(name.clone(), node);
        name
    }
}
