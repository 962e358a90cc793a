//! What the DCGM exporter, cAdvisor and kube-state-metrics tell about the GPUs and containers of one job, and of no
//! other. Knows both ways in which the exporter's labels reach the server.

use std::collections::BTreeMap;

use futures_util::future::join_all;
use jiff::{SignedDuration, Timestamp};

use super::{MetricsError, Point, Prometheus, Series, Window, any_of, quoted};
use crate::diagnose::measured::{
    GpuErrorKind, GpuErrors, GpuFact, Measured, MemoryFact, Reading, Throttle, XidReading,
};

/// How far back use is read: enough to see it fall.
const USE: SignedDuration = SignedDuration::from_mins(15);
/// How far back health is read: an Xid may come some minutes before a rank is missed by the others.
const HEALTH: SignedDuration = SignedDuration::from_hours(1);
/// Seconds between two values.
const STEP: u32 = 30;
/// More pods are not asked about: those that matter come first.
pub const MOST_PODS: usize = 64;

/// Labels that name a GPU's node. The last is an address, of which the part before the port counts.
const NODE_LABELS: [&str; 5] = [
    "Hostname",
    "node",
    "exported_node",
    "kubernetes_node",
    "instance",
];
/// Pairs of labels that name the pod that uses a GPU and its namespace. Where the server keeps its own labels, `pod` is
/// the exporter's.
const POD_LABELS: [(&str, &str); 3] = [
    ("exported_pod", "exported_namespace"),
    ("pod", "namespace"),
    ("pod_name", "pod_namespace"),
];

/// Gauges of use.
const USE_METRICS: &str = "DCGM_FI_DEV_(GPU_UTIL|FB_USED|FB_FREE|GPU_TEMP|POWER_USAGE|CLOCK_THROTTLE_REASONS|CLOCKS_EVENT_REASONS)|DCGM_FI_PROF_GR_ENGINE_ACTIVE";
/// Gauges and counters of health.
const HEALTH_METRICS: &str = "DCGM_FI_DEV_(XID_ERRORS|ECC_(SBE|DBE)_(VOL|AGG)_TOTAL|RETIRED_(SBE|DBE|PENDING)|(UN)?CORRECTABLE_REMAPPED_ROWS|ROW_REMAP_(FAILURE|PENDING)|NVLINK_.*ERROR_COUNT_TOTAL|PCIE_REPLAY_COUNTER)";

/// What is asked about.
#[derive(Clone, Debug)]
pub struct Scope<'a> {
    pub namespace: &'a str,
    /// The pods that matter first; [`MOST_PODS`] of them are asked about.
    pub pods: Vec<&'a str>,
    pub nodes: Vec<&'a str>,
    /// The job holds GPUs, so that they are asked about.
    pub gpus: bool,
    /// When it failed, or now.
    pub until: Timestamp,
}

/// The measurements around `scope.until`, and in sentences what could not be had.
pub async fn of_job(prometheus: &Prometheus, scope: &Scope<'_>) -> (Measured, Vec<String>) {
    let (gpus, memory) = tokio::join!(of_gpus(prometheus, scope), of_memory(prometheus, scope));
    let mut missing = Vec::new();
    let measured = Measured {
        gpus: told("The metrics of the GPUs", gpus, &mut missing),
        memory: told(
            "The metrics of the containers' memory",
            memory,
            &mut missing,
        ),
    };
    (measured, missing)
}

/// What was found, with a sentence about what was not.
fn told<T>(
    about: &str,
    outcome: Result<(Vec<T>, Vec<String>), MetricsError>,
    missing: &mut Vec<String>,
) -> Vec<T> {
    match outcome {
        Ok((found, warnings)) => {
            missing.extend(
                warnings
                    .first()
                    .map(|warning| format!("{about} may be incomplete: {warning}.")),
            );
            found
        }
        Err(error) => {
            missing.push(format!("{about} could not be read: {}.", error.told()));
            Vec::new()
        }
    }
}

/// The GPUs of the job: those that a label gives to its pods, and on nodes where no label does, all of them.
pub async fn of_gpus(
    prometheus: &Prometheus,
    scope: &Scope<'_>,
) -> Result<(Vec<GpuFact>, Vec<String>), MetricsError> {
    if !scope.gpus {
        return Ok((Vec::new(), Vec::new()));
    }
    let pods: Vec<&str> = scope.pods.iter().take(MOST_PODS).copied().collect();
    let uses = Window::before(scope.until, USE, STEP);
    let health = Window::before(scope.until, HEALTH, STEP * 2);
    let mut queries = Vec::new();
    if !pods.is_empty() {
        for (pod, namespace) in POD_LABELS {
            for (metrics, window) in [(USE_METRICS, uses), (HEALTH_METRICS, health)] {
                let query = format!(
                    "{{__name__=~{},{namespace}={},{pod}=~{}}}",
                    quoted(metrics),
                    quoted(scope.namespace),
                    any_of(pods.iter().copied()),
                );
                queries.push((query, window));
            }
        }
    }
    if !scope.nodes.is_empty() {
        for label in ["Hostname", "node", "kubernetes_node"] {
            let query = format!(
                "{{__name__=~{},{label}=~{}}}",
                quoted(HEALTH_METRICS),
                any_of(scope.nodes.iter().copied()),
            );
            queries.push((query, health));
        }
    }
    let (series, warnings) = all(prometheus, &queries).await?;
    Ok((gpu_facts(series, scope), warnings))
}

/// The working sets of the job's containers with their limits.
pub async fn of_memory(
    prometheus: &Prometheus,
    scope: &Scope<'_>,
) -> Result<(Vec<MemoryFact>, Vec<String>), MetricsError> {
    let pods: Vec<&str> = scope.pods.iter().take(MOST_PODS).copied().collect();
    if pods.is_empty() {
        return Ok((Vec::new(), Vec::new()));
    }
    let (namespace, names) = (quoted(scope.namespace), any_of(pods));
    let window = Window::before(scope.until, USE, STEP);
    let queries = [
        format!(
            "container_memory_working_set_bytes{{namespace={namespace},pod=~{names},container!=\"\",container!=\"POD\"}}"
        ),
        format!(
            "{{__name__=~\"kube_pod_container_resource_limits(_memory_bytes)?|container_spec_memory_limit_bytes\",namespace={namespace},pod=~{names},container!=\"\",container!=\"POD\",resource=~\"|memory\"}}"
        ),
    ]
    .map(|query| (query, window));
    let (series, warnings) = all(prometheus, &queries).await?;
    Ok((memory_facts(series), warnings))
}

/// Asks at once; the first failure is the answer, for the queries are of one kind.
async fn all(
    prometheus: &Prometheus,
    queries: &[(String, Window)],
) -> Result<(Vec<Series>, Vec<String>), MetricsError> {
    let asked = queries
        .iter()
        .map(|(query, window)| prometheus.range(query, *window));
    let (mut series, mut warnings) = (Vec::new(), Vec::new());
    for answer in join_all(asked).await {
        let answer = answer?;
        series.extend(answer.found);
        warnings.extend(answer.warnings);
    }
    Ok((series, warnings))
}

/// Whose a series is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Holder<'a> {
    Ours(&'a str),
    Another,
    /// No label tells.
    Nobody,
}

fn holder<'a>(series: &'a Series, scope: &Scope<'_>) -> Holder<'a> {
    for (pod, namespace) in POD_LABELS {
        let Some(name) = series.labels.first(&[pod]) else {
            continue;
        };
        let ours = scope.pods.contains(&name)
            && series
                .labels
                .first(&[namespace])
                .is_none_or(|of| of == scope.namespace);
        if ours {
            return Holder::Ours(name);
        }
        // The exporter's own name, which the server gave to every series of it, tells nothing about the GPU.
        if !name.contains("dcgm") {
            return Holder::Another;
        }
    }
    Holder::Nobody
}

fn node_of(series: &Series) -> Option<&str> {
    let name = series.labels.first(&NODE_LABELS)?;
    Some(match name.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        Some(_) | None => name,
    })
}

/// Sorts series by GPU and keeps the GPUs that are the job's.
fn gpu_facts(series: Vec<Series>, scope: &Scope<'_>) -> Vec<GpuFact> {
    let mut by_gpu: BTreeMap<String, Vec<Series>> = BTreeMap::new();
    for one in series {
        let labels = &one.labels;
        // Slices of one GPU are told apart by their instance.
        let key = format!(
            "{}/{}/{}",
            labels
                .first(&["UUID", "uuid"])
                .unwrap_or_else(|| node_of(&one).unwrap_or_default()),
            labels
                .first(&["gpu", "minor_number", "device"])
                .unwrap_or_default(),
            labels.first(&["GPU_I_ID"]).unwrap_or_default(),
        );
        by_gpu.entry(key).or_default().push(one);
    }
    let mut facts = Vec::new();
    for mut series in by_gpu.into_values() {
        let ours = series.iter().find_map(|one| match holder(one, scope) {
            Holder::Ours(pod) => Some(pod.to_owned()),
            Holder::Another | Holder::Nobody => None,
        });
        let another = series
            .iter()
            .any(|one| holder(one, scope) == Holder::Another);
        if ours.is_none() && another {
            continue;
        }
        series.retain(|one| holder(one, scope) != Holder::Another);
        facts.push(gpu_fact(&series, ours));
    }
    // Where labels tell which GPUs of a node are the job's, the others are not.
    let told: Vec<Option<String>> = facts
        .iter()
        .filter(|fact| fact.pod.is_some())
        .map(|fact| fact.node.clone())
        .collect();
    facts.retain(|fact| fact.pod.is_some() || !told.contains(&fact.node));
    facts.sort_by(|a, b| (&a.pod, &a.node, &a.index).cmp(&(&b.pod, &b.node, &b.index)));
    facts
}

fn gpu_fact(series: &[Series], pod: Option<String>) -> GpuFact {
    let label = |names: &[&str]| {
        series
            .iter()
            .find_map(|one| one.labels.first(names))
            .map(str::to_owned)
    };
    let mut fact = GpuFact {
        node: series.iter().find_map(node_of).map(str::to_owned),
        container: pod
            .as_ref()
            .and_then(|_| label(&["exported_container", "container", "container_name"])),
        pod,
        index: label(&["gpu", "minor_number"]),
        uuid: label(&["UUID", "uuid"]),
        model: label(&["modelName"]),
        ..GpuFact::default()
    };
    let (mut used, mut free) = (None, None);
    for one in series {
        let name = one.labels.name().trim_start_matches("DCGM_FI_DEV_");
        match name {
            "GPU_UTIL" => merge(&mut fact.utilization, &one.points, 1.0),
            // Slices have no `GPU_UTIL`, but the share of time in which their engine works.
            "DCGM_FI_PROF_GR_ENGINE_ACTIVE" if fact.utilization.is_empty() => {
                merge(&mut fact.utilization, &one.points, 100.0);
            }
            "FB_USED" => {
                used = last(&one.points).or(used);
                merge(&mut fact.memory_used, &one.points, 1.0);
            }
            "FB_FREE" => free = last(&one.points).or(free),
            "GPU_TEMP" => fact.temperature = highest(fact.temperature, &one.points),
            "POWER_USAGE" => fact.power = highest(fact.power, &one.points),
            "CLOCK_THROTTLE_REASONS" | "CLOCKS_EVENT_REASONS" => {
                let mask = one
                    .points
                    .iter()
                    .fold(0, |mask, point| mask | bits(point.value));
                for reason in Throttle::of_mask(mask) {
                    if !fact.throttled.contains(&reason) {
                        fact.throttled.push(reason);
                    }
                }
            }
            "XID_ERRORS" => {
                fact.tells_health = true;
                let seen = xid(&one.points);
                // Of two series of one GPU, before and after its pod, the one with the news tells.
                if seen.is_some_and(|seen| {
                    fact.xid
                        .is_none_or(|known| (seen.fresh, seen.seen) > (known.fresh, known.seen))
                }) {
                    fact.xid = seen;
                }
            }
            other => {
                if let Some(kind) = error_kind(other) {
                    fact.tells_health |=
                        matches!(kind, GpuErrorKind::DoubleBit | GpuErrorKind::SingleBit);
                    count(&mut fact.errors, kind, &one.points);
                }
            }
        }
    }
    fact.memory_total = used.zip(free).map(|(used, free)| used + free);
    fact.errors.sort_by_key(|errors| errors.kind);
    fact
}

fn error_kind(name: &str) -> Option<GpuErrorKind> {
    Some(match name {
        "ECC_DBE_VOL_TOTAL" | "ECC_DBE_AGG_TOTAL" => GpuErrorKind::DoubleBit,
        "ECC_SBE_VOL_TOTAL" | "ECC_SBE_AGG_TOTAL" => GpuErrorKind::SingleBit,
        "ROW_REMAP_FAILURE" => GpuErrorKind::RemapFailure,
        "ROW_REMAP_PENDING" | "RETIRED_PENDING" => GpuErrorKind::RemapPending,
        "UNCORRECTABLE_REMAPPED_ROWS" => GpuErrorKind::RowsRemappedUncorrectable,
        "CORRECTABLE_REMAPPED_ROWS" => GpuErrorKind::RowsRemappedCorrectable,
        "RETIRED_SBE" | "RETIRED_DBE" => GpuErrorKind::PagesRetired,
        "PCIE_REPLAY_COUNTER" => GpuErrorKind::PcieReplay,
        nvlink if nvlink.starts_with("NVLINK_") => GpuErrorKind::Nvlink,
        _ => return None,
    })
}

/// Adds a counter to its kind. Several counters of one kind (volatile and aggregate, one per link) count the highest.
fn count(errors: &mut Vec<GpuErrors>, kind: GpuErrorKind, points: &[Point]) {
    let Some(total) = last(points).filter(|total| *total > 0.0) else {
        return;
    };
    let (mut growth, mut grew) = (0.0, None);
    for pair in points.windows(2) {
        // A counter that falls was reset; what it counts since is growth.
        let step = if pair[1].value < pair[0].value {
            pair[1].value
        } else {
            pair[1].value - pair[0].value
        };
        if step > 0.0 {
            growth += step;
            grew = grew.or(Some(pair[1].at));
        }
    }
    let new = GpuErrors {
        kind,
        total,
        growth,
        grew,
    };
    match errors.iter_mut().find(|known| known.kind == kind) {
        Some(known) if (known.growth, known.total) < (growth, total) => *known = new,
        Some(_) => {}
        None => errors.push(new),
    }
}

/// The last Xid of a gauge, and whether it came while we looked.
fn xid(points: &[Point]) -> Option<XidReading> {
    let code = bits(last(points)?);
    let code = u32::try_from(code).ok().filter(|code| *code > 0)?;
    let same = |point: &&Point| bits(point.value) == u64::from(code);
    let run = points.iter().rev().take_while(same).count();
    let first = &points[points.len() - run];
    Some(XidReading {
        code,
        seen: first.at,
        fresh: run < points.len(),
    })
}

fn memory_facts(series: Vec<Series>) -> Vec<MemoryFact> {
    let mut facts: BTreeMap<(String, String), MemoryFact> = BTreeMap::new();
    for one in series {
        let (Some(pod), Some(container)) = (one.labels.get("pod"), one.labels.get("container"))
        else {
            continue;
        };
        let fact = facts
            .entry((pod.to_owned(), container.to_owned()))
            .or_insert_with(|| MemoryFact {
                pod: pod.to_owned(),
                container: container.to_owned(),
                working_set: Vec::new(),
                limit: None,
            });
        if one.labels.name() == "container_memory_working_set_bytes" {
            // After a restart in place, the server has one series per run of the container.
            merge(&mut fact.working_set, &one.points, 1.0);
        } else if let Some(limit) = last(&one.points).filter(|limit| *limit > 0.0) {
            // cAdvisor writes "no limit" as zero, or as the most that 64 bits hold.
            fact.limit = fact.limit.or(Some(limit).filter(|limit| *limit < 1e18));
        }
    }
    facts
        .into_values()
        .filter(|fact| !fact.working_set.is_empty())
        .collect()
}

/// Adds values in the order of time; of two for one time the higher stays.
fn merge(into: &mut Vec<Reading>, points: &[Point], factor: f64) {
    into.extend(
        points
            .iter()
            .filter(|point| point.value.is_finite())
            .map(|point| Reading {
                at: point.at,
                value: point.value * factor,
            }),
    );
    into.sort_by(|a, b| a.at.cmp(&b.at).then(b.value.total_cmp(&a.value)));
    into.dedup_by_key(|reading| reading.at);
}

fn last(points: &[Point]) -> Option<f64> {
    points
        .iter()
        .rev()
        .map(|point| point.value)
        .find(|value| value.is_finite())
}

fn highest(known: Option<f64>, points: &[Point]) -> Option<f64> {
    points
        .iter()
        .map(|point| point.value)
        .filter(|value| value.is_finite())
        .chain(known)
        .reduce(f64::max)
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a float out of range saturates, and no mask or code is that large"
)]
fn bits(value: f64) -> u64 {
    value as u64
}

#[cfg(test)]
mod tests;
