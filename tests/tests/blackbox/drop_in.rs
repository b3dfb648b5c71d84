//! In the place of the FastAPI service: its environment, its database, its buckets and its nginx, with only the
//! upstream changed.

mod import;
mod old;
mod serving;
