//! The demo's scenario: three projects whose jobs fail in different, realistic ways over the first minutes.
//!
//! Seconds are those of the script; the speed of the estate decides how fast they pass. A pod is placed after 0.2 s
//! and its container starts 0.8 s later.

use std::time::Duration;

use super::estate::SimEstate;
use super::logs;
use super::script::{Act, Cure, Exit, JobSpec, ProgressLine, Script, Start};

/// The projects of the demo and their GPU quota.
const PROJECTS: [(&str, u32); 3] = [("demo-nlp", 80), ("demo-vision", 24), ("demo-serving", 8)];

/// Puts the demo's nodes, projects and jobs into an empty estate.
pub fn install(estate: &SimEstate) {
    for (name, quota) in PROJECTS {
        estate.add_project(name, quota);
    }
    for n in 1..=10 {
        estate.add_node(&format!("demo-h100-{n:02}"), "h100", 8);
    }
    for n in 1..=4 {
        estate.add_node(&format!("demo-a100-{n:02}"), "a100", 8);
    }
    for job in jobs() {
        estate.add_job(job);
    }
}

/// The jobs of the demo, roughly in the order in which they fail.
pub fn jobs() -> Vec<JobSpec> {
    vec![
        cuda_oom(),
        image_not_found(),
        bad_node_gang(),
        over_quota(),
        missing_secret(),
        lost_devices(),
        missing_checkpoint(),
        image_pull_auth(),
        shm_bus_error(),
        preempted(),
        host_oom(),
        hang(),
        liveness_probe(),
        stopped_by_user(),
        JobSpec::training("demo-nlp", "tokenizer-bench"),
        JobSpec::training("demo-vision", "segmentation-nightly"),
        JobSpec::workspace("demo-vision", "notebook-mira"),
        JobSpec::inference("demo-serving", "embeddings-api", 2),
    ]
}

/// A fine-tuning whose batch does not fit the GPU. Restarting cannot help.
fn cuda_oom() -> JobSpec {
    let script = Script::steps([
        (
            0.3,
            None,
            Act::Log(vec![
                "loading demo/llama-3.1-8b, bf16, seq_len 8192, micro batch 16".to_owned(),
            ]),
        ),
        (3.0, None, Act::Log(logs::cuda_oom())),
        (3.2, None, Act::Exit(Exit::error(1))),
    ]);
    JobSpec {
        command: "python finetune.py --micro-batch 16".to_owned(),
        script,
        ..JobSpec::training("demo-nlp", "llama-finetune")
    }
}

fn image_pull(image: &str, error: &str) -> Start {
    let full = format!("failed to pull and unpack image \"{image}\": {error}");
    Start::Blocked {
        first: ("ErrImagePull".to_owned(), full.clone()),
        then: (
            "ImagePullBackOff".to_owned(),
            format!("Back-off pulling image \"{image}\": ErrImagePull: {full}"),
        ),
        events: vec![
            ("Normal", "Pulling", format!("Pulling image \"{image}\"")),
            (
                "Warning",
                "Failed",
                format!("Failed to pull image \"{image}\": {full}"),
            ),
            ("Warning", "Failed", "Error: ErrImagePull".to_owned()),
            (
                "Normal",
                "BackOff",
                format!("Back-off pulling image \"{image}\""),
            ),
            ("Warning", "Failed", "Error: ImagePullBackOff".to_owned()),
        ],
        every: Duration::from_secs(10),
    }
}

/// A tag that was never pushed.
fn image_not_found() -> JobSpec {
    let image = "registry.demo.local/vision/detector:2026.11-rc3";
    let error =
        format!("failed to resolve reference \"{image}\": {image}: not found: manifest unknown");
    JobSpec {
        image: image.to_owned(),
        script: Script::blocked(image_pull(image, &error)),
        ..JobSpec::training("demo-vision", "detector-eval")
    }
}

/// A private image without a valid pull secret.
fn image_pull_auth() -> JobSpec {
    let image = "registry.demo.local/private/diffusion:1.4.0";
    let error = format!(
        "failed to resolve reference \"{image}\": failed to authorize: failed to fetch oauth token: unexpected status \
         from GET request to https://registry.demo.local/token: 401 Unauthorized"
    );
    JobSpec {
        image: image.to_owned(),
        script: Script::blocked(image_pull(image, &error)),
        ..JobSpec::training("demo-vision", "diffusion-train")
    }
}

/// Eight nodes of eight GPUs. The GPU under rank 5 falls off the bus; the other ranks wait for it in a collective and
/// time out later. A run that avoids the node works.
fn bad_node_gang() -> JobSpec {
    const WORLD: u32 = 8;
    const LOST: u32 = 5;
    let mut steps = vec![(
        8.0,
        Some(LOST),
        Act::LoseGpu {
            xid: 79,
            pci: "0000:5d:00",
        },
    )];
    for rank in 0..WORLD {
        steps.push((0.4, Some(rank), Act::Log(logs::gang_start(rank, WORLD))));
        steps.push((4.0, Some(rank), Act::Log(logs::steps(rank, 10, 47))));
        if rank == LOST {
            steps.push((8.2, Some(rank), Act::Log(logs::gpu_lost(rank))));
            steps.push((8.4, Some(rank), Act::Exit(Exit::error(1))));
        } else {
            let late = 16.0 + f64::from(rank) * 0.3;
            steps.push((late, Some(rank), Act::Log(logs::watchdog_timeout(rank))));
            // SIGABRT: the watchdog takes the process down.
            steps.push((late + 0.2, Some(rank), Act::Exit(Exit::error(134))));
        }
    }
    JobSpec {
        script: Script::steps(steps),
        cure: Cure::OffFaultyNode,
        claims: vec!["checkpoints".to_owned()],
        ..JobSpec::distributed("demo-nlp", "llm-pretrain", WORLD)
    }
}

/// Non-preemptible work beyond the quota of its project.
fn over_quota() -> JobSpec {
    JobSpec {
        gpus: 8,
        priority_class: "very-high".to_owned(),
        preemptible: false,
        script: Script::blocked(Start::OverQuota {
            requested: 8,
            quota: 24,
            allocated: 20,
        }),
        ..JobSpec::training("demo-vision", "video-encoder")
    }
}

/// A reference to a secret that does not exist.
fn missing_secret() -> JobSpec {
    let message = "secret \"demo-wandb-token\" not found";
    JobSpec {
        script: Script::blocked(Start::Blocked {
            first: ("CreateContainerConfigError".to_owned(), message.to_owned()),
            then: ("CreateContainerConfigError".to_owned(), message.to_owned()),
            events: vec![("Warning", "Failed", format!("Error: {message}"))],
            every: Duration::from_secs(10),
        }),
        ..JobSpec::training("demo-nlp", "reward-model")
    }
}

/// A server whose container lost access to its GPU devices: it crashes at each start in place, a new pod works.
fn lost_devices() -> JobSpec {
    let script = Script::steps([
        (0.3, None, Act::Log(logs::nvml_unknown_error())),
        (1.5, None, Act::Exit(Exit::error(1))),
    ]);
    JobSpec {
        script,
        cure: Cure::NewPod,
        ..JobSpec::inference("demo-serving", "chat-api", 2)
    }
}

/// A plain Kubernetes job, unknown to Run:AI, whose checkpoint does not exist.
fn missing_checkpoint() -> JobSpec {
    let script = Script::steps([
        (0.4, None, Act::Log(logs::missing_checkpoint())),
        (0.9, None, Act::Exit(Exit::error(1))),
    ]);
    JobSpec {
        script,
        runai: false,
        backoff_limit: 2,
        claims: vec!["checkpoints".to_owned()],
        // The volume shows the file only from the second mount on.
        cure: Cure::NextRun,
        ..JobSpec::training("demo-nlp", "bert-eval")
    }
}

/// Data loader workers without enough shared memory.
fn shm_bus_error() -> JobSpec {
    let script = Script::steps([
        (28.0, None, Act::Log(logs::shm_bus_error())),
        (28.4, None, Act::Exit(Exit::error(1))),
    ]);
    JobSpec {
        gpus: 4,
        script,
        ..JobSpec::training("demo-vision", "resnet-imagenet")
    }
}

/// Gives its GPUs to a more important workload and comes back: nothing to repair.
fn preempted() -> JobSpec {
    let script = Script::steps([
        (
            0.5,
            None,
            Act::Progress {
                every: Duration::from_secs(5),
                line: ProgressLine::Training,
            },
        ),
        (
            35.0,
            None,
            Act::Preempt {
                by: "video-encoder-hotfix".to_owned(),
                back: Duration::from_secs(45),
            },
        ),
    ]);
    JobSpec {
        gpus: 2,
        priority_class: "low".to_owned(),
        script,
        cure: Cure::NewPod,
        ..JobSpec::training("demo-vision", "augment-sweep")
    }
}

/// A vocabulary builder that outgrows its memory limit, again and again.
fn host_oom() -> JobSpec {
    let script = Script::steps([
        (0.5, None, Act::Log(logs::host_memory_growth())),
        (12.0, None, Act::Exit(Exit::oom_killed())),
    ]);
    JobSpec {
        script,
        restarts_in_place: true,
        backoff_limit: 6,
        ..JobSpec::training("demo-nlp", "vocab-build")
    }
}

/// Four nodes that stop in a collective without a word. A new run works.
fn hang() -> JobSpec {
    let mut steps = Vec::new();
    for rank in 0..2 {
        steps.push((0.4, Some(rank), Act::Log(logs::gang_start(rank, 2))));
        steps.push((
            20.0,
            Some(rank),
            Act::Log(logs::last_words_before_hang(rank)),
        ));
    }
    JobSpec {
        gpus: 4,
        pool: "a100".to_owned(),
        script: Script::steps(steps),
        cure: Cure::NextRun,
        ..JobSpec::distributed("demo-vision", "clip-align", 2)
    }
}

/// A large model that loads for longer than its liveness probe allows.
fn liveness_probe() -> JobSpec {
    let unhealthy = "Liveness probe failed: Get \"http://10.244.3.9:8000/health\": dial tcp 10.244.3.9:8000: connect: connection refused";
    let script = Script::steps([
        (0.1, None, Act::Ready(false)),
        (0.5, None, Act::Log(logs::slow_model_load())),
        (
            20.0,
            None,
            Act::Event("Warning", "Unhealthy", unhealthy.to_owned()),
        ),
        (
            25.0,
            None,
            Act::Event("Warning", "Unhealthy", unhealthy.to_owned()),
        ),
        (
            30.0,
            None,
            Act::Event("Warning", "Unhealthy", unhealthy.to_owned()),
        ),
        (
            30.1,
            None,
            Act::Event(
                "Normal",
                "Killing",
                "Container failed liveness probe, will be restarted".to_owned(),
            ),
        ),
        (32.0, None, Act::Exit(Exit::error(137))),
    ]);
    JobSpec {
        gpus: 4,
        script,
        ..JobSpec::inference("demo-serving", "rerank-70b", 1)
    }
}

/// Stopped by its owner: not a failure.
fn stopped_by_user() -> JobSpec {
    let script = Script::steps([
        (
            0.5,
            None,
            Act::Progress {
                every: Duration::from_secs(5),
                line: ProgressLine::Training,
            },
        ),
        (15.0, None, Act::StopByUser),
    ]);
    JobSpec {
        script,
        ..JobSpec::training("demo-nlp", "lora-sweep")
    }
}
