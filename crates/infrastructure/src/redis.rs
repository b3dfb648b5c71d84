//! Redis: callers known by the tokens that a Django backend keeps there.

mod claims;
mod connection;
mod flights;
mod keys;
pub mod pickle;
mod tokens;
mod tracking;

pub use self::{
    connection::{Failure, Redis, Session},
    tokens::{RedisTokens, TokenSettings},
    tracking::{Listener, News},
};
