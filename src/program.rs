//! Arguments, the TLS provider, signals, and handing over.

use std::collections::BTreeMap;
use std::process::ExitCode;

use crate::app::{self, demo::Demo};
use crate::cli::{self, Cli, Runners};
use crate::config::Config;
use crate::supervisor::Stop;
use crate::telemetry::{self, Console};
use anyhow::Context;
use clap::Parser;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

/// Reads the arguments and does what they say.
///
/// # Panics
/// When the system gives no threads to run on.
#[tokio::main]
pub async fn main() -> ExitCode {
    // With a provider installed by hand, no later dependency can make the choice ambiguous, which would be a panic.
    if rustls::crypto::ring::default_provider()
        .install_default()
        .is_err()
    {
        eprintln!("nightbell: the TLS provider was installed twice");
        return ExitCode::FAILURE;
    }
    let runners = Runners {
        serve: Box::new(|config| Box::pin(serve(config))),
        demo: Box::new(|()| Box::pin(demo())),
        troubleshoot: Box::new(|(config, query)| {
            Box::pin(async move { app::alone::troubleshoot(&config, query).await })
        }),
    };
    cli::run(Cli::parse(), runners).await
}

async fn serve(config: Config) -> anyhow::Result<()> {
    telemetry::start(&config.log, Console::Json);
    let wanted = (config.http.host, config.http.port);
    let listener = TcpListener::bind(wanted).await.with_context(|| {
        format!(
            "cannot listen on {}:{} (API_HOST, API_PORT)",
            wanted.0, wanted.1
        )
    })?;
    let stop = asked_to_stop()?;
    app::run(config, false, listener, stop).await
}

async fn demo() -> anyhow::Result<()> {
    let environment: BTreeMap<String, String> = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect();
    let mut demo = Demo::start(&environment).await?;
    telemetry::start(&demo.config.log, Console::Plain);
    let listener = demo.listen().await?;
    eprintln!(
        "\n  nightbell demo: http://{}\n\n  A simulated estate; nothing real is watched or touched. The first job fails\n  within seconds: open the page, approve an action, watch it being verified.\n  Stop with Ctrl-C.\n",
        listener.local_addr()?
    );
    let stop = asked_to_stop()?;
    demo.run(listener, stop).await
}

/// Completes at SIGTERM or Ctrl-C.
fn asked_to_stop() -> anyhow::Result<Stop> {
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for Ctrl-C")?;
    Ok(Box::pin(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    }))
}
