//! Writing an object: a file that nobody sees until it is whole.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use cloakroom_application::ports::{ObjectWriter, StoreError};
use tokio::task::spawn_blocking;

use super::{
    batches::{Batches, Output, patience},
    layout::Address,
    root::{Root, settled},
    temp::Temp,
};
use crate::stores::budget::Pool;

/// A writer to a file that comes into being with the first batch.
pub(super) struct FsWriter(Batches<Temp>);

impl FsWriter {
    pub(super) fn new(root: Arc<Root>, address: Address, budget: Pool) -> Self {
        let address = Arc::new(address);
        let opener = {
            let root = Arc::clone(&root);
            || Temp::create(root, address)
        };
        Self(Batches::new(root, budget, opener))
    }
}

#[async_trait]
impl ObjectWriter for FsWriter {
    async fn write(&mut self, data: Bytes) -> Result<(), StoreError> {
        self.0.push(data).await
    }

    async fn finish(mut self: Box<Self>) -> Result<(), StoreError> {
        self.0.drain(Temp::publish).await
    }

    async fn abort(mut self: Box<Self>) -> Result<(), StoreError> {
        let temp = match self.0.settle().await {
            Ok(Output::Open(temp)) => temp,
            Err(unknown @ StoreError::Unavailable(_)) => return Err(unknown),
            // There was no file yet, or the failure has removed it.
            Ok(Output::Unopened(_)) | Err(_) => return Ok(()),
        };
        let mut work = spawn_blocking(move || temp.discard());
        settled(patience(0), &mut work).await
    }
}
