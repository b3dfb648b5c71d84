//! The old environment, as its operators have it.

use std::{ffi::OsString, fs, path::Path};

use super::{super::values::Values, ALIASES, MARKERS};
use crate::config::{Config, Problem, load_from, table};

/// What the compose file of the FastAPI service gives it.
const COMPOSE: &[(&str, &str)] = &[
    ("DEBUG", "true"),
    ("CONFIG", "Production"),
    ("WORKERS", "4"),
    ("PORT", "8000"),
    ("ALLOWED_ORIGINS", "[\"*\"]"),
    ("POSTGRES_USER", "pneumatic"),
    ("POSTGRES_PASSWORD", "canary%2F:@/pass word"),
    ("POSTGRES_DB", "pneumatic"),
    ("POSTGRES_HOST", "file-postgres"),
    ("POSTGRES_PORT", "5432"),
    ("STORAGE_TYPE", "local"),
    ("SEAWEEDFS_S3_ENDPOINT", "http://seaweedfs-filer:8333"),
    ("SEAWEEDFS_S3_ACCESS_KEY", "any-key-will-work"),
    ("SEAWEEDFS_S3_SECRET_KEY", "canary-will-work"),
    ("SEAWEEDFS_S3_REGION", "us-central1"),
    ("SEAWEEDFS_S3_USE_SSL", "false"),
    ("GCS_S3_ENDPOINT", ""),
    ("GCS_S3_ACCESS_KEY", ""),
    ("FASTAPI_BASE_URL", "https://app.example.com/files/"),
    ("BUCKET_PREFIX", "pneumatic-dev-test"),
    ("MAX_FILE_SIZE", "52428800"),
    ("CHUNK_SIZE", "1048576"),
    ("AUTH_REDIS_URL", "redis://:canary@redis:6379/1"),
    ("KEY_PREFIX_REDIS", ":1:"),
    (
        "DJANGO_SECRET_KEY",
        "canary)(kz1kyf9m5kt_72x3+co-brb2x)^g#_(1r=mwv",
    ),
    ("AUTH_TOKEN_ITERATIONS", "1"),
    ("BACKEND_PRIVATE_URL", "http://backend:8000/"),
    ("FRONTEND_URL", "https://app.example.com"),
    ("FORMS_URL", "https://form.example.com/"),
    ("RATE_LIMIT_UPLOAD_REQUESTS", "20"),
];

fn load(pairs: &[(&str, &str)]) -> Result<(Config, Values), Vec<Problem>> {
    let pairs: Vec<(OsString, OsString)> = pairs
        .iter()
        .map(|(name, value)| ((*name).into(), (*value).into()))
        .collect();
    load_from(pairs.into_iter(), None)
}

/// The compose file's environment with these instead.
fn compose_with(changed: &[(&'static str, &'static str)]) -> Vec<(&'static str, &'static str)> {
    let mut pairs = COMPOSE.to_vec();
    pairs.retain(|(name, _)| changed.iter().all(|(other, _)| other != name));
    pairs.extend(changed);
    pairs
}

fn refusal(changed: &[(&'static str, &'static str)]) -> String {
    let problems = load(&compose_with(changed)).map(drop).unwrap_err();
    assert_eq!(problems.len(), 1, "{problems:?}");
    problems[0].to_string()
}

fn shown(values: &Values, name: &str) -> Option<String> {
    let setting = table::all().find(|setting| setting.name == name)?;
    values.get(name)?.shown(setting)
}

#[test]
fn the_old_compose_environment_is_a_whole_configuration() {
    let (config, values) = load(COMPOSE).unwrap();
    assert_eq!(config.http.listen.to_string(), "0.0.0.0:8000");
    assert_eq!(config.http.mount, "/");
    assert_eq!(
        config.http.public_url.as_deref(),
        Some("https://app.example.com/files")
    );
    assert_eq!(
        config.http.frontend_url.as_deref(),
        Some("https://app.example.com")
    );
    assert_eq!(config.http.hsts.map(|age| age.as_secs()), Some(31_536_000));
    assert_eq!(
        config.database_url().reveal(),
        "postgres://pneumatic:canary%252F%3A%40%2Fpass%20word@file-postgres:5432/pneumatic"
    );
    assert_eq!(config.database.schema.as_deref(), Some("cloakroom"));
    let s3 = config.s3().unwrap();
    assert_eq!(s3.endpoint, "http://seaweedfs-filer:8333");
    assert_eq!((s3.region.as_str(), s3.path_style), ("us-central1", true));
    assert_eq!(s3.access_key_id, "any-key-will-work");
    assert_eq!(
        config.store.s3_bucket_prefix.as_deref(),
        Some("pneumatic-dev-test")
    );
    assert_eq!(config.limits.max_file_size, 52_428_800);
    for (setting, value) in [
        ("CLOAKROOM_REDIS_URL", "redis://:****@redis:6379/1"),
        ("CLOAKROOM_AUTH_KEY_PREFIX", ":1:"),
        ("CLOAKROOM_AUTH_TOKEN_ITERATIONS", "1"),
        (
            "CLOAKROOM_PERMISSION_URL",
            "http://backend:8000/attachments/check-permission",
        ),
        ("CLOAKROOM_ALLOWED_ORIGINS", "https://form.example.com"),
        ("CLOAKROOM_RATE_LIMIT", "on"),
        ("CLOAKROOM_RATE_LIMIT_UPLOAD", "20/60s"),
    ] {
        assert_eq!(shown(&values, setting).as_deref(), Some(value), "{setting}");
    }
    assert!(!config.is_development(), "it listens beyond this machine");
    let told: Vec<String> = table::all()
        .filter_map(|setting| shown(&values, setting.name))
        .collect();
    assert!(!told.concat().contains("canary"), "{told:?}");
    assert!(values.left_out_any_origin());
}

#[test]
fn where_a_value_came_from_is_told_by_the_old_names() {
    let (_, values) = load(COMPOSE).unwrap();
    let origin = |name: &str| values.get(name).unwrap().origin.to_string();
    assert_eq!(
        origin("CLOAKROOM_DATABASE_URL"),
        "environment (POSTGRES_USER, POSTGRES_PASSWORD, POSTGRES_HOST, POSTGRES_PORT, POSTGRES_DB)"
    );
    assert_eq!(origin("CLOAKROOM_LISTEN"), "environment (PORT)");
    // Said by no name of its own.
    let whole = "environment (FASTAPI_BASE_URL, SEAWEEDFS_S3_ENDPOINT, KEY_PREFIX_REDIS)";
    assert_eq!(origin("CLOAKROOM_MOUNT"), whole);
    assert_eq!(origin("CLOAKROOM_WORKERS"), "default");
}

#[test]
fn names_that_anybody_sets_count_for_nothing_by_themselves() {
    let generic: Vec<(&str, &str)> = COMPOSE
        .iter()
        .filter(|(name, _)| !MARKERS.contains(name))
        .copied()
        .chain([("STORAGE_TYPE", "nonsense"), ("PORT", "nonsense")])
        .collect();
    let (config, values) = load(&generic).unwrap();
    assert_eq!(config.http.listen.to_string(), "127.0.0.1:8080");
    assert_eq!(config.http.mount, "/files");
    for setting in table::all() {
        let value = values.get(setting.name).unwrap();
        assert!(value.aliases().is_none(), "{}", setting.name);
    }
    // Nor does a marker that is set to nothing.
    let (config, _) = load(&[("FASTAPI_BASE_URL", ""), ("PORT", "1")]).unwrap();
    assert_eq!(config.http.listen.port(), 8080);
}

#[test]
fn our_own_names_and_the_file_come_before_the_aliases() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("c.toml");
    fs::write(&file, "max_file_size = 7").unwrap();
    let own = [
        ("CLOAKROOM_LISTEN", "127.0.0.1:9"),
        ("CLOAKROOM_MOUNT", "/m"),
        ("CLOAKROOM_DATABASE_URL", "postgres://new/cloakroom"),
        ("CLOAKROOM_S3_BUCKET", "one-bucket"),
    ];
    let pairs: Vec<(OsString, OsString)> = compose_with(&own)
        .into_iter()
        .map(|(name, value)| (name.into(), value.into()))
        .collect();
    let load = |file: Option<&Path>| load_from(pairs.clone().into_iter(), file).unwrap().0;
    let config = load(Some(&file));
    assert_eq!(config.limits.max_file_size, 7);
    assert_eq!(config.http.listen.port(), 9);
    assert_eq!(config.http.mount, "/m");
    // A database of one's own has its tables where they always were.
    assert_eq!(config.database.schema, None);
    assert_eq!(config.store.s3_bucket_prefix, None);
    assert_eq!(load(None).limits.max_file_size, 52_428_800);
}

#[test]
fn google_is_reached_by_its_own_names() {
    let google = [
        ("STORAGE_TYPE", "google"),
        ("GCS_S3_ACCESS_KEY", "GOOG1E"),
        ("GCS_S3_SECRET_KEY", "canary"),
        ("GCS_S3_REGION", "auto"),
    ];
    let (config, _) = load(&compose_with(&google)).unwrap();
    let s3 = config.s3().unwrap();
    assert_eq!(s3.endpoint, "https://storage.googleapis.com");
    assert_eq!(
        (s3.access_key_id.as_str(), s3.region.as_str()),
        ("GOOG1E", "auto")
    );
}

#[test]
fn an_endpoint_without_a_scheme_has_the_one_that_the_switch_says() {
    for (switch, scheme) in [("true", "https"), ("0", "http"), ("", "http")] {
        let bare = [
            ("SEAWEEDFS_S3_ENDPOINT", "filer:8333"),
            ("SEAWEEDFS_S3_USE_SSL", switch),
        ];
        let (config, _) = load(&compose_with(&bare)).unwrap();
        assert_eq!(
            config.s3().unwrap().endpoint,
            format!("{scheme}://filer:8333")
        );
    }
}

#[test]
fn outside_production_there_is_no_hsts() {
    let (config, _) = load(&compose_with(&[("CONFIG", "Development")])).unwrap();
    assert_eq!(config.http.hsts, Some(None).flatten());
}

#[test]
fn a_wrong_value_stops_the_start_with_a_line_that_names_the_alias() {
    for (name, value) in [
        ("PORT", "http"),
        ("POSTGRES_PORT", "70000"),
        ("POSTGRES_HOST", "a/b"),
        ("STORAGE_TYPE", "azure"),
        ("MAX_FILE_SIZE", "lots"),
        ("FRONTEND_URL", "app.example.com"),
        ("FASTAPI_BASE_URL", "nowhere"),
        ("BUCKET_PREFIX", "Under_Score"),
        ("SEAWEEDFS_S3_REGION", "a b"),
    ] {
        let line = refusal(&[(name, value)]);
        assert!(line.starts_with(name), "{line}");
        assert!(line.contains(value) && line.contains("expected"), "{line}");
    }
    let line = refusal(&[("SEAWEEDFS_S3_SECRET_KEY", "canary with spaces")]);
    assert!(
        line.contains("SEAWEEDFS_S3_SECRET_KEY") && !line.contains("canary"),
        "{line}"
    );
}

#[test]
fn every_alias_is_of_a_setting() {
    for alias in ALIASES {
        assert!(
            table::all().any(|setting| setting.name == alias.setting),
            "{}",
            alias.setting
        );
    }
}

#[test]
fn the_guide_names_every_alias() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/migrating.md");
    let text = fs::read_to_string(path).unwrap();
    for alias in ALIASES {
        assert!(
            text.contains(&format!("`{}`", alias.setting)),
            "{}",
            alias.setting
        );
        for name in alias.names {
            assert!(text.contains(&format!("`{name}`")), "{name}");
        }
    }
}

mod made {
    use super::super::{OldEnvironment, translations as to};

    fn old(pairs: &[(&'static str, &str)]) -> OldEnvironment {
        OldEnvironment(
            pairs
                .iter()
                .map(|(name, value)| (*name, (*value).to_owned()))
                .collect(),
        )
    }

    fn text(made: Result<Option<String>, crate::config::Problem>) -> String {
        made.unwrap().unwrap_or_default()
    }

    #[test]
    fn origins_come_as_a_json_list_or_with_commas_and_the_forms_are_added() {
        let of = |list: &str| {
            let old = old(&[
                ("ALLOWED_ORIGINS", list),
                ("FORMS_URL", "http://form.localhost/x"),
            ]);
            text(to::allowed_origins(&old))
        };
        let both = "https://a.example,http://b.example:81,http://form.localhost";
        assert_eq!(
            of("[\"https://a.example\", \"http://b.example:81/\"]"),
            both
        );
        assert_eq!(of("https://a.example , http://b.example:81"), both);
        assert_eq!(of("[\"*\"]"), "http://form.localhost");
        for wrong in ["[1]", "[", "example.com", "null"] {
            let problem = to::allowed_origins(&old(&[("ALLOWED_ORIGINS", wrong)])).unwrap_err();
            assert!(
                problem.to_string().starts_with("ALLOWED_ORIGINS"),
                "{problem}"
            );
        }
        assert_eq!(
            text(to::allowed_origins(&old(&[("ALLOWED_ORIGINS", "*")]))),
            ""
        );
    }

    #[test]
    fn limits_are_requests_in_a_window_with_the_old_defaults() {
        let upload = |pairs: &[(&'static str, &str)]| to::upload_limit(&old(pairs));
        assert_eq!(text(upload(&[])), "");
        assert_eq!(
            text(upload(&[("RATE_LIMIT_UPLOAD_REQUESTS", "20")])),
            "20/60s"
        );
        assert_eq!(text(upload(&[("RATE_LIMIT_UPLOAD_WINDOW", "5")])), "10/5s");
        assert!(upload(&[("RATE_LIMIT_UPLOAD_WINDOW", "0")]).is_err());
        let download = to::download_limit(&old(&[("RATE_LIMIT_DOWNLOAD_WINDOW", "30")]));
        assert_eq!(text(download), "100/30s");
    }

    #[test]
    fn the_backend_is_asked_below_its_private_address() {
        for backend in ["http://backend:8000", "http://backend:8000/"] {
            let url = to::permission_url(&old(&[("BACKEND_PRIVATE_URL", backend)]));
            assert_eq!(
                text(url),
                "http://backend:8000/attachments/check-permission"
            );
        }
    }
}
