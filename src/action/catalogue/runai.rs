//! What is done to workloads of Run:AI.

use super::{ActionKind as A, Entry, System::Runai, Takes};
use crate::alert::Severity;

const SUSPENDING: &str = "suspending ends every pod of the workload";

pub(super) const ROWS: [Entry; 4] = [
    Entry {
        risk: Severity::High,
        asks: Some(SUSPENDING),
        major: true,
        inverse: Some(A::RunaiResume),
        ..Entry::of(A::RunaiSuspend, "runai_suspend", "suspend", Runai)
    },
    Entry {
        takes: Takes::Nothing,
        inverse: Some(A::RunaiSuspend),
        ..Entry::of(A::RunaiResume, "runai_resume", "resume", Runai)
    },
    Entry {
        risk: Severity::Critical,
        asks: Some("deleting a workload cannot be undone"),
        major: true,
        ..Entry::of(A::RunaiDelete, "runai_delete", "delete", Runai)
    },
    Entry {
        restarts: true,
        major: true,
        ..Entry::of(
            A::RunaiRestart,
            "runai_restart",
            "suspend and resume",
            Runai,
        )
    },
];
