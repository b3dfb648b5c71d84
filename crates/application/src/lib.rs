//! Ports and use cases. A use case is a function over `App`, a plain struct of ports and limits.

pub mod ports;
#[cfg(feature = "testkit")]
pub mod testkit;
