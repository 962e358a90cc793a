//! A gate and an executor over one database: an action is asked for, approved, carried out and observed in one line.

use std::time::Duration;

use jiff::Timestamp;
use nightbell::action::{self, ActionSpec, Executor, Systems};
use nightbell::alert::Severity;
use nightbell::decide::Proposal;
use nightbell::desk::{Principal, Standing, Surface};
use nightbell::diagnose::SafetyClass;
use nightbell::safety::policy::Policy;
use nightbell::safety::{
    Decision, Execution, ExecutionState, Place, Proposed, Safety, Scope, Settings,
};
use serde_json::Value;

use super::database::{TestDatabase, sqlite};
use super::gate::at;

pub struct Bench {
    pub safety: Safety,
    pub executor: Executor,
    pub db: TestDatabase,
}

impl Bench {
    pub async fn new(systems: Systems) -> Self {
        Self::with(sqlite().await, systems, false, Duration::from_secs(20))
    }

    pub fn with(db: TestDatabase, systems: Systems, dry_run: bool, timeout: Duration) -> Self {
        let settings = Settings {
            policy: Policy {
                dry_run,
                ..Policy::default()
            },
            approvers: "local".parse().expect("approvers"),
            ..Settings::default()
        };
        let safety = Safety::new(db.store.clone(), settings);
        let executor = Executor::new(
            safety.clone(),
            db.store.clone(),
            systems,
            action::Settings {
                timeout,
                ..action::Settings::default()
            },
            std::sync::Arc::new(|_| Box::pin(async { Ok(()) })),
        );
        Self {
            safety,
            executor,
            db,
        }
    }

    /// Asks for the action, has it approved, and returns the permitted execution.
    pub async fn approved(&self, spec: ActionSpec, now: Timestamp) -> Execution {
        let proposal = Proposal {
            scope: Scope {
                service: spec.target.key(),
                cause: None,
                instances: 1,
                touched: 0,
                failing_since: None,
                place: Place::default(),
            },
            spec,
            class: SafetyClass::Gated,
            severity: Severity::High,
            reason: "a reason".into(),
            impact: Vec::new(),
            healthy_taken: 0,
            owned_elsewhere: false,
        };
        let mut tx = self.db.store.begin().await.expect("begin");
        let proposed = self
            .safety
            .propose(&mut tx, "alert-1", &proposal, now)
            .await
            .expect("propose");
        tx.commit().await.expect("commit");
        let Proposed::Asked(approval) = proposed else {
            panic!("{proposed:?}")
        };
        let local = Principal {
            surface: Surface::Console,
            user: "local".into(),
            team: None,
            standing: Standing::Member,
        };
        match self
            .safety
            .decide(&approval.id, &local, true, None, now)
            .await
            .expect("decide")
        {
            Decision::Approved { execution, .. } => execution,
            other => panic!("{other:?}"),
        }
    }

    pub async fn turn(&self, now: Timestamp) {
        self.executor.turn(now).await.expect("a turn");
    }

    pub async fn state(&self, execution: &Execution) -> Execution {
        let read = self.db.store.execution(&execution.id).await;
        read.expect("read").expect("there").0
    }

    /// What was noted before the call.
    pub async fn memory(&self, execution: &Execution) -> Value {
        let read = self.db.store.execution_memory(&execution.id).await;
        read.expect("read").unwrap_or_default()
    }

    /// Has the action approved and carried out, and says how that ended. Observing comes after.
    pub async fn run(&self, spec: ActionSpec, second: i64) -> Execution {
        let execution = self.approved(spec, at(second)).await;
        self.turn(at(second + 1)).await;
        self.state(&execution).await
    }

    /// Looks at the target until the wanted state has held for long enough.
    pub async fn observed(&self, execution: &Execution, second: i64) -> Execution {
        self.turn(at(second)).await;
        self.turn(at(second + 20)).await;
        self.state(execution).await
    }
}

/// How an execution was answered.
pub fn answer(execution: &Execution) -> &str {
    execution.answer.as_deref().unwrap_or_default()
}

/// Asserts that nothing was done, for a reason that holds these words.
pub fn refused(execution: &Execution, why: &str) {
    let state = execution.state;
    assert!(
        matches!(state, ExecutionState::Failed | ExecutionState::Cancelled),
        "{execution:?}"
    );
    assert!(answer(execution).contains(why), "{execution:?}");
}
