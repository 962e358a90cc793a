//! Everything that goes wrong with a server can be made to go wrong here, and heals again.

use std::time::Duration;

use k8s_openapi::api::core::v1::Node;
use kube::api::{Api, ListParams};
use nightbell::watch::kubernetes::error::KubeError;
use nightbell::watch::runai::RunaiError;
use nightbell::watch::runai::client::Filter;

use super::Demo;

#[tokio::test]
async fn a_cluster_can_refuse_limit_garble_and_vanish() {
    let demo = Demo::start().await;
    let nodes: Api<Node> = Api::all(demo.kube.clone());
    let faults = demo.estate.kubernetes_faults();
    let list = async || {
        nodes
            .list(&ListParams::default())
            .await
            .map(|list| list.items.len())
    };
    assert_eq!(list().await.expect("a list"), 6);

    faults.revoke_tokens(true);
    assert!(matches!(
        demo.cluster().node("demo-a100-01").await,
        Err(KubeError::Unauthorized)
    ));
    faults.revoke_tokens(false);
    faults.fail_next(1, 503, None);
    assert!(matches!(list().await, Err(kube::Error::Api(status)) if status.code == 503));
    faults.malformed_next(1);
    assert!(matches!(list().await, Err(kube::Error::SerdeError(_))));
    faults.down(true);
    assert!(list().await.is_err());
    faults.down(false);
    assert_eq!(list().await.expect("it is back"), 6);

    faults.latency(Duration::from_millis(100));
    let hurried = tokio::time::timeout(Duration::from_millis(20), list()).await;
    assert!(hurried.is_err(), "the answer takes its time");
}

#[tokio::test]
async fn a_control_plane_can_limit_expire_garble_and_vanish() {
    let demo = Demo::start().await;
    let faults = demo.estate.runai_faults();
    let list = async || demo.runai.workloads(&Filter::default(), 0, 500).await;
    list().await.expect("a list");

    // Our client signs in again once by itself.
    demo.pass(4_000.0);
    list().await.expect("a list with a new token");
    faults.revoke_tokens(true);
    assert!(matches!(list().await, Err(RunaiError::Unauthorized)));
    faults.revoke_tokens(false);

    let requests = faults.requests();
    faults.fail_next(1, 429, Some(Duration::ZERO));
    list().await.expect("a list after the limit");
    assert_eq!(faults.requests(), requests + 2);
    faults.malformed_next(1);
    assert!(matches!(list().await, Err(RunaiError::Malformed { .. })));
    faults.down(true);
    assert!(matches!(list().await, Err(RunaiError::Unreachable(_))));
    faults.down(false);
    list().await.expect("it is back");
}
