//! Ten thousand schedules of clicks, workers, crashes, races, clocks and stops on the real gate with two replicas. Each
//! answer is compared with that of a model that was written apart, and what must always hold is checked after each step.
//!
//! `GATE_SEED=n` plays one schedule and prints it; `GATE_SCHEDULES=n` plays another number of them.

#![allow(clippy::large_futures, reason = "the stack of a test is large enough")]

use std::collections::BTreeMap;
use std::pin::pin;
use std::task::Poll;

use jiff::{SignedDuration, Timestamp};
use nightbell::action::{ActionSpec, Parameters, Target};
use nightbell::alert::Severity;
use nightbell::decide::Proposal;
use nightbell::safety::limits::Limits;
use nightbell::safety::policy::Policy;
use nightbell::safety::rules::Rule;
use nightbell::safety::{
    Answered, Approval, Decision, Execution, Observed, Place, Proposed, Safety, Scope, Settings,
    Start,
};
use nightbell::store::Store;

use crate::support::database::{TestDatabase, postgres, quick_sqlite};
use crate::support::gate::{at_home, chain_holds, proposal, settings, slack};
use crate::support::gate_model::{APPROVAL_TTL, CAST, Model, PEOPLE, STRANGER, Set, States, Step};

const SCHEDULES: u64 = 10_000;
/// Schedules that share a database: more would only make its tables long.
const PER_DATABASE: u64 = 250;
/// Time between two schedules, so that what one did is out of the other's reach.
const APART: i64 = 20 * 24 * 3600;
/// Threads that play: the machine's two cores.
const PLAYERS: u64 = 2;

/// A small generator of our own (xorshift64*), so that a seed means the same schedule for ever.
struct Dice(u64);

impl Dice {
    fn new(seed: u64) -> Self {
        Self((seed + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let rolled = self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33;
        usize::try_from(rolled).unwrap() % sides
    }
    fn one_in(&mut self, sides: usize) -> bool {
        self.roll(sides) == 0
    }

    /// A step in terms of how many `jobs` there are and how much was `asked` and `ran` by then: of those the last few.
    fn step(&mut self, jobs: usize, asked: usize, ran: usize) -> Step {
        let (job, by) = (self.roll(jobs), self.roll(3));
        let asked = asked.wrapping_sub(1 + self.roll(3));
        let ran = ran.wrapping_sub(1 + self.roll(3));
        match self.roll(32) {
            0..=6 => Step::Propose { job },
            7 => Step::Request { job, by },
            8..=14 => Step::Click {
                asked,
                by: if self.one_in(12) { STRANGER } else { by },
                approve: !self.one_in(6),
            },
            15 => Step::Expire { asked },
            16..=20 => Step::Start { ran },
            21..=22 => Step::Answer {
                ran,
                accepted: !self.one_in(3),
            },
            23..=24 => Step::Observe {
                ran,
                reached: !self.one_in(3),
            },
            25 => Step::Stop,
            26 => Step::Clear,
            27 => Step::Disable {
                job,
                disabled: self.one_in(2),
            },
            _ => Step::Clock(match self.roll(7) {
                0 => -400,
                1 => -4000,
                2 => 30,
                3 => 299,
                4 => 400,
                5 => 4000,
                _ => 20_000,
            }),
        }
    }

    fn set(&mut self) -> Set {
        Set {
            per_hour: 2 + self.roll(3),
            per_day: 4 + self.roll(3),
            concurrent: 1 + self.roll(3),
            one_service: !self.one_in(3),
            one_region: !self.one_in(3),
            people: 1 + usize::from(self.one_in(4)),
            breaker: if self.one_in(4) { 2 } else { 0 },
            all_ask: !self.one_in(3),
        }
    }
}

/// How a step is played.
#[derive(Clone, Copy, Debug)]
enum How {
    /// By one replica.
    By(usize),
    /// By the first, and this one by the second at the same moment.
    AtOnce(Step),
    /// By one, whose process dies after it got on so many times.
    Crash(usize, usize),
}

/// Steps whose order would not show in what they answer or leave, though it matters later.
fn order_would_not_show(one: Step, two: Step, breaker: usize) -> bool {
    let switches = |step| matches!(step, Step::Stop | Step::Clear | Step::Disable { .. });
    let counts = |step| {
        matches!(
            step,
            Step::Start { .. }
                | Step::Answer { .. }
                | Step::Observe { .. }
                | Step::Stop
                | Step::Clear
        )
    };
    switches(one) && switches(two) || breaker > 0 && counts(one) && counts(two)
}

fn instant(second: i64) -> Timestamp {
    Timestamp::from_second(second).expect("a time in range")
}

fn gate_settings(set: Set) -> Settings {
    let limits = Limits {
        per_hour: set.per_hour,
        per_day: set.per_day,
        concurrent: set.concurrent,
        one_service_at_a_time: set.one_service,
        one_region_at_a_time: set.one_region,
        ..Limits::default()
    };
    let everything = Rule {
        name: "everything".into(),
        actions: Vec::new(),
        namespaces: Vec::new(),
        projects: Vec::new(),
        severities: vec![Severity::High],
        approvers: PEOPLE[..3].join(",").parse().expect("approvers"),
        people: set.people,
    };
    Settings {
        policy: Policy {
            require_approval: set.all_ask,
            ..settings().policy
        },
        limits,
        // What a rule is for asks always.
        rules: if set.people > 1 {
            vec![everything]
        } else {
            Vec::new()
        },
        approvers: PEOPLE[..3].join(",").parse().expect("approvers"),
        approval_ttl: SignedDuration::from_secs(APPROVAL_TTL),
        breaker: set.breaker,
        ..settings()
    }
}

fn proposal_for(job: usize) -> Proposal {
    let part = &CAST[job];
    let of = proposal(part.name);
    Proposal {
        spec: ActionSpec {
            kind: part.kind,
            target: Target::Kubernetes {
                cluster: "prod".into(),
                namespace: if part.object == "Node" { "" } else { "ml" }.into(),
                kind: part.object.into(),
                name: part.name.into(),
                uid: Some(format!("uid-{}", part.name)),
            },
            parameters: Parameters::default(),
            avoid_node: None,
        },
        scope: Scope {
            service: part.service.into(),
            instances: part.instances as u64,
            place: Place {
                region: part.region.into(),
                ..Place::default()
            },
            ..of.scope
        },
        ..of
    }
}

/// The real gate, as two replicas of one database.
struct Play<'a> {
    db: &'a TestDatabase,
    seed: u64,
    skew: i64,
    replicas: [Safety; 2],
    model: Model,
    /// Ids of the approvals and executions, as the model numbers them.
    asked: Vec<String>,
    ran: Vec<String>,
    tally: Tally,
}

/// How often the gate answered what, and how often a process died on its way.
type Tally = BTreeMap<&'static str, u64>;

impl<'a> Play<'a> {
    fn new(db: &'a TestDatabase, other: &Store, seed: u64, set: Set, skew: i64) -> Self {
        let settings = gate_settings(set);
        let began = 1_790_000_000 + i64::try_from(seed).unwrap() * APART;
        Self {
            db,
            seed,
            skew,
            replicas: [
                at_home(db.store.clone(), settings.clone()),
                at_home(other.clone(), settings),
            ],
            model: Model::new(set, began),
            asked: Vec::new(),
            ran: Vec::new(),
            tally: Tally::new(),
        }
    }

    fn skew_of(&self, replica: usize) -> i64 {
        if replica == 0 { 0 } else { self.skew }
    }

    async fn step(&mut self, step: Step, how: How) {
        let was_stopped = self.model.is_stopped();
        match how {
            How::By(replica) => {
                let said = self.alone(step, replica).await;
                assert!(
                    !was_stopped || !["go", "approved", "ran"].contains(&said),
                    "{said} while stopped"
                );
            }
            How::AtOnce(other) => self.at_once(step, other).await,
            How::Crash(replica, polls) => self.crash(step, replica, polls).await,
        }
        self.model.check();
    }

    async fn alone(&mut self, step: Step, replica: usize) -> &'static str {
        let said = self.real(step, replica).await;
        assert_eq!(said, self.model.play(step, self.skew_of(replica)));
        self.settle(&[(step, said)]).await;
        said
    }

    /// Two steps at the same moment: whichever came first, it must be as if they had followed each other.
    async fn at_once(&mut self, one: Step, two: Step) {
        let (said_one, said_two) = tokio::join!(self.real(one, 0), self.real(two, 1));
        let seen = self.seen().await;
        let mut one_first = self.model.clone();
        let answers = (one_first.play(one, 0), one_first.play(two, self.skew));
        let mut two_first = self.model.clone();
        let (later, sooner) = (two_first.play(two, self.skew), two_first.play(one, 0));
        self.model = if answers == (said_one, said_two) && one_first.states() == seen {
            one_first
        } else {
            assert_eq!((sooner, later), (said_one, said_two), "in neither order");
            two_first
        };
        assert_eq!(self.model.states(), seen, "in neither order");
        self.settle(&[(one, said_one), (two, said_two)]).await;
    }

    /// A step during which the process dies: either all of it happened or nothing, and whoever takes over does it again.
    async fn crash(&mut self, step: Step, replica: usize, polls: usize) {
        let said = dies_after(self.real(step, replica), polls).await;
        let mut played = self.model.clone();
        let expected = played.play(step, self.skew_of(replica));
        if let Some(said) = said {
            assert_eq!(said, expected);
            self.model = played;
            return self.settle(&[(step, said)]).await;
        }
        *self.tally.entry("died").or_default() += 1;
        // What was on its way to the database when the process died arrives, or is taken back, before this.
        let mut tx = self.db.store.begin().await.expect("begin");
        tx.lock_gate().await.expect("the gate is free again");
        tx.commit().await.expect("commit");
        let seen = self.seen().await;
        if seen != self.model.states() {
            *self.tally.entry("died after the commit").or_default() += 1;
            assert_eq!(seen, played.states(), "half of a step happened");
            self.model = played;
            self.settle(&[(step, expected)]).await;
        }
        self.alone(step, replica).await;
    }

    /// Takes over what a step left: the ids of new rows, and a failure anew of what was done with.
    async fn settle(&mut self, said: &[(Step, &'static str)]) {
        if self.model.asked.len() > self.asked.len() {
            self.asked = self.approvals().await.into_iter().map(|a| a.id).collect();
        }
        if self.model.ran.len() > self.ran.len() {
            self.ran = self.executions().await.into_keys().collect();
        }
        for (step, said) in said {
            *self.tally.entry(said).or_default() += 1;
            if let (Step::Propose { job }, "decided" | "permitted") = (step, *said) {
                self.model.fails_anew(*job);
            }
        }
    }

    fn alert(&self, job: usize) -> String {
        format!("s{}-{job}-{}", self.seed, self.model.alerts[job])
    }

    /// The job of an alert of this schedule.
    fn job_of(&self, alert: Option<&String>) -> Option<usize> {
        let (seed, rest) = alert?.strip_prefix('s')?.split_once('-')?;
        let ours = seed.parse() == Ok(self.seed);
        rest.split_once('-')?.0.parse().ok().filter(|_| ours)
    }

    /// The approvals of this schedule, oldest first.
    async fn approvals(&self) -> Vec<Approval> {
        let most = i64::try_from(self.model.asked.len() + 3).unwrap();
        let mut rows = self.db.store.recent_approvals(most).await.expect("read");
        rows.retain(|row| self.job_of(row.alert_id.as_ref()).is_some());
        rows.reverse();
        rows
    }

    /// The executions of this schedule by id, which is by age.
    async fn executions(&self) -> BTreeMap<String, Execution> {
        let most = i64::try_from(self.model.ran.len() + 3).unwrap();
        let rows = self.db.store.executions(most).await.expect("read");
        rows.into_iter()
            .filter(|row| self.job_of(row.alert_id.as_ref()).is_some())
            .map(|row| (row.id.clone(), row))
            .collect()
    }

    /// The rows, as the model tells them.
    async fn seen(&self) -> States {
        let job = |alert: &Option<String>| self.job_of(alert.as_ref()).expect("a job of ours");
        let asked = self.approvals().await;
        let ran = self.executions().await;
        (
            asked
                .iter()
                .map(|row| (job(&row.alert_id), row.state, row.endorsed.len()))
                .collect(),
            ran.values()
                .map(|row| (job(&row.alert_id), row.state))
                .collect(),
        )
    }

    async fn real(&self, step: Step, replica: usize) -> &'static str {
        let (safety, store) = (&self.replicas[replica], &self.db.store);
        let now = instant(self.model.now + self.skew_of(replica));
        match step {
            Step::Propose { job } | Step::Request { job, .. } => {
                let (alert, of) = (self.alert(job), proposal_for(job));
                let mut tx = store.begin().await.expect("begin");
                let proposed = match step {
                    Step::Request { by, .. } => {
                        let by = slack(PEOPLE[by]);
                        safety.request(&mut tx, Some(&alert), &of, &by, now).await
                    }
                    _ => safety.propose(&mut tx, &alert, &of, now).await,
                };
                let proposed = proposed.expect("proposed");
                tx.commit().await.expect("commit");
                match proposed {
                    Proposed::Asked(_) => "asked",
                    Proposed::AlreadyDecided(_) => "decided",
                    Proposed::AlreadyPermitted(_) => "permitted",
                    Proposed::Permitted(_) => "ran",
                    other @ (Proposed::LogOnly(_) | Proposed::Invalid(_)) => panic!("{other:?}"),
                }
            }
            Step::Click { asked, by, approve } => {
                let Some(id) = self.asked.get(asked) else {
                    return "nothing";
                };
                let who = slack(PEOPLE[by]);
                let decided = safety.decide(id, &who, approve, None, now).await;
                match decided.expect("decided") {
                    Decision::Approved { .. } => "approved",
                    Decision::Endorsed { .. } => "endorsed",
                    Decision::Denied { .. } => "denied",
                    Decision::AlreadyDecided { .. } => "already",
                    Decision::Expired { .. } => "expired",
                    Decision::NotAllowed { .. } => "not allowed",
                    Decision::Stale { .. } => "stale",
                    Decision::Refused { .. } => "refused",
                    other => panic!("{other:?}"),
                }
            }
            Step::Expire { asked } => {
                let Some(id) = self.asked.get(asked) else {
                    return "nothing";
                };
                let expired = safety.expire(id, now).await.expect("expire");
                expired.map_or("nothing", |_| "ran out")
            }
            Step::Start { ran } => {
                let Some(id) = self.ran.get(ran) else {
                    return "nothing";
                };
                match safety.start(id, now).await.expect("start") {
                    Start::Go(_) => "go",
                    Start::Unknown(_) => "unknown",
                    Start::Cancelled(_) => "cancelled",
                    Start::Past(_) => "past",
                    Start::Missing => "missing",
                }
            }
            Step::Answer { ran, accepted } => {
                let Some(id) = self.ran.get(ran) else {
                    return "nothing";
                };
                let answer = if accepted {
                    Answered::Accepted("accepted".into())
                } else {
                    Answered::Failed("no".into())
                };
                let recorded = safety.answered(id, answer, now).await.expect("recorded");
                recorded.map_or("nothing", |_| "answered")
            }
            Step::Observe { ran, reached } => {
                let Some(id) = self.ran.get(ran) else {
                    return "nothing";
                };
                let seen = if reached {
                    Observed::Reached("ready".into())
                } else {
                    Observed::NotReached("not ready".into())
                };
                let recorded = safety.observed(id, seen, now).await.expect("recorded");
                recorded.map_or("nothing", |_| "observed")
            }
            Step::Stop => {
                safety.emergency_stop("U02", None, now).await.expect("stop");
                "stopped"
            }
            Step::Clear => {
                safety.emergency_clear("U02", now).await.expect("clear");
                "cleared"
            }
            Step::Disable { job, disabled } => {
                let kind = CAST[job].kind;
                let set = safety.set_disabled(kind, disabled, "U02", now).await;
                set.expect("set");
                "set"
            }
            Step::Clock(_) => "ticked",
        }
    }

    /// Whatever is still under way comes to an end that says what became of it.
    async fn drain(&mut self) {
        for (job, part) in CAST.iter().enumerate() {
            if self.model.is_disabled(part.kind) {
                let enable = Step::Disable {
                    job,
                    disabled: false,
                };
                self.step(enable, How::By(0)).await;
            }
        }
        // Beyond every time that a step may have come to, so that what waits is too late.
        self.step(Step::Clock(100_000), How::By(0)).await;
        for ran in 0..self.model.ran.len() {
            if self.model.ran[ran].state.is_active() {
                self.step(Step::Start { ran }, How::By(1)).await;
                let reached = false;
                self.step(Step::Observe { ran, reached }, How::By(0)).await;
            }
        }
        if self.model.is_stopped() {
            self.step(Step::Clear, How::By(1)).await;
        }
        assert_eq!(self.model.states(), self.seen().await);
        self.model.is_over();
    }
}

/// Polls a future so many times; then it is dropped, as with the process that ran it.
async fn dies_after<F: Future>(future: F, polls: usize) -> Option<F::Output> {
    let (mut future, mut left) = (pin!(future), polls);
    std::future::poll_fn(|cx| match future.as_mut().poll(cx) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending if left == 0 => Poll::Ready(None),
        Poll::Pending => {
            left -= 1;
            Poll::Pending
        }
    })
    .await
}

/// Says which schedule it was when a step panics.
struct Told {
    seed: u64,
    set: Set,
    skew: i64,
    steps: Vec<(i64, Step, How)>,
}

impl Drop for Told {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let Self {
                seed, set, skew, ..
            } = self;
            eprintln!("GATE_SEED={seed} with {set:?} and a clock {skew} s off, the last step:");
            for (now, step, how) in &self.steps {
                eprintln!("  at {now}: {step:?} {how:?}");
            }
        }
    }
}

/// Plays one schedule and returns what came of it.
async fn play(db: &TestDatabase, other: &Store, seed: u64) -> Tally {
    let mut dice = Dice::new(seed);
    let set = dice.set();
    let skew = [0, 0, -90, 200][dice.roll(4)];
    let jobs = 1 + dice.roll(CAST.len());
    let mut play = Play::new(db, other, seed, set, skew);
    let mut told = Told {
        seed,
        set,
        skew,
        steps: Vec::new(),
    };
    if set.breaker > 0 {
        // What failed in the schedule before is forgotten by the clearing of a stop.
        play.step(Step::Stop, How::By(0)).await;
        play.step(Step::Clear, How::By(1)).await;
    }
    for _ in 0..5 + dice.roll(14) {
        let (asked, ran) = (play.model.asked.len(), play.model.ran.len());
        let step = dice.step(jobs, asked, ran);
        let how = match (step, dice.roll(20)) {
            (Step::Clock(_), _) => How::By(0),
            (_, 0..=1) => match dice.step(jobs, asked, ran) {
                Step::Clock(_) => How::AtOnce(step),
                other => How::AtOnce(other),
            },
            (_, 2..=3) => How::Crash(dice.roll(2), dice.roll(16)),
            (_, roll) => How::By(roll % 2),
        };
        let how = match how {
            How::AtOnce(other) if order_would_not_show(step, other, set.breaker) => How::By(1),
            how => how,
        };
        told.steps.push((play.model.now, step, how));
        play.step(step, how).await;
    }
    play.drain().await;
    play.tally
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime")
}

fn from_environment(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[test]
fn no_limit_is_exceeded_and_nothing_runs_twice_or_unapproved_in_ten_thousand_schedules() {
    let (first, count) = match from_environment("GATE_SEED") {
        Some(seed) => (seed, 1),
        None => (0, from_environment("GATE_SCHEDULES").unwrap_or(SCHEDULES)),
    };
    let began = std::time::Instant::now();
    let players: Vec<_> = (0..PLAYERS)
        .map(|player| {
            std::thread::spawn(move || {
                runtime().block_on(async {
                    let mut tally = Tally::new();
                    let seeds: Vec<u64> = (first..first + count)
                        .filter(|seed| seed % PLAYERS == player)
                        .collect();
                    for seeds in seeds.chunks(usize::try_from(PER_DATABASE).unwrap()) {
                        let db = quick_sqlite().await;
                        let other = Store::open(&db.url).await.expect("a second replica");
                        for &seed in seeds {
                            for (said, times) in play(&db, &other, seed).await {
                                *tally.entry(said).or_default() += times;
                            }
                        }
                        chain_holds(&db.store).await;
                    }
                    tally
                })
            })
        })
        .collect();
    let mut tally = Tally::new();
    for player in players {
        for (said, times) in player.join().expect("a schedule that holds") {
            *tally.entry(said).or_default() += times;
        }
    }
    eprintln!("{count} schedules in {:.1?}: {tally:?}", began.elapsed());
    if count == SCHEDULES {
        // They come to where it matters.
        for said in [
            "approved",
            "ran",
            "go",
            "refused",
            "cancelled",
            "unknown",
            "endorsed",
            "denied",
            "not allowed",
            "already",
            "expired",
            "stale",
            "past",
            "died",
            "died after the commit",
        ] {
            let times = tally.get(said).copied().unwrap_or_default();
            assert!(times >= 20, "{said}: {times} times");
        }
    }
}

#[test]
fn the_same_holds_on_postgresql() {
    runtime().block_on(async {
        let db = postgres().await;
        let other = Store::open(&db.url).await.expect("a second replica");
        for seed in 50_000..50_060 {
            play(&db, &other, seed).await;
        }
        chain_holds(&db.store).await;
    });
}
