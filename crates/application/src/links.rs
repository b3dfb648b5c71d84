//! Signed links: making, listing and revoking them, and reading a file by one.

mod token;

use std::{sync::Arc, time::Duration};

use cloakroom_domain::{Disposition, File, FileId, Link, LinkId, LinkUses, MAX_LINK_USES};

pub use self::token::{LinkKey, ShortKey};
use crate::{
    App, Authorized, Error,
    access::linked,
    page::PageSize,
    ports::{LinkMark, LinkRepository, LinkState, MAX_LINKS, NewLink, Presented, RateKey},
    rates,
};

const DEFAULT_PAGE: u32 = 100;

/// Links are listed for so long after they expired.
const LISTED_FOR: Duration = Duration::from_secs(24 * 60 * 60);

/// How links are kept, signed and bounded.
#[derive(Clone)]
pub struct Links {
    repository: Arc<dyn LinkRepository>,
    key: Option<LinkKey>,
    lifetime: Duration,
    max_lifetime: Duration,
}

impl Links {
    /// Signed with that key, good for `lifetime` unless said otherwise, and for `max_lifetime` at most.
    #[must_use]
    pub fn new(
        repository: Arc<dyn LinkRepository>,
        key: LinkKey,
        lifetime: Duration,
        max_lifetime: Duration,
    ) -> Self {
        Self {
            repository,
            key: Some(key),
            lifetime,
            max_lifetime,
        }
    }

    /// Without a key: none can be made, and each is refused. For commands that run beside the service.
    #[must_use]
    pub fn without_key(repository: Arc<dyn LinkRepository>) -> Self {
        Self {
            repository,
            key: None,
            lifetime: Duration::ZERO,
            max_lifetime: Duration::ZERO,
        }
    }

    /// How many links of the file may be used now.
    pub(crate) async fn good_of(&self, file: &FileId) -> Result<u64, Error> {
        Ok(self.repository.good_of_file(file).await?)
    }

    /// Removes up to `limit` links that nobody has a use for any more.
    pub(crate) async fn forget(&self, limit: u32) -> Result<u64, Error> {
        Ok(self.repository.forget(LISTED_FOR, limit).await?)
    }
}

/// A link that somebody wants to have.
#[derive(Debug, Clone, Copy, Default)]
pub struct LinkRequest {
    /// How long it is good for, in seconds; the configured time if not said.
    pub expires_in: Option<u64>,
    /// How browsers are to take the file; as an attachment if not said.
    pub disposition: Option<Disposition>,
    /// How often it may be used.
    pub max_uses: Option<u64>,
    /// The version; the current one at each use if not said.
    pub version: Option<u64>,
}

/// A link that was just made, with what opens the file: this is the only time that it is told.
#[derive(Debug, Clone)]
pub struct NewlyMade {
    /// The link.
    pub link: Link,
    /// What its address has behind `?link=`.
    pub token: Presented,
}

/// A page of links.
#[derive(Debug, Clone)]
pub struct LinkPage {
    /// The links, newest first.
    pub items: Vec<Link>,
    /// Where to go on; `None` at the end.
    pub next: Option<LinkMark>,
}

/// Makes a link to a file that the caller may share.
///
/// # Errors
/// [`Error::BadValue`] for a time or a number of uses outside their bounds, [`Error::NotFound`] if there is no such
/// version, [`Error::Conflict`] if the file has [`MAX_LINKS`] links.
pub async fn make_link(
    app: &App,
    file: &Authorized<File>,
    request: LinkRequest,
) -> Result<NewlyMade, Error> {
    let links = &app.links;
    let key = links.key.as_ref().ok_or_else(|| {
        let why = "there is no key to sign links with";
        Error::Internal(why.into())
    })?;
    let lifetime = lifetime(links, request.expires_in)?;
    let max_uses = request.max_uses.map(|number| {
        LinkUses::new(number)
            .ok_or_else(|| Error::BadValue(format!("max_uses must be from 1 to {MAX_LINK_USES}")))
    });
    if let Some(number) = request.version
        && (i64::try_from(number).is_err() || app.files.version(&file.id, number).await?.is_none())
    {
        return Err(Error::NotFound);
    }
    let new = NewLink {
        id: LinkId::random(),
        file: file.id.clone(),
        version: request.version,
        disposition: request.disposition.unwrap_or(Disposition::Attachment),
        max_uses: max_uses.transpose()?,
        lifetime,
    };
    let Some(link) = links.repository.create(new).await? else {
        tracing::debug!(limit = MAX_LINKS, "a file has as many links as it may have");
        return Err(Error::Conflict(
            "the file has 1000 links that have not expired; revoke some",
        ));
    };
    let token = key.sign(link.id, &link.file, link.version);
    Ok(NewlyMade { link, token })
}

fn lifetime(links: &Links, wanted: Option<u64>) -> Result<Duration, Error> {
    let wanted = wanted.map_or(links.lifetime, Duration::from_secs);
    let most = links.max_lifetime;
    if wanted.is_zero() || wanted > most {
        return Err(Error::BadValue(format!(
            "expires_in must be from 1 to {} seconds",
            most.as_secs()
        )));
    }
    Ok(wanted)
}

/// Lists the links of a file that the caller may share.
///
/// # Errors
/// [`Error::BadValue`] for a limit outside 1–1000.
pub async fn list_links(
    app: &App,
    file: &Authorized<File>,
    after: Option<LinkMark>,
    limit: Option<u32>,
) -> Result<LinkPage, Error> {
    let size = PageSize::of(limit, DEFAULT_PAGE)?;
    let repository = &app.links.repository;
    let mut items = repository.of_file(&file.id, after, size.and_one()).await?;
    let next = size.cut(&mut items, |link| LinkMark {
        created_at: link.created_at,
        id: link.id,
    });
    Ok(LinkPage { items, next })
}

/// Takes a link back, at once and for good.
///
/// # Errors
/// [`Error::NotFound`] if the file has no such link.
pub async fn revoke_link(app: &App, file: &Authorized<File>, id: LinkId) -> Result<(), Error> {
    if app.links.repository.revoke(&file.id, id).await? {
        Ok(())
    } else {
        Err(Error::NotFound)
    }
}

/// A link that was accepted for one request.
#[derive(Debug)]
pub struct Opened {
    /// The file that it opens, and nothing else.
    pub file: Authorized<File>,
    /// What it says about how to show it.
    pub disposition: Disposition,
    /// What a use of it goes through.
    pub pass: Pass,
}

/// The right to make use of a link, which is counted once the body is about to go out.
#[derive(Debug)]
pub struct Pass {
    link: LinkId,
    used_up: bool,
    counted: bool,
    from: RateKey,
}

/// Reads a link that came with a request for a file, or for one of its versions. Nothing else of the request's
/// credentials counts beside it.
///
/// `receipt` is what [`Pass::receipt`] gave to a proxy that now asks again.
///
/// # Errors
/// [`Error::Unauthenticated`] for one that is forged, altered, of another file or version, unknown, revoked, expired
/// or used up, all alike; [`Error::RateLimited`] where too many were refused; [`Error::NotFound`] where the link is
/// good and the file is gone or in the trash.
pub async fn open_link(
    app: &App,
    presented: &Presented,
    receipt: Option<&str>,
    (id, version): (&FileId, Option<u64>),
    from: RateKey,
) -> Result<Opened, Error> {
    let judging = judge(app, presented, id, version);
    let (link, state) = rates::guarded(app, presented, from, judging).await?;
    let file = app.files.find(id).await?;
    let file = file.filter(|file| file.deleted_at.is_none());
    let file = file.ok_or(Error::NotFound)?;
    let key = app.links.key.as_ref();
    let counted = receipt.is_some_and(|text| key.is_some_and(|key| key.has_signed(link.id, text)));
    Ok(Opened {
        file: linked(file),
        disposition: link.disposition,
        pass: Pass {
            link: link.id,
            used_up: state == LinkState::UsedUp,
            counted,
            from,
        },
    })
}

/// The link behind a token, unless it is good for nothing. The database is not asked about what we did not sign.
async fn judge(
    app: &App,
    presented: &Presented,
    file: &FileId,
    version: Option<u64>,
) -> Result<Option<(Link, LinkState)>, Error> {
    let key = app.links.key.as_ref();
    let signed = key.and_then(|key| key.read(presented, file, version));
    let Some(id) = signed else {
        return Ok(None);
    };
    let found = app.links.repository.find(id).await?;
    Ok(found.filter(|(link, state)| {
        // The signature covers both; a row that says otherwise is somebody else's making.
        link.file == *file && link.version == version && *state != LinkState::Over
    }))
}

impl Pass {
    /// Counts a use: a GET that begins at byte 0, whose body is there to be sent.
    ///
    /// # Errors
    /// [`Error::Unauthenticated`] where none is left, as for any refused link; the database's.
    pub async fn count_use(&self, app: &App) -> Result<(), Error> {
        if self.counted {
            return Ok(());
        }
        if !self.used_up && app.links.repository.count_use(self.link).await? {
            return Ok(());
        }
        Err(rates::counted(&app.rates, self.from).await)
    }

    /// What lets a proxy, which was told to send the body and cannot, ask again without another use being counted.
    /// It is good for a minute, and for nobody without the link.
    #[must_use]
    pub fn receipt(&self, app: &App) -> Option<String> {
        let key = app.links.key.as_ref()?;
        Some(key.receipt(self.link))
    }
}
