//! Pages of files: order, marks, scopes, filters.

use cloakroom_domain::{File, Owner, Visibility};

use super::{Desk, Fixture, Must, Upload, services_of, user, user_of, visitor_of};
use crate::ports::{FileFilter, FileScope, ListOrder, PageMark, TypeFilter};

fn everything() -> FileFilter {
    FileFilter {
        scope: FileScope::All,
        owner: None,
        content_type: None,
        name_prefix: None,
        created_after: None,
        deleted: false,
        after: None,
        limit: 1_000,
    }
}

fn of(owner: &Owner) -> FileFilter {
    FileFilter {
        scope: FileScope::Caller(owner.clone()),
        ..everything()
    }
}

fn named(prefix: &str) -> FileFilter {
    FileFilter {
        name_prefix: Some(prefix.to_owned()),
        ..everything()
    }
}

fn mark(order: ListOrder, last: &File) -> PageMark {
    match order {
        ListOrder::Newest => PageMark::Newest(last.created_at, last.id.clone()),
        ListOrder::Name => PageMark::Name(last.name.as_str().to_owned(), last.id.clone()),
    }
}

impl Desk {
    /// The ids of one page.
    async fn ids(&self, filter: &FileFilter) -> Vec<String> {
        let page = self.files.list(filter).await.must();
        page.iter().map(|file| file.id.to_string()).collect()
    }

    /// The ids of one page, sorted.
    async fn set(&self, filter: &FileFilter) -> Vec<String> {
        let mut ids = self.ids(filter).await;
        ids.sort_unstable();
        ids
    }

    /// The ids of every page of `limit`.
    async fn walk(&self, filter: &FileFilter, limit: u32) -> Vec<String> {
        let mut filter = FileFilter {
            limit,
            ..filter.clone()
        };
        let mut ids = Vec::new();
        loop {
            let page = self.files.list(&filter).await.must();
            assert!(page.len() <= limit as usize);
            ids.extend(page.iter().map(|file| file.id.to_string()));
            match page.last() {
                Some(last) => filter.after = Some(mark(filter.order(), last)),
                None => return ids,
            }
        }
    }
}

/// Pages of any size are the same list.
pub async fn the_newest_come_first_and_pages_join_without_gap(fixture: &dyn Fixture) {
    let desk = Desk::open(fixture).await;
    assert!(desk.ids(&everything()).await.is_empty());
    for n in 0..9 {
        desk.put(&Upload::new(&format!("f{n}"))).await;
    }
    let whole = desk.files.list(&everything()).await.must();
    assert_eq!(whole.len(), 9);
    assert!(whole.is_sorted_by(|a, b| (a.created_at, &a.id) > (b.created_at, &b.id)));
    for file in &whole {
        assert_eq!(desk.files.find(&file.id).await.must().as_ref(), Some(file));
    }
    let ids = desk.ids(&everything()).await;
    for limit in [1, 2, 4, 9, 10] {
        assert_eq!(desk.walk(&everything(), limit).await, ids, "{limit}");
        assert_eq!(
            desk.walk(&of(&user_of("1", "7")), limit).await,
            ids,
            "{limit}"
        );
    }
}

/// What comes in while someone pages shifts nothing.
pub async fn pages_stay_where_they_are_while_files_are_added(fixture: &dyn Fixture) {
    let desk = Desk::open(fixture).await;
    for n in 0..6 {
        desk.put(&Upload::new(&format!("f{n}")).named(&format!("m{n}")))
            .await;
    }
    let filters = [everything(), named("m"), of(&user_of("1", "7"))];
    for (n, filter) in filters.into_iter().enumerate() {
        let before = desk.ids(&filter).await;
        let first = FileFilter {
            limit: 3,
            ..filter.clone()
        };
        let page = desk.files.list(&first).await.must();
        let late = Upload::new(&format!("late{n}")).named("a-first");
        desk.put(&late).await;
        let second = FileFilter {
            after: Some(mark(filter.order(), page.last().must())),
            ..filter.clone()
        };
        assert_eq!(desk.ids(&second).await, before[3..]);
    }
}

/// Not as any language would order them.
pub async fn names_are_ordered_bytewise_then_by_id(fixture: &dyn Fixture) {
    let desk = Desk::open(fixture).await;
    let names = [
        "_", "a", "B", "ab", "z", "é", "Я", "я", "a b", "A", "日", "😀",
    ];
    for (n, name) in names.iter().enumerate() {
        desk.put(&Upload::new(&format!("f{n:02}")).named(name))
            .await;
    }
    for id in ["same-b", "same-A", "same-Ä"] {
        desk.put(&Upload::new(id).named("same")).await;
    }
    let page = desk.files.list(&named("")).await.must();
    assert_eq!(page.len(), names.len() + 3);
    let key = |file: &File| (file.name.to_string(), file.id.to_string());
    assert!(page.is_sorted_by(|a, b| key(a) < key(b)));
    let ids = desk.ids(&named("")).await;
    for limit in [1, 2, 7] {
        assert_eq!(desk.walk(&named(""), limit).await, ids);
        let own = FileFilter {
            scope: FileScope::Caller(user_of("1", "7")),
            ..named("")
        };
        assert_eq!(desk.walk(&own, limit).await, ids);
    }
}

/// `%`, `_` and letters of any script stand for themselves.
pub async fn a_name_prefix_is_taken_literally(fixture: &dyn Fixture) {
    let desk = Desk::open(fixture).await;
    let names = [
        "100% sure",
        "100 times",
        "a_b",
        "axb",
        "ab",
        "Отчёт",
        "отчёт",
        "Отчё",
        "[x]",
        "a\u{10FFFF}z",
    ];
    for name in names {
        desk.put(&Upload::new(name).named(name)).await;
    }
    for prefix in [
        "100%",
        "a_",
        "a",
        "Отчё",
        "отч",
        "[",
        "a\u{10FFFF}",
        "none",
        "%",
        "_",
    ] {
        let mut expected: Vec<&str> = names
            .into_iter()
            .filter(|n| n.starts_with(prefix))
            .collect();
        expected.sort_unstable();
        assert_eq!(desk.ids(&named(prefix)).await, expected, "{prefix}");
    }
}

/// Own ones by user, by visitor's token, by service; others where they are visible.
pub async fn callers_see_their_own_and_what_the_account_may_see(fixture: &dyn Fixture) {
    let desk = Desk::open(fixture).await;
    let owners = [
        ("alice", user_of("1", "7")),
        ("bob", user_of("1", "8")),
        ("visitor", visitor_of("1", "aaaaaaaa")),
        ("other-visitor", visitor_of("1", "bbbbbbbb")),
        ("service", services_of("1")),
        ("stranger", user_of("2", "7")),
        ("strange-service", services_of("2")),
    ];
    for (who, owner) in &owners {
        for visibility in [Visibility::Private, Visibility::Account, Visibility::Public] {
            let id = format!("{who}-{}", visibility.as_str());
            desk.put(&Upload::new(&id).by(owner.clone()).visible(visibility))
                .await;
        }
    }
    for (who, owner) in &owners {
        let mut expected: Vec<String> = owners
            .iter()
            .filter(|(_, other)| other.account == owner.account)
            .flat_map(|(other, _)| [format!("{other}-account"), format!("{other}-public")])
            .collect();
        expected.push(format!("{who}-private"));
        expected.sort_unstable();
        assert_eq!(desk.set(&of(owner)).await, expected, "{who}");
    }
    assert_eq!(desk.ids(&everything()).await.len(), 3 * owners.len());
}

/// Also those that are both their own and visible to the account.
pub async fn every_file_of_a_caller_is_listed_once(fixture: &dyn Fixture) {
    let desk = Desk::open(fixture).await;
    let (alice, bob) = (user_of("1", "7"), user_of("1", "8"));
    for n in 0..12 {
        let owner = if n % 3 == 0 { &bob } else { &alice };
        let visibility = if n % 2 == 0 {
            Visibility::Account
        } else {
            Visibility::Private
        };
        let upload = Upload::new(&format!("f{n:02}")).named(&format!("{}", n % 4));
        desk.put(&upload.by(owner.clone()).visible(visibility))
            .await;
    }
    for filter in [
        of(&alice),
        FileFilter {
            name_prefix: Some(String::new()),
            ..of(&alice)
        },
    ] {
        let whole = desk.ids(&filter).await;
        // All of Alice's, and of Bob's four the two that the account may see.
        assert_eq!(whole.len(), 10);
        for limit in [1, 3, 5] {
            assert_eq!(desk.walk(&filter, limit).await, whole, "{limit}");
        }
    }
}

/// Within what the caller may see.
pub async fn files_can_be_listed_by_user(fixture: &dyn Fixture) {
    let desk = Desk::open(fixture).await;
    let (alice, bob) = (user_of("1", "7"), user_of("1", "8"));
    let abroad = user_of("2", "7");
    desk.put(&Upload::new("a1").by(alice.clone())).await;
    desk.put(
        &Upload::new("a2")
            .by(alice.clone())
            .visible(Visibility::Account),
    )
    .await;
    desk.put(&Upload::new("b1").by(bob.clone())).await;
    desk.put(&Upload::new("x1").by(abroad)).await;
    desk.put(
        &Upload::new("s1")
            .by(services_of("1"))
            .visible(Visibility::Public),
    )
    .await;
    let by = |filter: FileFilter, id: &str| FileFilter {
        owner: Some(user(id)),
        ..filter
    };
    assert_eq!(desk.set(&by(everything(), "7")).await, ["a1", "a2", "x1"]);
    assert_eq!(desk.set(&by(of(&alice), "7")).await, ["a1", "a2"]);
    assert_eq!(desk.set(&by(of(&bob), "7")).await, ["a2"]);
    assert_eq!(desk.set(&by(of(&services_of("1")), "8")).await, [""; 0]);
    let by_name = FileFilter {
        name_prefix: Some("a".to_owned()),
        ..by(of(&bob), "7")
    };
    assert_eq!(desk.ids(&by_name).await, ["a2"]);
    let trash = FileFilter {
        deleted: true,
        ..by(of(&bob), "7")
    };
    assert_eq!(desk.ids(&trash).await, [""; 0]);
}

/// Whatever parameters a type has; a family is not a prefix of another's name.
pub async fn files_can_be_listed_by_type_and_by_family(fixture: &dyn Fixture) {
    let desk = Desk::open(fixture).await;
    let types = [
        ("plain", "text/plain"),
        ("utf8", "text/plain; charset=utf-8"),
        ("csv", "text/csv"),
        ("png", "image/png"),
        ("odd", "textual/plain"),
    ];
    for (id, content_type) in types {
        desk.put(&Upload::new(id).typed(content_type)).await;
    }
    let exact = |t: &str| Some(TypeFilter::Exact(t.to_owned()));
    let family = |t: &str| Some(TypeFilter::Family(t.to_owned()));
    for scope in [FileScope::All, FileScope::Caller(user_of("1", "7"))] {
        let by = |content_type| FileFilter {
            scope: scope.clone(),
            content_type,
            ..everything()
        };
        assert_eq!(desk.set(&by(exact("text/plain"))).await, ["plain", "utf8"]);
        assert_eq!(desk.set(&by(exact("image/png"))).await, ["png"]);
        assert_eq!(desk.set(&by(exact("image/gif"))).await, [""; 0]);
        assert_eq!(
            desk.set(&by(family("text/"))).await,
            ["csv", "plain", "utf8"]
        );
        assert_eq!(desk.set(&by(family("video/"))).await, [""; 0]);
    }
    // The type is that of the current version.
    desk.put_version(&Upload::new("png").typed("text/csv"))
        .await;
    let csv = FileFilter {
        content_type: exact("text/csv"),
        ..everything()
    };
    assert_eq!(desk.set(&csv).await, ["csv", "png"]);
    desk.files
        .restore_version(&super::file_id("png"), 1)
        .await
        .must();
    assert_eq!(desk.set(&csv).await, ["csv"]);
}

/// The instant itself is not after itself.
pub async fn files_can_be_listed_from_an_instant_on(fixture: &dyn Fixture) {
    let desk = Desk::open(fixture).await;
    let mut made = Vec::new();
    for n in 0..5 {
        made.push(desk.put(&Upload::new(&format!("f{n}"))).await);
        // SQLite counts milliseconds.
        tokio::time::sleep(std::time::Duration::from_millis(2)).await;
    }
    let since = FileFilter {
        created_after: Some(made[2].created_at),
        ..everything()
    };
    assert_eq!(desk.ids(&since).await, ["f4", "f3"]);
    let by_name = FileFilter {
        name_prefix: Some("f".to_owned()),
        ..since
    };
    assert_eq!(desk.ids(&by_name).await, ["f3", "f4"]);
}

/// And lists show nothing of it otherwise.
pub async fn the_trash_shows_only_ones_own(fixture: &dyn Fixture) {
    let desk = Desk::open(fixture).await;
    let (alice, bob) = (user_of("1", "7"), user_of("1", "8"));
    for (id, owner) in [("a1", &alice), ("a2", &alice), ("b1", &bob)] {
        let upload = Upload::new(id)
            .by(owner.clone())
            .visible(Visibility::Public);
        let file = desk.put(&upload).await;
        if id != "a2" {
            desk.files
                .trash(&file.id, file.revision)
                .await
                .must()
                .must();
        }
    }
    let trash = |filter: FileFilter| FileFilter {
        deleted: true,
        ..filter
    };
    assert_eq!(desk.ids(&of(&bob)).await, ["a2"]);
    assert_eq!(desk.ids(&trash(of(&alice))).await, ["a1"]);
    assert_eq!(desk.ids(&trash(of(&bob))).await, ["b1"]);
    assert_eq!(desk.set(&trash(everything())).await, ["a1", "b1"]);
    assert_eq!(desk.ids(&trash(named("b"))).await, ["b1"]);
    desk.files
        .untrash(&super::file_id("a1"), None)
        .await
        .must()
        .must();
    assert_eq!(desk.set(&of(&bob)).await, ["a1", "a2"]);
}
