//! What exporters measured of the job's GPUs, and the state of its volumes, as hits. Pure.

use jiff::SignedDuration;

use super::hit::{Hit, Tier};
use super::knowledge::Knowledge;
use super::measured::{GpuErrorKind, GpuFact, MemoryFact, Throttle};
use super::standing::{deaths, is_starting, is_unscheduled};
use super::surroundings::{Claim, QuotaKind};
use super::{ContainerLog, Evidence};

/// The source of what is concluded from numbers: less sure than what somebody states.
pub(super) const MEASURED: &str = "metrics";

/// A container this near to its limit, as the last samples before its end have it, was at it: they are up to a minute
/// old, and the kernel frees what it can before it kills.
const AT_LIMIT: f64 = 0.95;
/// The samples that count before an end.
const BEFORE: SignedDuration = SignedDuration::from_mins(5);

/// Hits of facts that are numbers, not texts.
pub(super) fn hits(evidence: &Evidence, knowledge: &Knowledge) -> Vec<Hit> {
    let mut hits = Vec::new();
    for gpu in &evidence.measured.gpus {
        hits.extend(of_gpu(gpu, knowledge));
    }
    for memory in &evidence.measured.memory {
        hits.extend(of_memory(memory, evidence, knowledge));
    }
    for claim in &evidence.surroundings.claims {
        hits.extend(of_claim(claim, evidence, knowledge));
    }
    hits.extend(of_quotas(evidence, knowledge));
    hits
}

/// A container that stood at its memory limit when something killed it, though nobody says that memory was why.
fn of_memory(memory: &MemoryFact, evidence: &Evidence, knowledge: &Knowledge) -> Option<Hit> {
    let limit = memory.limit.filter(|limit| *limit > 0.0)?;
    let death = deaths(evidence).into_iter().find(|death| {
        death.pod.name == memory.pod
            && *death.container.name == *memory.container
            && death.end.reason.as_deref() != Some("OOMKilled")
    })?;
    let ended = death.at()?;
    let killed = death.end.exit_code == 137;
    // A worker that was killed leaves its parent to end with an error of its own.
    if !killed
        && !evidence
            .logs
            .iter()
            .any(|log| log.pod == memory.pod && tells_of_a_kill(log))
    {
        return None;
    }
    let peak = memory
        .working_set
        .iter()
        .filter(|reading| {
            let before = ended.duration_since(reading.at);
            before >= SignedDuration::ZERO && before <= BEFORE
        })
        .map(|reading| reading.value)
        .reduce(f64::max)?;
    if peak < AT_LIMIT * limit {
        return None;
    }
    let failure = knowledge.index(if killed { "host_oom" } else { "host_oom_child" })?;
    let line = format!(
        "container {} used {} of its memory limit of {} before it was killed",
        memory.container,
        bytes(peak),
        bytes(limit)
    );
    Some(Hit {
        pod: Some(memory.pod.clone()),
        container: Some(memory.container.clone()),
        node: death.pod.node.clone(),
        at: Some(ended),
        ..hit(failure, Tier::State, MEASURED, line)
    })
}

fn tells_of_a_kill(log: &ContainerLog) -> bool {
    /// A kill is the last thing that a log tells.
    const LINES: usize = 200;
    log.lines.iter().rev().take(LINES).any(|line| {
        let text = line.text.as_str();
        text.contains("SIGKILL")
            || text.contains("exitcode: -9")
            || text.contains("exitcode  : -9")
            || text.contains("killed by signal: Killed")
            || text.trim() == "Killed"
    })
}

fn bytes(value: f64) -> String {
    let gib = value / f64::from(1 << 30);
    if gib >= 1.0 {
        format!("{gib:.1} GiB")
    } else {
        format!("{:.0} MiB", value / f64::from(1 << 20))
    }
}

/// A volume claim that keeps the pods from starting, or that is no more.
fn of_claim(claim: &Claim, evidence: &Evidence, knowledge: &Knowledge) -> Option<Hit> {
    let starts = evidence
        .pods
        .iter()
        .find(|pod| is_starting(pod) && pod.claims.contains(&claim.name));
    let class = claim
        .storage_class
        .as_deref()
        .map_or_else(String::new, |class| format!(", of storage class {class}"));
    let (id, line) = match (claim.phase.as_str(), starts) {
        ("Lost", _) => ("pvc_lost", format!("volume claim {} is Lost", claim.name)),
        ("NotFound", Some(_)) => (
            "pvc_lost",
            format!("volume claim {} does not exist", claim.name),
        ),
        (_, Some(_)) if claim.deleting.is_some() => (
            "pvc_lost",
            format!("volume claim {} is being deleted", claim.name),
        ),
        // A volume that is made where its pod goes waits for the pod, not the pod for it.
        ("Pending", Some(pod)) if pod.node.is_some() => (
            "pvc_pending",
            format!("volume claim {} is Pending{class}", claim.name),
        ),
        (_, _) => return None,
    };
    Some(Hit {
        pod: starts.map(|pod| pod.name.clone()),
        ..hit(knowledge.index(id)?, Tier::State, "status", line)
    })
}

/// A quota that is used up, where the job has fewer pods than it should and nobody says why any more.
fn of_quotas(evidence: &Evidence, knowledge: &Knowledge) -> Vec<Hit> {
    let short = evidence.controllers.iter().any(|controller| {
        !controller.suspended && (controller.desired as usize) > evidence.pods.len()
    }) && !evidence.pods_unread;
    let waits = evidence.pods.iter().any(is_unscheduled);
    let asks_gpus = evidence.pods.is_empty() || evidence.pods.iter().any(|pod| pod.gpus > 0.0);
    let mut hits = Vec::new();
    for quota in &evidence.surroundings.quotas {
        let (Some(used), Some(limit)) = (quota.used, quota.limit) else {
            continue;
        };
        if used < limit {
            continue;
        }
        let id = match quota.kind {
            QuotaKind::ResourceQuota if short => "resource_quota_exceeded",
            QuotaKind::KaiQueue if waits && asks_gpus && quota.resource == "gpu" => "over_limit",
            QuotaKind::ResourceQuota | QuotaKind::KaiQueue | QuotaKind::KueueClusterQueue => {
                continue;
            }
        };
        if let Some(failure) = knowledge.index(id) {
            let line = quota.told();
            hits.push(hit(failure, Tier::State, MEASURED, line));
        }
    }
    hits
}

fn of_gpu(gpu: &GpuFact, knowledge: &Knowledge) -> Vec<Hit> {
    let name = format!(
        "GPU {} of node {}",
        gpu.index.as_deref().unwrap_or("?"),
        gpu.node.as_deref().unwrap_or("?")
    );
    let placed = |failure: usize, line: String| Hit {
        pod: gpu.pod.clone(),
        container: gpu.container.clone(),
        node: gpu.node.clone(),
        ..hit(failure, Tier::Node, "node", line)
    };
    let mut hits = Vec::new();
    if let Some(xid) = gpu.xid
        && let Some(failure) = knowledge.xid(xid.code)
    {
        let line = format!("{name} reported Xid {} (DCGM)", xid.code);
        hits.push(Hit {
            at: xid.fresh.then_some(xid.seen),
            // The gauge keeps an old Xid, and a GPU that no label gives to a pod may be another job's.
            weak: !xid.fresh || gpu.pod.is_none(),
            ..placed(failure, line)
        });
    }
    for errors in &gpu.errors {
        let id = match errors.kind {
            GpuErrorKind::DoubleBit => "ecc_uncorrectable",
            GpuErrorKind::Nvlink => "xid_74",
            GpuErrorKind::PcieReplay => "pcie_degraded",
            GpuErrorKind::SingleBit
            | GpuErrorKind::RemapFailure
            | GpuErrorKind::RemapPending
            | GpuErrorKind::RowsRemappedUncorrectable
            | GpuErrorKind::RowsRemappedCorrectable
            | GpuErrorKind::PagesRetired => continue,
        };
        if let Some(failure) = knowledge.index(id).filter(|_| errors.growth > 0.0) {
            let line = format!(
                "{name} counted {} {} (DCGM)",
                errors.growth,
                match errors.kind {
                    GpuErrorKind::DoubleBit => "uncorrectable ECC errors",
                    GpuErrorKind::Nvlink => "NVLink errors",
                    _ => "PCIe replays",
                }
            );
            hits.push(Hit {
                at: errors.grew,
                // Links and buses repeat what went wrong; only memory that cannot be corrected ends a job.
                weak: errors.kind != GpuErrorKind::DoubleBit || gpu.pod.is_none(),
                ..placed(failure, line)
            });
        }
    }
    let held_down = gpu.throttled.iter().any(|reason| {
        matches!(
            reason,
            Throttle::HardwareSlowdown | Throttle::HardwareThermal | Throttle::PowerBrake
        )
    });
    if let Some(failure) = knowledge.index("gpu_throttled").filter(|_| held_down) {
        let heat = gpu
            .temperature
            .map_or_else(String::new, |heat| format!(", at up to {heat} °C"));
        hits.push(Hit {
            weak: true,
            ..placed(failure, format!("{name} held its clocks down{heat} (DCGM)"))
        });
    }
    hits
}

fn hit(failure: usize, tier: Tier, source: &'static str, line: String) -> Hit {
    Hit {
        failure,
        tier,
        source,
        pod: None,
        container: None,
        node: None,
        at: None,
        order: 0,
        rank: None,
        line,
        weak: false,
        fatal: false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnose::analyze;
    use crate::diagnose::measured::{GpuErrors, XidReading};
    use crate::diagnose::tests::{Scene, at};

    fn with(gpu: GpuFact) -> Evidence {
        let mut evidence = Scene::new("train")
            .pod("train-0", |pod| pod.exited(1, "Error", 900))
            .failed_job("BackoffLimitExceeded")
            .evidence();
        evidence.pods[0].gpus = 1.0;
        evidence.measured.gpus = vec![GpuFact {
            node: Some("gpu-1".to_owned()),
            pod: Some("train-0".to_owned()),
            index: Some("3".to_owned()),
            tells_health: true,
            ..gpu
        }];
        evidence
    }

    #[test]
    fn an_xid_of_the_jobs_own_gpu_is_the_cause() {
        let evidence = with(GpuFact {
            xid: Some(XidReading {
                code: 79,
                seen: at(890),
                fresh: true,
            }),
            ..GpuFact::default()
        });
        let diagnosis = analyze(&evidence, &Knowledge::embedded());
        assert_eq!(diagnosis.findings[0].cause, "xid_79", "{diagnosis:#?}");
        assert!(
            diagnosis.findings[0].evidence[0]
                .line
                .contains("GPU 3 of node gpu-1"),
            "{diagnosis:#?}"
        );
        assert!(
            !diagnosis
                .missing_evidence
                .join(" ")
                .contains("GPU health is unknown"),
            "{diagnosis:#?}"
        );
    }

    #[test]
    fn an_old_xid_and_a_healthy_gpu_are_no_cause() {
        let evidence = with(GpuFact {
            xid: Some(XidReading {
                code: 79,
                seen: at(0),
                fresh: false,
            }),
            errors: vec![GpuErrors {
                kind: GpuErrorKind::DoubleBit,
                total: 4.0,
                growth: 0.0,
                grew: None,
            }],
            ..GpuFact::default()
        });
        let diagnosis = analyze(&evidence, &Knowledge::embedded());
        assert_ne!(diagnosis.findings[0].cause, "xid_79", "{diagnosis:#?}");
        assert_ne!(
            diagnosis.findings[0].cause, "ecc_uncorrectable",
            "{diagnosis:#?}"
        );
    }
}
