//! What people read, apart from where they read it: a [`card::Card`] becomes Slack blocks, HTML or terminal text.

pub mod alert;
pub mod card;
pub mod picture;
pub mod slack;
pub mod terminal;
