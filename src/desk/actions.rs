//! Actions at the desk: what can be done, what one of them would do exactly, and asking for it.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::approvals::{decision_buttons, what};
use super::execute::{Desk, who};
use super::reply::{answer, card, code, header, problem, say, small, unavailable};
use super::{Answer, Outcome, Principal};
use crate::action::plan::Plan;
use crate::action::request::ActionRequest;
use crate::action::systems::ActionError;
use crate::action::{Entry, catalogue, executor};
use crate::alert::Severity;
use crate::chat::card::{Block, Tone};
use crate::decide::Proposal;
use crate::diagnose::SafetyClass;
use crate::redact;
use crate::safety::{Foreseen, Proposed};

/// Executions shown with the catalogue.
const RECENT: i64 = 10;
/// Most of one sentence about an action that is shown.
const SENTENCE: usize = 600;

impl Desk {
    /// The catalogue, and what was done lately.
    pub(super) async fn list_actions(&self, now: Timestamp) -> Answer {
        let executions = match self.store.executions(RECENT).await {
            Ok(executions) => executions,
            Err(error) => return unavailable(&error),
        };
        let headline = format!("{} kinds of action", catalogue().len());
        let mut blocks = vec![header(&headline)];
        let lines: Vec<String> = catalogue().iter().map(line).collect();
        for part in lines.chunks(10) {
            blocks.push(say(&part.join("\n")));
        }
        if executions.is_empty() {
            blocks.push(small("No action was carried out yet."));
        }
        for execution in &executions {
            let (text, _) = executor::told(execution);
            blocks.push(small(&format!(
                "{}: {}",
                super::reply::ago(execution.created, now),
                redact::line(&text, SENTENCE)
            )));
        }
        let kinds: Vec<Value> = catalogue().iter().map(entry_json).collect();
        answer(
            card(Tone::Info, &headline, blocks),
            json!({ "catalogue": kinds, "executions": executions }),
        )
    }

    /// What an action would do exactly, and what each gate would say to it.
    pub(super) async fn preview_action(
        &self,
        principal: &Principal,
        request: &ActionRequest,
        now: Timestamp,
    ) -> Answer {
        let plan = match self.plan(request, now).await {
            Ok(plan) => plan,
            Err(answer) => return *answer,
        };
        let proposal = proposal(&plan, principal);
        let foreseen = match self.safety.foresee(&proposal, Some(principal), now).await {
            Ok(foreseen) => foreseen,
            Err(error) => return unavailable(&error),
        };
        let headline = format!("Preview: {}", redact::line(&plan.spec.to_string(), 300));
        let mut blocks = vec![
            header("Preview of an action; nothing was changed"),
            say(&redact::line(&plan.spec.to_string(), SENTENCE)),
            say(&format!("It would: {}", redact::line(&plan.what, SENTENCE))),
        ];
        blocks.extend(radius(&plan));
        for sentence in gates(&foreseen) {
            blocks.push(small(&sentence));
        }
        answer(
            card(Tone::Info, &headline, blocks),
            json!({
                "action": plan.spec, "would": plan.what, "impact": plan.impact,
                "blast_radius": {"touched": plan.scope.touched, "instances": plan.scope.instances},
                "gates": foreseen, "inverse": plan.spec.kind.entry().inverse,
            }),
        )
    }

    /// Asks for an action: it is planned, and somebody else decides.
    pub(super) async fn run_action(
        &self,
        principal: &Principal,
        request: &ActionRequest,
        now: Timestamp,
    ) -> Answer {
        let plan = match self.plan(request, now).await {
            Ok(plan) => plan,
            Err(answer) => return *answer,
        };
        let proposal = proposal(&plan, principal);
        let proposed = async {
            let mut tx = self.store.begin().await?;
            let proposed = self
                .safety
                .request(&mut tx, None, &proposal, principal, now)
                .await?;
            tx.commit().await?;
            Ok::<_, crate::store::StoreError>(proposed)
        };
        match proposed.await {
            Ok(proposed) => told(&proposed, &plan),
            Err(error) => unavailable(&error),
        }
    }

    async fn plan(&self, request: &ActionRequest, now: Timestamp) -> Result<Plan, Box<Answer>> {
        let spec = {
            let estate = self
                .estate
                .read()
                .unwrap_or_else(std::sync::PoisonError::into_inner);
            let clusters = self.systems.clusters.names();
            request.resolve(&estate, &clusters)
        };
        let spec = spec.map_err(|why| {
            Box::new(problem(
                Outcome::Invalid,
                redact::line(&format!("I can't do that: {why}."), SENTENCE),
                "`actions` lists what can be done, with the parameters of each.",
            ))
        })?;
        self.systems
            .plan(&self.estate, spec, now)
            .await
            .map_err(|error| {
                let (ActionError::Changed(why)
                | ActionError::Refused(why)
                | ActionError::Unknown(why)) = error;
                Box::new(problem(
                    Outcome::Refused,
                    redact::line(&format!("That would not be done: {why}."), SENTENCE),
                    "Nothing was changed, and nobody was asked.",
                ))
            })
    }
}

fn proposal(plan: &Plan, by: &Principal) -> Proposal {
    plan.proposal(
        SafetyClass::Gated,
        plan.spec.kind.entry().risk.max(Severity::Medium),
        format!("{} asked for it.", who(by)),
    )
}

fn radius(plan: &Plan) -> Vec<Block> {
    let mut blocks: Vec<Block> = plan
        .impact
        .iter()
        .map(|sentence| small(&redact::line(sentence, SENTENCE)))
        .collect();
    blocks.push(small(&format!(
        "It takes {} of {} working instances.",
        plan.scope.touched,
        plan.scope.instances.max(plan.scope.touched)
    )));
    blocks
}

/// What each gate would say, one sentence each.
fn gates(foreseen: &Foreseen) -> Vec<String> {
    let mut told = vec![
        match &foreseen.stop {
            Some(why) => format!("Kill switch: refuses, because {why}."),
            None => "Kill switch: lets it through.".to_owned(),
        },
        match &foreseen.limit {
            Some(why) => format!("Limits: refuse for now: {why}."),
            None => "Limits: let it through.".to_owned(),
        },
    ];
    told.push(match (&foreseen.asks, &foreseen.log_only) {
        (_, Some(why)) => format!("Approval: it would only be recorded: {why}."),
        (Some(_), None) if foreseen.nobody_approves => {
            "Approval: needed, and nobody may give it: `APPROVERS` is empty.".to_owned()
        }
        (Some(why), None) => format!("Approval: needed: {why}."),
        (None, None) => "Approval: not needed.".to_owned(),
    });
    if foreseen.dry_run {
        told.push("Dry run is on: everything but the last call would be done.".to_owned());
    }
    told
}

fn told(proposed: &Proposed, plan: &Plan) -> Answer {
    match proposed {
        Proposed::Asked(approval) => {
            let text = format!(
                "Asked: {} waits for approval #{}.",
                what(approval),
                approval.number
            );
            let mut blocks = vec![
                say(&text),
                say(&format!("It would: {}", redact::line(&plan.what, SENTENCE))),
            ];
            blocks.extend(radius(plan));
            blocks.push(Block::Buttons {
                buttons: decision_buttons(approval),
            });
            answer(
                card(Tone::Warning, &text, blocks),
                json!({ "asked": approval, "would": plan.what }),
            )
        }
        Proposed::Permitted(execution) | Proposed::AlreadyPermitted(execution) => {
            let text = format!(
                "Permitted: {}.",
                redact::line(&execution.spec.to_string(), 300)
            );
            answer(
                card(Tone::Good, &text, vec![say(&text)]),
                json!({ "execution": execution }),
            )
        }
        Proposed::AlreadyDecided(approval) => problem(
            Outcome::Refused,
            format!(
                "#{} was decided before: {}.",
                approval.number,
                what(approval)
            ),
            "",
        ),
        Proposed::LogOnly(why) => problem(Outcome::Refused, format!("Not done: {why}."), ""),
        Proposed::Invalid(why) => problem(
            Outcome::Invalid,
            redact::line(&format!("I can't do that: {why}."), SENTENCE),
            "",
        ),
    }
}

fn line(entry: &Entry) -> String {
    let names: Vec<&str> = entry.parameters.iter().map(|p| p.name).collect();
    let parameters = if names.is_empty() {
        String::new()
    } else {
        format!(" ({})", names.join(", "))
    };
    let on = if entry.objects.is_empty() {
        entry.system.to_string()
    } else {
        entry.objects.join(", ")
    };
    format!("{}: {} {on}{parameters}", code(entry.name), entry.verb)
}

fn entry_json(entry: &Entry) -> Value {
    let parameters: Vec<Value> = entry
        .parameters
        .iter()
        .map(|parameter| {
            json!({
                "name": parameter.name, "required": parameter.required,
                "shape": parameter.shape.to_string(), "about": parameter.about,
            })
        })
        .collect();
    json!({
        "name": entry.name, "does": entry.verb, "system": entry.system, "objects": entry.objects,
        "parameters": parameters, "risk": entry.risk, "asks": entry.asks, "restarts": entry.restarts,
        "major": entry.major, "inverse": entry.inverse,
    })
}
