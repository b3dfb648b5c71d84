//! Why a caller may or may not: what each rule says, in the order in which they are asked. Asks nobody.

use cloakroom_domain::{Action, File, FileId, Principal, PrincipalKind, Visibility};

use crate::{
    App, Caller, Circuit, Error, LastAsked,
    permissions::{HookState, Subject},
};

/// A rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// Whether there is such a file.
    File,
    /// The operator may everything.
    Admin,
    /// Same account and same user, or the very same visitor.
    Owner,
    /// What everybody, or the account, may read.
    Visibility,
    /// The application beside us.
    Hook,
}

/// What a rule says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Says {
    /// The caller may.
    Yes,
    /// It may not.
    No,
    /// The next rule decides.
    Pass,
    /// The application beside us would be asked now, or has been.
    Ask,
}

/// A rule with what it says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// The rule.
    pub rule: Rule,
    /// What it says.
    pub says: Says,
    /// Why.
    pub why: &'static str,
}

/// The hook, as far as it is known on this replica.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HookExplained {
    /// The actions that it answers for.
    pub actions: Vec<Action>,
    /// Whether it is asked at all at the moment.
    pub circuit: Circuit,
    /// The last question about this caller, file and action.
    pub last: Option<LastAsked>,
}

/// What every rule said, up to the one that decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    /// The rules in their order.
    pub steps: Vec<Step>,
    /// `None` where no hook is configured.
    pub hook: Option<HookExplained>,
    /// How many links are good now: whoever has one may read the file, whatever the rules say.
    pub links: u64,
}

impl Explanation {
    /// What the last rule said.
    #[must_use]
    pub fn decision(&self) -> Says {
        self.steps.last().map_or(Says::No, |step| step.says)
    }
}

/// Explains, to an admin, what `about` may do. Nobody is asked, and nothing is kept.
///
/// # Errors
/// [`Error::Unauthenticated`], [`Error::KindForbidden`] for anyone but an admin, [`Error::Repository`].
pub async fn explain(
    app: &App,
    who: &Caller,
    about: &Principal,
    id: &FileId,
    action: Action,
) -> Result<Explanation, Error> {
    who.must_be_admin()?;
    let file = app.files.find_fresh(id).await?;
    let subject = Subject {
        file: id.clone(),
        user: about.user.clone(),
        account: about.account.clone(),
    };
    let state = app.permissions.state();
    let mut steps = vec![existence(file.as_ref())];
    if let Some(file) = &file {
        steps.extend(own_rules(about, file, action));
        steps.push(hook(about, state.as_ref(), action));
    }
    if let Some(decided) = steps.iter().position(|step| step.says != Says::Pass) {
        steps.truncate(decided + 1);
    }
    let hook = state.map(|state| HookExplained {
        actions: state.actions.to_vec(),
        circuit: state.circuit,
        last: app.permissions.last_asked(&subject, action),
    });
    let links = match &file {
        Some(file) if file.deleted_at.is_none() => app.links.good_of(&file.id).await?,
        _ => 0,
    };
    Ok(Explanation { steps, hook, links })
}

const fn step(rule: Rule, says: Says, why: &'static str) -> Step {
    Step { rule, says, why }
}

fn existence(file: Option<&File>) -> Step {
    match file {
        None => step(Rule::File, Says::No, "there is no such file"),
        Some(file) if file.deleted_at.is_some() => step(
            Rule::File,
            Says::No,
            "it is in the trash, where only restoring and purging find it",
        ),
        Some(_) => step(Rule::File, Says::Pass, "it exists"),
    }
}

/// The rules that need nobody asked, in the order of [`Principal::may_without_asking`].
fn own_rules(about: &Principal, file: &File, action: Action) -> [Step; 3] {
    let admin = if about.is_admin() {
        step(Rule::Admin, Says::Yes, "the caller is an admin")
    } else {
        step(Rule::Admin, Says::Pass, "the caller is no admin")
    };
    let visitor = matches!(about.kind, PrincipalKind::Guest | PrincipalKind::Public);
    let owner = if about.owns(&file.owner) {
        step(Rule::Owner, Says::Yes, "the file is the caller's own")
    } else if file.owner.is_bucket() && !about.is_admin() {
        step(
            Rule::Owner,
            Says::No,
            "the file is an object, which is had by bucket and key alone; the bucket's policy says by whom",
        )
    } else if visitor && about.user.is_none() && file.owner.token.is_some() {
        step(
            Rule::Owner,
            Says::Pass,
            "a visitor uploaded the file; it is that visitor's own, which only the token would tell",
        )
    } else {
        step(Rule::Owner, Says::Pass, "the file is somebody else's")
    };
    let visible = about.sees(file, action);
    let why = match (file.visibility, visible) {
        (Visibility::Private, _) => "the file is private",
        (_, _) if action != Action::Read => "visibility is about reading only",
        (Visibility::Public, _) => "the file is public",
        (Visibility::Account, true) => "the file is visible to the caller's account",
        (Visibility::Account, false) => "the file is visible to another account",
    };
    let says = if visible { Says::Yes } else { Says::Pass };
    [admin, owner, step(Rule::Visibility, says, why)]
}

fn hook(about: &Principal, state: Option<&HookState<'_>>, action: Action) -> Step {
    let no = |why| step(Rule::Hook, Says::No, why);
    match about.kind {
        PrincipalKind::Anonymous => {
            return no("nobody is asked about a caller without a credential");
        }
        PrincipalKind::Service | PrincipalKind::Admin => {
            return no("nobody is asked about services");
        }
        PrincipalKind::User | PrincipalKind::Guest | PrincipalKind::Public => {}
    }
    let Some(state) = state else {
        return no("no permission backend is configured");
    };
    if !state.actions.contains(&action) {
        return no("the permission backend does not answer for this action");
    }
    let why = match state.circuit {
        Circuit::Closed => {
            "the permission backend decides, but for callers with a token of this service: those may not"
        }
        Circuit::Open => "the permission backend failed too often and is left alone for a moment",
    };
    step(Rule::Hook, Says::Ask, why)
}
