//! Rate limits: what they count, and how credentials are protected against guessing.

mod bounded;
mod local;

use std::{
    hash::{BuildHasher, RandomState},
    sync::Arc,
    time::Duration,
};

use cloakroom_domain::PrincipalKind;
use moka::sync::Cache;

pub use self::{
    bounded::{Bounded, Rank},
    local::LocalRates,
};
use crate::{
    App, Caller, Error, identify,
    ports::{Credential, Presented, RateClass, RateKey, RateLimiter, RateVerdict},
};

/// So many credentials are known to have been good, each for so long.
const KNOWN_CREDENTIALS: u64 = 10_000;
const KNOWN_FOR: Duration = Duration::from_secs(10 * 60);
/// For how long cookies that were refused are not counted again.
const STALE_FOR: Duration = Duration::from_secs(60);

/// How much each caller may ask for; nothing is limited where it is off.
#[derive(Clone)]
pub struct Rates {
    limiter: Option<Arc<dyn RateLimiter>>,
    known: Known,
    /// Sets of cookies that were refused a moment ago, and counted.
    stale: Cache<u64, ()>,
}

/// Credentials that were accepted a while ago, by hashes that only this process can make.
#[derive(Clone)]
struct Known {
    hashes: Cache<u64, ()>,
    hasher: RandomState,
}

fn stale() -> Cache<u64, ()> {
    Cache::builder()
        .max_capacity(KNOWN_CREDENTIALS)
        .time_to_live(STALE_FOR)
        .build()
}

impl Known {
    fn new() -> Self {
        Self {
            hashes: Cache::builder()
                .max_capacity(KNOWN_CREDENTIALS)
                .time_to_idle(KNOWN_FOR)
                .build(),
            hasher: RandomState::new(),
        }
    }

    fn hash(&self, credential: &Credential) -> Option<u64> {
        let (kind, secret) = match credential {
            Credential::Bearer(secret) => (0, secret),
            Credential::Guest(secret) => (1, secret),
            Credential::Public(secret) => (2, secret),
            Credential::Cookie(secret) => (3, secret),
            Credential::GuestCookie(secret) => (4, secret),
            Credential::PublicCookie(secret) => (5, secret),
            Credential::Malformed => return None,
        };
        Some(self.hasher.hash_one((kind, secret.reveal())))
    }

    fn hash_of_link(&self, link: &Presented) -> u64 {
        self.hasher.hash_one((6, link.reveal()))
    }

    fn hash_of_all(&self, credentials: &[Credential]) -> u64 {
        let hashes: Vec<_> = credentials.iter().map(|one| self.hash(one)).collect();
        self.hasher.hash_one(hashes)
    }

    fn contains(&self, credential: &Credential) -> bool {
        self.hash(credential)
            .is_some_and(|hash| self.hashes.get(&hash).is_some())
    }

    fn remember(&self, credential: &Credential) {
        if let Some(hash) = self.hash(credential)
            && self.hashes.get(&hash).is_none()
        {
            self.hashes.insert(hash, ());
        }
    }
}

impl Rates {
    /// Counted by that limiter.
    #[must_use]
    pub fn new(limiter: Arc<dyn RateLimiter>) -> Self {
        Self {
            limiter: Some(limiter),
            known: Known::new(),
            stale: stale(),
        }
    }

    /// Nothing is limited.
    #[must_use]
    pub fn off() -> Self {
        Self {
            limiter: None,
            known: Known::new(),
            stale: stale(),
        }
    }

    /// Takes a permit; `None` where nothing is limited.
    ///
    /// # Errors
    /// [`Error::RateLimited`] where there is none.
    pub async fn take(&self, class: RateClass, key: RateKey) -> Result<Option<RateVerdict>, Error> {
        let Some(limiter) = &self.limiter else {
            return Ok(None);
        };
        let verdict = limiter.take(class, key).await;
        match verdict.refused {
            Some(_) => Err(Error::RateLimited(verdict)),
            None => Ok(Some(verdict)),
        }
    }

    /// Refuses what would be refused, as far as is known without asking anybody. Takes nothing.
    ///
    /// # Errors
    /// [`Error::RateLimited`] where there is no permit.
    pub fn check(&self, class: RateClass, key: RateKey) -> Result<(), Error> {
        let Some(limiter) = &self.limiter else {
            return Ok(());
        };
        match limiter.refusing(class, key) {
            Some(wait) => Err(Error::RateLimited(RateVerdict {
                class,
                policy: limiter.policy(class),
                remaining: 0,
                refused: Some(wait),
            })),
            None => Ok(()),
        }
    }
}

/// A recognised caller.
#[derive(Debug)]
pub struct Recognised {
    /// Who it is.
    pub caller: Caller,
    /// Where it came with credentials of which none was accepted: what a 401 would have to go through.
    pub attempt: Option<Attempt>,
}

/// Credentials of which none was accepted, but which were no reason to refuse the request either: cookies.
#[derive(Debug, Clone)]
pub struct Attempt {
    from: RateKey,
    /// The cookies, by a hash that only this process can make.
    cookies: u64,
    /// Cookies that were not looked at, because too many were refused before.
    untried: Option<RateVerdict>,
}

impl Attempt {
    /// What an answer 401 becomes: counted, it may be one too many. The very same cookies count once a minute: a page
    /// of many pictures whose visitor was signed out guesses nothing.
    pub async fn refused(&self, rates: &Rates) -> Error {
        if let Some(verdict) = self.untried {
            return Error::RateLimited(verdict);
        }
        if rates.stale.contains_key(&self.cookies) {
            return Error::Unauthenticated;
        }
        rates.stale.insert(self.cookies, ());
        counted(rates, self.from).await
    }
}

/// What a refused credential is answered with: it is counted, and may be one too many.
pub(crate) async fn counted(rates: &Rates, from: RateKey) -> Error {
    match rates.take(RateClass::AuthFailure, from).await {
        Err(refused) => refused,
        Ok(_) => Error::Unauthenticated,
    }
}

/// Judges a link as [`recognise`] does any other credential: while too many from that address were refused, only one
/// that was accepted a while ago is looked at.
///
/// # Errors
/// [`Error::Unauthenticated`] if `judging` finds nothing, [`Error::RateLimited`].
pub(crate) async fn guarded<T>(
    app: &App,
    link: &Presented,
    from: RateKey,
    judging: impl Future<Output = Result<Option<T>, Error>>,
) -> Result<T, Error> {
    let known = &app.rates.known;
    let hash = known.hash_of_link(link);
    let was_good = known.hashes.get(&hash).is_some();
    if !was_good {
        app.rates.check(RateClass::AuthFailure, from)?;
    }
    let Some(found) = judging.await? else {
        return Err(counted(&app.rates, from).await);
    };
    if !was_good {
        known.hashes.insert(hash, ());
    }
    Ok(found)
}

/// As [`identify`], with refusals counted by the address that they came from. While it has used up its limit, no
/// credential from there is looked up unless it was accepted a while ago: who guesses is stopped, and who shares the
/// address with a guesser is not.
///
/// # Errors
/// As [`identify`], and [`Error::RateLimited`].
pub async fn recognise(
    app: &App,
    mut credentials: Vec<Credential>,
    from: RateKey,
) -> Result<Recognised, Error> {
    let cookies = (!credentials.is_empty()).then(|| app.rates.known.hash_of_all(&credentials));
    let mut untried = None;
    if cookies.is_some()
        && let Err(Error::RateLimited(verdict)) = app.rates.check(RateClass::AuthFailure, from)
    {
        let known = |credential: &Credential| app.rates.known.contains(credential);
        // The first one decides if it is explicit: accepted it wins, refused it is final.
        if credentials
            .first()
            .is_some_and(|first| first.is_explicit() && !known(first))
        {
            return Err(Error::RateLimited(verdict));
        }
        let all = credentials.len();
        credentials.retain(known);
        untried = (credentials.len() < all).then_some(verdict);
    }
    let caller = match identify(app, credentials).await {
        Err(Error::Unauthenticated) => return Err(counted(&app.rates, from).await),
        caller => caller?,
    };
    if let Some(credential) = &caller.credential {
        app.rates.known.remember(credential);
    }
    let attempt = cookies
        .filter(|_| caller.kind == PrincipalKind::Anonymous)
        .map(|cookies| Attempt {
            from,
            cookies,
            untried,
        });
    Ok(Recognised { caller, attempt })
}
