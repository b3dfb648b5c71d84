//! Ports and use cases. A use case is a function over `App`, a plain struct of ports and limits.

pub mod cache;
pub mod ports;
#[cfg(any(test, feature = "testkit"))]
pub mod testkit;
