//! The contract of the metadata ports, and an in-memory database.

pub mod contract;
mod memory;
mod memory_buckets;
mod memory_claims;
mod memory_files;
mod memory_import;
mod memory_ledger;
mod memory_links;
mod memory_migrations;
mod memory_scrub;
mod memory_seals;
mod memory_upload_rows;
mod memory_uploads;

pub use memory::MemoryDatabase;

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::Duration};

    use async_trait::async_trait;

    use super::{
        MemoryDatabase,
        contract::{
            Fixture, objects::ObjectsFixture, scrubbing::ScrubFixture, sharing::SharingFixture,
        },
    };
    use crate::ports::{
        BucketRepository, ClaimRepository, FileImport, FileRepository, LinkRepository,
        MigrationRepository, ReconcileRepository, ScrubRepository, SealLedger, SecretRepository,
        StoreRegistry, TokenRepository, UploadRepository, VersionLedger,
    };

    struct InMemory(Arc<MemoryDatabase>);

    #[async_trait]
    impl Fixture for InMemory {
        fn files(&self) -> Arc<dyn FileRepository> {
            self.0.clone()
        }

        fn ledger(&self) -> Arc<dyn VersionLedger> {
            self.0.clone()
        }

        fn uploads(&self) -> Arc<dyn UploadRepository> {
            self.0.clone()
        }

        fn tokens(&self) -> Arc<dyn TokenRepository> {
            self.0.clone()
        }

        fn imports(&self) -> Arc<dyn FileImport> {
            self.0.clone()
        }

        fn stores(&self) -> Arc<dyn StoreRegistry> {
            self.0.clone()
        }

        fn migrations(&self) -> Arc<dyn MigrationRepository> {
            self.0.clone()
        }

        fn seals(&self) -> Arc<dyn SealLedger> {
            self.0.clone()
        }

        async fn pass(&self, time: Duration) {
            self.0.pass(time);
        }
    }

    #[async_trait]
    impl SharingFixture for InMemory {
        fn links(&self) -> Arc<dyn LinkRepository> {
            self.0.clone()
        }

        fn secrets(&self) -> Arc<dyn SecretRepository> {
            self.0.clone()
        }

        fn claims(&self) -> Arc<dyn ClaimRepository> {
            self.0.clone()
        }

        fn runs(&self) -> Arc<dyn ReconcileRepository> {
            self.0.clone()
        }

        async fn elapse(&self, time: Duration) {
            self.0.pass(time);
        }
    }

    #[async_trait]
    impl ScrubFixture for InMemory {
        fn scrub(&self) -> Arc<dyn ScrubRepository> {
            self.0.clone()
        }

        async fn idle(&self, time: Duration) {
            self.0.pass(time);
        }
    }

    #[async_trait]
    impl ObjectsFixture for InMemory {
        fn buckets(&self) -> Arc<dyn BucketRepository> {
            self.0.clone()
        }
    }

    async fn in_memory() -> InMemory {
        InMemory(Arc::new(MemoryDatabase::new()))
    }

    crate::metadata_contract!(in_memory);
    crate::sharing_contract!(in_memory);
    crate::scrub_contract!(in_memory);
    crate::objects_contract!(in_memory);
}
