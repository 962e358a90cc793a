//! Which job an object belongs to: the one of the workload it names, else of its owner, else of the name that its labels
//! give; and what follows when that becomes known late.

use std::sync::Arc;

use super::departures::place_of;
use super::{Estate, Job, JobKey};
use crate::estate::{Controller, Name, ObjectRef, Pod};

/// What a pod or controller says of where it belongs.
struct Claim<'a> {
    cluster: &'a Name,
    namespace: &'a Name,
    uid: &'a str,
    /// The workload that its labels or its owner's name give.
    workload: &'a Name,
    runai_id: Option<&'a str>,
    owner: Option<&'a ObjectRef>,
}

impl Estate {
    pub(super) fn home_of_pod(&self, pod: &Pod) -> Arc<JobKey> {
        let claim = Claim {
            cluster: &pod.cluster,
            namespace: &pod.namespace,
            uid: &pod.uid,
            workload: &pod.workload,
            runai_id: pod.runai_id.as_deref(),
            owner: pod.owner.as_ref(),
        };
        self.home(&claim, |job, hint| {
            let at = place_of(&job.pods, |held| held.uid == pod.uid, hint)?;
            Some(job.pods[at].workload.clone())
        })
    }

    pub(super) fn home_of_controller(&self, controller: &Controller) -> Arc<JobKey> {
        let claim = Claim {
            cluster: &controller.cluster,
            namespace: &controller.namespace,
            uid: &controller.uid,
            workload: &controller.workload,
            runai_id: controller.runai_id.as_deref(),
            owner: controller.owner.as_ref(),
        };
        self.home(&claim, |job, hint| {
            let at = place_of(&job.controllers, |held| held.uid == controller.uid, hint)?;
            Some(job.controllers[at].workload.clone())
        })
    }

    /// `named` tells which workload the object named when it was placed in a job.
    fn home(&self, claim: &Claim<'_>, named: impl Fn(&Job, usize) -> Option<Name>) -> Arc<JobKey> {
        let here = |key: &JobKey| {
            key.cluster == claim.cluster.as_str() && key.namespace == claim.namespace.as_str()
        };
        let of_workload = claim.runai_id.and_then(|id| self.workloads.get(id));
        // Labels name what is nearest: a pod of a RayJob its RayCluster, which is made anew for every try.
        let of_owner = || {
            let owner = claim.owner?.uid.as_ref()?;
            self.objects.get(owner)
        };
        if let Some(placed) = of_workload
            .filter(|placed| here(&placed.key))
            .or_else(|| of_owner().filter(|placed| here(&placed.key)))
        {
            return Arc::clone(&placed.key);
        }
        // An owner that went first takes nothing with it: the object stays where it was while it says the same.
        if let Some(placed) = self.objects.get(claim.uid)
            && here(&placed.key)
            && let Some(job) = self.jobs.get(&placed.key)
            && named(job, placed.at).is_some_and(|name| name == *claim.workload)
        {
            return Arc::clone(&placed.key);
        }
        self.shared(JobKey {
            cluster: claim.cluster.into(),
            namespace: claim.namespace.into(),
            name: claim.workload.into(),
        })
    }

    /// The key as the job of that name holds it, if there is one.
    pub(super) fn shared(&self, key: JobKey) -> Arc<JobKey> {
        match self.jobs.get_key_value(&key) {
            Some((shared, _)) => Arc::clone(shared),
            None => Arc::new(key),
        }
    }

    pub(super) fn entry(&mut self, key: &Arc<JobKey>) -> &mut Job {
        self.jobs
            .entry(Arc::clone(key))
            .or_insert_with(|| Box::new(Job::new(Arc::clone(key))))
    }

    /// An object that now belongs to another job than before leaves the one it was in.
    pub(super) fn leave_other(&mut self, uid: &str, key: &JobKey) -> Vec<JobKey> {
        if self
            .objects
            .get(uid)
            .is_some_and(|placed| *placed.key != *key)
        {
            self.drop_object(uid)
        } else {
            Vec::new()
        }
    }

    /// Parts that were seen before their owner were placed under its name: they follow it to its job.
    pub(super) fn gather_parts(&mut self, owner: &Controller, to: &Arc<JobKey>) -> Vec<JobKey> {
        if owner.name == to.name {
            return Vec::new();
        }
        let from = JobKey {
            name: owner.name.clone(),
            ..(**to).clone()
        };
        let is_its = |of: &Option<ObjectRef>| {
            let uid = of.as_ref().and_then(|of| of.uid.as_ref());
            uid == Some(&owner.uid)
        };
        self.move_parts(
            &from,
            |pod| is_its(&pod.owner),
            |controller| is_its(&controller.owner),
        )
    }

    /// Places some pods and controllers of a job anew, because where they belong was not known before.
    pub(super) fn move_parts(
        &mut self,
        from: &JobKey,
        pods: impl Fn(&Pod) -> bool,
        controllers: impl Fn(&Controller) -> bool,
    ) -> Vec<JobKey> {
        let Some(job) = self.jobs.get(from) else {
            return Vec::new();
        };
        let controllers: Vec<Controller> = job
            .controllers
            .iter()
            .filter(|controller| controllers(controller))
            .cloned()
            .collect();
        let pods: Vec<Pod> = job.pods.iter().filter(|pod| pods(pod)).cloned().collect();
        let mut changed = Vec::new();
        for controller in controllers {
            let (uid, seen) = (controller.uid.clone(), self.seen(&controller.uid));
            changed.extend(self.put_controller(controller));
            self.was_seen(&uid, seen);
        }
        for pod in pods {
            let (uid, seen, created) = (pod.uid.clone(), self.seen(&pod.uid), pod.created);
            changed.extend(self.put_pod(pod, created));
            self.was_seen(&uid, seen);
        }
        changed
    }

    fn seen(&self, uid: &str) -> Option<u64> {
        self.objects.get(uid).map(|placed| placed.seen)
    }

    /// To be moved is not to be seen: a list that is under way must still find it.
    fn was_seen(&mut self, uid: &str, seen: Option<u64>) {
        if let (Some(placed), Some(seen)) = (self.objects.get_mut(uid), seen) {
            placed.seen = seen;
        }
    }
}
