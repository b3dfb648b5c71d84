//! Pages of lists: one item more is asked for than is given out, which tells whether there are more.

use crate::Error;

/// The most items of a page.
pub(crate) const MAX_PAGE: u32 = 1000;

/// How many items a page has at most: 1 to [`MAX_PAGE`].
#[derive(Debug, Clone, Copy)]
pub(crate) struct PageSize(u32);

impl PageSize {
    /// As many as were asked for, or as usual.
    ///
    /// # Errors
    /// [`Error::BadValue`] for none or too many.
    pub(crate) fn of(asked: Option<u32>, usual: u32) -> Result<Self, Error> {
        let size = asked.unwrap_or(usual);
        if (1..=MAX_PAGE).contains(&size) {
            return Ok(Self(size));
        }
        let bounds = format!("limit must be from 1 to {MAX_PAGE}");
        Err(Error::BadValue(bounds))
    }

    /// How many items to ask for.
    pub(crate) const fn and_one(self) -> u32 {
        self.0 + 1
    }

    /// Leaves a page of the items, and marks its last one if there are more.
    pub(crate) fn cut<T, M>(self, items: &mut Vec<T>, mark: impl FnOnce(&T) -> M) -> Option<M> {
        let size = self.0 as usize;
        let more = items.len() > size;
        items.truncate(size);
        items.last().filter(|_| more).map(mark)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_ends_with_a_mark_only_if_there_is_another() {
        let size = PageSize::of(Some(2), 50).unwrap();
        assert_eq!(size.and_one(), 3);
        for (found, page, mark) in [
            (vec![1, 2, 3], vec![1, 2], Some(2)),
            (vec![1, 2], vec![1, 2], None),
            (vec![], vec![], None),
        ] {
            let mut items = found;
            assert_eq!(size.cut(&mut items, |item| *item), mark);
            assert_eq!(items, page);
        }
        for none in [0, 1001, u32::MAX] {
            assert!(PageSize::of(Some(none), 50).is_err(), "{none}");
        }
        assert_eq!(PageSize::of(None, 50).unwrap().and_one(), 51);
    }
}
