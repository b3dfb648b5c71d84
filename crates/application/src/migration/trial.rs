//! Trying a store before anything depends on it.

use std::sync::Arc;

use bytes::Bytes;
use cloakroom_domain::{AccountId, Bucket, FileId, FileName, ObjectKey};
use futures_util::TryStreamExt;

use super::{opener, unfit};
use crate::{
    App, Error,
    ports::{Movable, ObjectStore, StoreError, StoreRecord},
};

/// What is written, and must come back.
const BODY: &[u8] = b"Cloakroom tries whether it can write, read, list and delete here.";

/// The account whose bucket is used where each has its own.
const ACCOUNT: &str = "0";

/// So many objects are looked for: single ones may be lost.
const LOOKED_FOR: u32 = 10;

/// An entry whose place is ready.
pub(super) struct Prepared {
    pub(super) record: StoreRecord,
    is_known: bool,
    is_marked: bool,
}

/// Makes the place of an entry ready. A folder that is marked already keeps its id.
pub(super) async fn prepared(app: &App, record: StoreRecord) -> Result<Prepared, Error> {
    let opener = opener(app)?;
    let unready = |error| unfit("be opened", &error);
    let mark = opener.prepare(&record).await.map_err(unready)?;
    let known = app.registry.all().await?;
    let Some(known) = known.into_iter().find(|known| known.id == mark.store) else {
        if mark.store != record.id {
            let why = "the folder is a store of another service";
            return Err(unready(StoreError::Refused(why.into())));
        }
        return Ok(Prepared {
            record,
            is_known: false,
            is_marked: mark.is_new,
        });
    };
    let is_own = known.id == record.id
        || opener
            .is_own_place(&known, &record)
            .await
            .map_err(unready)?;
    if !is_own {
        let why = "the folder is a copy of a store that is somewhere else; a new store begins without files";
        return Err(unready(StoreError::Refused(why.into())));
    }
    Ok(Prepared {
        record: renewed(known, record.config),
        is_known: true,
        is_marked: mark.is_new,
    })
}

/// An entry with another configuration; what the configuration of the process says stays there.
pub(super) fn renewed(known: StoreRecord, config: Option<Vec<u8>>) -> StoreRecord {
    let config = known.config.and(config);
    StoreRecord { config, ..known }
}

impl Prepared {
    /// Tries what a store has to do. One that is known has to be the one with its bytes, too.
    ///
    /// # Errors
    /// [`Error::BadValue`] that says what failed; failures of the database.
    pub(super) async fn try_out(&self, app: &App) -> Result<(), Error> {
        if !self.is_known {
            return try_out(app, &self.record).await;
        }
        let stored = app.migrations.stored_in(self.record.id).await?;
        if self.is_marked && stored.objects > 0 {
            let why = "the folder of a store that has files has lost its mark; is the right folder mounted there?";
            return Err(unfit("be opened", &StoreError::Refused(why.into())));
        }
        try_out(app, &self.record).await?;
        holds_what_is_stored(app, &self.record).await
    }

    /// Whether somebody else who asked for the same place goes on with it.
    async fn is_in_use(&self, app: &App) -> bool {
        let id = self.record.id;
        let (known, last) = (app.registry.all().await, app.migrations.last().await);
        let (Ok(known), Ok(last)) = (known, last) else {
            return true;
        };
        let is_tried = last.is_some_and(|last| last.state.is_live() && last.target == id);
        is_tried || known.iter().any(|record| record.id == id)
    }

    /// Leaves the place as it was, if nothing came of it.
    pub(super) async fn withdraw(&self, app: &App) {
        if !self.is_marked || (!self.is_known && self.is_in_use(app).await) {
            return;
        }
        let Some(opener) = app.stores.opener() else {
            return;
        };
        if let Err(error) = opener.withdraw(&self.record).await {
            tracing::warn!(%error, "the mark of a store that is not used was not removed");
        }
    }
}

/// Writes, reads, lists and deletes an object.
///
/// # Errors
/// [`Error::BadValue`] that says what failed.
pub(crate) async fn try_out(app: &App, record: &StoreRecord) -> Result<(), Error> {
    let store = opener(app)?
        .open(record)
        .await
        .map_err(|error| unfit("be opened", &error))?;
    let account = AccountId::parse(ACCOUNT).map_err(|error| Error::Internal(error.into()))?;
    let bucket = record
        .bucket(&account)
        .map_err(|error| unfit("name its bucket", &error))?;
    let file = FileId::random();
    let key = ObjectKey::mint(&account, &file, &FileName::clean("trial.txt"));
    let tried = write_and_read(&store, &bucket, &key).await;
    let removed = store.delete(&bucket, std::slice::from_ref(&key)).await;
    tried?;
    let removed: Result<Vec<()>, StoreError> = removed.into_iter().collect();
    removed.map_err(|error| unfit("delete", &error))?;
    match store.head(&bucket, &key).await {
        Err(StoreError::NotFound) => Ok(()),
        Ok(_) => {
            let still = StoreError::Broken("a deleted object is still there".into());
            Err(unfit("delete", &still))
        }
        Err(error) => Err(unfit("delete", &error)),
    }
}

async fn write_and_read(
    store: &Arc<dyn ObjectStore>,
    bucket: &Bucket,
    key: &ObjectKey,
) -> Result<(), Error> {
    store
        .put(bucket, key, vec![Bytes::from_static(BODY)])
        .await
        .map_err(|error| unfit("write", &error))?;
    let read = store.read(bucket, key, None).await;
    let chunks = match read {
        Ok(payload) => payload.into_stream().try_collect::<Vec<Bytes>>().await,
        Err(error) => Err(error),
    };
    let chunks = chunks.map_err(|error| unfit("read", &error))?;
    if chunks.concat() != BODY {
        let other = StoreError::Broken("what came back is not what was written".into());
        return Err(unfit("read", &other));
    }
    let prefix = key.as_str();
    let page = store.list(bucket, prefix, None, 10).await;
    let page = page.map_err(|error| unfit("list", &error))?;
    if page.objects.iter().any(|found| found.key == *key) {
        return Ok(());
    }
    let missing = StoreError::Broken("an object that is there is not listed".into());
    Err(unfit("list", &missing))
}

/// Looks whether the store of an entry that was changed has the bytes that its rows name: another address may lead to
/// another store.
///
/// # Errors
/// [`Error::BadValue`] that says what failed; failures of the database.
pub(crate) async fn holds_what_is_stored(app: &App, changed: &StoreRecord) -> Result<(), Error> {
    let stored = app.migrations.movable(changed.id, None, LOOKED_FOR).await?;
    let opened = opener(app)?.open(changed).await;
    let store = opened.map_err(|error| unfit("be opened", &error))?;
    let mut outcome = Ok(());
    for body in &stored {
        let at = &body.location;
        match store.head(&at.bucket, &at.key).await {
            Ok(_) => return Ok(()),
            // It may be lost.
            Err(error @ StoreError::NotFound) => outcome = Err(error),
            Err(error) => {
                outcome = Err(error);
                break;
            }
        }
    }
    match outcome {
        Err(StoreError::NotFound) if all_lost(app, changed, &stored).await => Ok(()),
        outcome => outcome.map_err(|error| unfit("find an object that is stored", &error)),
    }
}

/// Whether these are not in the store as it is known now, either.
async fn all_lost(app: &App, record: &StoreRecord, stored: &[Movable]) -> bool {
    let Ok(store) = app.stores.named(record.id).await else {
        return false;
    };
    for body in stored {
        let at = &body.location;
        if !matches!(
            store.head(&at.bucket, &at.key).await,
            Err(StoreError::NotFound)
        ) {
            return false;
        }
    }
    true
}
