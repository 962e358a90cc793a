//! What exporters measured of the job's GPUs, and the state of its volumes, as hits. Pure.

use super::Evidence;
use super::hit::{Hit, Tier};
use super::knowledge::Knowledge;
use super::measured::{GpuErrorKind, GpuFact, Throttle};

/// Hits of facts that are numbers, not texts.
pub(super) fn hits(evidence: &Evidence, knowledge: &Knowledge) -> Vec<Hit> {
    let mut hits = Vec::new();
    for gpu in &evidence.measured.gpus {
        hits.extend(of_gpu(gpu, knowledge));
    }
    for claim in &evidence.surroundings.claims {
        if claim.phase == "Lost"
            && let Some(failure) = knowledge.index("pvc_lost")
        {
            let line = format!("volume claim {} is Lost", claim.name);
            hits.push(hit(failure, Tier::State, "status", line));
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
