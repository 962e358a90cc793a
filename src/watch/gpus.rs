//! What the GPUs of all pods did lately: a few questions for the whole estate, whatever the number of jobs.

use std::collections::HashMap;
use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::try_join_all;

use super::progress::{AskGpus, GpusByPod};
use crate::detect::Thresholds;
use crate::estate::progress::PodGpus;
use crate::watch::metrics::{Labels, Prometheus, Sample};

const USE: &str = "DCGM_FI_DEV_GPU_UTIL";
const MEMORY: &str = "DCGM_FI_DEV_FB_USED";
/// By what GPUs are told apart. Where the server keeps its own labels, `pod` is the exporter's.
const BY: &str = "namespace, pod, exported_namespace, exported_pod, pod_namespace, pod_name";

type Key = (String, String);

/// Asks a Prometheus that scrapes DCGM exporters.
#[must_use]
pub fn ask(prometheus: Prometheus) -> AskGpus {
    Arc::new(move |thresholds| {
        let prometheus = prometheus.clone();
        async move { of_all(&prometheus, &thresholds).await }.boxed()
    })
}

async fn of_all(prometheus: &Prometheus, thresholds: &Thresholds) -> Result<GpusByPod, String> {
    let hang = thresholds.hang_seconds.max(60);
    let mut windows = vec![
        hang,
        thresholds.held_gpu_seconds.max(60),
        thresholds.idle_gpu_seconds.max(60),
    ];
    windows.sort_unstable();
    windows.dedup();
    let held = thresholds.held_gpu_seconds.max(60);
    let mut queries = vec![
        format!("count by ({BY}) ({USE})"),
        format!("min by ({BY}) (min_over_time({USE}[{hang}s]))"),
        format!("max by ({BY}) (max_over_time({MEMORY}[{held}s]))"),
    ];
    for window in &windows {
        queries.push(format!("max by ({BY}) (max_over_time({USE}[{window}s]))"));
        // What was not there at the beginning of the window was not idle all through it.
        queries.push(format!("count by ({BY}) ({USE} offset {window}s)"));
    }
    let asked = queries.iter().map(|query| async {
        let answered = prometheus.instant(query, None).await;
        answered
            .map(|answered| by_pod(answered.found))
            .map_err(|error| error.told())
    });
    let mut answers = try_join_all(asked).await?.into_iter();
    let mut next = || answers.next().unwrap_or_default();
    let (counts, least, memory) = (next(), next(), next());
    let windows: Vec<Window> = windows
        .into_iter()
        .map(|window| (window, next(), next()))
        .collect();
    Ok(counts
        .into_iter()
        .filter_map(|(key, count)| {
            let used = of_pod(&key, count, hang, &least, &memory, &windows)?;
            Some((key, used))
        })
        .collect())
}

/// A window in seconds, what each pod used at most in it, and the GPUs it had when it began.
type Window = (u64, HashMap<Key, f64>, HashMap<Key, f64>);

/// The longest window in which a pod's GPUs were idle, else the first; `None` for one that is younger than that.
fn of_pod(
    key: &Key,
    count: f64,
    hang: u64,
    least: &HashMap<Key, f64>,
    memory: &HashMap<Key, f64>,
    windows: &[Window],
) -> Option<PodGpus> {
    let covered = windows.iter().filter(|(_, most, there)| {
        most.contains_key(key) && there.get(key).is_some_and(|then| *then >= count)
    });
    let mut chosen: Option<(u64, f64)> = None;
    for (window, most, _) in covered {
        let most = most.get(key).copied()?;
        if *window == hang || most <= PodGpus::IDLE_PERCENT {
            chosen = Some((*window, most));
        }
    }
    let (window_seconds, most) = chosen?;
    // GPUs are counted in ones, and no pod has more than a few.
    let gpus = (1..=1024)
        .find(|gpus| f64::from(*gpus) >= count)
        .unwrap_or(1024);
    Some(PodGpus {
        gpus,
        window_seconds,
        least: least.get(key).copied().unwrap_or(0.0),
        most,
        memory_mib: memory.get(key).copied(),
    })
}

fn by_pod(samples: Vec<Sample>) -> HashMap<Key, f64> {
    let mut values = HashMap::new();
    for sample in samples {
        if let Some(key) = pod(&sample.labels) {
            values.insert(key, sample.point.value);
        }
    }
    values
}

fn pod(labels: &Labels) -> Option<Key> {
    let pairs = [
        ("exported_namespace", "exported_pod"),
        ("namespace", "pod"),
        ("pod_namespace", "pod_name"),
    ];
    let of = |name: &str| labels.get(name).filter(|value| !value.is_empty());
    pairs
        .into_iter()
        .find_map(|(namespace, pod)| Some((of(namespace)?.to_owned(), of(pod)?.to_owned())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(value: f64) -> HashMap<Key, f64> {
        HashMap::from([(("ns".to_owned(), "train-0".to_owned()), value)])
    }

    /// What the window of an hour and that of 15 minutes say of one pod's eight GPUs.
    fn judged(quarter: (f64, f64), hour: (f64, f64), least: f64) -> Option<(u64, bool, bool)> {
        let key = ("ns".to_owned(), "train-0".to_owned());
        let windows = [
            (900, of(quarter.0), of(quarter.1)),
            (3_600, of(hour.0), of(hour.1)),
        ];
        let used = of_pod(&key, 8.0, 900, &of(least), &of(9_000.0), &windows)?;
        Some((used.window_seconds, used.idle(), used.pinned()))
    }

    #[test]
    fn the_longest_idle_window_counts_and_a_young_pod_has_none() {
        assert_eq!(
            judged((0.0, 8.0), (0.0, 8.0), 0.0),
            Some((3_600, true, false))
        );
        assert_eq!(
            judged((0.0, 8.0), (97.0, 8.0), 0.0),
            Some((900, true, false))
        );
        assert_eq!(
            judged((100.0, 8.0), (100.0, 8.0), 99.0),
            Some((900, false, true))
        );
        assert_eq!(
            judged((90.0, 8.0), (100.0, 8.0), 3.0),
            Some((900, false, false))
        );
        assert_eq!(
            judged((0.0, 8.0), (0.0, 0.0), 0.0),
            Some((900, true, false))
        );
        assert_eq!(
            judged((0.0, 4.0), (0.0, 0.0), 0.0),
            None,
            "four GPUs were there, not eight"
        );
    }
}
