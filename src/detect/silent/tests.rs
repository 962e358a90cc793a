use jiff::Timestamp;

use super::{Purpose, Quiet, Silence, Thresholds, purpose, silences};
use crate::estate::progress::{GpuUse, PodGpus, Progress};
use crate::estate::{Container, ContainerState, Pod, Termination};

fn at(minutes: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + 60 * minutes).unwrap()
}

fn container(name: &str, state: ContainerState) -> Container {
    Container {
        name: name.into(),
        image: "registry.example.com/train:1".into(),
        init: false,
        ready: true,
        restarts: 0,
        state,
        last: None,
    }
}

fn pod(rank: u32) -> Pod {
    Pod {
        cluster: "prod".into(),
        namespace: "runai-nlp".into(),
        name: format!("train-{rank}"),
        uid: format!("uid-{rank}"),
        created: at(0),
        deleting: None,
        node: Some(format!("gpu-{rank}")),
        phase: "Running".into(),
        reason: None,
        message: None,
        conditions: Vec::new(),
        containers: vec![container(
            "main",
            ContainerState::Running {
                started: Some(at(0)),
            },
        )],
        owner: None,
        workload: "train".into(),
        runai_id: None,
        project: None,
        gpus: 8.0,
        scheduler: None,
        claims: Vec::new(),
        rank: Some(rank),
        restart_policy: Some("Never".into()),
    }
}

/// A job whose pods logged what `lines` say, in minutes, read last at `read`.
struct Scene {
    pods: Vec<Pod>,
    progress: Progress,
    purpose: Purpose,
    now: Timestamp,
}

impl Scene {
    fn new(read: i64) -> Self {
        let progress = Progress {
            read: Some(at(read)),
            ..Progress::default()
        };
        Self {
            pods: vec![pod(0)],
            progress,
            purpose: Purpose::Batch,
            now: at(read),
        }
    }

    fn log(mut self, rank: u32, lines: impl IntoIterator<Item = (i64, String)>) -> Self {
        if self.pods.iter().all(|pod| pod.rank != Some(rank)) {
            self.pods.push(pod(rank));
        }
        let of_pod = self
            .progress
            .pod(&format!("train-{rank}"), &format!("uid-{rank}"), None);
        of_pod.rank = Some(rank);
        of_pod.node = Some(format!("gpu-{rank}"));
        for (minute, line) in lines {
            of_pod.take(Some(at(minute)), &line);
        }
        self
    }

    /// Steps at every `every` minutes until `until`.
    fn steps(self, rank: u32, every: i64, until: i64) -> Self {
        let lines = (0..=until / every).map(|n| (n * every, format!("step {n}/100000 loss 2.{n}")));
        self.log(rank, lines.collect::<Vec<_>>())
    }

    fn gpus(mut self, least: f64, most: f64, window: u64, memory: Option<f64>) -> Self {
        let pods = self.pods.iter().map(|pod| {
            let gpus = PodGpus {
                gpus: 8,
                window_seconds: window * 60,
                least,
                most,
                memory_mib: memory,
            };
            (pod.name.clone(), gpus)
        });
        self.progress.gpus = Some(GpuUse {
            pods: pods.collect(),
        });
        self
    }

    fn is(mut self, purpose: Purpose) -> Self {
        self.purpose = purpose;
        self
    }

    fn all(&self) -> Vec<Silence> {
        let quiet = Quiet {
            purpose: self.purpose,
            pods: self.pods.iter().collect(),
            workload: None,
            progress: Some(&self.progress),
        };
        silences(&quiet, &Thresholds::default(), self.now)
    }

    fn says(&self) -> Vec<&'static str> {
        self.all().iter().map(|silence| silence.cause).collect()
    }
}

#[test]
fn silence_after_steps_is_a_hang_and_more_so_with_gpus_that_idle_or_spin() {
    let idle = Scene::new(80)
        .steps(0, 1, 60)
        .gpus(0.0, 0.0, 15, Some(40_000.0));
    let pinned = Scene::new(80)
        .steps(0, 1, 60)
        .gpus(100.0, 100.0, 15, Some(40_000.0));
    let alone = Scene::new(95).steps(0, 1, 60);
    assert_eq!(
        (idle.says(), pinned.says(), alone.says()),
        (vec!["hang"], vec!["hang"], vec!["hang"])
    );
    let sure = |scene: &Scene| scene.all()[0].confidence;
    assert!(sure(&idle) > sure(&pinned) && sure(&pinned) > sure(&alone));
    assert_eq!(idle.all()[0].since, at(60));
    assert_eq!(
        idle.all()[0].detail,
        "no log line for 20 min while its GPUs do nothing; it stopped at step 60 of 100000, where steps usually took 1 min"
    );
}

#[test]
fn what_is_slow_busy_or_meant_to_wait_does_not_hang() {
    let cases: [(&str, Scene); 9] = [
        (
            "short",
            Scene::new(70).steps(0, 1, 60).gpus(0.0, 0.0, 10, None),
        ),
        ("short alone", Scene::new(85).steps(0, 1, 60)),
        (
            "long steps",
            Scene::new(150)
                .steps(0, 20, 100)
                .gpus(98.0, 100.0, 40, None),
        ),
        (
            "working gpus",
            Scene::new(120).steps(0, 1, 60).gpus(10.0, 99.0, 50, None),
        ),
        (
            "saving",
            Scene::new(85)
                .steps(0, 1, 60)
                .log(
                    0,
                    [(61, "saving checkpoint at iteration 60 to /ckpt".to_owned())],
                )
                .gpus(0.0, 0.0, 20, Some(40_000.0)),
        ),
        (
            "notebook",
            Scene::new(95).steps(0, 1, 60).is(Purpose::Interactive),
        ),
        (
            "server",
            Scene::new(95).steps(0, 1, 60).is(Purpose::Service),
        ),
        ("mute", Scene::new(600)),
        (
            "banner only",
            Scene::new(600).log(0, [(0, "starting".to_owned())]),
        ),
    ];
    for (name, scene) in cases {
        assert_eq!(
            scene.says(),
            Vec::<&str>::new(),
            "{name}: {:?}",
            scene.all()
        );
    }
}

#[test]
fn a_log_that_was_not_read_is_not_silent() {
    let mut scene = Scene::new(61).steps(0, 1, 60);
    scene.now = at(600);
    assert_eq!(scene.says(), Vec::<&str>::new());
}

#[test]
fn a_save_may_take_its_time_but_not_for_ever() {
    let scene = |read| {
        Scene::new(read)
            .steps(0, 1, 60)
            .log(
                0,
                [(61, "saving checkpoint at iteration 60 to /ckpt".to_owned())],
            )
            .gpus(0.0, 0.0, 20, Some(40_000.0))
    };
    assert_eq!(scene(85).says(), Vec::<&str>::new());
    assert_eq!(scene(100).says(), ["hang"]);
}

#[test]
fn the_rank_that_stopped_first_is_named() {
    let scene = Scene::new(80)
        .steps(0, 1, 60)
        .steps(1, 1, 60)
        .steps(2, 1, 58)
        .gpus(0.0, 0.0, 15, None);
    let hang = &scene.all()[0];
    assert_eq!(
        (hang.cause, hang.pod.as_deref(), hang.node.as_deref()),
        ("hang", Some("train-2"), Some("gpu-2"))
    );
}

#[test]
fn progress_ends_a_hang() {
    let hung = Scene::new(80).steps(0, 1, 60).gpus(0.0, 0.0, 15, None);
    assert_eq!(hung.says(), ["hang"]);
    let mut resumed = hung.log(0, [(81, "step 61/100000 loss 1.0".to_owned())]);
    resumed.progress.read = Some(at(82));
    assert_eq!(resumed.says(), Vec::<&str>::new());
}

#[test]
fn gpus_that_idle_for_an_hour_are_told_and_a_servers_are_not() {
    let scene = |minutes, purpose| {
        Scene::new(61)
            .log(
                0,
                (0..60)
                    .map(|n| (n, format!("waiting for data {n}")))
                    .collect::<Vec<_>>(),
            )
            .gpus(0.0, 1.0, minutes, Some(9_000.0))
            .is(purpose)
    };
    assert_eq!(scene(60, Purpose::Batch).says(), ["idle_gpus"]);
    assert_eq!(scene(60, Purpose::Interactive).says(), ["idle_gpus"]);
    assert_eq!(scene(59, Purpose::Batch).says(), Vec::<&str>::new());
    assert_eq!(scene(60, Purpose::Service).says(), Vec::<&str>::new());
}

#[test]
fn gpus_held_by_nothing_are_told() {
    let empty = Scene::new(61)
        .log(
            0,
            (0..60)
                .map(|n| (n, format!("heartbeat {n}")))
                .collect::<Vec<_>>(),
        )
        .gpus(0.0, 0.0, 31, Some(3.0));
    assert_eq!(empty.says(), ["held_no_process"]);
    let mut kept = Scene::new(30);
    let ended = Termination {
        exit_code: 0,
        signal: None,
        reason: Some("Completed".into()),
        message: None,
        started: None,
        finished: Some(at(10)),
    };
    kept.pods[0].containers = vec![
        container("main", ContainerState::Terminated(Box::new(ended))),
        container("istio-proxy", ContainerState::Running { started: None }),
    ];
    assert_eq!(kept.says(), ["held_no_process"]);
    kept.now = at(12);
    assert_eq!(
        kept.says(),
        Vec::<&str>::new(),
        "its side-car gets a moment to end"
    );
}

#[test]
fn a_rank_that_lags_is_a_straggler_while_the_others_work() {
    let scene = Scene::new(100)
        .steps(0, 1, 100)
        .steps(1, 1, 100)
        .steps(2, 2, 100);
    let found = scene.all();
    assert_eq!(found[0].cause, "straggler", "{found:?}");
    assert_eq!(found[0].pod.as_deref(), Some("train-2"));
}

#[test]
fn a_job_slower_than_half_its_past_is_told() {
    let mut scene = Scene::new(0).steps(0, 1, 60);
    scene = scene.log(
        0,
        (1..=7)
            .map(|n| (60 + n * 3, format!("step {}/100000", 60 + n)))
            .collect::<Vec<_>>(),
    );
    scene.progress.read = Some(at(81));
    assert_eq!(scene.says(), ["throughput_drop"]);
    assert_eq!(
        scene.all()[0].detail,
        "a step takes 180 s now, and took 60 s before"
    );
}

#[test]
fn a_checkpoint_much_older_than_usual_is_stale() {
    let saved = |minute: i64| (minute, format!("Saved checkpoint at minute {minute}"));
    let mut lines: Vec<(i64, String)> =
        (0..=300).map(|n| (n, format!("step {n}/100000"))).collect();
    lines.extend([saved(30), saved(60), saved(90)]);
    lines.sort_by_key(|(minute, _)| *minute);
    let scene = |until: i64| {
        let lines: Vec<_> = lines
            .iter()
            .filter(|(minute, _)| *minute <= until)
            .cloned()
            .collect();
        Scene::new(until).log(0, lines)
    };
    assert_eq!(scene(179).says(), Vec::<&str>::new());
    assert_eq!(scene(181).says(), ["stale_checkpoint"]);
}

#[test]
fn attempts_that_end_where_the_last_one_did_are_told() {
    let mut scene = Scene::new(100);
    for (attempt, uid) in ["a", "b", "c"].into_iter().enumerate() {
        let start = i64::try_from(attempt).unwrap() * 30;
        let of_pod = scene.progress.pod("train-0", uid, None);
        for step in 0..20 {
            of_pod.take(Some(at(start + step)), &format!("step {step}"));
        }
    }
    scene
        .progress
        .pod("train-0", "d", None)
        .take(Some(at(99)), "step 1");
    assert_eq!(scene.says(), ["restart_no_progress"]);
}

#[test]
fn what_a_job_is_for_is_told_by_kind_image_and_name() {
    let with = |image: &str| {
        let mut pod = pod(0);
        pod.containers[0].image = image.into();
        pod
    };
    for (kind, name, image, expected) in [
        ("Training", "bert", "pytorch/pytorch:2.4", Purpose::Batch),
        (
            "PyTorchJob",
            "bert",
            "nvcr.io/nvidia/nemo:24",
            Purpose::Batch,
        ),
        (
            "Workspace",
            "mira",
            "pytorch/pytorch:2.4",
            Purpose::Interactive,
        ),
        (
            "Pod",
            "mira",
            "quay.io/jupyter/pytorch-notebook:1",
            Purpose::Interactive,
        ),
        ("StatefulSet", "jupyter-mira", "img:1", Purpose::Interactive),
        ("Inference", "llama", "img:1", Purpose::Service),
        ("Job", "llama", "vllm/vllm-openai:v0.6", Purpose::Service),
    ] {
        assert_eq!(
            purpose(kind, name, false, [&with(image)]),
            expected,
            "{kind} {name} {image}"
        );
    }
}
