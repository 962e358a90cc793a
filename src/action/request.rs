//! An action as a person or a runbook names it, resolved to an exact one: which kind the verb means for what the name is,
//! and which object bears the name. Pure.

use serde::{Deserialize, Serialize};

use super::parameters::nearest;
use super::{ActionKind, ActionSpec, Parameters, System, Target, catalogue};
use crate::desk::JobQuery;
use crate::estate::index::{Estate, Found, Job};

/// Who is to be acted on, as far as it was said.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ActionRequest {
    /// A name of the catalogue (`rollout_restart`), or a bare verb (`restart`) that means another kind for a Job than for
    /// a Deployment.
    pub action: String,
    /// Of a job, object, node, container …; or `kind/name`.
    pub name: String,
    /// Kind of Kubernetes object, where the name alone would not do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cluster: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub project: Option<String>,
    #[serde(skip_serializing_if = "Parameters::is_empty")]
    pub parameters: Parameters,
}

/// Why a request names no exact action.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unresolved {
    #[error("there is no action `{}`{}", super::parameters::shown(.action), .nearest.as_ref().map_or_else(String::new, |near| format!("; did you mean `{near}`?")))]
    NoAction {
        action: String,
        nearest: Option<String>,
    },
    #[error("say what to {verb}: the name is missing")]
    NoName { verb: &'static str },
    #[error("{0}")]
    Target(String),
}

/// Verbs of everyday speech with the kinds they may mean; the first that acts on what is named is taken.
const VERBS: [(&str, &[ActionKind]); 10] = {
    use ActionKind as A;
    [
        (
            "restart",
            &[
                A::RunaiRestart,
                A::RecreateJob,
                A::RolloutRestart,
                A::DeletePod,
            ],
        ),
        ("suspend", &[A::RunaiSuspend, A::SuspendJob]),
        ("resume", &[A::RunaiResume, A::ResumeJob]),
        ("delete", &[A::RunaiDelete, A::DeleteJob, A::DeletePod]),
        ("resubmit", &[A::RecreateJob]),
        ("scale", &[A::Scale]),
        ("rollback", &[A::RolloutUndo]),
        ("cordon", &[A::CordonNode]),
        ("uncordon", &[A::UncordonNode]),
        ("drain", &[A::DrainNode]),
    ]
};

/// The kinds that a name or verb may mean, in order of preference.
fn meant(action: &str) -> Result<Vec<ActionKind>, Unresolved> {
    let action = action.trim().to_lowercase().replace([' ', '-'], "_");
    if let Some(kind) = ActionKind::named(&action) {
        return Ok(vec![kind]);
    }
    if let Some((_, kinds)) = VERBS.iter().find(|(verb, _)| *verb == action) {
        return Ok(kinds.to_vec());
    }
    let known = catalogue()
        .iter()
        .map(|entry| entry.name)
        .chain(VERBS.iter().map(|(verb, _)| *verb));
    Err(Unresolved::NoAction {
        nearest: nearest(&action, known),
        action,
    })
}

impl ActionRequest {
    /// The exact action. The uid of a Kubernetes target is left out: [`super::Systems::plan`] binds it.
    ///
    /// # Errors
    /// What is missing, unknown or ambiguous.
    pub fn resolve(&self, estate: &Estate, clusters: &[&str]) -> Result<ActionSpec, Unresolved> {
        let kinds = meant(&self.action)?;
        let first = kinds[0].entry();
        if self.name.trim().is_empty() {
            return Err(Unresolved::NoName { verb: first.verb });
        }
        let (kind, target) = match first.system {
            System::Kubernetes | System::Runai => self.object(&kinds, estate, clusters)?,
            of => (
                kinds[0],
                Target::Named {
                    of,
                    name: self.name.trim().to_owned(),
                    uid: None,
                },
            ),
        };
        Ok(ActionSpec {
            kind,
            target,
            parameters: self.parameters.clone(),
            avoid_node: None,
        })
    }

    fn object(
        &self,
        kinds: &[ActionKind],
        estate: &Estate,
        clusters: &[&str],
    ) -> Result<(ActionKind, Target), Unresolved> {
        let (said, name) = match self.name.trim().split_once('/') {
            Some((kind, name)) if self.kind.is_none() && object_kind(kind).is_some() => {
                (object_kind(kind), name)
            }
            _ => (self.kind.as_deref().and_then(object_kind), self.name.trim()),
        };
        if self.kind.is_some() && said.is_none() {
            return Err(Unresolved::Target(format!(
                "`{}` is not a kind that is acted on: use Pod, Deployment, StatefulSet, DaemonSet, Job or Node",
                super::parameters::shown(self.kind.as_deref().unwrap_or_default())
            )));
        }
        if kinds.iter().all(|kind| kind.acts_on("Node")) {
            return Ok((kinds[0], self.node(name, estate, clusters)?));
        }
        if let Some(object) = said
            && let Some(kind) = kinds.iter().find(|kind| kind.acts_on(object))
        {
            let namespace = self.namespace.clone().ok_or_else(|| {
                Unresolved::Target(format!("say in which namespace {object} {name} is"))
            })?;
            let target = Target::Kubernetes {
                cluster: self.cluster(clusters)?,
                namespace,
                kind: object.to_owned(),
                name: name.to_owned(),
                uid: None,
            };
            return Ok((*kind, target));
        }
        if let Some(object) = said {
            return Err(Unresolved::Target(format!(
                "{} does not act on a {object}",
                kinds[0]
            )));
        }
        let query = JobQuery {
            name: name.to_owned(),
            project: self.project.clone(),
            namespace: self.namespace.clone(),
        };
        match estate.find(&query) {
            Found::One(key) => {
                let job = estate
                    .job(&key)
                    .ok_or_else(|| Unresolved::Target("the job is gone".to_owned()))?;
                part_of(kinds, job, name).ok_or_else(|| {
                    Unresolved::Target(format!(
                        "`{}` is a {}, which {} does not act on",
                        key.name,
                        job.kind(),
                        kinds[0]
                    ))
                })
            }
            Found::Several(keys) => {
                let names: Vec<String> = keys
                    .iter()
                    .take(5)
                    .map(|key| format!("{}/{}", key.namespace, key.name))
                    .collect();
                Err(Unresolved::Target(format!(
                    "several jobs fit that name: {}; say which namespace",
                    names.join(", ")
                )))
            }
            Found::None { nearest } => {
                let near: Vec<&str> = nearest
                    .iter()
                    .take(3)
                    .map(|key| key.name.as_str())
                    .collect();
                Err(Unresolved::Target(if near.is_empty() {
                    format!(
                        "nothing of the name `{}` is known",
                        super::parameters::shown(name)
                    )
                } else {
                    format!(
                        "nothing of the name `{}` is known; there are {}",
                        super::parameters::shown(name),
                        near.join(", ")
                    )
                }))
            }
        }
    }

    fn node(&self, name: &str, estate: &Estate, clusters: &[&str]) -> Result<Target, Unresolved> {
        let mut found: Vec<&str> = estate
            .nodes()
            .filter(|entry| entry.node.name == name)
            .map(|entry| entry.node.cluster.as_str())
            .filter(|cluster| self.cluster.as_deref().is_none_or(|said| said == *cluster))
            .collect();
        found.dedup();
        let cluster = match found.as_slice() {
            [only] => (*only).to_owned(),
            [] => self.cluster(clusters)?,
            several => {
                return Err(Unresolved::Target(format!(
                    "several clusters have a node {name}: {}; say which",
                    several.join(", ")
                )));
            }
        };
        Ok(Target::Kubernetes {
            cluster,
            namespace: String::new(),
            kind: "Node".to_owned(),
            name: name.to_owned(),
            uid: None,
        })
    }

    /// The cluster that was said, or the only one.
    fn cluster(&self, clusters: &[&str]) -> Result<String, Unresolved> {
        match (&self.cluster, clusters) {
            (Some(said), known) if known.contains(&said.as_str()) => Ok(said.clone()),
            (Some(said), known) => Err(Unresolved::Target(format!(
                "cluster `{}` is not connected; there are: {}",
                super::parameters::shown(said),
                known.join(", ")
            ))),
            (None, [only]) => Ok((*only).to_owned()),
            (None, []) => Err(Unresolved::Target(
                "no Kubernetes cluster is connected".to_owned(),
            )),
            (None, several) => Err(Unresolved::Target(format!(
                "say in which cluster: {}",
                several.join(", ")
            ))),
        }
    }
}

/// The part of a job that one of these kinds acts on.
fn part_of(kinds: &[ActionKind], job: &Job, name: &str) -> Option<(ActionKind, Target)> {
    let kubernetes = |kind: &str, name: &str| Target::Kubernetes {
        cluster: job.key.cluster.clone(),
        namespace: job.key.namespace.clone(),
        kind: kind.to_owned(),
        name: name.to_owned(),
        uid: None,
    };
    // Who names a pod means the pod.
    let pod = job.live_pods().find(|pod| pod.name == name);
    if let (Some(pod), Some(kind)) = (pod, kinds.iter().find(|kind| kind.acts_on("Pod"))) {
        return Some((*kind, kubernetes("Pod", &pod.name)));
    }
    kinds.iter().find_map(|kind| {
        if kind.is_runai() {
            let workload = job.workload.as_ref()?;
            return Some((
                *kind,
                Target::Runai {
                    workload_id: workload.id.clone(),
                    name: workload.name.clone(),
                    project: workload.project.to_string(),
                    kind: workload.kind.to_string(),
                },
            ));
        }
        let controller = job
            .top_controllers()
            .find(|controller| controller.deleting.is_none() && kind.acts_on(&controller.kind))?;
        Some((*kind, kubernetes(&controller.kind, &controller.name)))
    })
}

/// `deployment`, `deploy` or `Deployment`, as the API writes it.
fn object_kind(said: &str) -> Option<&'static str> {
    Some(match said.to_lowercase().as_str() {
        "pod" | "pods" | "po" => "Pod",
        "deployment" | "deployments" | "deploy" => "Deployment",
        "statefulset" | "statefulsets" | "sts" => "StatefulSet",
        "daemonset" | "daemonsets" | "ds" => "DaemonSet",
        "job" | "jobs" => "Job",
        "node" | "nodes" | "no" => "Node",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(action: &str, name: &str, namespace: Option<&str>) -> ActionRequest {
        ActionRequest {
            action: action.to_owned(),
            name: name.to_owned(),
            namespace: namespace.map(str::to_owned),
            ..ActionRequest::default()
        }
    }

    #[test]
    fn a_named_object_gives_the_verb_its_meaning() {
        let estate = Estate::new(vec!["prod".to_owned()], std::collections::HashMap::new());
        for (action, name, kind) in [
            ("restart", "deploy/web", ActionKind::RolloutRestart),
            ("restart", "job/train", ActionKind::RecreateJob),
            ("restart", "pod/train-0", ActionKind::DeletePod),
            ("delete", "Job/train", ActionKind::DeleteJob),
            ("rollout-undo", "sts/db", ActionKind::RolloutUndo),
            ("drain", "gpu-7", ActionKind::DrainNode),
        ] {
            let spec = request(action, name, Some("ml"))
                .resolve(&estate, &["prod"])
                .unwrap();
            assert_eq!(spec.kind, kind, "{action} {name}");
        }
    }

    #[test]
    fn what_is_missing_or_unknown_is_said() {
        let estate = Estate::new(Vec::new(), std::collections::HashMap::new());
        for (request, told) in [
            (
                request("scael", "deploy/web", None),
                "there is no action `scael`; did you mean `scale`?",
            ),
            (
                request("scale", " ", None),
                "say what to scale: the name is missing",
            ),
            (
                request("scale", "deploy/web", None),
                "say in which namespace Deployment web is",
            ),
            (
                request("scale", "job/x", Some("ml")),
                "scale does not act on a Job",
            ),
            (
                request("drain", "gpu-7", None),
                "say in which cluster: a, b",
            ),
            (
                request("scale", "web", None),
                "nothing of the name `web` is known",
            ),
        ] {
            let error = request.resolve(&estate, &["a", "b"]).unwrap_err();
            assert_eq!(error.to_string(), told);
        }
    }
}
