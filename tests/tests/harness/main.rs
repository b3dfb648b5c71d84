//! The harness itself: servers that freeze and come back, a proxy that fails on demand.

#![cfg(test)]

mod browser;
mod django;
mod nginx;
mod proxy;
mod servers;
mod service;
