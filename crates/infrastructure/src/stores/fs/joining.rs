//! Making an object of its parts. Every function blocks.
//!
//! Whatever is made on the way lies in the folder of the parts, and that folder is the first to go when a key is
//! deleted: what is not in its place by then never gets there.

use std::io;

use cloakroom_application::ports::{StoreError, StoredPart};
use rustix::{
    fd::OwnedFd,
    fs::{AtFlags, OFlags},
    io::Errno,
};
use uuid::Uuid;

use super::{
    failpoint::Step,
    layout::Address,
    listing,
    parts::{Hold, hold, open, path_of, size_of, too_short},
    root::{Root, trouble, write_trouble},
};

/// What the name of a file begins with that parts are copied to.
const COPY: &str = "copy-";

/// The most that is copied at once, in bytes: by the kernel, and through memory where it cannot.
const KERNEL_STEP: usize = 64 * 1024 * 1024;
const MEMORY_STEP: usize = 256 * 1024;

/// How often a folder is emptied that is being filled.
const TRIES: u32 = 10;

/// Makes the object of these parts, and removes all that is unfinished of it.
pub(super) fn join(root: &Root, address: &Address, parts: &[StoredPart]) -> Result<(), StoreError> {
    let size = parts.iter().map(|part| part.size).sum();
    if !is_made(root, address, size)? {
        make(root, address, parts).or_else(|error| match is_made(root, address, size) {
            Ok(true) => Ok(()),
            Ok(false) | Err(_) => Err(error),
        })?;
    }
    if let Err(left) = clear(root, &address.parts) {
        tracing::warn!(error = %left, "parts of an object could not be removed; reaping will try again");
    }
    Ok(())
}

/// Whether the object is there in that size; if it is, its name is on disk.
fn is_made(root: &Root, address: &Address, size: u64) -> Result<bool, StoreError> {
    match listing::meta(root, &address.path) {
        Ok(meta) if meta.size == size => {
            // Whoever gave it its name may have died over flushing that.
            root.flush_folder(&address.folder).map_err(write_trouble)?;
            Ok(true)
        }
        Ok(_) => Err(StoreError::Refused("another object is there".into())),
        Err(StoreError::NotFound) => Ok(false),
        Err(error) => Err(error),
    }
}

fn make(root: &Root, address: &Address, parts: &[StoredPart]) -> Result<(), StoreError> {
    root.prepare(address).map_err(write_trouble)?;
    if let [only] = parts
        && let Some(file) = take(root, address, only)?
    {
        // Nobody can write to the file while it is open here.
        let (path, _file) = (path_of(address, only.number), file);
        root.publish(&path, &address.path).map_err(write_trouble)?;
        return root.flush_folder(&address.folder).map_err(|error| {
            // Whether the name is on disk is unknown, and must not stay so.
            match rustix::fs::renameat(&root.fd, &address.path, &root.fd, &path) {
                Ok(()) => write_trouble(error),
                Err(_) => StoreError::Unavailable(error.into()),
            }
        });
    }
    remove_copies(root, address).map_err(write_trouble)?;
    let path = format!("{}/{COPY}{}", address.parts, Uuid::new_v4());
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL;
    let file = open(root, &path, flags).map_err(write_trouble)?;
    let copied = copy_parts(root, address, parts, &file).and_then(|()| {
        let flushed = root.flush_file(&file);
        let named = flushed.and_then(|()| root.publish(&path, &address.path));
        named.map_err(write_trouble)
    });
    if let Err(error) = copied {
        root.remove(&path).ok();
        return Err(error);
    }
    root.flush_folder(&address.folder)
        .map_err(|error| match root.remove(&address.path) {
            Ok(_) => write_trouble(error),
            Err(_) => StoreError::Unavailable(error.into()),
        })
}

/// The file of a part that may become the object, durable and of just that size; `None` if somebody may be writing to it.
fn take(root: &Root, address: &Address, part: &StoredPart) -> Result<Option<OwnedFd>, StoreError> {
    let path = path_of(address, part.number);
    let file = open(root, &path, OFlags::RDWR).map_err(write_trouble)?;
    if hold(root, &file, &path).map_err(write_trouble)? != Hold::Ours {
        return Ok(None);
    }
    let size = size_of(&file).map_err(write_trouble)?;
    if size < part.size {
        return Err(too_short());
    }
    if size > part.size {
        rustix::fs::ftruncate(&file, part.size).map_err(|error| write_trouble(error.into()))?;
    }
    root.flush_file(&file).map_err(write_trouble)?;
    Ok(Some(file))
}

fn copy_parts(
    root: &Root,
    address: &Address,
    parts: &[StoredPart],
    to: &OwnedFd,
) -> Result<(), StoreError> {
    for part in parts {
        let path = path_of(address, part.number);
        let from = open(root, &path, OFlags::RDONLY).map_err(write_trouble)?;
        if size_of(&from).map_err(write_trouble)? < part.size {
            return Err(too_short());
        }
        root.failpoints.meet(Step::Write).map_err(write_trouble)?;
        copy(&from, to, part.size).map_err(write_trouble)?;
    }
    Ok(())
}

/// Copies the first bytes of a file to the end of another, in the kernel where that can.
fn copy(from: &OwnedFd, to: &OwnedFd, size: u64) -> io::Result<()> {
    let mut at = 0;
    let mut buffer = Vec::new();
    while at < size {
        let left = usize::try_from(size - at).unwrap_or(usize::MAX);
        if buffer.is_empty() {
            let mut offset = at;
            let step = left.min(KERNEL_STEP);
            match rustix::fs::copy_file_range(from, Some(&mut offset), to, None, step) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(copied) => at += copied as u64,
                Err(Errno::INTR) => {}
                // Old kernels and some file systems do not have it, or not for these files.
                Err(
                    Errno::NOSYS
                    | Errno::XDEV
                    | Errno::INVAL
                    | Errno::OPNOTSUPP
                    | Errno::PERM
                    | Errno::BADF,
                ) => buffer = vec![0; MEMORY_STEP],
                Err(error) => return Err(error.into()),
            }
            continue;
        }
        let step = left.min(buffer.len());
        let read = match rustix::io::pread(from, &mut buffer[..step], at) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(read) => read,
            Err(Errno::INTR) => continue,
            Err(error) => return Err(error.into()),
        };
        let mut chunk = &buffer[..read];
        while !chunk.is_empty() {
            match rustix::io::write(to, chunk) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => chunk = &chunk[written..],
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        at += read as u64;
    }
    Ok(())
}

/// Removes what joins that did not get to their end have left; one that is under way then fails.
fn remove_copies(root: &Root, address: &Address) -> io::Result<()> {
    let mut copies = Vec::new();
    listing::entries(root, &address.parts, |name| {
        if name.starts_with(COPY) {
            copies.push(format!("{}/{name}", address.parts));
        }
    })?;
    for copy in copies {
        root.remove(&copy)?;
    }
    Ok(())
}

/// Removes a folder of parts with all that is in it, and says whether it was there.
pub(super) fn clear(root: &Root, folder: &str) -> io::Result<bool> {
    let mut tried = 0;
    loop {
        let mut files = Vec::new();
        listing::entries(root, folder, |name| files.push(format!("{folder}/{name}")))?;
        for file in files {
            root.remove(&file)?;
        }
        match rustix::fs::unlinkat(&root.fd, folder, AtFlags::REMOVEDIR) {
            Ok(()) => return Ok(true),
            Err(Errno::NOENT) => return Ok(false),
            // A writer that goes on makes files; it fails once the folder is gone.
            Err(Errno::NOTEMPTY | Errno::EXIST) if tried < TRIES => tried += 1,
            Err(error) => return Err(error.into()),
        }
    }
}

/// When a folder of parts, or something in it, was last written to.
pub(super) fn modified_at(
    root: &Root,
    folder: &str,
) -> Result<cloakroom_domain::Timestamp, StoreError> {
    let mut files = Vec::new();
    listing::entries(root, folder, |name| files.push(format!("{folder}/{name}")))
        .map_err(trouble)?;
    let mut last = listing::meta(root, folder)?.modified_at;
    for file in files {
        match listing::meta(root, &file) {
            Ok(meta) => last = last.max(meta.modified_at),
            Err(StoreError::NotFound) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(last)
}
