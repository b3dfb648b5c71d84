//! What a newcomer reads when the service has started in development mode.

use std::net::SocketAddr;

use crate::{
    config::{Config, within_reach},
    development::DevelopmentTokens,
};

/// The address, the tokens, and lines to paste.
pub(crate) fn greeting(config: &Config, address: SocketAddr, tokens: &DevelopmentTokens) -> String {
    let service = format!("http://{}", within_reach(address));
    let files = format!("{service}{}", config.http.mount.trim_end_matches('/'));
    let (admin, user) = (tokens.admin.reveal(), tokens.user.reveal());
    format!(
        "
Cloakroom listens at {service}, in development mode: for this machine only.

  files        {files}
  the API      {service}/docs
  admin token  {admin}
  user token   {user}  (account 1, user 1)

Upload a file:
  curl -H \"Authorization: Bearer {user}\" -F file=@README.md {files}

Download it, under its own name; FILE_ID is in the answer to the upload:
  curl -H \"Authorization: Bearer {user}\" -OJ {files}/FILE_ID

For others than this machine set CLOAKROOM_ADMIN_TOKEN and CLOAKROOM_LISTEN. Stop with Ctrl-C.
"
    )
}
