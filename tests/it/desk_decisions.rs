//! People at the desk decide on actions and keep alerts quiet, by number, with nothing said that is not so.

use nightbell::chat::card::Verb;
use nightbell::chat::terminal;
use nightbell::desk::{Answer, Command, Outcome, Principal};
use nightbell::safety::{ApprovalState, Safety};

use crate::desk::{Scene, at, button, sentence};
use crate::support::alerting::{crashed, ingest, kubernetes};
use crate::support::gate::{asked, settings, slack};

/// A desk whose gate lets U01 and U02 decide, in a workspace of its own.
async fn desk() -> Scene {
    let mut scene = Scene::new().await;
    let safety = Safety::new(scene.desk.store.clone(), settings());
    safety.set_home_team("T1");
    scene.desk.safety = safety;
    scene
}

impl Scene {
    async fn does(&self, who: &Principal, command: Command, second: i64) -> Answer {
        self.desk.execute_at(who, command, at(second)).await
    }
}

fn decide(approval: &str, approve: bool, reason: Option<&str>) -> Command {
    Command::Decide {
        approval: approval.to_owned(),
        approve,
        reason: reason.map(str::to_owned),
    }
}

fn text(answer: &Answer) -> String {
    terminal::text(&answer.card)
}

#[tokio::test]
async fn an_approver_sees_what_waits_and_decides_it_by_its_number_once() {
    let scene = desk().await;
    let (approver, other, stranger) = (slack("U01"), slack("U02"), slack("U09"));
    let none = scene.does(&approver, Command::ListApprovals, 0).await;
    assert!(text(&none).contains("No approvals are waiting"));

    let (safety, store) = (&scene.desk.safety, &scene.desk.store);
    let first = asked(safety, store, "alert-1", "train-0", at(0)).await;
    let second = asked(safety, store, "alert-2", "train-1", at(1)).await;
    let listed = scene
        .does(&approver, sentence("list pending approvals"), 2)
        .await;
    assert_eq!(listed.body["intent"], "approvals_list");
    let shown = text(&listed);
    assert!(shown.contains("2 approvals waiting"), "{shown}");
    assert!(
        shown.contains("train-0") && shown.contains("96 % sure"),
        "{shown}"
    );
    // The newest is first.
    assert_eq!(button(&listed, Verb::Approve).id, second.id);

    let refused = scene.does(&stranger, decide("#1", true, None), 3).await;
    assert_eq!(refused.outcome, Outcome::Refused);
    let missing = scene.does(&approver, decide("#99", true, None), 3).await;
    assert_eq!(missing.outcome, Outcome::NotFound);

    let denied = scene
        .does(
            &approver,
            decide(
                "1",
                false,
                Some("the checkpoint is old, token=hunter2hunter2"),
            ),
            4,
        )
        .await;
    assert_eq!(denied.outcome, Outcome::Done);
    assert!(text(&denied).contains("Denied #1"), "{}", text(&denied));
    let (kept, _) = store
        .approval(&first.id)
        .await
        .expect("read")
        .expect("it is there");
    assert_eq!(kept.state, ApprovalState::Denied);
    let reason = kept.deny_reason.unwrap_or_default();
    assert!(
        reason.contains("checkpoint is old") && !reason.contains("hunter2"),
        "{reason}"
    );

    let late = scene.does(&other, decide("1", true, None), 5).await;
    assert_eq!(late.outcome, Outcome::Refused);
    assert!(
        text(&late).contains("already denied by U01"),
        "{}",
        text(&late)
    );
    let listed = scene.does(&approver, Command::ListApprovals, 6).await;
    assert_eq!(listed.body["approvals"].as_array().map(Vec::len), Some(1));

    let expired = second.expires.as_second() - at(0).as_second();
    let listed = scene.does(&approver, Command::ListApprovals, expired).await;
    assert!(text(&listed).contains("No approvals are waiting"));
    let late = scene
        .does(&approver, decide("2", true, None), expired)
        .await;
    assert_eq!(late.outcome, Outcome::Refused);
    assert!(text(&late).contains("expired"), "{}", text(&late));
}

#[tokio::test]
async fn a_sentence_approves_nothing_before_its_author_confirmed_it() {
    let scene = desk().await;
    let (safety, store) = (&scene.desk.safety, &scene.desk.store);
    let approval = asked(safety, store, "alert-1", "train-0", at(0)).await;
    let asked = scene.does(&slack("U01"), sentence("approve #1"), 1).await;
    assert_eq!(asked.body["intent"], "approval_decide");
    assert_eq!(asked.body["needs_confirmation"], true);
    let (kept, _) = store
        .approval(&approval.id)
        .await
        .expect("read")
        .expect("it is there");
    assert_eq!(kept.state, ApprovalState::Pending);
}

#[tokio::test]
async fn an_alert_is_silenced_listed_and_heard_again_by_its_number() {
    let scene = desk().await;
    let mira = slack("U01");
    let report = kubernetes("train", "u1", vec![crashed("Error", 1)]);
    ingest(&scene.desk.alerts, &[report], 2).await;
    let silence = |alert: &str, duration_seconds| Command::Silence {
        alert: alert.to_owned(),
        duration_seconds,
    };
    let none = scene.does(&mira, Command::ListSilences, 3).await;
    assert!(text(&none).contains("Nothing is silenced"));

    for wrong in [0, 59, 31 * 86_400, u64::MAX] {
        let answer = scene.does(&mira, silence("1", wrong), 3).await;
        assert_eq!(answer.outcome, Outcome::Invalid, "{wrong}");
    }
    let missing = scene.does(&mira, silence("#7", 3_600), 3).await;
    assert_eq!(missing.outcome, Outcome::NotFound);

    let silenced = scene.does(&mira, silence("#1", 3_600), 3).await;
    assert_eq!(silenced.outcome, Outcome::Done);
    let listed = scene
        .does(&mira, sentence("which alerts are silenced?"), 4)
        .await;
    assert_eq!(listed.body["intent"], "silence_list");
    let shown = text(&listed);
    assert!(
        shown.contains("1 alert silenced") && shown.contains("train"),
        "{shown}"
    );
    let over = scene.does(&mira, Command::ListSilences, 3_700).await;
    assert!(
        text(&over).contains("Nothing is silenced"),
        "it ends by itself"
    );

    let again = scene.does(&mira, silence("1", 86_400), 3_700).await;
    assert_eq!(again.outcome, Outcome::Done, "{}", text(&again));
    let removal = Command::RemoveSilence {
        alert: "#1".to_owned(),
    };
    let removed = scene.does(&mira, removal, 3_800).await;
    assert_eq!(removed.outcome, Outcome::Done);
    let listed = scene.does(&mira, Command::ListSilences, 3_801).await;
    assert_eq!(listed.body["silences"].as_array().map(Vec::len), Some(0));
}

/// Says it, and confirms it.
async fn confirmed(scene: &Scene, who: &Principal, text_said: &str, second: i64) -> Answer {
    let asked = scene.does(who, sentence(text_said), second).await;
    let confirm = button(&asked, Verb::Confirm);
    let press = Command::Press {
        verb: confirm.verb,
        id: confirm.id,
        reason: None,
    };
    scene.does(who, press, second + 1).await
}

#[tokio::test]
async fn everything_in_a_project_is_silenced_in_words_and_heard_again() {
    let scene = desk().await;
    let mira = slack("U01");
    for (job, uid) in [("train", "u1"), ("eval", "u2")] {
        let report = kubernetes(job, uid, vec![crashed("Error", 1)]);
        ingest(&scene.desk.alerts, &[report], 2).await;
    }
    let asked = scene
        .does(
            &mira,
            sentence("silence everything in project ml for 2 hours"),
            3,
        )
        .await;
    assert_eq!(asked.body["needs_confirmation"], true);
    assert!(
        text(&asked).contains("silence project=ml for 2 h"),
        "{}",
        text(&asked)
    );
    let listed = scene.does(&mira, Command::ListSilences, 4).await;
    assert!(text(&listed).contains("Nothing is silenced"));

    let done = confirmed(
        &scene,
        &mira,
        "silence everything in project ml for 2 hours",
        5,
    )
    .await;
    assert!(
        text(&done).contains("S1") && text(&done).contains("2 open alerts"),
        "{}",
        text(&done)
    );
    let listed = scene.does(&mira, Command::ListSilences, 7).await;
    let silence = &listed.body["silences"][0];
    assert_eq!(silence["id"], "S1");
    assert_eq!(silence["matchers"][0], "project=ml");
    assert_eq!(
        (&silence["alerts"], &silence["by"]),
        (&2.into(), &"U01".into())
    );
    let shown = scene
        .does(&mira, Command::ListAlerts { all: false }, 8)
        .await;
    assert_eq!(
        text(&shown).matches("silenced").count(),
        2,
        "{}",
        text(&shown)
    );

    let heard_again = confirmed(&scene, &mira, "unsilence project ml", 10).await;
    assert!(
        text(&heard_again).contains("Silence S1"),
        "{}",
        text(&heard_again)
    );
    let listed = scene.does(&mira, Command::ListSilences, 12).await;
    assert!(text(&listed).contains("Nothing is silenced"));
    let gone = Command::RemoveSilence {
        alert: "S1".to_owned(),
    };
    let gone = scene.does(&mira, gone, 13).await;
    assert_eq!(gone.outcome, Outcome::NotFound);

    // By label, and by its number; a job that has no alert yet is silenced too.
    let done = confirmed(&scene, &mira, "silence alerts for sweep for 30 minutes", 20).await;
    assert!(text(&done).contains("job=sweep"), "{}", text(&done));
    let heard_again = confirmed(&scene, &mira, "unsilence S2", 30).await;
    assert!(
        text(&heard_again).contains("Silence S2"),
        "{}",
        text(&heard_again)
    );
}
