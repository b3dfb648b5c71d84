//! Ports and use cases. A use case is a function over [`App`], a plain struct of ports and limits.

mod access;
mod app;
pub mod authenticators;
mod backend_config;
pub mod cache;
mod checked;
mod claims;
mod download;
mod error;
mod explain;
mod files;
mod fsck;
mod hashes;
mod health;
pub mod hot;
mod import;
mod links;
mod metrics;
mod migration;
mod objects;
mod pace;
mod page;
mod permissions;
pub mod ports;
pub mod rates;
mod reconcile;
mod reseal;
mod scrub;
mod stores;
mod sweep;
#[cfg(any(test, feature = "testkit"))]
pub mod testkit;
mod turns;
mod upload;
pub mod uploads;
mod versions;

pub use access::{
    Authorized, Caller, authorize, authorize_any_state, authorize_bucket, authorize_object,
    identify,
};
pub use app::{App, Background, Limits};
pub use backend_config::{BackendConfig, backend_config, change_backend_config, probe_backend};
pub use claims::{Claims, claim, is_application};
pub use download::{Delivery, Selected, current, hand_over, open, select};
pub use error::{Error, StoreOperation, with_causes};
pub use explain::{Explanation, HookExplained, Rule, Says, Step, explain};
pub use files::{
    Change, FilePage, ListRequest, check_current, list, purge, restore, trash, update,
};
pub use fsck::{Finding, FsckEvent, FsckOptions, FsckSummary, fsck};
pub use health::{Health, health};
pub use import::{ImportEvent, ImportSummary, ImportTarget, NotTaken, import};
pub use links::{
    LinkKey, LinkPage, LinkRequest, Links, NewlyMade, Opened, Pass, ShortKey, list_links,
    make_link, open_link, revoke_link,
};
pub use metrics::metrics;
pub use migration::{
    MigrationRequest, MigrationStatus, cancel_migration, migrate, migration_status, move_bodies,
    preview,
};
pub use objects::{
    BucketPage, ObjectPage, ObjectsRequest, Slot, bucket, check_type, list_buckets, list_objects,
    remove_bucket, remove_object, set_bucket, size_limit,
};
pub use pace::Pace;
pub use permissions::{
    Circuit, LastAsked, PermissionOptions, Permissions, Said, may_revoke, revoke,
};
pub use rates::{Attempt, Rates, Recognised, recognise};
pub use reconcile::{Leftovers, RECONCILE_PAGE, ReconcileStep, Reconciled, reconcile};
pub use reseal::{ResealProgress, ResealSummary, reseal};
pub use scrub::{ScrubEvent, ScrubFault, ScrubReport, Scrubbed, Scrubbing, scrub, scrub_report};
pub use stores::Stores;
pub use sweep::{SweepReport, sweep};
pub use turns::{Holding, Turns};
pub use upload::{Destination, Idempotency, NewUpload, Started, Upload, begin};
pub use versions::{VersionPage, delete_version, restore_version, versions};
