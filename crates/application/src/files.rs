//! Files as things: their data, the list, the trash.

use std::time::Duration;

use cloakroom_domain::{
    EntityTags, File, FileId, FileName, Metadata, Preconditions, Principal, PrincipalKind,
    Timestamp, UserId, Validators, Verdict, Visibility,
};
use serde_json::{Map, Value};

use crate::{
    App, Authorized, Error, StoreOperation,
    page::PageSize,
    ports::{FileChanges, FileFilter, FileScope, PageMark, Purged, TypeFilter},
    sweep,
};

/// How often a change without a condition is tried when others keep changing the row, and how much longer each wait is.
pub(crate) const UPDATE_ATTEMPTS: u32 = 20;
const STEP_BACK: Duration = Duration::from_millis(3);
const DEFAULT_PAGE: u32 = 50;

/// What a caller wants changed; `None` leaves as it is.
#[derive(Debug, Clone, Default)]
pub struct Change {
    /// A new name.
    pub name: Option<FileName>,
    /// A new visibility.
    pub visibility: Option<Visibility>,
    /// A JSON merge patch of the metadata (RFC 7396).
    pub metadata: Option<Map<String, Value>>,
}

/// Changes a file's row. Without a condition, a change that comes between is not lost but built upon.
///
/// # Errors
/// [`Error::PreconditionFailed`] if `if_match` does not hold of the row's ETag; [`Error::BadValue`] if the metadata
/// grows beyond its limit; [`Error::NotFound`] if the file is gone.
pub async fn update(
    app: &App,
    file: &Authorized<File>,
    if_match: Option<&EntityTags>,
    change: &Change,
) -> Result<File, Error> {
    for attempt in 0..UPDATE_ATTEMPTS {
        step_back(attempt).await;
        let now = app.files.find_fresh(&file.id).await?;
        let now = now
            .filter(|file| file.deleted_at.is_none())
            .ok_or(Error::NotFound)?;
        check_row(&now, if_match)?;
        let changes = FileChanges {
            name: change.name.clone(),
            visibility: change.visibility,
            metadata: change
                .metadata
                .as_ref()
                .map(|patch| merge(&now.metadata, patch))
                .transpose()?,
        };
        if let Some(file) = app.files.update(&file.id, now.revision, changes).await? {
            return Ok(file);
        }
    }
    Err(Error::Conflict("the file is being changed by others"))
}

/// Lets the others go first, the longer the more often they came between.
pub(crate) async fn step_back(attempt: u32) {
    if attempt > 0 {
        tokio::time::sleep(STEP_BACK * attempt).await;
    }
}

fn check_row(file: &File, if_match: Option<&EntityTags>) -> Result<(), Error> {
    let conditions = Preconditions {
        if_match: if_match.cloned(),
        ..Preconditions::default()
    };
    let validators = Validators {
        etag: file.row_etag(),
        last_modified: file.updated_at.seconds(),
    };
    match conditions.for_write(&validators) {
        Verdict::Proceed => Ok(()),
        _ => Err(Error::PreconditionFailed),
    }
}

fn merge(metadata: &Metadata, patch: &Map<String, Value>) -> Result<Metadata, Error> {
    let mut merged: Map<String, Value> =
        serde_json::from_str(metadata.as_json()).map_err(|error| Error::Internal(error.into()))?;
    merge_into(&mut merged, patch);
    Metadata::from_json(Value::Object(merged).to_string())
        .map_err(|error| Error::BadValue(error.to_string()))
}

/// RFC 7396 §2. The depth is that of the patch, which the parser bounds.
fn merge_into(target: &mut Map<String, Value>, patch: &Map<String, Value>) {
    for (key, value) in patch {
        match value {
            Value::Null => {
                target.remove(key);
            }
            Value::Object(inner) => {
                let slot = target
                    .entry(key)
                    .or_insert_with(|| Value::Object(Map::new()));
                if !slot.is_object() {
                    *slot = Value::Object(Map::new());
                }
                if let Value::Object(slot) = slot {
                    merge_into(slot, inner);
                }
            }
            other => {
                target.insert(key.clone(), other.clone());
            }
        }
    }
}

/// Puts a file in the trash, if the precondition holds of its current body.
///
/// # Errors
/// [`Error::PreconditionFailed`], [`Error::NotFound`].
pub async fn trash(
    app: &App,
    file: &Authorized<File>,
    conditions: &Preconditions,
) -> Result<(), Error> {
    for attempt in 0..UPDATE_ATTEMPTS {
        step_back(attempt).await;
        let now = app.files.find_fresh(&file.id).await?;
        let now = now
            .filter(|file| file.deleted_at.is_none())
            .ok_or(Error::NotFound)?;
        check_current(&now, conditions)?;
        if app.files.trash(&file.id, now.revision).await?.is_some() {
            return Ok(());
        }
    }
    Err(Error::Conflict("the file is being changed by others"))
}

/// Holds preconditions of a change against the file's current body.
///
/// # Errors
/// [`Error::PreconditionFailed`].
pub fn check_current(file: &File, conditions: &Preconditions) -> Result<(), Error> {
    let validators = Validators {
        etag: file.current.etag(),
        last_modified: file.current_since.seconds(),
    };
    match conditions.for_write(&validators) {
        Verdict::Proceed => Ok(()),
        _ => Err(Error::PreconditionFailed),
    }
}

/// Takes a file out of the trash. One that is not in it stays as it is.
///
/// # Errors
/// [`Error::NotFound`] if it was purged meanwhile.
pub async fn restore(app: &App, file: Authorized<File>) -> Result<File, Error> {
    if file.deleted_at.is_none() {
        return Ok(file.into_inner());
    }
    match app
        .files
        .untrash(&file.id, app.claims.within(&file.owner))
        .await?
    {
        Some(file) => Ok(file),
        None => app.files.find_fresh(&file.id).await?.ok_or(Error::NotFound),
    }
}

/// Removes a file with all its bodies, at once.
///
/// # Errors
/// [`Error::NotFound`]; [`Error::Store`] if the store would not remove the bytes now: the file is gone all the same,
/// and the sweeper goes on trying.
pub async fn purge(
    app: &App,
    file: &Authorized<File>,
    conditions: &Preconditions,
) -> Result<(), Error> {
    let purged = purge_row(app, file, conditions).await?;
    for chunk in purged.versions.chunks(500) {
        let doomed = app.ledger.doomed(chunk).await?;
        sweep::remove(app, &doomed)
            .await
            .map_err(Error::store(StoreOperation::Delete))?;
    }
    Ok(())
}

async fn purge_row(
    app: &App,
    file: &Authorized<File>,
    conditions: &Preconditions,
) -> Result<Purged, Error> {
    for attempt in 0..UPDATE_ATTEMPTS {
        step_back(attempt).await;
        let now = app
            .files
            .find_fresh(&file.id)
            .await?
            .ok_or(Error::NotFound)?;
        check_current(&now, conditions)?;
        if let Some(purged) = app.files.purge(&file.id, Some(now.revision)).await? {
            return Ok(purged);
        }
    }
    Err(Error::Conflict("the file is being changed by others"))
}

/// Which files a caller asks for.
#[derive(Debug, Clone, Default)]
pub struct ListRequest {
    /// How many, 1–1000; 50 if not said.
    pub limit: Option<u32>,
    /// Where to go on.
    pub after: Option<PageMark>,
    /// Only those of this user.
    pub owner: Option<UserId>,
    /// Only this type.
    pub content_type: Option<TypeFilter>,
    /// Only names that begin so.
    pub name_prefix: Option<String>,
    /// Only those made after this instant.
    pub created_after: Option<Timestamp>,
    /// The trash.
    pub deleted: bool,
}

/// A page of files.
#[derive(Debug, Clone)]
pub struct FilePage {
    /// The files.
    pub items: Vec<File>,
    /// Where to go on; `None` at the end.
    pub next: Option<PageMark>,
}

/// Lists the caller's own files and those visible to its account; an admin's list has every file.
///
/// # Errors
/// [`Error::Unauthenticated`] without a credential, [`Error::KindForbidden`] for a caller without an account,
/// [`Error::BadValue`] for a limit or mark that does not fit.
pub async fn list(app: &App, who: &Principal, request: ListRequest) -> Result<FilePage, Error> {
    let scope = match who.kind {
        PrincipalKind::Anonymous => return Err(Error::Unauthenticated),
        PrincipalKind::Admin => FileScope::All,
        _ => {
            let account = who.account.clone().ok_or(Error::KindForbidden)?;
            FileScope::Caller(who.owner_in(account))
        }
    };
    let size = PageSize::of(request.limit, DEFAULT_PAGE)?;
    let by_name = request.name_prefix.is_some();
    if request
        .after
        .as_ref()
        .is_some_and(|mark| matches!(mark, PageMark::Name(..)) != by_name)
    {
        return Err(Error::BadValue("the cursor is of another list".to_owned()));
    }
    let filter = FileFilter {
        scope,
        owner: request.owner,
        content_type: request.content_type,
        name_prefix: request.name_prefix,
        created_after: request.created_after,
        deleted: request.deleted,
        after: request.after,
        limit: size.and_one(),
    };
    let mut items = app.files.list(&filter).await?;
    let next = size.cut(&mut items, |file| mark(file, by_name));
    Ok(FilePage { items, next })
}

fn mark(file: &File, by_name: bool) -> PageMark {
    let id: FileId = file.id.clone();
    if by_name {
        PageMark::Name(file.name.as_str().to_owned(), id)
    } else {
        PageMark::Newest(file.created_at, id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn merged(metadata: &str, patch: &str) -> String {
        let metadata = Metadata::from_json(metadata.to_owned()).unwrap();
        let patch: Map<String, Value> = serde_json::from_str(patch).unwrap();
        merge(&metadata, &patch).unwrap().as_json().to_owned()
    }

    #[test]
    fn metadata_is_merged_as_rfc_7396_says() {
        assert_eq!(merged(r#"{"a":"b"}"#, r#"{"a":"c"}"#), r#"{"a":"c"}"#);
        assert_eq!(
            merged(r#"{"a":"b","b":"c"}"#, r#"{"a":null}"#),
            r#"{"b":"c"}"#
        );
        assert_eq!(
            merged(r#"{"a":{"b":"c"}}"#, r#"{"a":{"b":"d","c":null}}"#),
            r#"{"a":{"b":"d"}}"#
        );
        assert_eq!(
            merged(r#"{"a":[1]}"#, r#"{"a":{"b":{"c":null}}}"#),
            r#"{"a":{"b":{}}}"#
        );
    }

    #[test]
    fn metadata_cannot_grow_beyond_its_limit() {
        let patch =
            Map::from_iter([("a".to_owned(), Value::from("x".repeat(Metadata::MAX_BYTES)))]);
        assert!(matches!(
            merge(&Metadata::default(), &patch),
            Err(Error::BadValue(_))
        ));
    }
}
