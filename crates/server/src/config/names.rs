//! The nearest known name to one that is not known.

use super::{declare::key_of, table};

/// The name of the setting, or of the file of a secret one, that takes the fewest changes to get to.
pub(crate) fn nearest(name: &str) -> String {
    let wanted = key_of(&name.to_ascii_uppercase());
    table::all()
        .flat_map(|setting| [Some(setting.name.to_owned()), setting.file_name()])
        .flatten()
        .min_by_key(|known| distance(&wanted, &key_of(known)))
        .unwrap_or_default()
}

/// How many letters to put in, take out or change (Levenshtein), on at most the first 100.
fn distance(from: &str, to: &str) -> usize {
    let from: Vec<char> = from.chars().take(100).collect();
    let to: Vec<char> = to.chars().collect();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (i, a) in from.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, b) in to.iter().enumerate() {
            let change = diagonal + usize::from(a != b);
            diagonal = row[j + 1];
            row[j + 1] = change.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distance_counts_single_letters() {
        assert_eq!(distance("listen", "listen"), 0);
        assert_eq!(distance("listn", "listen"), 1);
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("kitten", "sitting"), 3);
    }

    #[test]
    fn a_mistyped_name_finds_what_was_meant() {
        for (typed, meant) in [
            ("CLOAKROOM_LISTN", "CLOAKROOM_LISTEN"),
            ("CLOAKROOM_S3_BUKET", "CLOAKROOM_S3_BUCKET"),
            ("CLOAKROOM_ADMIN_TOKEN_FIEL", "CLOAKROOM_ADMIN_TOKEN_FILE"),
            ("CLOAKROOM_DATABASE", "CLOAKROOM_DATABASE_URL"),
            ("CLOAKROOM_max_filesize", "CLOAKROOM_MAX_FILE_SIZE"),
        ] {
            assert_eq!(nearest(typed), meant, "{typed}");
        }
    }
}
