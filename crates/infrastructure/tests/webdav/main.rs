//! WebDAV stores: the contract over real servers, and what goes wrong with servers.

#[cfg(test)]
mod dying;
#[cfg(test)]
mod failures;
#[cfg(test)]
mod fake;
#[cfg(test)]
mod help;
#[cfg(test)]
mod hostile;
#[cfg(test)]
mod lengths;
#[cfg(test)]
mod nginx;
#[cfg(test)]
mod rclone;
#[cfg(test)]
mod servers;
