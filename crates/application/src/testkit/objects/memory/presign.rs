//! Addresses of an object store in memory, and whoever uses them.

use std::time::Duration;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use cloakroom_domain::{Bucket, ObjectKey};

use super::{super::faults::Step, MemoryStore, State};
use crate::ports::{Presign, PresignedUrl, SignedRequest, StoreError, StoredPart, Unfinished};

/// Where nobody listens.
const HOST: &str = "http://memory.test";

impl MemoryStore {
    /// Does what a client does that sends a part to an address, and gives the part's tag. Addresses here do not end
    /// with their time.
    ///
    /// # Errors
    /// [`StoreError::Refused`] for a body of another length, [`StoreError::NotFound`] once the object is joined or
    /// deleted, or for no address of ours.
    pub fn send_part(&self, to: &PresignedUrl, body: &Bytes) -> Result<String, StoreError> {
        let query = to.reveal_target().rsplit_once('?').map(|(_, query)| query);
        let values: Vec<u64> = query
            .unwrap_or_default()
            .split('&')
            .filter_map(|pair| pair.rsplit_once('=')?.1.parse().ok())
            .collect();
        let [id, number, size] = values[..] else {
            return Err(StoreError::NotFound);
        };
        if size != body.len() as u64 {
            return Err(StoreError::Refused("another length was signed".into()));
        }
        let mut state = self.0.lock();
        let object = state.in_parts.get_mut(&id).ok_or(StoreError::NotFound)?;
        let number = u32::try_from(number).map_err(|_| StoreError::NotFound)?;
        Ok(object.receive(number, BytesMut::from(&body[..])))
    }
}

fn address(text: String) -> Result<PresignedUrl, StoreError> {
    PresignedUrl::parse(text).ok_or_else(|| StoreError::Broken("not an address".into()))
}

fn id_of(state: &State, object: &Unfinished) -> Result<u64, StoreError> {
    let opened = object.write_id.is_some().then(|| state.named(object));
    opened.flatten().ok_or(StoreError::NotFound)
}

#[async_trait]
impl Presign for MemoryStore {
    async fn get(
        &self,
        bucket: &Bucket,
        key: &ObjectKey,
        _: Duration,
    ) -> Result<PresignedUrl, StoreError> {
        address(format!("{HOST}/{bucket}/{key}?get"))
    }

    async fn open(&self, bucket: &Bucket, key: &ObjectKey) -> Result<String, StoreError> {
        self.0.faults.meet(Step::Resume).await?;
        let object = Unfinished {
            bucket: bucket.clone(),
            key: key.clone(),
            write_id: None,
        };
        Ok(self.0.lock().open(&object).to_string())
    }

    async fn put_part(
        &self,
        object: &Unfinished,
        number: u32,
        size: u64,
        _: Duration,
    ) -> Result<SignedRequest, StoreError> {
        let Unfinished {
            bucket,
            key,
            write_id,
        } = object;
        let Some(id) = write_id else {
            return Err(StoreError::Refused("an upload that was not opened".into()));
        };
        let url = format!("{HOST}/{bucket}/{key}?upload={id}&part={number}&size={size}");
        Ok(SignedRequest {
            method: "PUT",
            url: address(url)?,
            headers: Vec::new(),
        })
    }

    async fn parts(&self, object: &Unfinished) -> Result<Vec<StoredPart>, StoreError> {
        self.0.faults.meet(Step::List).await?;
        let state = self.0.lock();
        let object = state.in_parts.get(&id_of(&state, object)?);
        object.map_or(Err(StoreError::NotFound), |object| Ok(object.stored()))
    }
}
