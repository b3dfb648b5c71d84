//! What goes wrong with an SFTP server, sorted into the port's kinds. Whatever the server writes stays here.

use std::io;

use cloakroom_application::ports::StoreError;
use openssh_sftp_client::{
    Error,
    error::SftpErrorKind::{self, BadMessage, NoSuchFile, OpUnsupported, PermDenied},
};

use crate::stores::remote::Trouble;

/// Why a request failed.
#[derive(Debug)]
pub(super) enum Fault {
    /// The server says so.
    Answer(SftpErrorKind),
    /// The client does not know the extension that was asked for, for the server does not.
    Unsupported,
    /// It answered something else than what was asked for.
    Nonsense,
    /// The connection is lost.
    Lost,
    /// No answer came in time.
    Late,
}

impl Fault {
    /// Whether the server says that it is not there.
    pub(super) const fn is_missing(&self) -> bool {
        matches!(self, Self::Answer(NoSuchFile))
    }

    /// Whether the server failed and does not say why: it has no word for what is there already.
    pub(super) const fn is_unexplained(&self) -> bool {
        matches!(self, Self::Answer(kind)
            if !matches!(kind, NoSuchFile | PermDenied | OpUnsupported | BadMessage))
    }

    /// Whether the server does not know such a request.
    pub(super) const fn is_unknown_request(&self) -> bool {
        matches!(self, Self::Unsupported | Self::Answer(OpUnsupported))
    }

    /// Whether the connection still serves.
    pub(super) const fn is_answer(&self) -> bool {
        matches!(self, Self::Answer(_) | Self::Unsupported)
    }
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        match error {
            Error::SftpError(kind, _) => Self::Answer(kind),
            Error::UnsupportedExtension(_) => Self::Unsupported,
            Error::UnsupportedSftpProtocol { .. }
            | Error::SftpServerHelloMsgTooLong { .. }
            | Error::FormatError(_)
            | Error::BufferTooLong(_)
            | Error::InvalidResponse(_)
            | Error::HandleTooLong => Self::Nonsense,
            _ => Self::Lost,
        }
    }
}

impl From<Fault> for StoreError {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Answer(NoSuchFile) => Self::NotFound,
            Fault::Answer(PermDenied) => Self::Refused("the server does not allow it".into()),
            Fault::Answer(OpUnsupported) | Fault::Unsupported => {
                Self::Refused("the server does not know how".into())
            }
            Fault::Answer(BadMessage) | Fault::Nonsense => {
                Self::Broken("the server answered nonsense".into())
            }
            Fault::Answer(_) => Self::Unavailable("the server failed".into()),
            Fault::Lost => Self::Unavailable("the connection is lost".into()),
            Fault::Late => Self::Unavailable("no answer in time".into()),
        }
    }
}

/// Why there is no connection, for all who waited for it.
#[derive(Debug, Clone, Copy)]
pub(super) enum Unconnected {
    /// This machine or the server will not have it.
    Refused(&'static str),
    /// It may come another time.
    Unavailable(&'static str),
}

impl From<Unconnected> for StoreError {
    fn from(why: Unconnected) -> Self {
        match why {
            Unconnected::Refused(why) => Self::Refused(Box::new(Trouble(why.to_owned()))),
            Unconnected::Unavailable(why) => Self::Unavailable(Box::new(Trouble(why.to_owned()))),
        }
    }
}

impl From<openssh::Error> for Unconnected {
    fn from(error: openssh::Error) -> Self {
        match error {
            openssh::Error::Connect(error) => unconnected(&error),
            openssh::Error::Master(_) => Self::Unavailable("ssh finds no room for its sockets"),
            openssh::Error::Ssh(_) => Self::Unavailable("ssh does not start"),
            _ => Self::Unavailable("the connection broke off"),
        }
    }
}

/// What `ssh` said when it ended: its own words, which are known, and the server's, which are not passed on.
fn unconnected(error: &io::Error) -> Unconnected {
    let text = error.to_string();
    if text.contains("Host key verification failed") {
        return Unconnected::Refused("the server is not the one that ssh knows");
    }
    if text.contains("Could not resolve") {
        return Unconnected::Unavailable("there is no such host");
    }
    match error.kind() {
        io::ErrorKind::PermissionDenied => {
            Unconnected::Refused("the server does not let the user in")
        }
        io::ErrorKind::NotFound => Unconnected::Unavailable("there is no ssh on this machine"),
        io::ErrorKind::ConnectionRefused => Unconnected::Unavailable("the connection was refused"),
        io::ErrorKind::TimedOut => Unconnected::Unavailable("connecting takes too long"),
        _ => Unconnected::Unavailable("the connection failed"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(kind: io::ErrorKind, text: &str) -> StoreError {
        let error = openssh::Error::Connect(io::Error::new(kind, text));
        StoreError::from(Unconnected::from(error))
    }

    #[test]
    fn what_ssh_says_is_sorted_and_not_repeated() {
        let aborted = io::ErrorKind::ConnectionAborted;
        let stranger =
            "No ED25519 host key is known for secret.example.\r\nHost key verification failed.";
        let stranger = said(aborted, stranger);
        assert!(matches!(stranger, StoreError::Refused(_)), "{stranger:?}");
        let denied = "alice@secret.example: Permission denied (publickey).";
        let denied = said(io::ErrorKind::PermissionDenied, denied);
        assert!(matches!(denied, StoreError::Refused(_)), "{denied:?}");
        let away = "connect to host secret.example port 22: Connection refused";
        let away = said(io::ErrorKind::ConnectionRefused, away);
        assert!(matches!(away, StoreError::Unavailable(_)), "{away:?}");
        let other = said(aborted, "kex_exchange_identification: secret.example");
        assert!(matches!(other, StoreError::Unavailable(_)), "{other:?}");
        for error in [stranger, denied, away, other] {
            assert!(!format!("{error:?}").contains("secret"), "{error:?}");
        }
    }

    #[test]
    fn answers_leave_the_connection_alone_and_all_else_does_not() {
        assert!(Fault::Answer(NoSuchFile).is_answer());
        assert!(Fault::Unsupported.is_answer());
        for fault in [Fault::Lost, Fault::Late, Fault::Nonsense] {
            assert!(!fault.is_answer(), "{fault:?}");
        }
        assert!(matches!(
            StoreError::from(Fault::Answer(NoSuchFile)),
            StoreError::NotFound
        ));
        let denied = StoreError::from(Fault::Answer(PermDenied));
        assert!(matches!(denied, StoreError::Refused(_)));
        let failed = StoreError::from(Fault::Answer(SftpErrorKind::Failure));
        assert!(matches!(failed, StoreError::Unavailable(_)));
        assert!(matches!(
            StoreError::from(Fault::Late),
            StoreError::Unavailable(_)
        ));
        assert!(matches!(
            StoreError::from(Fault::Nonsense),
            StoreError::Broken(_)
        ));
    }
}
