//! The wait in one sentence with its numbers, and what would end it. Pure.

use jiff::SignedDuration;

use super::message::{self, Kind, Message, Obstacle, Quota};
use crate::diagnose::Evidence;
use crate::diagnose::capacity::{Capacity, Closed, Holder};
use crate::diagnose::rules::spoken;
use crate::diagnose::standing::is_unscheduled;

/// Obstacles told in one sentence.
const TOLD: usize = 4;
/// Holders named in one sentence.
const NAMED: usize = 3;

/// What the waiting job asks for: pods, and GPUs of each.
fn asked(evidence: &Evidence) -> (usize, f64) {
    let waiting: Vec<f64> = evidence
        .pods
        .iter()
        .filter(|pod| is_unscheduled(pod))
        .map(|pod| pod.gpus)
        .collect();
    let most = waiting.iter().copied().fold(0.0, f64::max);
    (waiting.len(), most)
}

/// The wait in one sentence with its numbers, if there are any.
pub(in crate::diagnose) fn explained(text: &str, evidence: &Evidence) -> Option<String> {
    let message = message::read(text);
    let (pods, gpus) = asked(evidence);
    let mut parts: Vec<String> = Vec::new();
    match &message.quota {
        Some(Quota::NonPreemptible {
            requested,
            quota,
            allocated,
        }) => parts.push(format!(
            "it asks for {}; the project's quota is {}, of which {allocated} are taken by non-preemptible work",
            counted(*requested),
            counted(*quota)
        )),
        Some(Quota::Limit { limit, requested }) => {
            let asks = requested.map_or_else(String::new, |gpus| format!("it asks for {}; ", counted(gpus)));
            let limit = limit.map_or_else(String::new, |limit| format!(" of {}", counted(limit)));
            parts.push(format!("{asks}its project or department has reached its limit{limit}"));
        }
        Some(Quota::Admission {
            resource,
            flavor,
            more,
            beyond,
        }) => {
            let flavor = flavor.as_ref().map_or_else(String::new, |flavor| format!(" in flavor {flavor}"));
            let what = named(resource);
            parts.push(match (beyond, more) {
                (Some((asks, all)), _) => format!("it asks for {asks} {what}{flavor}, more than the {all} that its queue has at all"),
                (None, Some(more)) => format!("its queue lacks {more} {what}{flavor}"),
                (None, None) => format!("its queue has too little unused quota for {what}{flavor}"),
            });
        }
        None => {
            if gpus > 0.0 && !message.obstacles.is_empty() {
                let many = if pods > 1 {
                    format!("each of the {pods} waiting pods")
                } else {
                    "each waiting pod".to_owned()
                };
                parts.push(format!("{many} asks for {} on one node", counted(gpus)));
            }
            parts.extend(placing(&message));
        }
    }
    if let Some((found, needed)) = message.gang {
        parts.push(format!(
            "there is room for {found} of the {needed} pods that must start together"
        ));
    }
    let short = message.quota.is_some()
        || message
            .obstacles
            .iter()
            .any(|obstacle| is_gpu(&obstacle.kind));
    if let Some(capacity) = evidence.capacity.as_ref().filter(|_| short) {
        parts.extend(room(capacity, message.quota.is_some(), evidence));
    }
    if parts.is_empty() {
        return None;
    }
    let sentence = format!("{}.", parts.join("; "));
    let mut chars = sentence.chars();
    let first = chars.next()?;
    Some(first.to_uppercase().chain(chars).collect())
}

fn placing(message: &Message) -> Option<String> {
    let mut obstacles: Vec<&Obstacle> = message.obstacles.iter().collect();
    obstacles.sort_by_key(|obstacle| std::cmp::Reverse(obstacle.nodes));
    let words: Vec<String> = obstacles.into_iter().take(TOLD).map(in_words).collect();
    let take = match message.available {
        Some((0, 1)) => "the only node cannot take it".to_owned(),
        Some((0, all)) => format!("none of the {all} nodes can take it"),
        Some((free, all)) => format!("{free} of the {all} nodes could take it"),
        None if words.is_empty() => return None,
        None => "no node can take it".to_owned(),
    };
    Some(if words.is_empty() {
        take
    } else {
        format!("{take}: {}", words.join(", "))
    })
}

/// What is free and who holds the rest.
fn room(capacity: &Capacity, of_project: bool, evidence: &Evidence) -> Vec<String> {
    let mut parts = Vec::new();
    if of_project {
        if let (Some(held), Some(project)) = (capacity.project_holds, &evidence.project) {
            parts.push(format!("project {project} holds {}", counted(held)));
        }
    } else {
        let closed = capacity.closed();
        let closed = if closed > 0.0 {
            format!(", and {closed} more on nodes that take no work")
        } else {
            String::new()
        };
        parts.push(format!(
            "{} of {} GPUs are free, at most {} on one node{closed}",
            round(capacity.free()),
            round(capacity.all()),
            round(capacity.largest_block())
        ));
    }
    let holders = if of_project && !capacity.in_project.is_empty() {
        &capacity.in_project
    } else {
        &capacity.holders
    };
    if !holders.is_empty() {
        let named: Vec<String> = holders
            .iter()
            .take(NAMED)
            .map(|holder| held_by(holder, evidence))
            .collect();
        parts.push(format!("most are held by {}", named.join(", ")));
    }
    parts
}

fn held_by(holder: &Holder, evidence: &Evidence) -> String {
    let age = holder
        .since
        .map(|since| evidence.collected.duration_since(since))
        .filter(|age| *age > SignedDuration::ZERO)
        .map_or_else(String::new, |age| format!(" for {}", spoken(age)));
    format!("{} ({}{age})", holder.job, counted(holder.gpus))
}

/// What would end the wait, where the numbers tell.
pub(in crate::diagnose) fn unblocked(text: &str, evidence: &Evidence) -> Option<String> {
    let message = message::read(text);
    let (_, gpus) = asked(evidence);
    match &message.quota {
        Some(Quota::NonPreemptible {
            requested,
            quota,
            allocated,
        }) => {
            let short = (requested + allocated - quota).max(0.0);
            return Some(format!(
                "Submit it as preemptible, free {} of non-preemptible work in the project, or raise the project's quota from {} to {}.",
                counted(short),
                round(*quota),
                round(requested + allocated)
            ));
        }
        Some(Quota::Limit { .. }) => {
            let top = evidence
                .capacity
                .as_ref()
                .and_then(|capacity| capacity.in_project.first());
            let top = top.map_or_else(String::new, |holder| {
                format!(" ({} holds most)", held_by(holder, evidence))
            });
            return Some(format!(
                "Free GPUs in the project{top}, or have its limit raised."
            ));
        }
        Some(Quota::Admission {
            beyond: Some((_, all)),
            resource,
            ..
        }) => {
            return Some(format!(
                "Ask for at most {all} {}, or have the queue's quota raised: waiting alone will not help.",
                named(resource)
            ));
        }
        Some(Quota::Admission { .. }) => {
            return Some("It starts by itself when its queue has quota again; free some, or have the queue's quota raised.".to_owned());
        }
        None => {}
    }
    let lacks_gpus = message
        .obstacles
        .iter()
        .any(|obstacle| is_gpu(&obstacle.kind));
    // Where the GPU nodes are those that are tainted, room on the others is no help.
    let kept_off = message.obstacles.iter().any(
        |obstacle| matches!(&obstacle.kind, Kind::Taint(Some(taint)) if taint.contains("gpu")),
    );
    if lacks_gpus && !kept_off && gpus > 0.0 {
        return with_room(evidence.capacity.as_ref()?, gpus);
    }
    let most = message
        .obstacles
        .iter()
        .max_by_key(|obstacle| obstacle.nodes)
        .map(|obstacle| &obstacle.kind)?;
    match most {
        Kind::Taint(Some(taint)) => Some(format!(
            "Give its pods a toleration of the taint {taint}, or take the taint off a node."
        )),
        Kind::Cordoned => {
            Some("Uncordon a node that is well again, or wait until it is.".to_owned())
        }
        Kind::Selector => Some(
            "Correct its node selector or affinity so that a node matches it, or label a node."
                .to_owned(),
        ),
        Kind::Resource(resource) => Some(format!(
            "Ask for less {} per pod, or wait until a node has it free.",
            named(resource)
        )),
        Kind::Taint(None)
        | Kind::NotReady
        | Kind::OtherPods
        | Kind::Topology
        | Kind::VolumeElsewhere
        | Kind::VolumeUnbound
        | Kind::VolumeCount
        | Kind::Ports
        | Kind::Claims
        | Kind::Other(_) => None,
    }
}

/// What would make room for pods of `gpus` each.
fn with_room(capacity: &Capacity, gpus: f64) -> Option<String> {
    let (free, block) = (capacity.free(), capacity.largest_block());
    let biggest = capacity
        .nodes
        .iter()
        .map(|room| room.gpus)
        .fold(0.0, f64::max);
    if biggest < gpus {
        return Some(format!(
            "No node has {} at all, the largest has {}: ask for fewer per pod and for more pods.",
            counted(gpus),
            round(biggest)
        ));
    }
    if block >= gpus {
        return None;
    }
    let cordoned = capacity
        .nodes
        .iter()
        .find(|room| room.free >= gpus && room.closed == Some(Closed::Cordoned));
    if let Some(room) = cordoned {
        return Some(format!(
            "Node {} has {} free but is cordoned: uncordon it if it is well, or wait.",
            room.node,
            counted(room.free)
        ));
    }
    if free >= gpus {
        return Some(format!(
            "The free GPUs are spread over nodes: ask for at most {} per pod, or free {} more on one node; a restart will not help.",
            round(block),
            round(gpus - block)
        ));
    }
    Some(format!(
        "It starts when {} more come free on one node: wait, or end one of the jobs that hold them; a restart will not help.",
        counted(gpus - block)
    ))
}

fn is_gpu(kind: &Kind) -> bool {
    matches!(kind, Kind::Resource(resource) if named(resource) == "GPUs" || resource == "resources")
}

/// A resource as people call it.
fn named(resource: &str) -> &str {
    let low = resource.to_ascii_lowercase();
    if low.contains("gpu") && !low.contains("memory") {
        "GPUs"
    } else if low.contains("mig-") {
        "MIG slices"
    } else if low.contains("rdma") {
        "RDMA devices"
    } else {
        resource
    }
}

fn counted(gpus: f64) -> String {
    if (gpus - 1.0).abs() < f64::EPSILON {
        "1 GPU".to_owned()
    } else {
        format!("{} GPUs", round(gpus))
    }
}

/// Fractions of GPUs to two places.
fn round(gpus: f64) -> f64 {
    (gpus * 100.0).round() / 100.0
}

fn in_words(obstacle: &Obstacle) -> String {
    let Some(count) = obstacle.nodes else {
        return match &obstacle.kind {
            Kind::Resource(resource) if named(resource) == "GPUs" => {
                "too few GPUs are free".to_owned()
            }
            Kind::Resource(resource) => format!("too little {resource} is free"),
            Kind::VolumeUnbound => "its volume claim is not bound".to_owned(),
            Kind::Taint(_)
            | Kind::Cordoned
            | Kind::NotReady
            | Kind::Selector
            | Kind::OtherPods
            | Kind::Topology
            | Kind::VolumeElsewhere
            | Kind::VolumeCount
            | Kind::Ports
            | Kind::Claims => "its own requirements are not met".to_owned(),
            Kind::Other(words) => words.clone(),
        };
    };
    let many = count != 1;
    let (have, are, carry, fit) = if many {
        ("have", "are", "carry", "do not fit")
    } else {
        ("has", "is", "carries", "does not fit")
    };
    match &obstacle.kind {
        Kind::Resource(resource) => match named(resource) {
            "GPUs" => format!("{count} {have} too few free GPUs"),
            resource @ ("MIG slices" | "RDMA devices" | "pods") => {
                format!("{count} {have} too few free {resource}")
            }
            resource => format!("{count} {have} too little free {resource}"),
        },
        Kind::Taint(Some(taint)) => {
            format!("{count} {carry} the taint {taint} that it does not tolerate")
        }
        Kind::Taint(None) => format!("{count} {carry} a taint that it does not tolerate"),
        Kind::Cordoned => format!("{count} {are} cordoned"),
        Kind::NotReady => format!("{count} {are} not ready"),
        Kind::Selector => format!("{count} {fit} its selector or affinity"),
        Kind::OtherPods => format!("{count} {fit} its rules about other pods"),
        Kind::Topology => format!("{count} {fit} the topology it asks for"),
        Kind::VolumeElsewhere => format!("{count} cannot reach its volume"),
        Kind::VolumeUnbound => format!("{count} {have} no volume for its claim"),
        Kind::VolumeCount => format!("{count} {have} as many volumes as they may"),
        Kind::Ports => format!("{count} {have} its port in use"),
        Kind::Claims => format!("{count} cannot give the devices that it claims"),
        Kind::Other(words) => format!("{count} {words}"),
    }
}
