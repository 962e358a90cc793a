//! People talk to the bot in Slack: recorded before it is acknowledged, answered once, by whichever way it came.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::FutureExt;
use jiff::{SignedDuration, Timestamp};
use nightbell::chat::card::{Block, Button, ButtonStyle, Card, Press, Span, Tone, Verb};
use nightbell::chat::slack::client::{Settings, SlackClient};
use nightbell::chat::slack::deliver::Deliverer;
use nightbell::chat::slack::inbox::Inbox;
use nightbell::chat::slack::people::People;
use nightbell::chat::slack::{http, socket};
use nightbell::desk::{Answer, Command, Handler, Outcome, Principal, Standing};
use secrecy::SecretString;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::support::database::{TestDatabase, databases, sqlite};
use crate::support::slack::{self, APP_TOKEN, BOT_TOKEN, FakeSlack, Fault, SIGNING_SECRET};

/// What the desk was asked.
type Asked = Arc<Mutex<Vec<(Principal, Command)>>>;

fn client(slack: &FakeSlack) -> SlackClient {
    SlackClient::new(Settings {
        api_url: Some(slack.api_url()),
        bot_token: Some(SecretString::from(BOT_TOKEN)),
        app_token: Some(SecretString::from(APP_TOKEN)),
        webhook_url: Some(SecretString::from(slack.webhook_url())),
        timeout: Duration::from_secs(2),
    })
    .expect("a client")
}

fn text_card(text: &str) -> Card {
    Card {
        fallback: text.to_owned(),
        tone: Tone::Info,
        blocks: vec![Block::Text {
            spans: vec![Span::Plain(text.to_owned())],
        }],
    }
}

fn alert() -> Card {
    let button = |verb, label: &str, style| Button {
        press: Press {
            verb,
            id: "a1".to_owned(),
        },
        label: label.to_owned(),
        style,
        confirm: None,
    };
    Card {
        fallback: "llm-7b failed".to_owned(),
        tone: Tone::Bad,
        blocks: vec![
            Block::Header {
                text: "llm-7b failed".to_owned(),
            },
            Block::Buttons {
                buttons: vec![
                    button(Verb::Approve, "Approve restart", ButtonStyle::Primary),
                    button(Verb::Deny, "Deny", ButtonStyle::Danger),
                    button(Verb::ShowLogs, "Show logs", ButtonStyle::Plain),
                    button(Verb::Confirm, "Yes", ButtonStyle::Plain),
                ],
            },
        ],
    }
}

/// Lines of a log that is too long for one message.
const LOG_LINES: usize = 400;

fn log_card() -> Card {
    let lines: Vec<String> = (0..LOG_LINES)
        .map(|n| format!("line-{n:04} loss & gradient of rank 3"))
        .collect();
    Card {
        blocks: vec![Block::Code {
            text: lines.join("\n"),
        }],
        ..text_card("logs of llm-7b")
    }
}

/// The numbers of the log's lines that messages show, in their order.
fn log_lines(messages: &[slack::Message]) -> Vec<usize> {
    let shown: String = messages.iter().map(slack::Message::shown).collect();
    let numbers = shown.split("line-").skip(1);
    numbers
        .filter_map(|line| line.get(..4)?.parse().ok())
        .collect()
}

/// A desk that says back what it heard. Words with "secret" are answered privately, and Eve may do nothing.
fn echo(asked: &Asked) -> Handler {
    let asked = Arc::clone(asked);
    Arc::new(move |principal, command| {
        let (text, private, outcome) = match &command {
            _ if principal.user == "UEVE" => {
                ("you may not do that".to_owned(), true, Outcome::Refused)
            }
            Command::Say { text, context } => {
                let context = if context.is_empty() {
                    String::new()
                } else {
                    format!(" after {context:?}")
                };
                (
                    format!("heard: {text}{context}"),
                    text.contains("secret"),
                    Outcome::Done,
                )
            }
            Command::Press { verb, id, reason } => {
                let reason = reason
                    .as_ref()
                    .map(|reason| format!(" because {reason}"))
                    .unwrap_or_default();
                (format!("{verb:?} {id}{reason}"), false, Outcome::Done)
            }
            other => (format!("{other:?}"), true, Outcome::Done),
        };
        let card = match &command {
            Command::Say { text, .. } if text.contains("logs") => log_card(),
            _ => text_card(&text),
        };
        asked
            .lock()
            .expect("not poisoned")
            .push((principal, command));
        let answer = Answer {
            card,
            body: json!(null),
            outcome,
            private,
        };
        async move { answer }.boxed()
    })
}

/// The bot's Slack side, whole, against a Slack of its own.
struct Bot {
    slack: FakeSlack,
    database: TestDatabase,
    asked: Asked,
    inbox: Inbox,
    stop: CancellationToken,
    tasks: Vec<JoinHandle<()>>,
}

impl Bot {
    /// Hears over HTTP.
    async fn over_http() -> Self {
        let bot = Self::start(sqlite().await, FakeSlack::start().await);
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("a bound address");
        let router = http::router(bot.inbox.clone(), &SecretString::from(SIGNING_SECRET));
        tokio::spawn(async move { axum::serve(listener, router).await });
        bot.slack
            .use_http(format!("http://{address}/").parse().expect("a URL"));
        bot
    }

    /// Hears over sockets, with short waits.
    async fn over_sockets(connections: usize) -> Self {
        let mut bot = Self::start(sqlite().await, FakeSlack::start().await);
        let settings = socket::Settings {
            connections,
            first_wait: Duration::from_millis(20),
            refused_wait: Duration::from_hours(1),
            farewell: Duration::from_millis(300),
            ..socket::Settings::default()
        };
        let sockets = socket::run(
            client(&bot.slack),
            bot.inbox.clone(),
            settings,
            bot.stop.clone(),
        );
        bot.tasks.push(tokio::spawn(sockets));
        bot
    }

    fn start(database: TestDatabase, slack: FakeSlack) -> Self {
        let (inbox, writer) = Inbox::new(database.store.clone());
        let stop = CancellationToken::new();
        let asked = Asked::default();
        let deliverer = Deliverer {
            store: database.store.clone(),
            client: client(&slack),
            inbox: inbox.clone(),
            desk: echo(&asked),
            people: People::new(client(&slack), false, Arc::new(|_| ())),
            owner: "test".to_owned(),
        };
        let tasks = vec![
            tokio::spawn(writer.run(stop.clone())),
            tokio::spawn(deliverer.run(stop.clone())),
        ];
        Self {
            slack,
            database,
            asked,
            inbox,
            stop,
            tasks,
        }
    }

    async fn post_alert(&self) {
        client(&self.slack)
            .post("C1", &alert(), None, "alert-1")
            .await
            .expect("posted");
    }

    fn commands(&self) -> Vec<Command> {
        self.asked
            .lock()
            .expect("not poisoned")
            .iter()
            .map(|(_, command)| command.clone())
            .collect()
    }

    async fn wait_for_commands(&self, count: usize) {
        self.slack
            .wait_until(|_| self.asked.lock().expect("not poisoned").len() >= count)
            .await;
    }

    /// Stops, with all that is in hand done.
    async fn stop(self) {
        self.stop.cancel();
        for task in self.tasks {
            task.await.expect("no task panicked");
        }
    }
}

#[tokio::test]
async fn a_mention_is_answered_in_its_thread_with_the_thread_in_mind() {
    let bot = Bot::over_http().await;
    assert!(bot.slack.say("C1", "UMIRA", "what fails?").await);
    bot.slack.wait_for_messages(2).await;
    let parent = bot.slack.message(0).ts;
    assert!(
        bot.slack
            .say_in("C1", Some(&parent), "UMIRA", "and in ml-team?")
            .await
    );
    bot.slack.wait_for_messages(4).await;

    insta::assert_snapshot!(bot.slack.messages(), @r#"
    C1 UMIRA: <@UBOT> what fails?
      ↳ C1 UBOT: heard: what fails?
      ↳   heard: what fails?
      ↳ C1 UMIRA: <@UBOT> and in ml-team?
      ↳ C1 UBOT: heard: and in ml-team? after ["what fails?", "heard: what fails?"]
      ↳   heard: and in ml-team? after ["what fails?", "heard: what fails?"]
    "#);
    bot.stop().await;
}

#[tokio::test]
async fn a_slash_command_is_answered_where_it_was_typed_and_privately_when_it_should_be() {
    let bot = Bot::over_http().await;
    assert!(bot.slack.slash("C1", "UMIRA", "status").await);
    bot.slack.wait_for_messages(1).await;
    assert!(bot.slack.slash("C1", "UMIRA", "a secret").await);
    bot.slack.wait_for_messages(2).await;
    assert!(bot.slack.slash("C1", "UMIRA", "").await);
    bot.slack.wait_for_messages(3).await;

    insta::assert_snapshot!(bot.slack.messages(), @r"
    C1 UBOT: heard: status
      heard: status
    C1 UBOT (only asker sees it): heard: a secret
      heard: a secret
    C1 UBOT (only asker sees it): Help { topic: None }
      Help { topic: None }
    ");
    bot.stop().await;
}

#[tokio::test]
async fn a_button_reaches_the_desk_with_who_pressed_it() {
    let bot = Bot::over_http().await;
    bot.post_alert().await;
    assert!(bot.slack.click("Approve", "UMIRA").await);
    bot.slack.wait_for_messages(2).await;
    assert!(bot.slack.click("Approve", "UEVE").await);
    bot.slack.wait_for_messages(3).await;

    let asked = bot.asked.lock().expect("not poisoned").clone();
    assert_eq!(asked[0].0.user, "UMIRA");
    assert_eq!(asked[0].0.team.as_deref(), Some(slack::TEAM));
    assert_eq!(
        asked[0].1,
        Command::Press {
            verb: Verb::Approve,
            id: "a1".to_owned(),
            reason: None
        }
    );
    insta::assert_snapshot!(bot.slack.messages(), @r"
    C1 UBOT: 🔴 llm-7b failed
      🔴 llm-7b failed
      [Approve restart] [Deny] [Show logs] [Yes]
      ↳ C1 UBOT: Approve a1
      ↳   Approve a1
    C1 UBOT (only asker sees it): you may not do that
      you may not do that
    ");
    bot.stop().await;
}

#[tokio::test]
async fn deny_asks_for_the_reason_and_brings_it_to_the_desk() {
    let bot = Bot::over_http().await;
    bot.post_alert().await;
    assert!(bot.slack.click("Deny", "UMIRA").await);
    bot.slack.wait_until(|state| !state.views.is_empty()).await;
    assert!(
        bot.commands().is_empty(),
        "nothing is denied before the dialog is sent off"
    );
    assert!(bot.slack.submit("the team is looking at it", "UMIRA").await);
    bot.slack.wait_for_messages(2).await;

    let reason = Some("the team is looking at it".to_owned());
    assert_eq!(
        bot.commands(),
        [Command::Press {
            verb: Verb::Deny,
            id: "a1".to_owned(),
            reason
        }]
    );
    bot.stop().await;
}

#[tokio::test]
async fn deny_counts_without_a_reason_when_the_dialog_cannot_be_opened_any_more() {
    let bot = Bot::over_http().await;
    bot.post_alert().await;
    let click = bot.slack.clicked("Deny", "UMIRA");
    bot.slack.expire_triggers();
    assert!(bot.slack.send("interactive", &click).await);
    bot.wait_for_commands(1).await;

    assert_eq!(
        bot.commands(),
        [Command::Press {
            verb: Verb::Deny,
            id: "a1".to_owned(),
            reason: None
        }]
    );
    bot.stop().await;
}

#[tokio::test]
async fn an_answered_confirmation_loses_its_buttons() {
    let bot = Bot::over_http().await;
    bot.post_alert().await;
    assert!(bot.slack.click("Yes", "UMIRA").await);
    bot.slack
        .wait_until(|state| state.messages[0].edits == 1)
        .await;

    insta::assert_snapshot!(bot.slack.messages(), @r"
    C1 UBOT (edited): Confirm a1
      Confirm a1
    ");
    bot.stop().await;
}

#[tokio::test]
async fn a_request_that_slack_repeats_is_acknowledged_and_done_once() {
    let bot = Bot::over_http().await;
    let payload = bot.slack.said("C1", None, "UMIRA", "what fails?");
    let first = FakeSlack::request("events_api", &payload);
    assert_eq!(bot.slack.send_signed(&first).await, 200);

    // The same event signed anew, as Slack repeats after a time-out.
    let again = FakeSlack::request("events_api", &payload);
    assert_eq!(
        bot.slack
            .send_signed(&slack::Request {
                retry: Some(1),
                ..again
            })
            .await,
        200
    );
    // The very same bytes, said to be a repetition.
    assert_eq!(
        bot.slack
            .send_signed(&slack::Request {
                retry: Some(2),
                ..first.clone()
            })
            .await,
        200
    );
    // The same message as another event: a mention where the app hears messages too.
    let mut twin = payload.clone();
    twin["event_id"] = json!("EvOther");
    assert!(bot.slack.send("events_api", &twin).await);
    // The very same bytes without a word: somebody listened in.
    assert_eq!(bot.slack.send_signed(&first).await, 401);

    assert!(bot.slack.say("C1", "UMIRA", "last").await);
    bot.wait_for_commands(2).await;
    assert_eq!(bot.commands().len(), 2, "one for each thing that was said");
    bot.stop().await;
}

#[tokio::test]
async fn forged_old_and_future_requests_are_refused_bare() {
    let bot = Bot::over_http().await;
    let payload = bot.slack.said("C1", None, "UMIRA", "what fails?");
    let good = FakeSlack::request("events_api", &payload);
    let now = Timestamp::now().as_second();
    let signed_at = |second: i64| {
        let timestamp = second.to_string();
        let signature = slack::sign(SIGNING_SECRET, &timestamp, good.body.as_bytes());
        slack::Request {
            timestamp,
            signature,
            ..good.clone()
        }
    };
    let forged = slack::Request {
        signature: slack::sign("another secret", &good.timestamp, good.body.as_bytes()),
        ..good.clone()
    };
    let changed = slack::Request {
        body: good.body.replace("what", "that"),
        ..good.clone()
    };
    for (what, request) in [
        ("old", signed_at(now - 400)),
        ("from the future", signed_at(now + 400)),
        ("forged", forged),
        ("changed", changed),
        (
            "without a signature",
            slack::Request {
                signature: String::new(),
                ..good.clone()
            },
        ),
        (
            "with an odd time",
            slack::Request {
                timestamp: "soon".to_owned(),
                ..good.clone()
            },
        ),
    ] {
        assert_eq!(bot.slack.send_signed(&request).await, 401, "{what}");
    }
    let nonsense = slack::Request {
        body: "{".to_owned(),
        ..good.clone()
    };
    let signature = slack::sign(
        SIGNING_SECRET,
        &nonsense.timestamp,
        nonsense.body.as_bytes(),
    );
    assert_eq!(
        bot.slack
            .send_signed(&slack::Request {
                signature,
                ..nonsense
            })
            .await,
        400
    );
    assert!(bot.commands().is_empty());
    bot.stop().await;
}

#[tokio::test]
async fn a_body_that_never_ends_or_is_too_large_is_given_up() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let database = sqlite().await;
    let (inbox, _writer) = Inbox::new(database.store.clone());
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("a bound address");
    let router = http::router(inbox, &SecretString::from(SIGNING_SECRET));
    tokio::spawn(async move { axum::serve(listener, router).await });
    for (length, status) in [(100, "408"), (4 << 20, "413")] {
        let mut socket = tokio::net::TcpStream::connect(address)
            .await
            .expect("a connection");
        let head = format!(
            "POST /slack/events HTTP/1.1\r\nhost: nightbell\r\ncontent-length: {length}\r\n\r\nhalf"
        );
        socket.write_all(head.as_bytes()).await.expect("sent");
        let mut answer = [0; 64];
        let read = tokio::time::timeout(Duration::from_secs(20), socket.read(&mut answer))
            .await
            .expect("an answer within the time limit")
            .expect("an answer");
        let answer = String::from_utf8_lossy(&answer[..read]).into_owned();
        assert!(answer.contains(status), "{answer}");
    }
}

#[tokio::test]
async fn slack_may_ask_whether_the_address_is_ours() {
    let bot = Bot::over_http().await;
    let challenge = json!({"type": "url_verification", "token": "x", "challenge": "abc123"});
    assert!(bot.slack.send("events_api", &challenge).await);
    let probe = slack::Request {
        path: "slack/commands".to_owned(),
        body: "ssl_check=1&token=x".to_owned(),
        timestamp: String::new(),
        signature: String::new(),
        retry: None,
    };
    assert_eq!(bot.slack.send_signed(&probe).await, 200);
    bot.stop().await;
}

#[tokio::test]
async fn a_stalled_database_delays_the_acknowledgement_but_loses_nothing() {
    let bot = Bot::over_http().await;
    // Whoever holds the writer's connection stalls every commit.
    let stall = bot.database.store.begin().await.expect("begin");
    let release = async {
        tokio::time::sleep(Duration::from_secs(2)).await;
        drop(stall);
    };
    let clicks = async {
        tokio::join!(
            bot.slack.slash("C1", "UMIRA", "one"),
            bot.slack.slash("C1", "UMIRA", "two")
        )
    };
    let (acknowledged, ()) = tokio::join!(clicks, release);
    assert_eq!(acknowledged, (true, true), "both within three seconds");
    bot.wait_for_commands(2).await;
    bot.stop().await;
}

#[tokio::test]
async fn a_rate_limited_answer_is_posted_later_and_once() {
    let bot = Bot::over_http().await;
    bot.slack.fail("chat.postMessage", Fault::RateLimited(1));
    bot.slack.fail("chat.postMessage", Fault::FatalAfterEffect);
    assert!(bot.slack.say("D1", "UMIRA", "what fails?").await);
    bot.slack
        .wait_until(|state| {
            state
                .calls
                .iter()
                .any(|(method, _)| method == "conversations.replies")
        })
        .await;
    bot.slack
        .wait_until(|state| {
            state
                .calls
                .iter()
                .filter(|(method, _)| method == "conversations.replies")
                .count()
                == 2
        })
        .await;

    assert_eq!(bot.commands().len(), 1, "the desk was asked once");
    insta::assert_snapshot!(bot.slack.messages(), @r"
    D1 UMIRA: what fails?
      ↳ D1 UBOT: heard: what fails?
      ↳   heard: what fails?
    ");
    bot.stop().await;
}

#[tokio::test]
async fn an_answer_too_long_for_one_message_goes_on_in_the_thread_and_nothing_is_said_twice() {
    let bot = Bot::over_http().await;
    // The first part is posted, but its answer is lost.
    bot.slack.fail("chat.postMessage", Fault::FatalAfterEffect);
    assert!(bot.slack.say("C1", "UMIRA", "show me the logs").await);
    bot.slack
        .wait_until(|state| {
            let last = format!("line-{:04}", LOG_LINES - 1);
            state.messages.iter().any(|m| m.shown().contains(&last))
        })
        .await;
    let (question, parts) = {
        let mut all = bot.slack.all();
        (all.remove(0), all)
    };
    assert!(parts.len() > 1, "{}", bot.slack.messages());
    assert_eq!(log_lines(&parts), (0..LOG_LINES).collect::<Vec<_>>());
    for (number, part) in parts.iter().enumerate() {
        assert_eq!(part.thread_ts.as_ref(), Some(&question.ts));
        let counted = format!("Part {} of {}.", number + 1, parts.len());
        assert!(part.shown().contains(&counted), "{}", part.shown());
    }
    assert_eq!(bot.commands().len(), 1, "the desk was asked once");
    bot.stop().await;
}

#[tokio::test]
async fn a_long_answer_to_a_slash_command_comes_whole_and_stays_private() {
    let bot = Bot::over_http().await;
    assert!(bot.slack.slash("C1", "UMIRA", "secret logs").await);
    bot.slack
        .wait_until(|state| {
            let last = format!("line-{:04}", LOG_LINES - 1);
            state.messages.iter().any(|m| m.shown().contains(&last))
        })
        .await;
    let parts = bot.slack.all();
    assert!(parts.iter().all(|part| part.only_for.is_some()));
    assert_eq!(log_lines(&parts), (0..LOG_LINES).collect::<Vec<_>>());
    bot.stop().await;
}

#[tokio::test]
async fn envelopes_from_a_socket_take_the_same_way() {
    let bot = Bot::over_sockets(1).await;
    bot.slack.wait_for_sockets(1).await;
    assert!(bot.slack.say("D1", "UMIRA", "what fails?").await);
    assert!(bot.slack.slash("C1", "UMIRA", "status").await);
    bot.slack.wait_for_messages(3).await;
    bot.post_alert().await;
    assert!(bot.slack.click("Approve", "UMIRA").await);
    bot.wait_for_commands(3).await;
    bot.stop().await;
}

#[tokio::test]
async fn an_envelope_that_comes_again_is_acknowledged_and_done_once() {
    let bot = Bot::over_sockets(1).await;
    bot.slack.wait_for_sockets(1).await;
    let payload = bot.slack.said("D1", None, "UMIRA", "what fails?");
    assert!(bot.slack.send("events_api", &payload).await);
    assert!(bot.slack.send("events_api", &payload).await);
    assert!(bot.slack.say("D1", "UMIRA", "last").await);
    bot.wait_for_commands(2).await;
    assert_eq!(bot.commands().len(), 2);
    bot.stop().await;
}

#[tokio::test]
async fn a_new_socket_is_open_before_the_old_one_goes() {
    let bot = Bot::over_sockets(1).await;
    bot.slack.wait_for_sockets(1).await;
    bot.slack.disconnect("refresh_requested");
    bot.slack.wait_for_sockets(2).await;
    assert!(bot.slack.say("D1", "UMIRA", "still there?").await);

    bot.slack.drop_sockets();
    bot.slack.wait_for_sockets(3).await;
    assert!(bot.slack.say("D1", "UMIRA", "and now?").await);
    bot.wait_for_commands(2).await;
    bot.stop().await;
}

#[tokio::test]
async fn two_sockets_are_kept_open() {
    let bot = Bot::over_sockets(2).await;
    bot.slack.wait_for_sockets(2).await;
    bot.slack.drop_sockets();
    bot.slack.wait_for_sockets(4).await;
    assert!(bot.slack.say("D1", "UMIRA", "what fails?").await);
    bot.stop().await;
}

#[tokio::test]
async fn sockets_come_back_after_slack_was_down_or_rationed_them() {
    let bot = Bot::start(sqlite().await, FakeSlack::start().await);
    bot.slack.fail("apps.connections.open", Fault::BadGateway);
    bot.slack
        .fail("apps.connections.open", Fault::RateLimited(0));
    bot.slack
        .fail("apps.connections.open", Fault::Error("internal_error"));
    let settings = socket::Settings {
        connections: 1,
        first_wait: Duration::from_millis(10),
        ..socket::Settings::default()
    };
    let sockets = tokio::spawn(socket::run(
        client(&bot.slack),
        bot.inbox.clone(),
        settings,
        bot.stop.clone(),
    ));
    bot.slack.wait_for_sockets(1).await;
    assert_eq!(bot.slack.calls("apps.connections.open"), 4);
    bot.stop().await;
    sockets.await.expect("no panic");
}

#[tokio::test]
async fn a_refused_token_or_a_switched_off_socket_mode_is_not_hammered() {
    let bot = Bot::over_sockets(1).await;
    bot.slack.wait_for_sockets(1).await;
    bot.slack.disconnect("link_disabled");
    bot.slack.drop_sockets();
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(bot.slack.calls("apps.connections.open"), 1);
    bot.stop().await;

    let slack = FakeSlack::start().await;
    slack.set_revoked(true);
    let bot = Bot::start(sqlite().await, slack);
    let settings = socket::Settings {
        connections: 1,
        first_wait: Duration::from_millis(10),
        ..socket::Settings::default()
    };
    let sockets = tokio::spawn(socket::run(
        client(&bot.slack),
        bot.inbox.clone(),
        settings,
        bot.stop.clone(),
    ));
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(bot.slack.calls("apps.connections.open"), 1);
    bot.stop().await;
    sockets.await.expect("no panic");
}

#[tokio::test]
async fn a_delivery_whose_worker_died_is_answered_by_the_next() {
    let database = sqlite().await;
    let slack = FakeSlack::start().await;
    // Recorded by a process that died before it did anything.
    let (inbox, writer) = Inbox::new(database.store.clone());
    let stop = CancellationToken::new();
    let writing = tokio::spawn(writer.run(stop.clone()));
    let payload = slack.said("D1", None, "UMIRA", "what fails?").to_string();
    let delivery = nightbell::store::NewDelivery {
        kind: "event",
        payload,
        signature: None,
        keys: vec!["event:Ev1".to_owned()],
        lane: "chat:D1:UMIRA".to_owned(),
    };
    inbox.record(delivery).await;
    stop.cancel();
    writing.await.expect("no panic");

    let bot = Bot::start(database, slack);
    bot.slack.wait_for_messages(2).await;
    assert_eq!(bot.commands().len(), 1);
    bot.stop().await;
}

#[tokio::test]
async fn the_desk_hears_whether_a_member_or_a_guest_asks() {
    let bot = Bot::over_http().await;
    bot.slack
        .set_profile("UGUEST", json!({"is_ultra_restricted": true}));
    bot.slack
        .set_profile("USTRANGER", json!({"is_stranger": true}));
    let mut foreign = bot.slack.said("C1", None, "UELSEWHERE", "what fails?");
    foreign["event"]["user_team"] = json!("T9");
    for user in ["UMIRA", "UGUEST", "USTRANGER", "UMIRA"] {
        assert!(bot.slack.slash("C1", user, "what fails?").await);
    }
    assert!(bot.slack.send("events_api", &foreign).await);
    bot.wait_for_commands(5).await;

    let asked = bot.asked.lock().expect("not poisoned").clone();
    for (principal, _) in &asked {
        let expected = match principal.user.as_str() {
            "UMIRA" => Standing::Member,
            _ => Standing::Guest,
        };
        assert_eq!(principal.standing, expected, "{principal:?}");
    }
    // A foreign person needs no looking up, and nobody is looked up twice within minutes.
    assert!(bot.slack.calls("users.info") <= 4);
    assert!(bot.slack.slash("C1", "UGUEST", "again").await);
    bot.wait_for_commands(6).await;
    assert!(bot.slack.calls("users.info") <= 4);
    bot.stop().await;
}

#[tokio::test]
async fn who_slack_does_not_know_yet_is_acknowledged_and_asked_about_again() {
    let bot = Bot::over_http().await;
    bot.slack.fail("auth.test", Fault::Error("internal_error"));
    bot.slack.fail("users.info", Fault::BadGateway);
    let began = std::time::Instant::now();
    assert!(bot.slack.slash("C1", "UMIRA", "what fails?").await);
    assert!(
        began.elapsed() < Duration::from_secs(3),
        "acknowledged in time"
    );
    bot.wait_for_commands(1).await;
    let asked = bot.asked.lock().expect("not poisoned").clone();
    assert_eq!(asked[0].0.standing, Standing::Member);
    bot.stop().await;
}

#[tokio::test]
async fn an_app_that_may_not_look_people_up_goes_by_their_workspace() {
    let bot = Bot::over_http().await;
    bot.slack.fail("users.info", Fault::Error("missing_scope"));
    let mut foreign = bot.slack.said("C1", None, "UELSEWHERE", "what fails?");
    foreign["event"]["user_team"] = json!("T9");
    assert!(bot.slack.slash("C1", "UMIRA", "what fails?").await);
    bot.wait_for_commands(1).await;
    assert!(bot.slack.send("events_api", &foreign).await);
    bot.wait_for_commands(2).await;
    let asked = bot.asked.lock().expect("not poisoned").clone();
    assert_eq!(asked[0].0.standing, Standing::Member);
    assert_eq!(asked[1].0.standing, Standing::Guest);
    bot.stop().await;
}

#[tokio::test]
async fn each_delivery_is_stored_once_on_either_database() {
    use nightbell::store::{NewDelivery, Recorded};
    let delivery = |signature: &str, keys: &[&str]| NewDelivery {
        kind: "event",
        payload: "{}".to_owned(),
        signature: Some(signature.to_owned()),
        keys: keys.iter().map(|&key| key.to_owned()).collect(),
        lane: "chat:C1:U1".to_owned(),
    };
    for db in databases().await {
        let at = Timestamp::from_second(1_790_000_000).expect("a time in range");
        let batch = [
            delivery("s1", &["event:1", "message:1"]),
            delivery("s1", &["event:1", "message:1"]),
            delivery("s2", &["event:2", "message:1"]),
            delivery("s3", &["event:3"]),
        ];
        let verdicts = db
            .store
            .record_deliveries(&batch, at)
            .await
            .expect("recorded");
        assert_eq!(
            verdicts,
            [
                Recorded::Stored,
                Recorded::Replayed,
                Recorded::Duplicate,
                Recorded::Stored
            ]
        );
        let verdicts = db
            .store
            .record_deliveries(&[delivery("s4", &["event:2"])], at)
            .await
            .expect("recorded");
        assert_eq!(verdicts, [Recorded::Duplicate]);

        let many: Vec<NewDelivery> = (0..150)
            .map(|n| delivery(&format!("many{n}"), &[&format!("event:many{n}")]))
            .collect();
        let verdicts = db
            .store
            .record_deliveries(&many, at)
            .await
            .expect("recorded");
        assert!(verdicts.iter().all(|verdict| *verdict == Recorded::Stored));

        // A key that ran out is forgotten, pruned or not.
        let later = at
            .saturating_add(SignedDuration::from_hours(30))
            .expect("in range");
        let verdicts = db
            .store
            .record_deliveries(&[delivery("s1", &["event:1"])], later)
            .await
            .expect("recorded");
        assert_eq!(verdicts, [Recorded::Stored]);
        db.store.prune_inbox(later, later).await.expect("pruned");
    }
}
