//! Targets by name: keys for locks, words for people, and the check that refuses hostile names before any call.

use std::fmt;

use super::parameters::{InvalidParameter, shown};
use super::{ActionKind, ActionSpec, System, Target};

/// Why an action must not be sent anywhere.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidAction {
    #[error("`{}` is not a Kubernetes {field}", shown(.value))]
    Name { field: &'static str, value: String },
    #[error("`{}` is not the name of something in {of}", shown(.value))]
    Named { of: System, value: String },
    #[error("`{}` is not a Run:AI workload id", shown(.value))]
    WorkloadId { value: String },
    #[error("cannot {kind} a {}", shown(.target))]
    WrongTarget { kind: ActionKind, target: String },
    #[error("{kind} needs the uid of its target")]
    MissingUid { kind: ActionKind },
    #[error("{kind}: {mistake}")]
    Parameter {
        kind: ActionKind,
        mistake: InvalidParameter,
    },
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
            Self::Named { of, name, uid: _ } => format!("{}:{name}", of.as_str()),
        }
    }

    /// The name of what is acted on, without its place.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Kubernetes { name, .. } | Self::Runai { name, .. } | Self::Named { name, .. } => {
                name
            }
        }
    }

    /// The system that it is an object of.
    #[must_use]
    pub fn system(&self) -> System {
        match self {
            Self::Kubernetes { .. } => System::Kubernetes,
            Self::Runai { .. } => System::Runai,
            Self::Named { of, .. } => *of,
        }
    }

    /// The cluster whose objects it is, where that is known: the scope of the cap on cordons.
    #[must_use]
    pub fn cluster(&self) -> Option<&str> {
        match self {
            Self::Kubernetes { cluster, .. } => Some(cluster),
            Self::Runai { .. } | Self::Named { .. } => None,
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
            Self::Named { of, name, uid: _ } => write!(f, "{name} ({of})"),
        }
    }
}

impl fmt::Display for ActionSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind.verb(), self.target)?;
        if !self.parameters.is_empty() {
            write!(f, " ({})", self.parameters)?;
        }
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
        let mistakes = self.parameters.mistakes(self.kind.entry().parameters);
        if let Some(mistake) = mistakes.into_iter().next() {
            return Err(InvalidAction::Parameter {
                kind: self.kind,
                mistake,
            });
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
                let entry = self.kind.entry();
                let fits =
                    entry.system == System::Kubernetes && entry.objects.contains(&kind.as_str());
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
            Target::Named { of, name, uid } => {
                if self.kind.entry().system != *of
                    || matches!(of, System::Kubernetes | System::Runai)
                {
                    return Err(InvalidAction::WrongTarget {
                        kind: self.kind,
                        target: format!("target of {of}"),
                    });
                }
                if !is_name(name) {
                    return Err(InvalidAction::Named {
                        of: *of,
                        value: name.clone(),
                    });
                }
                match uid {
                    Some(uid) if !is_uid(uid) => Err(name_error("uid", uid)),
                    Some(_) | None => Ok(()),
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
    if is_subdomain(value) {
        Ok(())
    } else {
        Err(name_error(field, value))
    }
}

pub(super) fn is_subdomain(value: &str) -> bool {
    value.len() <= 253 && value.split('.').all(is_label)
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

/// Names of containers, DAGs, tables and configured things: what each of those systems takes, and nothing that could
/// lead out of a path, a query or a lock key.
fn is_name(name: &str) -> bool {
    (1..=250).contains(&name.len())
        && name.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_')
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.'))
        && !name.contains("..")
}

/// Uids are UUIDs in practice; the API only promises an opaque text, so only what could leave a path is refused.
fn is_uid(uid: &str) -> bool {
    (1..=64).contains(&uid.len()) && uid.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::action::Parameters;

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
            parameters: Parameters::default(),
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
            parameters: Parameters::default(),
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
}
