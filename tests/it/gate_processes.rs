//! The gate between real processes on PostgreSQL: they race for the last places, one of them is killed, all are stopped.
//! The racers are this very program, started again with nothing to do but the one test that they are.

use std::collections::HashSet;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use jiff::{SignedDuration, Timestamp};
use nightbell::safety::audit::AuditKind;
use nightbell::safety::limits::Limits;
use nightbell::safety::{
    Answered, ApprovalState, Decision, ExecutionState, Observed, Safety, Settings, Start,
};
use nightbell::store::Store;

use crate::support::database::{TestDatabase, postgres};
use crate::support::gate::{asked, at_home, chain_holds, mira, settings};

const DATABASE: &str = "GATE_RACER_DATABASE";
const PER_HOUR: &str = "GATE_RACER_PER_HOUR";

/// Only the rates hold racers back: whatever else there is would have them wait for each other.
fn open(per_hour: usize) -> Settings {
    Settings {
        limits: Limits {
            per_hour,
            per_day: 1000,
            concurrent: 1000,
            cooldown: SignedDuration::ZERO,
            one_service_at_a_time: false,
            ..Limits::default()
        },
        breaker: 0,
        ..settings()
    }
}

/// A process that approves and carries out whatever it can, until nothing more is let through.
struct Racer(Child);

impl Racer {
    fn start(db: &TestDatabase, per_hour: usize) -> Self {
        let child = Command::new(std::env::current_exe().expect("this program"))
            .args([
                "gate_processes::racer",
                "--exact",
                "--ignored",
                "--nocapture",
            ])
            .env(DATABASE, &db.url)
            .env(PER_HOUR, per_hour.to_string())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("it starts again");
        Self(child)
    }

    /// Ids of the executions it was let to start, as it tells them.
    fn told(&mut self) -> impl Iterator<Item = String> + use<> {
        let output = self.0.stdout.take().expect("it is piped");
        BufReader::new(output)
            .lines()
            .map_while(Result::ok)
            .filter_map(|line| Some(line.split_once("GO ")?.1.trim().to_owned()))
    }
}

impl Drop for Racer {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

#[tokio::test]
#[ignore = "it is what the tests of this file start as other processes"]
async fn racer() {
    let (Ok(url), Ok(per_hour)) = (std::env::var(DATABASE), std::env::var(PER_HOUR)) else {
        return;
    };
    let store = Store::open(&url).await.expect("the database of the race");
    let safety = at_home(store.clone(), open(per_hour.parse().expect("a number")));
    let mut idle = 0;
    while idle < 3 {
        idle += 1;
        let waiting = store.approvals(ApprovalState::Pending, 1000).await;
        let mut waiting = waiting.expect("read");
        // From both ends, so that racers meet.
        if std::process::id().is_multiple_of(2) {
            waiting.reverse();
        }
        for approval in waiting {
            let decided = safety
                .decide(&approval.id, &mira(), true, None, Timestamp::now())
                .await;
            if let Decision::Approved { execution, .. } = decided.expect("decided") {
                idle = 0;
                run(&safety, &execution.id).await;
            }
        }
    }
}

async fn run(safety: &Safety, id: &str) {
    let Start::Go(_permit) = safety.start(id, Timestamp::now()).await.expect("start") else {
        return;
    };
    let mut out = std::io::stdout();
    writeln!(out, "GO {id}").expect("the parent listens");
    out.flush().expect("the parent listens");
    let accepted = Answered::Accepted("accepted".into());
    let answered = safety.answered(id, accepted, Timestamp::now()).await;
    answered.expect("answered");
    let reached = Observed::Reached("ready".into());
    let observed = safety.observed(id, reached, Timestamp::now()).await;
    observed.expect("observed");
}

async fn waiting(db: &TestDatabase, safety: &Safety, count: usize) {
    for i in 0..count {
        let (alert, name) = (format!("alert-{i}"), format!("train-{i}"));
        asked(safety, &db.store, &alert, &name, Timestamp::now()).await;
    }
}

/// What was let through, read from the rows alone: each approval once, and each execution started at most once.
async fn permitted_once(db: &TestDatabase) -> usize {
    let executions = db.store.executions(2000).await.expect("read");
    let spent: HashSet<_> = executions.iter().map(|e| &e.approval_id).collect();
    assert_eq!(spent.len(), executions.len(), "an approval spent twice");
    let mut started = HashSet::new();
    for entry in db.store.audit_after(0, None, 10_000).await.expect("read") {
        if entry.kind == AuditKind::Started {
            assert!(started.insert(entry.subject), "started twice");
        }
    }
    chain_holds(&db.store).await;
    executions.len()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_processes_together_never_exceed_the_hourly_limit() {
    let db = postgres().await;
    let safety = at_home(db.store.clone(), open(10));
    waiting(&db, &safety, 40).await;
    let mut racers = [Racer::start(&db, 10), Racer::start(&db, 10)];
    let told: Vec<String> = racers.iter_mut().flat_map(Racer::told).collect();
    assert_eq!(told.len(), 10, "each place is taken");
    assert_eq!(told.iter().collect::<HashSet<_>>().len(), 10, "once");
    assert_eq!(permitted_once(&db).await, 10);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_is_killed_while_it_races_leaves_nothing_done_twice() {
    let db = postgres().await;
    let safety = at_home(db.store.clone(), open(20));
    waiting(&db, &safety, 60).await;
    let mut killed = Racer::start(&db, 20);
    let mut other = Racer::start(&db, 20);
    let mut told = killed.told();
    let before: Vec<String> = told.by_ref().take(2).collect();
    killed.0.kill().expect("it runs");
    let all: HashSet<String> = before.into_iter().chain(told).chain(other.told()).collect();
    assert!(permitted_once(&db).await <= 20);
    // What the killed one had begun is unknown, and what it had not begun can be begun once.
    for execution in db.store.executions(100).await.expect("read") {
        let again = safety.start(&execution.id, Timestamp::now()).await;
        match (execution.state, again.expect("start")) {
            (ExecutionState::Permitted, Start::Go(_)) => {
                assert!(!all.contains(&execution.id), "begun twice");
            }
            (ExecutionState::Started, Start::Unknown(_)) | (_, Start::Past(_)) => {}
            (state, start) => panic!("{state:?}: {start:?}"),
        }
    }
    chain_holds(&db.store).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn once_an_emergency_stop_returned_no_process_starts_anything() {
    let db = postgres().await;
    let safety = at_home(db.store.clone(), open(1000));
    waiting(&db, &safety, 200).await;
    let mut racers = [Racer::start(&db, 1000), Racer::start(&db, 1000)];
    let mut told = racers[0].told();
    assert_eq!(told.by_ref().take(5).count(), 5, "the race is on");

    let began = Instant::now();
    let stopped = safety
        .emergency_stop("U02", Some("fire"), Timestamp::now())
        .await;
    let took = began.elapsed();
    stopped.expect("stopped");
    let begun_then: HashSet<String> = begun(&db).await;
    eprintln!(
        "the emergency stop returned after {took:.1?}, with {} of 200 actions begun",
        begun_then.len()
    );
    for racer in &mut racers[1..] {
        racer.told().for_each(drop);
    }
    told.for_each(drop);
    assert_eq!(begun(&db).await, begun_then, "begun after it returned");
    assert!(begun_then.len() < 200, "it came in time to matter");

    // Told by the order in which things happened, too.
    let entries = db.store.audit_after(0, None, 10_000).await.expect("read");
    let mut after = entries
        .iter()
        .skip_while(|entry| entry.kind != AuditKind::EmergencyStop);
    assert!(after.next().is_some());
    assert!(
        after.all(|entry| !matches!(entry.kind, AuditKind::Permitted | AuditKind::Started)),
        "permitted or started after the stop"
    );
    permitted_once(&db).await;
}

/// Executions that were marked as started, whatever became of them.
async fn begun(db: &TestDatabase) -> HashSet<String> {
    let executions = db.store.executions(2000).await.expect("read");
    executions
        .into_iter()
        .filter(|execution| execution.started.is_some())
        .map(|execution| execution.id)
        .collect()
}
