//! The systems that are acted on, behind three questions: may and would it work (prepare), do it (carry out), and did
//! it help (observe).

use serde_json::Value;
use tokio::time::Instant;

use super::kubernetes::{self, Diagnostics};
use super::{ActionSpec, Target, runai, watch_target};
use crate::safety::{Permit, Safety};
use crate::watch::kubernetes::client::{ClusterClient, Clusters, KubeError};
use crate::watch::runai::{RunaiClient, RunaiError};

/// Whatever is connected.
#[derive(Clone, Default)]
pub struct Systems {
    pub runai: Option<RunaiClient>,
    pub clusters: Clusters,
    /// Commands that may be run in containers.
    pub diagnostics: Diagnostics,
}

/// Why an action did not happen, by what that means for its record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ActionError {
    /// The target is not what it was when the action was proposed. Nothing was called.
    Changed(String),
    /// It was refused, or a step of several did not succeed; the text says how far it came.
    Refused(String),
    /// A call was sent and nobody knows whether it arrived.
    Unknown(String),
}

/// An action that was checked and only has to be called.
#[derive(Debug)]
pub struct Prepared {
    /// What the last call is, so that a person could make it: the report of a dry run.
    pub what: String,
    /// What people should know before they say yes, as far as only the system itself tells it.
    pub impact: Vec<String>,
    /// To be noted durably before the call.
    pub memory: Option<Value>,
    pub(super) call: Call,
}

#[derive(Debug)]
pub(super) enum Call {
    Kubernetes(kubernetes::Call),
    Runai { kind: String },
}

/// What is seen of a target after an action.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    /// As wanted.
    Reached(String),
    /// Not as wanted, which may still come.
    NotYet(String),
}

impl Systems {
    /// Checks everything that can be without changing anything: the target as it is now, permission, a server-side
    /// rehearsal.
    pub(super) async fn prepare(
        &self,
        spec: &ActionSpec,
        for_cause: bool,
    ) -> Result<Prepared, ActionError> {
        spec.validate()
            .map_err(|invalid| ActionError::Refused(invalid.to_string()))?;
        match &spec.target {
            Target::Kubernetes { cluster, .. } => {
                let cluster = self.cluster(cluster)?;
                if spec.kind != super::ActionKind::RecreateJob {
                    self.check_avoided_node(spec).await?;
                }
                kubernetes::prepare(cluster, spec, for_cause, &self.diagnostics).await
            }
            Target::Runai { .. } => {
                self.check_avoided_node(spec).await?;
                runai::prepare(self.runai()?, spec).await
            }
            Target::Named { of, .. } => Err(ActionError::Refused(format!("{of} is not connected"))),
        }
    }

    /// Makes the call. The permit is spent. What takes several steps ends by itself shortly before `until`.
    pub(super) async fn carry_out(
        &self,
        safety: &Safety,
        permit: Permit,
        prepared: Prepared,
        until: Instant,
    ) -> Result<String, ActionError> {
        match (&permit.spec().target, prepared.call) {
            (Target::Kubernetes { cluster, .. }, Call::Kubernetes(call)) => {
                kubernetes::carry_out(self.cluster(cluster)?, safety, &permit, call, until).await
            }
            (Target::Runai { .. }, Call::Runai { kind }) => {
                runai::carry_out(self.runai()?, safety, &permit, &kind).await
            }
            (Target::Kubernetes { .. } | Target::Named { .. }, Call::Runai { .. })
            | (Target::Runai { .. } | Target::Named { .. }, Call::Kubernetes(_)) => {
                unreachable!("a call is prepared for the target of its own permit")
            }
        }
    }

    /// Looks at the target of an action that was carried out.
    ///
    /// # Errors
    /// When it cannot be seen now; the sentence says why.
    pub(super) async fn observe(
        &self,
        spec: &ActionSpec,
        memory: Option<&Value>,
    ) -> Result<Seen, String> {
        match &spec.target {
            Target::Kubernetes { cluster, .. } => match self.cluster(cluster) {
                Ok(cluster) => watch_target::observe(cluster, spec, memory)
                    .await
                    .map_err(|error| error.explain()),
                Err(
                    ActionError::Changed(why)
                    | ActionError::Refused(why)
                    | ActionError::Unknown(why),
                ) => Err(why),
            },
            Target::Named { of, .. } => Err(format!("{of} is not connected")),
            Target::Runai { workload_id, .. } => match self.runai() {
                Ok(client) => runai::observe(client, spec.kind, workload_id).await,
                Err(
                    ActionError::Changed(why)
                    | ActionError::Refused(why)
                    | ActionError::Unknown(why),
                ) => Err(why),
            },
        }
    }

    pub(super) fn cluster(&self, name: &str) -> Result<&ClusterClient, ActionError> {
        self.clusters
            .cluster(name)
            .ok_or_else(|| ActionError::Refused(format!("cluster {name} is not connected")))
    }

    fn runai(&self) -> Result<&RunaiClient, ActionError> {
        self.runai
            .as_ref()
            .ok_or_else(|| ActionError::Refused("Run:AI is not connected".to_owned()))
    }

    /// A restart that must keep off a node but cannot be told to is only right while that node takes no pods.
    async fn check_avoided_node(&self, spec: &ActionSpec) -> Result<(), ActionError> {
        let Some(avoided) = &spec.avoid_node else {
            return Ok(());
        };
        let mut seen = false;
        for cluster in self.clusters.iter() {
            if spec
                .target
                .cluster()
                .is_some_and(|name| name != cluster.name())
            {
                continue;
            }
            match cluster.node(avoided).await {
                Ok(Some(node)) if !node.unschedulable => {
                    return Err(ActionError::Changed(format!(
                        "node {avoided} still takes pods, so the restart could land on it again; cordon it first"
                    )));
                }
                Ok(Some(_)) => seen = true,
                Ok(None) => {}
                Err(error) => return Err(nothing_sent(error)),
            }
        }
        // A node that is gone takes no pods; but with no cluster to ask, nobody knows.
        if seen || self.clusters.iter().next().is_some() {
            Ok(())
        } else {
            Err(ActionError::Refused(format!(
                "no cluster is connected that could tell whether node {avoided} takes pods"
            )))
        }
    }
}

/// A failed read or rehearsal: nothing was changed, whatever the error.
pub(super) fn nothing_sent(error: impl Into<KubeError>) -> ActionError {
    let error = error.into();
    match &error {
        KubeError::NotFound { .. } | KubeError::Conflict { .. } => {
            ActionError::Changed(error.explain())
        }
        KubeError::Unauthorized
        | KubeError::Credentials(_)
        | KubeError::Forbidden { .. }
        | KubeError::RateLimited { .. }
        | KubeError::NoLog { .. }
        | KubeError::Rejected { .. }
        | KubeError::Malformed { .. }
        | KubeError::Unreachable(_) => {
            ActionError::Refused(format!("nothing was done: {}", error.explain()))
        }
    }
}

/// A failed write: some answers leave open whether it happened.
pub(super) fn sent(error: impl Into<KubeError>) -> ActionError {
    let error = error.into();
    let text = error.explain();
    match &error {
        KubeError::NotFound { .. } | KubeError::Conflict { .. } => ActionError::Changed(text),
        // A patch that names another uid than the object's is an attempt to change the uid.
        KubeError::Rejected {
            status: 422,
            message,
        } if message.contains("uid") => ActionError::Changed(text),
        KubeError::Rejected { status, .. } if *status >= 500 => ActionError::Unknown(text),
        KubeError::Malformed { .. } | KubeError::Unreachable(_) => ActionError::Unknown(text),
        KubeError::Unauthorized
        | KubeError::Credentials(_)
        | KubeError::Forbidden { .. }
        | KubeError::RateLimited { .. }
        | KubeError::NoLog { .. }
        | KubeError::Rejected { .. } => ActionError::Refused(text),
    }
}

/// As [`sent`], for Run:AI.
pub(super) fn sent_to_runai(error: &RunaiError) -> ActionError {
    let text = error.told();
    if error.outcome_unknown() {
        return ActionError::Unknown(text);
    }
    match error {
        RunaiError::NotFound => {
            ActionError::Changed("Run:AI no longer knows the workload".to_owned())
        }
        RunaiError::Unauthorized
        | RunaiError::Forbidden { .. }
        | RunaiError::RateLimited { .. }
        | RunaiError::Rejected { .. }
        | RunaiError::Malformed { .. }
        | RunaiError::Unreachable(_)
        | RunaiError::InvalidArgument(_)
        | RunaiError::Unsupported { .. } => ActionError::Refused(text),
    }
}
