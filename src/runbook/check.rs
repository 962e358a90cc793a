//! What the names in a runbook mean: whether they exist, are known by then, and are of the right type.

use std::collections::{BTreeMap, BTreeSet};

use super::load::{self, Places};
use super::model::{
    Act, Check, CheckOf, Limit, Measure, Rollback, Runbook, Step, TargetInput, Trigger, What,
};
use super::template::{Input, InputValue, Kind, Reference, RunFact};
use super::yaml::{At, Mistake, Mistakes};
use crate::action::parameters::nearest;
use crate::action::{ActionKind, System};

/// What there is beside the file itself.
#[derive(Clone, Debug, Default)]
pub struct Known {
    /// Ids of the failure taxonomy.
    pub causes: BTreeSet<String>,
    /// Names of the section `metrics`, and the queries that they stand for.
    pub metrics: BTreeMap<String, String>,
    /// Whether there is a Prometheus to ask.
    pub prometheus: bool,
}

/// What came of reading one file.
#[derive(Debug)]
pub struct Checked {
    /// Only if there is no mistake.
    pub runbook: Option<Runbook>,
    pub mistakes: Vec<Mistake>,
    /// What is no mistake of the file but keeps it from working here and now.
    pub notes: Vec<Mistake>,
}

/// Reads a file and finds everything that is wrong with it. `file_name` is without its ending.
#[must_use]
pub fn check(text: &str, file_name: Option<&str>, known: &Known) -> Checked {
    let load::Read {
        runbook,
        places,
        mut mistakes,
    } = load::read(text);
    let mut notes = Mistakes::default();
    if let Some(runbook) = &runbook {
        if let Some(file_name) = file_name
            && !runbook.name.is_empty()
            && runbook.name != file_name
        {
            mistakes.add(
                places.name,
                format!("the file is called {file_name}.yaml, so its runbook must be named `{file_name}`"),
            );
        }
        Checker {
            runbook,
            known,
            mistakes: &mut mistakes,
            notes: &mut notes,
            before: BTreeMap::new(),
            untyped: &places.untyped,
        }
        .run(&places);
    }
    let sorted = |mut list: Vec<Mistake>| {
        list.sort_by_key(|mistake| mistake.at);
        list.dedup();
        list
    };
    let mistakes = sorted(mistakes.0);
    Checked {
        runbook: runbook.filter(|_| mistakes.is_empty()),
        mistakes,
        notes: sorted(notes.0),
    }
}

struct Checker<'a> {
    runbook: &'a Runbook,
    known: &'a Known,
    mistakes: &'a mut Mistakes,
    notes: &'a mut Mistakes,
    /// Outputs of the steps before the one that is looked at.
    before: BTreeMap<&'a str, BTreeMap<&'a str, Kind>>,
    untyped: &'a BTreeSet<String>,
}

impl<'a> Checker<'a> {
    fn run(&mut self, places: &Places) {
        for (trigger, at) in self.runbook.triggers.iter().zip(&places.triggers) {
            self.trigger(trigger, *at);
        }
        let by_itself = self.runbook.triggers.iter().any(|trigger| match trigger {
            Trigger::Schedule(_) | Trigger::Metric(_) | Trigger::Pattern(_) => true,
            Trigger::Cause(_) | Trigger::Alert(_) | Trigger::Manual(_) => false,
        });
        for (parameter, at) in self.runbook.parameters.iter().zip(&places.parameters) {
            if by_itself && parameter.required {
                self.mistakes.add(
                    *at,
                    format!(
                        "nobody gives `{}` when a schedule, metric or pattern starts the run: it needs a default",
                        parameter.name
                    ),
                );
            }
        }
        let mut ids: BTreeSet<&str> = BTreeSet::new();
        for step in &self.runbook.steps {
            if !ids.insert(&step.id) {
                self.mistakes.add(
                    step.at,
                    format!("another step has the id `{}` too", step.id),
                );
            }
            self.step(step);
            let outputs = step
                .outputs
                .iter()
                .map(|(name, field)| (name.as_str(), field.value_kind()))
                .collect();
            self.before.insert(&step.id, outputs);
        }
        for check in &self.runbook.verification {
            self.check(check);
        }
    }

    fn trigger(&mut self, trigger: &Trigger, at: At) {
        match trigger {
            Trigger::Cause(causes) => {
                for cause in causes {
                    if !self.known.causes.contains(cause) {
                        let hint = nearest(cause, self.known.causes.iter().map(String::as_str))
                            .map_or_else(
                                || "`nightbell knowledge list` shows all".to_owned(),
                                |near| format!("did you mean `{near}`?"),
                            );
                        self.mistakes
                            .add(at, format!("no cause is called `{cause}`; {hint}"));
                    }
                }
            }
            Trigger::Metric(metric) => {
                self.measure(&metric.measure, at);
                self.limit(&metric.limit);
                if let Some((limit, _)) = &metric.resolved {
                    self.limit(limit);
                }
                self.notes.add(
                    at,
                    "metrics are not watched for triggers yet in this version, so that none can start it",
                );
            }
            Trigger::Alert(_) => self.notes.add(
                at,
                "alerts do not come in from outside yet in this version, so that none can start it",
            ),
            Trigger::Pattern(_) => self.notes.add(
                at,
                "log patterns are not watched yet in this version, so that none can start it",
            ),
            Trigger::Schedule(_) | Trigger::Manual(_) => {}
        }
    }

    fn step(&mut self, step: &'a Step) {
        for comparison in &step.when {
            self.input(&comparison.left);
            self.input(&comparison.right);
        }
        match &step.what {
            What::Act(act) => self.act(act),
            What::Wait(input) => self.typed(input, &Kind::Duration, "`for`"),
            What::Verify(check) => self.check(check),
            What::Look(target) => {
                self.target(target, None);
            }
            What::Notify(input) | What::Ask(input) => self.input(input),
        }
        for check in &step.success {
            self.check(check);
        }
        if let Some(Rollback::Act(act)) = &step.rollback {
            self.act(act);
        }
    }

    fn act(&mut self, act: &Act) {
        for (name, input) in &act.with {
            let parameter = act
                .kind
                .entry()
                .parameters
                .iter()
                .find(|known| known.name == name);
            let Some(parameter) = parameter else { continue };
            match &input.value {
                InputValue::Literal(value) => {
                    if !parameter.shape.fits(value) {
                        self.mistakes.add(
                            input.at,
                            format!(
                                "`{name}` must be {}, not `{}`",
                                parameter.shape,
                                input.told()
                            ),
                        );
                    }
                }
                InputValue::Whole(reference) => {
                    // What is optional here may be left out there.
                    if let Some(kind) = self.reference(input.at, reference, !parameter.required)
                        && !kind.can_be(parameter.shape)
                    {
                        self.mistakes.add(
                            input.at,
                            format!(
                                "`{name}` must be {}, and `${{{reference}}}` is of type {}",
                                parameter.shape,
                                kind.as_str()
                            ),
                        );
                    }
                }
                InputValue::Mixed(_) => {
                    self.input(input);
                    if !Kind::Text.can_be(parameter.shape) {
                        self.mistakes.add(
                            input.at,
                            format!("`{name}` must be {}, and this is a text", parameter.shape),
                        );
                    }
                }
                InputValue::List(_) | InputValue::Fields(_) => self.input(input),
            }
        }
        self.target(&act.target, Some(act.kind));
    }

    /// Whether the names of a target exist, and whether the action acts on such things.
    fn target(&mut self, target: &TargetInput, of: Option<ActionKind>) {
        let entry = of.map(ActionKind::entry);
        let (required, optional): (Vec<&Input>, Vec<&Option<Input>>) = match target {
            TargetInput::Job {
                job,
                namespace,
                project,
                cluster,
            } => {
                if let Some(entry) = entry {
                    let of_jobs = match entry.system {
                        System::Runai => true,
                        System::Kubernetes => entry
                            .objects
                            .iter()
                            .any(|kind| *kind != "Node" && *kind != "Pod"),
                        #[allow(unreachable_patterns, reason = "other systems have no jobs")]
                        _ => false,
                    };
                    if !of_jobs {
                        self.mistakes.add(
                            job.at,
                            format!(
                                "`{}` does not act on a job; its target is {}",
                                entry.name,
                                wanted(entry)
                            ),
                        );
                    }
                }
                (vec![job], vec![namespace, project, cluster])
            }
            TargetInput::Object {
                kind,
                namespace,
                name,
                cluster,
            } => {
                let literal = match &kind.value {
                    InputValue::Literal(value) => value.as_str(),
                    _ => None,
                };
                if let (Some(entry), Some(kind_name)) = (entry, literal)
                    && !entry.objects.contains(&kind_name)
                {
                    self.mistakes.add(
                        kind.at,
                        format!(
                            "`{}` cannot act on `{kind_name}`; its target is {}",
                            entry.name,
                            wanted(entry)
                        ),
                    );
                }
                if literal.is_some_and(|kind| kind != "Node") && namespace.is_none() {
                    self.mistakes.add(name.at, "the target needs a `namespace`");
                }
                (vec![kind, name], vec![namespace, cluster])
            }
            TargetInput::Named { of: system, name } => {
                if let Some(entry) = entry
                    && entry.system != *system
                {
                    self.mistakes.add(
                        name.at,
                        format!("`{}` acts on {}, not on {system}", entry.name, entry.system),
                    );
                }
                (vec![name], Vec::new())
            }
        };
        for input in required {
            self.input(input);
        }
        for input in optional.into_iter().flatten() {
            match &input.value {
                // An empty scope is no scope: the name alone must do then.
                InputValue::Whole(reference) => {
                    self.reference(input.at, reference, true);
                }
                _ => self.input(input),
            }
        }
    }

    fn check(&mut self, check: &Check) {
        match &check.of {
            CheckOf::Metric { measure, limit, .. } => {
                self.measure(measure, check.at);
                self.limit(limit);
            }
            CheckOf::Http { url, .. } => self.input(url),
            CheckOf::Tcp { address } => self.input(address),
        }
    }

    fn measure(&mut self, measure: &Measure, at: At) {
        match measure {
            Measure::Named(at, name) => {
                if !self.known.metrics.contains_key(name) {
                    let hint = nearest(name, self.known.metrics.keys().map(String::as_str))
                        .map_or_else(String::new, |near| format!("; there is `{near}`"));
                    self.notes.add(
                        *at,
                        format!("no query is configured for `{name}`: set it in the section `metrics`{hint}"),
                    );
                }
            }
            Measure::Promql(query) => self.input(query),
        }
        if !self.known.prometheus {
            self.notes
                .add(at, "nothing can be measured: METRICS_ENDPOINT is not set");
        }
    }

    fn limit(&mut self, limit: &Limit) {
        let (Limit::Above(input) | Limit::Below(input)) = limit;
        match &input.value {
            InputValue::Literal(value) if value.is_number() => {}
            InputValue::Whole(reference) => {
                if let Some(kind) = self.reference(input.at, reference, false)
                    && !matches!(kind, Kind::Integer { .. } | Kind::Number)
                {
                    self.mistakes.add(
                        input.at,
                        format!(
                            "a limit is a number, and `${{{reference}}}` is of type {}",
                            kind.as_str()
                        ),
                    );
                }
            }
            _ => self.mistakes.add(
                input.at,
                format!("a limit is a number, not `{}`", input.told()),
            ),
        }
    }

    /// Every name in a value exists, and has a value by then.
    fn input(&mut self, input: &Input) {
        let references: Vec<(At, Reference)> = input
            .references()
            .into_iter()
            .map(|(at, reference)| (at, reference.clone()))
            .collect();
        for (at, reference) in references {
            self.reference(at, &reference, false);
        }
    }

    /// As [`Checker::input`]; a literal or a name alone must be of a kind.
    fn typed(&mut self, input: &Input, wanted: &Kind, what: &str) {
        self.input(input);
        if let InputValue::Whole(reference) = &input.value
            && let Some(kind) = self.kind_of(reference)
            && kind.as_str() != wanted.as_str()
        {
            self.mistakes.add(
                input.at,
                format!(
                    "{what} must be {}, and `${{{reference}}}` is of type {}",
                    wanted.wanted(),
                    kind.as_str()
                ),
            );
        }
    }

    fn kind_of(&self, reference: &Reference) -> Option<Kind> {
        match reference {
            Reference::Parameter(name) => self
                .runbook
                .parameters
                .iter()
                .find(|parameter| parameter.name == *name)
                .map(|parameter| parameter.kind.clone()),
            Reference::Output { step, output } => self
                .before
                .get(step.as_str())
                .and_then(|outputs| outputs.get(output.as_str()))
                .cloned(),
            Reference::Run(RunFact::Number) => Some(Kind::Integer {
                least: 1,
                most: i64::MAX,
            }),
            Reference::Run(RunFact::By) => Some(Kind::Text),
        }
    }

    /// The type of a name; `None` if it does not exist, which is reported.
    fn reference(&mut self, at: At, reference: &Reference, may_lack: bool) -> Option<Kind> {
        if let Reference::Parameter(name) = reference
            && let Some(parameter) = self.runbook.parameters.iter().find(|p| p.name == *name)
            && !parameter.required
            && parameter.default.is_none()
            && !may_lack
        {
            self.mistakes.add(
                at,
                format!("`${{{name}}}` may be absent, and there must be a value here: require it, or give it a default"),
            );
        }
        let kind = self.kind_of(reference);
        if kind.is_some() {
            return kind;
        }
        match reference {
            Reference::Parameter(name) if self.untyped.contains(name) => {}
            Reference::Parameter(name) => {
                let known = self.runbook.parameters.iter().map(|p| p.name.as_str());
                self.mistakes
                    .unknown(at, "there is no parameter", name, known);
            }
            Reference::Output { step, output } => {
                let later = self.runbook.step(step).is_some();
                match (self.before.get(step.as_str()), later) {
                    (Some(outputs), _) => {
                        let known: Vec<&str> = outputs.keys().copied().collect();
                        self.mistakes.unknown(
                            at,
                            &format!("the step `{step}` has no output"),
                            output,
                            known.into_iter(),
                        );
                    }
                    (None, true) => self.mistakes.add(
                        at,
                        format!(
                            "the step `{step}` has not run by then: only steps above can be used"
                        ),
                    ),
                    (None, false) => {
                        let known: Vec<&str> = self.before.keys().copied().collect();
                        self.mistakes
                            .unknown(at, "there is no step", step, known.into_iter());
                    }
                }
            }
            Reference::Run(_) => {}
        }
        None
    }
}

fn wanted(entry: &crate::action::Entry) -> String {
    match entry.system {
        System::Runai => "`{job, project}`: a Run:AI workload".to_owned(),
        System::Kubernetes if entry.objects == ["Node"] => "`{node}`".to_owned(),
        System::Kubernetes => format!(
            "`{{kind, namespace, name}}` of {}",
            entry.objects.join(", ")
        ),
        #[allow(
            unreachable_patterns,
            reason = "every other system names its objects alike"
        )]
        other => format!("`{{system, name}}` of {other}"),
    }
}
