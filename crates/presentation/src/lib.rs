//! The HTTP face: routes, extractors, middleware, the one table of errors to statuses.

mod access;
mod caller;
mod client;
mod conditions;
mod connection;
mod cors;
mod dates;
mod direct;
mod docs;
mod download;
mod error;
mod files;
mod front;
mod health;
mod json;
mod metered;
mod navigation;
mod origins;
mod params;
mod resumable;
mod routes;
mod server;
mod settings;
mod upload;
mod versions;
mod wire;

pub use connection::Refusal;
pub use docs::openapi;
pub use download::disposition::{Disposition, content_disposition};
pub use error::{ApiError, Problem};
pub use origins::Origins;
pub use resumable::fields as upload_fields;
pub use routes::{ROUTES, Route, configure};
pub use server::{ServerOptions, bind, serve};
pub use settings::{Offload, Pages, Settings};
pub use wire::TokenBody;
