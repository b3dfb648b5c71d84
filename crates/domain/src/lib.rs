//! What a file, a principal, a range and a key are. Pure rules: no I/O, no async, no wire formats.

mod blob;
mod digest;
mod file;
mod id;
mod link;
mod media;
mod name;
mod object;
mod principal;
mod range;
mod seal;
mod time;
mod upload;
mod validator;

pub use blob::{Bucket, BucketRule, InvalidKey, Location, ObjectKey};
pub use digest::Sha256Digest;
pub use file::{File, Metadata, MetadataError, Version, Visibility};
pub use id::{
    AccountId, FileId, InvalidId, LinkId, MigrationId, ReconcileId, StoreId, TokenId, UserId,
    VersionId,
};
pub use link::{Disposition, Link, LinkUses, MAX_LINK_USES};
pub use media::{ContentType, SNIFF_LEN};
pub use name::{FileName, MAX_NAME_BYTES};
pub use object::{
    BucketGrant, BucketKey, BucketName, BucketPolicy, BucketRight, InvalidBucketKey,
    InvalidBucketName, InvalidPolicy, ObjectBucket, TypeRule,
};
pub use principal::{Action, Owner, Principal, PrincipalKind, TokenHash};
pub use range::{ByteRange, MAX_RANGES, RangeOutcome};
pub use seal::{
    KeyId, SEALED_FORM, SEGMENT, SEGMENT_EXTRA, STORED_SEGMENT, Seal, SealedRange, opened_size,
    sealed_size, segments,
};
pub use time::Timestamp;
pub use upload::{AppendError, LengthError, UploadKind, UploadProgress, UploadState};
pub use validator::{EntityTag, EntityTags, IfRange, Preconditions, Validators, Verdict};
