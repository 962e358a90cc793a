//! Run:AI workloads: under which key each lives, also where several have one name, and which cluster is which.

use std::sync::Arc;

use super::{Estate, JobKey, Placed, RUNAI_SCOPE};
use crate::estate::{ID_SHOWN, Workload};

impl Estate {
    pub(super) fn put_workload(&mut self, workload: Workload) -> Vec<JobKey> {
        let plain = self.shared(JobKey {
            cluster: self.context_of(&workload.cluster_id),
            namespace: (&workload.namespace).into(),
            name: workload.name.clone(),
        });
        let seen = self.generation(RUNAI_SCOPE);
        let mut changed = Vec::new();
        let held = self.workloads.get(&workload.id).map(|p| Arc::clone(&p.key));
        let key = match held {
            Some(key) if key.shares_its_name_with(&plain) => key,
            Some(_) => {
                changed.extend(self.drop_workload(&workload.id));
                self.room_under(&plain, &workload, &mut changed)
            }
            None => self.room_under(&plain, &workload, &mut changed),
        };
        let id = workload.id.clone();
        let job = self.entry(&key);
        if job.workload.as_deref() != Some(&workload) {
            job.workload = Some(Box::new(workload));
            job.settle_project();
            changed.push((*key).clone());
        }
        let to_gather = *key != *plain;
        self.workloads
            .insert(id.clone(), Placed { key, seen, at: 0 });
        if to_gather {
            changed.extend(self.gather_pods_of(&plain, &id));
        }
        changed
    }

    /// Of several live workloads of one name the newest has the plain name; each older one is told by its id too.
    fn room_under(
        &mut self,
        plain: &Arc<JobKey>,
        workload: &Workload,
        changed: &mut Vec<JobKey>,
    ) -> Arc<JobKey> {
        let Some(held) = self.jobs.get(plain).and_then(|job| job.workload.as_ref()) else {
            return Arc::clone(plain);
        };
        if held.id == workload.id {
            return Arc::clone(plain);
        }
        if (held.created, &held.id) > (workload.created, &workload.id) {
            return self.key_beside(plain, &workload.id);
        }
        let held = held.clone();
        let seen = self.workloads.get(&held.id).map_or(0, |placed| placed.seen);
        let key = self.key_beside(plain, &held.id);
        if let Some(job) = self.jobs.get_mut(plain) {
            job.workload = None;
            // How far it is was read of pods that may all be the other's.
            job.progress = None;
        }
        let id = held.id.clone();
        let job = self.entry(&key);
        job.workload = Some(held);
        job.settle_project();
        changed.push((*key).clone());
        self.workloads
            .insert(id.clone(), Placed { key, seen, at: 0 });
        changed.extend(self.gather_pods_of(plain, &id));
        Arc::clone(plain)
    }

    /// The key with as much of the id as no other workload of that name begins with.
    fn key_beside(&self, plain: &JobKey, id: &str) -> Arc<JobKey> {
        let is_free = |key: &JobKey| {
            let held = self.job(key).and_then(|job| job.workload.as_ref());
            held.is_none_or(|held| held.id == id)
        };
        let key = (ID_SHOWN..id.len())
            .filter_map(|length| Some(plain.beside(id.get(..length)?)))
            .find(is_free);
        self.shared(key.unwrap_or_else(|| plain.beside(id)))
    }

    /// Pods and controllers that name their workload follow it.
    fn gather_pods_of(&mut self, from: &JobKey, id: &str) -> Vec<JobKey> {
        let named = |of: &Option<String>| of.as_deref() == Some(id);
        self.move_parts(
            from,
            |pod| named(&pod.runai_id),
            |controller| named(&controller.runai_id),
        )
    }

    fn context_of(&self, cluster_id: &str) -> String {
        if let Some(context) = self.clusters.get(cluster_id) {
            return context.clone();
        }
        match self.contexts.as_slice() {
            // Unless that one is known to be another.
            [only] if !self.clusters.values().any(|context| context == only) => only.clone(),
            _ => cluster_id.to_owned(),
        }
    }

    /// A pod that names its Run:AI workload tells which context that Run:AI cluster is, and that no other is.
    pub(super) fn learn_cluster(&mut self, runai_id: Option<&str>, context: &str) -> Vec<JobKey> {
        let Some(placed) = runai_id.and_then(|id| self.workloads.get(id)) else {
            return Vec::new();
        };
        let Some(cluster_id) = self
            .jobs
            .get(&placed.key)
            .and_then(|job| job.workload.as_ref())
            .map(|w| w.cluster_id.clone())
        else {
            return Vec::new();
        };
        if self.clusters.contains_key(cluster_id.as_str()) {
            return Vec::new();
        }
        self.clusters
            .insert((&cluster_id).into(), context.to_owned());
        let misplaced: Vec<Workload> = self
            .jobs
            .values()
            .filter_map(|job| Some((&job.key, job.workload.as_deref()?)))
            .filter(|(key, workload)| key.cluster != self.context_of(&workload.cluster_id))
            .map(|(_, workload)| workload.clone())
            .collect();
        let mut changed = Vec::new();
        for workload in misplaced {
            let id = workload.id.clone();
            let seen = self.workloads.get(&id).map(|placed| placed.seen);
            changed.extend(self.drop_workload(&id));
            changed.extend(self.put_workload(workload));
            if let (Some(moved), Some(seen)) = (self.workloads.get_mut(&id), seen) {
                moved.seen = seen;
            }
        }
        changed
    }
}
