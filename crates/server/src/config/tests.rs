//! Layers, refusals and masking, as an operator sees them.

use std::{ffi::OsString, fs, path::PathBuf};

use super::{
    Config, Problem, Values,
    declare::{Absent, PREFIX},
    kinds::Masking,
    load_from, table,
    values::Origin,
};

/// An operator's folder with a configuration file and files of secrets.
struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn with(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.path().join(name);
        fs::write(&path, text).unwrap();
        path
    }
}

fn environment(pairs: &[(&str, &str)]) -> impl Iterator<Item = (OsString, OsString)> {
    let pairs: Vec<_> = pairs
        .iter()
        .map(|(name, value)| ((*name).into(), (*value).into()))
        .collect();
    pairs.into_iter()
}

fn load(pairs: &[(&str, &str)], toml: &str) -> Result<(Config, Values), Vec<Problem>> {
    let folder = Folder::new();
    let file = folder.with("cloakroom.toml", toml);
    load_from(environment(pairs), Some(&file))
}

fn refusal(pairs: &[(&str, &str)], toml: &str) -> String {
    let problems = load(pairs, toml).map(|_| ()).unwrap_err();
    assert_eq!(problems.len(), 1, "{problems:?}");
    let line = problems[0].to_string();
    assert!(!line.contains('\n'), "{line}");
    line
}

#[test]
fn the_environment_comes_before_the_file_and_the_file_before_defaults() {
    let toml = "listen = \"127.0.0.1:2\"\nmax_file_size = 77\ns3_path_style = true";
    let (config, values) = load(&[("CLOAKROOM_LISTEN", "127.0.0.1:1")], toml).unwrap();
    assert_eq!(config.http.listen.port(), 1);
    assert_eq!(config.limits.max_file_size, 77);
    assert_eq!(config.store.s3_path_style, Some(true));
    assert_eq!(config.http.mount, "/files");
    let origin = |name: &str| values.get(name).unwrap().origin.clone();
    assert_eq!(
        origin("CLOAKROOM_LISTEN"),
        Origin::Environment("CLOAKROOM_LISTEN".into())
    );
    assert!(
        matches!(origin("CLOAKROOM_MAX_FILE_SIZE"), Origin::File(key, _) if key == "max_file_size")
    );
    assert_eq!(origin("CLOAKROOM_MOUNT"), Origin::Default);
}

#[test]
fn an_empty_variable_counts_as_not_set() {
    let (config, _) = load(&[("CLOAKROOM_MOUNT", "")], "mount = \"/m\"").unwrap();
    assert_eq!(config.http.mount, "/m");
}

#[test]
fn a_wrong_value_names_variable_value_and_what_was_expected() {
    let line = refusal(&[("CLOAKROOM_MAX_FILE_SIZE", "lots")], "");
    assert!(
        line.starts_with("CLOAKROOM_MAX_FILE_SIZE is \"lots\"; expected a size"),
        "{line}"
    );
    let line = refusal(&[], "sweep_interval = 30");
    assert!(
        line.contains("CLOAKROOM_SWEEP_INTERVAL") && line.contains("sweep_interval"),
        "{line}"
    );
    assert!(line.contains("\"30\"; expected a duration"), "{line}");
    let line = refusal(&[("CLOAKROOM_MOUNT", "a\nb\u{7}")], "");
    assert!(line.contains("a\\nb"), "{line}");
    let line = refusal(&[], "listen = [1]");
    assert!(
        line.contains("listen in ") && line.contains("array"),
        "{line}"
    );
}

#[test]
fn several_wrong_values_are_told_together() {
    let pairs = [("CLOAKROOM_MOUNT", "x"), ("CLOAKROOM_LOG", "loud")];
    assert_eq!(load(&pairs, "").map(|_| ()).unwrap_err().len(), 2);
}

#[test]
fn a_wrong_secret_is_not_quoted() {
    let line = refusal(&[("CLOAKROOM_ADMIN_TOKEN", "canary x")], "");
    assert!(line.contains("****") && !line.contains("canary"), "{line}");
    let line = refusal(&[("CLOAKROOM_DATABASE_URL", "mysql://u:canary@h/d")], "");
    assert!(line.contains("mysql://u:****@h/d"), "{line}");
    let line = refusal(&[], "listen = \"127.0.0.1:1\"\nadmin_token = \"canary");
    assert!(
        line.contains("line 2") && !line.contains("canary"),
        "{line}"
    );
}

#[test]
fn unknown_names_are_refused_with_the_nearest_known_one() {
    let line = refusal(&[("CLOAKROOM_LISTN", "x")], "");
    assert_eq!(
        line,
        "CLOAKROOM_LISTN is not a setting; the nearest one is CLOAKROOM_LISTEN"
    );
    let line = refusal(&[], "max_filesize = 1");
    assert!(line.ends_with("the nearest one is max_file_size"), "{line}");
    let line = refusal(&[], "LISTEN = \"127.0.0.1:1\"");
    assert!(line.ends_with("the nearest one is listen"), "{line}");
    let line = refusal(&[], "[database]\nurl = \"x\"");
    assert!(line.starts_with("database in "), "{line}");
    // Only a secret may come from a file of its own.
    let line = refusal(&[("CLOAKROOM_LISTEN_FILE", "x")], "");
    assert!(
        line.contains("CLOAKROOM_LISTEN_FILE is not a setting"),
        "{line}"
    );
    assert!(load(&[("CLOAKROOMS", "x"), ("PATH", "y")], "").is_ok());
}

#[test]
fn a_secret_may_come_from_a_file_of_its_own() {
    let folder = Folder::new();
    let path = folder.with("token", "canary-token-1\n");
    let path = path.to_str().unwrap();
    let (config, values) = load(&[("CLOAKROOM_ADMIN_TOKEN_FILE", path)], "").unwrap();
    assert_eq!(
        config.access.admin_token.as_ref().unwrap().reveal(),
        "canary-token-1"
    );
    let origin = values
        .get("CLOAKROOM_ADMIN_TOKEN")
        .unwrap()
        .origin
        .to_string();
    assert_eq!(origin, "environment (CLOAKROOM_ADMIN_TOKEN_FILE)");
    let (config, _) = load(&[], &format!("admin_token_file = {path:?}")).unwrap();
    assert!(!config.is_development());
    let both = [
        ("CLOAKROOM_ADMIN_TOKEN_FILE", path),
        ("CLOAKROOM_ADMIN_TOKEN", "another-token"),
    ];
    assert!(refusal(&both, "").contains("both set"));
    let missing = [("CLOAKROOM_ADMIN_TOKEN_FILE", "/nowhere/token")];
    assert!(refusal(&missing, "").contains("/nowhere/token, which cannot be read"));
    let empty = folder.with("empty", "\n");
    let empty = [("CLOAKROOM_ADMIN_TOKEN_FILE", empty.to_str().unwrap())];
    assert!(refusal(&empty, "").ends_with("which is empty"));
}

#[test]
fn development_mode_stays_on_this_machine() {
    let line = refusal(&[("CLOAKROOM_LISTEN", "0.0.0.0:8080")], "");
    assert!(
        line.contains("CLOAKROOM_LISTEN is \"0.0.0.0:8080\"")
            && line.contains("CLOAKROOM_ADMIN_TOKEN"),
        "{line}"
    );
    let pairs = [
        ("CLOAKROOM_LISTEN", "0.0.0.0:8080"),
        ("CLOAKROOM_ADMIN_TOKEN", "a-token-of-mine"),
    ];
    assert!(load(&pairs, "").is_ok());
    // Where callers' tokens come from elsewhere nothing is made up.
    let (key, open) = ("7f3a9c2e51b04d187f3a9c2e51b04d18", "0.0.0.0:8080");
    let pairs = [
        ("CLOAKROOM_LISTEN", open),
        ("CLOAKROOM_AUTH_SECRET_KEY", key),
        ("CLOAKROOM_REDIS_URL", "redis://redis:6379/1"),
    ];
    for some in [&pairs[..2], &pairs[..]] {
        assert!(!load(some, "").unwrap().0.is_development());
    }
    for loopback in [
        "127.0.0.9:1",
        "[::1]:1",
        "localhost:1",
        "[::ffff:127.0.0.1]:1",
    ] {
        assert!(
            load(&[("CLOAKROOM_LISTEN", loopback)], "").is_ok(),
            "{loopback}"
        );
    }
}

#[test]
fn s3_needs_credentials_and_one_way_to_find_buckets() {
    let line = refusal(&[("CLOAKROOM_STORE", "s3")], "");
    for name in ["ACCESS_KEY_ID", "SECRET_ACCESS_KEY", "BUCKET or"] {
        assert!(line.contains(name), "{line}");
    }
    let both = [
        ("CLOAKROOM_S3_BUCKET", "abc"),
        ("CLOAKROOM_S3_BUCKET_PREFIX", "abc"),
    ];
    assert!(refusal(&both, "").contains("both set"));
    let long = "p".repeat(31);
    assert!(refusal(&[("CLOAKROOM_S3_BUCKET_PREFIX", &long)], "").contains("1 to 30"));
}

#[test]
fn redis_needs_the_secret_key_of_the_backend() {
    let line = refusal(
        &[("CLOAKROOM_REDIS_URL", "redis://:canary@redis:6379/1")],
        "",
    );
    assert!(
        line.contains("CLOAKROOM_AUTH_SECRET_KEY") && !line.contains("canary"),
        "{line}"
    );
    let placeholder = [("CLOAKROOM_AUTH_SECRET_KEY", "django-insecure-canary-canary")];
    let line = refusal(&placeholder, "");
    assert!(
        line.contains("is \"****\"") && !line.contains("canary"),
        "{line}"
    );
}

#[test]
fn bytes_are_left_only_to_proxies_that_are_named() {
    let offload = ("CLOAKROOM_OFFLOAD", "x-accel");
    assert!(refusal(&[offload], "").contains("CLOAKROOM_TRUSTED_PROXIES"));
    let trusted = ("CLOAKROOM_TRUSTED_PROXIES", "127.0.0.1, fd00::/8");
    assert!(load(&[offload, trusted], "").is_ok());
    let wrong = ("CLOAKROOM_TRUSTED_PROXIES", "nginx");
    assert!(refusal(&[wrong], "").contains("such as 127.0.0.1"));
}

#[test]
fn every_default_and_example_is_of_its_kind() {
    for setting in table::all() {
        if let Absent::Default(text) = setting.absent {
            assert!((setting.accepts)(text), "{}", setting.name);
        }
        if setting.masking != Masking::Secret {
            assert!((setting.accepts)(setting.example), "{}", setting.name);
        }
        assert!(setting.name.starts_with(PREFIX) && !setting.about().is_empty());
    }
}

#[test]
fn a_user_and_a_password_in_an_address_that_takes_none_are_not_repeated() {
    for name in ["CLOAKROOM_S3_ENDPOINT", "CLOAKROOM_PUBLIC_URL"] {
        let told = refusal(&[(name, "http://canary-user:canary-word@host")], "");
        assert!(told.contains(name) && told.contains("@host"), "{told}");
        assert!(!told.contains("canary"), "{told}");
    }
}

#[test]
fn no_secret_prints() {
    let pairs = [
        ("CLOAKROOM_ADMIN_TOKEN", "canary-1-xxx"),
        ("CLOAKROOM_DATABASE_URL", "postgres://u:canary@h/d"),
        ("CLOAKROOM_REDIS_URL", "redis://u:canary@h/1"),
        ("CLOAKROOM_AUTH_SECRET_KEY", "canary-of-a-secret-key"),
        ("CLOAKROOM_S3_ACCESS_KEY_ID", "canary"),
        ("CLOAKROOM_S3_SECRET_ACCESS_KEY", "canary"),
    ];
    let (config, values) = load(&pairs, "").unwrap();
    assert!(!format!("{config:?}").contains("canary"));
    for setting in table::all() {
        let shown = values.get(setting.name).unwrap().shown(setting);
        assert!(
            !shown.unwrap_or_default().contains("canary"),
            "{}",
            setting.name
        );
    }
}

#[test]
fn addresses_follow_from_what_is_set() {
    let (config, _) = load(&[("CLOAKROOM_DATA_DIR", "/tmp/a?b%")], "").unwrap();
    assert_eq!(
        config.database_url().reveal(),
        "sqlite:///tmp/a%3Fb%25/cloakroom.db"
    );
    let at = |text: &str| config.public_url(text.parse().unwrap());
    assert_eq!(at("0.0.0.0:81"), "http://127.0.0.1:81/files");
    assert_eq!(at("[::]:81"), "http://[::1]:81/files");
    let (config, _) = load(&[("CLOAKROOM_MOUNT", "/")], "").unwrap();
    assert_eq!(
        config.public_url("127.0.0.1:8080".parse().unwrap()),
        "http://127.0.0.1:8080"
    );
}
