//! From a case to evidence, through the decoders of the watchers and the rules of the collector.

use std::sync::{Arc, RwLock};

use jiff::{SignedDuration, Timestamp};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::case::{Case, LogSpec, PodSpec};
use super::filler;
use super::object::{Flaw, Maker, RUNAI_CLUSTER};
use crate::diagnose::collect::offline::{self, Answers};
use crate::diagnose::{ContainerLog, Evidence};
use crate::estate::index::Estate;
use crate::estate::{Event, JobKey, Node, SharedEstate};
use crate::watch::Observation;
use crate::watch::kubernetes::kinds::ControllerKind;
use crate::watch::kubernetes::logs;
use crate::watch::kubernetes::slim::{SlimController, SlimEvent, SlimNode, SlimPod};
use crate::watch::runai::wire;

const CLUSTER: &str = "prod";

/// The evidence that a collector would have of the case's job.
pub(super) fn evidence(case: &Case) -> Result<Evidence, Flaw> {
    let maker = Maker::new(case)?;
    let now = maker.now;
    let specs = maker.pod_specs();
    let mut estate = Estate::new(
        vec![CLUSTER.to_owned()],
        [(RUNAI_CLUSTER.to_owned(), CLUSTER.to_owned())].into(),
    );
    let mut answers = Answers {
        measured: case.measured.clone(),
        surroundings: case.surroundings.clone(),
        ..Answers::default()
    };
    if let Some(runai) = &case.runai {
        let workload = maker.workload(runai).to_string();
        let detail = wire::workload(workload.as_bytes()).map_err(|error| error.told())?;
        let events = maker.runai_events(runai)?.to_string();
        answers.workload_events = wire::events(events.as_bytes())
            .map_err(|error| error.told())?
            .items;
        let history = maker.runai_history(runai)?.to_string();
        answers.history = wire::history(history.as_bytes())
            .map_err(|error| error.told())?
            .items;
        estate.apply(
            Observation::Workload(Box::new(detail.workload.clone())),
            now,
        );
        answers.workload = Some(detail);
    }
    for node in maker.nodes(&specs) {
        let node: Node = decode::<SlimNode>(&node)?
            .into_node(CLUSTER, now)
            .ok_or("a node without a name")?;
        estate.apply(Observation::Node(Box::new(node)), now);
    }
    if let Some(controller) = maker.controller(&specs) {
        let kind =
            ControllerKind::named(&case.kind).ok_or_else(|| format!("no kind {}", case.kind))?;
        let controller = decode::<SlimController>(&controller)?
            .into_controller(CLUSTER, &kind, now)
            .ok_or("a controller without a name")?;
        estate.apply(Observation::Controller(Box::new(controller)), now);
    }
    for spec in &specs {
        let pod = decode::<SlimPod>(&maker.pod(spec)?)?
            .into_pod(CLUSTER, now)
            .ok_or("a pod without a name")?;
        estate.apply(Observation::Pod(Box::new(pod)), now);
    }
    for (index, spec) in case.events.iter().enumerate() {
        let event: Option<Event> =
            decode::<SlimEvent>(&maker.event(index, spec, &specs)?)?.into_event(CLUSTER, now);
        let event =
            event.ok_or_else(|| format!("the event {} is of no watched kind", spec.reason))?;
        estate.apply(Observation::Event(Box::new(event.clone())), now);
        answers.events.push(event);
    }
    for log in &case.logs {
        answers
            .logs
            .extend(container_logs(&maker, log, case, &specs)?);
    }
    let key = JobKey {
        cluster: CLUSTER.to_owned(),
        namespace: case.namespace.clone(),
        name: case.job.clone(),
    };
    if estate.job(&key).is_none() {
        let jobs: Vec<&str> = estate.jobs().map(|job| job.key.name.as_str()).collect();
        return Err(format!("no job {} among {jobs:?}", case.job));
    }
    let estate: SharedEstate = Arc::new(RwLock::new(estate));
    Ok(offline::evidence(estate, &key, answers, now))
}

fn decode<T: DeserializeOwned>(object: &Value) -> Result<T, Flaw> {
    // Through text, as the API server sends it.
    serde_json::from_str(&object.to_string()).map_err(|error| error.to_string())
}

fn container_logs(
    maker: &Maker<'_>,
    log: &LogSpec,
    case: &Case,
    specs: &[PodSpec],
) -> Result<Vec<ContainerLog>, Flaw> {
    let has_own = |pod: &PodSpec| {
        case.logs.iter().any(|other| {
            !other.others
                && other.previous == log.previous
                && ((other.pod.is_some() && other.pod == pod.name)
                    || (other.rank.is_some() && other.rank == pod.rank))
        })
    };
    let of: Vec<&PodSpec> = match (&log.pod, log.rank, log.others) {
        (_, _, true) => specs.iter().filter(|pod| !has_own(pod)).collect(),
        (Some(name), _, _) => specs
            .iter()
            .filter(|pod| pod.name.as_ref() == Some(name))
            .collect(),
        (None, Some(rank), _) => specs.iter().filter(|pod| pod.rank == Some(rank)).collect(),
        (None, None, false) => specs.iter().take(1).collect(),
    };
    if of.is_empty() {
        return Err("a log of no pod".to_owned());
    }
    of.into_iter()
        .map(|pod| {
            let default = if case.kind == "PyTorchJob" {
                "pytorch"
            } else {
                "main"
            };
            let container = log
                .container
                .as_deref()
                .or(pod.container.as_deref())
                .unwrap_or(default);
            let end = maker.log_end(log.until.as_ref(), pod, log.previous)?;
            let text = log
                .text
                .replace("{rank}", &pod.rank.unwrap_or(0).to_string());
            Ok(ContainerLog {
                pod: pod.name.clone().unwrap_or_default(),
                container: container.to_owned(),
                previous: log.previous,
                lines: logs::parse(stamped(&text, end, log).as_bytes()),
            })
        })
        .collect()
}

/// The text as `kubectl logs --timestamps` gives it.
fn stamped(text: &str, end: Timestamp, log: &LogSpec) -> String {
    let lines: Vec<String> = text
        .lines()
        .flat_map(|line| filler::lines(line).unwrap_or_else(|| vec![line.to_owned()]))
        .collect();
    let last = lines.len().saturating_sub(1);
    let mut out = String::new();
    for (place, line) in lines.iter().enumerate() {
        let stamp = line
            .split(' ')
            .next()
            .is_some_and(|word| word.len() > 18 && word.parse::<Timestamp>().is_ok());
        if !stamp && !log.bare {
            let ago = SignedDuration::try_from_secs_f64(log.every * (last - place) as f64)
                .unwrap_or_default();
            out.push_str(&(end - ago).to_string());
            out.push(' ');
        }
        out.push_str(line);
        out.push('\n');
    }
    out
}
