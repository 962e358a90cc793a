//! Gangs: who failed first, and what only followed.

use super::*;

fn gang(pods: u32, build: impl Fn(scene::Pods, u32) -> scene::Pods) -> Scene {
    let mut scene = Scene::new("gang").failed_job("BackoffLimitExceeded");
    for rank in 0..pods {
        scene = scene.pod(&format!("gang-{rank}"), |pod| {
            build(pod.rank(rank).gpus(1.0).on(&format!("gpu-{rank}")), rank)
        });
    }
    scene
}

fn watchdog(rank: u32, sequence: u32) -> String {
    format!(
        "[rank{rank}]:[E302 10:26:00.1 ProcessGroupNCCL.cpp:616] [Rank {rank}] Watchdog caught collective operation timeout: \
         WorkNCCL(SeqNum={sequence}, OpType=ALLREDUCE, NumelIn=1, Timeout(ms)=600000) ran for 600031 milliseconds before timing out."
    )
}

const LOST: &str = "torch.distributed.DistBackendError: NCCL error: remote process exited or there was a network error, unhandled system error";

#[test]
fn the_rank_that_ran_out_of_memory_is_blamed_and_not_the_peers_that_lost_it() {
    let mut scene = gang(8, |pod, rank| {
        if rank == 5 {
            pod.exited(1, "Error", 1000)
        } else {
            pod.exited(if rank % 2 == 0 { 134 } else { 1 }, "Error", 1005)
        }
    });
    for rank in 0..8 {
        let name = format!("gang-{rank}");
        scene = if rank == 5 {
            scene.timed_log(
                &name,
                990,
                &[
                    "step 4 loss 2",
                    "[rank5]: Traceback (most recent call last):",
                    "[rank5]:   File \"x.py\", line 1",
                    "[rank5]: torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2 GiB",
                ],
            )
        } else {
            scene.timed_log(
                &name,
                1000,
                &[
                    "Traceback (most recent call last):",
                    "  File \"x.py\", line 1",
                    LOST,
                ],
            )
        };
    }
    let diagnosis = diagnose(scene);
    assert_eq!(root(&diagnosis), Some("cuda_oom"), "{diagnosis:#?}");
    let first = diagnosis.first_failure.as_ref().unwrap();
    assert_eq!(
        (first.pod.as_str(), first.rank, first.node.as_deref()),
        ("gang-5", Some(5), Some("gpu-5"))
    );
    let cascade = diagnosis
        .findings
        .iter()
        .find(|finding| finding.cause == "nccl_remote_error")
        .unwrap();
    assert_eq!(cascade.role, Role::Cascade);
    assert!(
        diagnosis.findings[0]
            .explanation
            .contains("7 other pods ended after it"),
        "{}",
        diagnosis.findings[0].explanation
    );
}

#[test]
fn a_rank_that_the_kernel_killed_explains_the_timeouts_of_the_others() {
    let mut scene = gang(4, |pod, rank| {
        if rank == 2 {
            pod.exited(137, "OOMKilled", 900)
        } else {
            pod.exited(134, "Error", 1500)
        }
    });
    for rank in [0, 1, 3] {
        scene = scene.timed_log(&format!("gang-{rank}"), 1499, &[&watchdog(rank, 17)]);
    }
    let diagnosis = diagnose(scene);
    assert_eq!(root(&diagnosis), Some("host_oom"), "{diagnosis:#?}");
    assert_eq!(diagnosis.first_failure.unwrap().rank, Some(2));
}

#[test]
fn timeouts_alone_name_the_rank_that_is_absent_from_the_reports() {
    let mut scene = gang(4, |pod, _| pod.exited(134, "Error", 1500));
    for rank in [0, 1, 2] {
        scene = scene.timed_log(&format!("gang-{rank}"), 1499, &[&watchdog(rank, 17)]);
    }
    scene = scene.timed_log("gang-3", 800, &["step 16 loss 2"]);
    let diagnosis = diagnose(scene);
    assert_eq!(root(&diagnosis), Some("nccl_timeout"), "{diagnosis:#?}");
    let first = diagnosis.first_failure.unwrap();
    assert_eq!((first.pod.as_str(), first.rank), ("gang-3", Some(3)));
}

#[test]
fn timeouts_alone_name_the_rank_that_is_furthest_behind() {
    let mut scene = gang(4, |pod, _| pod.exited(134, "Error", 1500));
    for (rank, sequence) in [(0, 17), (1, 12), (2, 17), (3, 17)] {
        scene = scene.timed_log(&format!("gang-{rank}"), 1499, &[&watchdog(rank, sequence)]);
    }
    let diagnosis = diagnose(scene);
    assert_eq!(root(&diagnosis), Some("nccl_timeout"), "{diagnosis:#?}");
    assert_eq!(diagnosis.first_failure.unwrap().rank, Some(1));
}

#[test]
fn a_lost_node_takes_the_gang_with_it() {
    let mut scene = gang(4, |pod, rank| {
        if rank == 1 {
            pod.not_ready().state(
                "Running",
                "NodeLost",
                "Node gpu-1 which was running pod is unresponsive",
            )
        } else {
            pod.exited(134, "Error", 1600)
        }
    })
    .node(
        "gpu-1",
        &[(
            "Ready",
            "Unknown",
            "NodeStatusUnknown",
            "Kubelet stopped posting node status.",
            980,
        )],
    );
    for rank in [0, 2, 3] {
        scene = scene.timed_log(&format!("gang-{rank}"), 1599, &[&watchdog(rank, 17)]);
    }
    let diagnosis = diagnose(scene);
    assert_eq!(root(&diagnosis), Some("node_not_ready"), "{diagnosis:#?}");
    let first = diagnosis.first_failure.unwrap();
    assert_eq!(
        (first.pod.as_str(), first.node.as_deref()),
        ("gang-1", Some("gpu-1"))
    );
    assert_eq!(
        diagnosis.findings[0]
            .remediation
            .as_ref()
            .unwrap()
            .parameters["avoid_node"],
        "gpu-1"
    );
}

#[test]
fn an_xid_on_one_node_explains_the_gang_and_takes_the_node_out() {
    let mut scene = gang(4, |pod, _| pod.exited(134, "Error", 1600)).event(
        "Node/gpu-2",
        "GpuXid",
        "NVRM: Xid (PCI:0000:06:00): 79, pid=77, GPU has fallen off the bus.",
        990,
    );
    for rank in [0, 1, 3] {
        scene = scene.timed_log(&format!("gang-{rank}"), 1599, &[&watchdog(rank, 17)]);
    }
    let diagnosis = diagnose(scene);
    assert_eq!(root(&diagnosis), Some("xid_79"), "{diagnosis:#?}");
    assert_eq!(
        diagnosis.first_failure.unwrap().node.as_deref(),
        Some("gpu-2")
    );
}

#[test]
fn a_gang_below_its_minimum_points_at_the_first_dead_pod() {
    let scene = gang(3, |pod, rank| {
        if rank == 1 {
            pod.exited(1, "Error", 1000)
        } else {
            pod.exited(143, "Error", 1010)
        }
    })
    .event(
        "PodGroup/pg-gang",
        "Evict",
        "Job doesn't meet the minimum required number of pods (3), evicting remaining pod",
        1008,
    )
    .log(
        "gang-1",
        &[
            "Traceback (most recent call last):",
            "  File \"x\", line 1",
            "FileNotFoundError: [Errno 2] No such file or directory: '/data/shard-1'",
        ],
    );
    let diagnosis = diagnose(scene);
    assert_eq!(root(&diagnosis), Some("missing_file"), "{diagnosis:#?}");
    assert_eq!(diagnosis.first_failure.unwrap().pod, "gang-1");
    assert!(
        diagnosis
            .findings
            .iter()
            .any(|finding| finding.cause == "gang_below_minimum" && finding.role == Role::Cascade)
    );
}

#[test]
fn the_block_of_torchrun_names_the_rank_among_eight_in_a_pod() {
    let block = [
        "torch.distributed.elastic.multiprocessing.errors.ChildFailedError:",
        "============================================================",
        "Root Cause (first observed failure):",
        "[0]:",
        "  time      : 2026-03-02_10:16:00",
        "  host      : gang-1",
        "  rank      : 11 (local_rank: 3)",
        "  exitcode  : -11 (pid: 31)",
    ];
    let scene = gang(2, |pod, rank| {
        pod.gpus(8.0)
            .exited(1, "Error", if rank == 1 { 961 } else { 970 })
    })
    .log("gang-1", &block)
    .log("gang-0", &[LOST]);
    let diagnosis = diagnose(scene);
    assert_eq!(root(&diagnosis), Some("segfault"), "{diagnosis:#?}");
    let first = diagnosis.first_failure.unwrap();
    assert_eq!((first.pod.as_str(), first.rank), ("gang-1", Some(11)));
}

#[test]
fn the_global_rank_is_read_from_the_log_of_a_pod_with_several() {
    let scene = gang(4, |pod, rank| {
        pod.gpus(8.0)
            .exited(1, "Error", if rank == 2 { 961 } else { 970 })
    })
    .log(
        "gang-2",
        &[
            "[rank17]: Traceback (most recent call last):",
            "[rank17]:   File \"x\", line 1",
            "[rank17]: ValueError: label 9",
        ],
    )
    .log("gang-0", &[LOST]);
    let first = diagnose(scene).first_failure.unwrap();
    assert_eq!((first.pod.as_str(), first.rank), ("gang-2", Some(17)));
}

#[test]
fn terminated_peers_are_not_blamed_though_their_times_are_equal() {
    let scene = gang(3, |pod, rank| {
        pod.exited(if rank == 2 { 139 } else { 143 }, "Error", 1000)
    });
    let diagnosis = diagnose(scene);
    assert_eq!(root(&diagnosis), Some("segfault"));
    assert_eq!(diagnosis.first_failure.unwrap().rank, Some(2));
}

#[test]
fn a_great_gang_gives_a_small_report() {
    let mut scene = gang(512, |pod, rank| {
        pod.exited(
            if rank == 300 { 1 } else { 134 },
            "Error",
            if rank == 300 { 1000 } else { 1600 },
        )
    });
    let noise = "\u{1F525}\"\\".repeat(400);
    for rank in 0..512 {
        let name = format!("gang-{rank}");
        scene = if rank == 300 {
            scene.log(
                &name,
                &[
                    "Traceback (most recent call last):",
                    "  File \"x\", line 1",
                    "OSError: [Errno 28] No space left on device",
                    &noise,
                ],
            )
        } else {
            scene.timed_log(&name, 1599, &[&format!("{} {noise}", watchdog(rank, 17))])
        };
    }
    let diagnosis = diagnose(scene);
    assert_eq!(root(&diagnosis), Some("disk_full"));
    assert_eq!(diagnosis.first_failure.as_ref().unwrap().rank, Some(300));
    assert!(serde_json::to_vec(&diagnosis).unwrap().len() < 64 << 10);
}
