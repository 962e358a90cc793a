//! Files with mistakes, and what is said about them.

use super::check::check;
use super::{Known, known_causes};
use crate::diagnose::knowledge::Knowledge;

fn known() -> Known {
    Known {
        causes: known_causes(&Knowledge::embedded()),
        ..Known::default()
    }
}

/// `line:column problem` of each mistake.
fn mistakes(text: &str) -> Vec<String> {
    check(text, Some("example"), &known())
        .mistakes
        .iter()
        .map(|m| format!("{}:{} {}", m.at.line, m.at.column, m.problem))
        .collect()
}

const HEAD: &str = "name: example\ndescription: One.\nwhy: Two.\n";

fn with_head(rest: &str) -> Vec<String> {
    mistakes(&format!("{HEAD}{rest}"))
}

#[test]
fn all_mistakes_of_a_file_are_told_at_once_with_their_places() {
    let text = r#"
name: exampel
descripton: One sentence.
why: Because.
severity: hihg
trigger:
  - cause: host_omo
  - schedule: "0 25 * * *"
parameters:
  namespace: {type: nmae, about: where}
  replicas: {type: integer, least: 1, most: 5, default: 9, about: how many}
steps:
  - id: restart
    action: rollout_restrat
    target: {kind: Deployment, namespace: "${namespace}", name: web}
  - id: restart
    action: rollout_restart
    timeout: 5
    target: {kind: Node, namespace: shop, name: "${wrokload}"}
    on_failure: retry
  - id: wait
    action: wait
    with: {for: "${replicas}"}
    when: "${steps.later.found} == true"
  - id: later
    action: look
    target: {job: "${alert.job}"}
    outputs: {found: result.fuond}
"#;
    insta::assert_snapshot!(mistakes(text).join("\n"));
}

#[test]
fn a_step_must_fit_its_action() {
    for (step, told) in [
        ("{id: a, action: wait}", "`wait` needs `with: {for: 60s}`"),
        (
            "{id: a, action: wait, with: {for: 1x}}",
            "is not a duration",
        ),
        (
            "{id: a, action: wait, with: {for: 60}}",
            "did you mean `60s`?",
        ),
        (
            "{id: a, action: wait, target: {node: x}, with: {for: 1s}}",
            "`wait` has no target",
        ),
        (
            "{id: a, action: cordon_node}",
            "`cordon_node` needs a `target`",
        ),
        (
            "{id: a, action: cordon_node, target: {job: x}}",
            "does not act on a job",
        ),
        (
            "{id: a, action: cordon_node, target: {node: x}, with: {force: true}}",
            "takes no parameters",
        ),
        (
            "{id: a, action: delete_pod, target: {kind: Pod, name: x}}",
            "needs a `namespace`",
        ),
        (
            "{id: a, action: delete_pod, target: {pod: x}}",
            "a target has no `pod`",
        ),
        (
            "{id: a, action: recreate_job, target: {job: x}, rollback_on_failure: true}",
            "nothing takes `recreate_job` back",
        ),
        (
            "{id: a, action: notify, with: {text: x}, rollback_on_failure: true, success_criteria: {tcp: 'x:1'}}",
            "is for steps that change something",
        ),
        (
            "{id: a, action: verify_metrics, with: {promql: up, above: high}}",
            "a limit is a number",
        ),
        (
            "{id: a, action: verify_metrics, with: {promql: up}}",
            "give `above` or `below`",
        ),
        (
            "{id: a, action: verify_metrics, with: {promql: up, above: 1, for: 10m, within: 5m}}",
            "shorter than `for`",
        ),
        (
            "{id: a, action: health_check, with: {tcp: nowhere}}",
            "HOST:PORT",
        ),
        (
            "{id: a, action: health_check, with: {http: 'ftp://x'}}",
            "must begin with http",
        ),
        (
            "{id: a, action: ask_human, with: {question: 'ok?'}, outputs: {who: result.value}}",
            "does not give `result.value`",
        ),
        (
            "{id: a, action: notify, with: {text: x}, when: 'always'}",
            "compares nothing",
        ),
        ("{id: a, action: notify, with: {text: '${x'}}", "has no `}`"),
        (
            "{id: a, action: cordon_node, target: {node: x}, blast_radius: {max_instances: 200%}}",
            "above 0 or a share",
        ),
    ] {
        let found = with_head(&format!("steps:\n  - {step}\n"));
        assert!(found.iter().any(|m| m.contains(told)), "{step}: {found:?}");
    }
}

#[test]
fn what_a_clock_starts_needs_no_person_to_give_it_anything() {
    let found = with_head(
        "trigger: [{schedule: '0 6 * * *'}]\nparameters: {job: {type: name, about: which}}\nsteps:\n  - {id: a, action: notify, with: {text: '${job}'}}\n",
    );
    assert!(
        found.iter().any(|m| m.contains("needs a default")),
        "{found:?}"
    );
}

#[test]
fn what_may_be_absent_must_not_be_needed() {
    let step = |with: &str| {
        with_head(&format!(
            "parameters: {{job: {{type: name, required: false, about: which}}}}\nsteps:\n  - {with}\n"
        ))
    };
    let found = step("{id: a, action: notify, with: {text: '${job} is down'}}");
    assert!(found[0].contains("may be absent"), "{found:?}");
    let found = step("{id: a, action: look, target: {job: web, cluster: '${job}'}}");
    assert_eq!(found, Vec::<String>::new());
}

#[test]
fn what_is_not_watched_is_said_and_is_no_mistake() {
    let text = format!(
        "{HEAD}trigger: [{{metric: error_rate, above: 5, for: 5m}}, {{pattern: database}}]\nsteps:\n  - {{id: a, action: wait, with: {{for: 1s}}}}\n"
    );
    let checked = check(&text, Some("example"), &known());
    assert_eq!(checked.mistakes, []);
    let notes: Vec<&str> = checked.notes.iter().map(|n| n.problem.as_str()).collect();
    assert!(
        notes.iter().any(|n| n.contains("METRICS_ENDPOINT")),
        "{notes:?}"
    );
    assert!(notes.iter().any(|n| n.contains("error_rate")), "{notes:?}");
    assert!(
        notes.iter().any(|n| n.contains("patterns are not watched")),
        "{notes:?}"
    );
}
