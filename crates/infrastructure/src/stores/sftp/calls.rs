//! What a server is asked, in one request or in a few that belong together.

use cloakroom_application::ports::{ObjectMeta, StoreError};
use cloakroom_domain::Timestamp;
use futures_util::TryStreamExt;
use openssh_sftp_client::metadata::MetaData;

use super::{connection::Connection, failure::Fault};
use crate::stores::remote::{Entry, limits};

/// The most entries of a folder that are read.
const MOST_ENTRIES: usize = 65_536;

/// The folder that a file or a folder is in, `None` for those that are always there.
fn folder_of(path: &str) -> Option<&str> {
    let (folder, _) = path.rsplit_once('/')?;
    (!folder.is_empty()).then_some(folder)
}

pub(super) async fn look(connection: &Connection, path: &str) -> Result<MetaData, Fault> {
    let mut fs = connection.fs();
    connection.ask(limits::ATTEMPT, fs.metadata(path)).await
}

/// Removes a file, and says whether it was there.
pub(super) async fn unlink(connection: &Connection, path: &str) -> Result<bool, Fault> {
    let mut fs = connection.fs();
    match connection.ask(limits::ATTEMPT, fs.remove_file(path)).await {
        Ok(()) => Ok(true),
        Err(fault) if fault.is_missing() => Ok(false),
        Err(fault) => Err(fault),
    }
}

fn is_folder(found: &MetaData) -> bool {
    found.file_type().is_some_and(|it| it.is_dir())
}

/// Makes the folders that a file is in, as far as they are not there.
pub(super) async fn make_folders(connection: &Connection, path: &str) -> Result<(), StoreError> {
    let mut fs = connection.fs();
    let mut missing = Vec::new();
    let mut next = folder_of(path);
    while let Some(folder) = next {
        match look(connection, folder).await {
            Ok(found) if is_folder(&found) => break,
            Ok(_) => {
                return Err(StoreError::Refused(
                    "a file in the place of a folder".into(),
                ));
            }
            Err(fault) if fault.is_missing() => missing.push(folder),
            Err(fault) => return Err(fault.into()),
        }
        next = folder_of(folder);
    }
    while let Some(folder) = missing.pop() {
        let made = connection.ask(limits::ATTEMPT, fs.create_dir(folder)).await;
        // Somebody else may have made it meanwhile.
        if let Err(fault) = made
            && !look(connection, folder)
                .await
                .is_ok_and(|it| is_folder(&it))
        {
            return Err(fault.into());
        }
    }
    Ok(())
}

/// Moves a file to where nothing is, and makes sure that it arrived whole.
pub(super) async fn publish(
    connection: &Connection,
    from: &str,
    to: &str,
    size: u64,
) -> Result<(), StoreError> {
    match look(connection, to).await {
        Err(fault) if fault.is_missing() => {}
        Err(fault) => return Err(fault.into()),
        Ok(_) => match look(connection, from).await {
            // It was moved before, and the answer was lost.
            Err(fault) if fault.is_missing() => return arrived(connection, to, size).await,
            Err(fault) => return Err(fault.into()),
            Ok(_) => return Err(StoreError::Refused("something lies there already".into())),
        },
    }
    let rename = || async {
        let mut fs = connection.fs();
        let renamed = fs.rename(from, to);
        connection
            .ask_patiently(limits::rename(size), renamed)
            .await
    };
    let mut renamed = rename().await;
    if matches!(&renamed, Err(fault) if fault.is_missing() || fault.is_unexplained()) {
        make_folders(connection, to).await?;
        renamed = rename().await;
    }
    match renamed {
        Err(fault) if !fault.is_missing() => Err(fault.into()),
        // Also where it is not found: a request that was given up may have come first.
        _ => arrived(connection, to, size).await,
    }
}

async fn arrived(connection: &Connection, path: &str, size: u64) -> Result<(), StoreError> {
    if meta_of(&look(connection, path).await?)?.size == size {
        Ok(())
    } else {
        Err(StoreError::Broken("another file was moved".into()))
    }
}

pub(super) async fn entries(connection: &Connection, path: &str) -> Result<Vec<Entry>, StoreError> {
    let mut fs = connection.fs();
    let folder = connection.ask(limits::ATTEMPT, fs.open_dir(path)).await?;
    let mut listing = std::pin::pin!(folder.read_dir());
    let mut entries = Vec::new();
    while let Some(entry) = connection.ask(limits::ATTEMPT, listing.try_next()).await? {
        let Some(name) = entry.filename().to_str() else {
            continue;
        };
        if matches!(name, "." | "..") || name.contains('/') {
            continue;
        }
        if entries.len() >= MOST_ENTRIES {
            return Err(StoreError::Broken("a folder with too many entries".into()));
        }
        let found = entry.metadata();
        entries.push(Entry {
            name: name.to_owned(),
            is_folder: is_folder(&found),
            size: found.len().unwrap_or(0),
            modified_at: modified_at(&found),
        });
    }
    Ok(entries)
}

/// Size and age of a file; anything else is not found.
pub(super) fn meta_of(found: &MetaData) -> Result<ObjectMeta, StoreError> {
    // A server that tells no kind is believed to tell of a file.
    if found.file_type().is_some_and(|it| !it.is_file()) {
        return Err(StoreError::NotFound);
    }
    let size = found.len();
    Ok(ObjectMeta {
        size: size.ok_or_else(|| StoreError::Broken("a file without a length".into()))?,
        modified_at: modified_at(found).unwrap_or(Timestamp::from_micros(0)),
    })
}

fn modified_at(found: &MetaData) -> Option<Timestamp> {
    let seconds = found.modified()?.as_duration().as_secs();
    Some(Timestamp::from_micros(
        i64::try_from(seconds).ok()? * 1_000_000,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_end_at_the_root() {
        assert_eq!(folder_of("/srv/files/ab/x"), Some("/srv/files/ab"));
        assert_eq!(folder_of("/srv"), None);
        assert_eq!(folder_of("files/ab"), Some("files"));
        assert_eq!(folder_of("files"), None);
    }
}
