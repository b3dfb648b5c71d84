//! The commands, one module each.

pub(crate) mod config;
pub(crate) mod db;
pub(crate) mod doctor;
pub(crate) mod fsck;
pub(crate) mod healthcheck;
pub(crate) mod import;
pub(crate) mod openapi;
pub(crate) mod serve;
pub(crate) mod token;
