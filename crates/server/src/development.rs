//! Development mode: tokens that the service made up, for a machine of one's own.

use std::{
    fs::{self, File, OpenOptions, Permissions},
    io::{self, ErrorKind, Write},
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::Path,
};

use cloakroom_application::authenticators::{FixedToken, FixedTokens};
use cloakroom_domain::{AccountId, InvalidId, Principal, PrincipalKind, TokenHash, UserId};
use serde::{Deserialize, Serialize};

use crate::{config::Secret, failure::Failure, new_token::new_token};

const FILE: &str = "development-tokens.json";
/// The account and the user that the tokens stand for.
const ID: &str = "1";
const MODE: u32 = 0o600;

/// The two tokens of development mode.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DevelopmentTokens {
    /// Of an admin in account 1.
    pub(crate) admin: Secret,
    /// Of user 1 in account 1.
    pub(crate) user: Secret,
}

/// The tokens as they are in the file.
#[derive(Serialize, Deserialize)]
struct Kept {
    admin: String,
    user: String,
}

impl DevelopmentTokens {
    /// The tokens kept in the folder, made at the first start.
    ///
    /// # Errors
    /// The file cannot be read or made, or is not what it was.
    pub(crate) fn kept_in(folder: &Path) -> Result<Self, Failure> {
        let path = folder.join(FILE);
        let failed = |error: io::Error| Failure::because(&path.display().to_string(), &error);
        match fs::read(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let new = Self {
                    admin: new_token()?,
                    user: new_token()?,
                };
                new.keep(folder, &path).map_err(failed)?;
            }
            Err(error) => return Err(failed(error)),
            Ok(_) => {}
        }
        // Read back, also where another start was faster.
        let file = File::open(&path).map_err(failed)?;
        let mode = file.metadata().map_err(failed)?.permissions().mode();
        if mode & 0o077 != 0 {
            tracing::warn!(path = %path.display(), "the file of the development tokens was open to others");
            file.set_permissions(Permissions::from_mode(MODE))
                .map_err(failed)?;
        }
        // The error of the parser would quote what it read.
        let kept: Option<Kept> = serde_json::from_reader(file).ok();
        kept.filter(|kept| !kept.admin.is_empty() && !kept.user.is_empty())
            .map(|kept| Self {
                admin: Secret::new(kept.admin),
                user: Secret::new(kept.user),
            })
            .ok_or_else(|| {
                Failure::new(format!(
                    "{} does not hold development tokens; remove it, and the next start makes new ones",
                    path.display()
                ))
            })
    }

    /// Writes the file so that it appears whole, and only if there is none.
    fn keep(&self, folder: &Path, path: &Path) -> io::Result<()> {
        let kept = Kept {
            admin: self.admin.reveal().to_owned(),
            user: self.user.reveal().to_owned(),
        };
        let draft = folder.join(format!("{FILE}.{}", std::process::id()));
        let written = write_draft(&draft, &kept).and_then(|()| fs::hard_link(&draft, path));
        fs::remove_file(&draft)?;
        match written {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
            Err(error) => Err(error),
            Ok(()) => File::open(folder)?.sync_all(),
        }
    }

    /// Who comes with them, as `Authorization` or in a cookie.
    ///
    /// # Errors
    /// The account or the user cannot be named.
    pub(crate) fn authenticator(&self) -> Result<FixedTokens, InvalidId> {
        let fixed = |token: &Secret, kind, user| -> Result<FixedToken, InvalidId> {
            Ok(FixedToken {
                hash: TokenHash::of(token.reveal()),
                principal: Principal {
                    kind,
                    account: Some(AccountId::parse(ID)?),
                    user,
                    token: None,
                },
                in_cookie: true,
            })
        };
        let user = Some(UserId::parse(ID)?);
        Ok(FixedTokens::new(vec![
            fixed(&self.admin, PrincipalKind::Admin, None)?,
            fixed(&self.user, PrincipalKind::User, user)?,
        ]))
    }
}

fn write_draft(draft: &Path, kept: &Kept) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(MODE)
        .open(draft)?;
    let mut text = serde_json::to_string_pretty(kept)?;
    text.push('\n');
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

/// Who comes with the configured admin token: an admin in no account, never from a cookie.
pub(crate) fn operator(token: &Secret) -> FixedTokens {
    let hash = TokenHash::of(token.reveal());
    let principal = Principal {
        kind: PrincipalKind::Admin,
        account: None,
        user: None,
        token: Some(hash),
    };
    FixedTokens::new(vec![FixedToken {
        hash,
        principal,
        in_cookie: false,
    }])
}

#[cfg(test)]
mod tests {
    use cloakroom_application::ports::{Authenticator, Credential, Presented};

    use super::*;

    #[test]
    fn the_tokens_of_the_first_start_are_used_again_and_are_for_their_owner_only() {
        let folder = tempfile::tempdir().unwrap();
        let first = DevelopmentTokens::kept_in(folder.path()).unwrap();
        let path = folder.path().join(FILE);
        let mode = || fs::metadata(&path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(), 0o600);
        fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        assert!(DevelopmentTokens::kept_in(folder.path()).unwrap() == first);
        assert_eq!(mode(), 0o600);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        assert!(first.admin != first.user);
    }

    #[test]
    fn a_file_that_is_something_else_is_not_overwritten_and_not_quoted() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(FILE);
        for broken in [
            "",
            "canary",
            "{\"admin\": \"canary\"}",
            "{\"admin\": \"\", \"user\": \"\"}",
        ] {
            fs::write(&path, broken).unwrap();
            let failure = DevelopmentTokens::kept_in(folder.path()).unwrap_err();
            assert!(!format!("{failure:?}").contains("canary"));
            assert_eq!(fs::read_to_string(&path).unwrap(), broken);
        }
    }

    #[tokio::test]
    async fn development_tokens_come_in_cookies_too_and_the_operators_does_not() {
        let folder = tempfile::tempdir().unwrap();
        let tokens = DevelopmentTokens::kept_in(folder.path()).unwrap();
        let secret = Presented::new(tokens.user.reveal().to_owned());
        let knows = tokens.authenticator().unwrap();
        let who = knows
            .authenticate(&Credential::Cookie(secret))
            .await
            .unwrap();
        let who = who.unwrap();
        assert_eq!(who.kind, PrincipalKind::User);
        assert_eq!(
            (who.account, who.user),
            (AccountId::parse("1").ok(), UserId::parse("1").ok())
        );

        let knows = operator(&Secret::new("of-the-operator".to_owned()));
        let secret = || Presented::new("of-the-operator".to_owned());
        assert!(
            knows
                .authenticate(&Credential::Cookie(secret()))
                .await
                .unwrap()
                .is_none()
        );
        let who = knows
            .authenticate(&Credential::Bearer(secret()))
            .await
            .unwrap()
            .unwrap();
        assert_eq!((who.kind, who.account), (PrincipalKind::Admin, None));
    }
}
