//! From observations to alerts, with nothing lost on the way.

use std::collections::HashMap;
use std::sync::{Arc, RwLock};
use std::time::Duration;

use jiff::Timestamp;
use nightbell::alert::{Alert, AlertState};
use nightbell::detect::Thresholds;
use nightbell::estate::index::Estate;
use nightbell::estate::{Container, ContainerState, Pod, Termination};
use nightbell::store::Store;
use nightbell::watch::Observation;
use nightbell::watch::control::{MonitoringControl, Projects};
use nightbell::watch::pipeline::Pipeline;
use nightbell::watch::sources::Sources;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::support::alerting::{alerts, all};
use crate::support::database::databases;

fn pod(name: &str, exit_code: Option<i32>) -> Pod {
    let now = Timestamp::now();
    let state = match exit_code {
        Some(exit_code) => ContainerState::Terminated(Box::new(Termination {
            exit_code,
            signal: None,
            reason: Some("OOMKilled".into()),
            message: None,
            started: Some(now),
            finished: Some(now),
        })),
        None => ContainerState::Running { started: Some(now) },
    };
    Pod {
        cluster: "prod".into(),
        namespace: "ml".into(),
        name: name.into(),
        uid: format!("uid-{name}"),
        created: now,
        deleting: None,
        node: Some("gpu-1".into()),
        phase: if exit_code.is_some() {
            "Failed"
        } else {
            "Running"
        }
        .into(),
        reason: None,
        message: None,
        conditions: Vec::new(),
        containers: vec![Container {
            name: "main".into(),
            image: "pytorch:2".into(),
            init: false,
            ready: false,
            restarts: 0,
            state,
            last: None,
        }],
        owner: None,
        workload: name.into(),
        runai_id: None,
        project: None,
        gpus: 1.0,
        scheduler: None,
        claims: Vec::new(),
        rank: None,
        restart_policy: Some("Never".into()),
    }
}

/// Runs the pipeline over these observations until they are handed over, and returns the alerts.
async fn told(
    store: &Store,
    control: MonitoringControl,
    observations: Vec<Observation>,
) -> Vec<Alert> {
    let estate = Arc::new(RwLock::new(Estate::new(
        vec!["prod".to_owned()],
        HashMap::new(),
    )));
    let alerts = alerts(store);
    let sources = Sources::default();
    let pipeline = Pipeline::new(
        estate,
        alerts.clone(),
        store.clone(),
        control,
        sources,
        Thresholds::default(),
    );
    let (tell, hear) = mpsc::channel(64);
    for observation in observations {
        tell.send(observation).await.expect("the pipeline takes it");
    }
    drop(tell);
    tokio::time::timeout(
        Duration::from_secs(20),
        pipeline.run(hear, CancellationToken::new()),
    )
    .await
    .expect("it ends with its sources");
    all(&alerts).await
}

async fn control(store: &Store) -> MonitoringControl {
    MonitoringControl::open(store.clone(), Projects::All, Timestamp::now())
        .await
        .expect("the saved state is read")
}

#[tokio::test]
async fn a_pod_that_fails_and_vanishes_within_a_moment_is_told() {
    for db in databases().await {
        let gone = Observation::PodGone {
            cluster: "prod".to_owned(),
            namespace: "ml".to_owned(),
            name: "train".to_owned(),
            uid: "uid-train".to_owned(),
        };
        let observations = vec![
            Observation::Pod(Box::new(pod("train", None))),
            Observation::Pod(Box::new(pod("train", Some(137)))),
            gone,
            Observation::Pod(Box::new(pod("fine", None))),
        ];
        let alerts = told(&db.store, control(&db.store).await, observations).await;
        assert_eq!(alerts.len(), 1);
        assert_eq!(
            (alerts[0].failure.as_str(), alerts[0].state),
            ("OOMKilled", AlertState::Resolved)
        );
        assert_eq!(alerts[0].resolution.as_deref(), Some("removed"));
    }
}

#[tokio::test]
async fn what_is_not_monitored_is_not_told() {
    for db in databases().await {
        let control = control(&db.store).await;
        control
            .start(Some("etl".to_owned()), None, "mira", Timestamp::now())
            .await
            .expect("saved");
        let observations = vec![Observation::Pod(Box::new(pod("train", Some(137))))];
        assert!(told(&db.store, control, observations).await.is_empty());
    }
}
