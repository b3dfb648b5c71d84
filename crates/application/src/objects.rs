//! Objects by bucket and key, for other services. Putting one is an upload like any other; see [`crate::begin`].

use cloakroom_domain::{
    BucketKey, BucketName, BucketPolicy, BucketRight, ContentType, File, ObjectBucket,
    Preconditions,
};

use crate::{
    App, Authorized, Caller, Error, check_current,
    claims::Forgetting,
    files::{UPDATE_ATTEMPTS, step_back},
    page::{MAX_PAGE, PageSize},
    ports::{BucketRemoved, BucketSet, Expected, NewBucket, ObjectEntry, ObjectFilter},
};

/// A key of a bucket, with what it leads to.
#[derive(Debug, Clone)]
pub struct Slot {
    /// The bucket.
    pub bucket: ObjectBucket,
    /// The key in it.
    pub key: BucketKey,
    /// The object; `None`: there is none yet.
    pub object: Option<File>,
}

impl Slot {
    /// Holds a put's preconditions against what is there, and answers what has to be there still when it commits.
    ///
    /// # Errors
    /// [`Error::PreconditionFailed`].
    pub fn judge(&self, conditions: &Preconditions) -> Result<Expected, Error> {
        match &self.object {
            Some(file) => check_current(file, conditions)?,
            // RFC 9110 §13.1.1; without an object the other conditions hold.
            None if conditions.if_match.is_some() => return Err(Error::PreconditionFailed),
            None => {}
        }
        Ok(self.expected(conditions))
    }

    /// What has to be there still for these conditions to hold, if they hold now.
    #[must_use]
    pub fn expected(&self, conditions: &Preconditions) -> Expected {
        let is_conditional = conditions.if_match.is_some()
            || conditions.if_none_match.is_some()
            || conditions.if_unmodified_since.is_some();
        match &self.object {
            _ if !is_conditional => Expected::Anything,
            Some(file) => Expected::Version(file.current.id),
            None => Expected::Nothing,
        }
    }
}

/// What a bucket demands of a body.
#[derive(Debug, Clone)]
pub(crate) struct Demands {
    /// The largest body, in bytes.
    pub(crate) limit: u64,
    /// The bucket's, for a body that goes to one.
    policy: Option<BucketPolicy>,
}

impl Demands {
    /// Those of every file.
    pub(crate) const fn of_files(app: &App) -> Self {
        Self {
            limit: app.limits.max_file_size,
            policy: None,
        }
    }

    /// Those of a bucket.
    pub(crate) fn of_bucket(app: &App, policy: &BucketPolicy) -> Self {
        Self {
            limit: size_limit(app, policy),
            policy: Some(policy.clone()),
        }
    }

    /// Whether a type is kept as it was declared: services know what they send.
    pub(crate) const fn keep_type(&self) -> bool {
        self.policy.is_some()
    }

    /// # Errors
    /// [`Error::TypeRefused`].
    pub(crate) fn check_type(&self, content_type: &ContentType) -> Result<(), Error> {
        match &self.policy {
            Some(policy) => check_type(policy, content_type),
            None => Ok(()),
        }
    }
}

/// The largest object that a bucket takes, in bytes.
#[must_use]
pub fn size_limit(app: &App, policy: &BucketPolicy) -> u64 {
    let own = policy.max_size.unwrap_or(u64::MAX);
    own.min(app.limits.max_file_size)
}

/// Refuses a type that the bucket does not take.
///
/// # Errors
/// [`Error::TypeRefused`].
pub fn check_type(policy: &BucketPolicy, content_type: &ContentType) -> Result<(), Error> {
    if policy.takes(content_type) {
        return Ok(());
    }
    Err(Error::TypeRefused(content_type.essence().to_owned()))
}

/// What a caller may do in a bucket: an admin everything, a service what its tokens' name was granted, anybody what is
/// public.
///
/// # Errors
/// Failures of the database.
pub(crate) async fn rights(
    app: &App,
    who: &Caller,
    bucket: &ObjectBucket,
) -> Result<Vec<BucketRight>, Error> {
    if who.is_admin() {
        return Ok(BucketRight::ALL.to_vec());
    }
    let mut rights = Vec::new();
    if let Some(hash) = who.service_token()
        && let Some(token) = app.tokens.by_hash(&hash).await?
    {
        rights.extend_from_slice(bucket.policy.rights_of(&token.name));
    }
    if bucket.policy.public_read {
        rights.push(BucketRight::Read);
    }
    Ok(rights)
}

/// Removes an object, if the preconditions hold of it. Its bytes stay for as long as those of a deleted version.
///
/// # Errors
/// [`Error::NotFound`], [`Error::PreconditionFailed`], [`Error::Conflict`] if others keep changing it.
pub async fn remove_object(
    app: &App,
    slot: &Authorized<Slot>,
    conditions: &Preconditions,
) -> Result<(), Error> {
    let (bucket, key) = (&slot.bucket.name, &slot.key);
    for attempt in 0..UPDATE_ATTEMPTS {
        step_back(attempt).await;
        let file = app.buckets.object(bucket, key).await?;
        let file = file.ok_or(Error::NotFound)?;
        check_current(&file, conditions)?;
        let forgetting = Forgetting {
            files: &app.files,
            id: &file.id,
        };
        let delay = app.limits.delete_delay;
        let removed = app
            .buckets
            .remove_object(bucket, key, file.current.id, delay)
            .await;
        drop(forgetting);
        if removed?.is_some() {
            return Ok(());
        }
    }
    Err(Error::Conflict("the object is being changed by others"))
}

/// Which objects a caller asks for.
#[derive(Debug, Clone, Default)]
pub struct ObjectsRequest {
    /// What their keys begin with; empty: all.
    pub prefix: String,
    /// Where to go on: behind this text.
    pub after: Option<String>,
    /// How many, 1–1000; 1000 if not said.
    pub limit: Option<u32>,
}

/// A page of objects.
#[derive(Debug, Clone)]
pub struct ObjectPage {
    /// The objects, by the bytes of their keys.
    pub items: Vec<ObjectEntry>,
    /// Where to go on; `None` at the end.
    pub next: Option<String>,
}

/// Lists a bucket's objects. What is there from the first page to the last is on exactly one of them.
///
/// # Errors
/// [`Error::BadValue`] for a limit out of bounds, or a text that no key has in it.
pub async fn list_objects(
    app: &App,
    bucket: &Authorized<ObjectBucket>,
    request: ObjectsRequest,
) -> Result<ObjectPage, Error> {
    let size = PageSize::of(request.limit, MAX_PAGE)?;
    for text in [Some(&request.prefix), request.after.as_ref()] {
        let text = text.map_or("", |text| text);
        if text.len() > BucketKey::MAX_BYTES || text.contains('\0') {
            let bounds = "no key is longer than 1024 bytes or contains a NUL byte";
            return Err(Error::BadValue(bounds.to_owned()));
        }
    }
    let filter = ObjectFilter {
        bucket: bucket.name.clone(),
        prefix: request.prefix,
        after: request.after,
        limit: size.and_one(),
    };
    let mut items = app.buckets.objects(&filter).await?;
    let next = size.cut(&mut items, |entry| entry.key.as_str().to_owned());
    Ok(ObjectPage { items, next })
}

/// A page of buckets.
#[derive(Debug, Clone)]
pub struct BucketPage {
    /// The buckets, by name.
    pub items: Vec<ObjectBucket>,
    /// Where to go on; `None` at the end.
    pub next: Option<BucketName>,
}

/// Lists buckets.
///
/// # Errors
/// [`Error::Unauthenticated`], [`Error::KindForbidden`]; [`Error::BadValue`] for a limit out of bounds.
pub async fn list_buckets(
    app: &App,
    who: &Caller,
    after: Option<&BucketName>,
    limit: Option<u32>,
) -> Result<BucketPage, Error> {
    who.must_be_admin()?;
    let size = PageSize::of(limit, MAX_PAGE)?;
    let mut items = app.buckets.buckets(after, size.and_one()).await?;
    let next = size.cut(&mut items, |bucket| bucket.name.clone());
    Ok(BucketPage { items, next })
}

/// Makes a bucket or changes its policy. `true`: it is new.
///
/// # Errors
/// [`Error::Unauthenticated`], [`Error::KindForbidden`] for anyone but an admin; [`Error::MissingField`] if a new one
/// has no account; [`Error::Conflict`] for another account than the one that it has.
pub async fn set_bucket(
    app: &App,
    who: &Caller,
    mut new: NewBucket,
) -> Result<(ObjectBucket, bool), Error> {
    who.must_be_admin()?;
    if new.account.is_none() && app.buckets.bucket(&new.name).await?.is_none() {
        new.account.clone_from(&who.account);
    }
    match app.buckets.set_bucket(new).await? {
        BucketSet::Made(bucket) => Ok((bucket, true)),
        BucketSet::Changed(bucket) => Ok((bucket, false)),
        BucketSet::OtherAccount => Err(Error::Conflict(
            "a bucket stays with the account that it was made for",
        )),
        BucketSet::NoAccount => Err(Error::MissingField("account_id")),
    }
}

/// A bucket, for an admin.
///
/// # Errors
/// [`Error::Unauthenticated`], [`Error::KindForbidden`]; [`Error::NotFound`].
pub async fn bucket(app: &App, who: &Caller, name: &BucketName) -> Result<ObjectBucket, Error> {
    who.must_be_admin()?;
    app.buckets.bucket(name).await?.ok_or(Error::NotFound)
}

/// Removes an empty bucket.
///
/// # Errors
/// [`Error::Unauthenticated`], [`Error::KindForbidden`] for anyone but an admin; [`Error::NotFound`];
/// [`Error::Conflict`] if there are objects in it.
pub async fn remove_bucket(app: &App, who: &Caller, name: &BucketName) -> Result<(), Error> {
    who.must_be_admin()?;
    match app.buckets.remove_bucket(name).await? {
        BucketRemoved::Gone => Ok(()),
        BucketRemoved::Missing => Err(Error::NotFound),
        BucketRemoved::NotEmpty => Err(Error::Conflict("there are objects in the bucket")),
    }
}
