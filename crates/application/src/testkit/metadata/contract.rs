//! What every adapter of the metadata ports promises, one case each.
//!
//! `metadata_contract!(factory)` makes a test of every case; `factory` is an async function that answers a
//! [`Fixture`] over an empty database.

mod desk;
pub mod files;
pub mod import;
pub mod keys;
pub mod ledger;
pub mod lists;
pub mod migrations;
pub mod objects;
pub mod registry;
pub mod scrubbing;
pub mod seals;
pub mod sharing;
pub mod stretches;
pub mod upload_ends;
pub mod upload_leftovers;
pub mod uploads;
pub mod versions;

use std::{fmt::Debug, sync::Arc, time::Duration};

use async_trait::async_trait;
use cloakroom_domain::{AccountId, BucketRule, FileId, Owner, StoreId, TokenHash, UserId};

use self::desk::{Desk, Upload};
use crate::ports::{
    FileImport, FileRepository, IdempotencyClaim, MigrationRepository, SealLedger, StoreRecord,
    StoreRegistry, TokenRepository, UploadRepository, VersionLedger,
};

/// An adapter over a database of its own.
#[async_trait]
pub trait Fixture: Send + Sync {
    /// The files port.
    fn files(&self) -> Arc<dyn FileRepository>;
    /// The ledger port.
    fn ledger(&self) -> Arc<dyn VersionLedger>;
    /// The uploads port.
    fn uploads(&self) -> Arc<dyn UploadRepository>;
    /// The tokens port.
    fn tokens(&self) -> Arc<dyn TokenRepository>;
    /// The import port.
    fn imports(&self) -> Arc<dyn FileImport>;
    /// The registry port.
    fn stores(&self) -> Arc<dyn StoreRegistry>;
    /// The migrations port.
    fn migrations(&self) -> Arc<dyn MigrationRepository>;
    /// The port of what is sealed under which key.
    fn seals(&self) -> Arc<dyn SealLedger>;
    /// Lets time pass for every lease, age and due time in the database.
    async fn pass(&self, time: Duration);
}

/// Makes a test of every case of the contract.
#[macro_export]
macro_rules! metadata_contract {
    ($factory:path) => {
        $crate::metadata_contract! { @cases $factory;
            files::a_committed_body_is_a_file_that_reads_back_as_it_was
            files::ids_owners_and_names_of_every_kind_read_back
            files::a_row_that_is_no_longer_pending_cannot_be_committed
            files::an_id_that_is_taken_is_a_conflict
            files::an_update_applies_to_the_revision_it_was_made_for
            files::of_many_updates_of_one_revision_one_applies
            files::the_trash_takes_a_file_and_gives_it_back
            files::a_purge_dooms_every_body_at_once
            files::a_purge_and_a_commit_at_once_leave_no_body_without_a_file
            versions::a_new_version_is_current_and_counts_on
            versions::versions_are_paged_newest_first
            versions::commits_at_once_get_numbers_of_their_own
            versions::a_commit_that_expected_another_version_changes_nothing
            versions::of_many_commits_on_one_expected_version_one_applies
            versions::a_file_in_the_trash_or_purged_takes_no_version
            versions::an_old_version_can_be_current_again
            versions::a_version_that_is_not_there_cannot_be_restored
            versions::a_deleted_version_is_gone_and_its_bytes_wait
            versions::a_number_is_never_given_twice
            lists::the_newest_come_first_and_pages_join_without_gap
            lists::pages_stay_where_they_are_while_files_are_added
            lists::names_are_ordered_bytewise_then_by_id
            lists::a_name_prefix_is_taken_literally
            lists::callers_see_their_own_and_what_the_account_may_see
            lists::every_file_of_a_caller_is_listed_once
            lists::files_can_be_listed_by_user
            lists::files_can_be_listed_by_type_and_by_family
            lists::files_can_be_listed_from_an_instant_on
            lists::the_trash_shows_only_ones_own
            ledger::a_body_goes_to_the_current_store
            ledger::each_account_has_its_bucket_where_the_store_says_so
            ledger::without_a_store_nothing_begins
            ledger::no_two_bodies_have_one_address
            ledger::copies_begin_together_or_not_at_all
            ledger::a_pending_row_expires_unless_it_is_renewed
            ledger::an_upload_given_up_is_doomed_after_its_delay
            ledger::doomed_rows_are_due_oldest_first_and_can_wait
            ledger::only_doomed_rows_are_forgotten
            ledger::a_commit_and_the_sweeper_at_once_have_one_winner
            ledger::a_scan_shows_every_row_once_and_what_it_belongs_to
            ledger::a_row_is_found_by_its_address
            ledger::buckets_are_named_once_each
            ledger::the_clock_goes_forward
            keys::the_same_key_gives_the_same_answer_again
            keys::a_key_in_use_is_in_progress
            keys::a_key_with_another_fingerprint_is_a_mismatch
            keys::keys_of_different_callers_never_meet
            keys::of_fifty_at_once_one_begins
            keys::a_failure_frees_the_key
            keys::a_key_whose_holder_fell_silent_is_taken_over
            keys::a_renewal_holds_the_key
            keys::a_key_whose_row_expired_is_free
            keys::an_answer_is_kept_for_a_day
            keys::a_key_in_use_does_not_expire
            import::a_file_that_was_taken_over_reads_back_as_it_was
            import::taking_over_again_changes_nothing
            import::what_has_its_id_or_address_taken_is_left_out
            import::of_many_at_once_each_file_is_entered_once
            import::a_purge_removes_what_was_taken_over
            import::it_is_told_whose_the_known_ids_are
            uploads::an_upload_reads_back_as_it_was_created
            uploads::of_many_requests_at_once_one_gets_it
            uploads::the_newest_request_gets_what_the_holder_lets_go_of
            uploads::a_change_under_an_old_generation_has_no_effect
            stretches::numbers_are_never_given_twice
            stretches::a_part_that_an_overtaken_holder_may_write_is_not_grown
            stretches::what_is_saved_replaces_what_begins_there_or_later
            stretches::a_piece_has_a_row_of_its_own
            stretches::ten_thousand_stretches_are_kept
            upload_ends::a_commit_makes_the_upload_a_file_of_its_id
            upload_ends::a_commit_that_names_no_upload_of_its_body_is_lost
            upload_ends::a_commit_and_a_takeover_at_once_have_one_winner
            upload_ends::a_piece_begun_while_the_upload_ends_leaves_no_pending_row
            upload_ends::whoever_makes_a_file_is_left_alone_while_it_shows_signs_of_life
            upload_ends::uploads_whose_time_is_over_expire
            upload_ends::a_partial_upload_waits_for_its_lifetime
            upload_ends::an_upload_ends_as_failed_or_terminated_for_good
            upload_ends::what_ended_is_known_until_it_is_forgotten
            upload_ends::the_sweeper_of_bodies_leaves_those_of_uploads_alone
            migrations::one_migration_at_a_time_and_the_new_store_is_current
            migrations::a_copy_takes_the_place_of_a_body
            migrations::failures_of_what_is_gone_are_forgotten_at_the_end
            migrations::a_move_without_cleaning_up_leaves_the_old_bytes
            migrations::copies_take_their_places_together_or_not_at_all
            migrations::a_copy_of_what_has_changed_or_by_whom_was_stopped_has_no_effect
            migrations::a_migration_is_carried_on_by_one_mover
            migrations::a_trial_that_died_is_taken_up
            migrations::what_is_to_be_moved_is_paged_and_counted
            migrations::a_store_is_given_another_configuration
            seals::a_sealed_body_reads_back_with_its_seal
            seals::uploads_and_pieces_have_seals_of_their_own
            seals::the_keys_in_use_are_told
            seals::bodies_under_a_key_are_paged_and_kept_again
            seals::a_key_that_has_changed_meanwhile_stays
            upload_leftovers::a_commit_uses_up_all_its_partial_uploads_or_is_lost
            upload_leftovers::of_many_commits_of_the_same_partial_uploads_one_applies
            upload_leftovers::what_no_stretch_names_goes_later_than_what_one_does
            upload_leftovers::an_upload_lives_on_as_it_did_where_no_lifetime_is_given
            upload_leftovers::what_was_promised_and_nobody_works_at_is_found
            upload_leftovers::who_comes_after_a_write_of_unknown_end_is_not_alone
            upload_leftovers::partial_uploads_live_as_long_as_what_is_joined_of_them
            registry::the_first_store_is_seeded_once
            registry::of_many_seeds_at_once_one_is_entered
            registry::the_database_answers
            registry::a_token_is_found_by_its_hash_until_it_is_revoked
            registry::tokens_are_listed_newest_first
            registry::a_token_is_kept_once
        }
    };
    (@cases $factory:path; $($module:ident :: $case:ident)+) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                $crate::testkit::metadata::contract::$module::$case(&$factory().await).await;
            }
        )+
    };
}

/// Takes what must be there, and says where it was not.
pub(super) trait Must<T> {
    fn must(self) -> T;
}

impl<T, E: Debug> Must<T> for Result<T, E> {
    #[track_caller]
    fn must(self) -> T {
        match self {
            Ok(value) => value,
            Err(error) => panic!("{error:?}"),
        }
    }
}

impl<T> Must<T> for Option<T> {
    #[track_caller]
    fn must(self) -> T {
        match self {
            Some(value) => value,
            None => panic!("nothing there"),
        }
    }
}

pub(super) fn file_id(text: &str) -> FileId {
    FileId::parse(text).must()
}

pub(super) fn account(text: &str) -> AccountId {
    AccountId::parse(text).must()
}

pub(super) fn user(text: &str) -> UserId {
    UserId::parse(text).must()
}

/// A user of an account.
pub(super) fn user_of(account_id: &str, user_id: &str) -> Owner {
    Owner {
        account: account(account_id),
        user: Some(user(user_id)),
        token: None,
    }
}

/// A visitor of an account, by token.
pub(super) fn visitor_of(account_id: &str, token: &str) -> Owner {
    Owner {
        account: account(account_id),
        user: None,
        token: Some(TokenHash::of(token)),
    }
}

/// The services of an account.
pub(super) fn services_of(account_id: &str) -> Owner {
    Owner {
        account: account(account_id),
        user: None,
        token: None,
    }
}

pub(super) fn store(buckets: BucketRule) -> StoreRecord {
    StoreRecord {
        id: StoreId::random(),
        driver: "fs".to_owned(),
        buckets,
        config: None,
        revision: 0,
        is_current: true,
    }
}

pub(super) fn claim(key: &str) -> IdempotencyClaim {
    IdempotencyClaim {
        principal: "user:1:7".to_owned(),
        key: key.to_owned(),
        fingerprint: "POST /files 3".to_owned(),
    }
}
