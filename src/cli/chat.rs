//! `chat`: the conversation of Slack in a terminal. Buttons are pressed by their number.

use tokio::io::{AsyncBufReadExt, BufReader, Lines, Stdin};

use super::client::Client;
use super::{Exit, Failed, Global, print};
use crate::chat::card::{Block, Button, Card, Verb};
use crate::desk::Command;
use crate::redact;

/// Earlier sentences that come along as context.
const CONTEXT: usize = 10;

pub(super) async fn run(global: &Global) -> Result<Exit, Failed> {
    let client = Client::of(global)?;
    // Says at once when there is nobody to talk to.
    let greeting = client.execute(&Command::Help { topic: None }).await?;
    print::card(&greeting.card);
    print::line("A number presses a button; `quit` ends.");
    let mut talk = Talk {
        client,
        lines: BufReader::new(tokio::io::stdin()).lines(),
        context: Vec::new(),
        buttons: Vec::new(),
    };
    while let Some(text) = talk.ask("> ").await {
        match text.as_str() {
            "" => {}
            "quit" | "exit" => break,
            _ => {
                if let Err(error) = talk.hear(text).await {
                    print::note(&format!("nightbell: {error}"));
                }
            }
        }
    }
    Ok(Exit::Done)
}

struct Talk {
    client: Client,
    lines: Lines<BufReader<Stdin>>,
    context: Vec<String>,
    /// Those under the last card.
    buttons: Vec<Button>,
}

impl Talk {
    /// Asks for a line. `None` at the end of the input.
    async fn ask(&mut self, prompt: &str) -> Option<String> {
        print::out(prompt);
        let line = self.lines.next_line().await.ok().flatten()?;
        Some(line.trim().to_owned())
    }

    async fn hear(&mut self, text: String) -> Result<(), Failed> {
        let pressed = text
            .parse::<usize>()
            .ok()
            .and_then(|number| self.buttons.get(number.checked_sub(1)?).cloned());
        let command = match pressed {
            Some(button) => match self.press(button).await {
                Some(command) => command,
                None => return Ok(()),
            },
            None => Command::Say {
                text: text.clone(),
                context: self.context.clone(),
            },
        };
        let is_sentence = matches!(command, Command::Say { .. });
        let answer = self.client.execute(&command).await?;
        if is_sentence {
            self.context.push(text);
            let skip = self.context.len().saturating_sub(CONTEXT);
            self.context.drain(..skip);
        }
        self.show(&answer.card);
        Ok(())
    }

    /// The command of a button, once the person is sure and has given the reason it wants.
    async fn press(&mut self, button: Button) -> Option<Command> {
        if let Some(question) = &button.confirm {
            let sure = self
                .ask(&format!("{} [y/N] ", redact::clean(question)))
                .await?;
            if !matches!(sure.as_str(), "y" | "Y" | "yes") {
                print::line("Not pressed.");
                return None;
            }
        }
        let reason = match button.press.verb {
            Verb::Deny => Some(self.ask("Why not? ").await?).filter(|reason| !reason.is_empty()),
            _ => None,
        };
        Some(Command::Press {
            verb: button.press.verb,
            id: button.press.id,
            reason,
        })
    }

    fn show(&mut self, card: &Card) {
        self.buttons.clear();
        let mut numbered = card.clone();
        for block in &mut numbered.blocks {
            if let Block::Buttons { buttons } = block {
                for button in buttons {
                    self.buttons.push(button.clone());
                    button.label = format!("{} {}", self.buttons.len(), button.label);
                }
            }
        }
        print::card(&numbered);
    }
}
