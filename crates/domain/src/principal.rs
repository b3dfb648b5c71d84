//! Who is calling, and what the owner rule gives them.

use std::fmt;

use crate::{AccountId, BucketName, File, Sha256Digest, UserId, Visibility};

/// What the place of a token's hash begins with where no caller, but a bucket owns. No hash of a token begins so.
const OF_A_BUCKET: [u8; 16] = *b"cloakroom bucket";

/// SHA-256 of a token: the form in which a token is kept.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct TokenHash(Sha256Digest);

impl TokenHash {
    /// Hashes a token. Tokens are long and random, so no salt or stretching is needed.
    #[must_use]
    pub fn of(token: &str) -> Self {
        Self(Sha256Digest::of(token.as_bytes()))
    }

    /// What stands for a bucket where the hash of a visitor's token would.
    fn of_bucket(name: &BucketName) -> Self {
        let hash = Sha256Digest::of(name.as_str().as_bytes());
        let mut bytes = *hash.bytes();
        bytes[..OF_A_BUCKET.len()].copy_from_slice(&OF_A_BUCKET);
        Self(Sha256Digest::new(bytes))
    }

    /// From the 32 bytes that a row holds.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(Sha256Digest::new(bytes))
    }

    /// The 32 bytes.
    #[must_use]
    pub const fn bytes(&self) -> &[u8; 32] {
        self.0.bytes()
    }
}

impl fmt::Debug for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenHash(..)")
    }
}

/// The kind of a caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PrincipalKind {
    /// No credential, or only refused cookies.
    Anonymous,
    /// A signed-in user of an account.
    User,
    /// A visitor with a guest token.
    Guest,
    /// A visitor with a public or embed token.
    Public,
    /// Another service of the same system.
    Service,
    /// The operator.
    Admin,
}

impl PrincipalKind {
    /// The name in logs, in the database and on the command line.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Anonymous => "anonymous",
            Self::User => "user",
            Self::Guest => "guest",
            Self::Public => "public",
            Self::Service => "service",
            Self::Admin => "admin",
        }
    }

    /// Reads the name; `None` for any other text.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        [
            Self::Anonymous,
            Self::User,
            Self::Guest,
            Self::Public,
            Self::Service,
            Self::Admin,
        ]
        .into_iter()
        .find(|kind| kind.as_str() == text)
    }
}

/// A recognised caller.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Principal {
    /// What kind of caller.
    pub kind: PrincipalKind,
    /// The account it acts in; an admin may have none.
    pub account: Option<AccountId>,
    /// The user it is, where it is one.
    pub user: Option<UserId>,
    /// The hash of the token it came with, where that tells it from other callers: a visitor owns files by it.
    pub token: Option<TokenHash>,
}

impl Principal {
    /// The caller without a credential.
    #[must_use]
    pub const fn anonymous() -> Self {
        Self {
            kind: PrincipalKind::Anonymous,
            account: None,
            user: None,
            token: None,
        }
    }

    /// Whether the kind may hand files in at all.
    #[must_use]
    pub const fn may_upload(&self) -> bool {
        !matches!(self.kind, PrincipalKind::Anonymous)
    }

    /// Whether it uploads on behalf of an account that it names.
    #[must_use]
    pub const fn names_account(&self) -> bool {
        matches!(self.kind, PrincipalKind::Admin | PrincipalKind::Service)
    }

    /// The owner of what this caller uploads into `account`.
    ///
    /// Visitors without a user own by the very token they came with; services own in the name of the account.
    #[must_use]
    pub fn owner_in(&self, account: AccountId) -> Owner {
        let by_token = matches!(self.kind, PrincipalKind::Guest | PrincipalKind::Public)
            && self.user.is_none();
        let same_account = self.account.as_ref().is_none_or(|own| *own == account);
        Owner {
            user: self.user.clone().filter(|_| same_account),
            token: self.token.filter(|_| by_token),
            account,
        }
    }

    /// The owner rule: same account and same user, or the very same visitor's token.
    #[must_use]
    pub fn owns(&self, owner: &Owner) -> bool {
        if self.kind == PrincipalKind::Anonymous || self.account.as_ref() != Some(&owner.account) {
            return false;
        }
        match (&self.user, &owner.user) {
            (Some(mine), Some(theirs)) => mine == theirs,
            (None, None) if self.kind == PrincipalKind::Service => owner.token.is_none(),
            (None, None) => self.token.is_some() && self.token == owner.token,
            _ => false,
        }
    }

    /// Whether it may do everything.
    #[must_use]
    pub const fn is_admin(&self) -> bool {
        matches!(self.kind, PrincipalKind::Admin)
    }

    /// The visibility rule: what is public or of the account may be read, and no more than that.
    #[must_use]
    pub fn sees(&self, file: &File, action: Action) -> bool {
        action == Action::Read
            && match file.visibility {
                Visibility::Public => true,
                Visibility::Account => self.account.as_ref() == Some(file.account()),
                Visibility::Private => false,
            }
    }

    /// What is decided without asking anybody: admin, owner, visibility.
    #[must_use]
    pub fn may_without_asking(&self, file: &File, action: Action) -> bool {
        self.is_admin() || self.owns(&file.owner) || self.sees(file, action)
    }
}

/// Whose a file is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Owner {
    /// The account.
    pub account: AccountId,
    /// The user, where a user uploaded it.
    pub user: Option<UserId>,
    /// The visitor's token, where one without a user uploaded it; or what stands for the bucket of an object.
    pub token: Option<TokenHash>,
}

impl Owner {
    /// The owner of a bucket's objects: the bucket itself, which no caller is.
    #[must_use]
    pub fn bucket(account: AccountId, name: &BucketName) -> Self {
        Self {
            account,
            user: None,
            token: Some(TokenHash::of_bucket(name)),
        }
    }

    /// Whether a bucket owns, so that its policy alone says who may do what.
    #[must_use]
    pub fn is_bucket(&self) -> bool {
        self.token
            .is_some_and(|token| token.bytes().starts_with(&OF_A_BUCKET))
    }
}

/// What a caller wants to do to a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    /// See its bytes or its data.
    Read,
    /// Change its data, add or restore versions.
    Write,
    /// Put it in the trash, take it out again, purge it.
    Delete,
    /// Make links to it.
    Share,
}

impl Action {
    /// Every action.
    pub const ALL: [Self; 4] = [Self::Read, Self::Write, Self::Delete, Self::Share];

    /// The name in settings and on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Delete => "delete",
            Self::Share => "share",
        }
    }

    /// Reads the name; `None` for any other text.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|action| action.as_str() == text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn who(
        kind: PrincipalKind,
        account: &str,
        user: Option<&str>,
        token: Option<&str>,
    ) -> Principal {
        Principal {
            kind,
            account: AccountId::parse(account).ok(),
            user: user.map(|u| UserId::parse(u).unwrap()),
            token: token.map(TokenHash::of),
        }
    }

    fn account(id: &str) -> AccountId {
        AccountId::parse(id).unwrap()
    }

    #[test]
    fn a_user_owns_by_account_and_user() {
        let alice = who(PrincipalKind::User, "1", Some("7"), None);
        let owner = alice.owner_in(account("1"));
        assert!(alice.owns(&owner));
        assert!(!who(PrincipalKind::User, "1", Some("8"), None).owns(&owner));
        assert!(!who(PrincipalKind::User, "2", Some("7"), None).owns(&owner));
        assert!(!Principal::anonymous().owns(&owner));
    }

    #[test]
    fn a_visitor_owns_by_the_very_same_token() {
        let visitor = who(PrincipalKind::Public, "1", None, Some("aaaaaaaa"));
        let owner = visitor.owner_in(account("1"));
        assert!(visitor.owns(&owner));
        assert!(!who(PrincipalKind::Public, "1", None, Some("bbbbbbbb")).owns(&owner));
        assert!(!who(PrincipalKind::Service, "1", None, Some("x")).owns(&owner));
        assert!(!who(PrincipalKind::User, "1", Some("7"), None).owns(&owner));
    }

    #[test]
    fn a_service_owns_what_services_uploaded_for_its_account() {
        let old = who(PrincipalKind::Service, "1", None, Some("old"));
        let owner = old.owner_in(account("1"));
        assert!(who(PrincipalKind::Service, "1", None, Some("new")).owns(&owner));
        assert!(!who(PrincipalKind::Service, "2", None, Some("old")).owns(&owner));
        let alice = who(PrincipalKind::User, "1", Some("7"), None).owner_in(account("1"));
        assert!(!old.owns(&alice));
    }

    #[test]
    fn what_a_bucket_owns_is_no_callers() {
        let name = |text| BucketName::parse(text).unwrap();
        let owner = Owner::bucket(account("1"), &name("invoices"));
        assert!(owner.is_bucket());
        assert_ne!(owner, Owner::bucket(account("1"), &name("reports")));
        for kind in [PrincipalKind::Service, PrincipalKind::Public] {
            let caller = who(kind, "1", None, Some("invoices"));
            assert!(!caller.owns(&owner) && !caller.owner_in(account("1")).is_bucket());
        }
    }

    #[test]
    fn a_user_of_a_service_token_is_not_carried_into_another_account() {
        let service = who(PrincipalKind::Service, "1", Some("7"), None);
        assert_eq!(service.owner_in(account("2")).user, None);
        assert!(service.owner_in(account("1")).user.is_some());
    }
}
