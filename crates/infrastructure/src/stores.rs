//! Object stores: a folder, S3, WebDAV, SFTP.

mod budget;
pub mod drivers;
pub mod fs;
pub mod guard;
mod hauls;
pub mod opendal;
mod remote;
pub mod s3;
mod secret;
pub mod sftp;
pub mod webdav;

pub use budget::{ReadBudget, WriteBudget};
pub use remote::RemoteStore;
pub use secret::Secret;
