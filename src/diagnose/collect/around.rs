//! Questions about what stands around a job: its volumes, the quotas over it, and what was changed.

use jiff::SignedDuration;

use super::{Part, Question, plan, told};
use crate::diagnose::Evidence;
use crate::diagnose::standing::is_unscheduled;
use crate::diagnose::surroundings::{Change, ChangeKind};
use crate::watch::kubernetes::client::{ClusterClient, KubeError};

/// Claims that are asked about; a gang mounts the same ones.
const CLAIMS: usize = 8;
/// ConfigMaps and Secrets that are asked about.
const CONFIGURATIONS: usize = 12;
/// A change longer before the failure is no news.
const NEWS: SignedDuration = SignedDuration::from_hours(7 * 24);
/// Changes told of one object.
const CHANGES: usize = 5;

pub(super) fn questions<'a>(cluster: &'a ClusterClient, evidence: &Evidence) -> Vec<Question<'a>> {
    let mut questions = claims(cluster, evidence);
    questions.extend(quotas(cluster, evidence));
    questions.extend(revisions(cluster, evidence));
    questions.extend(configuration(cluster, evidence));
    questions
}

fn claims<'a>(cluster: &'a ClusterClient, evidence: &Evidence) -> Vec<Question<'a>> {
    let mut names: Vec<String> = Vec::new();
    for name in evidence.pods.iter().flat_map(|pod| &pod.claims) {
        if names.len() < CLAIMS && !names.contains(name) {
            names.push(name.clone());
        }
    }
    names
        .into_iter()
        .map(|name| {
            let namespace = evidence.job.namespace.clone();
            Question {
                about: format!("The state of volume claim {name}"),
                ask: Box::pin(async move {
                    let claim = cluster.claim(&namespace, &name).await;
                    claim.map(Part::Claim).map_err(|error| told(&error))
                }),
            }
        })
        .collect()
}

/// Asked where something waits to start: to what runs or ran, a quota is of no account.
fn quotas<'a>(cluster: &'a ClusterClient, evidence: &Evidence) -> Vec<Question<'a>> {
    if !evidence.pods.is_empty() && !evidence.pods.iter().any(is_unscheduled) {
        return Vec::new();
    }
    let (namespace, same) = (
        evidence.job.namespace.clone(),
        evidence.job.namespace.clone(),
    );
    let project = evidence.project.clone().or_else(|| {
        let of_pod = |pod: &crate::estate::Pod| pod.project.clone();
        evidence.pods.iter().find_map(of_pod)
    });
    vec![
        Question {
            about: "The quotas of the namespace".to_owned(),
            ask: Box::pin(async move {
                let quotas = cluster.resource_quotas(&namespace).await;
                quotas.map(Part::Quotas).map_err(|error| told(&error))
            }),
        },
        Question {
            about: "The queue of the project".to_owned(),
            ask: Box::pin(async move {
                let quotas = cluster.queue(&same, project.as_deref()).await;
                quotas.map(Part::Quotas).map_err(|error| told(&error))
            }),
        },
    ]
}

fn revisions<'a>(cluster: &'a ClusterClient, evidence: &Evidence) -> Vec<Question<'a>> {
    let since = evidence.collected.checked_sub(NEWS).unwrap_or_default();
    evidence
        .controllers
        .iter()
        .filter(|controller| matches!(controller.kind.as_str(), "Deployment" | "StatefulSet"))
        .map(|controller| {
            let (kind, name) = (controller.kind.clone(), controller.name.clone());
            let namespace = evidence.job.namespace.clone();
            Question {
                about: format!("The roll-outs of {kind} {name}"),
                ask: Box::pin(async move {
                    let changes = cluster.revisions(&namespace, &kind, &name).await;
                    let recent = |changes: Vec<Change>| {
                        changes
                            .into_iter()
                            .filter(|change| change.at >= since)
                            .take(CHANGES)
                            .collect()
                    };
                    changes
                        .map(|changes| Part::Changes(recent(changes)))
                        .map_err(|error| told(&error))
                }),
            }
        })
        .collect()
}

/// When the configuration was written that the pod reads which matters most. To read that needs rights that many do not
/// grant, and rightly so: then it is left out without a word.
fn configuration<'a>(cluster: &'a ClusterClient, evidence: &Evidence) -> Option<Question<'a>> {
    let pod = plan::pods(evidence).first()?.name.clone();
    let namespace = evidence.job.namespace.clone();
    let since = evidence.collected.checked_sub(NEWS).unwrap_or_default();
    Some(Question {
        about: "The changes of its configuration".to_owned(),
        ask: Box::pin(async move {
            let names = cluster
                .config_names(&namespace, &pod)
                .await
                .map_err(|error| told(&error))?;
            let maps = names
                .config_maps
                .iter()
                .map(|name| (ChangeKind::Configuration, name));
            let secrets = names.secrets.iter().map(|name| (ChangeKind::Secret, name));
            let mut changes = Vec::new();
            for (kind, name) in maps.chain(secrets).take(CONFIGURATIONS) {
                match cluster.config_change(&namespace, kind, name).await {
                    Ok(change) => changes.extend(change.filter(|change| change.at >= since)),
                    // The next one of the kind is forbidden too.
                    Err(KubeError::Forbidden { .. } | KubeError::Unauthorized) => {}
                    Err(error) => return Err(told(&error)),
                }
            }
            Ok(Part::Changes(changes))
        }),
    })
}
