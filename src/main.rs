use nightbell::app::{self, demo::Demo};
#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let arg = std::env::args().nth(1).unwrap_or_default();
    let stop = async { tokio::signal::ctrl_c().await.ok(); };
    if arg == "demo" {
        let env = std::env::vars().collect();
        let mut demo = Demo::start(&env).await?;
        nightbell::telemetry::start(&demo.config.log, nightbell::telemetry::Console::Plain);
        let listener = demo.listen().await?;
        eprintln!("http://{}", listener.local_addr()?);
        demo.run(listener, stop).await
    } else {
        let config = nightbell::config::Config::load(None)?;
        nightbell::telemetry::start(&config.log, nightbell::telemetry::Console::Json);
        let l = tokio::net::TcpListener::bind((config.http.host, config.http.port)).await?;
        app::run(config, false, l, stop).await
    }
}
