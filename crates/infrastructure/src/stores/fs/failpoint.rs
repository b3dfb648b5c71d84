//! Errors of a disk that tests plant. In a build for use there are none, and nothing is looked up.

/// Where a disk can fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    Write,
    Flush,
    Rename,
    FlushFolder,
}

#[cfg(not(test))]
pub(super) use absent::Failpoints;
#[cfg(test)]
pub(super) use planted::Failpoints;

#[cfg(not(test))]
mod absent {
    /// No failpoints.
    #[derive(Debug, Default)]
    pub(in super::super) struct Failpoints(());

    impl Failpoints {
        #[inline]
        pub(in super::super) const fn meet(&self, _: super::Step) -> std::io::Result<()> {
            Ok(())
        }
    }
}

#[cfg(test)]
mod planted {
    use std::sync::Mutex;

    use rustix::io::Errno;

    use super::Step;

    #[derive(Debug, Default)]
    pub(in super::super) struct Failpoints(Mutex<Option<(Step, Errno)>>);

    impl Failpoints {
        /// Fails the step every time from now on.
        pub(in super::super) fn plant(&self, step: Step, errno: Errno) {
            *self.0.lock().unwrap() = Some((step, errno));
        }

        pub(in super::super) fn clear(&self) {
            *self.0.lock().unwrap() = None;
        }

        pub(in super::super) fn meet(&self, step: Step) -> std::io::Result<()> {
            match *self.0.lock().unwrap() {
                Some((planted, errno)) if planted == step => Err(errno.into()),
                _ => Ok(()),
            }
        }
    }
}
