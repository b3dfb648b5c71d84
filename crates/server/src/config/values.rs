//! Where values come from: the environment first, a TOML file under it, defaults under that.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    fmt, fs,
    io::Read,
    path::{Path, PathBuf},
};

use super::{
    aliases::{Given, OldEnvironment},
    declare::{Absent, PREFIX, Setting, key_of},
    kinds::Kind,
    names::nearest,
    problem::Problem,
    table,
};

/// A secret in a file is not longer than this.
const MAX_SECRET_FILE: u64 = 64 * 1024;

/// Where a value was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Origin {
    /// This variable of the environment.
    Environment(String),
    /// This key of that file.
    File(String, PathBuf),
    /// These variables of the FastAPI service's environment.
    Aliases(Vec<&'static str>),
    /// Nowhere.
    Default,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Environment(name) => write!(f, "environment ({name})"),
            Self::File(key, path) => write!(f, "{} ({key})", path.display()),
            Self::Aliases(names) => write!(f, "environment ({})", names.join(", ")),
            Self::Default => f.write_str("default"),
        }
    }
}

/// The text that holds for a setting. Secrets are in here: it does not print.
pub(crate) struct Value {
    text: Option<String>,
    /// Where it was found.
    pub(crate) origin: Origin,
}

impl Value {
    /// The text as it may be shown; `None` where nothing is set.
    pub(crate) fn shown(&self, setting: &Setting) -> Option<String> {
        self.text.as_deref().map(|text| setting.masking.show(text))
    }

    /// The old variables that it came from; `None` where it came from elsewhere.
    pub(super) fn aliases(&self) -> Option<&[&'static str]> {
        match &self.origin {
            Origin::Aliases(names) => Some(names),
            _ => None,
        }
    }
}

/// The text that holds for every setting.
pub(crate) struct Values {
    values: BTreeMap<&'static str, Value>,
    /// Whether the old environment allowed every origin, which we do not.
    left_out_any_origin: bool,
}

impl Values {
    /// Gathers the environment and the file, and checks every name and value.
    ///
    /// # Errors
    /// Everything that is wrong, a line each.
    pub(crate) fn gather(
        environment: impl Iterator<Item = (OsString, OsString)>,
        file: Option<&Path>,
    ) -> Result<Self, Vec<Problem>> {
        let mut problems = Vec::new();
        let environment: Vec<(OsString, OsString)> = environment.collect();
        let old = OldEnvironment::recognise(&environment, &mut problems);
        let layers = Layers {
            environment: from_environment(environment, &mut problems),
            file: file.map(|path| (path, from_file(path, &mut problems))),
            old,
        };
        let mut values = BTreeMap::new();
        for setting in table::all() {
            let found = layers.find(setting);
            match found.and_then(|value| checked(setting, value)) {
                Ok(value) => {
                    values.insert(setting.name, value);
                }
                // A wrong alias is in the way of every setting that is made of it.
                Err(problem) if problems.contains(&problem) => {}
                Err(problem) => problems.push(problem),
            }
        }
        if problems.is_empty() {
            let left_out_any_origin = layers.left_out_any_origin();
            Ok(Self {
                values,
                left_out_any_origin,
            })
        } else {
            Err(problems)
        }
    }

    /// What holds for a setting.
    pub(crate) fn get(&self, name: &str) -> Option<&Value> {
        self.values.get(name)
    }

    /// Whether the old environment allowed every origin, which counts for nothing.
    pub(super) const fn left_out_any_origin(&self) -> bool {
        self.left_out_any_origin
    }

    /// Reads a setting that has a default.
    ///
    /// # Errors
    /// The value is not of its kind.
    pub(crate) fn required<T>(&self, name: &str, kind: &Kind<T>) -> Result<T, Problem> {
        self.optional(name, kind)?
            .ok_or_else(|| Problem::new(&format!("{name} is needed: {}", kind.expected)))
    }

    /// Reads a setting that may be left out.
    ///
    /// # Errors
    /// The value is not of its kind.
    pub(crate) fn optional<T>(&self, name: &str, kind: &Kind<T>) -> Result<Option<T>, Problem> {
        let Some(text) = self.get(name).and_then(|value| value.text.as_deref()) else {
            return Ok(None);
        };
        (kind.read)(text).map(Some).ok_or_else(|| {
            let shown = kind.masking.show(text);
            wrong(name, &shown, kind.expected)
        })
    }
}

/// One line for a value that is not what was expected.
pub(super) fn wrong(what: &str, shown: &str, expected: &str) -> Problem {
    let mut shown: String = shown.chars().take(200).collect();
    if shown.is_empty() {
        shown.push_str("nothing");
    }
    Problem::new(&format!("{what} is \"{shown}\"; expected {expected}"))
}

type Texts = BTreeMap<String, String>;

/// The variables with our prefix. An empty one counts as not set, as compose files write it.
fn from_environment(environment: Vec<(OsString, OsString)>, problems: &mut Vec<Problem>) -> Texts {
    let mut texts = Texts::new();
    for (name, value) in environment {
        let name = name.to_string_lossy().into_owned();
        if !name.starts_with(PREFIX) {
            continue;
        }
        if !is_known(&name) {
            let known = nearest(&name);
            let text = format!("{name} is not a setting; the nearest one is {known}");
            problems.push(Problem::new(&text));
            continue;
        }
        match value.into_string() {
            Ok(value) if value.is_empty() => {}
            Ok(value) => {
                texts.insert(name, value);
            }
            Err(_) => problems.push(Problem::new(&format!("{name} is not UTF-8"))),
        }
    }
    texts
}

/// The file's keys, by the names of their variables.
fn from_file(path: &Path, problems: &mut Vec<Problem>) -> Texts {
    let shown = path.display();
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) => {
            problems.push(Problem::new(&format!("{shown} cannot be read: {error}")));
            return Texts::new();
        }
    };
    let table = match text.parse::<toml::Table>() {
        Ok(table) => table,
        Err(error) => {
            // The message alone: the whole error would quote a line, which may hold a secret.
            let start = error.span().map_or(0, |span| span.start);
            let line = text.get(..start).map_or(1, |t| t.matches('\n').count() + 1);
            let text = format!("{shown}, line {line}: {}", error.message());
            problems.push(Problem::new(&text));
            return Texts::new();
        }
    };
    let mut texts = Texts::new();
    for (key, value) in table {
        let name = format!("{PREFIX}{}", key.to_ascii_uppercase());
        if key != key_of(&name) || !is_known(&name) {
            let known = key_of(&nearest(&name));
            let text = format!("{key} in {shown} is not a setting; the nearest one is {known}");
            problems.push(Problem::new(&text));
            continue;
        }
        match value {
            toml::Value::String(text) if text.is_empty() => continue,
            toml::Value::String(text) => texts.insert(name, text),
            toml::Value::Integer(number) => texts.insert(name, number.to_string()),
            toml::Value::Boolean(switch) => texts.insert(name, switch.to_string()),
            other => {
                let what = other.type_str();
                let text = format!(
                    "{key} in {shown} is a {what}; expected a text, a number or true or false"
                );
                problems.push(Problem::new(&text));
                continue;
            }
        };
    }
    texts
}

fn is_known(name: &str) -> bool {
    table::all().any(|s| s.name == name || s.file_name().is_some_and(|file| file == name))
}

/// Where values are looked for, in this order.
struct Layers<'a> {
    environment: Texts,
    file: Option<(&'a Path, Texts)>,
    old: Option<OldEnvironment>,
}

impl Layers<'_> {
    /// What holds for a setting, with a secret read from its own file.
    fn find(&self, setting: &Setting) -> Result<Value, Problem> {
        if let Some(value) = of_layer(setting, &self.environment, |name| {
            Origin::Environment(name.to_owned())
        })? {
            return Ok(value);
        }
        if let Some((path, texts)) = &self.file
            && let Some(value) = of_layer(setting, texts, |name| {
                Origin::File(key_of(name), path.to_path_buf())
            })?
        {
            return Ok(value);
        }
        let is_set = |name: &str| self.is_set(name);
        if let Some(old) = &self.old
            && let Some(Given { text, from }) = old.given(setting.name, is_set)?
        {
            return Ok(Value {
                text: Some(text),
                origin: Origin::Aliases(from),
            });
        }
        let text = match setting.absent {
            Absent::Default(text) => Some(text.to_owned()),
            Absent::Unset(_) => None,
        };
        Ok(Value {
            text,
            origin: Origin::Default,
        })
    }

    /// Whether a setting has a value of its own, or names a file with one.
    fn is_set(&self, name: &str) -> bool {
        let by_file = format!("{name}_FILE");
        let file = self.file.as_ref().map(|(_, texts)| texts);
        [Some(&self.environment), file]
            .into_iter()
            .flatten()
            .any(|texts| texts.contains_key(name) || texts.contains_key(&by_file))
    }

    fn left_out_any_origin(&self) -> bool {
        !self.is_set("CLOAKROOM_ALLOWED_ORIGINS")
            && self
                .old
                .as_ref()
                .is_some_and(OldEnvironment::allows_any_origin)
    }
}

fn of_layer(
    setting: &Setting,
    texts: &Texts,
    origin: impl Fn(&str) -> Origin,
) -> Result<Option<Value>, Problem> {
    let direct = texts.get(setting.name);
    let file_name = setting.file_name();
    let by_file = file_name
        .as_ref()
        .and_then(|name| Some((name, texts.get(name)?)));
    match (direct, by_file) {
        (Some(_), Some((file_name, _))) => Err(Problem::new(&format!(
            "{} and {file_name} are both set; expected one of them",
            setting.name
        ))),
        (Some(text), None) => Ok(Some(Value {
            text: Some(text.clone()),
            origin: origin(setting.name),
        })),
        (None, Some((file_name, path))) => Ok(Some(Value {
            text: Some(secret_in(file_name, Path::new(path))?),
            origin: origin(file_name),
        })),
        (None, None) => Ok(None),
    }
}

/// A secret from its own file, without the end of its line.
fn secret_in(name: &str, path: &Path) -> Result<String, Problem> {
    let problem = |what: &str| {
        let path = path.display();
        Problem::new(&format!("{name} names {path}, which {what}"))
    };
    let mut text = String::new();
    fs::File::open(path)
        .and_then(|file| file.take(MAX_SECRET_FILE + 1).read_to_string(&mut text))
        .map_err(|error| problem(&format!("cannot be read: {error}")))?;
    if text.len() as u64 > MAX_SECRET_FILE {
        return Err(problem("is too large for a secret"));
    }
    let secret = text.trim_end_matches(['\r', '\n']);
    if secret.is_empty() {
        return Err(problem("is empty"));
    }
    Ok(secret.to_owned())
}

fn checked(setting: &Setting, value: Value) -> Result<Value, Problem> {
    let Some(text) = value.text.as_deref() else {
        return Ok(value);
    };
    if (setting.accepts)(text) {
        return Ok(value);
    }
    let what = match &value.origin {
        Origin::Environment(name) if name == setting.name => name.clone(),
        // The operator of an old deployment knows the old name.
        Origin::Aliases(names) if names.len() == 1 => {
            format!("{}, read as {},", names[0], setting.name)
        }
        origin => format!("{}, from {origin},", setting.name),
    };
    Err(wrong(&what, &setting.masking.show(text), setting.expected))
}
