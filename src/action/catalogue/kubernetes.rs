//! What is done to objects of Kubernetes.

use super::{ActionKind as A, Entry, Shape, System::Kubernetes, Takes, optional, required};
use crate::action::parameters::Parameter;
use crate::alert::Severity;

const SUSPENDING: &str = "suspending ends every pod of the workload";
const SHARED_NODE: &str = "a node serves more than this job";
const TRAFFIC: &str = "it changes where traffic goes";
const WORKLOADS: &[&str] = &["Deployment", "StatefulSet", "DaemonSet"];
const SCALED: &[&str] = &["Deployment", "StatefulSet"];

const CONTAINER: Parameter = optional(
    "container",
    Shape::Name,
    "which container; needed where there are several",
);
const REPLICAS: Shape = Shape::Integer {
    least: 0,
    most: 1_000,
};
const SECONDS: Shape = Shape::Integer {
    least: 0,
    most: 3_600,
};

pub(super) const ROWS: [Entry; 17] = [
    Entry {
        objects: &["Pod"],
        // The controller makes another at once.
        risk: Severity::Low,
        restarts: true,
        takes: Takes::Instance,
        ..Entry::of(A::DeletePod, "delete_pod", "delete pod", Kubernetes)
    },
    Entry {
        objects: &["Deployment", "StatefulSet", "DaemonSet"],
        // Pods are replaced one by one behind their probes.
        risk: Severity::Low,
        restarts: true,
        major: true,
        ..Entry::of(
            A::RolloutRestart,
            "rollout_restart",
            "restart the rollout of",
            Kubernetes,
        )
    },
    Entry {
        objects: &["Job"],
        risk: Severity::High,
        asks: Some(SUSPENDING),
        major: true,
        rewrites: true,
        inverse: Some(A::ResumeJob),
        ..Entry::of(A::SuspendJob, "suspend_job", "suspend", Kubernetes)
    },
    Entry {
        objects: &["Job"],
        takes: Takes::Nothing,
        rewrites: true,
        inverse: Some(A::SuspendJob),
        ..Entry::of(A::ResumeJob, "resume_job", "resume", Kubernetes)
    },
    Entry {
        objects: &["Job"],
        restarts: true,
        major: true,
        ..Entry::of(
            A::RecreateJob,
            "recreate_job",
            "delete and re-create",
            Kubernetes,
        )
    },
    Entry {
        objects: &["Node"],
        risk: Severity::High,
        asks: Some(SHARED_NODE),
        major: true,
        takes: Takes::Node,
        inverse: Some(A::UncordonNode),
        ..Entry::of(A::CordonNode, "cordon_node", "cordon", Kubernetes)
    },
    Entry {
        objects: &["Node"],
        asks: Some(SHARED_NODE),
        takes: Takes::Nothing,
        inverse: Some(A::CordonNode),
        ..Entry::of(A::UncordonNode, "uncordon_node", "uncordon", Kubernetes)
    },
    Entry {
        objects: &["Node"],
        parameters: &[
            optional(
                "wait_between_seconds",
                SECONDS,
                "seconds between two evictions; default 5",
            ),
            optional(
                "max_instances",
                Shape::Integer {
                    least: 1,
                    most: 1_000,
                },
                "evict at most so many pods now; default all",
            ),
            optional(
                "delete_local_data",
                Shape::Flag,
                "evict pods whose emptyDir data will be lost",
            ),
            optional(
                "force",
                Shape::Flag,
                "evict pods that no controller makes again",
            ),
        ],
        risk: Severity::High,
        asks: Some("draining ends every pod of the node, whoever they belong to"),
        major: true,
        takes: Takes::Node,
        inverse: Some(A::UncordonNode),
        ..Entry::of(A::DrainNode, "drain_node", "drain", Kubernetes)
    },
    Entry {
        objects: SCALED,
        parameters: &[
            required("replicas", REPLICAS, "how many are wanted"),
            optional(
                "from",
                REPLICAS,
                "how many there must be now; refused if there are not",
            ),
        ],
        major: true,
        takes: Takes::Counted,
        rewrites: true,
        inverse: Some(A::Scale),
        ..Entry::of(A::Scale, "scale", "scale", Kubernetes)
    },
    Entry {
        objects: WORKLOADS,
        parameters: &[optional(
            "revision",
            Shape::Integer {
                least: 1,
                most: 1_000_000_000,
            },
            "which revision; default the one before",
        )],
        major: true,
        rewrites: true,
        inverse: Some(A::RolloutUndo),
        ..Entry::of(A::RolloutUndo, "rollout_undo", "roll back", Kubernetes)
    },
    Entry {
        objects: WORKLOADS,
        parameters: &[
            required("image", Shape::Image, "the image to run"),
            CONTAINER,
        ],
        risk: Severity::High,
        major: true,
        rewrites: true,
        inverse: Some(A::SetImage),
        ..Entry::of(A::SetImage, "set_image", "set the image of", Kubernetes)
    },
    Entry {
        objects: WORKLOADS,
        parameters: &[
            CONTAINER,
            optional("memory_limit", Shape::Limit, "memory limit"),
            optional("cpu_limit", Shape::Limit, "CPU limit"),
            optional("memory_request", Shape::Limit, "memory request"),
            optional("cpu_request", Shape::Limit, "CPU request"),
        ],
        major: true,
        rewrites: true,
        inverse: Some(A::PatchResources),
        ..Entry::of(
            A::PatchResources,
            "patch_resources",
            "change the resources of",
            Kubernetes,
        )
    },
    Entry {
        objects: WORKLOADS,
        parameters: &[
            CONTAINER,
            required(
                "probe",
                Shape::Choice(&["liveness", "readiness", "startup"]),
                "which probe",
            ),
            optional("initial_delay_seconds", SECONDS, "before the first probe"),
            optional(
                "period_seconds",
                Shape::Integer {
                    least: 1,
                    most: 3_600,
                },
                "between two probes",
            ),
            optional(
                "timeout_seconds",
                Shape::Integer {
                    least: 1,
                    most: 3_600,
                },
                "for one probe",
            ),
            optional(
                "failure_threshold",
                Shape::Integer {
                    least: 1,
                    most: 1_000,
                },
                "failures in a row that count",
            ),
        ],
        major: true,
        rewrites: true,
        inverse: Some(A::PatchProbes),
        ..Entry::of(
            A::PatchProbes,
            "patch_probes",
            "change a probe of",
            Kubernetes,
        )
    },
    Entry {
        objects: &["Job"],
        risk: Severity::Critical,
        asks: Some("deleting a Job ends its pods, and their logs go with them"),
        major: true,
        ..Entry::of(A::DeleteJob, "delete_job", "delete", Kubernetes)
    },
    Entry {
        objects: &["Pod"],
        parameters: &[
            optional(
                "service",
                Shape::Name,
                "which Service; needed where several select the pod",
            ),
            optional(
                "let_go",
                Shape::Flag,
                "allow that its controller lets go of the pod and makes another",
            ),
        ],
        risk: Severity::High,
        asks: Some(TRAFFIC),
        takes: Takes::Instance,
        inverse: Some(A::PutIntoTraffic),
        ..Entry::of(
            A::TakeOutOfTraffic,
            "take_out_of_traffic",
            "take out of traffic",
            Kubernetes,
        )
    },
    Entry {
        objects: &["Pod"],
        asks: Some(TRAFFIC),
        takes: Takes::Nothing,
        inverse: Some(A::TakeOutOfTraffic),
        ..Entry::of(
            A::PutIntoTraffic,
            "put_into_traffic",
            "put back into traffic",
            Kubernetes,
        )
    },
    Entry {
        objects: &["Pod"],
        parameters: &[
            required(
                "diagnostic",
                Shape::Text { most: 63 },
                "which: stack_dump, process_list, gpu_list, gpu_query, disk_usage, memory, or one of section `diagnostics`",
            ),
            CONTAINER,
        ],
        risk: Severity::Low,
        takes: Takes::Nothing,
        ..Entry::of(
            A::RunDiagnostic,
            "run_diagnostic",
            "run a diagnostic in",
            Kubernetes,
        )
    },
];
