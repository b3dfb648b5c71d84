//! `cloakroom token create`, `list` and `revoke`.

use cloakroom_application::ports::{NewToken, RepositoryError, TokenRepository};
use cloakroom_domain::{AccountId, InvalidId, TokenHash, TokenId, UserId};
use cloakroom_infrastructure::metadata::Database;
use cloakroom_presentation::TokenBody;
use serde::Serialize;

use crate::{
    cli::{NewTokenArgs, Output, TokenCommand, TokenKind},
    config::Config,
    failure::Failure,
    new_token::new_token,
    output::{say, say_json},
    wiring::database,
};

const MAX_NAME: usize = 200;

/// A new token as scripts see it: the only time that the token itself is shown.
#[derive(Serialize)]
struct Created<'a> {
    #[serde(flatten)]
    body: TokenBody,
    token: &'a str,
}

/// Runs the command.
///
/// # Errors
/// The arguments do not fit together, or the database failed.
pub(crate) async fn run(command: &TokenCommand, config: &Config) -> Result<(), Failure> {
    match command {
        TokenCommand::Create { new, output } => {
            let (account, user) = owner(new)?;
            let database = database::open(config, false).await?;
            let done = create(&database, new, account, user, *output).await;
            database.close().await;
            done
        }
        TokenCommand::List { output } => {
            let database = database::open_as_it_is(config).await?;
            let done = list(&database, *output).await;
            database.close().await;
            done
        }
        TokenCommand::Revoke { id, output } => {
            let id = TokenId::parse(id)
                .map_err(|error| Failure::usage(format!("the token's id {error}")))?;
            let database = database::open_as_it_is(config).await?;
            let done = revoke(&database, id, *output).await;
            database.close().await;
            done
        }
    }
}

/// The account and the user of a new token: a user has both, a service or an admin may have an account, in whose name
/// it uploads where it names no other.
fn owner(new: &NewTokenArgs) -> Result<(Option<AccountId>, Option<UserId>), Failure> {
    let complaint = match (new.kind, &new.account, &new.user) {
        (TokenKind::User, Some(_), Some(_)) | (TokenKind::Service | TokenKind::Admin, _, None) => {
            None
        }
        (TokenKind::User, _, _) => Some("a user's token needs --account and --user"),
        (TokenKind::Service, _, Some(_)) => Some("a service's token has no --user"),
        (TokenKind::Admin, _, Some(_)) => Some("an admin's token has no --user"),
    };
    if let Some(complaint) = complaint {
        return Err(Failure::usage(complaint));
    }
    let unprintable = new.name.chars().any(char::is_control);
    if new.name.trim().is_empty() || new.name.len() > MAX_NAME || unprintable {
        let text = format!("--name is 1 to {MAX_NAME} bytes without control characters");
        return Err(Failure::usage(text));
    }
    let bad =
        |what: &'static str| move |error: InvalidId| Failure::usage(format!("--{what} {error}"));
    let account = new.account.clone().map(AccountId::parse).transpose();
    let user = new.user.clone().map(UserId::parse).transpose();
    Ok((account.map_err(bad("account"))?, user.map_err(bad("user"))?))
}

async fn create(
    tokens: &Database,
    new: &NewTokenArgs,
    account: Option<AccountId>,
    user: Option<UserId>,
    output: Output,
) -> Result<(), Failure> {
    let secret = new_token()?;
    let kept = tokens
        .create(NewToken {
            id: TokenId::random(),
            name: new.name.clone(),
            kind: new.kind.into(),
            account,
            user,
            hash: TokenHash::of(secret.reveal()),
        })
        .await
        .map_err(|error| failed(&error))?;
    if output.json {
        return say_json(&Created {
            body: TokenBody::from(&kept),
            token: secret.reveal(),
        });
    }
    // Standard output has the token alone, for `TOKEN=$(cloakroom token create …)`.
    eprintln!(
        "token {} ({}), shown this once:",
        kept.id,
        kept.kind.as_str()
    );
    say(secret.reveal())
}

async fn list(tokens: &Database, output: Output) -> Result<(), Failure> {
    let tokens = tokens.list().await.map_err(|error| failed(&error))?;
    if output.json {
        let bodies: Vec<TokenBody> = tokens.iter().map(TokenBody::from).collect();
        return say_json(&bodies);
    }
    for token in tokens {
        let account = token.account.as_ref().map_or("-", AccountId::as_str);
        let user = token.user.as_ref().map_or("-", UserId::as_str);
        let state = if token.revoked_at.is_some() {
            "revoked"
        } else {
            "valid"
        };
        say(&format!(
            "{}  {:<7}  {state:<7}  account {account}  user {user}  {}",
            token.id,
            token.kind.as_str(),
            token.name
        ))?;
    }
    Ok(())
}

async fn revoke(tokens: &Database, id: TokenId, output: Output) -> Result<(), Failure> {
    let revoked = tokens.revoke(id).await.map_err(|error| failed(&error))?;
    if output.json {
        say_json(&serde_json::json!({ "token_id": id.to_string(), "revoked": revoked }))?;
    }
    match revoked {
        true if output.json => Ok(()),
        true => say(&format!("revoked {id}")),
        false => Err(Failure::new(format!("there is no valid token {id}"))),
    }
}

fn failed(error: &RepositoryError) -> Failure {
    Failure::because("the tokens", error)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fits(kind: TokenKind, account: Option<&str>, user: Option<&str>) -> bool {
        owner(&NewTokenArgs {
            kind,
            name: "n".to_owned(),
            account: account.map(str::to_owned),
            user: user.map(str::to_owned),
        })
        .is_ok()
    }

    #[test]
    fn a_user_needs_account_and_user_a_service_or_an_admin_may_have_an_account() {
        use TokenKind::{Admin, Service, User};
        assert!(fits(User, Some("1"), Some("7")));
        assert!(!fits(User, Some("1"), None) && !fits(User, None, Some("7")));
        assert!(fits(Service, None, None) && fits(Service, Some("1"), None));
        assert!(!fits(Service, Some("1"), Some("7")));
        assert!(fits(Admin, None, None) && fits(Admin, Some("1"), None));
        assert!(!fits(Admin, None, Some("7")) && !fits(Admin, Some("1"), Some("7")));
        assert!(!fits(Service, Some(""), None));
    }
}
