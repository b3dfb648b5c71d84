//! Redis: callers known by the tokens that a Django backend keeps there.

pub mod pickle;
