//! Any order of clicks, crashes, clocks and replicas: the gate holds.

use std::collections::HashSet;

use jiff::{SignedDuration, Timestamp};
use nightbell::safety::limits::Limits;
use nightbell::safety::{
    Answered, ApprovalState, Decision, Execution, ExecutionState, Observed, Proposed, Safety,
    Settings, Start,
};
use nightbell::store::Store;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use crate::support::database::{TestDatabase, sqlite};
use crate::support::gate::{at, at_home, chain_holds, mira, proposal, propose, settings};

/// One step of the model: anything that people, workers, crashes and clocks may do next.
#[derive(Clone, Debug)]
enum Step {
    Propose {
        job: u8,
    },
    Click {
        job: u8,
        approve: bool,
        replica: u8,
        twice: bool,
    },
    /// A worker claims the oldest permitted or abandoned execution and gets as far as `progress`.
    Work {
        replica: u8,
        progress: u8,
    },
    /// Somebody repeats the start of an execution that was begun before.
    Reclaim {
        pick: u8,
    },
    Stop,
    Clear,
    /// Seconds, also backwards.
    Clock(i32),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (0..6_u8).prop_map(|job| Step::Propose { job }),
        4 => (0..6_u8, any::<bool>(), 0..2_u8, any::<bool>())
            .prop_map(|(job, approve, replica, twice)| Step::Click { job, approve: approve || job < 4, replica, twice }),
        4 => (0..2_u8, 0..4_u8).prop_map(|(replica, progress)| Step::Work { replica, progress }),
        1 => any::<u8>().prop_map(|pick| Step::Reclaim { pick }),
        1 => Just(Step::Stop),
        2 => Just(Step::Clear),
        3 => (-400..4000_i32).prop_map(Step::Clock),
    ]
}

/// What must be true after any history.
#[derive(Default)]
struct Witness {
    /// Executions that got a permit: each may be carried out once.
    calls: HashSet<String>,
    /// When calls were let through, in true order of `now`.
    stopped: bool,
}

async fn play(db: &TestDatabase, steps: &[Step]) {
    let limits = Limits {
        per_hour: 3,
        per_day: 5,
        ..Limits::default()
    };
    let settings = Settings {
        limits: limits.clone(),
        breaker: 0,
        ..settings()
    };
    let other = Store::open(&db.url).await.expect("a second replica");
    let replicas = [
        at_home(db.store.clone(), settings.clone()),
        at_home(other, settings),
    ];
    let mut now = at(100_000);
    let mut alerts = [0_u32; 6];
    let mut witness = Witness::default();
    for step in steps {
        match step {
            Step::Propose { job } => {
                let job = usize::from(*job);
                let alert = format!("job-{job}-{}", alerts[job]);
                let proposed = propose(
                    &replicas[0],
                    &db.store,
                    &alert,
                    &proposal(&format!("job-{job}")),
                    now,
                )
                .await;
                if let Proposed::AlreadyDecided(_) = proposed {
                    alerts[job] += 1;
                }
                assert!(
                    !matches!(proposed, Proposed::Permitted(_)),
                    "everything asks under this policy"
                );
            }
            Step::Click {
                job,
                approve,
                replica,
                twice,
            } => {
                let alert = format!("job-{job}-{}", alerts[usize::from(*job)]);
                let Some(approval) = db.store.latest_approval_of(&alert).await.expect("read")
                else {
                    continue;
                };
                let safety = &replicas[usize::from(*replica)];
                let first = safety
                    .decide(&approval.id, &mira(), *approve, None, now)
                    .await
                    .expect("decide");
                assert!(
                    !(witness.stopped && matches!(first, Decision::Approved { .. })),
                    "approved while stopped"
                );
                if *twice {
                    let second = replicas[0]
                        .decide(&approval.id, &mira(), true, None, now)
                        .await
                        .expect("decide");
                    if matches!(first, Decision::Approved { .. } | Decision::Denied { .. }) {
                        assert!(
                            matches!(second, Decision::AlreadyDecided { .. }),
                            "{second:?}"
                        );
                    }
                }
            }
            Step::Work { replica, progress } => {
                let executions = db.store.executions(100).await.expect("executions");
                let next = executions.iter().rev().find(|e| {
                    matches!(e.state, ExecutionState::Permitted | ExecutionState::Started)
                });
                let Some(execution) = next else { continue };
                work(
                    &replicas[usize::from(*replica)],
                    execution,
                    *progress,
                    now,
                    &mut witness,
                )
                .await;
            }
            Step::Reclaim { pick } => {
                let executions = db.store.executions(100).await.expect("executions");
                if let Some(execution) =
                    executions.get(usize::from(*pick) % executions.len().max(1))
                {
                    work(&replicas[0], execution, 3, now, &mut witness).await;
                }
            }
            Step::Stop => {
                replicas[1]
                    .emergency_stop("U02", None, now)
                    .await
                    .expect("stop");
                witness.stopped = true;
            }
            Step::Clear => {
                replicas[0]
                    .emergency_clear("U02", now)
                    .await
                    .expect("clear");
                witness.stopped = false;
            }
            Step::Clock(seconds) => now += SignedDuration::from_secs(i64::from(*seconds)),
        }
        check(db, &limits).await;
    }
    chain_holds(&db.store).await;
}

async fn work(
    safety: &Safety,
    execution: &Execution,
    progress: u8,
    now: Timestamp,
    witness: &mut Witness,
) {
    if let Start::Go(permit) = safety.start(&execution.id, now).await.expect("start") {
        assert!(!witness.stopped, "started while stopped");
        assert!(
            witness.calls.insert(permit.execution_id().to_owned()),
            "started twice"
        );
    } else {
        return;
    }
    // Progress 0: the process dies right here.
    let answered = match progress {
        0 => return,
        1 => Answered::Failed("no".into()),
        2 | 3 => Answered::Accepted("accepted".into()),
        _ => unreachable!("four kinds of progress"),
    };
    safety
        .answered(&execution.id, answered, now)
        .await
        .expect("answered");
    if progress == 3 {
        safety
            .observed(&execution.id, Observed::Reached("ready".into()), now)
            .await
            .expect("observed");
    }
}

/// The invariants, read from the rows alone.
async fn check(db: &TestDatabase, limits: &Limits) {
    let executions = db.store.executions(1000).await.expect("executions");
    let active: Vec<_> = executions.iter().filter(|e| e.state.is_active()).collect();
    assert!(active.len() <= limits.concurrent, "too many at once");
    let targets: HashSet<String> = active.iter().map(|e| e.spec.target.key()).collect();
    assert_eq!(targets.len(), active.len(), "two actions on one target");
    let mut spent = HashSet::new();
    let hour = SignedDuration::from_hours(1);
    for execution in &executions {
        let approval_id = execution
            .approval_id
            .as_ref()
            .expect("everything is approved under this policy");
        assert!(
            spent.insert(approval_id.clone()),
            "an approval was spent twice"
        );
        let (approval, _) = db
            .store
            .approval(approval_id)
            .await
            .expect("read")
            .expect("there");
        assert_eq!(approval.state, ApprovalState::Approved);
        assert_eq!(approval.digest, execution.digest);
    }
    // By the clock that permitted them, no window of an hour or a day holds more than its limit.
    let counted: Vec<_> = executions
        .iter()
        .filter(|e| !(e.state == ExecutionState::Cancelled && e.started.is_none()))
        .map(|e| e.created)
        .collect();
    for end in &counted {
        let in_hour = counted
            .iter()
            .filter(|c| **c <= *end && **c + hour > *end)
            .count();
        assert!(in_hour <= limits.per_hour, "{in_hour} within an hour");
        let in_day = counted
            .iter()
            .filter(|c| **c <= *end && **c + hour * 24 > *end)
            .count();
        assert!(in_day <= limits.per_day, "{in_day} within a day");
    }
}

#[test]
fn no_history_of_clicks_crashes_clocks_and_replicas_breaks_the_gate() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    // A fixed seed: the same histories on every machine. Longer searches are for whoever changes the gate.
    let config = Config {
        cases: 12,
        failure_persistence: None,
        ..Config::default()
    };
    let mut runner =
        TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &[7; 32]));
    runner
        .run(&prop::collection::vec(step(), 30..70), |steps| {
            runtime.block_on(async {
                let db = sqlite().await;
                play(&db, &steps).await;
            });
            Ok(())
        })
        .expect("the invariants hold");
}

#[tokio::test]
async fn the_same_histories_hold_on_postgresql() {
    let mut runner = TestRunner::new_with_rng(
        Config {
            failure_persistence: None,
            ..Config::default()
        },
        TestRng::from_seed(RngAlgorithm::ChaCha, &[11; 32]),
    );
    for _ in 0..3 {
        let steps = prop::collection::vec(step(), 30..60)
            .new_tree(&mut runner)
            .expect("steps")
            .current();
        play(&crate::support::database::postgres().await, &steps).await;
    }
}
