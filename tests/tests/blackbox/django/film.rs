//! A film: a WebM of a minute (Matroska, RFC 9559), too large for a browser to read it all before it is asked to seek.

/// Seconds, and as many clusters of one picture each.
pub const SECONDS: u16 = 60;

/// Bytes behind each picture, which decoders pass over.
const IDLE: usize = 400_000;

/// One frame of VP8 (RFC 6386), 16 × 16 blue dots, as Chromium encodes it.
const FRAME: [u8; 34] = [
    0x70, 0x01, 0x00, 0x9d, 0x01, 0x2a, 0x10, 0x00, 0x10, 0x00, 0x07, 0x40, 0x96, 0x25, 0xa0, 0x02,
    0x74, 0x01, 0x40, 0x00, 0x00, 0xfe, 0xde, 0x12, 0x36, 0x6b, 0xec, 0x31, 0x25, 0xee, 0x5a, 0x28,
    0x04, 0x00,
];

/// An element: its id, its length in 8 bytes, its content.
fn element(id: &[u8], content: &[u8]) -> Vec<u8> {
    let length = (content.len() as u64 | 1 << 56).to_be_bytes();
    [id, &length, content].concat()
}

fn number(id: &[u8], value: u64) -> Vec<u8> {
    element(id, &value.to_be_bytes())
}

fn group(id: &[u8], parts: &[Vec<u8>]) -> Vec<u8> {
    element(id, &parts.concat())
}

/// Its bytes.
pub fn webm() -> Vec<u8> {
    let header = group(
        &[0x1a, 0x45, 0xdf, 0xa3],
        &[
            element(&[0x42, 0x82], b"webm"),
            number(&[0x42, 0x87], 2),
            number(&[0x42, 0x85], 2),
        ],
    );
    let info = group(
        &[0x15, 0x49, 0xa9, 0x66],
        &[
            // Times are in milliseconds.
            number(&[0x2a, 0xd7, 0xb1], 1_000_000),
            element(&[0x44, 0x89], &(f64::from(SECONDS) * 1000.0).to_be_bytes()),
            element(&[0x4d, 0x80], b"tests"),
            element(&[0x57, 0x41], b"tests"),
        ],
    );
    let track = group(
        &[0xae],
        &[
            number(&[0xd7], 1),
            number(&[0x73, 0xc5], 1),
            number(&[0x83], 1),
            element(&[0x86], b"V_VP8"),
            group(&[0xe0], &[number(&[0xb0], 16), number(&[0xba], 16)]),
        ],
    );
    let tracks = group(&[0x16, 0x54, 0xae, 0x6b], &[track]);
    let clusters: Vec<Vec<u8>> = (0..SECONDS).map(cluster).collect();
    // The index is as long whatever positions it holds.
    let start = info.len() + tracks.len() + index(&clusters, 0).len();
    let index = index(&clusters, start);
    let segment = [info, tracks, index, clusters.concat()];
    [header, group(&[0x18, 0x53, 0x80, 0x67], &segment)].concat()
}

fn cluster(second: u16) -> Vec<u8> {
    // Track 1, at the cluster's own time, a key frame.
    let block = [&[0x81, 0, 0, 0x80][..], &FRAME, &[0; IDLE]].concat();
    group(
        &[0x1f, 0x43, 0xb6, 0x75],
        &[
            number(&[0xe7], u64::from(second) * 1000),
            element(&[0xa3], &block),
        ],
    )
}

/// Where each cluster begins, counted from the segment's content.
fn index(clusters: &[Vec<u8>], start: usize) -> Vec<u8> {
    let mut position = start as u64;
    let mut points = Vec::new();
    for (second, cluster) in clusters.iter().enumerate() {
        let place = group(&[0xb7], &[number(&[0xf7], 1), number(&[0xf1], position)]);
        points.push(group(
            &[0xbb],
            &[number(&[0xb3], second as u64 * 1000), place],
        ));
        position += cluster.len() as u64;
    }
    group(&[0x1c, 0x53, 0xbb, 0x6b], &points)
}
