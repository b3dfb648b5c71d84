//! S3 stores: the contract over real servers, and what goes wrong with servers.

#[cfg(test)]
mod direct;
#[cfg(test)]
mod failures;
#[cfg(test)]
mod fake;
#[cfg(test)]
mod garage;
#[cfg(test)]
mod help;
#[cfg(test)]
mod parts;
#[cfg(test)]
mod patience;
#[cfg(test)]
mod rclone;
#[cfg(test)]
mod servers;
