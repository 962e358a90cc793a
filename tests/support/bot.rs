//! The real program as a process: started with variables, asked through its API, killed without warning.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

/// How long a test waits for what should happen within a second or two.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// A running nightbell with a folder of its own. Dropping it kills the process.
pub struct Bot {
    child: Option<Child>,
    port: u16,
    folder: tempfile::TempDir,
    variables: BTreeMap<String, String>,
    http: reqwest::Client,
}

impl Bot {
    /// Starts `nightbell serve` with nothing but these variables and waits until it is ready.
    pub async fn start(variables: &[(&str, &str)]) -> Self {
        let mut bot = Self::prepare(variables);
        bot.launch();
        bot.ready().await;
        bot
    }

    /// A bot that is not started yet.
    pub fn prepare(variables: &[(&str, &str)]) -> Self {
        install_crypto();
        let folder = tempfile::tempdir().expect("a temporary folder");
        let port = free_port();
        let database = format!("sqlite://{}", folder.path().join("nightbell.db").display());
        let mut all: BTreeMap<String, String> = [
            ("API_PORT", port.to_string()),
            ("DATABASE_URL", database),
            ("LOG_DIR", folder.path().join("logs").display().to_string()),
            ("KUBE_ENABLED", "false".to_owned()),
        ]
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect();
        for (name, value) in variables {
            all.insert((*name).to_owned(), (*value).to_owned());
        }
        let http = reqwest::Client::builder()
            .timeout(Duration::from_secs(10))
            .build()
            .expect("a client");
        Self {
            child: None,
            port,
            folder,
            variables: all,
            http,
        }
    }

    /// Settings of the YAML file, read at the next start.
    pub fn configure(&self, yaml: &str) {
        std::fs::write(self.folder().join("nightbell.yaml"), yaml).expect("the folder is ours");
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    /// Starts the process.
    pub fn launch(&mut self) {
        self.launch_as("serve");
    }

    /// Starts `nightbell demo`.
    pub fn launch_demo(&mut self) {
        self.launch_as("demo");
    }

    fn launch_as(&mut self, command: &str) {
        let log = std::fs::File::options()
            .create(true)
            .append(true)
            .open(self.folder().join("stderr.log"))
            .expect("the folder is ours");
        let child = Command::new(program())
            .arg(command)
            .current_dir(self.folder())
            .env_clear()
            .envs(&self.variables)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("the program was built");
        self.child = Some(child);
    }

    /// Waits until it says that it is ready.
    pub async fn ready(&mut self) {
        let began = Instant::now();
        loop {
            if let Ok(answer) = self.http.get(self.url("/health/ready")).send().await
                && answer.status().is_success()
            {
                return;
            }
            if let Some(child) = &mut self.child
                && let Ok(Some(status)) = child.try_wait()
            {
                panic!("nightbell ended with {status}:\n{}", self.log());
            }
            assert!(
                began.elapsed() < PATIENCE,
                "nightbell is not ready:\n{}",
                self.log()
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// `kill -9`.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().ok();
            child.wait().ok();
        }
    }

    /// `kill -9`, and a start with the same database.
    pub async fn restart(&mut self) {
        self.kill();
        self.launch();
        self.ready().await;
    }

    /// What it logged to standard error so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder().join("stderr.log")).unwrap_or_default()
    }

    pub async fn get(&self, path: &str) -> Value {
        let answer = self
            .http
            .get(self.url(path))
            .send()
            .await
            .expect("the bot answers");
        let status = answer.status();
        let body = answer.text().await.expect("a body");
        assert!(status.is_success(), "GET {path}: {status} {body}");
        serde_json::from_str(&body).unwrap_or(Value::String(body))
    }

    pub async fn post(&self, path: &str, body: Value) -> (u16, Value) {
        let answer = self
            .http
            .post(self.url(path))
            .json(&body)
            .send()
            .await
            .expect("the bot answers");
        let status = answer.status().as_u16();
        let body = answer.text().await.expect("a body");
        (
            status,
            serde_json::from_str(&body).unwrap_or(Value::String(body)),
        )
    }

    /// As [`Self::command`], with something typed into it.
    pub fn typed(&self, arguments: &[&str], input: &str) -> (i32, String, String) {
        let mut child = Command::new(program())
            .args(arguments)
            .current_dir(self.folder())
            .env_clear()
            .envs(&self.variables)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program was built");
        let mut stdin = child.stdin.take().expect("it is piped");
        // Short enough for the pipe to hold it all. What ended early does not read it.
        stdin.write_all(input.as_bytes()).ok();
        drop(stdin);
        let output = child.wait_with_output().expect("it ends");
        (
            output.status.code().unwrap_or(-1),
            String::from_utf8_lossy(&output.stdout).into_owned(),
            String::from_utf8_lossy(&output.stderr).into_owned(),
        )
    }

    /// Runs another command of the program in the bot's folder; returns its exit code, output and errors.
    pub fn command(&self, arguments: &[&str]) -> (i32, String, String) {
        run(arguments, self.folder(), &self.variables)
    }
}

impl Drop for Bot {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Runs the program with nothing but these variables; returns its exit code, output and errors.
pub fn run(
    arguments: &[&str],
    folder: &Path,
    variables: &BTreeMap<String, String>,
) -> (i32, String, String) {
    let output = Command::new(program())
        .args(arguments)
        .current_dir(folder)
        .env_clear()
        .envs(variables)
        .stdin(Stdio::null())
        .output()
        .expect("the program was built");
    (
        output.status.code().unwrap_or(-1),
        String::from_utf8_lossy(&output.stdout).into_owned(),
        String::from_utf8_lossy(&output.stderr).into_owned(),
    )
}

/// Waits until `look` finds what it looks for; `what` names it in the failure.
pub async fn eventually<T, F, Fut>(what: &str, mut look: F) -> T
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Option<T>>,
{
    let began = Instant::now();
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(began.elapsed() < PATIENCE, "it never happened: {what}");
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
}

fn program() -> PathBuf {
    PathBuf::from(env!("CARGO_BIN_EXE_nightbell"))
}

/// A port that was free a moment ago.
pub fn free_port() -> u16 {
    TcpListener::bind(("127.0.0.1", 0))
        .and_then(|socket| socket.local_addr())
        .expect("a free port")
        .port()
}

/// The TLS provider that the program installs at its start; tests make clients too.
pub fn install_crypto() {
    // Another test of this process may have been first.
    let _ = rustls::crypto::ring::default_provider().install_default();
}
