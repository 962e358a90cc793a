//! What Kubernetes, Run:AI and the nodes state about the job, matched against the knowledge. Pure.

mod events;
mod nodes;
mod states;

use jiff::Timestamp;

use self::events::EVENT_AGE;
use super::hit::{Hit, Tier};
use super::knowledge::{Failure, Knowledge, Sign, StateField, TextPlace};
use super::{Evidence, pending};
use crate::estate::{Condition, Pod};

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
                && reasons.iter().any(|known| is_reason(known, reason))
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

/// A known reason may end in `*`, as in `OutOf*` for `OutOfcpu` and `OutOfnvidia.com/gpu`.
fn is_reason(known: &str, reason: &str) -> bool {
    match known.strip_suffix('*') {
        Some(start) => reason.starts_with(start),
        None => reason == known,
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
