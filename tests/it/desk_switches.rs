//! Holding back one kind of action, and clearing what waits: from chat, command line and API, for good.

use nightbell::action::ActionKind;
use nightbell::chat::card::Verb;
use nightbell::chat::terminal;
use nightbell::desk::{Answer, Command, Outcome, Principal, Role, Standing, Surface};
use nightbell::safety::{ApprovalState, Decision, Refusal, Safety};
use serde_json::json;

use crate::desk::{Scene, at, button, sentence};
use crate::support::bot::Bot;
use crate::support::gate::{approve, asked, settings, slack};

async fn desk() -> Scene {
    let mut scene = Scene::new().await;
    let safety = Safety::new(scene.desk.store.clone(), settings());
    safety.set_home_team("T1");
    scene.desk.safety = safety;
    scene
}

fn text(answer: &Answer) -> String {
    terminal::text(&answer.card)
}

/// Says a sentence and confirms what it comes back as.
async fn says(scene: &Scene, who: &Principal, words: &str, second: i64) -> Answer {
    let asked = scene
        .desk
        .execute_at(who, sentence(words), at(second))
        .await;
    assert_eq!(asked.body["intent"], "settings_change", "{words}");
    assert_eq!(asked.body["needs_confirmation"], true, "{words}");
    let press = button(&asked, Verb::Confirm);
    let confirm = Command::Press {
        verb: press.verb,
        id: press.id,
        reason: None,
    };
    scene.desk.execute_at(who, confirm, at(second + 1)).await
}

#[tokio::test]
async fn anybody_disables_a_kind_of_action_and_an_approver_enables_it() {
    let scene = desk().await;
    let (safety, store) = (&scene.desk.safety, &scene.desk.store);
    let approval = asked(safety, store, "alert-1", "train-0", at(0)).await;
    let (approver, stranger) = (slack("U01"), slack("U09"));

    let done = says(&scene, &stranger, "please disable delete_pod", 1).await;
    assert!(text(&done).contains("is disabled"), "{}", text(&done));
    let refused = approve(safety, &approval, at(3)).await;
    assert!(
        matches!(
            refused,
            Decision::Refused {
                refusal: Refusal::KindDisabled(ActionKind::DeletePod),
                ..
            }
        ),
        "{refused:?}"
    );
    let status = scene
        .desk
        .execute_at(&stranger, Command::Status, at(4))
        .await;
    assert!(text(&status).contains("Disabled: delete_pod."));

    let kept = says(&scene, &stranger, "enable delete_pod", 5).await;
    assert_eq!(kept.outcome, Outcome::Refused);
    assert!(text(&kept).contains("stays disabled"), "{}", text(&kept));
    let done = says(&scene, &approver, "enable the delete pod action again", 7).await;
    assert_eq!(done.outcome, Outcome::Done, "{}", text(&done));
    let decision = approve(safety, &approval, at(9)).await;
    assert!(
        matches!(decision, Decision::Approved { .. }),
        "{decision:?}"
    );
}

#[tokio::test]
async fn a_token_needs_the_role_for_each_direction() {
    let scene = desk().await;
    let token = |role| Principal {
        surface: Surface::Api,
        user: "mira".into(),
        team: None,
        standing: Standing::Token(role),
    };
    let switch = |disabled| Command::SetAction {
        action: "recreate_job".into(),
        disabled,
    };
    for (role, command, expected) in [
        (Role::Viewer, switch(true), Outcome::Refused),
        (Role::Operator, switch(true), Outcome::Done),
        (Role::Approver, switch(false), Outcome::Refused),
        (Role::Admin, switch(false), Outcome::Done),
        (Role::Viewer, Command::ClearQueue, Outcome::Refused),
        (Role::Operator, Command::ClearQueue, Outcome::Done),
    ] {
        let answer = scene
            .desk
            .execute_at(&token(role), command.clone(), at(1))
            .await;
        assert_eq!(answer.outcome, expected, "{role} {command:?}");
    }
}

#[tokio::test]
async fn clearing_the_queue_withdraws_what_waits() {
    let scene = desk().await;
    let (safety, store) = (&scene.desk.safety, &scene.desk.store);
    let approval = asked(safety, store, "alert-1", "train-0", at(0)).await;
    let done = says(&scene, &slack("U09"), "clear the queue", 1).await;
    assert!(
        text(&done).contains("1 question withdrawn"),
        "{}",
        text(&done)
    );
    let (kept, _) = store
        .approval(&approval.id)
        .await
        .expect("read")
        .expect("kept");
    assert_eq!(kept.state, ApprovalState::Withdrawn);
    assert_eq!(kept.deny_reason.as_deref(), Some("U09 cleared the queue"));
}

#[tokio::test]
async fn from_the_command_line_and_the_api_it_lasts_over_restarts() {
    let mut bot = Bot::start(&[]).await;
    let (code, output, _) = bot.command(&["disable-action", "--type", "delete_pod"]);
    assert_eq!(code, 0, "{output}");
    let (code, output, errors) = bot.command(&["disable-action", "--type", "drop_table"]);
    assert_eq!(code, 1, "{output}{errors}");
    assert!(
        format!("{output}{errors}").contains("rollout_restart"),
        "it names what there is"
    );
    bot.restart().await;
    let status = bot.get("/api/v1/emergency-stop").await;
    assert_eq!(status["disabled"], json!(["delete_pod"]));

    let path = |name: &str| bot.url(&format!("/api/v1/actions/types/{name}/disabled"));
    let client = reqwest::Client::new();
    let put = client
        .put(path("suspend_job"))
        .send()
        .await
        .expect("answers");
    assert_eq!(put.status(), 200);
    let unknown = client
        .put(path("drop_table"))
        .send()
        .await
        .expect("answers");
    assert_eq!(unknown.status(), 404);
    let delete = client
        .delete(path("suspend_job"))
        .send()
        .await
        .expect("answers");
    assert_eq!(delete.status(), 200);
    let (code, output, _) = bot.command(&["enable-action", "--type", "delete_pod", "--json"]);
    assert_eq!(code, 0, "{output}");
    let status = bot.get("/api/v1/emergency-stop").await;
    assert_eq!(status["disabled"], json!([]));

    let (code, output, _) = bot.command(&["clear-queue"]);
    assert_eq!(code, 0, "{output}");
    let queue = client.delete(bot.url("/api/v1/actions/queue")).send().await;
    assert_eq!(queue.expect("answers").status(), 200);
    let (_, told, _) = bot.command(&["audit", "export"]);
    for kind in ["kind_disabled", "kind_enabled", "queue_cleared"] {
        assert!(told.contains(kind), "{kind}: {told}");
    }
}
