//! The HTTP face: routes, extractors, middleware, the one table of errors to statuses.

mod access;
mod caller;
mod conditions;
mod dates;
mod docs;
mod download;
mod error;
mod files;
mod front;
mod health;
mod json;
mod navigation;
mod params;
mod routes;
mod server;
mod settings;
mod upload;
mod versions;
mod wire;

pub use docs::openapi;
pub use error::{ApiError, Problem};
pub use routes::{ROUTES, Route, configure};
pub use server::{ServerOptions, bind, serve};
pub use settings::Settings;
pub use wire::TokenBody;
