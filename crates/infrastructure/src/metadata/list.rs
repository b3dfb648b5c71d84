//! A page of files, as a walk along an index.
//!
//! For a caller two indexes are walked, its own files and those that its account may see. Each gives at most a
//! page, and the two are merged, so that neither has to skip what belongs to the other.

use cloakroom_application::ports::{FileFilter, FileScope, ListOrder, PageMark, TypeFilter};
use cloakroom_domain::UserId;

use super::{rows::owned_by, session::Arg, sql::sql};

/// The condition of the partial indexes; it must stand in the query as it stands there.
const LIVE: &str = "deleted_at IS NULL";
const TRASH: &str = "deleted_at IS NOT NULL";
const SEEN: &str = "visibility <> 'private'";

/// The statement for a filter and its values; `None` if nothing can match.
pub(super) fn page(filter: &FileFilter) -> Option<(String, Vec<Arg>)> {
    let mut query = Query {
        args: Vec::new(),
        order: filter.order(),
    };
    let shared = query.shared(filter);
    let limit = query.bind(filter.limit);
    let mut walks = Vec::new();
    match &filter.scope {
        FileScope::All => {
            let user = query.user(filter.owner.as_ref());
            walks.push(query.walk(&[user, shared].concat(), &limit));
        }
        FileScope::Caller(owner) => {
            let account = format!("account_id = {}", query.bind(owner.account.as_str()));
            if filter.owner.is_none() || filter.owner == owner.user {
                let own = format!("owned_by = {}", query.bind(owned_by(owner)));
                let own = [vec![account.clone(), own], shared.clone()].concat();
                walks.push(query.walk(&own, &limit));
            }
            if !filter.deleted {
                let user = query.user(filter.owner.as_ref());
                let seen = [vec![account, SEEN.to_owned()], user, shared].concat();
                walks.push(query.walk(&seen, &limit));
            }
        }
    }
    let ids = match walks.as_slice() {
        [] => return None,
        [walk] => walk.clone(),
        // Not UNION ALL: a file of the caller's own that the account may see is found by both.
        several => {
            let both: Vec<String> = several
                .iter()
                .enumerate()
                .map(|(n, walk)| format!("SELECT * FROM ({walk}) AS walk{n}"))
                .collect();
            let (both, by) = (both.join(" UNION "), query.order_by(""));
            format!("SELECT * FROM ({both}) AS walks ORDER BY {by} LIMIT {limit}")
        }
    };
    let columns = sql!(FILE, ", ", VERSION).postgres;
    let by = query.order_by("page.");
    let text = format!(
        "SELECT {columns} FROM ({ids}) AS page JOIN files ON files.file_id = page.file_id \
         JOIN file_versions ON file_versions.version_id = files.current_version_id ORDER BY {by}"
    );
    Some((text, query.args))
}

struct Query {
    args: Vec<Arg>,
    order: ListOrder,
}

impl Query {
    /// Binds a value and answers its place.
    fn bind(&mut self, value: impl Into<Arg>) -> String {
        self.args.push(value.into());
        format!("${}", self.args.len())
    }

    fn user(&mut self, user: Option<&UserId>) -> Vec<String> {
        user.map(|user| format!("user_id = {}", self.bind(user.as_str())))
            .into_iter()
            .collect()
    }

    /// The conditions that do not depend on whose files they are.
    fn shared(&mut self, filter: &FileFilter) -> Vec<String> {
        let mut conditions = vec![if filter.deleted { TRASH } else { LIVE }.to_owned()];
        match &filter.content_type {
            Some(TypeFilter::Exact(essence)) => {
                conditions.push(format!("media_type = {}", self.bind(essence.as_str())));
            }
            Some(TypeFilter::Family(family)) => {
                conditions.push(format!("media_family = {}", self.bind(family.as_str())));
            }
            None => {}
        }
        if let Some(prefix) = filter.name_prefix.as_deref().filter(|p| !p.is_empty()) {
            // Of two lower bounds SQLite would use either; behind a mark, the mark says it all.
            if !matches!(&filter.after, Some(PageMark::Name(name, _)) if name.as_str() >= prefix) {
                conditions.push(format!("filename >= {}", self.bind(prefix)));
            }
            if let Some(end) = after_prefix(prefix) {
                conditions.push(format!("filename < {}", self.bind(end)));
            }
        }
        if let Some(instant) = filter.created_after {
            conditions.push(format!("created_at > {}", self.bind(instant.micros())));
        }
        match (&filter.after, self.order) {
            (Some(PageMark::Newest(instant, id)), ListOrder::Newest) => {
                let (instant, id) = (self.bind(instant.micros()), self.bind(id.as_str()));
                conditions.push(format!("(created_at, file_id) < ({instant}, {id})"));
            }
            (Some(PageMark::Name(name, id)), ListOrder::Name) => {
                let (name, id) = (self.bind(name.as_str()), self.bind(id.as_str()));
                conditions.push(format!("(filename, file_id) > ({name}, {id})"));
            }
            _ => {}
        }
        conditions
    }

    /// At most a page of one index.
    fn walk(&self, conditions: &[String], limit: &str) -> String {
        let column = self.column();
        format!(
            "SELECT {column}, file_id FROM files WHERE {} ORDER BY {} LIMIT {limit}",
            conditions.join(" AND "),
            self.order_by("")
        )
    }

    const fn column(&self) -> &'static str {
        match self.order {
            ListOrder::Newest => "created_at",
            ListOrder::Name => "filename",
        }
    }

    fn order_by(&self, from: &str) -> String {
        let (column, direction) = match self.order {
            ListOrder::Newest => (self.column(), " DESC"),
            ListOrder::Name => (self.column(), ""),
        };
        format!("{from}{column}{direction}, {from}file_id{direction}")
    }
}

/// The least text that is bytewise behind everything that begins so; `None` if there is none.
///
/// UTF-8 sorts as its code points do, so the last one is raised; the highest has no next and is dropped.
pub(super) fn after_prefix(prefix: &str) -> Option<String> {
    let mut rest = prefix.to_owned();
    while let Some(last) = rest.pop() {
        // Counting over a range skips the surrogates.
        if let Some(next) = (last..=char::MAX).nth(1) {
            rest.push(next);
            return Some(rest);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_behind_a_prefix_is_the_least_one() {
        assert_eq!(after_prefix("ab").as_deref(), Some("ac"));
        assert_eq!(after_prefix("a%").as_deref(), Some("a&"));
        assert_eq!(after_prefix("Я").as_deref(), Some("а"));
        assert_eq!(after_prefix("a\u{D7FF}").as_deref(), Some("a\u{E000}"));
        assert_eq!(after_prefix("a\u{10FFFF}").as_deref(), Some("b"));
        assert_eq!(after_prefix("\u{10FFFF}"), None);
    }
}
