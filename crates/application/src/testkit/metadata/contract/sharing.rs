//! What every adapter promises of links, of files to be claimed, and of reconciling: `sharing_contract!(factory)`.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;

use super::Fixture;
use crate::ports::{ClaimRepository, LinkRepository, ReconcileRepository, SecretRepository};

/// An adapter over a database of its own, with the ports of this part.
#[async_trait]
pub trait SharingFixture: Fixture {
    /// The links port.
    fn links(&self) -> Arc<dyn LinkRepository>;
    /// The secrets port.
    fn secrets(&self) -> Arc<dyn SecretRepository>;
    /// The claims port.
    fn claims(&self) -> Arc<dyn ClaimRepository>;
    /// The reconciling port.
    fn runs(&self) -> Arc<dyn ReconcileRepository>;
    /// Lets time pass for files, links and runs.
    async fn elapse(&self, time: Duration);
}

/// Makes a test of every case of the contract.
#[macro_export]
macro_rules! sharing_contract {
    ($factory:path) => {
        $crate::sharing_contract! { @cases $factory;
            links::a_link_reads_back_as_it_was_made
            links::of_many_uses_at_once_as_many_count_as_are_allowed
            links::a_link_without_a_number_of_uses_counts_them_all_the_same
            links::a_link_that_is_used_up_lingers_for_an_hour_after_its_last_use
            links::an_expired_link_is_over_and_is_forgotten_later
            links::a_revoked_link_is_gone_and_only_its_own_file_can_revoke_it
            links::links_are_paged_newest_first
            links::a_file_has_a_bounded_number_of_links_that_have_not_expired
            links::a_secret_is_entered_once
            claims::what_is_not_claimed_in_time_goes_to_the_trash_and_what_is_claimed_stays
            claims::a_claim_takes_back_what_went_to_the_trash_unclaimed_and_nothing_else
            claims::a_claim_and_the_sweeper_at_once_leave_the_file_claimed_and_there
            claims::what_is_restored_has_to_be_claimed_anew
            claims::changes_and_new_versions_leave_the_time_to_claim_as_it_is
            claims::the_longest_overdue_go_in_batches
            reconcile::what_nobody_named_is_found_and_nothing_else
            reconcile::a_page_that_comes_twice_changes_nothing
            reconcile::after_the_last_page_no_other_id_is_taken
            reconcile::what_was_found_stays_found_and_pages_join
            reconcile::the_trash_takes_what_was_found_once
            reconcile::a_run_ends_after_a_day_and_leaves_no_rows
            reconcile::an_account_has_a_bounded_number_of_runs
        }
    };
    (@cases $factory:path; $($module:ident :: $case:ident)+) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                $crate::testkit::metadata::contract::sharing::$module::$case(&$factory().await).await;
            }
        )+
    };
}

pub mod claims;
pub mod links;
pub mod reconcile;
