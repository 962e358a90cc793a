//! Questions about jobs: status, lists, diagnosis, logs, and why one waits.

use std::sync::PoisonError;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::execute::Desk;
use super::reply::{ago, answer, card, code, counted, field, header, problem, say, small};
use super::{Answer, JobQuery, Outcome};
use crate::chat;
use crate::chat::card::{Block, Card, Tone};
use crate::detect::{self, Assessment};
use crate::diagnose::{Diagnosis, Evidence, Verdict};
use crate::estate::index::{Estate, Found, Job};
use crate::estate::{JobKey, Phase};
use crate::redact;

/// Rows of a list in chat; more is for the page and `--json`.
const ROWS: usize = 25;
/// Log lines shown per container.
const LOG_LINES: usize = 100;
/// Characters of logs in one answer; surfaces cut further.
const LOG_CHARS: usize = 24_000;

impl Desk {
    pub(super) fn job_status(&self, query: &JobQuery, now: Timestamp) -> Answer {
        let key = match self.find_job(query) {
            Ok(key) => key,
            Err(answer) => return *answer,
        };
        let estate = self.estate.read().unwrap_or_else(PoisonError::into_inner);
        let Some(job) = estate.job(&key) else {
            return none(query, &[], &estate);
        };
        let assessment = detect::assess(job, &estate, &self.settings.thresholds, now);
        let worst = assessment
            .symptoms
            .first()
            .filter(|symptom| !symptom.expected);
        let status = job.status();
        let headline = match worst {
            Some(symptom) => format!("{}: {status} ({})", job.key.name, symptom.state),
            None => format!("{}: {status}", job.key.name),
        };
        let live = job.live_pods().count();
        let ready = job.live_pods().filter(|pod| pod.is_ready()).count();
        let restarts: u32 = job
            .pods
            .iter()
            .flat_map(|pod| &pod.containers)
            .map(|container| container.restarts)
            .sum();
        let mut fields = vec![
            field("Status", status.clone()),
            field(
                "Project",
                job.project.clone().unwrap_or_else(|| "none".to_owned()),
            ),
            field("Namespace", job.key.namespace.clone()),
            field("Cluster", job.key.cluster.clone()),
            field("Kind", job.kind()),
            field(
                "GPUs",
                format!("{} of {}", job.gpus(), job.requested_gpus()),
            ),
            field("Pods", format!("{ready} of {live} ready")),
            field("Restarts", restarts.to_string()),
        ];
        if let Some(created) = job.created() {
            fields.push(field("Created", ago(created, now)));
        }
        if let Some(owner) = job
            .workload
            .as_ref()
            .and_then(|workload| workload.submitted_by.as_ref().map(String::from))
        {
            fields.push(field("Owner", owner));
        }
        let mut blocks = vec![header(&headline), Block::Fields { fields }];
        for symptom in assessment.symptoms.iter().take(3) {
            blocks.push(say(&format!(
                "{}: {}",
                code(&symptom.state),
                redact::line(&symptom.detail, 400)
            )));
        }
        let nothing_wrong = worst.is_none();
        if !nothing_wrong {
            blocks.push(small(&format!("`troubleshoot {}` says why.", job.key.name)));
        }
        let complaints = self.complaints(now);
        if !complaints.is_empty() {
            blocks.push(small(&format!(
                "This may be old: {}.",
                complaints.join("; ")
            )));
        }
        let mut body = job_body(job, &assessment);
        if let Value::Object(body) = &mut body {
            body.insert("restarts".to_owned(), json!(restarts));
            body.insert("stale".to_owned(), json!(complaints));
        }
        answer(
            card(tone(&assessment, !complaints.is_empty()), &headline, blocks),
            body,
        )
    }

    pub(super) fn list_jobs(
        &self,
        project: Option<&str>,
        failing_only: bool,
        now: Timestamp,
    ) -> Answer {
        let estate = self.estate.read().unwrap_or_else(PoisonError::into_inner);
        let belongs = |job: &&Job| {
            project.is_none_or(|name| {
                job.project
                    .as_deref()
                    .is_some_and(|held| held.eq_ignore_ascii_case(name))
                    || job.key.namespace == name
                    || job.key.namespace.strip_prefix("runai-") == Some(name)
            })
        };
        let mut jobs: Vec<(&Job, Assessment)> = estate
            .jobs()
            .filter(belongs)
            .map(|job| {
                (
                    job,
                    detect::assess(job, &estate, &self.settings.thresholds, now),
                )
            })
            .filter(|(_, assessment)| !failing_only || is_failing(assessment))
            .collect();
        jobs.sort_by(|(a, wrong_a), (b, wrong_b)| {
            (!is_failing(wrong_a), &a.project, &a.key).cmp(&(
                !is_failing(wrong_b),
                &b.project,
                &b.key,
            ))
        });
        let failing = jobs
            .iter()
            .filter(|(_, assessment)| is_failing(assessment))
            .count();
        let place = project.map_or_else(String::new, |name| format!(" in project {name}"));
        let headline = match (failing_only, jobs.len()) {
            (true, 0) => format!("No failing jobs{place}"),
            (true, count) => format!("{}{place}", counted(count, "failing job")),
            (false, 0) => format!("No jobs{place}"),
            (false, count) => format!("{}{place}, {failing} failing", counted(count, "job")),
        };
        let complaints = self.complaints(now);
        let mut blocks = vec![header(&headline)];
        if !jobs.is_empty() {
            blocks.push(Block::Table {
                header: ["Job", "Project", "Status", "GPUs", "What is wrong"]
                    .map(str::to_owned)
                    .to_vec(),
                rows: jobs
                    .iter()
                    .take(ROWS)
                    .map(|(job, assessment)| {
                        vec![
                            job.key.name.clone(),
                            job.project
                                .clone()
                                .unwrap_or_else(|| job.key.namespace.clone())
                                .clone(),
                            job.status(),
                            job.gpus().to_string(),
                            assessment
                                .symptoms
                                .iter()
                                .find(|symptom| !symptom.expected)
                                .map_or_else(String::new, |symptom| symptom.state.clone()),
                        ]
                    })
                    .collect(),
            });
        }
        if jobs.len() > ROWS {
            blocks.push(small(&format!(
                "And {} more; name a project to narrow the list.",
                jobs.len() - ROWS
            )));
        }
        if !complaints.is_empty() {
            blocks.push(small(&format!(
                "This may be incomplete: {}.",
                complaints.join("; ")
            )));
        }
        let tone = if failing > 0 {
            Tone::Bad
        } else if !complaints.is_empty() || jobs.is_empty() {
            Tone::Info
        } else {
            Tone::Good
        };
        let body = json!({
            "jobs": jobs.iter().map(|(job, assessment)| job_body(job, assessment)).collect::<Vec<_>>(),
            "failing": failing,
            "stale": complaints,
        });
        answer(card(tone, &headline, blocks), body)
    }

    pub(super) async fn troubleshoot(&self, query: &JobQuery, now: Timestamp) -> Answer {
        let key = match self.find_job(query) {
            Ok(key) => key,
            Err(answer) => return *answer,
        };
        self.diagnose(key, now).await.1
    }

    /// Collects and analyzes; the diagnosis, and the report as an answer.
    pub(super) async fn diagnose(&self, key: JobKey, now: Timestamp) -> (Diagnosis, Answer) {
        let evidence = (self.collect)(key.clone(), now).await;
        let (_, diagnosis) = self.weigh(evidence).await;
        let told = diagnosis_answer(&diagnosis, self.settings.demo);
        (diagnosis, told)
    }

    /// Analyzes on a thread of its own: thousands of log lines against hundreds of rules would hold up everybody else.
    async fn weigh(&self, evidence: Evidence) -> (Evidence, Diagnosis) {
        let analyze = self.analyze.clone();
        let weighed = tokio::task::spawn_blocking(move || {
            let diagnosis = analyze(&evidence);
            (evidence, diagnosis)
        });
        weighed
            .await
            .unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))
    }

    pub(super) async fn show_logs(&self, query: &JobQuery, now: Timestamp) -> Answer {
        let key = match self.find_job(query) {
            Ok(key) => key,
            Err(answer) => return *answer,
        };
        let evidence = (self.collect)(key, now).await;
        logs(&evidence)
    }

    pub(super) async fn why_pending(&self, query: &JobQuery, now: Timestamp) -> Answer {
        let key = match self.find_job(query) {
            Ok(key) => key,
            Err(answer) => return *answer,
        };
        let status = {
            let estate = self.estate.read().unwrap_or_else(PoisonError::into_inner);
            estate
                .job(&key)
                .filter(|job| !is_pending(job))
                .map(Job::status)
        };
        if let Some(status) = status {
            let text = format!("{} is not pending: it is {status}.", key.name);
            let blocks = vec![
                say(&text),
                small(&format!(
                    "`troubleshoot {}` looks for what else may be wrong.",
                    key.name
                )),
            ];
            return answer(
                card(Tone::Info, &text, blocks),
                json!({ "job": key.name, "namespace": key.namespace, "pending": false, "status": status }),
            );
        }
        let evidence = (self.collect)(key.clone(), now).await;
        let (evidence, diagnosis) = self.weigh(evidence).await;
        let mut sentences: Vec<String> = evidence
            .pending_messages
            .iter()
            .map(|message| redact::line(message, 500))
            .collect();
        let explained = diagnosis.findings.first();
        let headline = explained.map_or_else(
            || format!("{} is pending, and nothing says why", key.name),
            |finding| format!("{} is pending: {}", key.name, finding.title),
        );
        let mut blocks = vec![header(&headline)];
        if let Some(finding) = explained {
            blocks.push(say(&finding.explanation));
            blocks.push(say(&format!("What would help: {}", finding.recommendation)));
        }
        if sentences.is_empty() {
            sentences = evidence
                .events
                .iter()
                .rev()
                .filter(|event| {
                    matches!(
                        event.reason.as_str(),
                        "FailedScheduling" | "Unschedulable" | "NotTriggerScaleUp"
                    )
                })
                .take(3)
                .map(|event| redact::line(&event.message, 500))
                .collect();
        }
        if !sentences.is_empty() {
            blocks.push(Block::Code {
                text: sentences.join("\n"),
            });
        }
        missing(&evidence, &mut blocks);
        let body = json!({ "job": key.name, "namespace": key.namespace, "pending": true, "messages": sentences, "diagnosis": diagnosis });
        let tone = if diagnosis.state == Verdict::Failing {
            Tone::Warning
        } else {
            Tone::Info
        };
        answer(card(tone, &headline, blocks), body)
    }

    /// How many jobs there are and how many of them fail.
    pub(super) fn failing_count(&self, now: Timestamp) -> (usize, usize) {
        let estate = self.estate.read().unwrap_or_else(PoisonError::into_inner);
        let failing = estate
            .jobs()
            .filter(|job| {
                is_failing(&detect::assess(
                    job,
                    &estate,
                    &self.settings.thresholds,
                    now,
                ))
            })
            .count();
        (estate.job_count(), failing)
    }
}

/// The last lines of every container, the previous container's first.
/// A diagnosis as an answer: the report for people, the contract's JSON for machines.
#[must_use]
pub fn diagnosis_answer(diagnosis: &Diagnosis, demo: bool) -> Answer {
    let mut report = chat::alert::report(diagnosis, &diagnosis.job);
    if demo {
        report.blocks.push(small("Demo: the estate is simulated."));
    }
    answer(report, diagnosis.json())
}

/// The answer when a name fits no job or several; `None` when it fits one.
#[must_use]
pub fn not_one(query: &JobQuery, found: &Found, estate: &Estate) -> Option<Answer> {
    match found {
        Found::One(_) => None,
        Found::Several(keys) => Some(several(query, keys, estate)),
        Found::None { nearest } => Some(none(query, nearest, estate)),
    }
}

pub(super) fn logs(evidence: &Evidence) -> Answer {
    let name = &evidence.job.name;
    let headline = format!("Last log lines of {name}");
    let mut blocks = vec![header(&headline)];
    let mut bodies = Vec::new();
    let mut room = LOG_CHARS;
    for log in &evidence.logs {
        let from = log.lines.len().saturating_sub(LOG_LINES);
        let lines: Vec<String> = log.lines[from..]
            .iter()
            .map(|line| redact::line(&line.text, 500))
            .collect();
        // From the end: the last lines are the ones that matter.
        let mut shown = Vec::new();
        for line in lines.iter().rev() {
            let Some(left) = room.checked_sub(line.len() + 1) else {
                break;
            };
            room = left;
            shown.push(line.as_str());
        }
        shown.reverse();
        let previous = if log.previous {
            ", before its last restart"
        } else {
            ""
        };
        blocks.push(say(&format!(
            "{} / {}{previous}",
            code(&log.pod),
            code(&log.container)
        )));
        let text = if shown.is_empty() {
            "(no lines)".to_owned()
        } else {
            shown.join("\n")
        };
        blocks.push(Block::Code { text });
        bodies.push(json!({ "pod": log.pod, "container": log.container, "previous": log.previous, "lines": lines }));
    }
    if evidence.logs.is_empty() {
        blocks.push(say("There are no log lines to show."));
    }
    missing(evidence, &mut blocks);
    let body = json!({ "job": name, "namespace": evidence.job.namespace, "logs": bodies, "missing_evidence": evidence.missing });
    answer(card(Tone::Info, &headline, blocks), body)
}

/// The name fits several jobs.
pub(super) fn several(query: &JobQuery, keys: &[JobKey], estate: &Estate) -> Answer {
    let text = format!(
        "{} fits {}. Which one?",
        code(&query.name),
        counted(keys.len(), "job")
    );
    candidates(
        &text,
        "Say it with its project or namespace, for example `status of NAME in project P`.",
        keys,
        estate,
    )
}

/// The name fits no job.
pub(super) fn none(query: &JobQuery, nearest: &[JobKey], estate: &Estate) -> Answer {
    let place = match (&query.project, &query.namespace) {
        (Some(project), _) => format!(" in project {}", code(project)),
        (None, Some(namespace)) => format!(" in namespace {}", code(namespace)),
        (None, None) => String::new(),
    };
    let name = code(&query.name);
    match nearest.first() {
        Some(first) => {
            let text = format!("No job {name}{place}. Did you mean {}?", code(&first.name));
            candidates(&text, "`list jobs` shows all that I know.", nearest, estate)
        }
        None => candidates(
            &format!("No job {name}{place}."),
            "`list jobs` shows all that I know.",
            &[],
            estate,
        ),
    }
}

fn candidates(text: &str, way_out: &str, keys: &[JobKey], estate: &Estate) -> Answer {
    let mut answer = problem(Outcome::NotFound, text, way_out);
    let project = |key: &JobKey| estate.job(key).and_then(|job| job.project.clone());
    if keys.len() > 1 {
        let rows = keys
            .iter()
            .take(ROWS)
            .map(|key| {
                vec![
                    estate.telling_name(key),
                    project(key).unwrap_or_default().clone(),
                    key.namespace.clone(),
                    key.cluster.clone(),
                ]
            })
            .collect();
        let header = ["Job", "Project", "Namespace", "Cluster"]
            .map(str::to_owned)
            .to_vec();
        answer.card.blocks.insert(1, Block::Table { header, rows });
    }
    answer.body = json!({
        "error": text,
        "candidates": keys.iter().take(ROWS).map(|key| json!({
            "job": estate.telling_name(key), "project": project(key), "namespace": key.namespace,
        })).collect::<Vec<_>>(),
    });
    answer
}

fn missing(evidence: &Evidence, blocks: &mut Vec<Block>) {
    if !evidence.missing.is_empty() {
        blocks.push(small(&format!(
            "Not looked at: {}",
            evidence.missing.join(" ")
        )));
    }
}

fn is_failing(assessment: &Assessment) -> bool {
    assessment.symptoms.iter().any(|symptom| !symptom.expected)
}

fn is_pending(job: &Job) -> bool {
    let by_phase = job.workload.as_ref().map(|workload| {
        matches!(
            workload.phase,
            Phase::Pending | Phase::Creating | Phase::Initializing | Phase::Resuming
        )
    });
    by_phase.unwrap_or(false)
        || job.live_pods().any(|pod| pod.phase == "Pending")
        || job.pods.is_empty() && by_phase.is_none()
}

fn tone(assessment: &Assessment, stale: bool) -> Tone {
    if is_failing(assessment) {
        Tone::Bad
    } else if stale {
        Tone::Info
    } else {
        Tone::Good
    }
}

fn job_body(job: &Job, assessment: &Assessment) -> Value {
    json!({
        "job": job.key.name,
        "project": job.project,
        "namespace": job.key.namespace,
        "cluster": job.key.cluster,
        "kind": job.kind(),
        "status": job.status(),
        "gpus": job.gpus(),
        "gpus_requested": job.requested_gpus(),
        "pods": job.live_pods().count(),
        "failing": is_failing(assessment),
        "created": job.created(),
        "runai_id": job.workload.as_ref().map(|workload| &workload.id),
        "owner": job.workload.as_ref().and_then(|workload| workload.submitted_by.as_ref()),
        "symptoms": assessment.symptoms.iter().map(|symptom| json!({
            "state": symptom.state, "detail": redact::line(&symptom.detail, 400), "since": symptom.since,
            "expected": symptom.expected, "pod": symptom.pod,
        })).collect::<Vec<_>>(),
    })
}

/// A card whose only purpose is to be read by people who asked something unclear.
pub(super) fn plain(tone: Tone, text: &str) -> Card {
    card(tone, text, vec![say(text)])
}
