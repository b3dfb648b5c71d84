//! Cases that a store truly cannot pass, and why.

/// A case that a dialect truly cannot pass.
#[derive(Debug)]
pub struct Exception {
    /// The adapter's name, as its harness gives it.
    pub adapter: &'static str,
    /// The case.
    pub case: &'static str,
    /// Why it cannot.
    pub reason: &'static str,
}

/// Every exception from the contract, bar those of [`WITHOUT_PARTS`].
pub const EXCEPTIONS: &[Exception] = &[
    only_whole_rows("a_dropped_writer_loses_nothing_that_it_told"),
    only_whole_rows("a_part_that_grows_drops_what_lies_beyond_its_size"),
    only_whole_rows("a_part_that_is_still_written_to_does_not_grow"),
    only_whole_rows("bytes_of_an_old_writer_never_reach_the_object"),
    only_whole_rows("parts_that_are_not_named_are_dropped"),
    waits_for_the_writer("delete_removes_an_unfinished_write"),
    waits_for_the_writer("reap_removes_unfinished_writes"),
    waits_for_the_writer("reap_spares_what_it_is_told_to"),
    hides_halves("delete_removes_an_unfinished_write"),
    hides_halves("reap_removes_unfinished_writes"),
    hides_halves("reap_spares_what_it_is_told_to"),
    drops_blocks("delete_removes_an_unfinished_write"),
    drops_blocks("reap_removes_unfinished_writes"),
    drops_blocks("reap_spares_what_it_is_told_to"),
];

const fn only_whole_rows(case: &'static str) -> Exception {
    Exception {
        adapter: "rclone",
        case,
        reason: "`rclone serve s3` joins parts 1, 2, 3 and so on, with none left out, where S3 takes any that ascend",
    }
}

const fn waits_for_the_writer(case: &'static str) -> Exception {
    Exception {
        adapter: "webdav-rclone",
        case,
        reason: "rclone removes no file while a connection writes to it, and a forgotten writer keeps its connection, which a dead process does not; tests of WebDAV's own let one die",
    }
}

const fn hides_halves(case: &'static str) -> Exception {
    Exception {
        adapter: "webdav-nginx",
        case,
        reason: "nginx shows nothing of a body before it has all of it: there is nothing to remove",
    }
}

const fn drops_blocks(case: &'static str) -> Exception {
    Exception {
        adapter: "azblob",
        case,
        reason: "Azure keeps the blocks of an unfinished blob where no listing shows them, and drops them by itself after a week",
    }
}

/// Adapters that have no [`Resumable`](crate::ports::Resumable) at all, because what they speak to has no way to add
/// to a file or to put files together. Uploads of several requests are kept in pieces there.
pub const WITHOUT_PARTS: &[&str] = &[
    "webdav-rclone",
    "webdav-nginx",
    "sftp-rclone",
    "sftp-openssh",
    "azblob",
];

/// The cases of a store that has no such ability.
const OF_PARTS: &[&str] = &[
    "several_writers_make_one_object",
    "large_parts_make_one_object",
    "parts_are_cut_where_the_writer_says",
    "parts_are_told_in_order_and_without_gaps",
    "a_writer_that_was_given_nothing_leaves_nothing",
    "a_dropped_writer_loses_nothing_that_it_told",
    "a_part_that_grows_drops_what_lies_beyond_its_size",
    "a_part_that_is_still_written_to_does_not_grow",
    "bytes_of_an_old_writer_never_reach_the_object",
    "an_object_does_not_change_under_a_writer_that_goes_on",
    "joining_may_be_asked_for_again",
    "parts_that_are_not_named_are_dropped",
    "joining_nothing_is_refused",
    "delete_removes_what_was_written_in_parts",
    "delete_beside_a_join_leaves_nothing",
    "reap_spares_objects_in_parts",
];

pub(super) fn excuses(adapter: &str, case: &str) -> bool {
    let listed = EXCEPTIONS
        .iter()
        .any(|e| e.adapter == adapter && e.case == case);
    listed || (WITHOUT_PARTS.contains(&adapter) && OF_PARTS.contains(&case))
}
