//! The harness itself: servers that freeze and come back, a proxy that fails on demand.

mod browser;
mod proxy;
mod servers;
