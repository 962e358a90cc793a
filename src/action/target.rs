//! Targets by name: keys for locks, words for people, and the check that refuses hostile names before any call.

use std::fmt;

use super::{ActionKind, ActionSpec, Target};

/// Why an action must not be sent anywhere.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidAction {
    #[error("`{}` is not a Kubernetes {field}", shown(.value))]
    Name { field: &'static str, value: String },
    #[error("`{}` is not a Run:AI workload id", shown(.value))]
    WorkloadId { value: String },
    #[error("cannot {kind} a {}", shown(.target))]
    WrongTarget { kind: ActionKind, target: String },
    #[error("{kind} needs the uid of its target")]
    MissingUid { kind: ActionKind },
}

/// At most 80 characters of a hostile value, without control characters.
fn shown(value: &str) -> String {
    value.chars().filter(|c| !c.is_control()).take(80).collect()
}

impl ActionKind {
    /// The name in contracts, runbooks and audit.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::DeletePod => "delete_pod",
            Self::RolloutRestart => "rollout_restart",
            Self::SuspendJob => "suspend_job",
            Self::ResumeJob => "resume_job",
            Self::RecreateJob => "recreate_job",
            Self::RunaiSuspend => "runai_suspend",
            Self::RunaiResume => "runai_resume",
            Self::RunaiDelete => "runai_delete",
            Self::RunaiRestart => "runai_restart",
            Self::CordonNode => "cordon_node",
            Self::UncordonNode => "uncordon_node",
        }
    }

    /// The kind with this name, if it is one.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }

    pub const ALL: [Self; 11] = [
        Self::DeletePod,
        Self::RolloutRestart,
        Self::SuspendJob,
        Self::ResumeJob,
        Self::RecreateJob,
        Self::RunaiSuspend,
        Self::RunaiResume,
        Self::RunaiDelete,
        Self::RunaiRestart,
        Self::CordonNode,
        Self::UncordonNode,
    ];

    /// What it does, as a verb phrase before the target's name.
    #[must_use]
    pub fn verb(self) -> &'static str {
        match self {
            Self::DeletePod => "delete pod",
            Self::RolloutRestart => "restart the rollout of",
            Self::SuspendJob | Self::RunaiSuspend => "suspend",
            Self::ResumeJob | Self::RunaiResume => "resume",
            Self::RecreateJob => "delete and re-create",
            Self::RunaiDelete => "delete",
            Self::RunaiRestart => "suspend and resume",
            Self::CordonNode => "cordon",
            Self::UncordonNode => "uncordon",
        }
    }

    /// Whether it starts a service or a part of it again: what the restart limit counts.
    #[must_use]
    pub fn is_restart(self) -> bool {
        match self {
            Self::DeletePod | Self::RolloutRestart | Self::RecreateJob | Self::RunaiRestart => true,
            Self::SuspendJob
            | Self::ResumeJob
            | Self::RunaiSuspend
            | Self::RunaiResume
            | Self::RunaiDelete
            | Self::CordonNode
            | Self::UncordonNode => false,
        }
    }

    pub(crate) fn is_runai(self) -> bool {
        match self {
            Self::RunaiSuspend | Self::RunaiResume | Self::RunaiDelete | Self::RunaiRestart => true,
            Self::DeletePod
            | Self::RolloutRestart
            | Self::SuspendJob
            | Self::ResumeJob
            | Self::RecreateJob
            | Self::CordonNode
            | Self::UncordonNode => false,
        }
    }
}

impl fmt::Display for ActionKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Target {
    /// One text per object, for locks, lanes and cool-downs. It has no uid: a reborn object is the same target.
    #[must_use]
    pub fn key(&self) -> String {
        match self {
            Self::Kubernetes {
                cluster,
                namespace,
                kind,
                name,
                uid: _,
            } => format!("kubernetes:{cluster}/{namespace}/{kind}/{name}"),
            Self::Runai { workload_id, .. } => format!("runai:{workload_id}"),
        }
    }

    /// The cluster whose objects it is, where that is known: the scope of the cap on cordons.
    #[must_use]
    pub fn cluster(&self) -> Option<&str> {
        match self {
            Self::Kubernetes { cluster, .. } => Some(cluster),
            Self::Runai { .. } => None,
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kubernetes {
                cluster,
                namespace,
                kind,
                name,
                uid: _,
            } => {
                write!(f, "{kind} ")?;
                if !namespace.is_empty() {
                    write!(f, "{namespace}/")?;
                }
                write!(f, "{name} in {cluster}")
            }
            Self::Runai {
                name,
                project,
                kind,
                workload_id: _,
            } => write!(f, "Run:AI {kind} {project}/{name}"),
        }
    }
}

impl fmt::Display for ActionSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind.verb(), self.target)?;
        match &self.avoid_node {
            Some(node) => write!(f, ", keeping off node {node}"),
            None => Ok(()),
        }
    }
}

impl ActionSpec {
    /// Checks that the action fits its target and that every name in it is one its system could have given. Names come
    /// from labels and messages that users of the cluster write; a path must never be built from anything else.
    ///
    /// # Errors
    /// Says which part is wrong.
    pub fn validate(&self) -> Result<(), InvalidAction> {
        if let Some(node) = &self.avoid_node {
            subdomain("node name", node)?;
        }
        match &self.target {
            Target::Kubernetes {
                cluster,
                namespace,
                kind,
                name,
                uid,
            } => {
                if cluster.is_empty() || cluster.chars().any(char::is_control) {
                    return Err(name_error("context name", cluster));
                }
                subdomain("object name", name)?;
                let fits = match self.kind {
                    ActionKind::DeletePod => kind == "Pod",
                    ActionKind::RolloutRestart => {
                        matches!(kind.as_str(), "Deployment" | "StatefulSet" | "DaemonSet")
                    }
                    ActionKind::SuspendJob | ActionKind::ResumeJob | ActionKind::RecreateJob => {
                        kind == "Job"
                    }
                    ActionKind::CordonNode | ActionKind::UncordonNode => kind == "Node",
                    ActionKind::RunaiSuspend
                    | ActionKind::RunaiResume
                    | ActionKind::RunaiDelete
                    | ActionKind::RunaiRestart => false,
                };
                if !fits {
                    return Err(InvalidAction::WrongTarget {
                        kind: self.kind,
                        target: kind.clone(),
                    });
                }
                if kind == "Node" {
                    if !namespace.is_empty() {
                        return Err(name_error("namespace of a node", namespace));
                    }
                } else {
                    label("namespace", namespace)?;
                }
                match uid {
                    Some(uid) if is_uid(uid) => Ok(()),
                    Some(uid) => Err(name_error("uid", uid)),
                    // Without its uid a reborn object would be hit; cordoning is the same on whatever bears the name.
                    None if kind == "Node" => Ok(()),
                    None => Err(InvalidAction::MissingUid { kind: self.kind }),
                }
            }
            Target::Runai {
                workload_id, kind, ..
            } => {
                if !self.kind.is_runai() {
                    return Err(InvalidAction::WrongTarget {
                        kind: self.kind,
                        target: format!("Run:AI {kind}"),
                    });
                }
                if uuid::Uuid::try_parse(workload_id).is_err() || workload_id.len() != 36 {
                    return Err(InvalidAction::WorkloadId {
                        value: workload_id.clone(),
                    });
                }
                Ok(())
            }
        }
    }
}

fn name_error(field: &'static str, value: &str) -> InvalidAction {
    InvalidAction::Name {
        field,
        value: value.to_owned(),
    }
}

/// RFC 1123 subdomain: at most 253 of `a-z`, `0-9`, `-`, `.`; each part begins and ends with a letter or digit.
fn subdomain(field: &'static str, value: &str) -> Result<(), InvalidAction> {
    if value.len() <= 253 && value.split('.').all(is_label) {
        Ok(())
    } else {
        Err(name_error(field, value))
    }
}

/// RFC 1123 label: at most 63 characters.
fn label(field: &'static str, value: &str) -> Result<(), InvalidAction> {
    if value.len() <= 63 && is_label(value) {
        Ok(())
    } else {
        Err(name_error(field, value))
    }
}

fn is_label(part: &str) -> bool {
    let alphanumeric = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let bytes = part.as_bytes();
    matches!((bytes.first(), bytes.last()), (Some(&a), Some(&z)) if alphanumeric(a) && alphanumeric(z))
        && bytes.iter().all(|&b| alphanumeric(b) || b == b'-')
}

/// Uids are UUIDs in practice; the API only promises an opaque text, so only what could leave a path is refused.
fn is_uid(uid: &str) -> bool {
    (1..=64).contains(&uid.len()) && uid.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(namespace: &str, name: &str, uid: Option<&str>) -> ActionSpec {
        ActionSpec {
            kind: ActionKind::DeletePod,
            target: Target::Kubernetes {
                cluster: "prod".into(),
                namespace: namespace.into(),
                kind: "Pod".into(),
                name: name.into(),
                uid: uid.map(str::to_owned),
            },
            avoid_node: None,
        }
    }

    #[test]
    fn hostile_names_are_refused_before_any_call() {
        let long = "a".repeat(254);
        let long_namespace = "a".repeat(64);
        for (namespace, name) in [
            ("ml", "../../nodes/gpu-1"),
            ("ml", "train-0?propagationPolicy=Orphan"),
            ("ml", "Train"),
            ("ml", ""),
            ("ml", "-x"),
            ("ml", "x."),
            ("ml", "x..y"),
            ("ml", "train 0"),
            ("ml", "train\n0"),
            ("ml", "tra\u{131}n"),
            ("ml", long.as_str()),
            ("ml/pods", "x"),
            ("", "x"),
            (long_namespace.as_str(), "x"),
        ] {
            assert!(
                pod(namespace, name, Some("u-1")).validate().is_err(),
                "{namespace:?} {name:?}"
            );
        }
        assert_eq!(pod("ml", "train-0.x", Some("u-1")).validate(), Ok(()));
        assert!(pod("ml", "train-0", None).validate().is_err());
        assert!(pod("ml", "train-0", Some("../x")).validate().is_err());
    }

    #[test]
    fn an_action_must_fit_its_target() {
        let mut spec = pod("ml", "train-0", Some("u-1"));
        spec.kind = ActionKind::RecreateJob;
        assert!(matches!(
            spec.validate(),
            Err(InvalidAction::WrongTarget { .. })
        ));
        let runai = |id: &str| ActionSpec {
            kind: ActionKind::RunaiRestart,
            target: Target::Runai {
                workload_id: id.into(),
                name: "llm".into(),
                project: "p".into(),
                kind: "Training".into(),
            },
            avoid_node: None,
        };
        assert_eq!(
            runai("0b6a5b0e-6c4e-4c39-9a65-1b8f0d1f3a01").validate(),
            Ok(())
        );
        for id in [
            "",
            "1/suspend",
            "{0b6a5b0e-6c4e-4c39-9a65-1b8f0d1f3a01}",
            "0b6a5b0e6c4e4c399a651b8f0d1f3a01",
        ] {
            assert!(runai(id).validate().is_err(), "{id}");
        }
    }

    #[test]
    fn names_of_kinds_are_their_serialized_names() {
        for kind in ActionKind::ALL {
            assert_eq!(
                serde_json::to_value(kind).unwrap(),
                serde_json::json!(kind.as_str())
            );
            assert_eq!(ActionKind::named(kind.as_str()), Some(kind));
        }
        assert_eq!(ActionKind::named("drop_table"), None);
    }
}
