//! An action looked at from all sides before anybody is asked: which object it is now, how much of what it takes, what is
//! at stake, and what exactly would be called. Nothing is changed.

use std::sync::PoisonError;

use jiff::Timestamp;
use kube::api::DynamicObject;
use serde_json::Value;

use super::kubernetes::Object;
use super::systems::{ActionError, Systems};
use super::{ActionKind, ActionSpec, Takes, Target};
use crate::alert::Severity;
use crate::decide::Proposal;
use crate::decide::impact::{self, Weighed, at_stake};
use crate::diagnose::SafetyClass;
use crate::estate::SharedEstate;
use crate::estate::index::{Estate, Job};
use crate::safety::{Place, Scope};

/// Jobs of a node told one by one.
const NAMED: usize = 5;

/// An action that could be carried out now.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// Bound to the object as it is now: its uid is filled in.
    pub spec: ActionSpec,
    pub scope: Scope,
    /// Running and ready instances that it takes down.
    pub healthy_taken: u64,
    /// GitOps owns the object and may undo the change.
    pub owned_elsewhere: bool,
    /// What people should know before they say yes.
    pub impact: Vec<String>,
    /// The last call, as it was rehearsed.
    pub what: String,
}

impl Plan {
    /// As a proposal to the gate.
    #[must_use]
    pub fn proposal(&self, class: SafetyClass, severity: Severity, reason: String) -> Proposal {
        Proposal {
            spec: self.spec.clone(),
            class,
            severity,
            reason,
            impact: self.impact.clone(),
            scope: self.scope.clone(),
            healthy_taken: self.healthy_taken,
            owned_elsewhere: self.owned_elsewhere,
        }
    }
}

impl Systems {
    /// Looks at an action from all sides. The uid of a Kubernetes target may be left out: it is then the object that bears
    /// the name now.
    ///
    /// # Errors
    /// What speaks against it: it is not valid, the target is gone or as wanted already, the system refuses, or somebody
    /// else keeps the object.
    pub async fn plan(
        &self,
        estate: &SharedEstate,
        mut spec: ActionSpec,
        now: Timestamp,
    ) -> Result<Plan, ActionError> {
        let live = self.bind(&mut spec).await?;
        let prepared = self.prepare(&spec, false).await?;
        let estate = estate.read().unwrap_or_else(PoisonError::into_inner);
        let mut weighed = weigh(&estate, &spec, live.as_ref(), now);
        weighed.impact.extend(prepared.impact);
        Ok(Plan {
            spec,
            scope: weighed.scope,
            healthy_taken: weighed.healthy_taken,
            owned_elsewhere: weighed.owned_elsewhere,
            impact: weighed.impact,
            what: prepared.what,
        })
    }

    /// Fills in the uid of a Kubernetes target, and returns the object.
    async fn bind(&self, spec: &mut ActionSpec) -> Result<Option<DynamicObject>, ActionError> {
        let mut probe = spec.clone();
        if let Target::Kubernetes { uid, .. } = &mut probe.target {
            uid.get_or_insert_with(|| "any".to_owned());
        }
        // Nothing is asked of any system about a name that it could not have given.
        probe
            .validate()
            .map_err(|invalid| ActionError::Refused(invalid.to_string()))?;
        let object = match &spec.target {
            Target::Kubernetes { .. } => Object::of(&spec.target),
            Target::Runai { .. } | Target::Named { .. } => return Ok(None),
        };
        let Target::Kubernetes { cluster, uid, .. } = &mut spec.target else {
            unreachable!("the object was made of it");
        };
        let live = object.read(self.cluster(cluster)?).await?;
        if uid.is_none() {
            uid.clone_from(&live.metadata.uid);
        }
        Ok(Some(live))
    }
}

/// The job that a target is (part of).
fn job_of<'a>(estate: &'a Estate, target: &Target) -> Option<&'a Job> {
    match target {
        Target::Kubernetes {
            cluster,
            namespace,
            kind,
            name,
            ..
        } => estate.jobs().find(|job| {
            job.key.cluster == *cluster
                && job.key.namespace == *namespace
                && if kind == "Pod" {
                    job.pods.iter().any(|pod| pod.name == *name)
                } else {
                    job.controllers
                        .iter()
                        .any(|c| c.kind == kind.as_str() && c.name == *name)
                }
        }),
        Target::Runai { workload_id, .. } => estate.by_runai_id(workload_id),
        Target::Named { .. } => None,
    }
}

fn weigh(
    estate: &Estate,
    spec: &ActionSpec,
    live: Option<&DynamicObject>,
    now: Timestamp,
) -> Weighed {
    if let Target::Kubernetes {
        cluster,
        kind,
        name,
        ..
    } = &spec.target
        && kind == "Node"
    {
        return weigh_node(estate, spec.kind, cluster, name, now);
    }
    if let Some(job) = job_of(estate, &spec.target) {
        return impact::weigh(spec, job, now);
    }
    let live = live.map(|live| &live.data);
    let count = |pointer: &str| {
        live.and_then(|live| live.pointer(pointer))
            .and_then(Value::as_u64)
    };
    let ready = count("/status/readyReplicas").unwrap_or(0);
    let instances = count("/spec/replicas").unwrap_or(1).max(1);
    let wanted = spec
        .parameters
        .integer("replicas")
        .and_then(|wanted| u64::try_from(wanted).ok());
    let taken = match spec.kind.entry().takes {
        Takes::Nothing | Takes::Node => 0,
        Takes::Instance => 1,
        Takes::Counted => instances
            .saturating_sub(wanted.unwrap_or(instances))
            .min(ready),
        Takes::Whole => ready.max(1),
    };
    Weighed {
        scope: Scope {
            service: match &spec.target {
                Target::Kubernetes {
                    cluster,
                    namespace,
                    name,
                    ..
                } => format!("{cluster}/{namespace}/{name}"),
                Target::Runai { .. } | Target::Named { .. } => spec.target.key(),
            },
            cause: None,
            instances,
            touched: taken,
            failing_since: None,
            place: Place::default(),
        },
        healthy_taken: taken,
        owned_elsewhere: false,
        impact: match spec.target {
            Target::Kubernetes { .. } if taken > 0 => {
                vec![format!("Touches {taken} of {instances} instances.")]
            }
            _ => Vec::new(),
        },
    }
}

/// A node, by what runs on it: whose work, how many GPUs, how old its checkpoints.
fn weigh_node(
    estate: &Estate,
    kind: ActionKind,
    cluster: &str,
    node: &str,
    now: Timestamp,
) -> Weighed {
    let jobs: Vec<&Job> = estate
        .jobs_on(cluster, node)
        .iter()
        .filter_map(|key| estate.job(key))
        .collect();
    let on_node = |job: &Job| {
        job.live_pods()
            .filter(|pod| pod.node.as_deref() == Some(node))
            .count() as u64
    };
    let ready: u64 = jobs
        .iter()
        .flat_map(|job| job.live_pods())
        .filter(|pod| pod.node.as_deref() == Some(node) && pod.is_ready())
        .count() as u64;
    let pods: u64 = jobs.iter().map(|job| on_node(job)).sum();
    let drain = kind == ActionKind::DrainNode;
    let mut told = Vec::new();
    match kind {
        ActionKind::UncordonNode => {
            told.push("New pods may be placed on the node again.".to_owned());
        }
        _ if drain => told.push(format!(
            "Ends {pods} pods of {} jobs on the node ({ready} ready), one after the other.",
            jobs.len()
        )),
        _ => told.push(format!(
            "New pods will not be placed on the node; the {pods} pods of {} jobs on it go on.",
            jobs.len()
        )),
    }
    if drain {
        for job in jobs.iter().take(NAMED) {
            let stake = at_stake(job, on_node(job), now).unwrap_or_default();
            told.push(format!(
                "{}/{}: {} of its pods are here. {stake}",
                job.key.namespace,
                job.key.name,
                on_node(job)
            ));
        }
        if jobs.len() > NAMED {
            told.push(format!("And {} jobs more.", jobs.len() - NAMED));
        }
    }
    let taken = if drain { ready } else { 0 };
    Weighed {
        scope: Scope {
            service: format!("{cluster}/node/{node}"),
            cause: None,
            instances: pods.max(1),
            touched: taken,
            failing_since: None,
            place: Place::default(),
        },
        healthy_taken: taken,
        owned_elsewhere: false,
        impact: told,
    }
}
