//! Prometheus as a source: what it answers, and what it answers badly.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use nightbell::watch::metrics::facts::{Scope, of_job};
use nightbell::watch::metrics::{MetricsError, Prometheus, Settings, Window};

use crate::support::prometheus::{Fault, PrometheusApi};

fn now() -> Timestamp {
    "2026-03-02T10:30:00Z".parse().unwrap()
}

fn hour() -> Window {
    Window::before(now(), SignedDuration::from_hours(1), 30)
}

#[tokio::test]
async fn instant_and_range_queries_give_typed_series() {
    let api = PrometheusApi::start().await;
    api.put("up", &[("job", "dcgm")], now(), 60, &[1.0, 0.0]);
    let client = api.client();
    let now_up = client.instant("up", Some(now())).await.unwrap();
    assert!((now_up.found[0].point.value).abs() < 1e-9);
    assert_eq!(now_up.found[0].labels.get("job"), Some("dcgm"));
    let over_time = client.range("up", hour()).await.unwrap();
    assert_eq!(over_time.found[0].points.len(), 2);
    let requests = api.requests();
    assert_eq!(requests[0].0, "/api/v1/query");
    assert_eq!(requests[1].1["step"], "30");
}

#[tokio::test]
async fn a_long_query_is_posted_and_a_path_and_a_password_are_kept() {
    let api = PrometheusApi::start().await;
    let url = api.url.replace("http://", "http://bell:s3cret@") + "/select/0/prometheus/";
    let client = Prometheus::new(Settings::new(url.parse().unwrap()));
    let query = format!("up{{pod=~\"{}\"}}", "pod-name|".repeat(1000));
    client.range(&query, hour()).await.unwrap();
    let requests = api.requests();
    assert_eq!(requests[0].0, "/select/0/prometheus/api/v1/query_range");
    assert_eq!(requests[0].1["query"], query);
    let authorization = api.authorizations()[0].clone().unwrap();
    assert!(authorization.starts_with("Basic "), "{authorization}");
    assert!(!format!("{client:?}").contains("s3cret"));
}

#[tokio::test]
async fn what_may_pass_is_asked_again_and_what_will_not_is_told() {
    let api = PrometheusApi::start().await;
    api.put("up", &[], now(), 60, &[1.0]);
    let client = api.client();
    api.fault(Fault::Status(
        503,
        None,
        r#"{"status":"error","errorType":"timeout","error":"query timed out"}"#,
    ));
    api.fault(Fault::Status(429, Some(0), "slow down"));
    assert_eq!(client.instant("up", None).await.unwrap().found.len(), 1);
    assert_eq!(api.requests().len(), 3);

    api.fault(Fault::Status(
        422,
        None,
        r#"{"status":"error","errorType":"execution","error":"too many samples"}"#,
    ));
    let refused = client.instant("up", None).await.unwrap_err();
    assert!(
        matches!(&refused, MetricsError::Refused { kind, .. } if kind == "execution"),
        "{refused}"
    );
    assert_eq!(api.requests().len(), 4, "the same query fails again");

    for _ in 0..3 {
        api.fault(Fault::Status(502, None, "<html>bad gateway</html>"));
    }
    let failed = client.instant("up", None).await.unwrap_err();
    assert!(
        matches!(failed, MetricsError::Failed { status: 502, .. }),
        "{failed}"
    );

    api.fault(Fault::Status(429, Some(3600), ""));
    let limited = client.instant("up", None).await.unwrap_err();
    assert!(
        matches!(limited, MetricsError::RateLimited { .. }),
        "nobody waits an hour: {limited}"
    );
    api.fault(Fault::Status(401, None, ""));
    assert!(matches!(
        client.instant("up", None).await,
        Err(MetricsError::Unauthorized)
    ));
}

#[tokio::test]
async fn silence_nonsense_and_floods_are_errors_of_their_own() {
    let api = PrometheusApi::start().await;
    let hasty = api.client_with(Duration::from_millis(300));
    let client = api.client();
    api.fault(Fault::Silence);
    let silent = hasty.instant("up", None).await.unwrap_err();
    assert!(
        matches!(silent, MetricsError::TimedOut { .. }),
        "{silent:?}"
    );
    assert_eq!(api.requests().len(), 1, "whoever waits is told");
    api.fault(Fault::Text("<html>please log in</html>".to_owned()));
    let page = client.instant("up", None).await.unwrap_err();
    assert!(page.told().contains("please log in"), "{page}");
    api.fault(Fault::Huge(4 << 20));
    let huge = client.instant("up", None).await.unwrap_err();
    assert!(matches!(huge, MetricsError::TooLarge { .. }), "{huge}");

    let gone = Prometheus::new(Settings {
        backoff: Duration::from_millis(1),
        ..Settings::new("http://127.0.0.1:9/".parse().unwrap())
    });
    let gone = gone.instant("up", None).await.unwrap_err();
    assert!(matches!(gone, MetricsError::Unreachable(_)), "{gone}");
}

#[tokio::test]
async fn the_facts_of_a_job_are_those_of_its_pods_gpus_and_containers() {
    let api = PrometheusApi::start().await;
    let gpu = [
        ("UUID", "GPU-a"),
        ("gpu", "3"),
        ("Hostname", "gpu-1"),
        ("exported_pod", "train-0"),
        ("exported_namespace", "runai-nlp"),
        ("pod", "nvidia-dcgm-exporter-abcde"),
        ("namespace", "gpu-operator"),
    ];
    let other = [
        ("UUID", "GPU-b"),
        ("gpu", "4"),
        ("Hostname", "gpu-1"),
        ("exported_pod", "train-0"),
        ("exported_namespace", "runai-cv"),
    ];
    api.put("DCGM_FI_DEV_GPU_UTIL", &gpu, now(), 30, &[99.0, 98.0, 0.0]);
    api.put("DCGM_FI_DEV_XID_ERRORS", &gpu, now(), 60, &[0.0, 0.0, 79.0]);
    api.put("DCGM_FI_DEV_XID_ERRORS", &other, now(), 60, &[0.0, 48.0]);
    let container = [
        ("pod", "train-0"),
        ("container", "main"),
        ("namespace", "runai-nlp"),
    ];
    api.put(
        "container_memory_working_set_bytes",
        &container,
        now(),
        30,
        &[1e9, 63e9],
    );
    let limit = [
        ("pod", "train-0"),
        ("container", "main"),
        ("namespace", "runai-nlp"),
        ("resource", "memory"),
    ];
    api.put(
        "kube_pod_container_resource_limits",
        &limit,
        now(),
        30,
        &[64e9],
    );
    let scope = Scope {
        namespace: "runai-nlp",
        pods: vec!["train-0"],
        nodes: vec!["gpu-1"],
        gpus: true,
        until: now(),
    };
    let (measured, missing) = of_job(&api.client(), &scope).await;
    assert_eq!(missing, Vec::<String>::new());
    assert_eq!(measured.gpus.len(), 1, "{:?}", measured.gpus);
    let gpu = &measured.gpus[0];
    assert_eq!(gpu.xid.map(|xid| (xid.code, xid.fresh)), Some((79, true)));
    assert_eq!(gpu.utilization.len(), 3);
    assert_eq!(measured.memory[0].peak(), Some(63e9));
    assert_eq!(measured.memory[0].limit, Some(64e9));

    api.warn("one store of two did not answer");
    let (_, missing) = of_job(&api.client(), &scope).await;
    assert!(
        missing[0].contains("may be incomplete: one store of two"),
        "{missing:?}"
    );
}
