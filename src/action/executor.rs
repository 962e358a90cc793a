//! The worker that carries out permitted executions, at most once, and observes what came of them.
//!
//! A crash between the mark of the start and the record of the answer leaves the outcome unknown: the call is never
//! repeated, the target is observed, and a person is asked.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use futures_util::future::{BoxFuture, join_all};
use futures_util::stream::FuturesUnordered;
use jiff::{SignedDuration, Timestamp};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, info, info_span, warn};

use super::ActionKind;
use super::recreate::MANIFEST_KEPT;
use super::systems::{ActionError, Prepared, Seen, Systems};
use crate::safety::{
    Answered, Approval, ApprovalState, Execution, ExecutionState, Observed, Permit, Safety, Start,
};
use crate::store::{Effect, EffectKind, Result, Store, new_id};

/// What the operator set about carrying out.
#[derive(Clone, Debug)]
pub struct Settings {
    /// For one action as a whole, its waits included.
    pub timeout: Duration,
    /// How long a target is observed before the result counts as not verified.
    pub verify_timeout: Duration,
    /// How often it is looked at.
    pub verify_every: Duration,
    /// How long the wanted state must hold: what crashes again at once was not repaired.
    pub settle: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            timeout: Duration::from_mins(5),
            verify_timeout: Duration::from_mins(10),
            verify_every: Duration::from_secs(5),
            settle: Duration::from_secs(15),
        }
    }
}

/// Something that people should hear of. Told at least once; telling it again must do no harm.
#[derive(Clone, Debug)]
pub enum Report {
    /// An execution got on: its state, answer and verification say how.
    Execution {
        execution: Box<Execution>,
        /// One or two sentences for people.
        text: String,
        /// The outcome is unknown, failed or not verified.
        needs_person: bool,
    },
    /// Nobody decided in time.
    Expired {
        approval: Box<Approval>,
        text: String,
    },
}

/// Tells people: the alert's note and thread. What cannot be told for now is told again later.
pub type Reporter = Arc<dyn Fn(Report) -> BoxFuture<'static, Result<()>> + Send + Sync>;

/// Executions claimed at once; the gate lets no more than a few run anyway.
const CLAIMED: i64 = 8;
/// Beyond so many effects in hand nothing more is claimed.
const IN_HAND: usize = 64;
/// The longest pause between two looks at the queue.
const IDLE: Duration = Duration::from_secs(1);
/// Room in a claim beyond the action's time-out: preparing it, and the records.
const LEASE_MARGIN: Duration = Duration::from_mins(2);
/// After a database fault.
const RETRY: SignedDuration = SignedDuration::from_secs(5);

/// Claims effects `Execute`, `Verify` and `ExpireApproval`.
pub struct Executor {
    safety: Safety,
    store: Store,
    systems: Systems,
    settings: Settings,
    reporter: Reporter,
    owner: String,
    /// Since when the wanted state of an execution's target is seen. Lost with the process, it begins anew.
    reached: Mutex<HashMap<String, Timestamp>>,
}

/// Time that goes on from the moment a turn began with.
#[derive(Clone, Copy)]
struct Clock {
    began: Timestamp,
    since: Instant,
}

impl Clock {
    fn at(began: Timestamp) -> Self {
        Self {
            began,
            since: Instant::now(),
        }
    }

    fn now(self) -> Timestamp {
        let passed = SignedDuration::try_from(self.since.elapsed()).unwrap_or(SignedDuration::MAX);
        self.began.saturating_add(passed).unwrap_or(Timestamp::MAX)
    }
}

impl Executor {
    #[must_use]
    pub fn new(
        safety: Safety,
        store: Store,
        systems: Systems,
        settings: Settings,
        reporter: Reporter,
    ) -> Self {
        Self {
            safety,
            store,
            systems,
            settings,
            reporter,
            owner: format!("executor-{}", new_id()),
            reached: Mutex::default(),
        }
    }

    /// Claims in the name of this process, so that others can tell when it died.
    #[must_use]
    pub fn in_process(mut self, process: &str) -> Self {
        self.owner = format!("{process}/actions");
        self
    }

    /// Works until `stop`. What is in hand then is finished, which the supervisor's grace period bounds. An action that
    /// takes its time keeps no other waiting.
    pub async fn run(&self, stop: CancellationToken) {
        let mut in_hand = FuturesUnordered::new();
        while !stop.is_cancelled() {
            let clock = Clock::at(Timestamp::now());
            let claimed = if in_hand.len() < IN_HAND {
                let claim = self.claim(clock.began);
                tokio::pin!(claim);
                // What is in hand must get on meanwhile: it may hold the one connection that the claim waits for.
                let claimed = loop {
                    tokio::select! {
                        claimed = &mut claim => break claimed,
                        Some(()) = in_hand.next(), if !in_hand.is_empty() => {}
                    }
                };
                claimed.unwrap_or_else(|error| {
                    warn!(error = %error, "the executor could not reach the database; it tries again");
                    Vec::new()
                })
            } else {
                Vec::new()
            };
            let none_claimed = claimed.is_empty();
            for (kind, effect) in claimed {
                in_hand.push(self.carry_through(kind, effect, clock));
            }
            if none_claimed {
                tokio::select! {
                    () = stop.cancelled() => {}
                    Some(()) = in_hand.next(), if !in_hand.is_empty() => {}
                    () = tokio::time::sleep(IDLE) => {}
                }
            }
        }
        while in_hand.next().await.is_some() {}
    }

    /// Carries out what is due at `now` and returns how much that was.
    ///
    /// # Errors
    /// When the queue cannot be read. Faults of single effects are logged and tried again.
    pub async fn turn(&self, now: Timestamp) -> Result<usize> {
        let clock = Clock::at(now);
        let claimed = self.claim(now).await?;
        let worked = claimed.len();
        join_all(
            claimed
                .into_iter()
                .map(|(kind, effect)| self.carry_through(kind, effect, clock)),
        )
        .await;
        Ok(worked)
    }

    async fn claim(&self, now: Timestamp) -> Result<Vec<(EffectKind, Effect)>> {
        let mut claimed = Vec::new();
        for kind in [
            EffectKind::Execute,
            EffectKind::Verify,
            EffectKind::ExpireApproval,
        ] {
            let lease = SignedDuration::try_from(self.settings.timeout + LEASE_MARGIN)
                .unwrap_or(SignedDuration::MAX);
            let effects = self
                .store
                .claim_effects(kind, &self.owner, CLAIMED, lease, now)
                .await?;
            claimed.extend(effects.into_iter().map(|effect| (kind, effect)));
        }
        Ok(claimed)
    }

    async fn carry_through(&self, kind: EffectKind, effect: Effect, clock: Clock) {
        let span = info_span!("effect", effect.id = %effect.id, effect.kind = kind.as_str());
        let done = self
            .work(kind, &effect, clock)
            .instrument(span.clone())
            .await;
        let settled = match done {
            Ok(Done::Finished) => {
                self.store
                    .finish_effect(&effect, &self.owner, clock.now())
                    .await
            }
            Ok(Done::Again(at)) => {
                self.store
                    .retry_effect(&effect, &self.owner, "observing", at)
                    .await
            }
            Err(error) => {
                span.in_scope(
                    || warn!(error = %error, "an effect could not be worked on; it is tried again"),
                );
                let at = clock.now().saturating_add(RETRY).unwrap_or(Timestamp::MAX);
                self.store
                    .retry_effect(&effect, &self.owner, &error.to_string(), at)
                    .await
            }
        };
        if let Err(error) = settled {
            // Its claim runs out, and then it is worked on again; each step says by itself whether it was done.
            warn!(error = %error, effect.id = %effect.id, "an effect could not be settled");
        }
    }

    async fn work(&self, kind: EffectKind, effect: &Effect, clock: Clock) -> Result<Done> {
        let id: String = effect.payload()?;
        match kind {
            EffectKind::Execute => self.execute(&id, clock).await,
            EffectKind::Verify => self.verify(&id, clock).await,
            EffectKind::ExpireApproval => self.expire(&id, effect.attempts > 1, clock).await,
            EffectKind::SyncMessage
            | EffectKind::ThreadNote
            | EffectKind::ThreadPicture
            | EffectKind::Page
            | EffectKind::Diagnose
            | EffectKind::Deliver
            | EffectKind::Wake => Ok(Done::Finished),
        }
    }

    async fn execute(&self, id: &str, clock: Clock) -> Result<Done> {
        let execution = match self.safety.start(id, clock.now()).await? {
            Start::Go(permit) => {
                let answered = self.carry_out(permit, clock).await;
                match self.safety.answered(id, answered, clock.now()).await? {
                    Some(execution) => execution,
                    None => return Ok(Done::Finished),
                }
            }
            Start::Unknown(execution) | Start::Cancelled(execution) | Start::Past(execution) => {
                execution
            }
            Start::Missing => {
                warn!(
                    execution.id = id,
                    "an execution to carry out is not in the database"
                );
                return Ok(Done::Finished);
            }
        };
        self.report(execution).await?;
        Ok(Done::Finished)
    }

    async fn carry_out(&self, permit: Permit, clock: Clock) -> Answered {
        let spec = permit.spec().clone();
        info!(
            execution.id = permit.execution_id(),
            dry_run = permit.dry_run(),
            "executing: {spec}"
        );
        let prepared = match timeout(
            self.settings.timeout,
            self.systems.prepare(&spec, permit.for_cause()),
        )
        .await
        {
            Ok(Ok(prepared)) => prepared,
            Ok(Err(ActionError::Changed(why))) => {
                return Answered::Withdrawn(format!("not done: {why}"));
            }
            Ok(Err(ActionError::Refused(why) | ActionError::Unknown(why))) => {
                return Answered::Failed(why);
            }
            Err(_) => {
                return Answered::Failed(
                    "nothing was done: the checks before it took too long".to_owned(),
                );
            }
        };
        if permit.dry_run() {
            return Answered::DryRun(format!(
                "dry-run, nothing was changed. It would: {}",
                prepared.what
            ));
        }
        if let Err(answered) = self.last_checks(&permit, &prepared).await {
            return answered;
        }
        let left = self.settings.timeout.saturating_sub(clock.since.elapsed());
        let until = tokio::time::Instant::now() + left;
        let call = self
            .systems
            .carry_out(&self.safety, permit, prepared, until);
        match timeout(left, call).await {
            Ok(Ok(answer)) => Answered::Accepted(answer),
            Ok(Err(ActionError::Changed(why))) => Answered::Withdrawn(format!("not done: {why}")),
            Ok(Err(ActionError::Refused(why))) => Answered::Failed(why),
            Ok(Err(ActionError::Unknown(why))) => Answered::Unknown(format!(
                "the call was sent, and whether it arrived is unknown: {why}"
            )),
            Err(_) => Answered::Unknown(format!(
                "it did not end within {} s; how far it came is unknown",
                self.settings.timeout.as_secs()
            )),
        }
    }

    /// What must be durable, and must not have changed, right before the call.
    async fn last_checks(
        &self,
        permit: &Permit,
        prepared: &Prepared,
    ) -> std::result::Result<(), Answered> {
        if let Some(memory) = &prepared.memory
            && let Err(error) = self.safety.remember(permit, memory).await
        {
            return Err(Answered::Failed(format!("nothing was done: {error}")));
        }
        match self.safety.still_refused(permit).await {
            Ok(None) => Ok(()),
            Ok(Some(refusal)) => Err(Answered::Withdrawn(format!("not done: {refusal}"))),
            Err(error) => Err(Answered::Failed(format!("nothing was done: {error}"))),
        }
    }

    async fn verify(&self, id: &str, clock: Clock) -> Result<Done> {
        let Some((execution, _)) = self.store.execution(id).await? else {
            return Ok(Done::Finished);
        };
        match execution.state {
            ExecutionState::Verifying | ExecutionState::Unknown => {}
            ExecutionState::Permitted
            | ExecutionState::Started
            | ExecutionState::Verified
            | ExecutionState::NotVerified
            | ExecutionState::Failed
            | ExecutionState::Cancelled
            | ExecutionState::DryRun => {
                self.report(execution).await?;
                return Ok(Done::Finished);
            }
        }
        let memory = self.store.execution_memory(id).await?;
        let seen = self.systems.observe(&execution.spec, memory.as_ref()).await;
        let now = clock.now();
        let since = execution.started.unwrap_or(execution.created);
        let patience =
            SignedDuration::try_from(self.settings.verify_timeout).unwrap_or(SignedDuration::MAX);
        let over = now.duration_since(since) >= patience;

        let observed = match seen {
            Ok(Seen::Reached(told)) if self.settled(id, now) => Some(Observed::Reached(told)),
            Ok(Seen::Reached(_)) => None,
            Ok(Seen::NotYet(told)) => {
                self.forget(id);
                over.then_some(Observed::NotReached(told))
            }
            Err(why) => {
                over.then(|| Observed::NotReached(format!("it could not be observed: {why}")))
            }
        };
        let Some(observed) = observed else {
            let pause =
                SignedDuration::try_from(self.settings.verify_every).unwrap_or(SignedDuration::MAX);
            return Ok(Done::Again(
                now.saturating_add(pause).unwrap_or(Timestamp::MAX),
            ));
        };
        self.forget(id);
        if let Some(execution) = self.safety.observed(id, observed, now).await? {
            self.report(execution).await?;
        }
        Ok(Done::Finished)
    }

    /// Whether the wanted state has held long enough, this look included.
    fn settled(&self, id: &str, now: Timestamp) -> bool {
        let settle = SignedDuration::try_from(self.settings.settle).unwrap_or(SignedDuration::MAX);
        let mut reached = self
            .reached
            .lock()
            .expect("nothing panics while it holds this map");
        let since = *reached.entry(id.to_owned()).or_insert(now);
        now.duration_since(since) >= settle
    }

    fn forget(&self, id: &str) {
        self.reached
            .lock()
            .expect("nothing panics while it holds this map")
            .remove(id);
    }

    async fn expire(&self, id: &str, again: bool, clock: Clock) -> Result<Done> {
        let approval = match self.safety.expire(id, clock.now()).await? {
            Some(expired) => Some(expired),
            // An attempt before this one may have ended it, and then failed to tell.
            None => self
                .store
                .approval(id)
                .await?
                .map(|(approval, _)| approval)
                .filter(|approval| again && approval.state == ApprovalState::Expired),
        };
        if let Some(approval) = approval {
            let text = format!(
                "nobody decided in time about approval {}: {}",
                approval.number, approval.spec
            );
            (self.reporter)(Report::Expired {
                approval: Box::new(approval),
                text,
            })
            .await?;
        }
        Ok(Done::Finished)
    }

    async fn report(&self, execution: Execution) -> Result<()> {
        let (text, needs_person) = told(&execution);
        info!(execution.id = %execution.id, execution.state = ?execution.state, "{text}");
        (self.reporter)(Report::Execution {
            execution: Box::new(execution),
            text,
            needs_person,
        })
        .await
    }
}

enum Done {
    Finished,
    /// To be looked at again at this time.
    Again(Timestamp),
}

/// Where to find what a Job was made from, if its deletion may have been all that happened.
fn manifest_kept(execution: &Execution) -> String {
    let in_between = match execution.state {
        ExecutionState::Unknown => true,
        ExecutionState::Failed => execution
            .answer
            .as_deref()
            .is_some_and(|answer| answer.contains(MANIFEST_KEPT)),
        ExecutionState::Permitted
        | ExecutionState::Started
        | ExecutionState::Verifying
        | ExecutionState::Verified
        | ExecutionState::NotVerified
        | ExecutionState::Cancelled
        | ExecutionState::DryRun => false,
    };
    if in_between && execution.spec.kind == ActionKind::RecreateJob {
        format!(
            " If the Job is gone, GET /api/v1/actions/{}/manifest gives what to make it from.",
            execution.id
        )
    } else {
        String::new()
    }
}

/// How an execution stands, for people, and whether one of them has to look.
#[must_use]
pub fn told(execution: &Execution) -> (String, bool) {
    let spec = &execution.spec;
    let answer = execution
        .answer
        .as_deref()
        .unwrap_or("no answer was recorded");
    let seen = execution.verification.as_deref();
    let kept = manifest_kept(execution);
    match execution.state {
        ExecutionState::Permitted => (format!("permitted: {spec}"), false),
        ExecutionState::Started => (format!("started: {spec}"), false),
        ExecutionState::Verifying => (
            format!("done: {spec}; {answer}. Watching whether it helps."),
            false,
        ),
        ExecutionState::Verified => {
            let seen = seen.unwrap_or("the target is as wanted");
            (format!("verified: {spec}; {seen}."), false)
        }
        ExecutionState::NotVerified => {
            let seen = seen.unwrap_or("nothing was seen");
            (
                format!("not verified: {spec}; {answer}, but {seen}. Please look."),
                true,
            )
        }
        ExecutionState::Failed => (
            format!("failed: {spec}; {answer}. Please look.{kept}"),
            true,
        ),
        ExecutionState::Unknown => {
            let seen = seen.map_or_else(
                || "The target is being observed".to_owned(),
                |seen| format!("Now seen: {seen}"),
            );
            (
                format!(
                    "outcome unknown: {spec}; {answer}. It is not repeated. {seen}. Please look.{kept}"
                ),
                true,
            )
        }
        ExecutionState::Cancelled => (format!("cancelled: {spec}; {answer}."), false),
        ExecutionState::DryRun => (format!("{spec}: {answer}."), false),
    }
}
