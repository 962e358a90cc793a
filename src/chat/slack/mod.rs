//! Slack, both ways: [`client`] calls it, [`http`] and [`socket`] hear it, [`deliver`] answers what was heard.
//!
//! What Slack sends is verified, recorded in the inbox and acknowledged at once; the work comes after, from the
//! record. Only this room knows Slack's protocol.

pub mod blocks;
pub mod client;
mod decode;
pub mod deliver;
mod door;
pub mod error;
mod files;
pub mod http;
pub mod inbox;
mod mrkdwn;
pub mod parts;
pub mod people;
mod signature;
pub mod socket;

pub use client::{Settings, SlackClient};
pub use error::SlackError;
pub use inbox::Inbox;
pub use people::People;
