//! What the pods, their containers and what controls them state.

use super::{Facts, Place, condition_line, last_change, stated, without_image};
use crate::diagnose::hit::Tier;
use crate::diagnose::knowledge::{Sign, StateField, TextPlace};
use crate::diagnose::standing::{deaths, has_never_run, has_recovered};
use crate::estate::ContainerState;

impl Facts<'_> {
    pub(super) fn containers(&mut self) {
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
            // What has written a log was started: its 128 is its own, as git's is.
            let started = self.evidence.logs.iter().any(|log| {
                log.pod == death.pod.name
                    && log.container == death.container.name
                    && !log.lines.is_empty()
            });
            let not_started = self
                .knowledge
                .index("exit_128")
                .filter(|_| started && !matches!(reason, "StartError" | "ContainerCannotRun"));
            for (failure, _, sign) in self.signs() {
                if Some(failure) == not_started {
                    continue;
                }
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
                && has_never_run(death.pod)
                && let Some(failure) = self.knowledge.index("init_container_failed")
            {
                self.add(failure, Tier::State, place, line);
            }
        }
    }

    pub(super) fn pods(&mut self) {
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

    pub(super) fn job(&mut self) {
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
}
