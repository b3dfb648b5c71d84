//! Where values come from: the environment first, a TOML file under it, defaults under that.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    fmt, fs,
    io::Read,
    path::{Path, PathBuf},
};

use super::{
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
    /// Nowhere.
    Default,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Environment(name) => write!(f, "environment ({name})"),
            Self::File(key, path) => write!(f, "{} ({key})", path.display()),
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
}

/// The text that holds for every setting.
pub(crate) struct Values(BTreeMap<&'static str, Value>);

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
        let environment = from_environment(environment, &mut problems);
        let file = file.map(|path| (path, from_file(path, &mut problems)));
        let mut values = BTreeMap::new();
        for setting in table::all() {
            let found = find(setting, &environment, file.as_ref());
            match found.and_then(|value| checked(setting, value)) {
                Ok(value) => {
                    values.insert(setting.name, value);
                }
                Err(problem) => problems.push(problem),
            }
        }
        if problems.is_empty() {
            Ok(Self(values))
        } else {
            Err(problems)
        }
    }

    /// What holds for a setting.
    pub(crate) fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name)
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

fn wrong(what: &str, shown: &str, expected: &str) -> Problem {
    let mut shown: String = shown.chars().take(200).collect();
    if shown.is_empty() {
        shown.push_str("nothing");
    }
    Problem::new(&format!("{what} is \"{shown}\"; expected {expected}"))
}

type Texts = BTreeMap<String, String>;

/// The variables with our prefix. An empty one counts as not set, as compose files write it.
fn from_environment(
    environment: impl Iterator<Item = (OsString, OsString)>,
    problems: &mut Vec<Problem>,
) -> Texts {
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

/// What holds for a setting, with a secret read from its own file.
fn find(
    setting: &Setting,
    environment: &Texts,
    file: Option<&(&Path, Texts)>,
) -> Result<Value, Problem> {
    if let Some(value) = of_layer(setting, environment, |name| {
        Origin::Environment(name.to_owned())
    })? {
        return Ok(value);
    }
    if let Some((path, texts)) = file
        && let Some(value) = of_layer(setting, texts, |name| {
            Origin::File(key_of(name), path.to_path_buf())
        })?
    {
        return Ok(value);
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
        origin => format!("{}, from {origin},", setting.name),
    };
    Err(wrong(&what, &setting.masking.show(text), setting.expected))
}
