//! What requests need besides the database and the stores.

use async_trait::async_trait;

use super::Source;

/// Something outside that is asked for its health.
#[async_trait]
pub trait Dependency: Send + Sync {
    /// What it is called where its health is told.
    fn name(&self) -> &'static str;

    /// Whether it answers now.
    async fn ping(&self) -> Result<(), Source>;
}
