//! What is wrong with one job at one time, and which of its symptoms tells most.

use std::fmt::Write as _;

use super::Subject;
use super::identity::Identity;
use crate::detect::Symptom;

/// One look at one job (or node, or source).
#[derive(Clone, Debug, PartialEq)]
pub struct JobReport {
    pub identity: Identity,
    pub subject: Subject,
    /// Failures and expected life-cycle events; empty when nothing is wrong.
    pub symptoms: Vec<Symptom>,
    /// Claims that the job's pods mount.
    pub claims: Vec<String>,
    pub presence: Presence,
}

/// Whether the job is still there to be looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    Present,
    /// It ended well.
    Finished,
    /// No source knows it any more: deleted, not recovered.
    Removed,
}

impl JobReport {
    /// Where in the estate this was seen.
    pub fn view(&self) -> String {
        view(
            &self.identity.cluster,
            &self.identity.namespace,
            &self.identity.name,
        )
    }

    /// Symptoms that are failures.
    pub fn failures(&self) -> impl Iterator<Item = &Symptom> {
        self.symptoms.iter().filter(|symptom| !symptom.expected)
    }

    /// Life-cycle events that are not failures.
    pub fn expected(&self) -> impl Iterator<Item = &Symptom> {
        self.symptoms.iter().filter(|symptom| symptom.expected)
    }

    /// Whether anything is wrong.
    pub fn failing(&self) -> bool {
        self.failures().next().is_some()
    }

    /// The failure that tells most about the cause; among equals the one that began first.
    pub fn most_telling(&self) -> Option<&Symptom> {
        self.failures()
            .min_by_key(|symptom| (std::cmp::Reverse(telling(symptom)), symptom.since))
    }
}

/// Names one place of the estate.
#[must_use]
pub fn view(cluster: &str, namespace: &str, name: &str) -> String {
    format!("{cluster}/{namespace}/{name}")
}

/// How much a state says about the cause, 0 to 3: a wrapper nothing, `CrashLoopBackOff` little, `OOMKilled` most.
#[must_use]
pub fn telling(symptom: &Symptom) -> u8 {
    if symptom.wrapper {
        return 0;
    }
    match symptom.state.as_str() {
        "Failed" | "Unknown" => 0,
        "CrashLoopBackOff" | "Error" | "Unhealthy" => 1,
        "OOMKilled"
        | "Evicted"
        | "NodeLost"
        | "NodeNotReady"
        | "ErrImagePull"
        | "ImagePullBackOff"
        | "InvalidImageName"
        | "FailedMount"
        | "CreateContainerConfigError"
        | "DeadlineExceeded" => 3,
        _ => 2,
    }
}

/// Identifies a set of failures, so that hearing the same again can be told from something new.
#[must_use]
pub fn digest<'a>(failures: impl Iterator<Item = &'a Symptom>) -> String {
    use sha2::{Digest, Sha256};
    let mut lines: Vec<String> = failures
        .map(|s| {
            let mut line = String::new();
            // Writing to a string cannot fail. Times and details are left out: they hold back-off counters and
            // rounded polls, which are no news.
            let _ = write!(line, "{}\n{:?}\n{:?}", s.state, s.pod, s.container);
            line
        })
        .collect();
    lines.sort_unstable();
    hex::encode(&Sha256::digest(lines.join("\n\n"))[..16])
}

#[cfg(test)]
pub(crate) mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::alert::identity::Alias;
    use crate::detect::FailureClass;

    pub(crate) fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_790_000_000 + second).expect("a time in range")
    }

    pub(crate) fn subject(name: &str) -> Subject {
        Subject {
            cluster: "prod".to_owned(),
            namespace: "runai-ml".to_owned(),
            name: name.to_owned(),
            project: Some("ml".to_owned()),
            kind: "Training".to_owned(),
            runai_id: None,
            owner: Some("mira".to_owned()),
            gpus: 1.0,
            pods_total: 1,
            created: at(0),
            status: "Running".to_owned(),
        }
    }

    pub(crate) fn symptom(class: FailureClass, state: &str, since: i64) -> Symptom {
        Symptom {
            class,
            state: state.to_owned(),
            detail: format!("{state} was stated"),
            pod: Some("train-0".to_owned()),
            container: Some("main".to_owned()),
            node: None,
            image: None,
            since: at(since),
            wrapper: matches!(
                state,
                "Failed" | "BackoffLimitExceeded" | "Degraded" | "CrashLoopBackOff"
            ),
            expected: false,
        }
    }

    pub(crate) fn report(name: &str, symptoms: Vec<Symptom>) -> JobReport {
        JobReport {
            identity: Identity {
                aliases: vec![Alias::Kubernetes(format!("uid-{name}"))],
                cluster: "prod".to_owned(),
                namespace: "runai-ml".to_owned(),
                name: name.to_owned(),
                created: at(0),
            },
            subject: subject(name),
            symptoms,
            claims: Vec::new(),
            presence: Presence::Present,
        }
    }

    #[test]
    fn the_cause_is_more_telling_than_what_wraps_it() {
        let all = report(
            "train",
            vec![
                symptom(FailureClass::Crashed, "Failed", 1),
                symptom(FailureClass::Crashed, "CrashLoopBackOff", 2),
                symptom(FailureClass::Crashed, "OOMKilled", 3),
            ],
        );
        assert_eq!(
            all.most_telling().map(|s| s.state.as_str()),
            Some("OOMKilled")
        );
    }

    #[test]
    fn the_digest_of_symptoms_is_blind_to_their_order_and_times() {
        let (a, b) = (
            symptom(FailureClass::Crashed, "Error", 1),
            symptom(FailureClass::Crashed, "OOMKilled", 2),
        );
        let mut later = a.clone();
        later.since = at(9);
        assert_eq!(
            digest([&a, &b].into_iter()),
            digest([&b, &later].into_iter())
        );
        assert_ne!(digest([&a].into_iter()), digest([&a, &b].into_iter()));
    }
}
