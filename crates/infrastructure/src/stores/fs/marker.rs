//! The marker file that says which store a folder is.

use std::io;

use cloakroom_application::ports::StoreError;
use cloakroom_domain::StoreId;
use rustix::{
    fs::{AtFlags, Mode, OFlags},
    io::Errno,
};
use uuid::Uuid;

use super::root::{Root, trouble};

pub(super) const MARKER: &str = ".cloakroom-store";
const MODE: Mode = Mode::from_raw_mode(0o640);

/// The id in the marker, `None` if there is no marker. Blocks.
pub(super) fn read(root: &Root) -> Result<Option<StoreId>, StoreError> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let file = match rustix::fs::openat(&root.fd, MARKER, flags, Mode::empty()) {
        Err(Errno::NOENT) => return Ok(None),
        other => other.map_err(|error| trouble(error.into()))?,
    };
    // A UUID and the end of its line, and a byte that must not come.
    let mut text = [0; 38];
    let mut len = 0;
    while len < text.len() {
        match rustix::io::read(&file, &mut text[len..]) {
            Ok(0) => break,
            Ok(read) => len += read,
            Err(Errno::INTR) => {}
            Err(error) => return Err(trouble(error.into())),
        }
    }
    let id = std::str::from_utf8(&text[..len])
        .ok()
        .and_then(|text| StoreId::parse(text.trim_end()).ok());
    id.map(Some)
        .ok_or_else(|| StoreError::Broken("the marker of the folder names no store".into()))
}

/// Marks the folder unless it is marked, and tells the id that it then has. Blocks.
///
/// The marker appears whole or not at all, also when two do this at once or one dies over it.
pub(super) fn write(root: &Root, id: StoreId) -> Result<StoreId, StoreError> {
    if let Some(marked) = read(root)? {
        return Ok(marked);
    }
    let draft = format!("{MARKER}.{}", Uuid::new_v4());
    let linked = draft_and_link(root, &draft, &format!("{id}\n"));
    let removed = root.remove(&draft);
    match linked {
        Ok(()) => {
            removed.map_err(trouble)?;
            Ok(id)
        }
        Err(error) if Errno::from_io_error(&error) == Some(Errno::EXIST) => {
            read(root)?.ok_or_else(|| StoreError::Unavailable(error.into()))
        }
        Err(error) => Err(trouble(error)),
    }
}

/// Removes the marker if it has that id. Blocks.
pub(super) fn remove(root: &Root, id: StoreId) -> Result<(), StoreError> {
    if read(root)? == Some(id) {
        root.remove(MARKER).map_err(trouble)?;
        root.flush_folder(".").map_err(trouble)?;
    }
    Ok(())
}

fn draft_and_link(root: &Root, draft: &str, text: &str) -> io::Result<()> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    let file = rustix::fs::openat(&root.fd, draft, flags, MODE)?;
    let mut left = text.as_bytes();
    while !left.is_empty() {
        left = &left[rustix::io::write(&file, left)?..];
    }
    rustix::fs::fsync(&file)?;
    rustix::fs::linkat(&root.fd, draft, &root.fd, MARKER, AtFlags::empty())?;
    root.flush_folder(".")
}
