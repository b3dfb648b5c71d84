//! A look at a running deployment from outside, as its clients see it: everything goes over HTTP through whatever
//! stands in front, and nothing here knows the database or the store.

mod bodies;
mod checks;
mod cleanup;
mod creating;
mod deployment;
mod exchange;
mod facts;
mod finding;
mod made;
mod reading;
mod report;

pub(crate) use self::{
    checks::{CHECKS, Check},
    cleanup::clean,
    deployment::{Deployment, Options},
    finding::Finding,
    report::Report,
};
