//! Answers as they could come.

use proptest::prelude::*;
use tokio::io::AsyncReadExt;

use super::*;

fn answer(kind: u8, rest: &[u8]) -> Vec<u8> {
    let length = u32::try_from(rest.len() + 5).unwrap();
    let mut answer = length.to_be_bytes().to_vec();
    answer.push(kind);
    answer.extend(7_u32.to_be_bytes());
    answer.extend(rest);
    answer
}

fn text(text: &[u8]) -> Vec<u8> {
    let mut all = u32::try_from(text.len()).unwrap().to_be_bytes().to_vec();
    all.extend(text);
    all
}

fn names(count: u32, names: &[&[u8]]) -> Vec<u8> {
    let mut rest = count.to_be_bytes().to_vec();
    for name in names {
        rest.extend(text(name));
        rest.extend(text(b"-rw-r--r-- \xff"));
        rest.extend(0x8000_000f_u32.to_be_bytes());
        rest.extend([3; 28]);
        rest.extend(1_u32.to_be_bytes());
        rest.extend(text(b"a@b"));
        rest.extend(text(b"\xff"));
    }
    answer(NAME, &rest)
}

async fn read(answers: &[u8]) -> io::Result<Vec<u8>> {
    let mut all = Vec::new();
    Frames::new(answers).read_to_end(&mut all).await?;
    Ok(all)
}

#[tokio::test]
async fn what_needs_no_looking_at_passes_as_it_is() {
    let mut all = answer(2, &[0; 40]);
    all.extend(answer(DATA, &text(&[0xfe; 100_000])));
    all.extend(answer(102, &text(b"handle")));
    all.extend(answer(DATA, &text(b"")));
    all.extend(answer(105, &[0; 4]));
    all.extend(answer(201, &[1; 70_000]));
    assert_eq!(read(&all).await.unwrap(), all);
}

#[tokio::test]
async fn a_status_comes_without_words() {
    let mut words = 2_u32.to_be_bytes().to_vec();
    let bare = answer(STATUS, &[0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0]);
    // Some servers say nothing at all.
    assert_eq!(read(&answer(STATUS, &words)).await.unwrap(), bare);
    words.extend(text(b"no such \xff in /home/alice"));
    words.extend(text(b"en"));
    assert_eq!(read(&answer(STATUS, &words)).await.unwrap(), bare);
}

#[tokio::test]
async fn names_become_ascii_and_keep_their_place() {
    let all = names(3, &[b".", b"caf\xe9", "käse".as_bytes()]);
    let spelt = names(3, &[b".", b"caf?", b"k??se"]);
    assert_eq!(read(&all).await.unwrap(), spelt);
}

#[tokio::test]
async fn lies_about_lengths_end_the_connection() {
    let mut endless = names(1, &[b"a"]);
    endless.truncate(HEAD);
    endless.extend(u32::MAX.to_be_bytes());
    let shorter = (endless.len() - 4) as u8;
    endless[..4].copy_from_slice(&[0, 0, 0, shorter]);
    let lies = [
        names(2, &[b"a"]),
        endless,
        answer(STATUS, &[0, 0]),
        answer(DATA, &[0, 0, 0]),
        vec![0, 0, 0, 4, STATUS, 0, 0, 0, 0],
        vec![0xff, 0xff, 0xff, 0xff, DATA, 0, 0, 0, 0],
        vec![0, 0x10, 0, 1, NAME, 0, 0, 0, 0],
    ];
    for lie in lies {
        let kind = read(&lie).await.map_err(|error| error.kind());
        assert_eq!(kind, Err(io::ErrorKind::InvalidData), "{lie:?}");
    }
}

proptest! {
    #[test]
    fn nothing_makes_it_panic_or_add_bytes(all in prop::collection::vec(any::<u8>(), 0..600)) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let mut framed = 41_u32.to_be_bytes().to_vec();
        framed.push(NAME);
        framed.extend(&all);
        for all in [&all, &framed] {
            if let Ok(read) = runtime.block_on(read(all)) {
                prop_assert!(read.len() <= all.len() + 8);
            }
        }
    }
}
