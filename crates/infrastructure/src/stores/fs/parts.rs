//! Writing an object over several requests: files that grow, and one writer to each.
//!
//! Whoever writes to a part holds a lock on its file (`flock`) for as long as the file is open, that is until the last
//! write under way has ended. Nobody else lets that part grow meanwhile, and it does not become the object itself but
//! is copied: what a writer that was thought dead still sends stays in a file that nobody reads.

use std::{io, sync::Arc};

use async_trait::async_trait;
use bytes::Bytes;
use cloakroom_application::ports::{
    Ending, PartsWriter, Resume, StoreError, StoredPart, Suspended, WritePosition,
};
use rustix::{
    fd::OwnedFd,
    fs::{AtFlags, FlockOperation, OFlags, SeekFrom},
    io::Errno,
};

use super::{
    batches::{Appending, Batches, write_all},
    layout::Address,
    root::{FILE_MODE, Root, write_trouble},
    unflushed::Unflushed,
};
use crate::stores::budget::Pool;

/// Who may be writing to a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Hold {
    /// Nobody else until it is closed.
    Ours,
    /// Somebody else.
    Theirs,
    /// The file system knows no locks.
    Unknown,
}

/// Takes the right to write to the file at `path`, unless somebody has it. Blocks.
pub(super) fn hold(root: &Root, file: &OwnedFd, path: &str) -> io::Result<Hold> {
    match rustix::fs::flock(file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(Errno::WOULDBLOCK) => return Ok(Hold::Theirs),
        Err(Errno::NOSYS | Errno::OPNOTSUPP | Errno::NOLCK | Errno::INVAL) => {
            return Ok(Hold::Unknown);
        }
        Err(error) => return Err(error.into()),
    }
    // It may have been renamed between opening and locking, and be an object by now.
    let opened = rustix::fs::fstat(file)?;
    let named = rustix::fs::statat(&root.fd, path, AtFlags::SYMLINK_NOFOLLOW)?;
    if (opened.st_dev, opened.st_ino) == (named.st_dev, named.st_ino) {
        Ok(Hold::Ours)
    } else {
        Err(Errno::NOENT.into())
    }
}

/// The path of a part's file.
pub(super) fn path_of(address: &Address, number: u32) -> String {
    format!("{}/{number}", address.parts)
}

/// Opens the file of a part. Blocks.
pub(super) fn open(root: &Root, path: &str, flags: OFlags) -> io::Result<OwnedFd> {
    let flags = flags | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
    Ok(rustix::fs::openat(&root.fd, path, flags, FILE_MODE)?)
}

/// The size of a file. Blocks.
pub(super) fn size_of(file: &OwnedFd) -> io::Result<u64> {
    u64::try_from(rustix::fs::fstat(file)?.st_size).map_err(io::Error::other)
}

/// What is wrong with a part that is shorter than was told.
pub(super) fn too_short() -> StoreError {
    StoreError::Broken("a part is shorter than it was".into())
}

/// A part that one writer lets grow.
struct PartFile {
    root: Arc<Root>,
    address: Arc<Address>,
    file: OwnedFd,
    unflushed: Unflushed,
    number: u32,
    size: u64,
    /// Bytes that are known to be on disk.
    durable: u64,
    /// Whether its name is on disk.
    is_named: bool,
}

impl PartFile {
    /// Opens the part that may grow, if nobody else writes to it, or makes the one with that number. Blocks.
    fn begin(
        root: Arc<Root>,
        address: Arc<Address>,
        growing: Option<&StoredPart>,
        number: u32,
    ) -> Result<Self, StoreError> {
        if let Some(part) = growing
            && let Some(file) = Self::grow(&root, &address, part)?
        {
            return Ok(Self {
                unflushed: Unflushed::none(Arc::clone(&root)),
                root,
                address,
                file,
                number: part.number,
                size: part.size,
                durable: part.size,
                is_named: true,
            });
        }
        match Self::create(&root, &address, number) {
            Ok(file) => Ok(Self {
                unflushed: Unflushed::none(Arc::clone(&root)),
                root,
                address,
                file,
                number,
                size: 0,
                durable: 0,
                is_named: false,
            }),
            Err(error) => Err(write_trouble(error)),
        }
    }

    fn grow(
        root: &Root,
        address: &Address,
        part: &StoredPart,
    ) -> Result<Option<OwnedFd>, StoreError> {
        let path = path_of(address, part.number);
        let file = open(root, &path, OFlags::WRONLY).map_err(write_trouble)?;
        if hold(root, &file, &path).map_err(write_trouble)? == Hold::Theirs {
            return Ok(None);
        }
        if size_of(&file).map_err(write_trouble)? < part.size {
            return Err(too_short());
        }
        let cut = rustix::fs::ftruncate(&file, part.size)
            .and_then(|()| rustix::fs::seek(&file, SeekFrom::Start(part.size)));
        cut.map_err(|error| write_trouble(error.into()))?;
        Ok(Some(file))
    }

    fn create(root: &Root, address: &Address, number: u32) -> io::Result<OwnedFd> {
        root.prepare(address)?;
        root.make(&address.parts)?;
        let path = path_of(address, number);
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL;
        let file = open(root, &path, flags)?;
        hold(root, &file, &path)?;
        Ok(file)
    }

    /// Makes what was appended durable. Blocks.
    fn flush(mut self) -> Result<Self, StoreError> {
        let flushed = self.root.flush_file(&self.file).and_then(|()| {
            if !self.is_named {
                self.root.flush_folder(&self.address.parts)?;
                self.root.flush_folder(&self.address.unfinished_folder())?;
            }
            Ok(())
        });
        flushed.map_err(write_trouble)?;
        self.unflushed.flushed();
        self.durable = self.size;
        self.is_named = true;
        Ok(self)
    }

    fn told(&self) -> StoredPart {
        StoredPart {
            number: self.number,
            size: self.size,
            tag: String::new(),
        }
    }
}

impl Appending for PartFile {
    fn append(mut self, pieces: &[Bytes]) -> Result<Self, StoreError> {
        let written = write_all(&self.root, &self.file, pieces, &mut self.unflushed);
        if let Err(error) = written {
            // What counts for nothing must not fill the disk until the upload ends.
            if let Err(left) = rustix::fs::ftruncate(&self.file, self.durable) {
                tracing::warn!(error = %left, "what was written of a part could not be cut off again");
            }
            return Err(write_trouble(error));
        }
        self.size += pieces.iter().map(|piece| piece.len() as u64).sum::<u64>();
        Ok(self)
    }
}

/// A writer to one part of an unfinished object.
pub(super) struct FsPartsWriter {
    batches: Batches<PartFile>,
    first_number: u32,
    /// The part, once it is known which one it is.
    number: Option<u32>,
    /// Bytes that were made durable, of those that were taken.
    flushed: u64,
    failed: bool,
}

impl FsPartsWriter {
    pub(super) fn new(root: Arc<Root>, address: Address, resume: Resume, budget: Pool) -> Self {
        let Resume {
            first_number,
            growing,
            ..
        } = resume;
        let address = Arc::new(address);
        let begin = {
            let root = Arc::clone(&root);
            move || PartFile::begin(root, address, growing.as_ref(), first_number)
        };
        Self {
            batches: Batches::new(root, budget, begin),
            first_number,
            number: None,
            flushed: 0,
            failed: false,
        }
    }

    /// Flushes what was taken and tells how far the part is; `None` if there is nothing to tell.
    async fn flush(&mut self) -> Result<Option<(PartFile, StoredPart)>, StoreError> {
        let taken = self.batches.len();
        if taken == self.flushed {
            return Ok(None);
        }
        let flush = |part: PartFile| {
            let part = part.flush()?;
            let told = part.told();
            Ok((part, told))
        };
        self.failed = true;
        let (part, told) = self.batches.drain(flush).await?;
        self.failed = false;
        self.flushed = taken;
        self.number = Some(told.number);
        Ok(Some((part, told)))
    }
}

#[async_trait]
impl PartsWriter for FsPartsWriter {
    async fn write(&mut self, data: Bytes) -> Result<(), StoreError> {
        // Whoever drops this future does not know what was taken.
        let failed = std::mem::replace(&mut self.failed, true);
        if failed {
            return Err(super::batches::failed_before());
        }
        self.batches.push(data).await?;
        self.failed = false;
        Ok(())
    }

    fn until_cut(&self) -> Option<u64> {
        None
    }

    async fn durable(&mut self) -> Result<Vec<StoredPart>, StoreError> {
        if self.failed {
            return Ok(Vec::new());
        }
        let Some((part, told)) = self.flush().await? else {
            return Ok(Vec::new());
        };
        self.batches.restore(part);
        Ok(vec![told])
    }

    fn position(&self) -> WritePosition {
        let is_own = match self.number {
            Some(number) => number == self.first_number,
            None => self.batches.len() > 0,
        };
        WritePosition {
            write_id: None,
            next_number: self.first_number + u32::from(is_own),
        }
    }

    async fn suspend(&mut self, _: Ending) -> Result<Suspended, StoreError> {
        if self.failed {
            return Err(super::batches::failed_before());
        }
        let told = self.flush().await?.map(|(_, told)| told);
        // Lets go of the file and of its lock.
        self.batches.settle().await.ok();
        self.failed = true;
        Ok(Suspended {
            parts: told.into_iter().collect(),
            rest: Vec::new(),
        })
    }
}
