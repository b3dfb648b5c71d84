//! What a check finds: how it is, why, and what mends it.

use serde::Serialize;

/// How something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Level {
    /// As it should be.
    Ok,
    /// It does not apply here, or this token may not ask.
    Skipped,
    /// It works, and not well.
    Warning,
    /// It does not work.
    Fault,
    /// Whether it works could not be seen.
    CouldNotLook,
}

impl Level {
    /// For people.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Skipped => "skipped",
            Self::Warning => "WARNING",
            Self::Fault => "FAULT",
            Self::CouldNotLook => "could not look",
        }
    }
}

/// Where the line belongs that mends something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Place {
    /// The configuration of nginx, or the like of it in another proxy.
    Nginx,
    /// A setting of the service.
    Setting,
    /// A command on the machine of the service.
    System,
    /// The command line of this look.
    Doctor,
}

impl Place {
    /// For people.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Nginx => "nginx",
            Self::Setting => "setting",
            Self::System => "system",
            Self::Doctor => "doctor",
        }
    }
}

/// The line that mends something.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Mend {
    /// Where it belongs.
    #[serde(rename = "in")]
    pub(crate) place: Place,
    /// What to write.
    pub(crate) line: String,
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Finding {
    /// How it is.
    pub(crate) level: Level,
    /// What was seen, and its cause.
    pub(crate) what: String,
    /// What mends it; `None` where nothing is to be mended, or no line would.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) mend: Option<Mend>,
}

impl Finding {
    fn new(level: Level, what: impl Into<String>) -> Self {
        Self {
            level,
            what: what.into(),
            mend: None,
        }
    }

    /// As it should be.
    pub(crate) fn ok(what: impl Into<String>) -> Self {
        Self::new(Level::Ok, what)
    }

    /// Not looked at, for a reason that is no fault.
    pub(crate) fn skipped(what: impl Into<String>) -> Self {
        Self::new(Level::Skipped, what)
    }

    /// Not as good as it should be.
    pub(crate) fn warning(what: impl Into<String>) -> Self {
        Self::new(Level::Warning, what)
    }

    /// Broken.
    pub(crate) fn fault(what: impl Into<String>) -> Self {
        Self::new(Level::Fault, what)
    }

    /// Not seen.
    pub(crate) fn unknown(what: impl Into<String>) -> Self {
        Self::new(Level::CouldNotLook, what)
    }

    /// A line of nginx's configuration mends it.
    pub(crate) fn nginx(self, line: impl Into<String>) -> Self {
        self.mended(Place::Nginx, line)
    }

    /// A setting of the service mends it.
    pub(crate) fn setting(self, line: impl Into<String>) -> Self {
        self.mended(Place::Setting, line)
    }

    /// A command on the machine of the service mends it.
    pub(crate) fn system(self, line: impl Into<String>) -> Self {
        self.mended(Place::System, line)
    }

    /// Another argument lets it be seen.
    pub(crate) fn doctor(self, line: impl Into<String>) -> Self {
        self.mended(Place::Doctor, line)
    }

    fn mended(mut self, place: Place, line: impl Into<String>) -> Self {
        let line = line.into();
        self.mend = Some(Mend { place, line });
        self
    }
}
