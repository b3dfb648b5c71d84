//! A store at an SFTP server, reached with the machine's own `ssh`.
//!
//! A file counts once the server has answered that it is closed: some keep its bytes until then.

mod body;
mod calls;
mod connection;
mod failure;
mod frames;
mod pool;

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use cloakroom_application::ports::{ByteStream, ObjectMeta, StoreError};
use cloakroom_domain::ByteRange;
use openssh::KnownHosts;

use self::{
    body::Writing,
    calls::{entries, look, make_folders, meta_of, publish, unlink},
    connection::Login,
    pool::Pool,
};
use super::{
    budget::WriteBudget,
    guard::Guard,
    remote::{Entry, Remote, RemoteStore, Sink, limits, with_retries},
};

/// How long reading a folder may take.
const FOLDER: Duration = Duration::from_secs(20);

/// How long resolving a name may take.
const RESOLVE: Duration = Duration::from_secs(4);

/// A server of SFTP. It is reached with the machine's own `ssh`, which must be there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sftp {
    /// The host, or its address.
    pub host: String,
    /// The port.
    pub port: u16,
    /// The user.
    pub user: String,
    /// The file of this machine with the user's private key; whatever `ssh` finds by itself if none is given.
    pub key_file: Option<String>,
    /// How the server is known.
    pub hosts: SftpHosts,
    /// The folder that buckets are in.
    pub root: String,
}

/// How an SFTP server is known.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum SftpHosts {
    /// By `ssh`'s file of known hosts, and not otherwise.
    #[default]
    Strict,
    /// By the same, to which it is added when it is first met.
    Add,
    /// Not at all.
    Accept,
}

/// A store at an SFTP server. It is asked nothing yet.
pub(super) async fn sftp(
    settings: &Sftp,
    guard: Guard,
    budget: WriteBudget,
) -> Result<RemoteStore, StoreError> {
    let host = match guard {
        Guard::Open => settings.host.clone(),
        // `ssh` resolves names by itself, so that it is given none.
        Guard::Strict => pinned(settings, guard).await?,
    };
    let login = Login {
        // Cut at the last colon and given to `ssh` bare, so that an IPv6 address stands without brackets.
        address: format!("ssh://{host}:{}", settings.port),
        user: settings.user.clone(),
        key_file: settings.key_file.clone(),
        hosts: match settings.hosts {
            SftpHosts::Strict => KnownHosts::Strict,
            SftpHosts::Add => KnownHosts::Add,
            SftpHosts::Accept => KnownHosts::Accept,
        },
    };
    let place = Place {
        pool: Pool::new(login),
        root: root_of(&settings.root),
    };
    Ok(RemoteStore::new(place, budget))
}

async fn pinned(settings: &Sftp, guard: Guard) -> Result<String, StoreError> {
    let found = tokio::time::timeout(RESOLVE, guard.resolve(&settings.host, settings.port));
    match found.await {
        Ok(Ok(found)) => Ok(found
            .first()
            .map_or_else(String::new, |it| it.ip().to_string())),
        Ok(Err(error)) if error.kind() == std::io::ErrorKind::PermissionDenied => {
            Err(StoreError::Refused(error.into()))
        }
        Ok(Err(error)) => Err(StoreError::Unavailable(error.into())),
        Err(late) => Err(StoreError::Unavailable(late.into())),
    }
}

/// What paths begin with: nothing for the user's own folder, else the folder from the server's root on.
fn root_of(root: &str) -> String {
    let names: Vec<&str> = root.split('/').filter(|name| !name.is_empty()).collect();
    match names.as_slice() {
        [] if root.is_empty() => String::new(),
        [] => "/".to_owned(),
        names => format!("/{}/", names.join("/")),
    }
}

/// A folder at a server.
struct Place {
    pool: Arc<Pool>,
    root: String,
}

#[async_trait]
impl Remote for Place {
    fn driver(&self) -> &'static str {
        "sftp"
    }

    async fn put(&self, path: &str, body: &[Bytes]) -> Result<(), StoreError> {
        let length = body.iter().map(|bytes| bytes.len() as u64).sum();
        let put = || async {
            let mut writing = self.create(path).await?;
            writing.append(body).await?;
            writing.close().await
        };
        with_retries(limits::write(length), put).await
    }

    async fn open(&self, path: &str) -> Result<Box<dyn Sink>, StoreError> {
        let writing = with_retries(limits::CALL, || self.create(path)).await?;
        Ok(Box::new(writing))
    }

    async fn read(
        &self,
        path: &str,
        range: Option<ByteRange>,
    ) -> Result<(u64, ByteStream), StoreError> {
        let path = self.at(path);
        let open = || async {
            let connection = self.pool.get().await?;
            let mut fs = connection.fs();
            let (found, file) = tokio::join!(
                connection.ask(limits::ATTEMPT, fs.metadata(&path)),
                connection.ask(limits::ATTEMPT, connection.open_to_read(&path)),
            );
            let size = meta_of(&found?)?.size;
            Ok((size, file?, Arc::clone(&connection)))
        };
        let (size, file, connection) = with_retries(limits::CALL, open).await?;
        let range = range.unwrap_or(ByteRange {
            start: 0,
            end: size,
        });
        if range.end > size {
            return Err(StoreError::Broken("a stretch beyond the end".into()));
        }
        let length = range.end - range.start;
        Ok((length, body::stream(connection, file, range)))
    }

    async fn stat(&self, path: &str) -> Result<ObjectMeta, StoreError> {
        let path = self.at(path);
        with_retries(limits::CALL, || async {
            let connection = self.pool.get().await?;
            meta_of(&look(&connection, &path).await?)
        })
        .await
    }

    async fn folder(&self, path: &str) -> Result<Vec<Entry>, StoreError> {
        let path = self.at(path);
        let look = || async {
            let connection = self.pool.get().await?;
            entries(&connection, &path).await
        };
        match with_retries(FOLDER, look).await {
            Err(StoreError::NotFound) => Ok(Vec::new()),
            other => other,
        }
    }

    async fn rename(&self, from: &str, to: &str, size: u64) -> Result<(), StoreError> {
        let (from, to) = (self.at(from), self.at(to));
        with_retries(limits::rename(size), || async {
            let connection = self.pool.get().await?;
            publish(&connection, &from, &to, size).await
        })
        .await
    }

    async fn remove(&self, path: &str) -> Result<bool, StoreError> {
        let path = self.at(path);
        with_retries(limits::CALL, || async {
            let connection = self.pool.get().await?;
            Ok(unlink(&connection, &path).await?)
        })
        .await
    }

    async fn probe(&self) -> Result<(), StoreError> {
        let connection = self.pool.get().await?;
        let root = if self.root.is_empty() {
            "."
        } else {
            &self.root
        };
        match look(&connection, root).await {
            // The root is made when it is first written to.
            Err(fault) if !fault.is_missing() => Err(fault.into()),
            _ => Ok(()),
        }
    }
}

impl Place {
    fn at(&self, path: &str) -> String {
        format!("{}{path}", self.root)
    }

    /// A new file in the place of whatever was there.
    ///
    /// It is never opened to be cut: a request to do so that was given up could still be obeyed, later, in the middle of
    /// the next attempt.
    async fn create(&self, path: &str) -> Result<Writing, StoreError> {
        let path = self.at(path);
        let connection = self.pool.get().await?;
        let create = || connection.ask(limits::ATTEMPT, connection.create(&path));
        let mut created = create().await;
        if matches!(&created, Err(fault) if fault.is_unexplained())
            && unlink(&connection, &path).await.is_ok_and(|it| it)
        {
            created = create().await;
        }
        if matches!(&created, Err(fault) if fault.is_missing() || fault.is_unexplained()) {
            make_folders(&connection, &path).await?;
            created = create().await;
        }
        let file = created?;
        Ok(Writing::new(connection, file))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_root_is_the_users_own_folder_or_begins_at_the_servers() {
        assert_eq!(root_of(""), "");
        assert_eq!(root_of("/"), "/");
        assert_eq!(root_of("data"), "/data/");
        assert_eq!(root_of("//srv/data/"), "/srv/data/");
    }
}
