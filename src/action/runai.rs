//! Acting on Run:AI workloads: suspend, resume, delete, and a restart made of the first two.

use std::time::Duration;

use tokio::time::sleep;

use super::systems::{ActionError, Call, Prepared, Seen, sent_to_runai};
use super::{ActionKind, ActionSpec, Target};
use crate::estate::Phase;
use crate::safety::{Permit, Safety};
use crate::watch::runai::{RunaiClient, RunaiError};

/// How often the phase is read while a restart waits for `Stopped`. The whole wait ends with the action's time-out.
const PHASE_PAUSE: Duration = Duration::from_secs(2);

pub(super) async fn prepare(
    client: &RunaiClient,
    spec: &ActionSpec,
) -> Result<Prepared, ActionError> {
    let Target::Runai {
        workload_id, name, ..
    } = &spec.target
    else {
        unreachable!("the caller chose by the target");
    };
    let workload = match client.workload(workload_id).await {
        Ok(detail) => detail.workload,
        Err(RunaiError::NotFound) => {
            return Err(ActionError::Changed(
                "Run:AI no longer knows the workload".to_owned(),
            ));
        }
        Err(error) => {
            return Err(ActionError::Refused(format!(
                "nothing was done: {}",
                error.told()
            )));
        }
    };
    if &workload.name != name {
        return Err(ActionError::Changed(format!(
            "the workload is now called {}",
            workload.name
        )));
    }
    let phase = workload.phase.as_str();
    let already = match (&workload.phase, spec.kind) {
        (Phase::Deleting | Phase::Terminating, _) => Some("it is being deleted"),
        (
            Phase::Completed,
            ActionKind::RunaiRestart | ActionKind::RunaiSuspend | ActionKind::RunaiResume,
        ) => Some("it has completed"),
        (Phase::Stopped | Phase::Stopping, ActionKind::RunaiSuspend) => {
            Some("it is suspended already")
        }
        (Phase::Running | Phase::Resuming, ActionKind::RunaiResume) => Some("it is not suspended"),
        _ => None,
    };
    if let Some(why) = already {
        return Err(ActionError::Changed(format!("{why} (phase {phase})")));
    }
    let may = match spec.kind {
        ActionKind::RunaiDelete => workload.can_delete,
        _ => workload.can_suspend,
    };
    if !may {
        return Err(ActionError::Refused(format!(
            "Run:AI does not offer to {} a workload of kind {}",
            spec.kind.verb(),
            workload.kind
        )));
    }
    let calls = match spec.kind {
        ActionKind::RunaiRestart => "suspend it, wait for phase Stopped, then resume it",
        kind => kind.verb(),
    };
    Ok(Prepared {
        impact: Vec::new(),
        what: format!(
            "{}: {calls} (workload {workload_id}, kind {}, phase {phase})",
            spec.target, workload.kind
        ),
        memory: None,
        call: Call::Runai {
            kind: workload.kind.to_string(),
        },
    })
}

pub(super) async fn carry_out(
    client: &RunaiClient,
    safety: &Safety,
    permit: &Permit,
    kind: &str,
) -> Result<String, ActionError> {
    let Target::Runai {
        workload_id: id, ..
    } = &permit.spec().target
    else {
        unreachable!("the caller chose by the target");
    };
    match permit.spec().kind {
        ActionKind::RunaiSuspend => client
            .suspend(kind, id)
            .await
            .map(|()| "Run:AI accepted to suspend it"),
        ActionKind::RunaiResume => client
            .resume(kind, id)
            .await
            .map(|()| "Run:AI accepted to resume it"),
        ActionKind::RunaiDelete => client
            .delete(kind, id)
            .await
            .map(|()| "Run:AI accepted to delete it"),
        ActionKind::RunaiRestart => return restart(client, safety, permit, kind, id).await,
        _ => unreachable!("an action that does not fit its target is never permitted"),
    }
    .map(str::to_owned)
    .map_err(|error| sent_to_runai(&error))
}

/// There is no restart in the API. Resuming without having seen `Stopped` could be swallowed, so it is not done blindly.
async fn restart(
    client: &RunaiClient,
    safety: &Safety,
    permit: &Permit,
    kind: &str,
    id: &str,
) -> Result<String, ActionError> {
    client
        .suspend(kind, id)
        .await
        .map_err(|error| sent_to_runai(&error))?;
    loop {
        match client.workload(id).await {
            Ok(detail) if detail.workload.phase == Phase::Stopped => break,
            Ok(detail) if detail.workload.phase == Phase::Deleting => {
                return Err(ActionError::Refused(
                    "it was suspended, and then somebody deleted it".to_owned(),
                ));
            }
            Err(RunaiError::NotFound) => {
                return Err(ActionError::Refused(
                    "it was suspended, and then it was gone".to_owned(),
                ));
            }
            // Still stopping, or the control plane has a moment's trouble; the action's time-out ends this.
            Ok(_) | Err(_) => sleep(PHASE_PAUSE).await,
        }
    }
    match safety.still_refused(permit).await {
        Ok(None) => {}
        Ok(Some(refusal)) => {
            return Err(ActionError::Refused(format!(
                "it was suspended but not resumed: {refusal}"
            )));
        }
        Err(error) => {
            return Err(ActionError::Refused(format!(
                "it was suspended but not resumed, because the gate could not be asked: {error}"
            )));
        }
    }
    match client.resume(kind, id).await {
        Ok(()) => {
            Ok("it was suspended, reached Stopped, and Run:AI accepted to resume it".to_owned())
        }
        Err(error) => Err(match sent_to_runai(&error) {
            ActionError::Unknown(why) => ActionError::Unknown(format!(
                "it was suspended; whether it resumes is unknown: {why}"
            )),
            ActionError::Changed(why) | ActionError::Refused(why) => {
                ActionError::Refused(format!("it was suspended but not resumed: {why}"))
            }
        }),
    }
}

pub(super) async fn observe(
    client: &RunaiClient,
    kind: ActionKind,
    id: &str,
) -> Result<Seen, String> {
    let workload = match client.workload(id).await {
        Ok(detail) => detail.workload,
        Err(RunaiError::NotFound) if kind == ActionKind::RunaiDelete => {
            return Ok(Seen::Reached("Run:AI no longer lists it".to_owned()));
        }
        Err(RunaiError::NotFound) => {
            return Ok(Seen::NotYet("Run:AI no longer knows it".to_owned()));
        }
        Err(error) => return Err(error.told()),
    };
    let mut told = format!("phase {}", workload.phase.as_str());
    if let Some(message) = workload.phase_message.as_deref().filter(|m| !m.is_empty()) {
        told = format!("{told}: {message}");
    }
    let reached = match kind {
        ActionKind::RunaiSuspend => workload.phase == Phase::Stopped,
        ActionKind::RunaiRestart | ActionKind::RunaiResume => {
            let all = workload
                .requested_pods
                .is_none_or(|wanted| workload.running_pods >= wanted);
            workload.phase == Phase::Completed || (workload.phase == Phase::Running && all)
        }
        _ => false,
    };
    Ok(if reached {
        Seen::Reached(told)
    } else {
        Seen::NotYet(told)
    })
}
