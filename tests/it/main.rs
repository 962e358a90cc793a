//! Scenes from on-call. One binary, so that the whole tree is linked once.

#[path = "../support/mod.rs"]
mod support;

mod store_effect;
