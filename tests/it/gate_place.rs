//! How much of the estate may be out of service together, measured on the live estate when the permit is issued.

use std::collections::HashMap;
use std::sync::{Arc, RwLock};

use jiff::Timestamp;
use nightbell::action::{ActionKind, ActionSpec, Parameters, Target};
use nightbell::decide::Proposal;
use nightbell::estate::index::Estate;
use nightbell::safety::limits::LimitReached;
use nightbell::safety::{Decision, Proposed, Refusal};
use nightbell::watch::Observation;
use serde_json::json;

use crate::support::database::databases;
use crate::support::gate::{approve, at, chain_holds, proposal, propose, run, safety};

fn node(name: &str, unschedulable: bool) -> Observation {
    let node = serde_json::from_value(json!({
        "cluster": "prod", "name": name, "uid": format!("uid-{name}"), "created": Timestamp::UNIX_EPOCH,
        "unschedulable": unschedulable, "taints": [],
        "conditions": [{"kind": "Ready", "status": "True", "reason": null, "message": null, "since": null}],
        "allocatable_gpus": 8.0, "capacity_gpus": 8.0, "gpu_type": null, "node_pool": "h100",
        "region": "eu-west-1",
    }));
    Observation::Node(Box::new(node.expect("a node")))
}

fn cordon(name: &str) -> Proposal {
    let of = proposal(name);
    Proposal {
        spec: ActionSpec {
            kind: ActionKind::CordonNode,
            target: Target::Kubernetes {
                cluster: "prod".into(),
                namespace: String::new(),
                kind: "Node".into(),
                name: name.into(),
                uid: None,
            },
            parameters: Parameters::default(),
            avoid_node: None,
        },
        ..of
    }
}

#[tokio::test]
async fn a_pool_keeps_four_fifths_of_its_nodes_whoever_took_the_others() {
    for db in databases().await {
        let mut seen = Estate::new(vec!["prod".into()], HashMap::new());
        for i in 0..10 {
            seen.apply(node(&format!("n{i}"), false), at(0));
        }
        let estate = Arc::new(RwLock::new(seen));
        let safety = safety(&db).with_estate(Arc::clone(&estate));
        let ask = async |name: &str, second| {
            let alert = format!("alert-{name}-{second}");
            let asked = propose(&safety, &db.store, &alert, &cordon(name), at(second)).await;
            match asked {
                Proposed::Asked(approval) => approve(&safety, &approval, at(second)).await,
                other => panic!("{other:?}"),
            }
        };
        let Decision::Approved { execution, .. } = ask("n0", 0).await else {
            panic!("the first of ten")
        };
        run(&safety, &execution, at(1)).await;
        let (_, scope) = db
            .store
            .execution(&execution.id)
            .await
            .expect("read")
            .expect("kept");
        assert_eq!(
            (
                scope.place.of.as_str(),
                scope.place.total,
                scope.place.region.as_str()
            ),
            ("prod/pool/h100", 10, "eu-west-1"),
            "what was measured is kept"
        );

        // Somebody else cordoned another meanwhile; with the one of ours that makes two.
        let see = |name: &str, unschedulable| {
            let mut estate = estate.write().expect("nobody panicked");
            estate.apply(node(name, unschedulable), at(2));
        };
        see("n0", true);
        see("n1", true);
        let refused = ask("n2", 1000).await;
        let Decision::Refused {
            refusal:
                Refusal::Limit(LimitReached::Out {
                    out: 2, total: 10, ..
                }),
            ..
        } = refused
        else {
            panic!("{refused:?}")
        };
        // Who is out already takes nothing more with it, and once one is back there is room.
        assert!(matches!(ask("n1", 2000).await, Decision::Approved { .. }));
        chain_holds(&db.store).await;
    }
}
