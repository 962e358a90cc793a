use std::io::Write as _;

use super::*;

/// Every id of the failure taxonomy.
const IDS: &[&str] = &[
    "exit_0_incomplete",
    "exit_1",
    "exit_2_usage",
    "exit_125_runtime_refused",
    "command_not_executable",
    "command_not_found",
    "exit_128",
    "illegal_instruction",
    "exit_134_sigabrt",
    "exit_135_sigbus",
    "exit_136_sigfpe",
    "exit_137_oomkilled",
    "exit_137_not_oom",
    "exit_139_sigsegv",
    "exit_143_sigterm",
    "app_exit_unexplained",
    "exit_255_launcher",
    "torchrun_negative_exit",
    "host_oom",
    "host_oom_child",
    "node_oom",
    "crash_loop",
    "create_container_config_error",
    "container_start_error",
    "image_invalid",
    "pod_sandbox_failed",
    "pull_secret_missing",
    "init_container_failed",
    "probe_failed",
    "progress_deadline_exceeded",
    "evicted",
    "emptydir_limit_exceeded",
    "disruption_target",
    "backoff_limit_exceeded",
    "pod_failure_policy",
    "deadline_exceeded",
    "pod_stuck_terminating",
    "unexpected_admission_error",
    "pods_vanished",
    "container_status_unknown",
    "resource_quota_exceeded",
    "admission_denied",
    "insufficient_gpus",
    "nonpreemptible_over_quota",
    "over_limit",
    "queue_not_found",
    "preempted",
    "reclaimed",
    "consolidated",
    "gang_below_minimum",
    "partial_gang",
    "min_runtime_protection",
    "placement_constraints",
    "volume_affinity_conflict",
    "scheduling_gated",
    "gpu_fraction_reservation_missing",
    "runai_stopped",
    "runai_degraded",
    "runai_initializing_long",
    "runai_failed_no_pods",
    "runai_unknown",
    "image_not_found",
    "image_pull_auth",
    "image_rate_limited",
    "image_registry_unreachable",
    "image_tls_untrusted",
    "image_no_disk_space",
    "image_platform_mismatch",
    "image_pull_slow",
    "image_pull_backoff",
    "xid_8",
    "xid_13",
    "xid_31",
    "xid_32",
    "xid_37",
    "xid_39",
    "xid_43",
    "xid_45",
    "xid_46",
    "xid_48",
    "xid_54",
    "xid_62",
    "xid_63",
    "xid_64",
    "xid_68",
    "xid_69",
    "xid_74",
    "xid_78",
    "xid_79",
    "xid_92",
    "xid_93",
    "xid_94",
    "xid_95",
    "xid_109",
    "xid_110",
    "xid_119",
    "xid_121",
    "xid_136",
    "xid_140",
    "xid_141",
    "xid_142",
    "xid_144",
    "xid_151",
    "xid_154",
    "xid_155",
    "sxid",
    "ecc_uncorrectable",
    "fabric_manager_down",
    "fabric_training_failed",
    "gpu_count_mismatch",
    "nvml_unknown_error",
    "driver_mismatch",
    "gpu_throttled",
    "pcie_degraded",
    "ib_port_down",
    "libnccl_segfault",
    "volume_mount_failed",
    "pvc_pending",
    "pvc_lost",
    "disk_full",
    "disk_quota",
    "fs_io_error",
    "nfs_stale",
    "permission_denied",
    "missing_file",
    "node_not_ready",
    "node_pressure",
    "kernel_deadlock",
    "spot_termination",
    "dns_failure",
    "clock_drift",
    "bad_node_many_jobs",
    "cuda_oom",
    "cuda_illegal_access",
    "cudnn_init_error",
    "cuda_not_visible",
    "error_after_error",
    "nccl_timeout",
    "nccl_watchdog_stuck",
    "nccl_remote_error",
    "ib_transport_error",
    "nccl_bootstrap",
    "watchdog_silent",
    "rendezvous_failure",
    "torchrun_child_failed",
    "shm_exhausted",
    "dataloader_worker_died",
    "too_many_open_files",
    "import_error",
    "config_error",
    "shape_mismatch",
    "checkpoint_incompatible",
    "checkpoint_corrupt",
    "checkpoint_save_failed",
    "nan_loss",
    "bad_sample",
    "app_exception",
    "segfault",
    "user_cancelled",
    "time_limit",
    "hub_rate_limited",
    "hub_auth",
    "tracker_down",
    "object_store_error",
    "credential_expired",
    "hang",
    "idle_gpus",
    "held_no_process",
    "straggler",
    "throughput_drop",
    "restart_no_progress",
    "repeated_preemption",
    "long_pending",
    "same_node_many_jobs",
    "silent_data_corruption",
    "stale_checkpoint",
];

#[test]
fn every_failure_of_the_taxonomy_is_known_and_nothing_else() {
    let knowledge = Knowledge::embedded();
    for id in IDS {
        assert!(knowledge.failure(id).is_some(), "{id} is missing");
    }
    assert_eq!(knowledge.failures().len(), IDS.len());
}

#[test]
fn every_pattern_compiles_and_every_reference_leads_somewhere() {
    let knowledge = Knowledge::embedded();
    for failure in knowledge.failures() {
        for id in failure.see.iter().chain(&failure.over) {
            assert!(knowledge.failure(id).is_some(), "{} names {id}", failure.id);
        }
        for sign in &failure.signs {
            let (Sign::Log(text)
            | Sign::State { text, .. }
            | Sign::Event { text, .. }
            | Sign::Node { text, .. }
            | Sign::Text { text, .. }) = sign
            else {
                continue;
            };
            let (must, unless) = text.sources();
            for source in must.into_iter().chain(unless) {
                Pattern::compile(source).unwrap();
            }
            for branch in text.branches() {
                branch.regex();
            }
        }
    }
    for advice in &knowledge.advice {
        advice.regex();
    }
}

#[test]
fn every_text_is_a_sentence_and_every_remedy_has_a_class_that_allows_it() {
    for failure in Knowledge::embedded().failures() {
        for text in [&failure.cause, &failure.advice] {
            assert!(text.ends_with('.'), "{}: {text}", failure.id);
            assert!(!text.contains("  "), "{}: {text}", failure.id);
        }
        assert!(
            failure.advice.starts_with(|c: char| c.is_uppercase()),
            "{}",
            failure.id
        );
        if failure.safety == SafetyClass::Human {
            assert!(
                matches!(failure.action, Remedy::Nothing) || failure.node.is_some(),
                "{} is for a human",
                failure.id
            );
        }
    }
}

fn load(text: &str) -> Result<Knowledge, KnowledgeError> {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    Knowledge::load(file.path())
}

#[test]
fn a_local_file_adds_and_replaces_rows() {
    let knowledge = load(
        "version: 1\nfailures:\n  - id: license_server\n    title: Licence server is down\n    safety: human\n    \
         cause: It is down.\n    advice: Call the vendor.\n    source: us\n    signs: [{log: 'no licence today'}]\n  \
         - id: cuda_oom\n    title: Ours\n    safety: human\n    cause: A.\n    advice: B.\n    source: us\n",
    )
    .unwrap();
    assert_eq!(knowledge.failure("cuda_oom").unwrap().title, "Ours");
    assert!(knowledge.failure("license_server").is_some());
    assert_eq!(knowledge.failures().len(), IDS.len() + 1);
}

#[test]
fn mistakes_in_a_local_file_are_told_with_their_place_and_what_was_meant() {
    let row = |sign: &str| {
        format!(
            "version: 1\nfailures:\n  - id: x\n    title: X\n    safety: human\n    cause: C.\n    advice: A.\n    \
             source: us\n    signs:\n      - {sign}\n"
        )
    };
    for (text, place, message) in [
        (
            row("{log: '(unclosed'}"),
            (10, 15),
            "not a regular expression",
        ),
        (row("{log: '.*'}"), (10, 15), "no literal"),
        (row("{log: 'abc', exit: [1]}"), (10, 9), "exactly one thing"),
        (
            row("{lag: 'abc'}"),
            (10, 10),
            "`lag` is not known here; did you mean `log`?",
        ),
        ("version: 2\n".to_owned(), (1, 10), "version 2"),
        (
            row("{log: abc}").replace("safety: human", "safety: maybe"),
            (5, 13),
            "`maybe` is not known here; it may be auto, gated, human, quiet",
        ),
        (
            row("{log: abc}").replace("safety: human", "safety: gatet"),
            (5, 13),
            "did you mean `gated`?",
        ),
        (
            row("{log: abc}").replace("source: us", "over: [cuda_oom, host_ooom]\n    source: us"),
            (8, 22),
            "there is no failure `host_ooom`; did you mean `host_oom`?",
        ),
    ] {
        let error = load(&text).unwrap_err();
        let KnowledgeError::Invalid {
            line,
            column,
            message: told,
            ..
        } = &error
        else {
            panic!("{error}");
        };
        assert_eq!((*line, *column), place, "{told}");
        assert!(told.contains(message), "{told}");
    }
}
