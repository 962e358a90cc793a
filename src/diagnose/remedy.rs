//! Which action a finding proposes: what its row allows, turned into an action for what the job is. Pure.

use serde_json::{Map, Value};

use super::analyze::{Case, First};
use super::knowledge::{Failure, NodeNeed, Remedy};
use super::{Remediation, SafetyClass};
use crate::action::ActionKind;
use crate::estate::Controller;

/// The remediation of a cause, or `None`: for a human, or nothing to do.
pub(super) fn remediation(case: &Case<'_>, row: &Failure, first: &First) -> Option<Remediation> {
    if row.safety == SafetyClass::Human {
        return None;
    }
    match row.action {
        Remedy::Nothing => None,
        Remedy::Restart => restart(case, row.safety, None),
        Remedy::RestartElsewhere => {
            let node = case
                .hits
                .iter()
                .filter(|hit| case.row(hit).id == row.id)
                .find_map(|hit| hit.node.clone())
                .or_else(|| first.node.clone());
            restart(case, row.safety, node.as_deref())
        }
        Remedy::Suspend => suspend(case),
        // A stopped workload is resumed only when somebody asks.
        Remedy::Resume => resume(case),
        Remedy::Cordon => node_of(case, row, first).map(|node| cordon(case, &node)),
    }
}

/// What a fault of a node proposes beside the job's own remedy.
pub(super) fn node_remediation(
    case: &Case<'_>,
    row: &Failure,
    first: &First,
) -> Option<Remediation> {
    let out = row.node == Some(NodeNeed::Out) || row.action == Remedy::Cordon;
    if !out {
        return None;
    }
    node_of(case, row, first).map(|node| cordon(case, &node))
}

fn node_of(case: &Case<'_>, row: &Failure, first: &First) -> Option<String> {
    case.hits
        .iter()
        .filter(|hit| case.row(hit).id == row.id)
        .find_map(|hit| hit.node.clone())
        .or_else(|| first.node.clone())
}

fn restart(case: &Case<'_>, safety: SafetyClass, avoid: Option<&str>) -> Option<Remediation> {
    let safety = if safety == SafetyClass::Quiet {
        SafetyClass::Gated
    } else {
        safety
    };
    let evidence = case.evidence;
    if let Some(workload) = evidence
        .workload
        .as_ref()
        .filter(|workload| workload.can_suspend)
    {
        let parameters = runai(case, &workload.id, &workload.kind, &workload.name, avoid);
        return Some(proposal(ActionKind::RunaiRestart, parameters, safety));
    }
    let controller = top_controller(case)?;
    let kind = match controller.kind.as_str() {
        "Job" => ActionKind::RecreateJob,
        "Deployment" | "StatefulSet" | "DaemonSet" => ActionKind::RolloutRestart,
        // A training operator's job cannot be restarted as a whole without its operator's help.
        _ => return None,
    };
    Some(proposal(kind, kubernetes(controller, avoid), safety))
}

fn suspend(case: &Case<'_>) -> Option<Remediation> {
    if let Some(workload) = case
        .evidence
        .workload
        .as_ref()
        .filter(|workload| workload.can_suspend)
    {
        let parameters = runai(case, &workload.id, &workload.kind, &workload.name, None);
        return Some(proposal(
            ActionKind::RunaiSuspend,
            parameters,
            SafetyClass::Gated,
        ));
    }
    let controller = top_controller(case).filter(|controller| controller.kind == "Job")?;
    Some(proposal(
        ActionKind::SuspendJob,
        kubernetes(controller, None),
        SafetyClass::Gated,
    ))
}

fn resume(case: &Case<'_>) -> Option<Remediation> {
    if let Some(workload) = &case.evidence.workload {
        let parameters = runai(case, &workload.id, &workload.kind, &workload.name, None);
        return Some(proposal(
            ActionKind::RunaiResume,
            parameters,
            SafetyClass::Gated,
        ));
    }
    let controller = top_controller(case).filter(|controller| controller.kind == "Job")?;
    Some(proposal(
        ActionKind::ResumeJob,
        kubernetes(controller, None),
        SafetyClass::Gated,
    ))
}

fn cordon(case: &Case<'_>, node: &str) -> Remediation {
    let uid = case
        .evidence
        .nodes
        .iter()
        .find(|known| known.name == node)
        .map(|node| node.uid.clone());
    let mut parameters = Map::new();
    put(&mut parameters, "cluster", Some(&case.evidence.job.cluster));
    put(&mut parameters, "kind", Some("Node"));
    put(&mut parameters, "name", Some(node));
    put(&mut parameters, "uid", uid.as_deref());
    proposal(ActionKind::CordonNode, parameters, SafetyClass::Gated)
}

/// The controller that stands for the whole job: one that no other of the job's controllers owns.
fn top_controller<'a>(case: &'a Case<'_>) -> Option<&'a Controller> {
    let controllers = &case.evidence.controllers;
    let owned_by_other = |controller: &Controller| {
        controller.owner.as_ref().is_some_and(|owner| {
            controllers
                .iter()
                .any(|other| other.kind == owner.kind && other.name == owner.name)
        })
    };
    controllers
        .iter()
        .filter(|controller| !owned_by_other(controller) && controller.deleting.is_none())
        // A re-run leaves its predecessor behind for a while.
        .max_by_key(|controller| controller.created)
}

fn kubernetes(controller: &Controller, avoid: Option<&str>) -> Map<String, Value> {
    let mut parameters = Map::new();
    put(&mut parameters, "cluster", Some(&controller.cluster));
    put(&mut parameters, "namespace", Some(&controller.namespace));
    put(&mut parameters, "kind", Some(&controller.kind));
    put(&mut parameters, "name", Some(&controller.name));
    put(&mut parameters, "uid", Some(&controller.uid));
    put(&mut parameters, "avoid_node", avoid);
    parameters
}

fn runai(
    case: &Case<'_>,
    id: &str,
    kind: &str,
    name: &str,
    avoid: Option<&str>,
) -> Map<String, Value> {
    let mut parameters = Map::new();
    put(&mut parameters, "cluster", Some(&case.evidence.job.cluster));
    put(
        &mut parameters,
        "namespace",
        Some(&case.evidence.job.namespace),
    );
    put(&mut parameters, "project", case.evidence.project.as_deref());
    put(&mut parameters, "kind", Some(kind));
    put(&mut parameters, "name", Some(name));
    put(&mut parameters, "workload_id", Some(id));
    put(&mut parameters, "avoid_node", avoid);
    parameters
}

fn put(parameters: &mut Map<String, Value>, key: &str, value: Option<&str>) {
    if let Some(value) = value {
        parameters.insert(key.to_owned(), Value::String(value.to_owned()));
    }
}

fn proposal(kind: ActionKind, parameters: Map<String, Value>, safety: SafetyClass) -> Remediation {
    let Ok(Value::String(action)) = serde_json::to_value(kind) else {
        unreachable!("a unit variant is serialized as its name")
    };
    Remediation {
        action,
        parameters,
        safety,
    }
}
