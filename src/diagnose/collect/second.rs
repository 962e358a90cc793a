//! Which logs to read after the first ones: further back where a tail tells nothing, and those of the ranks that the
//! others name. Pure.

use std::collections::{BTreeMap, HashSet};
use std::sync::LazyLock;

use regex::Regex;

use super::Settings;
use super::plan::WantedLog;
use crate::diagnose::standing::{deaths, is_sidecar};
use crate::diagnose::{Evidence, logs};
use crate::estate::Pod;

/// Logs of which more is read.
const FURTHER_BACK: usize = 4;
/// Lines of a log that are looked at for names of ranks and pods: the report stands near its end.
const LOOKED_AT: usize = 200;

/// `rank 17`, `ranks: [17, 19]`, `process rank 3`, `task 5:`, and the block of torchrun.
static NAMED: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"(?i)\b(?:ranks?|tasks?)\b\s*[:=#]?\s*\[?\s*(\d{1,6}(?:\s*,\s*\d{1,6}){0,63})")
        .expect("a constant that the tests compile")
});
/// Lines that blame somebody.
static BLAME: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"(?i)fail|error|exit|abort|kill|died|dead|lost|miss|stall|timed? ?out|did not|not join|never|unreachable|disconnect|refus|reset|closed|noticed|signal|\brank\s+: \d")
        .expect("a constant that the tests compile")
});

/// The logs to read now, the most telling first.
pub(super) fn logs(evidence: &Evidence, settings: &Settings) -> Vec<WantedLog> {
    let mut wanted = further_back(evidence, settings);
    wanted.extend(named(evidence, settings));
    wanted
}

/// A container failed and its tail is all progress and teardown: what went wrong stands before it.
fn further_back(evidence: &Evidence, settings: &Settings) -> Vec<WantedLog> {
    let dead: HashSet<(&str, &str, bool)> = deaths(evidence)
        .iter()
        .filter(|death| !death.is_teardown())
        .map(|death| {
            (
                death.pod.name.as_str(),
                death.container.name.as_str(),
                death.previous,
            )
        })
        .collect();
    evidence
        .logs
        .iter()
        .filter(|log| {
            let full = log.lines.len() >= settings.tail_lines as usize;
            let failed = dead.contains(&(log.pod.as_str(), log.container.as_str(), log.previous));
            full && failed && logs::tells_nothing(&log.lines)
        })
        .take(FURTHER_BACK)
        .map(|log| WantedLog {
            pod: log.pod.clone(),
            container: log.container.clone(),
            previous: log.previous,
            tail_lines: settings.far_tail_lines,
        })
        .collect()
}

/// The pods that the logs name and that nobody has read, the most named first.
fn named(evidence: &Evidence, settings: &Settings) -> Vec<WantedLog> {
    let read: HashSet<&str> = evidence.logs.iter().map(|log| log.pod.as_str()).collect();
    let unread: Vec<&Pod> = evidence
        .pods
        .iter()
        .filter(|pod| !read.contains(pod.name.as_str()))
        .collect();
    if unread.is_empty() {
        return Vec::new();
    }
    let mut votes: BTreeMap<&str, usize> = BTreeMap::new();
    for log in &evidence.logs {
        for line in log.lines.iter().rev().take(LOOKED_AT) {
            let text = &line.text[..line.text.floor_char_boundary(4096)];
            let (own, rest) = logs::unprefixed(text);
            if !BLAME.is_match(rest) {
                continue;
            }
            let mut blamed: HashSet<&str> = unread
                .iter()
                .filter(|pod| rest.contains(pod.name.as_str()))
                .map(|pod| pod.name.as_str())
                .collect();
            for found in NAMED.captures_iter(rest) {
                for rank in found[1]
                    .split(',')
                    .filter_map(|rank| rank.trim().parse().ok())
                {
                    if Some(rank) != own {
                        blamed.extend(holders(&unread, rank).map(|pod| pod.name.as_str()));
                    }
                }
            }
            for pod in blamed {
                *votes.entry(pod).or_default() += 1;
            }
        }
    }
    let mut named: Vec<(usize, &str)> =
        votes.into_iter().map(|(pod, votes)| (votes, pod)).collect();
    named.sort_by(|a, b| b.0.cmp(&a.0).then(a.1.cmp(b.1)));
    named
        .into_iter()
        .take(settings.named_pods)
        .filter_map(|(_, name)| unread.iter().find(|pod| pod.name == name))
        .flat_map(|pod| {
            pod.containers
                .iter()
                .filter(|container| !container.init && !is_sidecar(container))
                .flat_map(|container| {
                    let log = |previous: bool| WantedLog {
                        pod: pod.name.clone(),
                        container: container.name.to_string(),
                        previous,
                        tail_lines: settings.tail_lines,
                    };
                    let before =
                        (container.restarts > 0 || container.last.is_some()).then(|| log(true));
                    before.into_iter().chain([log(false)])
                })
        })
        .collect()
}

/// The pods that may hold a global rank: as many ranks to a pod as it has GPUs, or one.
fn holders<'a>(pods: &[&'a Pod], rank: u32) -> impl Iterator<Item = &'a Pod> {
    pods.iter().copied().filter(move |pod| {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "no pod has so many GPUs"
        )]
        let local = (pod.gpus.round() as u32).max(1);
        pod.rank == Some(rank / local) || (local == 1 && pod.rank == Some(rank))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnose::tests::Scene;

    #[test]
    fn the_log_of_the_rank_that_the_others_name_is_read() {
        let mut scene = Scene::new("gang");
        for rank in 0..512 {
            scene = scene.pod(&format!("gang-{rank}"), |pod| {
                let pod = pod.rank(rank);
                if rank == 300 {
                    pod
                } else {
                    pod.exited(134, "Error", 800)
                }
            });
        }
        let mut evidence = scene.evidence();
        evidence.logs = vec![crate::diagnose::ContainerLog {
            pod: "gang-0".to_owned(),
            container: "main".to_owned(),
            previous: false,
            lines: [
                "step 300 of 500",
                "[rank0]: RuntimeError: Rank 300 failed to pass monitoredBarrier in 1800000 ms",
            ]
            .map(|text| crate::diagnose::LogLine {
                at: None,
                text: text.to_owned(),
            })
            .to_vec(),
        }];
        let wanted = logs(&evidence, &Settings::default());
        assert_eq!(wanted.len(), 1, "{wanted:?}");
        assert_eq!(wanted[0].pod, "gang-300");
    }

    #[test]
    fn a_failed_log_that_ends_in_progress_is_read_further_back() {
        let scene = Scene::new("train").pod("train-0", |pod| pod.exited(1, "Error", 900));
        let mut evidence = scene.evidence();
        let lines = |count: usize| {
            (0..count)
                .map(|step| crate::diagnose::LogLine {
                    at: None,
                    text: format!("step {step} loss 3.0"),
                })
                .collect()
        };
        evidence.logs = vec![crate::diagnose::ContainerLog {
            pod: "train-0".to_owned(),
            container: "main".to_owned(),
            previous: false,
            lines: lines(100),
        }];
        let wanted = logs(&evidence, &Settings::default());
        assert_eq!(wanted[0].tail_lines, Settings::default().far_tail_lines);
        evidence.logs[0].lines = lines(40);
        assert!(
            logs(&evidence, &Settings::default()).is_empty(),
            "the whole log was read"
        );
    }
}
