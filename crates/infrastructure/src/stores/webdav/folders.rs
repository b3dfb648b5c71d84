//! Making folders before something is put into them.

use cloakroom_application::ports::StoreError;
use reqwest::{StatusCode, Url};

use super::{
    client::{Client, method},
    failure::sorted,
};
use crate::stores::remote::{limits, with_retries};

/// Folders remembered, at most; beyond it they are made again.
const MAX_KNOWN: usize = 65_536;

impl Client {
    /// Makes the folder of a file, and those around it.
    pub(super) async fn make_parent(&self, path: &str) -> Result<(), StoreError> {
        let ends: Vec<usize> = path.match_indices('/').map(|(at, _)| at).collect();
        let Some(last) = ends.last() else {
            return Ok(());
        };
        if self.known().contains(&path[..*last]) {
            return Ok(());
        }
        for end in ends {
            let folder = &path[..end];
            if self.known().contains(folder) {
                continue;
            }
            let url = self.url(&format!("{folder}/"));
            with_retries(limits::CALL, || self.make_with_root(&url)).await?;
            let mut known = self.known();
            if known.len() >= MAX_KNOWN {
                known.clear();
            }
            known.insert(folder.to_owned());
        }
        Ok(())
    }

    /// Makes sure of the folders of a file the next time, since something went wrong with it.
    pub(super) fn forget_parent(&self, path: &str) {
        let mut known = self.known();
        for (end, _) in path.match_indices('/') {
            known.remove(&path[..end]);
        }
    }

    async fn make_with_root(&self, url: &Url) -> Result<(), StoreError> {
        match self.make(url).await {
            Ok(()) => return Ok(()),
            Err(_) if self.is_folder(url).await? => return Ok(()),
            Err(error) if self.depth == 0 => return Err(error),
            Err(_) => {}
        }
        for names in (0..self.depth).rev() {
            let above = self.above(names);
            if let Err(error) = self.make(&above).await
                && !self.is_folder(&above).await?
            {
                return Err(error);
            }
        }
        match self.make(url).await {
            Err(_) if self.is_folder(url).await? => Ok(()),
            outcome => outcome,
        }
    }

    async fn make(&self, url: &Url) -> Result<(), StoreError> {
        let request = self.request_at(method("MKCOL"), url.clone());
        let sending = async { request.send().await };
        let response = match tokio::time::timeout(limits::ATTEMPT, sending).await {
            Ok(Ok(response)) => response,
            Ok(Err(error)) => return Err(super::failure::unsent(&error)),
            Err(late) => return Err(StoreError::Unavailable(late.into())),
        };
        match response.status() {
            // It is there already.
            StatusCode::METHOD_NOT_ALLOWED => Ok(()),
            StatusCode::MULTI_STATUS => self.all_done(response).await,
            status if status.is_success() => Ok(()),
            status => Err(sorted(status)),
        }
    }
}
