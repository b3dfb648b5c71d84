//! What settings are taken, and what is said of those that are not.

use serde_json::json;

use super::*;

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        other => panic!("{other} is no object"),
    }
}

fn read(driver: Driver, config: Value) -> Result<DriverSettings, InvalidConfig> {
    DriverSettings::read(driver, &object(config))
}

/// Good settings with some of them changed.
fn with(driver: Driver, more: Value) -> Result<DriverSettings, InvalidConfig> {
    let mut config = object(good(driver));
    config.extend(object(more));
    DriverSettings::read(driver, &config)
}

/// Settings that every driver takes, with every secret `canary`.
fn good(driver: Driver) -> Value {
    match driver {
        Driver::Fs => json!({"path": "/srv/objects"}),
        Driver::S3 => json!({
            "endpoint": "http://127.0.0.1:9000", "bucket": "files", "region": "garage",
            "access_key_id": "id", "secret_access_key": "canary", "path_style": true,
        }),
        Driver::Webdav => json!({
            "endpoint": "https://dav.example.com/remote.php/dav", "username": "u", "password": "canary",
            "root": "cloakroom/objects",
        }),
        Driver::Sftp => json!({
            "endpoint": "ssh://127.0.0.1:2222", "user": "cloakroom", "key_file": "/etc/cloakroom/key",
            "known_hosts": "add", "root": "/srv/objects",
        }),
        Driver::Azblob => json!({
            "endpoint": "https://account.blob.core.windows.net", "container": "files",
            "account_name": "account", "account_key": "Y2FuYXJ5",
        }),
        Driver::Gcs => json!({
            "bucket": "example.com_files", "credential": "{\"type\": \"service_account\", \"x\": \"canary\"}",
        }),
        Driver::Gdrive | Driver::Onedrive | Driver::Dropbox => json!({
            "refresh_token": "canary", "client_id": "id", "client_secret": "canary",
        }),
    }
}

#[test]
fn every_driver_takes_its_settings_and_prints_no_secret() {
    for driver in Driver::ALL {
        assert_eq!(Driver::parse(driver.as_str()), Some(driver));
        let settings = read(driver, good(driver)).unwrap();
        assert_eq!(settings.driver(), driver);
        assert!(!format!("{settings:?}").contains("canary"), "{driver}");
        settings.buckets().unwrap();
    }
    assert_eq!(Driver::parse("FS"), None);
}

#[test]
fn secrets_are_masked_and_so_is_what_nobody_knows() {
    for driver in Driver::ALL {
        let mut config = object(good(driver));
        config.insert("passwort".into(), "canary".into());
        let masked = driver.masked(&config);
        assert!(!format!("{masked:?}").contains("canary"), "{driver}");
        assert_eq!(masked.len(), config.len());
        for name in driver.secrets() {
            assert!(masked.get(name).is_none_or(|it| it == MASK));
        }
    }
}

#[test]
fn every_bad_setting_is_named_and_no_value_repeated() {
    for driver in Driver::ALL {
        for field in driver.fields() {
            let mut bad = vec![
                json!(["canary"]),
                json!({"canary": 1}),
                json!(17),
                json!("canary\u{0}"),
            ];
            bad.push(json!("canary".repeat(6000)));
            for value in bad {
                let mut config = object(good(driver));
                config.insert(field.name.into(), value);
                let error = DriverSettings::read(driver, &config).unwrap_err();
                assert_eq!(error.field, field.name, "{driver}");
                assert!(!error.to_string().contains("canary"), "{driver}: {error}");
            }
            let mut config = object(good(driver));
            config.remove(field.name);
            let outcome = DriverSettings::read(driver, &config);
            if field.required {
                assert_eq!(outcome.unwrap_err().field, field.name, "{driver}");
            }
        }
        let mut config = object(good(driver));
        config.insert("colour".into(), json!("canary"));
        let error = DriverSettings::read(driver, &config).unwrap_err();
        assert_eq!(error.field, "colour");
        assert!(error.expected.starts_with("one of "), "{error}");
    }
}

/// Settings with something changed, and the field that is then named; `None` if all is well.
type Case = (Driver, Value, Option<&'static str>);

fn assert_named(cases: Vec<Case>) {
    for (driver, more, expected) in cases {
        let shown = more.to_string();
        let named = with(driver, more).err().map(|error| error.field);
        assert_eq!(named.as_deref(), expected, "{driver} {shown}");
    }
}

#[test]
fn settings_that_contradict_each_other_are_refused() {
    use Driver::{Azblob, Gdrive, Onedrive, S3, Webdav};
    assert_named(vec![
        (S3, json!({"bucket_prefix": "p"}), Some("bucket")),
        (S3, json!({"bucket": null}), Some("bucket")),
        (S3, json!({"bucket": null, "bucket_prefix": "p"}), None),
        (Webdav, json!({"password": null}), Some("password")),
        (Webdav, json!({"username": null}), Some("username")),
        (Webdav, json!({"token": "t"}), Some("token")),
        (
            Webdav,
            json!({"username": null, "password": null, "token": "t"}),
            None,
        ),
        (
            Webdav,
            json!({"bucket": "abc", "bucket_prefix": "p"}),
            Some("bucket"),
        ),
        (Azblob, json!({"sas_token": "t"}), Some("account_key")),
        (Gdrive, json!({"access_token": "t"}), Some("access_token")),
        (Onedrive, json!({"client_id": null}), Some("access_token")),
    ]);
}

#[test]
fn values_that_lead_elsewhere_are_refused() {
    use Driver::{Fs, Gcs, S3, Sftp, Webdav};
    let external = json!({"credential": r#"{"type": "external_account"}"#});
    assert_named(vec![
        (S3, json!({"bucket": "Files"}), Some("bucket")),
        (S3, json!({"endpoint": "file:///etc"}), Some("endpoint")),
        (S3, json!({"endpoint": "http://u:p@h"}), Some("endpoint")),
        (Webdav, json!({"username": "a:b"}), Some("username")),
        (Webdav, json!({"root": "a/../b"}), Some("root")),
        (
            Sftp,
            json!({"endpoint": "-oProxyCommand=x"}),
            Some("endpoint"),
        ),
        (Sftp, json!({"endpoint": "h:x"}), Some("endpoint")),
        (Sftp, json!({"endpoint": "u@h"}), Some("endpoint")),
        (Sftp, json!({"endpoint": "[::1]:22"}), None),
        (Sftp, json!({"endpoint": "[::1]22"}), Some("endpoint")),
        (Sftp, json!({"user": "-l"}), Some("user")),
        (Sftp, json!({"known_hosts": "no"}), Some("known_hosts")),
        (Gcs, external, Some("credential")),
        (Fs, json!({"path": "objects"}), Some("path")),
        (Fs, json!({"path": "/srv/../etc"}), Some("path")),
    ]);
}

#[test]
fn a_place_is_the_same_for_every_login_and_spelling_and_no_other() {
    use Driver::{Azblob, Gcs, S3, Sftp, Webdav};
    let cases = [
        (S3, json!({"access_key_id": "other", "region": null}), true),
        (S3, json!({"endpoint": "http://127.0.0.1:9000/"}), true),
        (S3, json!({"bucket": "others"}), false),
        (
            Webdav,
            json!({"password": "other", "bucket": "files"}),
            true,
        ),
        (Webdav, json!({"root": "/cloakroom/objects/"}), true),
        (Webdav, json!({"username": "v"}), false),
        (Webdav, json!({"root": "cloakroom"}), false),
        (Sftp, json!({"key_file": "/k", "known_hosts": null}), true),
        (Sftp, json!({"root": "srv/objects"}), false),
        (Sftp, json!({"user": "other"}), false),
        (Azblob, json!({"account_key": "b3RoZXI="}), true),
        (Azblob, json!({"container": "others"}), false),
        (Gcs, json!({"credential": null}), true),
        (Gcs, json!({"root": "x"}), false),
    ];
    for (driver, change, is_same) in cases {
        let place = read(driver, good(driver)).unwrap().place();
        let changed = with(driver, change.clone()).unwrap().place();
        assert_eq!(place == changed, is_same, "{driver} {change}");
    }
    for driver in Driver::ALL {
        let place = read(driver, good(driver)).unwrap().place();
        assert!(!place.contains("canary"), "{place}");
    }
}

#[test]
fn buckets_are_found_as_told() {
    let rule = |driver, more| with(driver, more).unwrap().buckets().unwrap();
    let fixed = |name| BucketRule::Fixed(Bucket::parse(name).unwrap());
    assert_eq!(rule(Driver::Fs, json!({})), fixed("files"));
    assert_eq!(rule(Driver::Webdav, json!({})), fixed("files"));
    assert_eq!(rule(Driver::Webdav, json!({"bucket": "abc"})), fixed("abc"));
    let per_account = rule(Driver::Webdav, json!({"bucket_prefix": "p"}));
    assert_eq!(per_account, BucketRule::PerAccount("p".into()));
}

#[tokio::test]
async fn a_store_is_opened_unless_it_is_where_none_may_be() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let budgets = Budgets::default();
    let folder = tempfile::tempdir().unwrap();
    for driver in Driver::ALL {
        let mut config = object(good(driver));
        if driver == Driver::Fs {
            config.insert("path".into(), folder.path().to_str().unwrap().into());
        }
        let settings = DriverSettings::read(driver, &config).unwrap();
        let store = settings.open(&budgets, Guard::Strict).await.unwrap();
        assert_eq!(store.driver(), driver.as_str());
        if config.contains_key("endpoint") {
            let forbidden = match driver {
                Driver::Sftp => "ssh://169.254.169.254",
                _ => "http://169.254.169.254/",
            };
            config.insert("endpoint".into(), forbidden.into());
            let settings = DriverSettings::read(driver, &config).unwrap();
            let refused = settings.open(&budgets, Guard::Strict).await;
            assert!(matches!(refused, Err(StoreError::Refused(_))), "{driver}");
        }
    }
}
