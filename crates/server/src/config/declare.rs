//! What a setting is, and the macro that makes structs, readers and the table out of one list.

use super::kinds::Masking;

/// What holds where nobody set a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Absent {
    /// This value.
    Default(&'static str),
    /// No value; what that means, in words.
    Unset(&'static str),
}

/// One setting, as everything but its reader sees it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Setting {
    /// The environment variable.
    pub(crate) name: &'static str,
    /// What kind of value it has.
    pub(crate) kind: &'static str,
    /// What is expected, for the one who wrote something else.
    pub(crate) expected: &'static str,
    /// How much of it may be shown.
    pub(crate) masking: Masking,
    /// What holds where nobody set it.
    pub(crate) absent: Absent,
    /// A value that someone might set.
    pub(crate) example: &'static str,
    /// What it does: the documentation of its field.
    pub(super) about: &'static [&'static str],
    /// Whether the text is a value of its kind.
    pub(crate) accepts: fn(&str) -> bool,
}

/// What every name in the environment starts with.
pub(crate) const PREFIX: &str = "CLOAKROOM_";

impl Setting {
    /// What it does, in one line.
    pub(crate) fn about(&self) -> String {
        let lines: Vec<&str> = self.about.iter().map(|line| line.trim()).collect();
        lines.join(" ")
    }

    /// The name of the variable that names a file with the value; `None` unless the value is secret.
    pub(crate) fn file_name(&self) -> Option<String> {
        self.masking
            .is_secret()
            .then(|| format!("{}_FILE", self.name))
    }
}

/// The key in a TOML file for a name in the environment.
pub(crate) fn key_of(name: &str) -> String {
    name.strip_prefix(PREFIX)
        .unwrap_or(name)
        .to_ascii_lowercase()
}

/// The settings of one concern.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Group {
    /// A heading.
    pub(crate) title: &'static str,
    /// Its settings, in the order of the document.
    pub(crate) settings: &'static [Setting],
}

/// Makes, out of one list: a struct for each concern with a field for each setting, `Config` with a field for each
/// concern, how they are read, and the table `GROUPS`.
macro_rules! settings {
    (@absent default $text:literal) => { Absent::Default($text) };
    (@absent unset $text:literal) => { Absent::Unset($text) };
    (@read default $values:ident, $name:literal, $kind:expr) => { $values.required($name, &$kind)? };
    (@read unset $values:ident, $name:literal, $kind:expr) => { $values.optional($name, &$kind)? };
    ($(
        $(#[doc = $group_doc:literal])+
        $section:ident: $group:ident, $title:literal {
            $(
                $(#[doc = $doc:literal])+
                $field:ident: $type:ty = $name:literal, $kind:ident, $absent:ident $text:literal, example $example:literal;
            )+
        }
    )+) => {
        $(
            $(#[doc = $group_doc])+
            #[derive(Debug, Clone)]
            pub(crate) struct $group {
                $(
                    $(#[doc = $doc])+
                    pub(crate) $field: $type,
                )+
            }

            impl $group {
                const SETTINGS: &[Setting] = &[$(
                    Setting {
                        name: $name,
                        kind: kinds::$kind.name,
                        expected: kinds::$kind.expected,
                        masking: kinds::$kind.masking,
                        absent: settings!(@absent $absent $text),
                        example: $example,
                        about: &[$($doc),+],
                        accepts: |text| (kinds::$kind.read)(text).is_some(),
                    },
                )+];

                fn read(values: &Values) -> Result<Self, Problem> {
                    Ok(Self { $($field: settings!(@read $absent values, $name, kinds::$kind),)+ })
                }
            }
        )+

        /// Every setting that the service has, by concern.
        pub(crate) const GROUPS: &[Group] = &[$(
            Group { title: $title, settings: $group::SETTINGS },
        )+];

        /// Everything that was configured.
        #[derive(Debug, Clone)]
        pub(crate) struct Config {
            $(
                $(#[doc = $group_doc])+
                pub(crate) $section: $group,
            )+
        }

        impl Config {
            /// Reads every value.
            ///
            /// # Errors
            /// The first value that is not of its kind.
            pub(super) fn read(values: &Values) -> Result<Self, Problem> {
                Ok(Self { $($section: $group::read(values)?,)+ })
            }
        }
    };
}

pub(crate) use settings;
