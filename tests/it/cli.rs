//! The command line as people and scripts meet it: the real program, its output and its exit codes.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::support::bot::{Bot, run};

fn parsed(output: &str) -> Value {
    serde_json::from_str(output).unwrap_or_else(|error| panic!("{error}: {output}"))
}

#[tokio::test]
async fn with_nothing_set_it_serves_says_what_is_missing_and_answers_every_command() {
    let bot = Bot::start(&[]).await;

    let (code, output, _) = bot.command(&["monitor-status", "--json"]);
    assert_eq!(code, 0);
    assert!(parsed(&output).is_object(), "{output}");
    let (_, output, _) = bot.command(&["monitor-status"]);
    assert!(output.contains("Run:AI is not configured"), "{output}");

    let (code, output, _) = bot.command(&["ask", "what is the monitoring status?", "--json"]);
    assert_eq!(code, 0, "{output}");
    let answer = parsed(&output);
    assert_eq!(answer["intent"], "monitoring_status");
    assert_eq!(answer["needs_confirmation"], false);
    for field in ["confidence", "slots", "reply"] {
        assert!(!answer[field].is_null(), "{field} in {answer}");
    }

    let (code, output, _) = bot.command(&["troubleshoot", "no-such-job", "--json"]);
    assert_eq!(code, 1);
    let answer = parsed(&output);
    assert!(
        answer["error"].is_string() && answer["candidates"].is_array(),
        "{answer}"
    );

    let (code, _, _) = bot.command(&["emergency-stop", "--reason", "drill"]);
    assert_eq!(code, 0);
    let stopped = bot.get("/health/detailed").await.to_string();
    assert!(
        stopped.contains("drill"),
        "the stop is seen everywhere: {stopped}"
    );
    let (code, _, _) = bot.command(&["emergency-stop", "--clear"]);
    assert_eq!(code, 0);

    for command in [
        vec!["status"],
        vec!["jobs"],
        vec!["alerts"],
        vec!["approvals"],
    ] {
        let (code, output, errors) = bot.command(&command);
        assert_eq!(code, 0, "{command:?}: {output}{errors}");
    }
    let (status, problem) = bot.post("/api/v1/ask", json!({"wrong": true})).await;
    assert!(status == 400 || status == 422, "{status} {problem}");
    assert!(
        problem["title"].is_string(),
        "an error is problem+json: {problem}"
    );
}

#[test]
fn every_mistake_of_the_configuration_is_told_and_ends_with_exit_code_2() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    std::fs::write(
        folder.path().join("nightbell.yaml"),
        "alerts:\n  resolve_after: 5\n",
    )
    .expect("ours");
    let variables: BTreeMap<String, String> = [
        ("API_PORT", "many"),
        ("RUNAI_BASE_URL", "https://acme.run.ai"),
    ]
    .into_iter()
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .collect();
    let (code, output, errors) = run(&["check-config"], folder.path(), &variables);
    assert_eq!(code, 2);
    let told = format!("{output}{errors}");
    for wanted in [
        "API_PORT",
        "RUNAI_CLIENT_ID",
        "RUNAI_CLIENT_SECRET",
        "nightbell.yaml line 2",
    ] {
        assert!(told.contains(wanted), "{wanted} in:\n{told}");
    }
    assert!(
        !folder.path().join("nightbell.db").exists(),
        "nothing was touched"
    );

    let (code, output, errors) = run(
        &["check-config"],
        tempfile::tempdir().expect("a folder").path(),
        &BTreeMap::new(),
    );
    assert_eq!(code, 0, "{output}{errors}");
}

#[test]
fn without_a_service_the_exit_code_is_3_and_wrong_usage_is_2() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let variables = BTreeMap::from([("API_PORT".to_owned(), "1".to_owned())]);
    let (code, _, errors) = run(&["monitor-status"], folder.path(), &variables);
    assert_eq!(code, 3);
    assert!(errors.contains("serve"), "the way out is told: {errors}");
    let (code, _, _) = run(&["no-such-command"], folder.path(), &variables);
    assert_eq!(code, 2);
}

#[test]
fn an_unknown_context_ends_serving_with_exit_code_2_and_names_those_that_exist() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let kubeconfig = folder.path().join("config");
    std::fs::write(
        &kubeconfig,
        "apiVersion: v1\nkind: Config\ncurrent-context: prod-eu\n\
         clusters: [{name: c, cluster: {server: 'https://127.0.0.1:1'}}]\n\
         users: [{name: u, user: {}}]\n\
         contexts: [{name: prod-eu, context: {cluster: c, user: u}}]\n",
    )
    .expect("the folder is ours");
    let variables = std::collections::BTreeMap::from([
        ("KUBECONFIG".to_owned(), kubeconfig.display().to_string()),
        ("KUBE_CONTEXTS".to_owned(), "prod-us".to_owned()),
        ("API_PORT".to_owned(), "0".to_owned()),
    ]);
    let (code, _, errors) = crate::support::bot::run(&["serve"], folder.path(), &variables);
    assert_eq!(code, 2, "{errors}");
    assert!(
        errors.contains("prod-us") && errors.contains("prod-eu"),
        "{errors}"
    );
}

#[tokio::test]
async fn a_conversation_in_the_terminal_presses_buttons_by_number_and_asks_first() {
    let bot = Bot::start(&[]).await;
    // The question has the buttons yes and no; the first is pressed. What is no number is a sentence.
    let (code, output, errors) = bot.typed(
        &["chat"],
        "what is the monitoring status?\nstop monitoring\n1\n\n9\nquit\nstatus\n",
    );
    assert_eq!(code, 0, "{output}{errors}");
    assert!(output.contains("Run:AI is not configured"), "{output}");
    assert!(output.contains("[1 ") && output.contains("[2 "), "{output}");
    let status = bot.get("/api/v1/monitoring/status").await.to_string();
    assert!(status.contains("\"enabled\":false"), "{status}");

    let (_, output, _) = bot.typed(&["chat"], "start monitoring all jobs\n");
    assert!(!output.is_empty(), "the end of the input ends it");
    let status = bot.get("/api/v1/monitoring/status").await.to_string();
    assert!(status.contains("\"enabled\":true"), "{status}");
}

#[tokio::test]
async fn a_conversation_needs_somebody_to_talk_to() {
    let mut bot = Bot::prepare(&[]);
    let (code, _, errors) = bot.typed(&["chat"], "help\n");
    assert_eq!(code, 3, "{errors}");
    bot.kill();
}
