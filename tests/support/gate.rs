//! The gate with a question, a click and a run in one line each.

use jiff::Timestamp;
use nightbell::action::{ActionKind, ActionSpec, Parameters, Target};
use nightbell::alert::Severity;
use nightbell::decide::Proposal;
use nightbell::desk::{Principal, Standing, Surface};
use nightbell::diagnose::SafetyClass;
use nightbell::safety::approvers::Approvers;
use nightbell::safety::policy::Policy;
use nightbell::safety::{
    Answered, Approval, Decision, Execution, Observed, Place, Proposed, Safety, Scope, Settings,
    Start, audit,
};
use nightbell::store::Store;

use super::database::TestDatabase;

pub fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_790_000_000 + second).expect("a time in range")
}

/// To delete a pod, under an alert that GPU hardware failed.
pub fn proposal(name: &str) -> Proposal {
    Proposal {
        spec: ActionSpec {
            kind: ActionKind::DeletePod,
            target: Target::Kubernetes {
                cluster: "prod".into(),
                namespace: "ml".into(),
                kind: "Pod".into(),
                name: name.into(),
                uid: Some(format!("uid-{name}")),
            },
            parameters: Parameters::default(),
            avoid_node: None,
        },
        class: SafetyClass::Auto,
        severity: Severity::High,
        reason: "GPU fell off the bus (96 % sure).".into(),
        impact: vec!["Ends 1 of 8 pods of the job; its controller makes another.".into()],
        scope: Scope {
            service: format!("prod/ml/{name}"),
            cause: Some("xid_79".into()),
            instances: 8,
            touched: 0,
            failing_since: Some(at(0)),
            place: Place::default(),
        },
        healthy_taken: 0,
        owned_elsewhere: false,
    }
}

pub fn settings() -> Settings {
    Settings {
        policy: Policy {
            require_approval: true,
            require_approval_threshold: Severity::High,
            dry_run: false,
        },
        approvers: "U01,U02,local"
            .parse::<Approvers>()
            .expect("approvers")
            .with_tokens(),
        ..Settings::default()
    }
}

pub fn safety(db: &TestDatabase) -> Safety {
    at_home(db.store.clone(), settings())
}

/// A gate that knows its own Slack workspace.
pub fn at_home(store: Store, settings: Settings) -> Safety {
    let safety = Safety::new(store, settings);
    safety.set_home_team("T1");
    safety
}

pub fn mira() -> Principal {
    slack("U01")
}
pub fn slack(user: &str) -> Principal {
    Principal {
        surface: Surface::Slack,
        user: user.into(),
        team: Some("T1".into()),
        standing: Standing::Member,
    }
}

pub async fn propose(
    safety: &Safety,
    store: &Store,
    alert: &str,
    proposal: &Proposal,
    now: Timestamp,
) -> Proposed {
    let mut tx = store.begin().await.expect("begin");
    let proposed = safety
        .propose(&mut tx, alert, proposal, now)
        .await
        .expect("propose");
    tx.commit().await.expect("commit");
    proposed
}

pub async fn asked(
    safety: &Safety,
    store: &Store,
    alert: &str,
    name: &str,
    now: Timestamp,
) -> Approval {
    match propose(safety, store, alert, &proposal(name), now).await {
        Proposed::Asked(approval) => approval,
        other => panic!("expected a question, got {other:?}"),
    }
}

pub async fn approve(safety: &Safety, approval: &Approval, now: Timestamp) -> Decision {
    safety
        .decide(&approval.id, &mira(), true, None, now)
        .await
        .expect("decide")
}

pub async fn approved(safety: &Safety, approval: &Approval, now: Timestamp) -> Execution {
    match approve(safety, approval, now).await {
        Decision::Approved { execution, .. } => execution,
        other => panic!("expected an approval, got {other:?}"),
    }
}

/// Starts, answers and verifies an execution.
pub async fn run(safety: &Safety, execution: &Execution, now: Timestamp) {
    let Start::Go(permit) = safety.start(&execution.id, now).await.expect("start") else {
        panic!("a fresh execution starts");
    };
    let id = permit.execution_id();
    safety
        .answered(id, Answered::Accepted("accepted".into()), now)
        .await
        .expect("answered");
    safety
        .observed(id, Observed::Reached("ready".into()), now)
        .await
        .expect("observed");
}

/// The audit's chain holds.
pub async fn chain_holds(store: &Store) {
    let checked = audit::verify(store, None)
        .await
        .expect("the audit can be read");
    assert!(checked.is_ok(), "{checked:?}");
}

/// Writes to the database behind the store's back.
pub async fn meddle(db: &TestDatabase, sql: &str) {
    let sql = sqlx::AssertSqlSafe(sql.to_owned());
    if db.url.starts_with("sqlite") {
        let pool = sqlx::SqlitePool::connect(&db.url).await.expect("opens");
        sqlx::query(sql).execute(&pool).await.expect("meddled");
        pool.close().await;
    } else {
        let pool = sqlx::PgPool::connect(&db.url).await.expect("opens");
        sqlx::query(sql).execute(&pool).await.expect("meddled");
        pool.close().await;
    }
}
