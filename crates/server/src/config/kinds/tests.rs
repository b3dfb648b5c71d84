//! What each kind takes and refuses.

use super::*;

fn takes<T>(kind: &Kind<T>, text: &str) -> bool {
    (kind.read)(text).is_some()
}

#[test]
fn durations_have_one_of_four_units() {
    let read = |text| (DURATION.read)(text).map(|duration| duration.as_millis());
    assert_eq!(read("500ms"), Some(500));
    assert_eq!(read("30s"), Some(30_000));
    assert_eq!(read("5m"), Some(300_000));
    assert_eq!(read("24h"), Some(86_400_000));
    for bad in [
        "30",
        "s",
        "1.5s",
        "-1s",
        "+1s",
        "1 s",
        "1d",
        "99999999999999999999h",
        "9999999999h",
    ] {
        assert_eq!(read(bad), None, "{bad}");
    }
}

#[test]
fn sizes_are_bytes_or_binary_or_decimal_units() {
    let read = |text| (FILE_SIZE.read)(text);
    assert_eq!(read("104857600"), Some(104_857_600));
    assert_eq!(read("100MiB"), Some(104_857_600));
    assert_eq!(read("1GiB"), Some(1 << 30));
    assert_eq!(read("2kB"), Some(2_000));
    assert_eq!(read("2KiB"), Some(2_048));
    assert_eq!(read("3MB"), Some(3_000_000));
    for bad in [
        "0",
        "-1",
        "1.5MiB",
        "1 MiB",
        "1mib",
        "99999999999GiB",
        "MiB",
        "0x10",
    ] {
        assert_eq!(read(bad), None, "{bad}");
    }
    assert_eq!((UPLOAD_BUFFER.read)("23MiB"), None);
    assert_eq!((READ_BUFFER.read)("4GiB"), None);
}

#[test]
fn a_mount_is_a_plain_path_apart_from_the_fixed_routes() {
    assert_eq!((MOUNT.read)("/").as_deref(), Some("/"));
    assert_eq!((MOUNT.read)("/files/").as_deref(), Some("/files"));
    assert_eq!((MOUNT.read)("/a/b").as_deref(), Some("/a/b"));
    for bad in [
        "files", "//", "/a//b", "/../x", "/a b", "/{id}", "/health", "/docs/x", "/objects",
    ] {
        assert!(!takes(&MOUNT, bad), "{bad}");
    }
}

#[test]
fn a_web_address_has_no_credentials_query_or_fragment() {
    let read = |text| (WEB_ADDRESS.read)(text);
    assert_eq!(
        read("https://Example.com/files/").as_deref(),
        Some("https://example.com/files")
    );
    for bad in [
        "example.com",
        "ftp://x",
        "https://u:p@x",
        "https://x?y",
        "https://x#y",
        "http://",
    ] {
        assert_eq!(read(bad), None, "{bad}");
    }
}

#[test]
fn an_origin_has_no_path_and_is_written_as_browsers_write_it() {
    let read = |text| (ORIGINS.read)(text);
    assert_eq!(
        read("https://App.example.com/, http://localhost:3000,https://x.de:443").unwrap(),
        [
            "https://app.example.com",
            "http://localhost:3000",
            "https://x.de"
        ]
    );
    for bad in [
        "*",
        "null",
        "https://x/y",
        "x.de",
        "https://*.x.de/",
        "https://x,",
        "file:///",
        "https://u@x",
    ] {
        assert!(!takes(&ORIGINS, bad), "{bad}");
    }
}

#[test]
fn networks_are_addresses_or_prefixes() {
    let read = |text| (NETWORKS.read)(text);
    let nets = read("127.0.0.1, 10.0.0.0/8,::ffff:192.0.2.1,fd00::/8").unwrap();
    let shown: Vec<String> = nets.iter().map(ToString::to_string).collect();
    assert_eq!(
        shown,
        ["127.0.0.1/32", "10.0.0.0/8", "192.0.2.1/32", "fd00::/8"]
    );
    for bad in ["nginx", "10.0.0.0/33", "10.0.0.1-10.0.0.9", "10.0.0.1,"] {
        assert!(!takes(&NETWORKS, bad), "{bad}");
    }
}

#[test]
fn a_rate_is_a_number_in_a_time() {
    let read = |text| (RATE.read)(text).map(|it| (it.permits.get(), it.window.as_secs()));
    assert_eq!(read("60/60s"), Some((60, 60)));
    assert_eq!(read("1/24h"), Some((1, 86_400)));
    for bad in [
        "60",
        "60/",
        "/60s",
        "0/60s",
        "60/0s",
        "60/500ms",
        "100001/1s",
        "60/25h",
        "-1/1s",
        "1/1s/1s",
    ] {
        assert_eq!(read(bad), None, "{bad}");
    }
}

#[test]
fn a_page_of_the_application_never_leads_to_another_host() {
    assert_eq!(
        (PAGE_PATH.read)("/auth/signin/").as_deref(),
        Some("/auth/signin/")
    );
    for bad in [
        "auth",
        "//evil.com",
        "/a//b",
        "/\\evil.com",
        "/a?b",
        "/a#b",
        "/a b",
        "@evil.com",
    ] {
        assert!(!takes(&PAGE_PATH, bad), "{bad}");
    }
}

#[test]
fn bucket_names_and_prefixes_leave_room_for_an_account() {
    assert!(takes(&BUCKET, "my-bucket-1") && takes(&BUCKET_PREFIX, "a"));
    for bad in ["ab", "Bucket", "a_b", "a.b", "-ab", "ab-"] {
        assert!(!takes(&BUCKET, bad), "{bad}");
    }
    for bad in ["p.q", "Prefix", "-p", "p-", "p_q"] {
        assert!(!takes(&BUCKET_PREFIX, bad), "{bad}");
    }
    assert!(takes(&BUCKET_PREFIX, &"p".repeat(30)) && !takes(&BUCKET_PREFIX, &"p".repeat(31)));
}

#[test]
fn a_default_or_short_admin_token_is_no_token() {
    for bad in [
        "short",
        "changeme",
        "Change-Me",
        "changeme-please",
        "aaaaaaaaaaaa",
        "has a space",
        "пароль-пароль",
    ] {
        assert!(!takes(&ADMIN_TOKEN, bad), "{bad}");
    }
    assert!(takes(&ADMIN_TOKEN, "7f3a9c2e51"));
}

#[test]
fn a_placeholder_or_short_secret_key_is_no_key() {
    for bad in [
        "short-key",
        "django-insecure-7f3a9c2e51b04d18",
        "changeme-changeme-changeme",
        "CHANGE_THIS_IN_PRODUCTION",
        "your-secret-key-here-1234",
        "secret-key-secret-key",
        "abababababababababab",
        "with-a-\u{7}-bell-in-the-middle",
        "ключ-который-никто-не-знает",
    ] {
        assert!(!takes(&SECRET_KEY, bad), "{bad}");
    }
    for good in [
        "k(8!x+d0^f-2m@w)_q#5",
        "7f3a9c2e51b04d187f3a9c2e51b04d18",
        "a key of a few words that nobody guesses",
    ] {
        assert!(takes(&SECRET_KEY, good), "{good}");
    }
}

#[test]
fn only_addresses_of_redis_servers_are_taken() {
    for good in [
        "redis://redis",
        "redis://127.0.0.1:6379/1",
        "rediss://user:p%40ss@redis.example.com:6380/0",
        "redis://:password@[::1]:6379",
    ] {
        assert!(takes(&REDIS, good), "{good}");
    }
    for bad in [
        "redis",
        "redis://",
        "http://redis:6379",
        "redis+unix:///tmp/redis.sock",
        "redis://redis/name",
        "redis://redis/1?protocol=resp2",
        "rediss://redis/#insecure",
    ] {
        assert!(!takes(&REDIS, bad), "{bad}");
    }
    let show = |text| REDIS.masking.show(text);
    assert_eq!(
        show("redis://:pw@redis:6379/1"),
        "redis://:****@redis:6379/1"
    );
}

#[test]
fn a_mistyped_level_is_no_filter() {
    for good in [
        "info",
        "off",
        "info,cloakroom=debug",
        "cloakroom_presentation=trace",
    ] {
        assert!(takes(&LOG_FILTER, good), "{good}");
    }
    for bad in ["inof", "INFOO", "info,debgu", "a=b=c", "x=loud"] {
        assert!(!takes(&LOG_FILTER, bad), "{bad}");
    }
}

#[test]
fn the_password_of_an_address_is_not_shown() {
    let show = |text| Masking::Password.show(text);
    assert_eq!(show("postgres://u:pw@h/d"), "postgres://u:****@h/d");
    assert_eq!(
        show("postgres://u@h/d?password=pw&sslmode=require"),
        "postgres://u@h/d?password=****&sslmode=require"
    );
    assert_eq!(show("no address pw"), "****");
    assert_eq!(show("sqlite://data/x.db"), "sqlite://data/x.db");
}

#[test]
fn only_addresses_of_known_databases_are_taken() {
    assert!(takes(&DATABASE, "postgres://u:p@h/d") && takes(&DATABASE, "sqlite://x.db"));
    for bad in ["mysql://x", "sqlite:", "postgres://", "cloakroom.db"] {
        assert!(!takes(&DATABASE, bad), "{bad}");
    }
}
