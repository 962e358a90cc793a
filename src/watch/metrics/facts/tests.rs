use super::*;
use crate::watch::metrics::Labels;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_772_445_600 + second).unwrap()
}

fn series(name: &str, labels: &[(&str, &str)], values: &[f64]) -> Series {
    let mut map: BTreeMap<&str, &str> = labels.iter().copied().collect();
    map.insert("__name__", name);
    Series {
        labels: serde_json::from_value::<Labels>(serde_json::json!(map)).unwrap(),
        points: values
            .iter()
            .zip(0_i64..)
            .map(|(value, index)| Point {
                at: at(30 * index),
                value: *value,
            })
            .collect(),
    }
}

fn scope() -> Scope<'static> {
    Scope {
        namespace: "runai-nlp",
        pods: vec!["train-0", "train-1"],
        nodes: vec!["gpu-1"],
        gpus: true,
        until: at(600),
    }
}

/// The labels of a server that keeps its own `pod`, and of one that honours the exporter's.
const STYLES: [&[(&str, &str)]; 2] = [
    &[
        ("UUID", "GPU-a"),
        ("gpu", "3"),
        ("Hostname", "gpu-1"),
        ("modelName", "NVIDIA H100"),
        ("pod", "nvidia-dcgm-exporter-x7k2p"),
        ("namespace", "gpu-operator"),
        ("container", "exporter"),
        ("exported_pod", "train-1"),
        ("exported_namespace", "runai-nlp"),
        ("exported_container", "main"),
    ],
    &[
        ("UUID", "GPU-a"),
        ("gpu", "3"),
        ("node", "gpu-1"),
        ("instance", "10.0.0.4:9400"),
        ("modelName", "NVIDIA H100"),
        ("pod", "train-1"),
        ("namespace", "runai-nlp"),
        ("container", "main"),
    ],
];

#[test]
fn a_gpu_is_known_by_either_style_of_labels() {
    for labels in STYLES {
        let facts = gpu_facts(
            vec![
                series("DCGM_FI_DEV_GPU_UTIL", labels, &[98.0, 97.0, 0.0]),
                series("DCGM_FI_DEV_FB_USED", labels, &[70_000.0, 79_000.0]),
                series("DCGM_FI_DEV_FB_FREE", labels, &[11_000.0, 2_000.0]),
                series("DCGM_FI_DEV_GPU_TEMP", labels, &[60.0, 91.0, 70.0]),
                series(
                    "DCGM_FI_DEV_CLOCK_THROTTLE_REASONS",
                    labels,
                    &[1.0, 72.0, f64::NAN],
                ),
                series("DCGM_FI_DEV_XID_ERRORS", labels, &[0.0, 79.0, 79.0]),
                series("DCGM_FI_DEV_ECC_DBE_VOL_TOTAL", labels, &[0.0, 0.0, 2.0]),
                series(
                    "DCGM_FI_DEV_NVLINK_CRC_FLIT_ERROR_COUNT_TOTAL",
                    labels,
                    &[5.0, 5.0],
                ),
            ],
            &scope(),
        );
        let [gpu] = facts.as_slice() else {
            panic!("{facts:?}");
        };
        assert_eq!(gpu.pod.as_deref(), Some("train-1"));
        assert_eq!(gpu.container.as_deref(), Some("main"));
        assert_eq!(gpu.node.as_deref(), Some("gpu-1"));
        assert_eq!(gpu.index.as_deref(), Some("3"));
        assert_eq!(gpu.memory_total, Some(81_000.0));
        assert_eq!(gpu.temperature, Some(91.0));
        assert_eq!(
            gpu.throttled,
            [Throttle::HardwareSlowdown, Throttle::HardwareThermal]
        );
        let xid = gpu.xid.unwrap();
        assert_eq!((xid.code, xid.seen, xid.fresh), (79, at(30), true));
        assert_eq!(gpu.errors[0].kind, GpuErrorKind::DoubleBit);
        assert_eq!(gpu.errors[0].grew, Some(at(60)));
        assert!(
            gpu.errors[1].growth.abs() < 1e-9,
            "old link errors did not grow"
        );
    }
}

#[test]
fn the_gpus_of_other_jobs_on_the_node_are_left_out() {
    let ours = STYLES[0];
    let other = [
        ("UUID", "GPU-b"),
        ("gpu", "4"),
        ("Hostname", "gpu-1"),
        ("exported_pod", "someone-else-0"),
        ("exported_namespace", "runai-cv"),
    ];
    let free = [("UUID", "GPU-c"), ("gpu", "5"), ("Hostname", "gpu-1")];
    let facts = gpu_facts(
        vec![
            series("DCGM_FI_DEV_XID_ERRORS", ours, &[0.0]),
            series("DCGM_FI_DEV_XID_ERRORS", &other, &[0.0, 48.0]),
            series("DCGM_FI_DEV_XID_ERRORS", &free, &[0.0, 63.0]),
        ],
        &scope(),
    );
    assert_eq!(facts.len(), 1, "{facts:?}");
    assert!(facts[0].xid.is_none() && facts[0].tells_health);
}

#[test]
fn a_gpu_that_lost_its_pod_with_the_xid_is_still_the_pods() {
    let after = [("UUID", "GPU-a"), ("gpu", "3"), ("Hostname", "gpu-1")];
    let facts = gpu_facts(
        vec![
            series("DCGM_FI_DEV_XID_ERRORS", STYLES[0], &[0.0, 0.0]),
            series("DCGM_FI_DEV_XID_ERRORS", &after, &[0.0, 79.0]),
        ],
        &scope(),
    );
    assert_eq!(facts[0].pod.as_deref(), Some("train-1"));
    assert_eq!(facts[0].xid.map(|xid| xid.code), Some(79));
}

#[test]
fn without_labels_of_pods_the_gpus_of_the_nodes_are_told() {
    let labels = [("UUID", "GPU-c"), ("gpu", "5"), ("Hostname", "gpu-1")];
    let facts = gpu_facts(
        vec![series("DCGM_FI_DEV_XID_ERRORS", &labels, &[31.0, 31.0])],
        &scope(),
    );
    assert_eq!(facts[0].pod, None);
    let xid = facts[0].xid.unwrap();
    assert!(!xid.fresh, "it was there before we looked");
}

#[test]
fn a_working_set_is_read_with_its_limit() {
    let labels = [
        ("pod", "train-0"),
        ("container", "main"),
        ("namespace", "runai-nlp"),
    ];
    let facts = memory_facts(vec![
        series(
            "container_memory_working_set_bytes",
            &labels,
            &[1e9, 63e9, 2e9],
        ),
        series("kube_pod_container_resource_limits", &labels, &[64e9]),
        series("container_spec_memory_limit_bytes", &labels, &[9.2e18]),
    ]);
    assert_eq!(facts[0].peak(), Some(63e9));
    assert_eq!(facts[0].limit, Some(64e9));
}
