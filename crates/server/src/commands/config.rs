//! `cloakroom config show` and `check`.

use std::path::Path;

use serde::Serialize;

use crate::{
    cli::{ConfigCommand, Output},
    config::{self, Absent, GROUPS, Setting, Values},
    failure::Failure,
    output::{say, say_json},
};

/// A setting as scripts see it.
#[derive(Serialize)]
struct Shown<'a> {
    name: &'a str,
    /// `null` where nothing is set.
    value: Option<String>,
    source: String,
    group: &'a str,
    kind: &'a str,
    secret: bool,
    default: Option<&'a str>,
    example: &'a str,
    description: String,
}

/// Runs the command.
///
/// # Errors
/// The configuration is wrong.
pub(crate) fn run(command: &ConfigCommand, file: Option<&Path>) -> Result<(), Failure> {
    match command {
        ConfigCommand::Show { output } => show(&config::load(file)?.1, *output),
        ConfigCommand::Check { output } => check(file, *output),
    }
}

fn check(file: Option<&Path>, output: Output) -> Result<(), Failure> {
    let checked = config::load(file).map(drop);
    if output.json {
        let problems = checked.as_ref().err();
        let problems: Vec<String> = problems
            .into_iter()
            .flatten()
            .map(ToString::to_string)
            .collect();
        say_json(&serde_json::json!({ "ok": checked.is_ok(), "problems": problems }))?;
    }
    checked?;
    if output.json {
        return Ok(());
    }
    say("the configuration is right")
}

fn show(values: &Values, output: Output) -> Result<(), Failure> {
    if output.json {
        let shown: Vec<Shown<'_>> = GROUPS
            .iter()
            .flat_map(|group| group.settings.iter().map(|s| (group.title, s)))
            .filter_map(|(group, setting)| as_json(values, group, setting))
            .collect();
        return say_json(&shown);
    }
    for group in GROUPS {
        say(&format!("# {}", group.title))?;
        for setting in group.settings {
            if let Some(value) = values.get(setting.name) {
                let text = value.shown(setting).map_or_else(
                    || match setting.absent {
                        Absent::Default(text) => text.to_owned(),
                        Absent::Unset(text) => format!("(not set: {text})"),
                    },
                    |text| text.escape_debug().to_string(),
                );
                say(&format!("{:<33} {text}  [{}]", setting.name, value.origin))?;
            }
        }
        say("")?;
    }
    Ok(())
}

fn as_json<'a>(values: &Values, group: &'a str, setting: &'a Setting) -> Option<Shown<'a>> {
    let value = values.get(setting.name)?;
    Some(Shown {
        name: setting.name,
        value: value.shown(setting),
        source: value.origin.to_string(),
        group,
        kind: setting.kind,
        secret: setting.masking.is_secret(),
        default: match setting.absent {
            Absent::Default(text) => Some(text),
            Absent::Unset(_) => None,
        },
        example: setting.example,
        description: setting.about(),
    })
}
