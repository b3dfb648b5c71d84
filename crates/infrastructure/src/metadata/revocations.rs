//! Telling the other replicas what was taken back. A SQLite file has one service, and nobody else to tell.

use async_trait::async_trait;
use cloakroom_application::ports::{RepositoryError, Revocation, RevocationFeed};
use cloakroom_domain::{AccountId, FileId, UserId};
use serde::{Deserialize, Serialize};

use super::{Backend, Database, changes::ACCESS_CHANNEL, error::broken};

/// What goes over the channel. Three ids, each byte escaped, stay below the 8,000 bytes that a notification holds.
#[derive(Serialize, Deserialize)]
struct Payload {
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    account: Option<String>,
}

fn payload(revocation: &Revocation) -> Result<String, serde_json::Error> {
    serde_json::to_string(&Payload {
        file: revocation.file.as_ref().map(|id| id.as_str().to_owned()),
        user: revocation.user.as_ref().map(|id| id.as_str().to_owned()),
        account: revocation.account.as_ref().map(|id| id.as_str().to_owned()),
    })
}

/// Reads what another replica wrote; `None` if it cannot be read.
pub(super) fn heard(payload: &str) -> Option<Revocation> {
    let Payload {
        file,
        user,
        account,
    } = serde_json::from_str(payload).ok()?;
    Some(Revocation {
        file: file.map(FileId::parse).transpose().ok()?,
        user: user.map(UserId::parse).transpose().ok()?,
        account: account.map(AccountId::parse).transpose().ok()?,
    })
}

#[async_trait]
impl RevocationFeed for Database {
    async fn announce(&self, revocation: &Revocation) -> Result<(), RepositoryError> {
        if matches!(self.backend, Backend::Sqlite { .. }) {
            return Ok(());
        }
        let payload = payload(revocation).map_err(|_| broken("a revocation cannot be written"))?;
        // On its own a statement is a transaction, committed when it is answered.
        self.writer().await?.notify(ACCESS_CHANNEL, &payload).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_ids_fit_into_a_notification_and_read_back() {
        let worst = |bytes| "\u{1}".repeat(bytes);
        let revocation = Revocation {
            file: FileId::parse(worst(FileId::MAX_BYTES)).ok(),
            user: UserId::parse(worst(UserId::MAX_BYTES)).ok(),
            account: AccountId::parse(worst(AccountId::MAX_BYTES)).ok(),
        };
        let text = payload(&revocation).unwrap();
        assert!(text.len() < 8000, "{}", text.len());
        assert_eq!(heard(&text), Some(revocation));
        let user = Revocation {
            user: UserId::parse("7").ok(),
            ..Revocation::default()
        };
        assert_eq!(heard(&payload(&user).unwrap()), Some(user));
        for nonsense in ["", "7", "[]", "{\"user\":7}", "{\"file\":\"\"}"] {
            assert_eq!(heard(nonsense), None, "{nonsense}");
        }
    }
}
