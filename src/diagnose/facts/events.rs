//! What events say of the job, its pods and its nodes.

use super::{Facts, Place, stated, without_image};
use crate::diagnose::hit::Tier;
use crate::diagnose::knowledge::{Sign, TextPlace, When};
use crate::diagnose::standing::{has_recovered, is_pulling, is_ready, is_starting};
use crate::estate::{Event, Pod};

use jiff::SignedDuration;

/// An event older than this is history, not evidence.
pub(super) const EVENT_AGE: SignedDuration = SignedDuration::from_hours(24);

impl Facts<'_> {
    pub(super) fn events(&mut self) {
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
                weak: node.is_some_and(|node| self.is_before_the_job(node, event)),
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
                    && reasons.iter().any(|reason| event.reason == *reason)
                    && (on.is_empty() || on.iter().any(|kind| event.object.kind == *kind))
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

    /// What a node reported before any of the job's pods was on it happened to somebody else.
    fn is_before_the_job(&self, node: &str, event: &Event) -> bool {
        self.evidence
            .pods
            .iter()
            .filter(|pod| pod.node.as_deref() == Some(node))
            .map(|pod| pod.created)
            .min()
            .is_some_and(|created| event.last < created)
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
}
