//! The jobs of the estate.

use clap::Args;

use super::{Exit, Failed, Global, execute};
use crate::desk::{Command, JobQuery};

#[derive(Debug, Args)]
pub struct Jobs {
    /// Show one job.
    job: Option<String>,
    #[arg(long)]
    project: Option<String>,
    /// With a job's name: its namespace.
    #[arg(long, requires = "job")]
    namespace: Option<String>,
    /// Only those that fail.
    #[arg(long, conflicts_with = "job")]
    failing: bool,
}

impl Jobs {
    pub(super) async fn run(self, global: &Global) -> Result<Exit, Failed> {
        let command = match self.job {
            Some(name) => Command::JobStatus {
                job: JobQuery {
                    name,
                    project: self.project,
                    namespace: self.namespace,
                },
            },
            None => Command::ListJobs {
                project: self.project,
                failing_only: self.failing,
            },
        };
        execute(global, command).await
    }
}
