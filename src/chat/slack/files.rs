//! Files in threads, in the three steps that Slack wants: ask where to put it, put it there, share it.

use serde::Deserialize;
use serde_json::{Value, json};
use slack_morphism::{SlackClientApiCallContext, SlackClientHttpConnector};
use url::Url;

use super::client::{Result, SLACK_API, SlackClient};
use super::error::SlackError;

/// Where Slack takes the bytes of files.
const FILE_HOSTS: [&str; 2] = ["files.slack.com", "files.slack-gov.com"];

/// A file that was put into Slack and that nobody sees yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Uploaded {
    id: String,
}

impl SlackClient {
    /// Puts a file into Slack; [`Self::share_file`] shows it. Needs the scope `files:write`. Repeating it leaves the
    /// earlier copy unseen.
    pub async fn upload(&self, name: &str, alt: &str, bytes: Vec<u8>) -> Result<Uploaded> {
        #[derive(Deserialize)]
        struct Place {
            upload_url: String,
            file_id: String,
        }
        let length = bytes.len().to_string();
        let place: Place = self
            .query(
                "files.getUploadURLExternal",
                &[
                    ("filename", Some(name)),
                    ("length", Some(&length)),
                    ("alt_txt", Some(alt)),
                ],
            )
            .await?;
        let url = self.file_url(&place.upload_url)?;
        let span = tracing::Span::none();
        let context = SlackClientApiCallContext {
            rate_control_params: None,
            token: None,
            tracing_span: &span,
            is_sensitive_url: true,
        };
        // Whoever has the address may put bytes there: our token is not sent along.
        let put = self.inner.connector.http_post_uri_binary::<Value>(
            url,
            "application/octet-stream".to_owned(),
            &bytes,
            context,
        );
        self.in_time(put).await?;
        Ok(Uploaded { id: place.file_id })
    }

    /// Shows an uploaded file in a thread. Slack does not say which message that makes.
    pub async fn share_file(
        &self,
        file: &Uploaded,
        title: &str,
        channel: &str,
        thread_ts: &str,
    ) -> Result<()> {
        let share = json!({
            "files": [{"id": file.id, "title": title}],
            "channel_id": channel,
            "thread_ts": thread_ts,
        });
        self.call::<Value>("files.completeUploadExternal", &share)
            .await
            .map(drop)
    }

    /// The address comes with an answer: only Slack's hosts over HTTPS, or the very host that the operator configured.
    fn file_url(&self, text: &str) -> Result<Url> {
        let refused = SlackError::NotCallable {
            reason: "the address for the file is not one of Slack's",
        };
        let Ok(url) = Url::parse(text) else {
            return Err(refused);
        };
        let host = url.host_str().unwrap_or_default();
        let is_slacks =
            url.scheme() == "https" && FILE_HOSTS.contains(&host) && url.port().is_none();
        let api = &self.inner.api;
        let is_configured = api.as_str() != SLACK_API
            && api.host_str() == url.host_str()
            && (url.scheme() == "https" || api.scheme() == "http");
        if is_slacks || is_configured {
            Ok(url)
        } else {
            Err(refused)
        }
    }
}
