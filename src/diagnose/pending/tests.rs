use super::*;
use crate::diagnose::capacity::{Capacity, Closed, Holder, Room};
use crate::diagnose::tests::Scene;

/// The kinds of a message in short, most nodes first.
fn kinds(text: &str) -> String {
    let message = message::read(text);
    let mut words: Vec<String> = message
        .obstacles
        .iter()
        .map(|obstacle| {
            let count = obstacle
                .nodes
                .map_or_else(|| "-".to_owned(), |count| count.to_string());
            let kind = match &obstacle.kind {
                Kind::Resource(resource) => resource.clone(),
                Kind::Taint(taint) => format!("taint {}", taint.as_deref().unwrap_or("?")),
                other => format!("{other:?}")
                    .split('(')
                    .next()
                    .unwrap_or_default()
                    .to_owned(),
            };
            format!("{count} {kind}")
        })
        .collect();
    if let Some((found, needed)) = message.gang {
        words.push(format!("gang {found}/{needed}"));
    }
    match message.quota {
        Some(message::Quota::NonPreemptible {
            requested,
            quota,
            allocated,
        }) => {
            words.push(format!("quota {requested} of {quota}, {allocated} taken"));
        }
        Some(message::Quota::Limit { limit, requested }) => {
            words.push(format!("limit {limit:?} asks {requested:?}"));
        }
        Some(message::Quota::Admission {
            resource,
            more,
            beyond,
            ..
        }) => {
            words.push(format!("admission {resource} {more:?} {beyond:?}"));
        }
        None => {}
    }
    if message.preemption_is_no_help {
        words.push("no victims".to_owned());
    }
    words.join("; ")
}

#[test]
fn schedulers_of_all_kinds_and_ages_are_understood() {
    for (text, expected) in [
        // The default scheduler, newest to oldest.
        (
            "0/2 nodes are available: 1 Insufficient nvidia.com/gpu, 1 node(s) had untolerated taint(s). no new claims to deallocate, preemption: 0/2 nodes are available: 2 Preemption is not helpful for scheduling.",
            "1 nvidia.com/gpu; 1 taint ?; no victims",
        ),
        (
            "0/1 nodes are available: 1 Insufficient nvidia.com/gpu. no new claims to deallocate, preemption: 0/1 nodes are available: 1 Preemption is not helpful for scheduling.",
            "1 nvidia.com/gpu; no victims",
        ),
        (
            "0/12 nodes are available: 4 Insufficient nvidia.com/gpu, 8 node(s) had untolerated taint {nvidia.com/gpu: present}. preemption: 0/12 nodes are available: 4 No preemption victims found for incoming pod, 8 Preemption is not helpful for scheduling.",
            "4 nvidia.com/gpu; 8 taint nvidia.com/gpu: present; no victims",
        ),
        (
            "0/12 nodes are available: 12 Insufficient nvidia.com/gpu. preemption: 0/12 nodes are available: 12 No preemption victims found for incoming pod..",
            "12 nvidia.com/gpu; no victims",
        ),
        (
            "0/5 nodes are available: 3 node(s) had untolerated taint {node-role.kubernetes.io/control-plane: }, 2 Insufficient amd.com/gpu.",
            "3 taint node-role.kubernetes.io/control-plane; 2 amd.com/gpu",
        ),
        (
            "0/4 nodes are available: 1 node(s) were unschedulable, 3 Insufficient nvidia.com/gpu.",
            "1 Cordoned; 3 nvidia.com/gpu",
        ),
        (
            "0/4 nodes are available: 1 node(s) had taint {node.kubernetes.io/unschedulable: }, that the pod didn't tolerate, 3 Insufficient nvidia.com/gpu.",
            "1 Cordoned; 3 nvidia.com/gpu",
        ),
        (
            "0/3 nodes are available: 1 node(s) had taint {node-role.kubernetes.io/master: }, that the pod didn't tolerate, 2 Insufficient cpu.",
            "1 taint node-role.kubernetes.io/master; 2 cpu",
        ),
        (
            "0/3 nodes are available: 3 node(s) had taints that the pod didn't tolerate.",
            "3 taint ?",
        ),
        (
            "0/3 nodes are available: 3 node(s) had untolerated taint {node.kubernetes.io/not-ready: }.",
            "3 NotReady",
        ),
        (
            "0/3 nodes are available: 1 node(s) had untolerated taint {node.kubernetes.io/unreachable: }, 2 Insufficient memory.",
            "1 NotReady; 2 memory",
        ),
        (
            "0/6 nodes are available: 6 node(s) didn't match Pod's node affinity/selector.",
            "6 Selector",
        ),
        (
            "0/6 nodes are available: 6 node(s) didn't match node selector.",
            "6 Selector",
        ),
        (
            "0/6 nodes are available: 2 node(s) didn't match Pod's node affinity, 4 Insufficient nvidia.com/gpu.",
            "2 Selector; 4 nvidia.com/gpu",
        ),
        (
            "0/6 nodes are available: 6 node(s) didn't match pod affinity rules.",
            "6 OtherPods",
        ),
        (
            "0/6 nodes are available: 6 node(s) didn't match pod anti-affinity rules.",
            "6 OtherPods",
        ),
        (
            "0/6 nodes are available: 6 node(s) didn't satisfy existing pods anti-affinity rules.",
            "6 OtherPods",
        ),
        (
            "0/6 nodes are available: 6 node(s) didn't match pod topology spread constraints (missing required label).",
            "6 OtherPods",
        ),
        (
            "0/6 nodes are available: 6 node(s) had volume node affinity conflict.",
            "6 VolumeElsewhere",
        ),
        (
            "0/6 nodes are available: 6 node(s) had no available volume zone.",
            "6 VolumeElsewhere",
        ),
        (
            "0/3 nodes are available: pod has unbound immediate PersistentVolumeClaims. preemption: 0/3 nodes are available: 3 Preemption is not helpful for scheduling.",
            "- VolumeUnbound; no victims",
        ),
        (
            "pod has unbound immediate PersistentVolumeClaims (repeated 2 times)",
            "- VolumeUnbound",
        ),
        (
            "0/3 nodes are available: persistentvolumeclaim \"data\" not found.",
            "- VolumeUnbound",
        ),
        (
            "0/3 nodes are available: 3 node(s) didn't find available persistent volumes to bind.",
            "3 VolumeUnbound",
        ),
        (
            "0/3 nodes are available: 3 node(s) exceed max volume count.",
            "3 VolumeCount",
        ),
        ("0/3 nodes are available: 3 Too many pods.", "3 pods"),
        (
            "0/3 nodes are available: 3 node(s) didn't have free ports for the requested pod ports.",
            "3 Ports",
        ),
        (
            "0/3 nodes are available: 3 Insufficient nvidia.com/mig-1g.5gb.",
            "3 nvidia.com/mig-1g.5gb",
        ),
        (
            "0/3 nodes are available: 3 Insufficient rdma/hca_shared_devices_a.",
            "3 rdma/hca_shared_devices_a",
        ),
        (
            "0/3 nodes are available: 3 Insufficient ephemeral-storage.",
            "3 ephemeral-storage",
        ),
        (
            "0/4 nodes are available: 4 cannot allocate all claims. preemption: 0/4 nodes are available: 4 Preemption is not helpful for scheduling.",
            "4 Claims; no victims",
        ),
        (
            "0/8 nodes are available: 2 Insufficient cpu, 3 Insufficient memory, 8 Insufficient nvidia.com/gpu.",
            "2 cpu; 3 memory; 8 nvidia.com/gpu",
        ),
        (
            "0/1 nodes is available: 1 Insufficient nvidia.com/gpu.",
            "1 nvidia.com/gpu",
        ),
        // KAI and Run:AI.
        (
            "0/3 nodes are available: 2 node(s) didn't have enough resources: GPUs, 1 node(s) didn't have enough resources: CPU cores.",
            "2 GPUs; 1 CPU cores",
        ),
        (
            "no nodes with enough resources were found for the pod: node(s) didn't have enough resources: GPUs",
            "- GPUs",
        ),
        (
            "node(s) didn't have enough resources: GPU memory.",
            "- GPU memory",
        ),
        (
            "Resources were found for 1 pods while 4 are required for gang scheduling. Additional pods cannot be scheduled due to: 3 node(s) didn't have enough resources: GPUs",
            "3 GPUs; gang 1/4",
        ),
        (
            "Non-preemptible workload is over quota. Workload requested 8 GPUs, but project quota is 16 GPUs, while 12 GPUs are already allocated for non-preemptible pods. Use a preemptible workload to go over quota.",
            "quota 8 of 16, 12 taken",
        ),
        (
            "nlp quota has reached the allowable limit of 32 GPUs. Workload requested 8 GPUs",
            "limit Some(32.0) asks Some(8.0)",
        ),
        (
            "nlp quota has reached the allowable limit",
            "limit None asks None",
        ),
        // Admission queues and gangs.
        (
            "couldn't assign flavors to pod set main: insufficient unused quota for nvidia.com/gpu in flavor a100, 8 more needed",
            "admission nvidia.com/gpu Some(8.0) None",
        ),
        (
            "couldn't assign flavors to pod set main: insufficient quota for nvidia.com/gpu in flavor a100, request > maximum capacity (16 > 8)",
            "admission nvidia.com/gpu None Some((16.0, 8.0))",
        ),
        (
            "3/4 tasks in gang unschedulable: pod group is not ready, 4 minAvailable, 1 Pipelined, 3 Unschedulable.",
            "gang 1/4",
        ),
        ("all is well", ""),
    ] {
        assert_eq!(kinds(text), expected, "{text}");
    }
}

#[test]
fn the_reason_that_counts_is_told_from_those_beside_it() {
    let both = ["insufficient_gpus", "placement_constraints"];
    for (text, dropped) in [
        (
            "0/12 nodes are available: 9 Insufficient nvidia.com/gpu, 3 node(s) had untolerated taint {node-role.kubernetes.io/control-plane: }.",
            "placement_constraints",
        ),
        (
            "0/12 nodes are available: 4 Insufficient nvidia.com/gpu, 8 node(s) had untolerated taint {nvidia.com/gpu: present}.",
            "insufficient_gpus",
        ),
        (
            "0/6 nodes are available: 1 Insufficient nvidia.com/gpu, 5 node(s) were unschedulable.",
            "insufficient_gpus",
        ),
    ] {
        assert_eq!(beside_the_point(&both, text), [dropped], "{text}");
    }
}

fn waiting() -> Evidence {
    Scene::new("train")
        .pod("train-0", |pod| pod.pending().gpus(8.0))
        .evidence()
}

fn room(node: &str, free: f64, closed: Option<Closed>) -> Room {
    Room {
        node: node.to_owned(),
        pool: None,
        gpus: 8.0,
        free,
        closed,
    }
}

#[test]
fn the_numbers_of_a_scheduler_become_a_sentence() {
    assert_eq!(
        explained(
            "0/12 nodes are available: 3 node(s) had untolerated taint {dedicated: infra}, 9 Insufficient nvidia.com/gpu. preemption: 0/12 nodes are available: 12 No preemption victims found.",
            &waiting()
        )
        .unwrap(),
        "Each waiting pod asks for 8 GPUs on one node; none of the 12 nodes can take it: 9 have too few free GPUs, 3 carry \
         the taint dedicated: infra that it does not tolerate."
    );
}

#[test]
fn what_is_free_and_who_holds_the_rest_is_said_and_what_would_help() {
    let text = "0/3 nodes are available: 3 Insufficient nvidia.com/gpu.";
    let mut evidence = waiting();
    let since = evidence
        .collected
        .checked_sub(jiff::SignedDuration::from_hours(5))
        .ok();
    evidence.capacity = Some(Capacity {
        nodes: vec![
            room("gpu-1", 4.0, None),
            room("gpu-2", 4.0, None),
            room("gpu-3", 0.0, None),
        ],
        holders: vec![Holder {
            job: "big-run".to_owned(),
            project: None,
            gpus: 8.0,
            since,
        }],
        project_holds: None,
        in_project: Vec::new(),
    });
    assert_eq!(
        explained(text, &evidence).unwrap(),
        "Each waiting pod asks for 8 GPUs on one node; none of the 3 nodes can take it: 3 have too few free GPUs; 8 of 24 GPUs \
         are free, at most 4 on one node; most are held by big-run (8 GPUs for 5 h)."
    );
    assert_eq!(
        unblocked(text, &evidence).unwrap(),
        "The free GPUs are spread over nodes: ask for at most 4 per pod, or free 4 more on one node; a restart will not help."
    );
    let capacity = evidence.capacity.as_mut().unwrap();
    capacity.nodes[0].free = 0.0;
    assert!(
        unblocked(text, &evidence)
            .unwrap()
            .starts_with("It starts when 4 GPUs more come free on one node")
    );
    let capacity = evidence.capacity.as_mut().unwrap();
    capacity.nodes[2] = room("gpu-3", 8.0, Some(Closed::Cordoned));
    assert!(
        unblocked(text, &evidence)
            .unwrap()
            .starts_with("Node gpu-3 has 8 GPUs free but is cordoned")
    );
    evidence.pods[0].gpus = 16.0;
    assert!(
        unblocked(text, &evidence)
            .unwrap()
            .starts_with("No node has 16 GPUs at all, the largest has 8")
    );
}

#[test]
fn quotas_are_told_with_what_is_missing() {
    let text = "Non-preemptible workload is over quota. Workload requested 8 GPUs, but project quota is 16 GPUs, while 12 GPUs are already allocated for non-preemptible pods.";
    assert_eq!(
        explained(text, &waiting()).unwrap(),
        "It asks for 8 GPUs; the project's quota is 16 GPUs, of which 12 are taken by non-preemptible work."
    );
    assert_eq!(
        unblocked(text, &waiting()).unwrap(),
        "Submit it as preemptible, free 4 GPUs of non-preemptible work in the project, or raise the project's quota from 16 to 20."
    );
}
