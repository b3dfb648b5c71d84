//! Places that OpenDAL speaks to, as places of files and folders.

mod files;
mod transport;

pub use self::places::{Account, Azblob, Gcs};
pub(super) use self::places::{azblob, dropbox, gcs, gdrive, onedrive};

mod places;
