//! What Kubernetes, Run:AI and the nodes state about the job, matched against the knowledge. Pure.

use std::collections::HashSet;

use jiff::{SignedDuration, Timestamp};

use super::hit::{Hit, Tier};
use super::knowledge::{Failure, Knowledge, Sign, StateField, TextPlace, When};
use super::standing::{deaths, has_recovered, is_pulling, is_ready, is_starting};
use super::{Evidence, logs, pending};
use crate::estate::{Condition, ContainerState, Event, Pod};

/// An event older than this is history, not evidence.
const EVENT_AGE: SignedDuration = SignedDuration::from_hours(24);

/// Everything stated, as hits.
pub(super) fn hits(evidence: &Evidence, knowledge: &Knowledge) -> Vec<Hit> {
    let mut facts = Facts {
        evidence,
        knowledge,
        hits: Vec::new(),
    };
    facts.containers();
    facts.pods();
    facts.job();
    facts.events();
    facts.nodes();
    facts.history();
    facts.pending();
    facts.hits
}

struct Facts<'a> {
    evidence: &'a Evidence,
    knowledge: &'a Knowledge,
    hits: Vec<Hit>,
}

/// Where a fact was stated.
#[derive(Clone, Copy, Default)]
struct Place<'a> {
    source: &'static str,
    pod: Option<&'a Pod>,
    container: Option<&'a str>,
    node: Option<&'a str>,
    at: Option<Timestamp>,
    weak: bool,
}

impl<'a> Facts<'a> {
    fn add(&mut self, failure: usize, tier: Tier, place: Place<'_>, line: String) {
        self.hits.push(Hit {
            failure,
            tier,
            source: place.source,
            pod: place.pod.map(|pod| pod.name.clone()),
            container: place.container.map(str::to_owned),
            node: place
                .node
                .map(str::to_owned)
                .or_else(|| place.pod?.node.clone()),
            at: place.at,
            order: 0,
            rank: None,
            line,
            weak: place.weak,
            fatal: false,
            count: 1,
        });
    }

    /// Every row with every sign of it, with its index.
    fn signs(&self) -> impl Iterator<Item = (usize, &'a Failure, &'a Sign)> + use<'a> {
        self.knowledge
            .failures()
            .iter()
            .enumerate()
            .flat_map(|(index, failure)| {
                failure.signs.iter().map(move |sign| (index, failure, sign))
            })
    }

    fn state(
        &mut self,
        field: StateField,
        reason: &str,
        message: &str,
        tier: Tier,
        place: Place<'_>,
        line: &str,
    ) {
        for (failure, _, sign) in self.signs() {
            if let Sign::State {
                field: of,
                reasons,
                text,
            } = sign
                && *of == field
                && reasons.iter().any(|known| known == reason)
                && text.is_match(message)
            {
                self.add(failure, tier, place, line.to_owned());
            }
        }
    }

    fn text(&mut self, of: TextPlace, message: &str, tier: Tier, place: Place<'_>, line: &str) {
        for (failure, _, sign) in self.signs() {
            if let Sign::Text { place: kind, text } = sign
                && *kind == of
                && text.is_match(message)
            {
                self.add(failure, tier, place, line.to_owned());
            }
        }
    }

    fn containers(&mut self) {
        let evidence = self.evidence;
        let now = evidence.collected;
        for pod in &evidence.pods {
            for container in &pod.containers {
                let place = Place {
                    source: "status",
                    pod: Some(pod),
                    container: Some(&container.name),
                    ..Place::default()
                };
                if let ContainerState::Waiting {
                    reason: Some(reason),
                    message,
                } = &container.state
                {
                    let message = message.as_deref().unwrap_or_default();
                    let line = stated(&format!("{} is waiting: {reason}", container.name), message);
                    self.state(
                        StateField::Waiting,
                        reason,
                        message,
                        Tier::State,
                        place,
                        &line,
                    );
                    if reason.contains("ImagePull") {
                        self.text(
                            TextPlace::Pull,
                            &without_image(message, &container.image),
                            Tier::State,
                            place,
                            &line,
                        );
                    }
                    if matches!(
                        reason.as_str(),
                        "CreateContainerError" | "RunContainerError" | "RunInitContainerError"
                    ) {
                        self.text(TextPlace::Start, message, Tier::State, place, &line);
                    }
                }
            }
        }
        for death in deaths(evidence) {
            let end = death.end;
            let reason = end.reason.as_deref().unwrap_or_default();
            let message = end.message.as_deref().unwrap_or_default();
            let place = Place {
                source: "status",
                pod: Some(death.pod),
                container: Some(&death.container.name),
                at: death.at(),
                weak: death.previous && has_recovered(death.pod, now),
                ..Place::default()
            };
            let line = stated(
                &format!(
                    "{} {}terminated: exit code {}{}",
                    death.container.name,
                    if death.previous { "was " } else { "" },
                    end.exit_code,
                    if reason.is_empty() {
                        String::new()
                    } else {
                        format!(", {reason}")
                    },
                ),
                message,
            );
            self.state(
                StateField::Terminated,
                reason,
                message,
                Tier::State,
                place,
                &line,
            );
            if matches!(reason, "StartError" | "ContainerCannotRun") {
                self.text(TextPlace::Start, message, Tier::State, place, &line);
            }
            for (failure, _, sign) in self.signs() {
                if let Sign::Exit {
                    codes,
                    reasons,
                    unless_reasons,
                } = sign
                    && codes.contains(&end.exit_code)
                    && (reasons.is_empty() || reasons.iter().any(|known| known == reason))
                    && !unless_reasons.iter().any(|known| known == reason)
                {
                    self.add(failure, Tier::Exit, place, line.clone());
                }
            }
            if death.container.init
                && is_starting(death.pod)
                && let Some(failure) = self.knowledge.index("init_container_failed")
            {
                self.add(failure, Tier::State, place, line);
            }
        }
    }

    fn pods(&mut self) {
        let evidence = self.evidence;
        for pod in &evidence.pods {
            let mut place = Place {
                source: "status",
                pod: Some(pod),
                ..Place::default()
            };
            if let Some(reason) = &pod.reason {
                let message = pod.message.as_deref().unwrap_or_default();
                place.at = last_change(&pod.conditions);
                let line = stated(&format!("pod {}: {reason}", pod.phase), message);
                self.state(StateField::Pod, reason, message, Tier::State, place, &line);
            }
            for condition in &pod.conditions {
                let reason = condition.reason.as_deref().unwrap_or_default();
                place.at = condition.since;
                let line = condition_line(condition);
                for (failure, _, sign) in self.signs() {
                    if let Sign::PodCondition {
                        kind,
                        status,
                        reasons,
                    } = sign
                        && *kind == condition.kind
                        && *status == condition.status
                        && (reasons.is_empty() || reasons.iter().any(|known| known == reason))
                    {
                        self.add(failure, Tier::State, place, line.clone());
                    }
                }
            }
        }
    }

    fn job(&mut self) {
        let evidence = self.evidence;
        for controller in &evidence.controllers {
            let kind = &controller.kind;
            for condition in &controller.conditions {
                let holds = condition.status == "True"
                    || (condition.kind == "Progressing" && condition.status == "False");
                let Some(reason) = condition.reason.as_deref().filter(|_| holds) else {
                    continue;
                };
                let place = Place {
                    source: "status",
                    at: condition.since,
                    ..Place::default()
                };
                let message = condition.message.as_deref().unwrap_or_default();
                let line = format!("{kind} {}", condition_line(condition));
                self.state(StateField::Job, reason, message, Tier::State, place, &line);
            }
            if controller.suspended
                && let Some(failure) = self.knowledge.index("runai_stopped")
            {
                let place = Place {
                    source: "status",
                    ..Place::default()
                };
                self.add(
                    failure,
                    Tier::State,
                    place,
                    format!("{kind} {} is suspended", controller.name),
                );
            }
        }
        let Some(workload) = &evidence.workload else {
            return;
        };
        let message = workload.phase_message.as_deref().unwrap_or_default();
        let place = Place {
            source: "runai",
            at: workload.phase_updated,
            ..Place::default()
        };
        let line = stated(&format!("phase {}", workload.phase.as_str()), message);
        self.state(
            StateField::Phase,
            workload.phase.as_str(),
            message,
            Tier::State,
            place,
            &line,
        );
        if let Some(reason) = &workload.phase_reason {
            self.state(
                StateField::PhaseReason,
                reason,
                message,
                Tier::State,
                place,
                &stated(reason, message),
            );
        }
        for condition in workload
            .conditions
            .iter()
            .filter(|condition| condition.status == "True")
        {
            let Some(reason) = condition.reason.as_deref() else {
                continue;
            };
            let message = condition.message.as_deref().unwrap_or_default();
            let place = Place {
                source: "runai",
                at: condition.since,
                ..Place::default()
            };
            self.state(
                StateField::Job,
                reason,
                message,
                Tier::State,
                place,
                &condition_line(condition),
            );
        }
    }

    fn events(&mut self) {
        let evidence = self.evidence;
        let now = evidence.collected;
        for event in &evidence.events {
            if now.duration_since(event.last) > EVENT_AGE {
                continue;
            }
            let pod = evidence
                .pods
                .iter()
                .find(|pod| event.object.kind == "Pod" && pod.name == event.object.name);
            let node = (event.object.kind == "Node").then_some(event.object.name.as_str());
            let place = Place {
                source: "event",
                pod,
                node,
                at: Some(event.last),
                ..Place::default()
            };
            let line = stated(&event.reason, &event.message);
            let tier = if node.is_some() {
                Tier::Node
            } else {
                Tier::State
            };
            for (failure, _, sign) in self.signs() {
                if let Sign::Event {
                    reasons,
                    on,
                    annotation,
                    text,
                    when,
                } = sign
                    && reasons.contains(&event.reason)
                    && (on.is_empty() || on.contains(&event.object.kind))
                    && annotation.as_ref().is_none_or(|wanted| {
                        event.annotations.iter().any(|(key, value)| {
                            key.ends_with("evictor-action-type") && value == wanted
                        })
                    })
                    && text.is_match(&event.message)
                    && self.still_counts(event, pod, *when)
                {
                    self.add(failure, tier, place, line.clone());
                    // An event about a pod that is gone still names it.
                    if event.object.kind == "Pod"
                        && pod.is_none()
                        && let Some(hit) = self.hits.last_mut()
                    {
                        hit.pod = Some(event.object.name.clone());
                    }
                }
            }
            if node.is_some() {
                self.kernel(&line, place);
            }
            if event.reason == "Failed"
                && let Some(pod) = pod
            {
                if is_pulling(pod) && event.message.to_ascii_lowercase().contains("pull") {
                    let mut message = event.message.clone();
                    for container in &pod.containers {
                        message = without_image(&message, &container.image);
                    }
                    self.text(TextPlace::Pull, &message, Tier::State, place, &line);
                } else if is_starting(pod) {
                    self.text(TextPlace::Start, &event.message, Tier::State, place, &line);
                }
            }
        }
    }

    fn still_counts(&self, event: &Event, pod: Option<&Pod>, when: When) -> bool {
        let about_pod = event.object.kind == "Pod";
        match (when, pod) {
            (When::Always, _) => true,
            (When::Starting, Some(pod)) => is_starting(pod),
            (When::Unready, Some(pod)) => {
                !is_ready(pod) || !has_recovered(pod, self.evidence.collected)
            }
            (When::Starting | When::Unready, None) if about_pod => self.evidence.pods.is_empty(),
            (When::Starting, None) => self.evidence.pods.iter().any(is_starting),
            (When::Unready, None) => self.evidence.pods.iter().any(|pod| !is_ready(pod)),
            (When::Short, _) => {
                self.evidence.pods.is_empty()
                    || self.evidence.controllers.iter().any(|controller| {
                        let there = self
                            .evidence
                            .pods
                            .iter()
                            .filter(|pod| pod.deleting.is_none())
                            .count();
                        there < controller.desired as usize
                    })
            }
        }
    }

    fn nodes(&mut self) {
        let evidence = self.evidence;
        let used: HashSet<&str> = evidence
            .pods
            .iter()
            .filter_map(|pod| pod.node.as_deref())
            .collect();
        for node in &evidence.nodes {
            if !used.is_empty() && !used.contains(node.name.as_str()) {
                continue;
            }
            for condition in &node.conditions {
                let place = Place {
                    source: "node",
                    node: Some(&node.name),
                    at: condition.since,
                    ..Place::default()
                };
                let line = format!("{} {}", node.name, condition_line(condition));
                for (failure, _, sign) in self.signs() {
                    if let Sign::Node {
                        conditions,
                        statuses,
                        text,
                    } = sign
                        && conditions.contains(&condition.kind)
                        && statuses.contains(&condition.status)
                        && text.is_match(condition.message.as_deref().unwrap_or_default())
                    {
                        self.add(failure, Tier::Node, place, line.clone());
                    }
                }
                // `AcceleratedHardwareReady=False` reports trouble as `KernelDeadlock=True` does.
                let reports = if condition.kind.ends_with("Ready") {
                    condition.kind != "Ready" && condition.status == "False"
                } else {
                    condition.status == "True"
                };
                if reports {
                    self.kernel(&line, place);
                }
            }
            let asks_gpus = evidence
                .pods
                .iter()
                .any(|pod| pod.gpus > 0.0 && pod.node.as_deref() == Some(&node.name));
            if asks_gpus
                && node.allocatable_gpus < node.capacity_gpus
                && let Some(failure) = self.knowledge.index("gpu_count_mismatch")
            {
                let place = Place {
                    source: "node",
                    node: Some(&node.name),
                    ..Place::default()
                };
                let line = format!(
                    "{} offers {} of its {} GPUs",
                    node.name, node.allocatable_gpus, node.capacity_gpus
                );
                self.add(failure, Tier::Node, place, line);
            }
        }
    }

    /// Kernel text of a node: signatures and Xids.
    fn kernel(&mut self, line: &str, place: Place<'_>) {
        self.text(TextPlace::Kernel, line, Tier::Node, place, line);
        for code in logs::xids(line) {
            if let Some(failure) = self.knowledge.xid(code) {
                self.add(failure, Tier::Node, place, line.to_owned());
            }
        }
    }

    fn history(&mut self) {
        let evidence = self.evidence;
        for entry in &evidence.history {
            if evidence.collected.duration_since(entry.at) > EVENT_AGE {
                continue;
            }
            let place = Place {
                source: "runai",
                at: Some(entry.at),
                ..Place::default()
            };
            let by = entry
                .actor
                .as_deref()
                .map(|actor| format!(" (by {actor})"))
                .unwrap_or_default();
            let line = stated(
                entry.phase.as_deref().unwrap_or("history"),
                &format!("{}{by}", entry.message),
            );
            self.text(
                TextPlace::History,
                &entry.message,
                Tier::State,
                place,
                &line,
            );
        }
    }

    fn pending(&mut self) {
        for waiting in pending::reasons(self.evidence) {
            let place = Place {
                source: waiting.source,
                pod: waiting.pod,
                at: waiting.at,
                ..Place::default()
            };
            let mut named: Vec<usize> = self
                .signs()
                .filter_map(|(failure, _, sign)| match sign {
                    Sign::Text {
                        place: TextPlace::Pending,
                        text,
                    } if text.is_match(&waiting.text) => Some(failure),
                    Sign::Text { .. }
                    | Sign::Log(_)
                    | Sign::Exit { .. }
                    | Sign::State { .. }
                    | Sign::PodCondition { .. }
                    | Sign::Event { .. }
                    | Sign::Node { .. } => None,
                })
                .collect();
            named.dedup();
            let id = |index: &usize| self.knowledge.failures()[*index].id.as_str();
            let ids: Vec<&str> = named.iter().map(id).collect();
            let beside = pending::beside_the_point(&ids, &waiting.text);
            named.retain(|index| !beside.contains(&id(index)));
            for failure in named {
                self.add(failure, Tier::State, place, waiting.line.clone());
            }
        }
    }
}

fn stated(what: &str, message: &str) -> String {
    if message.is_empty() {
        what.to_owned()
    } else {
        format!("{what}: {message}")
    }
}

fn condition_line(condition: &Condition) -> String {
    let reason = condition
        .reason
        .as_deref()
        .map(|reason| format!(" ({reason})"))
        .unwrap_or_default();
    stated(
        &format!("{}={}{reason}", condition.kind, condition.status),
        condition.message.as_deref().unwrap_or_default(),
    )
}

fn last_change(conditions: &[Condition]) -> Option<Timestamp> {
    conditions
        .iter()
        .filter_map(|condition| condition.since)
        .max()
}

/// The message without the image's name and quoted parts: an image called `team/denied` is not an error.
fn without_image(message: &str, image: &str) -> String {
    let mut out = String::with_capacity(message.len());
    for (index, part) in message.split('"').enumerate() {
        if index % 2 == 0 {
            out.push_str(part);
        } else {
            out.push('…');
        }
    }
    let bare = image.split(['@']).next().unwrap_or(image);
    let mut names = vec![image, bare];
    if let Some((_, path)) = bare.split_once('/') {
        names.push(path);
    }
    for name in names {
        if name.len() > 3 {
            out = out.replace(name, "…");
        }
    }
    out
}
