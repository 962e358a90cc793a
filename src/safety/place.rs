//! Where an action takes effect, as the live estate shows it: in which region, and of how many it takes one. Pure.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::action::{ActionSpec, Target};
use crate::decide::impact::instances;
use crate::decide::service_of;
use crate::estate::Node;
use crate::estate::index::{Estate, Job, holds};

/// What the limits on regions and on the blast radius look at. What nobody knows is empty or 0.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Place {
    /// The label `topology.kubernetes.io/region` of the nodes that the target is on; the cluster, where the nodes have
    /// no such label, are of several regions, or are not known.
    pub region: String,
    /// What the target is one of: the service (`cluster/namespace/name`), or for a node its pool (`cluster/pool/name`).
    pub of: String,
    /// How many of those there are.
    pub total: u64,
    /// How many of those are out of service, the target not counted.
    pub out: u64,
    /// Whether the target is out of service itself, so that nothing more is taken.
    pub target_out: bool,
}

/// Where `spec` would take effect now.
#[must_use]
pub fn place(spec: &ActionSpec, estate: &Estate) -> Place {
    let found = match &spec.target {
        Target::Kubernetes {
            cluster,
            kind,
            name,
            ..
        } if kind == "Node" => of_node(cluster, name, estate),
        Target::Kubernetes {
            kind,
            name,
            uid: Some(uid),
            ..
        } => estate
            .of_object(uid)
            .map(|job| of_job(job, (kind == "Pod").then_some(name), estate)),
        Target::Kubernetes { uid: None, .. } => None,
        // Other systems tell of no regions: each is one of its own.
        Target::Named { of, .. } => Some(Place {
            region: of.to_string(),
            ..Place::default()
        }),
        Target::Runai { workload_id, .. } => estate
            .by_runai_id(workload_id)
            .map(|job| of_job(job, None, estate)),
    };
    found.unwrap_or_else(|| Place {
        region: spec.target.cluster().unwrap_or_default().to_owned(),
        ..Place::default()
    })
}

fn of_node(cluster: &str, name: &str, estate: &Estate) -> Option<Place> {
    let target = &estate.node(cluster, name)?.node;
    let pool: Vec<&Node> = estate
        .nodes()
        .map(|entry| &entry.node)
        .filter(|node| node.cluster == cluster && node.node_pool == target.node_pool)
        .collect();
    let out = pool
        .iter()
        .filter(|node| node.name != name && is_out(node))
        .count();
    Some(Place {
        region: target.region.clone().unwrap_or_else(|| cluster.to_owned()),
        of: format!(
            "{cluster}/pool/{}",
            target.node_pool.as_deref().unwrap_or_default()
        ),
        total: pool.len() as u64,
        out: out as u64,
        target_out: is_out(target),
    })
}

fn is_out(node: &Node) -> bool {
    node.unschedulable || !holds(&node.conditions, "Ready")
}

fn of_job(job: &Job, pod: Option<&String>, estate: &Estate) -> Place {
    let current = job.current_pods();
    let total = instances(job);
    let is_target = |name: &str| pod.is_some_and(|pod| pod == name);
    let is_out = |pod: &crate::estate::Pod| {
        pod.deleting.is_some() || pod.phase != "Succeeded" && !pod.is_ready()
    };
    let mut out = current
        .iter()
        .filter(|pod| !is_target(&pod.name) && is_out(pod))
        .count() as u64;
    // A service that has fewer pods than it should is that much down; a batch job has fewer as it ends.
    if job.is_service() {
        out += total.saturating_sub(current.len() as u64);
    }
    let regions: BTreeSet<Option<&str>> = job
        .live_pods()
        .filter(|one| pod.is_none() || is_target(&one.name))
        .filter_map(|pod| pod.node.as_deref())
        .map(|node| {
            let entry = estate.node(&job.key.cluster, node)?;
            entry.node.region.as_deref()
        })
        .collect();
    let one = match regions.iter().next() {
        Some(Some(region)) if regions.len() == 1 => Some((*region).to_owned()),
        Some(_) | None => None,
    };
    Place {
        region: one.unwrap_or_else(|| job.key.cluster.clone()),
        of: service_of(job),
        total,
        out,
        target_out: current
            .iter()
            .find(|pod| is_target(&pod.name))
            .is_some_and(|pod| is_out(pod)),
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use serde_json::{Value, json};

    use super::*;
    use crate::action::{ActionKind, Parameters};
    use crate::watch::Observation;

    fn node(
        name: &str,
        pool: &str,
        region: Option<&str>,
        ready: bool,
        unschedulable: bool,
    ) -> Observation {
        let ready = if ready { "True" } else { "False" };
        Observation::Node(Box::new(read(json!({
            "cluster": "prod", "name": name, "uid": format!("uid-{name}"), "created": Timestamp::UNIX_EPOCH,
            "unschedulable": unschedulable, "taints": [],
            "conditions": [{"kind": "Ready", "status": ready, "reason": null, "message": null, "since": null}],
            "allocatable_gpus": 8.0, "capacity_gpus": 8.0, "gpu_type": null, "node_pool": pool, "region": region,
        }))))
    }
    fn pod(name: &str, on: &str, ready: bool) -> Observation {
        let ready = if ready { "True" } else { "False" };
        Observation::Pod(Box::new(read(json!({
            "cluster": "prod", "namespace": "ml", "name": name, "uid": format!("uid-{name}"),
            "created": Timestamp::UNIX_EPOCH, "deleting": null, "node": on, "phase": "Running", "reason": null,
            "message": null,
            "conditions": [{"kind": "Ready", "status": ready, "reason": null, "message": null, "since": null}],
            "containers": [], "owner": {"kind": "StatefulSet", "name": "serve", "uid": "u-1"}, "workload": "serve",
            "runai_id": null, "project": null, "gpus": 1.0, "scheduler": null, "claims": [], "rank": null,
            "restart_policy": null,
        }))))
    }
    fn read<T: serde::de::DeserializeOwned>(value: Value) -> T {
        serde_json::from_value(value).unwrap()
    }
    fn spec(kind: ActionKind, object: &str, name: &str) -> ActionSpec {
        ActionSpec {
            kind,
            target: Target::Kubernetes {
                cluster: "prod".into(),
                namespace: if object == "Node" { "" } else { "ml" }.into(),
                kind: object.into(),
                name: name.into(),
                uid: Some(format!("uid-{name}")),
            },
            parameters: Parameters::default(),
            avoid_node: None,
        }
    }
    fn estate(seen: Vec<Observation>) -> Estate {
        let mut estate = Estate::new(vec!["prod".into()], std::collections::HashMap::new());
        for observation in seen {
            estate.apply(observation, Timestamp::UNIX_EPOCH);
        }
        estate
    }

    #[test]
    fn a_node_is_one_of_its_pool() {
        let estate = estate(vec![
            node("n0", "h100", Some("eu-west-1"), true, false),
            node("n1", "h100", Some("eu-west-1"), true, true),
            node("n2", "h100", Some("eu-west-1"), false, false),
            node("n3", "a100", None, true, false),
        ]);
        let of = |name| place(&spec(ActionKind::CordonNode, "Node", name), &estate);
        assert_eq!(
            of("n0"),
            Place {
                region: "eu-west-1".into(),
                of: "prod/pool/h100".into(),
                total: 3,
                out: 2,
                target_out: false,
            }
        );
        assert_eq!((of("n2").out, of("n2").target_out), (1, true));
        assert_eq!((of("n3").region.as_str(), of("n3").total), ("prod", 1));
        let gone = Place {
            region: "prod".into(),
            ..Place::default()
        };
        assert_eq!(of("n9"), gone);
    }

    #[test]
    fn a_pod_is_one_of_its_service_where_its_own_node_is() {
        let estate = estate(vec![
            node("n0", "h100", Some("eu-west-1"), true, false),
            node("n1", "h100", Some("us-east-1"), true, false),
            node("n2", "h100", None, true, false),
            pod("serve-0", "n0", true),
            pod("serve-1", "n1", false),
            pod("serve-2", "n2", true),
        ]);
        let of = |name| place(&spec(ActionKind::DeletePod, "Pod", name), &estate);
        assert_eq!(
            of("serve-0"),
            Place {
                region: "eu-west-1".into(),
                of: "prod/ml/serve".into(),
                total: 3,
                out: 1,
                target_out: false,
            }
        );
        assert_eq!(
            (of("serve-1").region.as_str(), of("serve-1").out),
            ("us-east-1", 0)
        );
        assert!(of("serve-1").target_out);
        assert_eq!(of("serve-2").region, "prod", "its node names no region");
        let mut whole = spec(ActionKind::RolloutRestart, "StatefulSet", "serve");
        if let Target::Kubernetes { uid, .. } = &mut whole.target {
            // The service as a whole is wherever its pods are.
            *uid = Some("uid-serve-0".into());
        }
        assert_eq!(place(&whole, &estate).region, "prod", "it is in several");
    }
}
