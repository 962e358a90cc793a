//! Making API tokens.

use clap::Args;
use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use super::monitor::duration;
use super::{Exit, Failed, Global, print};
use crate::config::Config;
use crate::http::token::{Role, Tokens};

#[derive(Debug, Args)]
pub struct Token {
    /// Who it is for; named in the audit.
    #[arg(long = "for", value_name = "NAME")]
    subject: String,
    #[arg(long, value_enum, default_value_t = Role::Viewer)]
    role: Role,
    /// How long it is good for.
    #[arg(long, value_name = "DURATION", value_parser = duration, default_value = "12h")]
    valid: SignedDuration,
}

impl Token {
    pub(super) fn run(self, global: &Global) -> Result<Exit, Failed> {
        let config = Config::load(global.config.as_deref())?;
        let Some(secret) = &config.http.jwt_secret else {
            return Err(Failed::Usage(
                "JWT_SECRET is not set: without it no token is needed, and nightbell answers its own machine only".to_owned(),
            ));
        };
        if self.subject.trim().is_empty() {
            return Err(Failed::Usage("--for must name somebody".to_owned()));
        }
        let now = Timestamp::now();
        let token = Tokens::new(secret)
            .issue(&self.subject, self.role, self.valid.unsigned_abs(), now)
            .map_err(|error| Failed::Other(error.into()))?;
        if global.json {
            let expires = now.checked_add(self.valid).ok();
            print::value(
                &json!({ "token": token, "for": self.subject, "role": self.role, "expires": expires }),
            );
        } else {
            print::line(&token);
        }
        Ok(Exit::Done)
    }
}
