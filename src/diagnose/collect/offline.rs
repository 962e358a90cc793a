//! Evidence from answers at hand instead of calls, chosen by the same rules: for recorded cases.

use jiff::Timestamp;

use super::{Collector, Part, Settings, event_names, plan, second, take, tidy, used_nodes};
use crate::diagnose::measured::Measured;
use crate::diagnose::surroundings::Surroundings;
use crate::diagnose::{ContainerLog, Evidence, HistoryEntry};
use crate::estate::{Event, JobKey, SharedEstate};
use crate::watch::kubernetes::client::Clusters;
use crate::watch::runai::client::WorkloadDetail;

/// What the sources would answer about one job.
#[derive(Debug, Default)]
pub(crate) struct Answers {
    pub(crate) logs: Vec<ContainerLog>,
    /// All events of the cluster.
    pub(crate) events: Vec<Event>,
    pub(crate) workload: Option<WorkloadDetail>,
    pub(crate) workload_events: Vec<Event>,
    pub(crate) history: Vec<HistoryEntry>,
    pub(crate) measured: Measured,
    pub(crate) surroundings: Surroundings,
}

/// The evidence that a collector would have had of a job, had the sources given these answers.
pub(crate) fn evidence(
    estate: SharedEstate,
    key: &JobKey,
    answers: Answers,
    now: Timestamp,
) -> Evidence {
    let settings = Settings::default();
    let collector = Collector::new(None, Clusters::default(), estate, settings.clone());
    let mut evidence = collector.known(key, now);
    for round in [plan::logs, second::logs] {
        for wanted in round(&evidence, &settings) {
            let log = answers.logs.iter().find(|log| {
                (&log.pod, &log.container, log.previous)
                    == (&wanted.pod, &wanted.container, wanted.previous)
            });
            if let Some(log) = log {
                let tail = log.lines.len().saturating_sub(wanted.tail_lines as usize);
                let read = ContainerLog {
                    lines: log.lines[tail..].to_vec(),
                    ..log.clone()
                };
                take(&mut evidence, Part::Log(read));
            }
        }
    }
    let names = event_names(&evidence);
    let nodes = used_nodes(&evidence);
    evidence.events.extend(
        answers.events.into_iter().filter(|event| {
            names.contains(&event.object.name) || nodes.contains(&event.object.name)
        }),
    );
    if let Some(detail) = answers.workload {
        evidence.pending_messages = detail.pending_messages;
        evidence.workload = Some(detail.workload);
    }
    evidence.events.extend(answers.workload_events);
    evidence.measured = answers.measured;
    evidence.surroundings = answers.surroundings;
    evidence.history = answers.history;
    evidence.history.sort_by_key(|entry| entry.at);
    tidy(&mut evidence);
    evidence
}
