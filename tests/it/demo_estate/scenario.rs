//! The demo's scenario: what fails, when, how it looks, and what cures it.

use std::time::Duration;

use k8s_openapi::api::core::v1::{Event, Node, Pod};
use kube::api::{Api, ListParams, LogParams};
use nightbell::demo::estate::JobView;
use nightbell::demo::{SimEstate, scenario};
use nightbell::estate::Phase;

use super::Demo;

async fn demo() -> Demo {
    let estate = SimEstate::new("2026-11-21T10:00:00Z".parse().expect("a time"), 1.0, 7);
    scenario::install(&estate);
    Demo::serve(estate).await
}

fn view(demo: &Demo, project: &str, name: &str) -> JobView {
    demo.estate
        .job(&format!("runai-demo-{project}"), name)
        .expect("a job of the scenario")
}

/// The waiting or terminated reason of the job's first container, as Kubernetes tells it.
async fn reason(demo: &Demo, project: &str, name: &str) -> String {
    let pods: Api<Pod> = Api::namespaced(demo.kube.clone(), &format!("runai-demo-{project}"));
    let list = pods
        .list(&ListParams::default().labels(&format!("workloadName={name}")))
        .await
        .expect("pods");
    let state = list.items.first().and_then(|pod| {
        pod.status
            .clone()?
            .container_statuses?
            .first()?
            .state
            .clone()
    });
    let state = state.unwrap_or_default();
    let waiting = state.waiting.and_then(|waiting| waiting.reason);
    waiting
        .or(state.terminated.and_then(|ended| ended.reason))
        .unwrap_or_else(|| "-".to_owned())
}

async fn log(demo: &Demo, project: &str, pod: &str, previous: bool) -> String {
    let pods: Api<Pod> = Api::namespaced(demo.kube.clone(), &format!("runai-demo-{project}"));
    pods.logs(
        pod,
        &LogParams {
            previous,
            ..LogParams::default()
        },
    )
    .await
    .expect("a log")
}

#[tokio::test]
async fn the_first_failure_comes_within_five_seconds_and_the_rest_within_minutes() {
    let demo = demo().await;
    demo.pass(5.0);
    assert_eq!(view(&demo, "nlp", "llama-finetune").phase, Phase::Failed);
    assert_eq!(
        reason(&demo, "vision", "detector-eval").await,
        "ImagePullBackOff"
    );
    assert_eq!(view(&demo, "nlp", "llm-pretrain").phase, Phase::Running);

    demo.pass(35.0);
    for (project, name, phase, told) in [
        ("nlp", "llama-finetune", Phase::Failed, "Error"),
        ("nlp", "llm-pretrain", Phase::Failed, "Error"),
        (
            "nlp",
            "reward-model",
            Phase::Initializing,
            "CreateContainerConfigError",
        ),
        ("nlp", "vocab-build", Phase::Failed, "-"),
        ("nlp", "lora-sweep", Phase::Stopped, "-"),
        ("nlp", "tokenizer-bench", Phase::Running, "-"),
        ("vision", "resnet-imagenet", Phase::Failed, "Error"),
        ("vision", "video-encoder", Phase::Pending, "-"),
        ("vision", "augment-sweep", Phase::Pending, "-"),
        ("vision", "clip-align", Phase::Running, "-"),
        ("vision", "notebook-mira", Phase::Running, "-"),
        ("serving", "chat-api", Phase::Failed, "CrashLoopBackOff"),
        ("serving", "rerank-70b", Phase::Failed, "-"),
        ("serving", "embeddings-api", Phase::Running, "-"),
    ] {
        assert_eq!(view(&demo, project, name).phase, phase, "{name}");
        if told != "-" {
            assert_eq!(reason(&demo, project, name).await, told, "{name}");
        }
    }
    // The plain Kubernetes job gives up after its retries.
    assert_eq!(view(&demo, "nlp", "bert-eval").phase, Phase::Failed);
    assert!(
        demo.runai
            .workload(&view(&demo, "nlp", "bert-eval").workload_id)
            .await
            .is_err(),
        "unknown to Run:AI"
    );
    // The preempted one comes back by itself.
    demo.pass(60.0);
    assert_eq!(view(&demo, "vision", "augment-sweep").phase, Phase::Running);
}

#[tokio::test]
async fn the_gang_fails_from_one_gpu_and_a_run_beside_the_bad_node_works() {
    let demo = demo().await;
    demo.pass(30.0);
    let gang = view(&demo, "nlp", "llm-pretrain");
    assert_eq!((gang.phase.clone(), gang.pods.len()), (Phase::Failed, 8));
    let first = gang
        .pods
        .iter()
        .find(|pod| pod.name == "llm-pretrain-worker-4")
        .expect("rank 5");
    assert!(
        log(&demo, "nlp", &first.name, false)
            .await
            .contains("CUDA error")
    );
    assert!(
        log(&demo, "nlp", "llm-pretrain-worker-0", false)
            .await
            .contains("Watchdog caught collective operation timeout")
    );
    let bad = first.node.clone().expect("it was placed");
    let nodes: Api<Node> = Api::all(demo.kube.clone());
    let status = nodes
        .get(&bad)
        .await
        .expect("the node")
        .status
        .expect("a status");
    assert_eq!(
        status.allocatable.expect("allocatable")["nvidia.com/gpu"].0,
        "7"
    );
    assert!(
        status
            .conditions
            .expect("conditions")
            .iter()
            .any(|c| c.message.as_deref().is_some_and(|m| m.contains("): 79,")))
    );

    demo.estate.suspend("runai-demo-nlp", "llm-pretrain");
    demo.pass(4.0);
    demo.estate.resume("runai-demo-nlp", "llm-pretrain");
    demo.pass(60.0);
    let again = view(&demo, "nlp", "llm-pretrain");
    assert_eq!(again.phase, Phase::Running);
    assert!(
        again
            .pods
            .iter()
            .all(|pod| pod.running && pod.node.as_ref() != Some(&bad))
    );
}

#[tokio::test]
async fn a_server_without_devices_crashes_until_it_gets_new_pods() {
    let demo = demo().await;
    demo.pass(60.0);
    let before = view(&demo, "serving", "chat-api");
    assert!(before.pods.iter().all(|pod| pod.restarts > 1), "{before:?}");
    assert!(
        log(&demo, "serving", &before.pods[0].name, true)
            .await
            .contains("Failed to initialize NVML")
    );
    for pod in &before.pods {
        demo.estate.delete_pod("runai-demo-serving", &pod.name);
    }
    demo.pass(60.0);
    let after = view(&demo, "serving", "chat-api");
    assert_eq!(after.phase, Phase::Running);
    assert!(after.pods.iter().all(|pod| pod.restarts == 0));
}

#[tokio::test]
async fn a_preemption_is_told_by_the_scheduler_and_repeats_grow_a_count() {
    let demo = demo().await;
    demo.pass(120.0);
    let events: Api<Event> = Api::namespaced(demo.kube.clone(), "runai-demo-vision");
    let evictions = events
        .list(&ListParams::default().fields("reason=Evict"))
        .await
        .expect("events");
    let eviction = evictions.items.first().expect("an eviction");
    assert_eq!(eviction.involved_object.kind.as_deref(), Some("PodGroup"));
    assert_eq!(eviction.type_.as_deref(), Some("Normal"));
    assert_eq!(
        eviction.metadata.annotations.as_ref().expect("annotations")["evictor-action-type"],
        "preempt"
    );
    let pulls = events
        .list(&ListParams::default().fields("reason=Failed"))
        .await
        .expect("events");
    let manifest = pulls.items.iter().find(|event| {
        event
            .message
            .as_ref()
            .is_some_and(|m| m.contains("manifest unknown"))
    });
    assert!(manifest.expect("the registry's words").count > Some(1));
}

#[tokio::test]
async fn a_storm_of_two_thousand_pods_is_one_call() {
    let demo = Demo::start().await;
    demo.estate.populate(40, 50);
    let everywhere: Api<Pod> = Api::all(demo.kube.clone());
    let count = async |field: &str| {
        everywhere
            .list(&ListParams::default().fields(field))
            .await
            .expect("a list")
            .items
            .len()
    };
    assert_eq!(count("status.phase=Running").await, 2_000);
    for n in 0..40 {
        let exit = nightbell::demo::script::Exit::error(1);
        demo.estate.fail_job(
            "runai-demo-load",
            &format!("load-{n:05}"),
            &exit,
            &["RuntimeError: storage is gone"],
        );
    }
    demo.estate.pass(Duration::from_secs(1));
    assert_eq!(count("status.phase=Failed").await, 2_000);
    assert_eq!(
        demo.estate
            .job("runai-demo-load", "load-00039")
            .expect("a job")
            .phase,
        Phase::Failed
    );
}

#[tokio::test]
async fn the_demo_starts_drives_itself_and_stops() {
    let settings = nightbell::demo::Settings {
        speed: 100.0,
        ..nightbell::demo::Settings::default()
    };
    let servers = nightbell::demo::start(&settings, jiff::Timestamp::now())
        .await
        .expect("the loopback has room");
    let estate = servers.estate.clone();
    let failed = async {
        while estate
            .job("runai-demo-nlp", "llama-finetune")
            .expect("a job")
            .phase
            != Phase::Failed
        {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(5), failed)
        .await
        .expect("it fails by itself");
    let url = servers.kubernetes_url.clone();
    servers.shut_down().await;
    assert!(
        reqwest::get(format!("{url}/version")).await.is_err(),
        "nothing listens any more"
    );
}
