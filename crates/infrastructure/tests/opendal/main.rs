//! Stores that OpenDAL speaks to, and SFTP: the contract over real servers, and what goes wrong with servers.

#[cfg(test)]
mod azblob;
#[cfg(test)]
#[path = "../webdav/fake.rs"]
#[expect(dead_code, reason = "the rest of it is for WebDAV")]
mod fake;
#[cfg(test)]
mod help;
#[cfg(test)]
mod hostile;
#[cfg(test)]
mod servers;
#[cfg(test)]
mod sftp_dying;
#[cfg(test)]
mod sftp_faults;
#[cfg(test)]
mod sftp_openssh;
#[cfg(test)]
mod sftp_rclone;
