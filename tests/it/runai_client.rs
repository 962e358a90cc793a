//! The client against a control plane that forgets tokens, limits, hangs and answers nonsense.

use std::time::Duration;

use nightbell::watch::runai::RunaiError;
use nightbell::watch::runai::client::{Filter, RunaiClient};

use crate::support::runai::{FakeRunai, Fault, workload};

async fn first_page(client: &RunaiClient) -> Result<usize, RunaiError> {
    client
        .workloads(&Filter::default(), 0, 500)
        .await
        .map(|page| page.items.len())
}

#[tokio::test]
async fn a_token_that_ends_between_two_calls_is_renewed_once() {
    let runai = FakeRunai::start().await;
    runai.world().workloads = vec![workload("a", "Running")];
    let client = runai.client();
    assert_eq!(first_page(&client).await.expect("a page"), 1);
    "revoked".clone_into(&mut runai.world().token);
    assert_eq!(
        first_page(&client).await.expect("a page with a new token"),
        1
    );
    assert_eq!(runai.world().tokens_issued, 2);
}

#[tokio::test]
async fn a_fresh_token_that_is_refused_too_is_a_fault_of_the_credentials() {
    let runai = FakeRunai::start().await;
    runai
        .world()
        .faults
        .extend([Fault::status(401), Fault::status(401)]);
    let error = first_page(&runai.client())
        .await
        .expect_err("refused twice");
    assert!(matches!(error, RunaiError::Unauthorized), "{error}");
    assert_eq!(runai.calls("/workloads").len(), 2, "one repeat and no more");
    assert_eq!(runai.world().tokens_issued, 2);
}

#[tokio::test]
async fn wrong_credentials_are_tried_once_and_then_left_alone() {
    let runai = FakeRunai::start().await;
    "rotated".clone_into(&mut runai.world().secret);
    let client = runai.client();
    for _ in 0..3 {
        let error = first_page(&client).await.expect_err("refused");
        assert!(matches!(error, RunaiError::Unauthorized), "{error}");
    }
    assert_eq!(
        runai.world().tokens_issued,
        1,
        "more tries could lock the account"
    );
    assert!(runai.calls("").is_empty());
}

#[tokio::test]
async fn callers_that_come_at_once_share_one_sign_in() {
    let runai = FakeRunai::start().await;
    let client = runai.client();
    let calls = (0..10).map(|_| first_page(&client));
    for outcome in futures_util::future::join_all(calls).await {
        outcome.expect("a page");
    }
    assert_eq!(runai.world().tokens_issued, 1);
}

#[tokio::test]
async fn a_read_waits_out_a_short_limit_and_hands_a_long_one_to_its_caller() {
    let runai = FakeRunai::start().await;
    let client = runai.client();
    let limited = |wait| Fault::Answer {
        status: 429,
        retry_after: Some(wait),
        body: "{}",
    };
    runai.world().faults.extend([limited("0"), limited("0")]);
    first_page(&client).await.expect("the third try succeeds");

    runai.world().faults.push_back(limited("300"));
    let before = runai.calls("/workloads").len();
    let error = first_page(&client).await.expect_err("limited");
    assert!(
        matches!(error, RunaiError::RateLimited { retry_after } if retry_after == Duration::from_mins(5)),
        "{error}"
    );
    assert_eq!(runai.calls("/workloads").len(), before + 1);
}

#[tokio::test]
async fn a_read_outlives_two_outages_and_reports_a_third() {
    let runai = FakeRunai::start().await;
    let client = runai.client();
    runai
        .world()
        .faults
        .extend([Fault::status(503), Fault::status(502)]);
    first_page(&client).await.expect("the third try succeeds");
    runai
        .world()
        .faults
        .extend([Fault::status(503), Fault::status(503), Fault::status(503)]);
    let error = first_page(&client).await.expect_err("three outages");
    assert!(
        matches!(error, RunaiError::Rejected { status: 503, .. }),
        "{error}"
    );
}

#[tokio::test]
async fn a_server_that_never_answers_is_given_up_once() {
    let runai = FakeRunai::start().await;
    runai.world().faults.push_back(Fault::Hang);
    let mut settings = runai.settings();
    settings.timeout = Duration::from_millis(200);
    let error = first_page(&RunaiClient::new(settings))
        .await
        .expect_err("no answer");
    assert!(
        matches!(&error, RunaiError::Unreachable(source) if source.is_timeout()),
        "{error}"
    );
    assert_eq!(runai.calls("/workloads").len(), 1);
}

#[tokio::test]
async fn a_control_plane_that_is_gone_is_unreachable() {
    let runai = FakeRunai::start().await;
    let mut settings = runai.settings();
    settings.base_url = "http://127.0.0.1:9".parse().expect("a URL");
    let error = first_page(&RunaiClient::new(settings))
        .await
        .expect_err("nobody listens");
    assert!(matches!(error, RunaiError::Unreachable(_)), "{error}");
    assert!(
        !error.outcome_unknown(),
        "what was never sent was never done"
    );
}

#[tokio::test]
async fn a_log_in_page_is_not_an_empty_list() {
    let runai = FakeRunai::start().await;
    let client = runai.client();
    let page = "<html><body>Please log in</body></html>";
    runai.world().faults.push_back(Fault::Answer {
        status: 200,
        retry_after: None,
        body: page,
    });
    let error = first_page(&client).await.expect_err("HTML");
    assert!(
        matches!(&error, RunaiError::Malformed { excerpt, .. } if excerpt == page),
        "{error}"
    );
    runai.world().faults.push_back(Fault::Answer {
        status: 302,
        retry_after: None,
        body: "",
    });
    let error = first_page(&client).await.expect_err("a redirect");
    assert!(
        matches!(error, RunaiError::Rejected { status: 302, .. }),
        "{error}"
    );
}

#[tokio::test]
async fn an_action_is_sent_once_and_its_doubt_is_told() {
    let runai = FakeRunai::start().await;
    let client = runai.client();
    client.suspend("Training", "w-1").await.expect("accepted");
    client.resume("workspace", "w-2").await.expect("accepted");
    client.delete("Inference", "w-3").await.expect("accepted");
    assert_eq!(
        runai
            .calls("")
            .iter()
            .map(|call| call.trim_end().to_owned())
            .collect::<Vec<_>>(),
        [
            "POST /api/v1/workloads/trainings/w-1/suspend",
            "POST /api/v1/workloads/workspaces/w-2/resume",
            "DELETE /api/v1/workloads/inferences/w-3",
        ]
    );

    runai.world().faults.push_back(Fault::status(503));
    let error = client
        .suspend("Distributed", "w-4")
        .await
        .expect_err("an outage");
    assert!(
        error.outcome_unknown(),
        "the control plane may have taken it"
    );
    assert_eq!(runai.calls("w-4").len(), 1, "an action is never repeated");
}

#[tokio::test]
async fn an_action_that_does_not_exist_is_refused_before_the_call() {
    let runai = FakeRunai::start().await;
    let client = runai.client();
    let error = client
        .suspend("Inference", "w-1")
        .await
        .expect_err("no such action");
    assert_eq!(
        error.to_string(),
        "Run:AI cannot suspend a workload of kind Inference"
    );
    let error = client
        .delete("Training", "../../clusters/c-1")
        .await
        .expect_err("not an id");
    assert!(matches!(error, RunaiError::InvalidArgument(_)), "{error}");
    assert!(runai.calls("").is_empty());

    let error = client
        .suspend("RayJob", "w-1")
        .await
        .expect_err("the batch answers 200 and holds a failure");
    assert!(
        matches!(error, RunaiError::Rejected { status: 409, .. }),
        "{error}"
    );
}

#[tokio::test]
async fn one_action_survives_a_token_that_ended() {
    let runai = FakeRunai::start().await;
    let client = runai.client();
    first_page(&client).await.expect("signed in");
    "revoked".clone_into(&mut runai.world().token);
    client
        .suspend("Training", "w-1")
        .await
        .expect("a refused call was not carried out, so that it may be repeated");
    assert_eq!(runai.calls("suspend").len(), 2);
}
