//! Buckets of objects: made, changed, listed and removed by an admin.

use actix_web::{
    HttpResponse,
    http::header,
    web::{self, Query},
};
use cloakroom_application::{
    App, Error, bucket as found, list_buckets as page_of, ports::NewBucket, remove_bucket,
    set_bucket,
};
use cloakroom_domain::{
    AccountId, BucketGrant, BucketName, BucketPolicy, BucketRight, ObjectBucket, TypeRule,
};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::{
    caller::Caller,
    cursor,
    error::ApiError,
    json,
    wire::{Id, rfc3339},
};

/// What one service may do.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct GrantBody {
    /// The name that the service's tokens were made with.
    service: String,
    /// Of `read`, `write`, `delete` and `list`.
    allow: Vec<String>,
}

/// A bucket to be made, or the whole of what it is to be from now on.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewBucketBody {
    /// The account that objects are stored for; a number or a string. Needed once, and stays.
    #[schema(value_type = Option<Object>)]
    account_id: Option<Id>,
    /// Whether anybody may get objects, without a credential too; false if absent.
    #[serde(default)]
    public_read: bool,
    /// The largest object in bytes; as large as a file if absent or null.
    max_object_size: Option<u64>,
    /// The media types that are taken, `type/subtype` or `type/*`, at most 100; every one if absent or empty.
    #[serde(default)]
    content_types: Vec<String>,
    /// Which services may do what, at most 100.
    #[serde(default)]
    grants: Vec<GrantBody>,
}

/// A bucket.
#[derive(Debug, Serialize, ToSchema)]
pub struct BucketBody {
    bucket: String,
    /// A number where it is one.
    #[schema(value_type = Object)]
    account_id: Id,
    public_read: bool,
    /// Bytes.
    max_object_size: Option<u64>,
    content_types: Vec<String>,
    grants: Vec<GrantBody>,
    created_at: String,
    updated_at: String,
}

impl From<&ObjectBucket> for BucketBody {
    fn from(bucket: &ObjectBucket) -> Self {
        let policy = &bucket.policy;
        let rights = |grant: &BucketGrant| {
            let names = grant.rights.iter().map(|right| right.as_str().to_owned());
            names.collect()
        };
        let grant = |grant: &BucketGrant| GrantBody {
            service: grant.service.clone(),
            allow: rights(grant),
        };
        let rule = |rule: &TypeRule| rule.as_str().to_owned();
        Self {
            bucket: bucket.name.to_string(),
            account_id: Id::of(bucket.account.as_str()),
            public_read: policy.public_read,
            max_object_size: policy.max_size,
            content_types: policy.types().iter().map(rule).collect(),
            grants: policy.grants().iter().map(grant).collect(),
            created_at: rfc3339(bucket.created_at),
            updated_at: rfc3339(bucket.updated_at),
        }
    }
}

/// A page of buckets.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct BucketPageBody {
    items: Vec<BucketBody>,
    /// Hand it back as `cursor` to go on; null at the end.
    next_cursor: Option<String>,
}

/// Which buckets to list.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct BucketsQuery {
    /// `next_cursor` of the page before.
    cursor: Option<String>,
    /// 1–1000, 1000 if absent.
    limit: Option<u32>,
}

/// Lists buckets by name. For admin tokens.
#[utoipa::path(method(get, head), path = "/buckets", tag = "buckets", params(BucketsQuery),
    responses((status = 200, body = BucketPageBody), (status = "4XX", description = "Refused", body = crate::error::Problem)))]
pub(crate) async fn list_buckets(
    app: web::Data<App>,
    who: Caller,
    query: Query<BucketsQuery>,
) -> Result<HttpResponse, ApiError> {
    let after = cursor::read(query.cursor.as_deref(), |name| BucketName::parse(name).ok())?;
    let page = page_of(&app, &who, after.as_ref(), query.limit).await?;
    Ok(HttpResponse::Ok()
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .json(BucketPageBody {
            items: page.items.iter().map(BucketBody::from).collect(),
            next_cursor: page.next.map(|name| cursor::of(name.as_str())),
        }))
}

/// Tells who may do what in a bucket. For admin tokens.
#[utoipa::path(method(get, head), path = "/buckets/{bucket}", tag = "buckets", params(("bucket" = String, Path)),
    responses((status = 200, body = BucketBody), (status = "4XX", description = "Refused", body = crate::error::Problem)))]
pub(crate) async fn get_bucket(
    app: web::Data<App>,
    who: Caller,
    bucket: web::Path<String>,
) -> Result<HttpResponse, ApiError> {
    let bucket = found(&app, &who, &name(&bucket)?).await?;
    Ok(as_json(HttpResponse::Ok(), &bucket))
}

/// Makes a bucket, or sets all of its policy anew. It takes effect with the next request. For admin tokens.
#[utoipa::path(put, path = "/buckets/{bucket}", tag = "buckets",
    params(("bucket" = String, Path, description = "1–63 of `a-z`, `0-9`, `.`, `_` and `-`, with a letter or digit at both ends")),
    request_body = NewBucketBody,
    responses((status = 200, description = "Changed", body = BucketBody), (status = 201, description = "Made", body = BucketBody),
        (status = "4XX", description = "Refused", body = crate::error::Problem)))]
pub(crate) async fn put_bucket(
    app: web::Data<App>,
    who: Caller,
    bucket: web::Path<String>,
    payload: web::Payload,
) -> Result<HttpResponse, ApiError> {
    who.must_be_admin()?;
    let name = name(&bucket)?;
    let body: NewBucketBody = json::read(payload).await?;
    let (bucket, is_new) = set_bucket(&app, &who, body.into_bucket(name)?).await?;
    let answer = match is_new {
        true => HttpResponse::Created(),
        false => HttpResponse::Ok(),
    };
    Ok(as_json(answer, &bucket))
}

/// Removes an empty bucket. For admin tokens.
#[utoipa::path(delete, path = "/buckets/{bucket}", tag = "buckets", params(("bucket" = String, Path)),
    responses((status = 204, description = "Gone"), (status = 409, description = "There are objects in it", body = crate::error::Problem),
        (status = "4XX", description = "Refused", body = crate::error::Problem)))]
pub(crate) async fn delete_bucket(
    app: web::Data<App>,
    who: Caller,
    bucket: web::Path<String>,
) -> Result<HttpResponse, ApiError> {
    who.must_be_admin()?;
    remove_bucket(&app, &who, &name(&bucket)?).await?;
    Ok(HttpResponse::NoContent().finish())
}

impl NewBucketBody {
    fn into_bucket(self, name: BucketName) -> Result<NewBucket, Error> {
        let grants: Result<_, Error> = self.grants.into_iter().map(grant).collect();
        let types: Result<_, Error> = self.content_types.iter().map(|text| rule(text)).collect();
        let mut policy = BucketPolicy::new(grants?, types?)
            .map_err(|error| Error::BadValue(error.to_string()))?;
        policy.public_read = self.public_read;
        policy.max_size = self.max_object_size;
        if policy
            .max_size
            .is_some_and(|size| i64::try_from(size).is_err())
        {
            return Err(Error::BadValue("max_object_size is too large".to_owned()));
        }
        let account = self.account_id.map(Id::into_text).map(AccountId::parse);
        let account = account
            .transpose()
            .map_err(|error| Error::BadValue(format!("account_id {error}")))?;
        Ok(NewBucket {
            name,
            account,
            policy,
        })
    }
}

fn grant(body: GrantBody) -> Result<BucketGrant, Error> {
    let mut rights = Vec::new();
    for text in &body.allow {
        let right = BucketRight::parse(text).ok_or_else(|| {
            Error::BadValue("allow is of read, write, delete and list".to_owned())
        })?;
        if !rights.contains(&right) {
            rights.push(right);
        }
    }
    Ok(BucketGrant {
        service: body.service,
        rights,
    })
}

fn rule(text: &str) -> Result<TypeRule, Error> {
    TypeRule::parse(text)
        .ok_or_else(|| Error::BadValue("content_types are type/subtype or type/*".to_owned()))
}

fn name(text: &str) -> Result<BucketName, Error> {
    BucketName::parse(text).map_err(|error| Error::BadValue(format!("a bucket's name {error}")))
}

fn as_json(mut answer: actix_web::HttpResponseBuilder, bucket: &ObjectBucket) -> HttpResponse {
    answer
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .json(BucketBody::from(bucket))
}
