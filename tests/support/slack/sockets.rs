//! Socket Mode as Slack serves it: a hello, envelopes, acknowledgements, and goodbyes.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_tungstenite::accept_async;
use tokio_tungstenite::tungstenite::Message;

use super::FakeSlack;

pub(crate) async fn accept(slack: FakeSlack, listener: TcpListener) {
    while let Ok((stream, _)) = listener.accept().await {
        tokio::spawn(serve(slack.clone(), stream));
    }
}

async fn serve(slack: FakeSlack, stream: TcpStream) {
    let Ok(socket) = accept_async(stream).await else {
        return;
    };
    let (mut sink, mut frames) = socket.split();
    let (sender, mut outgoing) = mpsc::unbounded_channel::<String>();
    let hello = json!({"type": "hello", "num_connections": 1, "connection_info": {"app_id": "A1"}, "debug_info": {}});
    if sink.send(Message::text(hello.to_string())).await.is_err() {
        return;
    }
    {
        let mut state = slack.state();
        state.sockets_opened += 1;
        state.sockets.push(sender);
    }
    loop {
        tokio::select! {
            text = outgoing.recv() => match text.as_deref() {
                // An empty text stands for Slack closing the socket.
                None | Some("") => {
                    let _ = sink.close().await;
                    return;
                }
                Some(text) => if sink.send(Message::text(text.to_owned())).await.is_err() { return },
            },
            frame = frames.next() => match frame {
                Some(Ok(Message::Text(text))) => {
                    let ack: Value = serde_json::from_str(text.as_str()).expect("an acknowledgement is JSON");
                    let id = ack["envelope_id"].as_str().expect("an envelope id").to_owned();
                    slack.state().acknowledged.insert(id);
                }
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return,
            },
        }
    }
}

impl FakeSlack {
    /// The address that `apps.connections.open` gives.
    pub(crate) fn socket_url(&self) -> String {
        format!("ws://{}/link/?ticket=secret", self.socket_address)
    }

    /// Sends an envelope over the newest open socket. Whether it was acknowledged within three seconds.
    pub async fn send_envelope(&self, kind: &str, payload: &Value) -> bool {
        let id = {
            let mut state = self.state();
            let id = format!("envelope-{}", state.next());
            let envelope = json!({"envelope_id": id, "type": kind, "payload": payload, "accepts_response_payload": false});
            state.sockets.retain(|socket| !socket.is_closed());
            let Some(socket) = state.sockets.last() else {
                return false;
            };
            socket
                .send(envelope.to_string())
                .expect("the socket was open just now");
            id
        };
        for _ in 0..300 {
            if self.state().acknowledged.contains(&id) {
                return true;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        false
    }

    /// Says goodbye on every open socket.
    pub fn disconnect(&self, reason: &str) {
        let goodbye = json!({"type": "disconnect", "reason": reason, "debug_info": {}}).to_string();
        for socket in &self.state().sockets {
            let _ = socket.send(goodbye.clone());
        }
    }

    /// Closes every socket without a word.
    pub fn drop_sockets(&self) {
        for socket in self.state().sockets.drain(..) {
            let _ = socket.send(String::new());
        }
    }

    pub async fn wait_for_sockets(&self, opened: usize) {
        self.wait_until(|state| state.sockets_opened >= opened)
            .await;
    }
}
