//! The gate as small as it can be said, written without a look at how the real one says it: what schedules of clicks,
//! workers, crashes and clocks are compared with. Times are seconds, and each step is one transaction.

use std::collections::HashSet;

use nightbell::action::ActionKind;
use nightbell::safety::{ApprovalState, ExecutionState};

const HOUR: i64 = 3600;
const DAY: i64 = 24 * HOUR;
const COOLDOWN: i64 = 300;
const BETWEEN_MAJOR: i64 = 300;
const RESTARTS: usize = 3;
const START_WITHIN: i64 = 300;
pub const APPROVAL_TTL: i64 = 4 * HOUR;

/// An action that may be asked for.
#[derive(Debug)]
pub struct Part {
    pub kind: ActionKind,
    pub object: &'static str,
    pub name: &'static str,
    pub service: &'static str,
    pub region: &'static str,
    pub instances: usize,
    restarts: bool,
    major: bool,
    /// One pod of a service is taken.
    takes_one: bool,
    /// It may run without asking, where not everything asks.
    pub auto: bool,
}

const fn part(kind: ActionKind, object: &'static str, name: &'static str) -> Part {
    Part {
        kind,
        object,
        name,
        service: "prod/ml/a",
        region: "east",
        instances: 8,
        restarts: true,
        major: false,
        takes_one: true,
        auto: true,
    }
}

/// Two pods of a service of eight in two regions, a pod of a larger one, a Job, a Deployment, a node.
pub const CAST: [Part; 6] = [
    part(ActionKind::DeletePod, "Pod", "a-0"),
    Part {
        region: "west",
        ..part(ActionKind::DeletePod, "Pod", "a-1")
    },
    Part {
        service: "prod/ml/b",
        instances: 20,
        ..part(ActionKind::DeletePod, "Pod", "b-0")
    },
    Part {
        service: "prod/ml/c",
        major: true,
        takes_one: false,
        ..part(ActionKind::RecreateJob, "Job", "c")
    },
    Part {
        service: "prod/ml/d",
        region: "west",
        major: true,
        takes_one: false,
        ..part(ActionKind::RolloutRestart, "Deployment", "d")
    },
    Part {
        service: "prod/node/n",
        instances: 10,
        restarts: false,
        major: true,
        auto: false,
        ..part(ActionKind::CordonNode, "Node", "n")
    },
];

/// People who may approve, and last one who may not.
pub const PEOPLE: [&str; 4] = ["U01", "U02", "U03", "U99"];
pub const STRANGER: usize = 3;

/// What happens next. A crash is told apart by whoever plays. `asked` and `ran` are places in [`Model::asked`] and
/// [`Model::ran`]; beyond their ends they mean nothing.
#[derive(Clone, Copy, Debug)]
pub enum Step {
    Propose {
        job: usize,
    },
    Request {
        job: usize,
        by: usize,
    },
    Click {
        asked: usize,
        by: usize,
        approve: bool,
    },
    Expire {
        asked: usize,
    },
    Start {
        ran: usize,
    },
    Answer {
        ran: usize,
        accepted: bool,
    },
    Observe {
        ran: usize,
        reached: bool,
    },
    Stop,
    Clear,
    Disable {
        job: usize,
        disabled: bool,
    },
    /// Seconds, also backwards.
    Clock(i64),
}

/// What an operator set.
#[derive(Clone, Copy, Debug)]
pub struct Set {
    pub per_hour: usize,
    pub per_day: usize,
    pub concurrent: usize,
    pub one_service: bool,
    pub one_region: bool,
    pub people: usize,
    pub breaker: usize,
    pub all_ask: bool,
}

/// What is in the database: of the approvals the job, the state and how many people approved so far; of the executions the
/// job and the state.
pub type States = (
    Vec<(usize, ApprovalState, usize)>,
    Vec<(usize, ExecutionState)>,
);

#[derive(Clone, Debug)]
pub struct Asking {
    pub job: usize,
    pub alert: u32,
    pub state: ApprovalState,
    expires: i64,
    asked_by: Option<usize>,
    pub endorsed: Vec<usize>,
}

#[derive(Clone, Debug)]
pub struct Running {
    pub job: usize,
    alert: u32,
    pub approval: Option<usize>,
    pub state: ExecutionState,
    created: i64,
    started: Option<i64>,
    ended: Option<i64>,
    calls: u32,
}

impl Running {
    fn counts(&self) -> bool {
        self.state != ExecutionState::Cancelled || self.started.is_some()
    }
    fn active(&self) -> bool {
        matches!(
            self.state,
            ExecutionState::Permitted | ExecutionState::Started | ExecutionState::Verifying
        )
    }
    fn touched(&self) -> i64 {
        self.ended.or(self.started).unwrap_or(self.created)
    }
}

#[derive(Clone, Debug)]
pub struct Model {
    set: Set,
    pub now: i64,
    stopped: bool,
    disabled: HashSet<ActionKind>,
    failed_in_a_row: usize,
    /// How many alerts there were of each job: what was decided is not asked again under the same.
    pub alerts: [u32; CAST.len()],
    pub asked: Vec<Asking>,
    pub ran: Vec<Running>,
}

impl Model {
    pub fn new(set: Set, now: i64) -> Self {
        Self {
            set,
            now,
            stopped: false,
            disabled: HashSet::new(),
            failed_in_a_row: 0,
            alerts: [0; CAST.len()],
            asked: Vec::new(),
            ran: Vec::new(),
        }
    }

    /// What the gate answers, in a word. `skew` is how wrong the clock of whoever acts is.
    pub fn play(&mut self, step: Step, skew: i64) -> &'static str {
        let now = self.now + skew;
        match step {
            Step::Propose { job } => self.propose(job, now),
            Step::Request { job, by } => {
                let waits = self.latest(job).is_some_and(|last| {
                    let last = &self.asked[last];
                    last.state == ApprovalState::Pending && last.expires > now
                });
                if !waits {
                    self.ask(job, Some(by), now);
                }
                "asked"
            }
            Step::Click { asked, by, approve } => self.click(asked, by, approve, now),
            Step::Expire { asked } => match self.asked.get_mut(asked) {
                Some(asking) if asking.state == ApprovalState::Pending && asking.expires <= now => {
                    asking.state = ApprovalState::Expired;
                    "ran out"
                }
                _ => "nothing",
            },
            Step::Start { ran } => match self.state(ran) {
                Some(_) => self.start(ran, now),
                None => "nothing",
            },
            Step::Answer { ran, accepted } => match self.state(ran) {
                Some(ExecutionState::Started) => {
                    if accepted {
                        self.ran[ran].state = ExecutionState::Verifying;
                    } else {
                        self.end(ran, ExecutionState::Failed, now);
                    }
                    "answered"
                }
                _ => "nothing",
            },
            Step::Observe { ran, reached } => match self.state(ran) {
                Some(ExecutionState::Verifying) => {
                    let state = if reached {
                        ExecutionState::Verified
                    } else {
                        ExecutionState::NotVerified
                    };
                    self.end(ran, state, now);
                    "observed"
                }
                // What is unknown may be looked at, and stays unknown.
                Some(ExecutionState::Unknown) => "observed",
                _ => "nothing",
            },
            Step::Stop => {
                self.stop(now);
                "stopped"
            }
            Step::Clear => {
                if self.stopped {
                    self.failed_in_a_row = 0;
                }
                self.stopped = false;
                "cleared"
            }
            Step::Disable { job, disabled } => {
                if disabled {
                    self.disabled.insert(CAST[job].kind);
                } else {
                    self.disabled.remove(&CAST[job].kind);
                }
                "set"
            }
            Step::Clock(seconds) => {
                self.now += seconds;
                "ticked"
            }
        }
    }

    /// The question last asked about a job under its present alert.
    fn latest(&self, job: usize) -> Option<usize> {
        let alert = self.alerts[job];
        self.asked
            .iter()
            .rposition(|a| a.job == job && a.alert == alert)
    }

    fn state(&self, ran: usize) -> Option<ExecutionState> {
        self.ran.get(ran).map(|run| run.state)
    }

    /// What was decided or done is not asked again until the job fails anew.
    pub fn fails_anew(&mut self, job: usize) {
        self.alerts[job] += 1;
    }

    /// Where not everything asks, and no rule asks for two people.
    fn may_run_unasked(&self, job: usize) -> bool {
        CAST[job].auto && !self.set.all_ask && self.set.people == 1
    }

    fn held(&self, job: usize) -> bool {
        self.stopped || self.disabled.contains(&CAST[job].kind)
    }

    fn ask(&mut self, job: usize, asked_by: Option<usize>, now: i64) {
        let alert = self.alerts[job];
        for old in &mut self.asked {
            if old.job == job && old.alert == alert && old.state == ApprovalState::Pending {
                old.state = ApprovalState::Withdrawn;
            }
        }
        self.asked.push(Asking {
            job,
            alert,
            state: ApprovalState::Pending,
            expires: now + APPROVAL_TTL,
            asked_by,
            endorsed: Vec::new(),
        });
    }

    fn propose(&mut self, job: usize, now: i64) -> &'static str {
        let alert = self.alerts[job];
        let done = self
            .ran
            .iter()
            .any(|e| e.job == job && e.alert == alert && e.state != ExecutionState::Cancelled);
        if let Some(last) = self.latest(job) {
            match self.asked[last].state {
                ApprovalState::Pending if self.asked[last].expires > now => return "asked",
                ApprovalState::Pending | ApprovalState::Withdrawn => {}
                ApprovalState::Approved if !done && !self.held(job) => {}
                ApprovalState::Approved | ApprovalState::Denied | ApprovalState::Expired => {
                    return "decided";
                }
            }
        }
        if done {
            return "permitted";
        }
        if self.may_run_unasked(job) && !self.held(job) && self.allows(job, now) {
            self.permit(job, None, now);
            return "ran";
        }
        self.ask(job, None, now);
        "asked"
    }

    fn click(&mut self, last: usize, by: usize, approve: bool, now: i64) -> &'static str {
        if last >= self.asked.len() {
            return "nothing";
        }
        let job = self.asked[last].job;
        match self.asked[last].state {
            ApprovalState::Pending => {}
            ApprovalState::Approved | ApprovalState::Denied => return "already",
            ApprovalState::Expired => return "expired",
            ApprovalState::Withdrawn => return "stale",
        }
        if self.asked[last].expires <= now {
            self.asked[last].state = ApprovalState::Expired;
            return "expired";
        }
        if by == STRANGER || self.asked[last].asked_by == Some(by) {
            return "not allowed";
        }
        if !approve {
            self.asked[last].state = ApprovalState::Denied;
            return "denied";
        }
        let mut with = self.asked[last].endorsed.clone();
        if !with.contains(&by) {
            with.push(by);
        }
        if with.len() < self.set.people {
            self.asked[last].endorsed = with;
            return "endorsed";
        }
        if self.held(job) || !self.allows(job, now) {
            return "refused";
        }
        self.asked[last].state = ApprovalState::Approved;
        self.permit(job, Some(last), now);
        "approved"
    }

    fn permit(&mut self, job: usize, approval: Option<usize>, now: i64) {
        // Under the alert of its question, where there was one.
        let alert = approval.map_or(self.alerts[job], |asked| self.asked[asked].alert);
        self.ran.push(Running {
            job,
            alert,
            approval,
            state: ExecutionState::Permitted,
            created: now,
            started: None,
            ended: None,
            calls: 0,
        });
    }

    /// Whether one more action on `job` is within every limit.
    fn allows(&self, job: usize, now: i64) -> bool {
        let of = &CAST[job];
        let counted: Vec<&Running> = self
            .ran
            .iter()
            .filter(|e| e.active() || (e.created > now - DAY && e.counts()))
            .collect();
        let running: Vec<&&Running> = counted.iter().filter(|e| e.active()).collect();
        // What a wrong clock dated ahead is as if it were now.
        let since = |at: i64| now - at.min(now);
        let within = |window: i64| {
            counted
                .iter()
                .filter(move |e| now - e.created.min(now) < window)
        };
        let rests = |who: &dyn Fn(&Running) -> bool, rest: i64| {
            counted.iter().any(|e| who(e) && since(e.touched()) < rest)
        };
        running.len() < self.set.concurrent
            && running.iter().all(|e| e.job != job)
            && (!self.set.one_service || running.iter().all(|e| CAST[e.job].service == of.service))
            && (!self.set.one_region || running.iter().all(|e| CAST[e.job].region == of.region))
            && within(HOUR).count() < self.set.per_hour
            && within(DAY).count() < self.set.per_day
            && (!of.restarts
                || within(DAY)
                    .filter(|e| CAST[e.job].restarts && CAST[e.job].service == of.service)
                    .count()
                    < RESTARTS)
            && !rests(&|e| e.job == job, COOLDOWN)
            && (!of.major || !rests(&|e| CAST[e.job].major, BETWEEN_MAJOR))
            && (!of.takes_one
                || counted
                    .iter()
                    .filter(|e| CAST[e.job].takes_one && CAST[e.job].kind == of.kind)
                    .filter(|e| CAST[e.job].service == of.service)
                    .filter(|e| since(e.touched()) < COOLDOWN)
                    .count()
                    < (of.instances / 5).max(1))
    }

    fn start(&mut self, picked: usize, now: i64) -> &'static str {
        match self.ran[picked].state {
            ExecutionState::Permitted => {}
            ExecutionState::Started => {
                self.end(picked, ExecutionState::Unknown, now);
                return "unknown";
            }
            _ => return "past",
        }
        let waited = now - self.ran[picked].created;
        if self.held(self.ran[picked].job) || waited > START_WITHIN {
            self.end(picked, ExecutionState::Cancelled, now);
            return "cancelled";
        }
        self.ran[picked].state = ExecutionState::Started;
        self.ran[picked].started = Some(now);
        self.ran[picked].calls += 1;
        "go"
    }

    fn end(&mut self, picked: usize, state: ExecutionState, now: i64) {
        self.ran[picked].state = state;
        self.ran[picked].ended = Some(now);
        match state {
            ExecutionState::Cancelled => return,
            ExecutionState::Verified => self.failed_in_a_row = 0,
            _ => self.failed_in_a_row += 1,
        }
        if self.set.breaker > 0 && self.failed_in_a_row >= self.set.breaker {
            self.stop(now);
        }
    }

    fn stop(&mut self, now: i64) {
        self.stopped = true;
        for waiting in &mut self.ran {
            if waiting.state == ExecutionState::Permitted {
                waiting.state = ExecutionState::Cancelled;
                waiting.ended = Some(now);
            }
        }
    }

    pub fn is_stopped(&self) -> bool {
        self.stopped
    }

    pub fn is_disabled(&self, kind: ActionKind) -> bool {
        self.disabled.contains(&kind)
    }

    pub fn states(&self) -> States {
        let asked = self.asked.iter();
        let ran = self.ran.iter();
        (
            asked.map(|a| (a.job, a.state, a.endorsed.len())).collect(),
            ran.map(|e| (e.job, e.state)).collect(),
        )
    }

    /// Nothing is under way any more, and what was approved was carried out once or says why not.
    pub fn is_over(&self) {
        for run in &self.ran {
            assert!(!run.active() && run.ended.is_some(), "{run:?}");
            assert!(
                run.calls == 1 || run.state == ExecutionState::Cancelled,
                "approved, and neither carried out nor cancelled: {run:?}"
            );
        }
    }

    /// What must hold after any step, whatever the rules above say.
    pub fn check(&self) {
        let active: Vec<&Part> = self
            .ran
            .iter()
            .filter(|e| e.active())
            .map(|e| &CAST[e.job])
            .collect();
        assert!(active.len() <= self.set.concurrent, "too many at once");
        let names: HashSet<&str> = active.iter().map(|p| p.name).collect();
        assert_eq!(names.len(), active.len(), "two actions on one target");
        let services: HashSet<&str> = active.iter().map(|p| p.service).collect();
        assert!(!self.set.one_service || services.len() <= 1, "two services");
        let regions: HashSet<&str> = active.iter().map(|p| p.region).collect();
        assert!(!self.set.one_region || regions.len() <= 1, "two regions");

        let mut spent = HashSet::new();
        for run in &self.ran {
            assert!(run.calls <= 1, "carried out twice");
            let Some(approval) = run.approval else {
                assert!(
                    self.may_run_unasked(run.job),
                    "nobody approved what has to be approved"
                );
                continue;
            };
            assert!(spent.insert(approval), "an approval spent twice");
            assert_eq!(
                self.asked[approval].state,
                ApprovalState::Approved,
                "permitted without a valid approval"
            );
            assert_eq!(self.asked[approval].job, run.job, "approved for another");
            assert!(
                self.asked[approval].endorsed.len() + 1 >= self.set.people,
                "too few people approved"
            );
        }
        for (number, asking) in self.asked.iter().enumerate() {
            assert!(
                asking.state != ApprovalState::Approved || spent.contains(&number),
                "an approval without what it let through is lost"
            );
        }
        let counted: Vec<&Running> = self.ran.iter().filter(|e| e.counts()).collect();
        for end in &counted {
            let within = |window: i64| {
                let end = end.created;
                counted
                    .iter()
                    .filter(move |e| e.created <= end && e.created > end - window)
            };
            assert!(
                within(HOUR).count() <= self.set.per_hour,
                "too many in an hour"
            );
            assert!(within(DAY).count() <= self.set.per_day, "too many in a day");
            for part in &CAST {
                let restarts = within(DAY)
                    .filter(|e| CAST[e.job].restarts && CAST[e.job].service == part.service);
                assert!(restarts.count() <= RESTARTS, "too many restarts");
            }
        }
    }
}
