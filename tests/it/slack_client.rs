//! The client for Slack tells its callers what can be done, and loses no message to its looks.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use nightbell::chat::card::{Block, Card, Span, Tone};
use nightbell::chat::slack::SlackError;
use nightbell::chat::slack::client::{Respond, Settings, SlackClient};
use secrecy::SecretString;

use crate::support::slack::{APP_TOKEN, BOT_TOKEN, FakeSlack, Fault};

fn client(slack: &FakeSlack) -> SlackClient {
    SlackClient::new(Settings {
        api_url: Some(slack.api_url()),
        bot_token: Some(SecretString::from(BOT_TOKEN)),
        app_token: Some(SecretString::from(APP_TOKEN)),
        webhook_url: Some(SecretString::from(slack.webhook_url())),
        timeout: Duration::from_millis(500),
    })
    .expect("a client")
}

fn card(text: &str) -> Card {
    Card {
        fallback: text.to_owned(),
        tone: Tone::Good,
        blocks: vec![Block::Text {
            spans: vec![Span::Plain(text.to_owned())],
        }],
    }
}

#[tokio::test]
async fn a_message_is_posted_found_by_its_key_and_edited() {
    let slack = FakeSlack::start().await;
    let client = client(&slack);
    let before = Timestamp::now();
    assert_eq!(
        client
            .find_posted("C1", "alert-1", before)
            .await
            .expect("searched"),
        None
    );
    let posted = client
        .post("C1", &card("llm-7b failed"), None, "alert-1")
        .await
        .expect("posted");
    assert_eq!(
        client
            .find_posted("C1", "alert-1", before)
            .await
            .expect("searched"),
        Some(posted.clone())
    );
    assert_eq!(
        client
            .find_posted("C1", "alert-2", before)
            .await
            .expect("searched"),
        None
    );

    let reply = client
        .post("C1", &card("more"), Some(&posted.ts), "note-1")
        .await
        .expect("posted");
    assert_eq!(
        client
            .find_reply("C1", &posted.ts, "note-1", before)
            .await
            .expect("searched"),
        Some(reply)
    );
    client
        .update("C1", &posted.ts, &card("llm-7b recovered"))
        .await
        .expect("edited");
    insta::assert_snapshot!(slack.messages(), @r"
    C1 UBOT (edited): 🟢 llm-7b recovered
      🟢 llm-7b recovered
      ↳ C1 UBOT: 🟢 more
      ↳   🟢 more
    ");
}

#[tokio::test]
async fn each_failure_tells_what_can_be_done() {
    let slack = FakeSlack::start().await;
    let client = client(&slack);
    let post = || async {
        client
            .post("C1", &card("x"), None, "k")
            .await
            .expect_err("it fails")
    };

    slack.fail("chat.postMessage", Fault::RateLimited(7));
    assert!(
        matches!(post().await, SlackError::RateLimited { retry_after } if retry_after == Duration::from_secs(7))
    );
    slack.fail("chat.postMessage", Fault::RateLimitedQuietly);
    assert!(matches!(post().await, SlackError::RateLimited { .. }));
    slack.fail("chat.postMessage", Fault::BadGateway);
    assert!(matches!(
        post().await,
        SlackError::Retry {
            may_have_happened: true,
            ..
        }
    ));
    slack.fail("chat.postMessage", Fault::Slow(Duration::from_secs(5)));
    assert!(matches!(post().await, SlackError::TimedOut));
    slack.fail("chat.postMessage", Fault::Error("missing_scope"));
    let error = post().await;
    assert_eq!(
        error.to_string(),
        "the Slack app may not do this: missing_scope, needs scope chat:write"
    );
    slack.fail("chat.postMessage", Fault::Error("is_archived"));
    assert!(matches!(post().await, SlackError::BadChannel { .. }));
    slack.set_revoked(true);
    assert!(matches!(post().await, SlackError::Auth { .. }));
    slack.set_revoked(false);

    let error = client
        .update("C1", "1.000001", &card("x"))
        .await
        .expect_err("there is no such message");
    assert!(matches!(error, SlackError::CannotEdit { .. }));
    let error = client
        .open_view("old", &serde_json::json!({}))
        .await
        .expect_err("the trigger is gone");
    assert!(matches!(error, SlackError::TriggerGone { .. }));
}

#[tokio::test]
async fn a_post_whose_answer_was_lost_is_found_again() {
    let slack = FakeSlack::start().await;
    let client = client(&slack);
    slack.fail("chat.postMessage", Fault::FatalAfterEffect);
    let error = client
        .post("C1", &card("x"), None, "alert-1")
        .await
        .expect_err("it says it failed");
    assert!(error.may_have_happened());
    assert!(
        client
            .find_posted("C1", "alert-1", Timestamp::now())
            .await
            .expect("searched")
            .is_some()
    );

    slack.fail("conversations.history", Fault::Error("missing_scope"));
    assert_eq!(
        client
            .find_posted("C1", "alert-1", Timestamp::now())
            .await
            .expect("not an error"),
        None
    );
}

#[tokio::test]
async fn a_message_whose_blocks_are_refused_goes_out_as_plain_text() {
    let slack = FakeSlack::start().await;
    let client = client(&slack);
    slack.fail("chat.postMessage", Fault::Error("invalid_blocks"));
    let posted = client
        .post("C1", &card("llm-7b <failed>"), None, "k")
        .await
        .expect("posted as text");
    slack.fail("chat.update", Fault::Error("msg_blocks_too_long"));
    client
        .update("C1", &posted.ts, &card("llm-7b <recovered>"))
        .await
        .expect("edited as text");
    insta::assert_snapshot!(slack.messages(), @r"
    C1 UBOT (edited): 🟢 llm-7b &lt;recovered&gt;
    llm-7b &lt;recovered&gt;
    ");
}

#[tokio::test]
async fn the_members_of_a_group_are_remembered_for_a_minute_and_errors_are_not() {
    let slack = FakeSlack::start().await;
    let client = client(&slack);
    assert!(client.user_group_members("S1").await.is_err());
    slack.set_group("S1", &["UMIRA"]);
    let members: Arc<[String]> = client.user_group_members("S1").await.expect("members");
    assert_eq!(*members, ["UMIRA".to_owned()]);
    client.user_group_members("S1").await.expect("members");
    assert_eq!(slack.calls("usergroups.users.list"), 2);
}

#[tokio::test]
async fn only_slacks_own_addresses_are_answered() {
    let slack = FakeSlack::start().await;
    let client = client(&slack);
    for url in [
        "http://hooks.slack.com/x",
        "https://hooks.slack.com.evil.example/x",
        "https://hooks.slack.com:8443/x",
        "https://evil.example/hooks.slack.com",
        "http://127.0.0.1:1/x",
        "file:///etc/passwd",
        "nonsense",
    ] {
        let error = client
            .respond(url, &card("x"), Respond::Ephemeral)
            .await
            .expect_err("not Slack's");
        assert!(matches!(error, SlackError::NotCallable { .. }), "{url}");
    }
}

#[tokio::test]
async fn the_webhook_alone_still_carries_alerts() {
    let slack = FakeSlack::start().await;
    let client = client(&slack);
    client
        .post_webhook(&card("llm-7b failed"))
        .await
        .expect("posted");
    assert_eq!(slack.webhook_posts()[0]["text"], "🟢 llm-7b failed");
    slack.set_down(true);
    assert!(
        client
            .post_webhook(&card("x"))
            .await
            .expect_err("down")
            .is_transient()
    );
    slack.set_down(false);
    slack.set_revoked(true);
    assert!(
        !client
            .post_webhook(&card("x"))
            .await
            .expect_err("no such webhook")
            .is_transient()
    );
}

#[tokio::test]
async fn what_is_not_configured_says_so() {
    let client = SlackClient::new(Settings::default()).expect("a client");
    let error = client
        .post("C1", &card("x"), None, "k")
        .await
        .expect_err("no token");
    assert_eq!(error.to_string(), "cannot call Slack: no bot token is set");
    assert!(client.post_webhook(&card("x")).await.is_err());
    assert!(client.open_socket().await.is_err());
}
