//! What a diagnosis costs: a gang of 512 pods with 100 MB of logs, and the search for signatures alone.
//!
//! CPU time is that of the process (user and system, from `/proc/self/stat`), so that a busy machine does not count.

#![allow(clippy::print_stdout, reason = "a benchmark prints what it measured")]

use std::time::Instant;

use jiff::{SignedDuration, Timestamp};
use nightbell::diagnose::knowledge::Knowledge;
use nightbell::diagnose::{ContainerLog, Evidence, LogLine, analyze};
use nightbell::estate::{
    Condition, Container, ContainerState, Controller, JobKey, Pod, Termination,
};

const PODS: u32 = 512;
const LOG_BYTES: usize = 100 << 20;
/// Of the clock that counts CPU time in `/proc`, on Linux.
const TICKS_PER_SECOND: f64 = 100.0;

fn main() {
    let begun = cpu_seconds();
    let knowledge = Knowledge::embedded();
    println!(
        "load the knowledge      {:>8.3} CPU s",
        cpu_seconds() - begun
    );
    redaction();
    for (name, noise) in [("ordinary logs", false), ("logs full of near misses", true)] {
        let evidence = gang(noise);
        let bytes: usize = evidence
            .logs
            .iter()
            .flat_map(|log| &log.lines)
            .map(|line| line.text.len())
            .sum();
        let megabytes = bytes as f64 / f64::from(1 << 20);
        signatures(&knowledge, &evidence, megabytes);
        let before = peak_memory_mb();
        let begun = cpu_seconds();
        let diagnosis = analyze(&evidence, &knowledge);
        let seconds = cpu_seconds() - begun;
        println!(
            "whole analysis, {name:<24}{seconds:>8.3} CPU s for {PODS} pods and {megabytes:.0} MB: {:.0} MB/s, {:.0} MB peak memory of the process, {:.0} of it for the analysis; {} in {:?}",
            megabytes / seconds.max(0.001),
            peak_memory_mb(),
            peak_memory_mb() - before,
            diagnosis.findings[0].cause,
            diagnosis.first_failure.map(|first| first.pod),
        );
    }
}

/// How fast the logs are searched for what may announce a signature, without looking at the lines that it names.
fn signatures(knowledge: &Knowledge, evidence: &Evidence, megabytes: f64) {
    const ROUNDS: u32 = 3;
    let mut text = String::new();
    let mut announced = 0;
    let mut lines = 0;
    let mut seconds = 0.0;
    for log in &evidence.logs {
        text.clear();
        for line in &log.lines {
            text.push_str(&line.text);
            text.push('\n');
        }
        lines += log.lines.len();
        // One log takes less than a tick of the clock.
        let begun = Instant::now();
        for _ in 0..ROUNDS {
            announced += knowledge.announced(std::hint::black_box(&text)).count();
        }
        seconds += begun.elapsed().as_secs_f64() / f64::from(ROUNDS);
    }
    println!(
        "signature scan          {seconds:>8.3} s for {megabytes:.0} MB: {:.0} MB/s; {} of {lines} lines looked at",
        megabytes / seconds.max(0.001),
        announced / ROUNDS as usize,
    );
}

/// How fast text is cleaned of secrets, by pieces as large as a log line and as a log.
fn redaction() {
    const BYTES: usize = 64 << 20;
    let plain = "2026-03-02 10:00:00,123 - INFO - step 1200/100000 loss 3.9121 tokens/s 31200 mem 61.2GiB commit 3f786850e387550fdab836ed7e6dc881de23001b";
    let secret = "2026-03-02 10:00:00,123 - INFO - connect postgres://app:hunter2hunter2@db:5432/jobs password=hunter2hunter2";
    let log = |every: usize| {
        (0..1000)
            .map(|line| {
                if every > 0 && line % every == 0 {
                    secret
                } else {
                    plain
                }
            })
            .collect::<Vec<_>>()
            .join("\n")
    };
    for (name, text) in [
        ("redact plain lines", plain.to_owned()),
        ("redact plain logs", log(0)),
        ("redact 1% secrets", log(100)),
    ] {
        let begun = cpu_seconds();
        let rounds = BYTES / text.len();
        for _ in 0..rounds {
            std::hint::black_box(nightbell::redact::scrub(std::hint::black_box(&text)));
        }
        let seconds = cpu_seconds() - begun;
        let megabytes = (rounds * text.len()) as f64 / f64::from(1 << 20);
        println!(
            "{name:<24}{seconds:>8.3} CPU s for {megabytes:.0} MB: {:.0} MB/s",
            megabytes / seconds.max(0.001)
        );
    }
}

/// A gang of which rank 300 ran out of disk, and all others waited for it until the watchdog ended them.
fn gang(noise: bool) -> Evidence {
    let start: Timestamp = "2026-03-02T10:00:00Z".parse().expect("a time");
    let at = |seconds: i64| start + SignedDuration::from_secs(seconds);
    let mut evidence = Evidence {
        job: JobKey {
            cluster: "prod".to_owned(),
            namespace: "runai-nlp".to_owned(),
            name: "gang".to_owned(),
        },
        project: None,
        workload: None,
        controllers: vec![Controller {
            cluster: "prod".into(),
            namespace: "runai-nlp".into(),
            name: "gang".to_owned(),
            kind: "Job".into(),
            uid: "u".to_owned(),
            created: start,
            deleting: None,
            owner: None,
            workload: "gang".into(),
            runai_id: None,
            project: None,
            suspended: false,
            conditions: vec![Condition {
                kind: "Failed".into(),
                status: "True".into(),
                reason: Some("BackoffLimitExceeded".into()),
                message: None,
                since: Some(at(1700)),
            }],
            desired: PODS,
            active: 0,
            failed: PODS,
            succeeded: 0,
            ready: 0,
            backoff_limit: Some(0),
            gitops: None,
        }],
        pods: Vec::new(),
        pods_unread: false,
        nodes: Vec::new(),
        events: Vec::new(),
        logs: Vec::new(),
        history: Vec::new(),
        pending_messages: Vec::new(),
        neighbours: Vec::new(),
        progress: None,
        patience: nightbell::detect::Thresholds::default(),
        capacity: None,
        missing: Vec::new(),
        collected: at(1800),
        measured: nightbell::diagnose::measured::Measured::default(),
        surroundings: nightbell::diagnose::surroundings::Surroundings::default(),
    };
    let per_pod = LOG_BYTES / PODS as usize;
    for rank in 0..PODS {
        let culprit = rank == 300;
        evidence.pods.push(pod(
            rank,
            if culprit { 1 } else { 134 },
            at(5),
            at(if culprit { 1000 } else { 1600 }),
        ));
        let mut lines = Vec::new();
        let mut bytes = 0;
        for step in 0u64.. {
            let text = if noise && step % 10 == 3 {
                format!(
                    "[rank{rank}]: step {step} worker checkpoint connection socket, no error: nccl cuda memory timeout=600 retry=0"
                )
            } else {
                format!(
                    "[rank{rank}]: step {step}/100000 loss 3.{:04} lr 3.0e-4 grad_norm 0.83 tokens/s 31200 mem 61.2GiB it 412ms",
                    step % 9973
                )
            };
            bytes += text.len();
            lines.push(LogLine {
                at: Some(at(10)),
                text,
            });
            if bytes >= per_pod {
                break;
            }
        }
        let tail: Vec<String> = if culprit {
            [
                "Traceback (most recent call last):",
                "  File \"/app/train.py\", line 9, in save",
                "OSError: [Errno 28] No space left on device",
            ]
            .map(|line| format!("[rank{rank}]: {line}"))
            .to_vec()
        } else {
            vec![format!(
                "[rank{rank}]:[E302 10:26:00.1 ProcessGroupNCCL.cpp:616] [Rank {rank}] Watchdog caught collective operation timeout: WorkNCCL(SeqNum=17, OpType=ALLREDUCE, NumelIn=1, Timeout(ms)=600000) ran for 600031 milliseconds before timing out."
            )]
        };
        let end = at(if culprit { 999 } else { 1599 });
        lines.extend(tail.into_iter().map(|text| LogLine {
            at: Some(end),
            text,
        }));
        evidence.logs.push(ContainerLog {
            pod: format!("gang-{rank}"),
            container: "main".to_owned(),
            previous: false,
            lines,
        });
    }
    evidence
}

fn pod(rank: u32, exit_code: i32, started: Timestamp, finished: Timestamp) -> Pod {
    Pod {
        cluster: "prod".into(),
        namespace: "runai-nlp".into(),
        name: format!("gang-{rank}"),
        uid: format!("uid-{rank}"),
        created: started,
        deleting: None,
        node: Some(format!("gpu-{}", rank / 8)),
        phase: "Failed".into(),
        reason: None,
        message: None,
        conditions: Vec::new(),
        containers: vec![Container {
            name: "main".into(),
            image: "train:1".into(),
            init: false,
            ready: false,
            restarts: 0,
            state: ContainerState::Terminated(Box::new(Termination {
                exit_code,
                signal: None,
                reason: Some("Error".into()),
                message: None,
                started: Some(started),
                finished: Some(finished),
            })),
            last: None,
        }],
        owner: None,
        workload: "gang".into(),
        runai_id: None,
        project: None,
        gpus: 1.0,
        scheduler: None,
        claims: Vec::new(),
        rank: Some(rank),
        restart_policy: None,
    }
}

fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("Linux");
    // The name in parentheses may hold spaces; user and system time are the 12th and 13th fields after it.
    let fields: Vec<&str> = stat
        .rsplit(')')
        .next()
        .unwrap_or_default()
        .split_whitespace()
        .collect();
    let ticks = |index: usize| fields[index].parse::<f64>().unwrap_or_default();
    (ticks(11) + ticks(12)) / TICKS_PER_SECOND
}

fn peak_memory_mb() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .and_then(|rest| rest.trim().trim_end_matches(" kB").parse::<f64>().ok())
        .unwrap_or_default()
        / 1024.0
}
