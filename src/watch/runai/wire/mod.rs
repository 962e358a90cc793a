//! The JSON of the API, read leniently into our vocabulary: only the fields needed, unknown ones skipped, nulls and
//! odd types taken as absent, and never a page lost for one bad element.

mod scalar;
mod workload;

use jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::{RunaiError, transport};
use crate::diagnose::HistoryEntry;
use crate::estate::{Event, Name, ObjectRef, Workload};

use scalar::{count, name, text, time};
use workload::WireWorkload;

pub(super) use workload::is_id;

/// Longest text kept from a message, in bytes; what is longer is a dump, not a message.
const LONGEST_TEXT: usize = 4096;

/// One page of a list.
#[derive(Clone, Debug)]
pub struct Page<T> {
    pub items: Vec<T>,
    /// Offset of the next page; `None` at the end.
    pub next: Option<u64>,
    /// Why elements of the page could not be read, one reason each.
    pub unreadable: Vec<String>,
}

/// A workload with what only the single read tells.
#[derive(Clone, Debug)]
pub struct WorkloadDetail {
    pub workload: Workload,
    /// Set once the workload is deleted.
    pub deleted: Option<Timestamp>,
    /// Why the scheduler does not place it, one sentence per node pool tried.
    pub pending_messages: Vec<String>,
}

/// A cluster that reports to the control plane.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunaiCluster {
    pub id: String,
    pub name: String,
    /// False when it is known to be away: what Run:AI tells of its workloads is then old.
    pub connected: bool,
    /// As stated: `Connected`, `Disconnected`, `ServiceIssues` …; empty where nothing is stated.
    pub state: String,
}

/// A pod as Run:AI knows it: no exit code, no restarts, no waiting reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunaiPod {
    pub id: String,
    pub name: String,
    pub node: Option<String>,
    pub node_pool: Option<String>,
    /// Kubernetes phase, as stated.
    pub phase: Option<String>,
    pub created: Option<Timestamp>,
    pub completed: Option<Timestamp>,
}

/// Every list of the API: its elements under one name or another, and where it goes on.
#[derive(Deserialize)]
struct Envelope<T> {
    #[serde(default, deserialize_with = "count")]
    next: Option<u64>,
    #[serde(
        rename = "workloads",
        alias = "events",
        alias = "records",
        alias = "pods",
        deserialize_with = "nullable",
        bound(deserialize = "T: Deserialize<'de>")
    )]
    items: Vec<T>,
}

/// `null` as the default: the servers write it for empty lists and absent objects.
fn nullable<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(
    from: D,
) -> Result<T, D::Error> {
    Ok(Option::<T>::deserialize(from)?.unwrap_or_default())
}

/// Reads a list whose elements are `W`, turned into `T`. Elements that cannot be read are counted, not fatal.
fn page<W: DeserializeOwned, T>(
    body: &[u8],
    what: &'static str,
    turn: impl Fn(W) -> Result<T, String>,
) -> Result<Page<T>, RunaiError> {
    let mut unreadable = Vec::new();
    let mut items = Vec::new();
    let mut keep = |turned: Result<T, String>| match turned {
        Ok(item) => items.push(item),
        Err(reason) => unreadable.push(reason),
    };
    let next = if let Ok(envelope) = serde_json::from_slice::<Envelope<Option<W>>>(body) {
        for element in envelope.items.into_iter().flatten() {
            keep(turn(element));
        }
        envelope.next
    } else {
        // The slow way, only for a page that does not read as a whole: one element after another, and what is not
        // UTF-8 replaced.
        let text = String::from_utf8_lossy(body);
        let envelope: Envelope<&RawValue> = document(text.as_bytes(), what)?;
        for raw in envelope.items {
            match serde_json::from_str::<Option<W>>(raw.get()) {
                Ok(Some(element)) => keep(turn(element)),
                Ok(None) => {}
                Err(error) => keep(Err(error.to_string())),
            }
        }
        envelope.next
    };
    Ok(Page {
        items,
        next,
        unreadable,
    })
}

fn document<'a, T: Deserialize<'a>>(body: &'a [u8], what: &'static str) -> Result<T, RunaiError> {
    serde_json::from_slice(body).map_err(|error| RunaiError::Malformed {
        what,
        reason: error.to_string(),
        excerpt: transport::excerpt(body),
    })
}

fn unusable(what: &'static str, reason: String, body: &[u8]) -> RunaiError {
    RunaiError::Malformed {
        what,
        reason,
        excerpt: transport::excerpt(body),
    }
}

pub(super) fn workloads(body: &[u8]) -> Result<Page<Workload>, RunaiError> {
    page(body, "list of workloads", WireWorkload::into_workload)
}

pub(crate) fn workload(body: &[u8]) -> Result<WorkloadDetail, RunaiError> {
    const WHAT: &str = "workload";
    #[derive(Deserialize)]
    struct Pending {
        #[serde(default, rename = "nodePool", deserialize_with = "text")]
        node_pool: Option<String>,
        #[serde(default, deserialize_with = "text")]
        reason: Option<String>,
        #[serde(default, rename = "userMessage", deserialize_with = "text")]
        user_message: Option<String>,
    }
    #[derive(Deserialize)]
    struct Extra {
        #[serde(default, rename = "deletedAt", deserialize_with = "time")]
        deleted: Option<Timestamp>,
        #[serde(
            default,
            rename = "pendingSchedulingMessages",
            deserialize_with = "nullable"
        )]
        pending: Vec<Option<Pending>>,
    }
    let wire: WireWorkload = document(body, WHAT)?;
    // Read apart, so that an odd message cannot hide the workload itself.
    let extra = serde_json::from_slice::<Extra>(body).unwrap_or(Extra {
        deleted: None,
        pending: Vec::new(),
    });
    let workload = wire
        .into_workload()
        .map_err(|reason| unusable(WHAT, reason, body))?;
    let pending_messages = extra
        .pending
        .into_iter()
        .flatten()
        .filter_map(|pending| {
            let said = pending.user_message.or(pending.reason)?;
            Some(match pending.node_pool {
                Some(pool) => format!("{pool}: {said}"),
                None => said,
            })
        })
        .collect();
    Ok(WorkloadDetail {
        workload,
        deleted: extra.deleted,
        pending_messages,
    })
}

#[derive(Deserialize)]
struct WireObject {
    #[serde(default, deserialize_with = "text")]
    uid: Option<String>,
    #[serde(default, deserialize_with = "name")]
    kind: Option<Name>,
    #[serde(default, deserialize_with = "text")]
    name: Option<String>,
    #[serde(default, deserialize_with = "name")]
    namespace: Option<Name>,
}

#[derive(Deserialize)]
struct WireEvent {
    #[serde(default, rename = "createdAt", deserialize_with = "time")]
    created: Option<Timestamp>,
    #[serde(default, deserialize_with = "text")]
    id: Option<String>,
    #[serde(default, rename = "type", deserialize_with = "name")]
    kind: Option<Name>,
    #[serde(default, rename = "clusterId", deserialize_with = "name")]
    cluster_id: Option<Name>,
    #[serde(default, deserialize_with = "text")]
    message: Option<String>,
    #[serde(default, deserialize_with = "name")]
    reason: Option<Name>,
    #[serde(default, deserialize_with = "name")]
    source: Option<Name>,
    #[serde(default, rename = "involvedObject")]
    object: Option<WireObject>,
}

impl WireEvent {
    fn into_event(self) -> Result<Event, String> {
        let last = self.created.ok_or("an event without a time")?;
        let (object, namespace) = match self.object {
            Some(object) => (
                ObjectRef {
                    kind: object.kind.unwrap_or_default(),
                    name: object.name.unwrap_or_default(),
                    uid: object.uid,
                },
                object.namespace.unwrap_or_default(),
            ),
            None => (
                ObjectRef {
                    kind: Name::default(),
                    name: String::new(),
                    uid: None,
                },
                Name::default(),
            ),
        };
        Ok(Event {
            cluster: self.cluster_id.unwrap_or_default(),
            namespace,
            uid: self.id.unwrap_or_default().clone(),
            kind: self.kind.unwrap_or_default(),
            reason: self.reason.unwrap_or_default(),
            message: self.message.unwrap_or_default(),
            object,
            source: self.source,
            count: 1,
            first: None,
            last,
            annotations: Vec::new(),
        })
    }
}

pub(crate) fn events(body: &[u8]) -> Result<Page<Event>, RunaiError> {
    page(body, "list of events", WireEvent::into_event)
}

pub(crate) fn history(body: &[u8]) -> Result<Page<HistoryEntry>, RunaiError> {
    #[derive(Deserialize)]
    struct Meta {
        #[serde(default, rename = "creationTimestamp", deserialize_with = "time")]
        created: Option<Timestamp>,
    }
    #[derive(Deserialize)]
    struct PhaseUpdate {
        #[serde(default, deserialize_with = "text")]
        phase: Option<String>,
        #[serde(default, rename = "phaseMessage", deserialize_with = "text")]
        message: Option<String>,
    }
    #[derive(Deserialize)]
    struct Spec {
        #[serde(default)]
        event: Option<WireEvent>,
        #[serde(default, rename = "phaseUpdate")]
        phase_update: Option<PhaseUpdate>,
    }
    #[derive(Deserialize)]
    struct Record {
        meta: Meta,
        spec: Spec,
    }
    page(body, "history", |Record { meta, spec }: Record| {
        let at = meta
            .created
            .or(spec.event.as_ref().and_then(|event| event.created))
            .ok_or("a record without a time")?;
        let (phase, message) = match (spec.phase_update, spec.event) {
            (Some(update), _) => (update.phase, update.message.unwrap_or_default()),
            (None, Some(event)) => {
                let message = event.message.unwrap_or_default();
                (
                    None,
                    event
                        .reason
                        .map_or(message.clone(), |reason| format!("{reason}: {message}")),
                )
            }
            (None, None) => return Err("a record that tells nothing".to_owned()),
        };
        Ok(HistoryEntry {
            at,
            phase,
            message,
            actor: None,
        })
    })
}

pub(super) fn pods(body: &[u8]) -> Result<Page<RunaiPod>, RunaiError> {
    #[derive(Deserialize)]
    struct WirePod {
        #[serde(default, deserialize_with = "text")]
        id: Option<String>,
        #[serde(default, deserialize_with = "text")]
        name: Option<String>,
        #[serde(default, rename = "nodeName", deserialize_with = "text")]
        node: Option<String>,
        #[serde(default, rename = "currentNodePool", deserialize_with = "text")]
        node_pool: Option<String>,
        #[serde(default, rename = "k8sPhase", deserialize_with = "text")]
        phase: Option<String>,
        #[serde(default, rename = "createdAt", deserialize_with = "time")]
        created: Option<Timestamp>,
        #[serde(default, rename = "completedAt", deserialize_with = "time")]
        completed: Option<Timestamp>,
    }
    page(body, "list of pods", |pod: WirePod| {
        Ok(RunaiPod {
            id: pod.id.unwrap_or_default(),
            name: pod.name.ok_or("a pod without a name")?,
            node: pod.node,
            node_pool: pod.node_pool,
            phase: pod.phase,
            created: pod.created,
            completed: pod.completed,
        })
    })
}

/// Clusters come as a bare array, without pages. Deleted ones are left out.
pub(super) fn clusters(body: &[u8]) -> Result<Vec<RunaiCluster>, RunaiError> {
    #[derive(Default, Deserialize)]
    struct Status {
        #[serde(default, deserialize_with = "text")]
        state: Option<String>,
    }
    #[derive(Deserialize)]
    struct WireCluster {
        #[serde(default, deserialize_with = "text")]
        uuid: Option<String>,
        #[serde(default, deserialize_with = "text")]
        name: Option<String>,
        #[serde(default, deserialize_with = "nullable")]
        status: Status,
        #[serde(default, rename = "deletedAt", deserialize_with = "time")]
        deleted: Option<Timestamp>,
    }
    let clusters: Vec<Option<WireCluster>> = document(body, "list of clusters")?;
    Ok(clusters
        .into_iter()
        .flatten()
        .filter(|cluster| cluster.deleted.is_none())
        .filter_map(|cluster| {
            let id = cluster.uuid?;
            let state = cluster.status.state.unwrap_or_default();
            Some(RunaiCluster {
                name: cluster.name.unwrap_or_else(|| id.clone()),
                id,
                // `ServiceIssues` and `MissingPrerequisites` still report; `Unknown` and no word at all prove nothing.
                connected: !matches!(state.as_str(), "Disconnected" | "WaitingToConnect"),
                state,
            })
        })
        .collect())
}

/// What a batch action says of the ids it could not act on.
pub(super) fn batch_failure(body: &[u8]) -> Result<Option<(u16, String)>, RunaiError> {
    #[derive(Deserialize)]
    struct Failed {
        #[serde(default, deserialize_with = "count")]
        code: Option<u64>,
        #[serde(default, deserialize_with = "text")]
        message: Option<String>,
    }
    #[derive(Deserialize)]
    struct Batch {
        #[serde(default, deserialize_with = "nullable")]
        failed: Vec<Failed>,
    }
    let batch: Batch = document(body, "result of the action")?;
    Ok(batch.failed.into_iter().next().map(|failed| {
        let code = failed
            .code
            .and_then(|code| u16::try_from(code).ok())
            .unwrap_or(409);
        (code, failed.message.unwrap_or_default())
    }))
}

#[cfg(test)]
mod tests;
