//! The audit tells the whole story, and shows when somebody meddled with it.

use std::collections::BTreeMap;

use nightbell::safety::Start;
use nightbell::safety::audit::{self, Broken, Mark};

use crate::support::bot::Bot;
use crate::support::database::{TestDatabase, databases};
use crate::support::gate::{
    approved, asked, at, chain_holds, meddle, proposal, propose, run, safety,
};

async fn verified(db: &TestDatabase, expected: Option<&Mark>) -> Result<Option<Mark>, Broken> {
    audit::verify(&db.store, expected).await.expect("read")
}

/// Five entries: proposed, approved, permitted, started, answered, observed.
async fn a_story(db: &TestDatabase) -> Mark {
    let safety = safety(db);
    let approval = asked(&safety, &db.store, "alert-1", "train-0", at(0)).await;
    let execution = approved(&safety, &approval, at(1)).await;
    run(&safety, &execution, at(2)).await;
    let head = verified(db, None).await.expect("holds").expect("entries");
    assert_eq!(head.seq, 6);
    head
}

#[tokio::test]
async fn it_says_who_asked_who_approved_what_ran_and_what_was_seen() {
    for db in databases().await {
        a_story(&db).await;
        let entries = db.store.audit_after(0, None, 100).await.expect("read");
        let by_kind: BTreeMap<String, &audit::AuditEntry> = entries
            .iter()
            .map(|entry| (format!("{:?}", entry.kind), entry))
            .collect();
        let digest = &by_kind["Proposed"].content["digest"];
        assert_eq!(digest.as_str().expect("a digest").len(), 64);
        for (kind, actor) in [
            ("Proposed", "policy"),
            ("Approved", "U01"),
            ("Permitted", "U01"),
            ("Started", "U01"),
            ("Answered", "nightbell"),
            ("Observed", "nightbell"),
        ] {
            let entry = by_kind[kind];
            assert_eq!(entry.actor, actor, "{kind}");
            assert_eq!(&entry.content["digest"], digest, "{kind}");
            assert_eq!(entry.content["action"]["kind"], "delete_pod", "{kind}");
        }
        let approved = by_kind["Approved"];
        assert_eq!(approved.subject, by_kind["Proposed"].subject);
        assert_eq!(by_kind["Permitted"].content["approval"], approved.subject);
        assert_eq!(
            approved.content["execution"],
            by_kind["Permitted"].subject.as_str()
        );
        assert_eq!(by_kind["Answered"].content["answer"], "accepted");
        assert_eq!(by_kind["Observed"].content["observed"], "ready");

        let late = db.store.audit_after(0, Some(at(2)), 100).await;
        assert_eq!(late.expect("read").len(), 3, "an export can begin later");
    }
}

#[tokio::test]
async fn meddling_with_any_column_of_any_row_is_found() {
    let forgeries = [
        "actor = 'U99'",
        "kind = 'denied'",
        "kind = 'no_such_kind'",
        "subject = 'another'",
        "at_ms = at_ms + 1",
        "at_ms = 9000000000000000000",
        "content = replace(content, 'train-0', 'train-1')",
        "content = content || ' '",
        "content = '{'",
        "previous = 'ab'",
        "hash = 'ab'",
        "seq = seq + 1000",
        "seq = -seq",
    ];
    for db in databases().await {
        a_story(&db).await;
        let mut undo = BTreeMap::new();
        for entry in db.store.audit_rows(0, 100).await.expect("read") {
            undo.insert(entry.seq, entry.entry.expect("readable"));
        }
        for seq in [1, 3, 6] {
            for forgery in forgeries {
                meddle(&db, "create table kept as select * from audit").await;
                meddle(
                    &db,
                    &format!("update audit set {forgery} where seq = {seq}"),
                )
                .await;
                let found = verified(&db, None).await;
                assert!(found.is_err(), "{forgery} of {seq}: {found:?}");
                for back in [
                    "delete from audit",
                    "insert into audit select * from kept",
                    "drop table kept",
                ] {
                    meddle(&db, back).await;
                }
                chain_holds(&db.store).await;
            }
        }
    }
}

#[tokio::test]
async fn rows_removed_put_in_or_cut_off_are_found() {
    let cases = [
        (
            "delete from audit where seq = 1",
            Broken::Missing { seq: 1 },
        ),
        (
            "delete from audit where seq = 4",
            Broken::Missing { seq: 4 },
        ),
        (
            "delete from audit where seq >= 5",
            Broken::Missing { seq: 5 },
        ),
        ("delete from audit", Broken::Missing { seq: 1 }),
        (
            "insert into audit select 0, at_ms, kind, actor, subject, content, previous, hash from audit where seq = 1",
            Broken::Inserted { seq: 0 },
        ),
        (
            "insert into audit select 7, at_ms, kind, actor, subject, content, previous, hash from audit where seq = 6",
            Broken::Unlinked { seq: 7 },
        ),
        // Two rows have changed places.
        (
            "update audit set seq = 100 where seq = 3; update audit set seq = 3 where seq = 4; update audit set seq = 4 where seq = 100",
            Broken::Unlinked { seq: 3 },
        ),
        // A row in between, with those after it moved up.
        (
            "update audit set seq = -seq where seq >= 4; update audit set seq = 1 - seq where seq < 0; \
             insert into audit select 4, at_ms, kind, actor, subject, content, previous, hash from audit where seq = 3; \
             update gate set value = 7 where name = 'audit'",
            Broken::Unlinked { seq: 4 },
        ),
        // The end cut off, and its number with it: the kept hash tells.
        (
            "delete from audit where seq = 6; update gate set value = 5 where name = 'audit'",
            Broken::Rewritten { seq: 5 },
        ),
    ];
    for (meddling, expected) in cases {
        for db in databases().await {
            let head = a_story(&db).await;
            for statement in meddling.split("; ") {
                meddle(&db, statement).await;
            }
            assert_eq!(
                verified(&db, None).await,
                Err(expected.clone()),
                "{meddling}"
            );
            assert!(verified(&db, Some(&head)).await.is_err());
        }
    }
}

#[tokio::test]
async fn a_chain_made_anew_as_a_whole_is_found_by_who_noted_its_end_elsewhere() {
    for (ours, forged) in databases().await.into_iter().zip(databases().await) {
        let noted = a_story(&ours).await;
        chain_holds(&ours.store).await;
        assert_eq!(
            verified(&ours, Some(&noted)).await,
            Ok(Some(noted.clone())),
            "what was noted holds"
        );
        let safety = safety(&forged);
        for (i, name) in ["a", "b", "c", "d", "e", "f", "g"].iter().enumerate() {
            let alert = format!("alert-{i}");
            propose(&safety, &forged.store, &alert, &proposal(name), at(0)).await;
        }
        // Nothing inside shows it.
        chain_holds(&forged.store).await;
        assert_eq!(
            verified(&forged, Some(&noted)).await,
            Err(Broken::NotExpected { seq: 6 })
        );
        let beyond = Mark { seq: 50, ..noted };
        assert_eq!(
            verified(&forged, Some(&beyond)).await,
            Err(Broken::Missing { seq: 8 })
        );
    }
}

#[tokio::test]
async fn an_action_that_was_changed_after_it_was_permitted_is_not_carried_out() {
    for db in databases().await {
        let safety = safety(&db);
        let approval = asked(&safety, &db.store, "alert-1", "train-0", at(0)).await;
        let execution = approved(&safety, &approval, at(1)).await;
        meddle(
            &db,
            "update execution set spec = replace(spec, 'train-0', 'train-1')",
        )
        .await;
        let Start::Cancelled(cancelled) = safety.start(&execution.id, at(2)).await.expect("start")
        else {
            panic!("another action than was permitted must not start")
        };
        assert_eq!(
            cancelled.answer.as_deref(),
            Some("its parameters are not the ones that were permitted")
        );
        chain_holds(&db.store).await;
    }
}

#[tokio::test]
async fn the_command_line_checks_and_exports_it() {
    let bot = Bot::start(&[]).await;
    let (code, output, errors) = bot.command(&["audit", "verify", "--json"]);
    assert_eq!(code, 0, "{output}{errors}");
    for command in [
        vec!["emergency-stop", "--reason", "drill"],
        vec!["emergency-stop", "--clear"],
    ] {
        assert_eq!(bot.command(&command).0, 0);
    }
    let (code, output, _) = bot.command(&["audit", "verify", "--json"]);
    let checked: serde_json::Value = serde_json::from_str(&output).expect("JSON");
    assert_eq!((code, &checked["holds"]), (0, &true.into()));
    let head = checked["head"].as_str().expect("a head").to_owned();
    let (code, output, _) = bot.command(&["audit", "verify", "--expect", &head]);
    assert_eq!(code, 0, "{output}");

    let (code, output, _) = bot.command(&["audit", "export", "--json", "--since", "1h"]);
    assert_eq!(code, 0);
    let lines: Vec<serde_json::Value> = output
        .lines()
        .map(|line| serde_json::from_str(line).expect("one object per line"))
        .collect();
    let kinds: Vec<&str> = lines
        .iter()
        .filter_map(|line| line["kind"].as_str())
        .collect();
    assert_eq!(kinds, ["emergency_stop", "emergency_clear"]);
    let (_, output, _) = bot.command(&["audit", "export"]);
    assert!(output.contains("emergency_clear"), "{output}");

    let url = format!("sqlite://{}", bot.folder().join("nightbell.db").display());
    let pool = sqlx::SqlitePool::connect(&url).await.expect("opens");
    sqlx::query("update audit set content = replace(content, 'drill', 'fire')")
        .execute(&pool)
        .await
        .expect("meddled");
    let (code, output, _) = bot.command(&["audit", "verify"]);
    assert_eq!(code, 1, "{output}");
    assert!(output.contains("entry 1 was changed"), "{output}");
    let answer = bot.get("/api/v1/audit/verify").await;
    assert_eq!(answer["holds"], false, "{answer}");
}
