//! Where a body goes, and what its commit will make of it.

use cloakroom_domain::{AccountId, FileId, FileName, Metadata, Owner, Principal};

use super::Destination;
use crate::{
    App, Error,
    objects::Slot,
    ports::{CommitTarget, Expected, ObjectTarget},
};

/// The id and the account of the body's file, what the commit makes of it, and what the file is called.
type Settled = (FileId, AccountId, CommitTarget, FileName);

/// Says where a body goes.
///
/// # Errors
/// [`Error::MissingField`] if the caller names no account and has none.
pub(super) fn settle(
    app: &App,
    who: &Principal,
    destination: Destination,
    name: Option<FileName>,
) -> Result<Settled, Error> {
    match destination {
        Destination::NewFile {
            account,
            visibility,
            metadata,
        } => {
            let named = account.filter(|_| who.names_account());
            let account = named.or_else(|| who.account.clone());
            let account = account.ok_or(Error::MissingField("account_id"))?;
            let name = name.unwrap_or_else(|| FileName::clean(""));
            let owner = who.owner_in(account.clone());
            let target = CommitTarget::NewFile {
                claim_within: app.claims.within(&owner),
                owner,
                name: name.clone(),
                visibility,
                metadata,
            };
            Ok((FileId::random(), account, target, name))
        }
        Destination::NewVersion {
            file,
            only_if_unchanged,
        } => {
            let expected = only_if_unchanged.then_some(file.current.id);
            let target = CommitTarget::NewVersion {
                expected,
                name: name.clone(),
            };
            let name = name.unwrap_or_else(|| file.name.clone());
            Ok((file.id.clone(), file.account().clone(), target, name))
        }
        Destination::Object {
            slot,
            metadata,
            expected,
        } => Ok(settle_object(&slot, metadata, expected)),
    }
}

fn settle_object(slot: &Slot, metadata: Metadata, expected: Expected) -> Settled {
    let bucket = &slot.bucket;
    let name = FileName::clean(slot.key.last_segment());
    let fresh = FileId::random();
    let target = ObjectTarget {
        bucket: bucket.name.clone(),
        key: slot.key.clone(),
        owner: Owner::bucket(bucket.account.clone(), &bucket.name),
        name: name.clone(),
        metadata,
        expected,
        fresh: fresh.clone(),
    };
    // Only a guess: whose body it is, the commit says.
    let file = slot.object.as_ref().map_or(fresh, |file| file.id.clone());
    let target = CommitTarget::Object(Box::new(target));
    (file, bucket.account.clone(), target, name)
}
