//! Finding the job that a person means.

use super::index::{Estate, Found, Job};
use super::{BESIDE, ID_SHOWN, JobKey};
use crate::desk::JobQuery;

/// Names offered when nothing fits.
const NEAREST: usize = 5;
/// Below this similarity (Jaro-Winkler, 0..=1) a name is no help.
const SIMILAR: f64 = 0.78;

impl Estate {
    /// Finds the job that `query` names: exactly, else by one of its pods, Run:AI ids or a unique part of the name.
    pub fn find(&self, query: &JobQuery) -> Found {
        let name = query.name.trim().to_lowercase();
        let in_scope = |job: &&Job| {
            query
                .namespace
                .as_ref()
                .is_none_or(|ns| job.key.namespace.eq_ignore_ascii_case(ns))
                && query.project.as_ref().is_none_or(|p| {
                    job.project
                        .as_ref()
                        .is_some_and(|held| held.eq_ignore_ascii_case(p))
                })
        };
        let exact = |job: &&Job| {
            job.key.plain_name().to_lowercase() == name
                || format!("{}/{}", job.key.namespace, job.key.plain_name()).to_lowercase() == name
                || job
                    .project
                    .as_ref()
                    .is_some_and(|p| format!("{p}/{}", job.key.plain_name()).to_lowercase() == name)
                || job.workload.as_ref().is_some_and(|w| w.id == name)
                || name.split_once(BESIDE).is_some_and(|(plain, id)| {
                    job.key.plain_name().to_lowercase() == plain
                        && job
                            .workload
                            .as_ref()
                            .is_some_and(|w| !id.is_empty() && w.id.starts_with(id))
                })
        };
        let by_pod = |job: &&Job| job.pods.iter().any(|pod| pod.name == name);
        let by_part = |job: &&Job| !name.is_empty() && job.key.name.to_lowercase().contains(&name);
        for fits in [&exact as &dyn Fn(&&Job) -> bool, &by_pod, &by_part] {
            let mut keys: Vec<JobKey> = self
                .jobs()
                .filter(|job| in_scope(job) && fits(job))
                .map(|job| (*job.key).clone())
                .collect();
            keys.sort();
            match keys.len() {
                0 => {}
                1 => return Found::One(keys.remove(0)),
                _ => return Found::Several(keys),
            }
        }
        let mut near: Vec<(f64, &JobKey)> = self
            .jobs()
            .map(|job| {
                (
                    strsim::jaro_winkler(&job.key.name.to_lowercase(), &name),
                    &*job.key,
                )
            })
            .filter(|(similarity, _)| *similarity >= SIMILAR)
            .collect();
        near.sort_by(|a, b| b.0.total_cmp(&a.0).then_with(|| a.1.cmp(b.1)));
        Found::None {
            nearest: near
                .into_iter()
                .take(NEAREST)
                .map(|(_, key)| key.clone())
                .collect(),
        }
    }

    /// The name by which a person can mean this job and no other of its namespace: with the beginning of its id where
    /// several have its name.
    pub fn telling_name(&self, key: &JobKey) -> String {
        let id = self
            .job(key)
            .and_then(|job| Some(&job.workload.as_ref()?.id));
        match id {
            Some(id)
                if self
                    .jobs()
                    .any(|job| *job.key != *key && key.shares_its_name_with(&job.key)) =>
            {
                key.beside(beginning(id)).name
            }
            Some(_) | None => key.name.clone(),
        }
    }
}

fn beginning(id: &str) -> &str {
    id.get(..ID_SHOWN).unwrap_or(id)
}
