//! The environment of the FastAPI service that this one replaces, read as aliases of our settings.
//!
//! Many of its names are anybody's: `PORT`, `CONFIG`, `POSTGRES_USER`. They count only beside one of [`MARKERS`],
//! which are that service's alone.

mod translations;

use std::{collections::BTreeMap, ffi::OsString};

use self::translations::{
    allowed_origins, bucket_prefix, database_schema, database_url, download_limit, hsts, listen,
    mount, permission_url, rate_limit, s3_access_key, s3_endpoint, s3_region, s3_secret_key, store,
    trusted_proxies, upload_limit,
};
use super::{problem::Problem, table, values::Values};

/// Names that nothing but the FastAPI service reads. Where one of them is set, its other names count as well.
pub(super) const MARKERS: [&str; 4] = [
    "FASTAPI_BASE_URL",
    "SEAWEEDFS_S3_ENDPOINT",
    "GCS_S3_ENDPOINT",
    "KEY_PREFIX_REDIS",
];

/// How a setting follows from the old environment.
#[derive(Clone, Copy)]
pub(super) enum Translation {
    /// The value of the one name, as it is.
    Same,
    /// Made of the names' values; `None` where they say nothing.
    Made(fn(&OldEnvironment) -> Result<Option<String>, Problem>),
}

/// A setting, and the old names that it can come from.
pub(super) struct Alias {
    pub(super) setting: &'static str,
    pub(super) names: &'static [&'static str],
    /// Not where this other setting of ours is set: the alias goes with another way to say it.
    unless: Option<&'static str>,
    translation: Translation,
}

const fn same(setting: &'static str, names: &'static [&'static str]) -> Alias {
    Alias {
        setting,
        names,
        unless: None,
        translation: Translation::Same,
    }
}

const fn made(
    setting: &'static str,
    names: &'static [&'static str],
    make: fn(&OldEnvironment) -> Result<Option<String>, Problem>,
) -> Alias {
    Alias {
        setting,
        names,
        unless: None,
        translation: Translation::Made(make),
    }
}

const fn made_unless(
    unless: &'static str,
    setting: &'static str,
    names: &'static [&'static str],
    make: fn(&OldEnvironment) -> Result<Option<String>, Problem>,
) -> Alias {
    Alias {
        unless: Some(unless),
        ..made(setting, names, make)
    }
}

const DATABASE: &[&str] = &[
    "POSTGRES_USER",
    "POSTGRES_PASSWORD",
    "POSTGRES_HOST",
    "POSTGRES_PORT",
    "POSTGRES_DB",
];

/// Every alias, a row each.
#[rustfmt::skip]
pub(super) const ALIASES: &[Alias] = &[
    made("CLOAKROOM_LISTEN", &["PORT"], listen),
    same("CLOAKROOM_PUBLIC_URL", &["FASTAPI_BASE_URL"]),
    made("CLOAKROOM_MOUNT", &[], mount),
    same("CLOAKROOM_FRONTEND_URL", &["FRONTEND_URL"]),
    made("CLOAKROOM_HSTS", &["CONFIG"], hsts),
    made("CLOAKROOM_DATABASE_URL", DATABASE, database_url),
    made_unless("CLOAKROOM_DATABASE_URL", "CLOAKROOM_DATABASE_SCHEMA", DATABASE, database_schema),
    made("CLOAKROOM_STORE", &["STORAGE_TYPE"], store),
    made("CLOAKROOM_S3_ENDPOINT", &["STORAGE_TYPE", "SEAWEEDFS_S3_ENDPOINT", "SEAWEEDFS_S3_USE_SSL", "GCS_S3_ENDPOINT"], s3_endpoint),
    made("CLOAKROOM_S3_REGION", &["SEAWEEDFS_S3_REGION", "GCS_S3_REGION"], s3_region),
    made("CLOAKROOM_S3_ACCESS_KEY_ID", &["SEAWEEDFS_S3_ACCESS_KEY", "GCS_S3_ACCESS_KEY"], s3_access_key),
    made("CLOAKROOM_S3_SECRET_ACCESS_KEY", &["SEAWEEDFS_S3_SECRET_KEY", "GCS_S3_SECRET_KEY"], s3_secret_key),
    made_unless("CLOAKROOM_S3_BUCKET", "CLOAKROOM_S3_BUCKET_PREFIX", &["BUCKET_PREFIX"], bucket_prefix),
    same("CLOAKROOM_MAX_FILE_SIZE", &["MAX_FILE_SIZE"]),
    same("CLOAKROOM_REDIS_URL", &["AUTH_REDIS_URL"]),
    same("CLOAKROOM_AUTH_KEY_PREFIX", &["KEY_PREFIX_REDIS"]),
    same("CLOAKROOM_AUTH_SECRET_KEY", &["DJANGO_SECRET_KEY"]),
    same("CLOAKROOM_AUTH_TOKEN_ITERATIONS", &["AUTH_TOKEN_ITERATIONS"]),
    made("CLOAKROOM_PERMISSION_URL", &["BACKEND_PRIVATE_URL"], permission_url),
    made("CLOAKROOM_ALLOWED_ORIGINS", &["ALLOWED_ORIGINS", "FORMS_URL"], allowed_origins),
    made("CLOAKROOM_RATE_LIMIT_UPLOAD", &["RATE_LIMIT_UPLOAD_REQUESTS", "RATE_LIMIT_UPLOAD_WINDOW"], upload_limit),
    made("CLOAKROOM_RATE_LIMIT_DOWNLOAD", &["RATE_LIMIT_DOWNLOAD_REQUESTS", "RATE_LIMIT_DOWNLOAD_WINDOW"], download_limit),
    made("CLOAKROOM_RATE_LIMIT", &["CONFIG"], rate_limit),
    made("CLOAKROOM_TRUSTED_PROXIES", &[], trusted_proxies),
];

/// What an alias gives a setting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Given {
    /// The value, as the setting takes it.
    pub(super) text: String,
    /// The old names that it came from.
    pub(super) from: Vec<&'static str>,
}

/// The variables of the FastAPI service that are set, recognised as such.
pub(super) struct OldEnvironment(BTreeMap<&'static str, String>);

impl OldEnvironment {
    /// Picks that service's variables out of the environment; `None` unless it is recognisably that service's. An
    /// empty one counts as not set, as compose files write it.
    pub(super) fn recognise(
        environment: &[(OsString, OsString)],
        problems: &mut Vec<Problem>,
    ) -> Option<Self> {
        let known: BTreeMap<&str, &OsString> = environment
            .iter()
            .filter(|(_, value)| !value.is_empty())
            .filter_map(|(name, value)| Some((name.to_str()?, value)))
            .collect();
        if !MARKERS.iter().any(|marker| known.contains_key(marker)) {
            return None;
        }
        let mut found = BTreeMap::new();
        let names = ALIASES.iter().flat_map(|alias| alias.names);
        for name in names.chain(&MARKERS) {
            match known.get(name).map(|value| value.to_str()) {
                Some(Some(value)) => {
                    found.insert(*name, value.to_owned());
                }
                Some(None) => {
                    let problem = Problem::new(&format!("{name} is not UTF-8"));
                    if !problems.contains(&problem) {
                        problems.push(problem);
                    }
                }
                None => {}
            }
        }
        Some(Self(found))
    }

    /// The value of an old name.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// Whether it allowed requests from any page.
    pub(super) fn allows_any_origin(&self) -> bool {
        translations::allows_any_origin(self)
    }

    /// What the old environment says of a setting. `is_set` knows which settings have a value of their own.
    ///
    /// # Errors
    /// A value that cannot be what it is for; the line names the old variable.
    pub(super) fn given(
        &self,
        setting: &str,
        is_set: impl Fn(&str) -> bool,
    ) -> Result<Option<Given>, Problem> {
        let alias = ALIASES.iter().find(|alias| alias.setting == setting);
        let Some(alias) = alias.filter(|alias| !alias.unless.is_some_and(is_set)) else {
            return Ok(None);
        };
        let text = match alias.translation {
            Translation::Same => alias.names.iter().find_map(|name| self.get(name)),
            Translation::Made(make) => return Ok(make(self)?.map(|text| self.from(alias, text))),
        };
        Ok(text.map(|text| self.from(alias, text.to_owned())))
    }

    /// With the names that are set; where none is, the whole environment being what it is says it.
    fn from(&self, alias: &Alias, text: String) -> Given {
        let set = |names: &[&'static str]| -> Vec<&'static str> {
            let set = names.iter().filter(|name| self.0.contains_key(**name));
            set.copied().collect()
        };
        let own = set(alias.names);
        let from = if own.is_empty() { set(&MARKERS) } else { own };
        Given { text, from }
    }
}

/// Tells the operator which settings the old environment gave, and what of it counts for nothing.
pub(crate) fn announce(values: &Values) {
    for setting in table::all() {
        let value = values.get(setting.name);
        if let Some((value, from)) = value.and_then(|value| Some((value, value.aliases()?))) {
            let (name, shown) = (setting.name, value.shown(setting).unwrap_or_default());
            tracing::info!(
                "{name} is {shown}, from {} of the FastAPI service's environment",
                from.join(", ")
            );
        }
    }
    if values.left_out_any_origin() {
        tracing::warn!(
            "ALLOWED_ORIGINS has *, which counts for nothing: requests carry cookies, so the origins must be named"
        );
    }
}

#[cfg(test)]
mod tests;
