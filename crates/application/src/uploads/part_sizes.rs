//! How a direct upload is cut into parts.

/// The smallest part, in bytes; the last one may be smaller. Every S3 store takes it.
const LEAST_PART: u64 = 8 * 1024 * 1024;

/// The most parts of an upload.
const MAX_PARTS: u64 = 9_000;

/// The sizes of the parts of so many bytes, in order.
pub(super) fn part_sizes(size: u64) -> impl Iterator<Item = u64> {
    const MIB: u64 = 1024 * 1024;
    let part = size
        .div_ceil(MAX_PARTS)
        .next_multiple_of(MIB)
        .max(LEAST_PART);
    let starts = (0..size.div_ceil(part)).map(move |number| number * part);
    starts.map(move |start| part.min(size - start))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_cover_every_byte_and_are_never_too_many_or_too_small() {
        const MIB: u64 = 1024 * 1024;
        for size in [
            1,
            MIB,
            LEAST_PART,
            LEAST_PART + 1,
            500 * MIB,
            6_000_000 * MIB,
        ] {
            let sizes: Vec<u64> = part_sizes(size).collect();
            assert_eq!(sizes.iter().sum::<u64>(), size);
            assert!(sizes.len() as u64 <= MAX_PARTS, "{size}");
            let (last, others) = sizes.split_last().unwrap();
            assert!(*last > 0 && others.iter().all(|part| *part >= LEAST_PART));
        }
    }
}
