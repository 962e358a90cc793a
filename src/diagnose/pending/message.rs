//! What schedulers say of why a pod waits, as counts and kinds: the default scheduler in its old and new words, KAI and
//! Run:AI, Kueue, Volcano. Pure.

use std::sync::LazyLock;

use regex::Regex;

/// One obstacle, and on how many nodes it stands; `None` where it concerns the pod itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::diagnose) struct Obstacle {
    pub(in crate::diagnose) nodes: Option<u32>,
    pub(in crate::diagnose) kind: Kind,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::diagnose) enum Kind {
    /// Too little of a resource is free, as the scheduler names it.
    Resource(String),
    /// A taint, as `key: value`, where it is named.
    Taint(Option<String>),
    Cordoned,
    NotReady,
    /// Node selector or node affinity.
    Selector,
    /// Affinity or anti-affinity to other pods, or spreading.
    OtherPods,
    Topology,
    VolumeElsewhere,
    VolumeUnbound,
    VolumeCount,
    Ports,
    /// Dynamic resource claims.
    Claims,
    Other(String),
}

/// A scheduler's message.
#[derive(Clone, Debug, Default, PartialEq)]
pub(in crate::diagnose) struct Message {
    /// Nodes that would do, of all.
    pub(in crate::diagnose) available: Option<(u32, u32)>,
    pub(in crate::diagnose) obstacles: Vec<Obstacle>,
    /// Nothing would be gained by evicting others.
    pub(in crate::diagnose) preemption_is_no_help: bool,
    pub(in crate::diagnose) quota: Option<Quota>,
    /// Pods for which there is room, and pods that must start together.
    pub(in crate::diagnose) gang: Option<(u32, u32)>,
}

/// What a queue allows.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::diagnose) enum Quota {
    /// Non-preemptible work: asked for, deserved, taken; in GPUs.
    NonPreemptible {
        requested: f64,
        quota: f64,
        allocated: f64,
    },
    /// A hard limit in GPUs, and what is asked for.
    Limit {
        limit: Option<f64>,
        requested: Option<f64>,
    },
    /// An admission queue lacks so much of a resource.
    Admission {
        resource: String,
        flavor: Option<String>,
        more: Option<f64>,
        /// More than the queue has at all: asked for, and its capacity.
        beyond: Option<(f64, f64)>,
    },
}

macro_rules! pattern {
    ($name:ident, $re:literal) => {
        static $name: LazyLock<Regex> =
            LazyLock::new(|| Regex::new($re).expect("a constant that the tests compile"));
    };
}

pattern!(
    AVAILABLE,
    r"(?i)\b(\d+)/(\d+) nodes? (?:are|is) (?:available|unavailable)"
);
pattern!(
    PART,
    r"(?i)(\d+) ((?:node\(s\) |Insufficient |Too many |cannot allocate )(?:\{[^}]*\}|\.\S|[^,.;{])*)"
);
pattern!(
    NON_PREEMPTIBLE,
    r"(?is)requested (\d+(?:\.\d+)?) GPUs?.*?quota is (\d+(?:\.\d+)?) GPUs?.*?(\d+(?:\.\d+)?) GPUs? are already allocated"
);
pattern!(
    LIMIT,
    r"(?i)quota has reached the allowable limit(?: of (\d+(?:\.\d+)?))?"
);
pattern!(REQUESTED, r"(?i)requested (\d+(?:\.\d+)?) GPU");
pattern!(
    GANG_FOUND,
    r"(?i)resources were found for (\d+) pods? while (\d+) are required"
);
pattern!(GANG_VOLCANO, r"(?i)(\d+)/(\d+) tasks in gang unschedulable");
pattern!(GANG_AVAILABLE, r"(?i)(\d+) minAvailable");
pattern!(
    KUEUE_MORE,
    r"(?i)insufficient (?:unused )?quota for ([\w./-]+) in flavor ([\w.-]+)(?:, ([\d.]+) more needed)?"
);
pattern!(
    KUEUE_BEYOND,
    r"(?i)insufficient quota for ([\w./-]+) in flavor ([\w.-]+), (?:previously considered podsets requests \([^)]*\) \+ current podset )?request >? ?\(?maximum capacity \(([\d.]+) > ([\d.]+)\)|request > maximum capacity \(([\d.]+) > ([\d.]+)\)"
);
pattern!(
    KAI_RESOURCES,
    r"(?i)didn.t have enough resources?:?\s*([\w ,/.-]*)"
);

/// Reads a message. What it does not know is kept as words.
pub(in crate::diagnose) fn read(text: &str) -> Message {
    let mut message = Message::default();
    let number = |text: &str| text.parse::<f64>().ok();
    if let Some(found) = AVAILABLE.captures(text)
        && let (Ok(free), Ok(all)) = (found[1].parse(), found[2].parse())
    {
        message.available = Some((free, all));
    }
    let (placing, preemption) = match text.split_once("preemption:") {
        Some((placing, preemption)) => (placing, Some(preemption)),
        None => (text, None),
    };
    message.preemption_is_no_help = preemption.is_some_and(|preemption| {
        preemption.contains("No preemption victims") || preemption.contains("not helpful")
    });
    for found in PART.captures_iter(placing) {
        message.obstacles.push(Obstacle {
            nodes: found[1].parse().ok(),
            kind: kind(found[2].trim()),
        });
    }
    let low = placing.to_ascii_lowercase();
    if low.contains("unbound immediate persistentvolumeclaim")
        || (low.contains("persistentvolumeclaim") && low.contains("not found"))
    {
        message.obstacles.push(Obstacle {
            nodes: None,
            kind: Kind::VolumeUnbound,
        });
    }
    if message.obstacles.is_empty()
        && let Some(found) = KAI_RESOURCES.captures(placing)
    {
        let what = found[1].trim().trim_end_matches('.');
        let what = if what.is_empty() { "resources" } else { what };
        message.obstacles.push(Obstacle {
            nodes: None,
            kind: Kind::Resource(what.to_owned()),
        });
    }
    message.gang = gang(text);
    message.quota = if let Some(found) = NON_PREEMPTIBLE.captures(text) {
        match (number(&found[1]), number(&found[2]), number(&found[3])) {
            (Some(requested), Some(quota), Some(allocated)) => Some(Quota::NonPreemptible {
                requested,
                quota,
                allocated,
            }),
            (Some(_) | None, Some(_) | None, Some(_) | None) => None,
        }
    } else if let Some(found) = LIMIT.captures(text) {
        Some(Quota::Limit {
            limit: found.get(1).and_then(|limit| number(limit.as_str())),
            requested: REQUESTED.captures(text).and_then(|found| number(&found[1])),
        })
    } else {
        KUEUE_MORE.captures(text).map(|found| Quota::Admission {
            resource: found[1].to_owned(),
            flavor: Some(found[2].to_owned()),
            more: found.get(3).and_then(|more| number(more.as_str())),
            beyond: KUEUE_BEYOND.captures(text).and_then(|beyond| {
                let of = |a, b| {
                    Some((
                        number(beyond.get(a)?.as_str())?,
                        number(beyond.get(b)?.as_str())?,
                    ))
                };
                of(3, 4).or_else(|| of(5, 6))
            }),
        })
    };
    message
}

fn gang(text: &str) -> Option<(u32, u32)> {
    if let Some(found) = GANG_FOUND.captures(text) {
        return Some((found[1].parse().ok()?, found[2].parse().ok()?));
    }
    let found = GANG_VOLCANO.captures(text)?;
    let (stuck, all): (u32, u32) = (found[1].parse().ok()?, found[2].parse().ok()?);
    let least = GANG_AVAILABLE
        .captures(text)
        .and_then(|found| found[1].parse().ok());
    Some((all.saturating_sub(stuck), least.unwrap_or(all)))
}

fn kind(part: &str) -> Kind {
    let low = part.to_ascii_lowercase();
    if let Some(resource) = low.strip_prefix("insufficient ") {
        return Kind::Resource(resource.trim().to_owned());
    }
    if let Some(found) = KAI_RESOURCES.captures(part) {
        let what = found[1].trim();
        return Kind::Resource(if what.is_empty() { "resources" } else { what }.to_owned());
    }
    if low.starts_with("too many pods") {
        return Kind::Resource("pods".to_owned());
    }
    if low.contains("taint") {
        let taint = part
            .split_once('{')
            .and_then(|(_, rest)| rest.split('}').next());
        let taint = taint.map(|taint| taint.trim().trim_end_matches(':').trim().to_owned());
        // Cordoning and a silent kubelet show as taints in older words.
        return match taint.as_deref() {
            Some(taint) if taint.starts_with("node.kubernetes.io/unschedulable") => Kind::Cordoned,
            Some(taint)
                if taint.starts_with("node.kubernetes.io/not-ready")
                    || taint.starts_with("node.kubernetes.io/unreachable") =>
            {
                Kind::NotReady
            }
            Some(_) | None => Kind::Taint(taint),
        };
    }
    let has = |word: &str| low.contains(word);
    if has("unschedulable") || has("cordon") {
        Kind::Cordoned
    } else if has("not ready") || has("unreachable") {
        Kind::NotReady
    } else if has("volume node affinity") || has("no available volume zone") {
        Kind::VolumeElsewhere
    } else if has("max volume count") {
        Kind::VolumeCount
    } else if has("persistent volume") || has("persistentvolume") {
        Kind::VolumeUnbound
    } else if has("topology spread") || has("pod affinity") || has("anti-affinity") {
        Kind::OtherPods
    } else if has("affinity") || has("selector") || has("node pool") || has("nodepool") {
        Kind::Selector
    } else if has("topology") {
        Kind::Topology
    } else if has("free ports") {
        Kind::Ports
    } else if has("claim") {
        Kind::Claims
    } else {
        Kind::Other(part.trim_start_matches("node(s) ").to_owned())
    }
}

impl Message {
    /// How many nodes stand against the pod for reasons of one kind.
    pub(in crate::diagnose) fn nodes(&self, of: impl Fn(&Kind) -> bool) -> u32 {
        let fit = self.obstacles.iter().filter(|obstacle| of(&obstacle.kind));
        fit.filter_map(|obstacle| obstacle.nodes).sum()
    }
}
