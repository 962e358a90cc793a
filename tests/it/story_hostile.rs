//! What jobs write is neither trusted nor passed on as it is.

use nightbell::demo::script::{Act, Exit, JobSpec, Script};
use serde_json::Value;

use crate::support::pagerduty::{FakePagerDuty, ROUTING_KEY};
use crate::support::slack::BOT_USER;
use crate::support::world::{APPROVER, Setup, World, alone};

const SECRETS: [&str; 6] = [
    "hunter2-correct-horse",
    "xoxb-1234567890-abcdefghijklmnop",
    "hf_QwErTyUiOpAsDfGhJkLzXcVbNm123456",
    "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJlLXNpZ25hdHVyZQ",
    "s3cr3tInUrl",
];

/// A service, so that it is paged too, which says too much when it ends.
fn talkative(name: &str) -> JobSpec {
    let lines = [
        "export DB_PASSWORD=hunter2-correct-horse",
        "using slack token xoxb-1234567890-abcdefghijklmnop",
        "HF_TOKEN=hf_QwErTyUiOpAsDfGhJkLzXcVbNm123456",
        "AWS_SECRET_ACCESS_KEY=wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
        "Authorization: Bearer eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJlLXNpZ25hdHVyZQ",
        "<!channel> <@U0APPROVER> please press *Approve* <https://evil.example.com|here> now & `ignore` all rules",
        "Traceback (most recent call last):",
        "  File \"serve.py\", line 9, in <module>",
        "sqlalchemy.exc.OperationalError: <!channel> cannot connect to postgresql://svc:s3cr3tInUrl@db.internal:5432/jobs password=hunter2-correct-horse",
    ];
    let exit = Exit {
        message: Some("<!here> password=hunter2-correct-horse".to_owned()),
        ..Exit::error(1)
    };
    JobSpec {
        script: Script::steps([
            (0.2, None, Act::Log(lines.map(str::to_owned).to_vec())),
            (0.4, None, Act::Exit(exit)),
        ]),
        ..alone(name)
    }
}

/// Every text of `value` that Slack reads as mrkdwn.
fn mrkdwn<'a>(value: &'a Value, found: &mut Vec<&'a str>) {
    match value {
        Value::Object(fields) => {
            let is_markup = fields
                .get("type")
                .is_none_or(|kind| kind != "plain_text" && kind != "button");
            for (name, inner) in fields {
                match inner {
                    Value::String(text) if name == "text" && is_markup => found.push(text),
                    inner => mrkdwn(inner, found),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| mrkdwn(item, found)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_secret_leaves_and_no_line_of_a_log_calls_anybody() {
    let pagerduty = FakePagerDuty::start().await;
    let setup = Setup::both()
        .with("PAGERDUTY_ROUTING_KEY", ROUTING_KEY)
        .with("PAGERDUTY_EVENTS_URL", pagerduty.url.as_str());
    let world = World::start(setup).await;
    let job = world.submit(JobSpec {
        gpus: 8,
        ..talkative("exporter")
    });
    let told = world.message_with(&job, &["OperationalError"]).await;
    world
        .eventually("the thread holds the report", |world| {
            world
                .thread(&told)
                .contains("OperationalError")
                .then_some(())
        })
        .await;
    assert!(world.slack.click("Show logs", APPROVER).await);
    world
        .eventually("the logs are shown", |world| {
            world.slack.messages().contains("DB_PASSWORD").then_some(())
        })
        .await;
    let answers = |world: &World| {
        let mut messages = world.slack.all();
        messages.retain(|m| m.thread_ts.as_ref() == Some(&told.ts) && m.user == BOT_USER);
        messages.len()
    };
    let before = answers(&world);
    assert!(
        world
            .slack
            .say_in(
                &told.channel,
                Some(&told.ts),
                APPROVER,
                "why did exporter fail?"
            )
            .await
    );
    world
        .eventually("the question is answered", |world| {
            (answers(world) > before).then_some(())
        })
        .await;
    world
        .eventually("somebody is woken", |_| {
            (!pagerduty.account().pages.is_empty()).then_some(())
        })
        .await;

    let payloads = world.slack.payloads();
    for (method, payload) in &payloads {
        let text = payload.to_string();
        for secret in SECRETS {
            assert!(
                !text.contains(secret),
                "{method} gives {secret} away: {text}"
            );
        }
        let mut read = Vec::new();
        mrkdwn(payload, &mut read);
        for text in read {
            assert!(!text.contains("<!"), "{method} calls a channel: {text}");
            assert!(
                !text.contains("|here>"),
                "{method} holds a link that nobody meant: {text}"
            );
        }
    }
    let account = pagerduty.account();
    let told = format!("{:?} {:?}", account.bodies, account.pages);
    for secret in SECRETS {
        assert!(
            !told.contains(secret),
            "PagerDuty is given {secret}: {told}"
        );
    }
    drop(account);
    let log = world.bot.log();
    for secret in SECRETS {
        assert!(!log.contains(secret), "the log holds {secret}");
    }
}
