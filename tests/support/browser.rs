//! Headless Chromium, driven over the WebDriver protocol by its own driver.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use super::bot::{eventually, free_port};

/// A browser window. Dropping it ends the browser and its driver.
pub struct Browser {
    driver: Child,
    base: String,
    session: String,
    http: reqwest::Client,
    profile: tempfile::TempDir,
}

/// How WebDriver names an element in its answers.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

impl Browser {
    /// Opens a window of this size. A missing Chromium fails the test; `tests/run` installs it.
    pub async fn open(width: u32, height: u32) -> Self {
        let port = free_port();
        let driver = Command::new("chromedriver")
            .arg(format!("--port={port}"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("chromedriver is installed");
        let profile = tempfile::tempdir().expect("a temporary folder");
        let http = reqwest::Client::builder()
            .timeout(Duration::from_mins(1))
            .build()
            .expect("a client");
        let base = format!("http://127.0.0.1:{port}");
        let mut browser = Self {
            driver,
            base,
            session: String::new(),
            http,
            profile,
        };
        eventually("the browser's driver answers", || {
            let asked = browser.http.get(format!("{}/status", browser.base)).send();
            async move {
                asked
                    .await
                    .ok()
                    .filter(|answer| answer.status().is_success())
            }
        })
        .await;
        let options = json!({"binary": "/usr/bin/chromium", "args": [
            "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--hide-scrollbars",
            "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage",
            format!("--window-size={width},{height}"),
            format!("--user-data-dir={}", browser.profile.path().display()),
        ]});
        let wanted = json!({"capabilities": {"alwaysMatch": {"browserName": "chrome", "goog:chromeOptions": options}}});
        let opened = browser.call("", &wanted).await;
        opened["sessionId"]
            .as_str()
            .expect("a session")
            .clone_into(&mut browser.session);
        browser
    }

    async fn call(&self, command: &str, body: &Value) -> Value {
        let value = self.try_call(command, body).await;
        assert!(value["error"].is_null(), "{command}: {}", value["message"]);
        value
    }

    /// As [`Self::call`], with a failure as a value that has an `error`.
    async fn try_call(&self, command: &str, body: &Value) -> Value {
        let url = if self.session.is_empty() {
            format!("{}/session{command}", self.base)
        } else {
            format!("{}/session/{}{command}", self.base, self.session)
        };
        let answer = self
            .http
            .post(url)
            .json(body)
            .send()
            .await
            .expect("the driver answers");
        let answer: Value = answer.json().await.expect("the driver speaks JSON");
        answer["value"].clone()
    }

    pub async fn goto(&self, url: &str) {
        self.call("/url", &json!({ "url": url })).await;
    }

    /// Runs JavaScript in the page; `return` gives the answer.
    pub async fn run(&self, script: &str) -> Value {
        self.call("/execute/sync", &json!({"script": script, "args": []}))
            .await
    }

    /// The visible text of the page.
    pub async fn text(&self) -> String {
        self.run("return document.body.innerText")
            .await
            .as_str()
            .unwrap_or_default()
            .to_owned()
    }

    /// Waits for an element that an XPath names, scrolls to it and clicks it, as a person does. What the page replaced
    /// in between is looked for again.
    pub async fn click(&self, xpath: &str) {
        eventually(&format!("{xpath} can be clicked"), || async move {
            let found = self
                .call("/elements", &json!({"using": "xpath", "value": xpath}))
                .await;
            let element = found[0][ELEMENT].as_str()?;
            let clicked = self
                .try_call(&format!("/element/{element}/click"), &json!({}))
                .await;
            if clicked["error"] == "stale element reference" {
                return None;
            }
            assert!(
                clicked["error"].is_null(),
                "{xpath}: {}",
                clicked["message"]
            );
            Some(())
        })
        .await;
    }

    /// Saves what is seen as a PNG.
    pub async fn screenshot(&self, path: &Path) {
        let url = format!("{}/session/{}/screenshot", self.base, self.session);
        let answer: Value = self
            .http
            .get(url)
            .send()
            .await
            .expect("the driver answers")
            .json()
            .await
            .expect("JSON");
        let encoded = answer["value"].as_str().expect("a picture");
        std::fs::write(path, decode_base64(encoded)).expect("the folder exists");
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // The driver ends its browsers when it is asked to shut down; killed, it would leave them.
        let port = self.base.rsplit(':').next().unwrap_or_default().to_owned();
        if let Ok(mut socket) = std::net::TcpStream::connect(format!("127.0.0.1:{port}")) {
            use std::io::{Read, Write};
            let _ = write!(
                socket,
                "GET /shutdown HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"
            );
            let _ = socket.set_read_timeout(Some(Duration::from_secs(5)));
            let _ = socket.read(&mut [0; 64]);
        }
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}

fn decode_base64(text: &str) -> Vec<u8> {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut bits = 0_u32;
    let mut held = 0;
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
    for letter in text.bytes() {
        let Some(value) = ALPHABET.iter().position(|known| *known == letter) else {
            continue;
        };
        bits = (bits << 6) | u32::try_from(value).expect("below 64");
        held += 6;
        if held >= 8 {
            held -= 8;
            bytes.push(u8::try_from((bits >> held) & 0xff).expect("one byte"));
        }
    }
    bytes
}
