//! Rate limits: so many at once, so many in a window in the long run.

use std::{net::IpAddr, num::NonZeroU32, time::Duration};

use async_trait::async_trait;
use cloakroom_domain::{Principal, PrincipalKind, Sha256Digest};

/// What is counted together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RateClass {
    /// Uploads begun.
    Upload,
    /// Requests for bytes.
    Download,
    /// Requests whose credential was refused.
    AuthFailure,
}

impl RateClass {
    /// Every class.
    pub const ALL: [Self; 3] = [Self::Upload, Self::Download, Self::AuthFailure];

    /// The name in headers and keys.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Upload => "upload",
            Self::Download => "download",
            Self::AuthFailure => "auth_failure",
        }
    }
}

/// A limit by the generic cell rate algorithm: at most `permits` at once, and as many in each window in the long run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RatePolicy {
    /// How many.
    pub permits: NonZeroU32,
    /// In how long.
    pub window: Duration,
}

impl RatePolicy {
    /// The time in which one permit comes back, rounded up to a whole microsecond, so that never more come back than
    /// the limit says.
    #[must_use]
    pub fn interval(&self) -> Duration {
        let window = self.window.as_micros();
        let micros = window.div_ceil(u128::from(self.permits.get())).max(1);
        Duration::from_micros(u64::try_from(micros).unwrap_or(u64::MAX))
    }
}

/// The limit of each class.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RatePolicies {
    /// Of uploads begun.
    pub upload: RatePolicy,
    /// Of requests for bytes.
    pub download: RatePolicy,
    /// Of refused credentials.
    pub auth_failure: RatePolicy,
}

impl RatePolicies {
    /// The limit of a class.
    #[must_use]
    pub const fn of(&self, class: RateClass) -> RatePolicy {
        match class {
            RateClass::Upload => self.upload,
            RateClass::Download => self.download,
            RateClass::AuthFailure => self.auth_failure,
        }
    }
}

/// Who is counted: a hash, the same on every replica, that tells neither a token nor an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RateKey(u128);

impl RateKey {
    /// A caller: the same user by whatever credential it came, or the same token where there is no user. `None` for
    /// the anonymous caller.
    #[must_use]
    pub fn of_principal(who: &Principal) -> Option<Self> {
        if who.kind == PrincipalKind::Anonymous {
            return None;
        }
        let account = who.account.as_ref().map(|id| id.as_str());
        let user = who.user.as_ref().map(|id| id.as_str());
        let token = who.token.as_ref().filter(|_| user.is_none());
        let token = token.map(|hash| hash.bytes().as_slice());
        let mut text = vec![b'p'];
        let parts = [
            Some(who.kind.as_str().as_bytes()),
            account.map(str::as_bytes),
            user.map(str::as_bytes),
            token,
        ];
        for part in parts {
            // A length before each, so that no two callers are written alike.
            let length = part.map_or(u64::MAX, |part| part.len() as u64);
            text.extend_from_slice(&length.to_be_bytes());
            text.extend_from_slice(part.unwrap_or_default());
        }
        Some(Self::hash(&text))
    }

    /// A client: its IPv4 address, or the /64 network of its IPv6 address, since a single host has all of that.
    #[must_use]
    pub fn of_address(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(v4) => Self::hash(&[b"4".as_slice(), &v4.octets()].concat()),
            IpAddr::V6(v6) => Self::hash(&[b"6".as_slice(), &v6.octets()[..8]].concat()),
        }
    }

    fn hash(text: &[u8]) -> Self {
        let mut half = [0; 16];
        half.copy_from_slice(&Sha256Digest::of(text).bytes()[..16]);
        Self(u128::from_be_bytes(half))
    }

    /// The hash itself.
    #[must_use]
    pub const fn value(self) -> u128 {
        self.0
    }
}

/// How a limiter answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateVerdict {
    /// Of what.
    pub class: RateClass,
    /// The limit that it was held against.
    pub policy: RatePolicy,
    /// Permits that are left, as far as is known.
    pub remaining: u32,
    /// When it was refused: how long until a permit may be there.
    pub refused: Option<Duration>,
}

impl RateVerdict {
    /// How long until every permit is back.
    #[must_use]
    pub fn reset(&self) -> Duration {
        let gone = self.policy.permits.get().saturating_sub(self.remaining);
        self.policy.interval().saturating_mul(gone)
    }
}

/// Counts. It never fails: what it cannot count together with others it counts by itself.
#[async_trait]
pub trait RateLimiter: Send + Sync {
    /// Takes a permit, or none if there is none.
    async fn take(&self, class: RateClass, key: RateKey) -> RateVerdict;

    /// How long there will be no permit, as far as is known without asking anybody; `None` if there may be one now.
    /// Takes nothing.
    fn refusing(&self, class: RateClass, key: RateKey) -> Option<Duration>;

    /// The limit of a class.
    fn policy(&self, class: RateClass) -> RatePolicy;
}

#[cfg(test)]
mod tests {
    use cloakroom_domain::{AccountId, TokenHash, UserId};

    use super::*;

    fn who(kind: PrincipalKind, account: &str, user: Option<&str>) -> Principal {
        Principal {
            kind,
            account: AccountId::parse(account).ok(),
            user: user.and_then(|id| UserId::parse(id).ok()),
            token: None,
        }
    }

    fn of(address: &str) -> RateKey {
        RateKey::of_address(address.parse().unwrap())
    }

    #[test]
    fn an_ipv6_network_of_64_bits_counts_as_one_and_a_mapped_address_as_ipv4() {
        assert_eq!(of("2001:db8:1:2::1"), of("2001:db8:1:2:ffff::9"));
        assert_ne!(of("2001:db8:1:2::1"), of("2001:db8:1:3::1"));
        assert_eq!(of("::ffff:192.0.2.1"), of("192.0.2.1"));
        assert_ne!(of("192.0.2.1"), of("192.0.2.2"));
    }

    #[test]
    fn callers_are_told_apart_and_the_anonymous_one_is_none() {
        let key = |who: &Principal| RateKey::of_principal(who).unwrap();
        let user = who(PrincipalKind::User, "1", Some("23"));
        assert_eq!(key(&user), key(&user.clone()));
        assert_ne!(key(&user), key(&who(PrincipalKind::User, "12", Some("3"))));
        assert_ne!(key(&user), key(&who(PrincipalKind::Guest, "1", Some("23"))));
        let visitor = Principal {
            token: Some(TokenHash::of("a")),
            ..who(PrincipalKind::Public, "1", None)
        };
        let other = Principal {
            token: Some(TokenHash::of("b")),
            ..visitor.clone()
        };
        assert_ne!(key(&visitor), key(&other));
        assert_eq!(RateKey::of_principal(&Principal::anonymous()), None);
    }

    #[test]
    fn a_permit_never_comes_back_too_early() {
        let policy = RatePolicy {
            permits: NonZeroU32::new(7).unwrap(),
            window: Duration::from_secs(1),
        };
        assert!(policy.interval() * 7 >= policy.window);
        assert!(policy.interval() * 7 < policy.window + Duration::from_micros(7));
    }
}
