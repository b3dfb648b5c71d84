//! Pickles that somebody wrote by hand: to run something, to use up memory or time, or to be read otherwise than by
//! Python.

use std::time::{Duration, Instant};

use super::{
    agreement::{Oracle, Verdict},
    pickle::{self, MAX_BYTES, Refusal},
    script, with_room,
};

#[test]
fn what_imports_calls_or_changes_objects_is_refused() {
    let attacks: [&[u8]; 16] = [
        b"cos\nsystem\n(S'id'\ntR.",
        b"\x80\x04\x8c\x02os\x8c\x06system\x93\x8c\x02id\x85R.",
        b"(S'id'\nios\nsystem\n.",
        b"(cos\nsystem\nS'id'\no.",
        b"\x80\x02cbuiltins\neval\nX\x01\x00\x00\x001\x85R.",
        b"\x80\x02cbuiltins\nobject\n)\x81.",
        b"\x80\x04\x8c\x08builtins\x8c\x06object\x93)}\x92.",
        b"\x80\x02cbuiltins\nobject\n)\x81}X\x01\x00\x00\x00a1b.",
        b"Pid\n.",
        b"K\x01Q.",
        b"\x82\x01.",
        b"\x83\x01\x00.",
        b"\x84\x01\x00\x00\x00.",
        b"\x80\x05\x97.",
        b"NNb.",
        b"\x80\x05C\x01a\x98.",
    ];
    let mut oracle = Oracle::start(&script());
    for attack in attacks {
        let refusal = pickle::read(attack).map(drop);
        assert!(
            matches!(refusal, Err(Refusal::Forbidden(_))),
            "{attack:?}: {refusal:?}"
        );
        oracle.check(attack);
    }
    // An import that nobody would look at is one all the same.
    assert!(pickle::read(b"cos\nsystem\n0N.").is_err());
}

/// Numbers and text of protocol 0, as only somebody writes them who tries.
const FINE_POINTS: [&[u8]; 60] = [
    b"I01\n.",
    b"I00\n.",
    b"I1\n.",
    b"I 1\n.",
    b"I+1\n.",
    b"I-1\n.",
    b"I010\n.",
    b"I08\n.",
    b"I0x1f\n.",
    b"I0o17\n.",
    b"I0b11\n.",
    b"I1_0\n.",
    b"I1\r\n.",
    b"I\n.",
    b"I \n.",
    b"I\0\n.",
    b"I0\0x\n.",
    b"I9223372036854775808\n.",
    b"I-9223372036854775808\n.",
    b"I00\0\n.",
    b"I0x\n.",
    b"I\x0b7\n.",
    b"I--1\n.",
    b"I99999999999999999999\r\n.",
    b"I07777777777777777777777\n.",
    b"L1L\n.",
    b"L1\n.",
    b"LL\n.",
    b"L\n.",
    b"L1LL\n.",
    b"L 0x_fL\n.",
    b"L1__0L\n.",
    b"L00L\n.",
    b"L-1 \nq.",
    b"L007L\n.",
    b"F1.5\n.",
    b"F1e400\n.",
    b"F1e-400\n.",
    b"Finf\n.",
    b"F-nan\n.",
    b"F 1\n.",
    b"F1 \n.",
    b"F1_0\n.",
    b"F.5\n.",
    b"F5.\n.",
    b"F1.5\0x\n.",
    b"F0x10\n.",
    b"S'a\\x41\\101\\n\\q'\n.",
    b"S\"'\"\n.",
    b"S'\n.",
    b"S''\n.",
    b"S'\\x4'\n.",
    b"S'\\'\n.",
    b"S'\\x80'\n.",
    b"S'\\777'\n.",
    b"V\\u00e9\xe9\\\\u0041\\U0001f600\n.",
    b"V\\\n.",
    b"V\\u12\n.",
    b"V\\U00110000\n.",
    b"V\\ud800\n.",
];

#[test]
fn the_fine_points_of_the_old_protocols_are_those_of_cpython() {
    let mut oracle = Oracle::start(&script());
    for point in FINE_POINTS {
        let verdict = oracle.check(point);
        assert_ne!(verdict, Verdict::Stricter, "{point:?}");
    }
}

#[test]
fn stack_marks_and_memo_are_those_of_cpython() {
    let points: [&[u8]; 34] = [
        b".",
        b"",
        b"N",
        b"(.",
        b"(N.",
        b"N(.",
        b"N(0.",
        b"N(N1.",
        b"N00.",
        b"N(00.",
        b"N2\x86.",
        b"(2.",
        b"N(\x85.",
        b"N(N\x85.",
        b"NN(\x86.",
        b"](e.",
        b"N(e.",
        b"(e.",
        b"N(u.",
        b"}(Nu.",
        b"}(NNu.",
        b"}(]Nu.",
        b"\x8f(]\x90.",
        b"\x8f(N\x90.",
        b"N(\x90.",
        b"](\x90.",
        b"(]\x91.",
        b"Np0\ng0\n.",
        b"Np-1\n.",
        b"Np 0_0 \ng+0\n.",
        b"Nq\x05\x94h\x01.",
        b"Nq\x00\x94h\x01.",
        b"h\x00.",
        b"\x80\x06N.",
    ];
    let mut oracle = Oracle::start(&script());
    for point in points {
        let verdict = oracle.check(point);
        assert_ne!(verdict, Verdict::Stricter, "{point:?}");
    }
}

/// What comes of it, in less than 10 ms: the best of a few times, since the machine may be busy.
fn quickly(pickle: &[u8]) -> Result<(), Refusal> {
    let timed = (0..5).map(|_| {
        let start = Instant::now();
        let outcome = pickle::read(pickle).map(drop);
        (start.elapsed(), outcome)
    });
    let (took, outcome) = timed.min_by_key(|(took, _)| *took).unwrap();
    assert!(took < Duration::from_millis(10), "{took:?}");
    outcome
}

#[test]
fn what_would_use_up_memory_or_time_is_refused_within_10_ms() {
    let repeated =
        |unit: &[u8], tail: &[u8]| [unit.repeat(60_000 / unit.len()).as_slice(), tail].concat();
    let huge: [Vec<u8>; 12] = [
        repeated(b"(", b"."),
        repeated(b"]", b"."),
        repeated(b"]2a", b"."),
        [b")".as_slice(), &repeated(b"\x85", b".")].concat(),
        [b"]".as_slice(), &repeated(b"q\x00h\x00\x86", b".")].concat(),
        repeated(b"N0", b"."),
        repeated(b"K\x01", b"."),
        repeated(b"V\xe9\xe9\xe9\xe9\xe9\xe9\n0", b"N."),
        b"N\x94r\xff\xff\xff\x7f.".to_vec(),
        b"Np4000000000\n.".to_vec(),
        [b"L".as_slice(), &repeated(b"9", b"L\n.")].concat(),
        vec![b'N'; MAX_BYTES + 1],
    ];
    for pickle in &huge {
        let refusal = quickly(pickle).unwrap_err();
        assert!(
            matches!(refusal, Refusal::Limit(_)),
            "{refusal:?}: {:?}",
            &pickle[..20]
        );
    }
    let truncated: [&[u8]; 5] = [
        b"\x80\x04\x95\xff\xff\xff\xff\xff\xff\xff\x7fN.",
        b"B\xff\xff\xff\xffa.",
        b"\x8e\xff\xff\xff\xff\xff\xff\xff\xffa.",
        b"T\xff\xff\xff\xffa.",
        b"\x8b\xff\xff\xff\xffa.",
    ];
    for pickle in truncated {
        assert_eq!(quickly(pickle), Err(Refusal::Malformed), "{pickle:?}");
    }
}

#[test]
fn what_holds_itself_or_is_shared_many_times_is_read_and_dropped() {
    with_room(|| {
        // Each list holds the one before it twice: two to the power of sixty lists, if they were written out.
        let mut laughs = b"]\x94".to_vec();
        for index in 0..60 {
            laughs.extend([b']', b'(', b'h', index, b'h', index, b'e', 0x94]);
        }
        laughs.push(b'.');
        let own: [&[u8]; 4] = [
            &laughs,
            b"]q\x00h\x00a.",
            b"}q\x00K\x01h\x00s.",
            b"]q\x00}q\x01K\x01h\x00sa((h\x01h\x00te.",
        ];
        let mut oracle = Oracle::start(&script());
        for pickle in own {
            quickly(pickle).unwrap();
            assert_eq!(oracle.check(pickle), Verdict::Read);
        }
    });
}
