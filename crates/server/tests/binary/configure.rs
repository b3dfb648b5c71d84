//! Configuration: what is refused, and what `config` and `openapi` print.

use serde_json::Value;

use crate::running::Place;

#[test]
fn a_wrong_value_stops_every_command_with_one_line() {
    let mut place = Place::new();
    place.set("MAX_FILE_SIZE", "lots");
    for command in [
        &["serve"][..],
        &["config", "check"],
        &["token", "list"],
        &["fsck"],
    ] {
        let said = place.run(command);
        assert_eq!(said.code, Some(2), "{said:?}");
        let line = said.line();
        assert!(
            line.contains("CLOAKROOM_MAX_FILE_SIZE is \"lots\"; expected a size"),
            "{line}"
        );
    }
    assert!(!place.data().exists());
}

#[test]
fn an_unknown_name_is_refused_with_the_nearest_one() {
    let mut place = Place::new();
    place.set("MAX_FILESIZE", "1");
    let said = place.run(&["serve"]);
    assert_eq!(said.code, Some(2));
    assert!(
        said.line()
            .ends_with("the nearest one is CLOAKROOM_MAX_FILE_SIZE"),
        "{said:?}"
    );
}

#[test]
fn development_mode_does_not_listen_beyond_this_machine() {
    let mut place = Place::new();
    place.set("LISTEN", "0.0.0.0:0");
    let said = place.run(&["serve"]);
    assert_eq!(said.code, Some(2));
    assert!(said.line().contains("CLOAKROOM_ADMIN_TOKEN"), "{said:?}");
}

#[test]
fn config_show_tells_sources_and_hides_secrets() {
    let mut place = Place::new();
    let secret = place.file("secret", "canary-of-the-operator\n");
    let file = place.file(
        "cloakroom.toml",
        "mount = \"/f\"\ns3_secret_access_key = \"canary\"\n",
    );
    place.set("ADMIN_TOKEN_FILE", secret.to_str().unwrap());
    place.set("DATABASE_URL", "postgres://u:canary@nowhere/d");
    let file = file.to_str().unwrap();

    let text = place.run(&["config", "show", "--config", file]);
    assert_eq!(text.code, Some(0), "{text:?}");
    let json = place.run(&["--config", file, "config", "show", "--json"]);
    for said in [&text, &json] {
        assert!(
            !said.out.contains("canary") && said.err.is_empty(),
            "{said:?}"
        );
    }
    assert!(text.out.contains("postgres://u:****@nowhere/d"), "{text:?}");
    let settings = json.json();
    let of = |name: &str| {
        let all = settings.as_array().unwrap();
        all.iter()
            .find(|setting| setting["name"] == name)
            .unwrap()
            .clone()
    };
    assert_eq!(of("CLOAKROOM_MOUNT")["value"], "/f");
    assert_eq!(of("CLOAKROOM_MOUNT")["source"], format!("{file} (mount)"));
    assert_eq!(of("CLOAKROOM_ADMIN_TOKEN")["value"], "****");
    let source = &of("CLOAKROOM_ADMIN_TOKEN")["source"];
    assert_eq!(source, "environment (CLOAKROOM_ADMIN_TOKEN_FILE)");
    assert_eq!(of("CLOAKROOM_PUBLIC_URL")["value"], Value::Null);
    assert_eq!(of("CLOAKROOM_WORKERS")["source"], "default");
}

#[test]
fn config_check_answers_by_exit_code_and_as_json() {
    let mut place = Place::new();
    assert_eq!(place.run(&["config", "check"]).code, Some(0));
    place.set("STORE", "s3");
    let said = place.run(&["config", "check", "--json"]);
    assert_eq!(said.code, Some(2));
    assert_eq!(said.json()["ok"], false);
    let problem = said.json()["problems"][0].as_str().unwrap().to_owned();
    assert!(problem.contains("CLOAKROOM_S3_ACCESS_KEY_ID"), "{problem}");
}

#[test]
fn a_missing_configuration_file_is_told() {
    let said = Place::new().run(&["--config", "nowhere.toml", "serve"]);
    assert_eq!(said.code, Some(2));
    assert!(
        said.line().contains("nowhere.toml cannot be read"),
        "{said:?}"
    );
}

#[test]
fn openapi_describes_the_configured_mount() {
    let mut place = Place::new();
    place.set("MOUNT", "/attachments");
    let said = place.run(&["openapi"]);
    assert_eq!(said.code, Some(0));
    let document = said.json();
    assert!(document["paths"]["/attachments/{file_id}"]["get"].is_object());
    assert!(!place.data().exists());
}

#[test]
fn a_wrong_command_line_is_exit_code_2() {
    let place = Place::new();
    for command in [&["serv"][..], &[], &["token", "create"], &["fsck", "--fix"]] {
        assert_eq!(place.run(command).code, Some(2), "{command:?}");
    }
    let help = place.run(&["--help"]);
    assert!(
        help.code == Some(0) && help.out.contains("Exit codes:"),
        "{help:?}"
    );
}
