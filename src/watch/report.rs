//! What the pipeline tells alerting: reports about jobs, nodes and sources, batched so that none is lost and what was
//! overtaken is not told. Pure.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::alert::identity::{Alias, Identity};
use crate::alert::report::{JobReport, Presence};
use crate::alert::{Alert, Subject};
use crate::detect::{FailureClass, Symptom, ended_well};
use crate::estate::index::Job;
use crate::estate::{JobKey, Node};
use crate::redact;

/// The kind by which an alert calls a node.
pub const NODE_KIND: &str = "Node";
/// The kind by which an alert calls a source of observations.
pub const SOURCE_KIND: &str = "Source";

/// What one job shows.
#[must_use]
pub fn of_job(job: &Job, symptoms: Vec<Symptom>) -> JobReport {
    let created = job.created().unwrap_or(Timestamp::UNIX_EPOCH);
    let failing = symptoms.iter().any(|symptom| !symptom.expected);
    // What people or policy stopped did not finish, and what is being deleted will be gone soon enough.
    let stopped = symptoms.iter().any(|symptom| symptom.expected)
        || job
            .controllers
            .iter()
            .any(|controller| controller.deleting.is_some())
        || matches!(
            job.status().as_str(),
            "Deleting" | "Terminating" | "Stopped" | "Suspended"
        );
    let finished = !failing && !stopped && ended_well(job);
    let mut claims: Vec<String> = job
        .pods
        .iter()
        .flat_map(|pod| pod.claims.iter().cloned())
        .collect();
    claims.sort_unstable();
    claims.dedup();
    JobReport {
        identity: Identity {
            aliases: job.aliases().into_iter().map(Alias::from).collect(),
            cluster: job.key.cluster.clone(),
            namespace: job.key.namespace.clone(),
            name: job.key.name.clone(),
            created,
        },
        subject: Subject {
            cluster: job.key.cluster.clone(),
            namespace: job.key.namespace.clone(),
            name: job.key.name.clone(),
            project: job.project.clone(),
            kind: job.kind().to_owned(),
            runai_id: job
                .workload
                .as_ref()
                .map(|workload| workload.id.clone())
                .or_else(|| job.pods.iter().find_map(|pod| pod.runai_id.clone())),
            owner: job
                .workload
                .as_ref()
                .and_then(|workload| workload.submitted_by.as_ref().map(String::from)),
            gpus: job.gpus(),
            pods_total: u64::try_from(job.current_pods().len()).unwrap_or(u64::MAX),
            created,
            status: job.status(),
        },
        symptoms,
        claims,
        presence: if finished {
            Presence::Finished
        } else {
            Presence::Present
        },
    }
}

/// What one node shows.
#[must_use]
pub fn of_node(node: &Node, symptoms: Vec<Symptom>) -> JobReport {
    let ready = symptoms
        .iter()
        .all(|symptom| symptom.state != "NodeNotReady");
    JobReport {
        identity: Identity {
            aliases: vec![Alias::Kubernetes(node.uid.clone())],
            cluster: node.cluster.clone(),
            namespace: String::new(),
            name: node.name.clone(),
            created: node.created,
        },
        subject: Subject {
            cluster: node.cluster.clone(),
            namespace: String::new(),
            name: node.name.clone(),
            project: None,
            kind: NODE_KIND.to_owned(),
            runai_id: None,
            owner: None,
            gpus: node.capacity_gpus,
            pods_total: 0,
            created: node.created,
            status: if ready { "Ready" } else { "NotReady" }.to_owned(),
        },
        symptoms,
        claims: Vec::new(),
        presence: Presence::Present,
    }
}

/// What one source of observations shows: its trouble as state, since when, and what was said.
#[must_use]
pub fn of_source(name: &str, trouble: Option<(&str, Timestamp, String)>) -> JobReport {
    let status = trouble
        .as_ref()
        .map_or("fresh", |(state, ..)| state)
        .to_owned();
    let symptoms = trouble.into_iter().map(|(state, since, detail)| Symptom {
        class: FailureClass::Source,
        state: state.to_owned(),
        detail: redact::line(&format!("source {name}: {detail}"), 1_000),
        pod: None,
        container: None,
        node: None,
        image: None,
        since,
        wrapper: false,
        expected: false,
    });
    JobReport {
        identity: Identity {
            aliases: vec![Alias::Source(name.to_owned())],
            cluster: String::new(),
            namespace: String::new(),
            name: name.to_owned(),
            created: Timestamp::UNIX_EPOCH,
        },
        subject: Subject {
            cluster: String::new(),
            namespace: String::new(),
            name: name.to_owned(),
            project: None,
            kind: SOURCE_KIND.to_owned(),
            runai_id: None,
            owner: None,
            gpus: 0.0,
            pods_total: 0,
            created: Timestamp::UNIX_EPOCH,
            status,
        },
        symptoms: symptoms.collect(),
        claims: Vec::new(),
        presence: Presence::Present,
    }
}

/// The job of an alert is no longer at `key`.
#[must_use]
pub fn removed(alert: &Alert, key: &JobKey, aliases: Vec<Alias>) -> JobReport {
    JobReport {
        identity: Identity {
            aliases,
            cluster: key.cluster.clone(),
            namespace: key.namespace.clone(),
            name: key.name.clone(),
            created: alert.subject.created,
        },
        subject: alert.subject.clone(),
        symptoms: Vec::new(),
        claims: Vec::new(),
        presence: Presence::Removed,
    }
}

/// The place that `alert::report::view` names. Names of contexts may hold slashes; those of Kubernetes objects not.
#[must_use]
pub fn key_of_view(view: &str) -> Option<JobKey> {
    let mut parts = view.rsplitn(3, '/');
    let (name, namespace, cluster) = (parts.next()?, parts.next()?, parts.next()?);
    Some(JobKey {
        cluster: cluster.to_owned(),
        namespace: namespace.to_owned(),
        name: name.to_owned(),
    })
}

/// Reports that wait to be handed over. Of each run a failure and what followed are kept, in that order: a job that
/// failed and was removed within the same moment is told of.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    runs: BTreeMap<String, Run>,
}

#[derive(Clone, Debug, Default)]
struct Run {
    failed: Option<JobReport>,
    /// Later than `failed`.
    after: Option<JobReport>,
}

impl Batch {
    /// Adds a report. It takes the place of what it overtakes.
    pub fn add(&mut self, report: JobReport) {
        let run = self.runs.entry(run_name(&report)).or_default();
        if report.failing() {
            *run = Run {
                failed: Some(report),
                after: None,
            };
        } else {
            run.after = Some(report);
        }
    }

    /// This batch, then a later one.
    #[must_use]
    pub fn then(mut self, later: Self) -> Self {
        for run in later.runs.into_values() {
            for report in run.failed.into_iter().chain(run.after) {
                self.add(report);
            }
        }
        self
    }

    /// All reports: failures first, removals last, so that a job which only moved in the estate does not seem to end.
    #[must_use]
    pub fn reports(&self) -> Vec<JobReport> {
        let failed = self.runs.values().filter_map(|run| run.failed.clone());
        let after = |removed: bool| {
            let reports = self.runs.values().filter_map(|run| run.after.clone());
            reports.filter(move |report| (report.presence == Presence::Removed) == removed)
        };
        failed.chain(after(false)).chain(after(true)).collect()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    /// How many runs it tells of.
    #[must_use]
    pub fn len(&self) -> usize {
        self.runs.len()
    }
}

/// One run at one place: runs under the same name do not overtake each other.
fn run_name(report: &JobReport) -> String {
    let aliases: Vec<String> = report.identity.aliases.iter().map(Alias::key).collect();
    format!("{}\n{}", report.view(), aliases.join(","))
}
