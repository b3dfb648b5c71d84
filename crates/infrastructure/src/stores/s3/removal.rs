//! Deleting objects with whatever unfinished uploads lie under their keys.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use aws_sdk_s3::types::{Delete, ObjectIdentifier};
use cloakroom_application::ports::StoreError;
use cloakroom_domain::{Bucket, ObjectKey};
use futures_util::{StreamExt, stream};

use super::{
    client::Core,
    failure::{again, classify},
    listing::{Unfinished, unfinished},
};

/// The most keys that one request takes.
const BATCH: usize = 1000;

/// Requests at once where one takes one key.
const AT_ONCE: usize = 8;

/// How long a batch may take.
const PATIENCE: Duration = Duration::from_secs(60);

type Answers = Vec<Result<(), StoreError>>;

/// Removes the objects, answering in the order of the keys.
pub(super) async fn delete(core: &Core, bucket: &Bucket, keys: &[ObjectKey]) -> Answers {
    let mut answers = Vec::with_capacity(keys.len());
    for batch in keys.chunks(BATCH) {
        let work = tokio::time::timeout(PATIENCE, clear(core, bucket, batch));
        answers.extend(work.await.unwrap_or_else(|_| {
            let late = |_| Err(StoreError::Unavailable("deleting took too long".into()));
            batch.iter().map(late).collect()
        }));
    }
    answers
}

async fn clear(core: &Core, bucket: &Bucket, keys: &[ObjectKey]) -> Answers {
    // The uploads first: one that is joined meanwhile leaves an object, which goes next.
    match give_up(core, bucket, keys).await {
        Ok(()) => remove(core, bucket, keys).await,
        Err(error) => keys.iter().map(|_| Err(again(&error))).collect(),
    }
}

async fn give_up(core: &Core, bucket: &Bucket, keys: &[ObjectKey]) -> Result<(), StoreError> {
    let wanted: HashSet<&str> = keys.iter().map(ObjectKey::as_str).collect();
    let mut found = unfinished(core, bucket, common_prefix(keys)).await?;
    found.retain(|upload| wanted.contains(upload.key.as_str()));
    let give_up = |upload: Unfinished| async move {
        core.abort_upload(bucket, &upload.key, &upload.id).await
    };
    let mut given_up = stream::iter(found).map(give_up).buffer_unordered(AT_ONCE);
    while let Some(outcome) = given_up.next().await {
        outcome?;
    }
    Ok(())
}

/// What all keys begin with.
fn common_prefix(keys: &[ObjectKey]) -> &str {
    let Some((first, others)) = keys.split_first() else {
        return "";
    };
    let first = first.as_str();
    let shared = |other: &ObjectKey| {
        let pairs = first.char_indices().zip(other.as_str().chars());
        let mut equal = pairs.take_while(|((_, a), b)| a == b);
        equal
            .by_ref()
            .last()
            .map_or(0, |((at, a), _)| at + a.len_utf8())
    };
    let length = others.iter().map(shared).min().unwrap_or(first.len());
    &first[..length]
}

async fn remove(core: &Core, bucket: &Bucket, keys: &[ObjectKey]) -> Answers {
    if keys.len() > 1
        && let Some(answers) = remove_together(core, bucket, keys).await
    {
        return answers;
    }
    let one = |key: &ObjectKey| remove_one(core, bucket.as_str().to_owned(), key.to_string());
    let each: Vec<_> = keys.iter().map(one).collect();
    stream::iter(each).buffered(AT_ONCE).collect().await
}

async fn remove_one(core: &Core, bucket: String, key: String) -> Result<(), StoreError> {
    let delete = core.client.delete_object().bucket(bucket).key(key);
    match delete.send().await.map_err(|error| classify(&error)) {
        Ok(_) | Err(StoreError::NotFound) => Ok(()),
        Err(error) => Err(error),
    }
}

/// `None` where the store does not take such a request: many know it differently, or not at all.
async fn remove_together(core: &Core, bucket: &Bucket, keys: &[ObjectKey]) -> Option<Answers> {
    let named = |key: &ObjectKey| ObjectIdentifier::builder().key(key.as_str()).build();
    let objects = keys.iter().map(named).collect::<Result<Vec<_>, _>>().ok()?;
    let delete = Delete::builder().set_objects(Some(objects)).quiet(true);
    let request = core.client.delete_objects().bucket(bucket.as_str());
    let answer = match request.delete(delete.build().ok()?).send().await {
        Ok(answer) => answer,
        Err(error) => {
            return match classify(&error) {
                StoreError::NotFound => Some(keys.iter().map(|_| Ok(())).collect()),
                StoreError::Refused(_) | StoreError::Broken(_) => None,
                error => Some(keys.iter().map(|_| Err(again(&error))).collect()),
            };
        }
    };
    let failed: HashMap<String, String> = answer
        .errors
        .unwrap_or_default()
        .into_iter()
        .filter(|error| error.code.as_deref() != Some("NoSuchKey"))
        .filter_map(|error| Some((error.key?, error.code.unwrap_or_default())))
        .collect();
    let outcome = |key: &ObjectKey| match failed.get(key.as_str()).map(String::as_str) {
        None => Ok(()),
        Some(code @ "AccessDenied") => Err(StoreError::Refused(code.into())),
        Some(code) => Err(StoreError::Unavailable(code.into())),
    };
    Some(keys.iter().map(outcome).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_common_prefix_is_all_that_keys_share() {
        let prefix = |keys: &[&str]| {
            let keys: Vec<ObjectKey> = keys.iter().map(|k| ObjectKey::parse(k).unwrap()).collect();
            common_prefix(&keys).to_owned()
        };
        assert_eq!(prefix(&[]), "");
        assert_eq!(prefix(&["a/b"]), "a/b");
        assert_eq!(prefix(&["a/b", "a/c", "a/"]), "a/");
        assert_eq!(prefix(&["é", "è"]), "");
        assert_eq!(prefix(&["x", "y"]), "");
    }
}
