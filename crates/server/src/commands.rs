//! The commands, one module each.

pub(crate) mod bucket;
pub(crate) mod config;
pub(crate) mod db;
pub(crate) mod doctor;
pub(crate) mod encryption;
pub(crate) mod fsck;
pub(crate) mod healthcheck;
pub(crate) mod import;
pub(crate) mod openapi;
pub(crate) mod scrub;
pub(crate) mod serve;
pub(crate) mod storage;
pub(crate) mod token;
