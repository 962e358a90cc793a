//! The poller: what it asks for, what it tells, and what it keeps to itself.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use nightbell::watch::control::{Monitoring, Projects};
use nightbell::watch::runai::poller::{self, Followed, Settings};
use nightbell::watch::sources::{Health, Sources};
use nightbell::watch::{Beat, Observation};
use serde_json::json;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::support::runai::{FakeRunai, Fault, workload};

/// A running poller and what it told.
struct Watch {
    told: mpsc::Receiver<Observation>,
    monitoring: watch::Sender<Monitoring>,
    sources: Sources,
    stop: CancellationToken,
    task: tokio::task::JoinHandle<()>,
}

impl Watch {
    fn start(runai: &FakeRunai, settings: Settings) -> Self {
        let (out, told) = mpsc::channel(8);
        let monitoring = watch::Sender::new(Monitoring::default());
        let sources = Sources::default();
        let stop = CancellationToken::new();
        let task = tokio::spawn(poller::run(
            runai.client(),
            settings,
            monitoring.subscribe(),
            sources.clone(),
            out,
            stop.clone(),
        ));
        Self {
            told,
            monitoring,
            sources,
            stop,
            task,
        }
    }

    /// What one sweep told, as short words, and its beat.
    async fn sweep(&mut self) -> (Vec<String>, Beat) {
        let mut words = Vec::new();
        loop {
            let next = tokio::time::timeout(Duration::from_secs(20), self.told.recv());
            match next
                .await
                .expect("the poller goes on")
                .expect("the poller lives")
            {
                Observation::Beat(beat) if beat.source == poller::SOURCE => return (words, beat),
                Observation::Beat(beat) => {
                    words.extend(beat.error.map(|_| format!("{} away", beat.source)));
                }
                Observation::Workload(workload) => {
                    words.push(format!("{} {}", workload.id, workload.phase.as_str()));
                }
                Observation::WorkloadGone { id } => words.push(format!("{id} gone")),
                Observation::WorkloadLetGo { id } => words.push(format!("{id} let go")),
                Observation::ListStarted { .. } => words.push("list".to_owned()),
                Observation::ListDone { .. } => words.push("end".to_owned()),
                other => panic!("a Run:AI poller tells no {other:?}"),
            }
        }
    }
}

/// Fast, but not so fast that an unnoticed sweep matters: each waits for the one before to be taken.
fn settings() -> Settings {
    Settings {
        interval: Duration::from_millis(50),
        ..Settings::default()
    }
}

#[tokio::test]
async fn a_sweep_tells_the_whole_list_once_and_then_only_what_changed() {
    let runai = FakeRunai::start().await;
    runai.world().page = 2;
    runai.world().workloads = ["a", "b", "c"].map(|id| workload(id, "Running")).to_vec();
    let mut watch = Watch::start(&runai, settings());
    let (told, beat) = watch.sweep().await;
    assert_eq!(told, ["list", "a Running", "b Running", "c Running", "end"]);
    assert_eq!((beat.error, beat.objects), (None, 3));

    runai.world().workloads[0]["totalRunningTimeSeconds"] = json!(67);
    runai.world().workloads[1]["phase"] = json!("Failed");
    runai.world().workloads.remove(2);
    let mut told = Vec::new();
    while told.len() < 2 {
        told.extend(watch.sweep().await.0);
    }
    assert_eq!(told, ["b Failed", "c gone"]);

    watch.stop.cancel();
    watch.task.await.expect("it stops");
}

#[tokio::test]
async fn rows_that_move_between_pages_are_neither_doubled_nor_lost() {
    let runai = FakeRunai::start().await;
    runai.world().page = 2;
    runai.world().workloads = ["a", "b", "c", "d"]
        .map(|id| workload(id, "Running"))
        .to_vec();
    let mut watch = Watch::start(&runai, settings());
    watch.sweep().await;

    // `a` goes after the first page was given: `c` moves into that page and is not shown.
    runai.world().on_list = Some(Box::new(|world| {
        world.workloads.retain(|workload| workload["id"] != "a");
    }));
    let (mut told, _) = watch.sweep().await;
    while told.is_empty() {
        told = watch.sweep().await.0;
    }
    assert_eq!(told, ["a gone"], "c is looked up and found alive");

    // A row in front moves the others back: the last of the first page is shown again.
    let mut front = Some(workload("new", "Running"));
    runai.world().on_list = Some(Box::new(move |world| {
        world.workloads.splice(0..0, front.take());
    }));
    let (mut told, _) = watch.sweep().await;
    while told.is_empty() {
        told = watch.sweep().await.0;
    }
    assert_eq!(told, ["new Running"]);
}

#[tokio::test]
async fn a_token_that_ends_in_the_middle_of_a_sweep_does_not_end_the_sweep() {
    let runai = FakeRunai::start().await;
    runai.world().page = 1;
    runai.world().workloads = ["a", "b", "c"].map(|id| workload(id, "Running")).to_vec();
    runai.world().on_list = Some(Box::new(|world| "revoked".clone_into(&mut world.token)));
    let (told, beat) = Watch::start(&runai, settings()).sweep().await;
    assert_eq!(told.len(), 5);
    assert_eq!(beat.error, None);
}

#[tokio::test]
async fn pages_that_go_in_circles_are_a_failure_that_loses_nothing() {
    let runai = FakeRunai::start().await;
    runai.world().workloads = vec![workload("a", "Running")];
    let mut watch = Watch::start(&runai, settings());
    watch.sweep().await;
    runai.world().next = Some(0);
    let beat = loop {
        let (told, beat) = watch.sweep().await;
        assert!(told.is_empty());
        if beat.error.is_some() {
            break beat;
        }
    };
    assert!(beat.error.expect("told").contains("it goes on at 0"));
    assert_eq!(beat.objects, 1, "what is known is kept");
}

#[tokio::test]
async fn an_outage_is_told_and_what_is_known_is_kept() {
    let runai = FakeRunai::start().await;
    runai.world().workloads = vec![workload("a", "Running")];
    let mut watch = Watch::start(&runai, settings());
    watch.sweep().await;
    // Three for the clusters, which are not needed, and three for the list.
    runai
        .world()
        .faults
        .extend((0..6).map(|_| Fault::status(503)));
    let mut beats = Vec::new();
    while beats.len() < 2 || beats.last().is_some_and(|beat: &Beat| beat.error.is_some()) {
        let (told, beat) = watch.sweep().await;
        assert!(
            told.is_empty(),
            "nothing changed, and nothing is gone: {told:?}"
        );
        beats.push(beat);
    }
    assert!(
        beats.iter().any(|beat| beat
            .error
            .as_deref()
            .is_some_and(|error| error.contains("503"))),
        "{beats:?}"
    );
}

#[tokio::test]
async fn a_workload_that_cannot_be_read_is_told_beside_the_others() {
    let runai = FakeRunai::start().await;
    runai.world().workloads = vec![
        workload("a", "Failed"),
        json!({"id": "b", "name": null}),
        json!("odd"),
    ];
    let (told, beat) = Watch::start(&runai, settings()).sweep().await;
    assert_eq!(told, ["list", "a Failed", "end"]);
    assert!(
        beat.error
            .expect("told")
            .starts_with("2 workloads cannot be read")
    );
}

#[tokio::test]
async fn narrowing_the_projects_narrows_the_calls() {
    let runai = FakeRunai::start().await;
    let mut other = workload("x", "Failed");
    other["projectName"] = json!("secret");
    runai.world().workloads = vec![workload("a", "Failed"), other];
    let configured = Projects::Only(vec!["etl".to_owned(), "nlp".to_owned()]);
    let mut watch = Watch::start(
        &runai,
        Settings {
            projects: configured,
            ..settings()
        },
    );
    assert_eq!(watch.sweep().await.0, ["list", "a Failed", "end"]);
    let lists = runai.calls("GET /api/v1/workloads ");
    assert!(lists[0].contains("filterBy=projectName==etl"), "{lists:?}");
    assert!(lists[1].contains("filterBy=projectName==nlp"), "{lists:?}");
    assert!(
        lists.iter().all(|call| call.contains("projectName==")),
        "{lists:?}"
    );

    let narrowed = Monitoring {
        project: Some("nlp".to_owned()),
        ..Monitoring::default()
    };
    watch.monitoring.send_replace(narrowed);
    while watch.sweep().await.0 != ["list", "end"] {}
    runai.world().calls.clear();
    watch.sweep().await;
    assert!(runai.calls("etl").is_empty(), "{:?}", runai.calls(""));
}

#[tokio::test]
async fn monitoring_that_is_off_asks_for_nothing_and_starts_again_at_once() {
    let runai = FakeRunai::start().await;
    runai.world().workloads = vec![workload("a", "Failed")];
    let mut watch = Watch::start(&runai, settings());
    watch.sweep().await;
    watch.monitoring.send_replace(Monitoring {
        enabled: false,
        ..Monitoring::default()
    });
    let paused = |watch: &Watch| {
        let statuses = watch.sources.statuses(jiff::Timestamp::now());
        statuses
            .iter()
            .any(|status| matches!(status.health, Health::Paused { .. }))
    };
    while !paused(&watch) {
        tokio::task::yield_now().await;
    }
    while watch.told.try_recv().is_ok() {}
    runai.world().calls.clear();
    tokio::time::sleep(Duration::from_millis(150)).await;
    assert!(runai.calls("").is_empty());

    watch.monitoring.send_replace(Monitoring::default());
    assert_eq!(watch.sweep().await.0, ["list", "a Failed", "end"]);
}

#[tokio::test]
async fn looking_only_at_failures_asks_by_phase_and_tells_recoveries() {
    let runai = FakeRunai::start().await;
    runai.world().workloads = vec![
        workload("a", "Running"),
        workload("b", "Failed"),
        workload("c", "Degraded"),
    ];
    let mut watch = Watch::start(
        &runai,
        Settings {
            only_failed: true,
            ..settings()
        },
    );
    assert_eq!(
        watch.sweep().await.0,
        ["list", "b Failed", "c Degraded", "end"]
    );
    assert!(
        runai
            .calls("GET /api/v1/workloads ")
            .iter()
            .all(|call| call.contains("phase=="))
    );

    runai.world().workloads[1]["phase"] = json!("Running");
    let mut told = Vec::new();
    while told.is_empty() {
        told = watch.sweep().await.0;
    }
    assert_eq!(
        told,
        ["b Running", "b let go"],
        "it left the list by recovering, and is not gone"
    );
}

#[tokio::test]
async fn looking_only_at_failures_what_alerts_tell_of_is_followed_to_its_end() {
    let runai = FakeRunai::start().await;
    runai.world().workloads = vec![
        workload("a", "Failed"),
        workload("b", "Completed"),
        workload("c", "Running"),
    ];
    // As after a start: of these three there are alerts, and one workload was deleted meanwhile.
    let open = Arc::new(Mutex::new(Ok(vec!["a", "b", "gone"])));
    let asked = Arc::clone(&open);
    let followed = Followed::new(move || {
        let ids: Result<Vec<&str>, String> = asked.lock().expect("no panic").clone();
        let ids = ids.map(|ids| ids.into_iter().map(str::to_owned).collect());
        Box::pin(std::future::ready(ids))
    });
    let mut watch = Watch::start(
        &runai,
        Settings {
            only_failed: true,
            followed: Some(followed),
            ..settings()
        },
    );
    let (told, _) = watch.sweep().await;
    assert_eq!(
        told,
        ["list", "a Failed", "b Completed", "gone gone", "end"]
    );

    // It recovers, and is looked at for as long as its alert is open, or while that cannot be told.
    runai.world().workloads[0]["phase"] = json!("Running");
    *open.lock().expect("no panic") = Ok(vec!["a"]);
    let mut told = Vec::new();
    while told.len() < 2 {
        told.extend(watch.sweep().await.0);
    }
    told.sort_unstable();
    assert_eq!(told, ["a Running", "b let go"]);
    *open.lock().expect("no panic") = Err("the database is away".to_owned());
    watch.sweep().await;
    assert!(watch.sweep().await.0.is_empty());
    *open.lock().expect("no panic") = Ok(Vec::new());
    let mut told = Vec::new();
    while told.is_empty() {
        told = watch.sweep().await.0;
    }
    assert_eq!(told, ["a let go"]);
    runai.world().calls.clear();
    watch.sweep().await;
    watch.sweep().await;
    assert!(
        runai.calls("GET /api/v1/workloads/").is_empty(),
        "nobody is looked up any more: {:?}",
        runai.calls("")
    );
}

#[tokio::test]
async fn a_large_estate_is_asked_for_its_changes_in_between() {
    let runai = FakeRunai::start().await;
    runai.world().workloads = vec![workload("a", "Running"), workload("b", "Running")];
    let mut watch = Watch::start(
        &runai,
        Settings {
            large: 1,
            full_every: 1000,
            ..settings()
        },
    );
    watch.sweep().await;
    watch.sweep().await;
    assert!(
        runai.calls("phaseUpdatedAt>=2026-03-02T09:58:00.000Z")[0]
            .contains("sortBy=phaseUpdatedAt"),
        "{:?}",
        runai.calls("")
    );
    let mut failed = workload("b", "Failed");
    failed["phaseUpdatedAt"] = json!("2026-03-02T10:30:00.000Z");
    runai.world().workloads[1] = failed;
    let mut told = Vec::new();
    while told.is_empty() {
        told = watch.sweep().await.0;
    }
    assert_eq!(told, ["b Failed"]);
}

#[tokio::test]
async fn a_server_without_that_filter_is_swept_whole() {
    let runai = FakeRunai::start().await;
    runai.world().filters_by_time = false;
    runai.world().workloads = vec![workload("a", "Running")];
    let mut watch = Watch::start(
        &runai,
        Settings {
            large: 1,
            full_every: 1000,
            ..settings()
        },
    );
    watch.sweep().await;
    runai.world().workloads[0]["phase"] = json!("Failed");
    let mut told = Vec::new();
    while told.is_empty() {
        let (words, beat) = watch.sweep().await;
        assert_eq!(beat.error, None);
        told = words;
    }
    assert_eq!(told, ["a Failed"]);
    assert_eq!(
        runai.calls("phaseUpdatedAt>=").len(),
        1,
        "asked once, never again"
    );
}

#[tokio::test]
async fn a_cluster_that_is_away_is_one_beat_and_its_workloads_stay_as_they_were() {
    let runai = FakeRunai::start().await;
    runai.world().workloads = vec![workload("a", "Running"), workload("b", "Running")];
    let mut watch = Watch::start(&runai, settings());
    watch.sweep().await;

    runai.world().clusters =
        json!([{"uuid": "c-1", "name": "prod", "status": {"state": "Disconnected"}}]);
    let mut told = Vec::new();
    while told.is_empty() {
        told = watch.sweep().await.0;
    }
    assert_eq!(told, ["runai/prod away"]);
    for workload in &mut runai.world().workloads {
        workload["phase"] = json!("Unknown");
    }
    for _ in 0..2 {
        assert_eq!(
            watch.sweep().await.0,
            ["runai/prod away"],
            "what it tells of its workloads is old"
        );
    }

    runai.world().clusters =
        json!([{"uuid": "c-1", "name": "prod", "status": {"state": "Connected"}}]);
    while told != ["a Unknown", "b Unknown"] {
        told = watch.sweep().await.0;
    }
}
