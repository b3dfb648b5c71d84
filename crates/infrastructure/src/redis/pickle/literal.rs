//! Numbers and text in the forms of protocol 0, read as CPython's C code reads them.

use std::borrow::Cow;

use super::Refusal;

/// Longer numbers are not even looked at; Python has a limit of its own a little higher.
const MAX_DIGITS: usize = 640;

/// The base in which an integer is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Base {
    /// Whatever its prefix says, else ten: `int(text, 0)`.
    Stated,
    /// Ten.
    Ten,
}

/// What C and Python take for white space in numbers.
const fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t'..=b'\r')
}

fn digit(byte: u8) -> u32 {
    char::from(byte).to_digit(36).unwrap_or(36)
}

/// The text up to its first NUL, where C's strings end.
fn c_string(text: &[u8]) -> &[u8] {
    text.split(|byte| *byte == 0).next().unwrap_or_default()
}

/// Without white space in front, and the sign: whether it is a minus, and what follows.
fn signed(text: &[u8]) -> (bool, &[u8]) {
    let start = text.iter().position(|byte| !is_space(*byte));
    let text = &text[start.unwrap_or(text.len())..];
    match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        _ => (false, text),
    }
}

/// Splits behind the first bytes that are so.
fn while_so(text: &[u8], so: impl Fn(u8) -> bool) -> (&[u8], &[u8]) {
    let end = text.iter().position(|byte| !so(*byte));
    text.split_at(end.unwrap_or(text.len()))
}

/// An integer as `int(text, base)` reads it.
pub(super) fn python_int(text: &[u8], base: Base) -> Result<i128, Refusal> {
    let (negative, text) = signed(c_string(text));
    let prefix = match text {
        [b'0', b'x' | b'X', ..] => Some(16),
        [b'0', b'o' | b'O', ..] => Some(8),
        [b'0', b'b' | b'B', ..] => Some(2),
        _ => None,
    };
    let prefix = prefix.filter(|_| base == Base::Stated);
    let (radix, digits) = match prefix {
        // One underscore may stand between a prefix and the digits.
        Some(radix) => (radix, text[2..].strip_prefix(b"_").unwrap_or(&text[2..])),
        None => (10, text),
    };
    let (digits, rest) = while_so(digits, |byte| digit(byte) < radix || byte == b'_');
    let badly_spaced = digits.starts_with(b"_")
        || digits.ends_with(b"_")
        || digits.windows(2).any(|pair| pair == b"__");
    if digits.is_empty() || badly_spaced || !rest.iter().all(|byte| is_space(*byte)) {
        return Err(Refusal::Malformed);
    }
    if digits.len() > MAX_DIGITS {
        return Err(Refusal::Limit("an integer's digits"));
    }
    let mut number: i128 = 0;
    for byte in digits.iter().filter(|byte| **byte != b'_') {
        number = number
            .checked_mul(i128::from(radix))
            .and_then(|number| number.checked_add(i128::from(digit(*byte))))
            .ok_or(Refusal::Limit("an integer"))?;
    }
    // A zero in front once meant octal; it is refused for anything but zero.
    let once_octal = base == Base::Stated && prefix.is_none() && digits.starts_with(b"0");
    if once_octal && number != 0 {
        return Err(Refusal::Malformed);
    }
    Ok(if negative { -number } else { number })
}

/// What C's `strtol` with base 0 reads, and what it leaves; `None` for more than 64 bits.
fn c_long(text: &[u8]) -> Option<(i64, &[u8])> {
    let (negative, digits) = signed(text);
    let (radix, digits) = match digits {
        [b'0', b'x' | b'X', next, ..] if digit(*next) < 16 => (16, &digits[2..]),
        [b'0', ..] => (8, digits),
        _ => (10, digits),
    };
    let (digits, rest) = while_so(digits, |byte| digit(byte) < radix);
    if digits.is_empty() {
        return Some((0, text));
    }
    let mut number: i64 = 0;
    for byte in digits {
        let digit = i64::from(digit(*byte));
        let digit = if negative { -digit } else { digit };
        number = number.checked_mul(i64::from(radix))?.checked_add(digit)?;
    }
    Some((number, rest))
}

/// What the opcode INT takes: an integer, or a boolean where it is written with two characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum IntOrBool {
    Int(i128),
    Bool(bool),
}

/// The argument of INT, without the end of its line.
pub(super) fn int_or_bool(text: &[u8]) -> Result<IntOrBool, Refusal> {
    match c_long(text) {
        Some((number, [] | [0, ..])) if text.len() == 2 && (0..=1).contains(&number) => {
            Ok(IntOrBool::Bool(number == 1))
        }
        Some((number, [] | [0, ..])) => Ok(IntOrBool::Int(number.into())),
        _ => python_int(text, Base::Stated).map(IntOrBool::Int),
    }
}

/// The argument of FLOAT, without the end of its line.
pub(super) fn float(text: &[u8]) -> Result<f64, Refusal> {
    let text = c_string(text);
    let number: f64 = std::str::from_utf8(text)
        .ok()
        .and_then(|text| text.parse().ok())
        .ok_or(Refusal::Malformed)?;
    let too_large = number.is_infinite() && text.iter().any(u8::is_ascii_digit);
    if too_large {
        return Err(Refusal::Malformed);
    }
    Ok(number)
}

/// Text of Python 2, which must be ASCII.
pub(super) fn ascii(bytes: Cow<'_, [u8]>) -> Result<Cow<'_, [u8]>, Refusal> {
    if bytes.is_ascii() {
        Ok(bytes)
    } else {
        Err(Refusal::Malformed)
    }
}

/// The argument of STRING, without the end of its line: quoted, with the escapes of Python's bytes.
pub(super) fn quoted(line: &[u8]) -> Result<Cow<'_, [u8]>, Refusal> {
    let ([b'\'', inner @ .., b'\''] | [b'"', inner @ .., b'"']) = line else {
        return Err(Refusal::Malformed);
    };
    if inner.contains(&b'\\') {
        unescaped(inner).map(Cow::Owned)
    } else {
        Ok(Cow::Borrowed(inner))
    }
}

fn unescaped(mut rest: &[u8]) -> Result<Vec<u8>, Refusal> {
    let mut out = Vec::with_capacity(rest.len());
    while let Some((byte, after)) = rest.split_first() {
        rest = after;
        if *byte != b'\\' {
            out.push(*byte);
            continue;
        }
        let (escape, after) = rest.split_first().ok_or(Refusal::Malformed)?;
        rest = after;
        match escape {
            b'\n' => {}
            b'\\' | b'\'' | b'"' => out.push(*escape),
            b'b' => out.push(0x08),
            b'f' => out.push(0x0c),
            b't' => out.push(b'\t'),
            b'n' => out.push(b'\n'),
            b'r' => out.push(b'\r'),
            b'v' => out.push(0x0b),
            b'a' => out.push(0x07),
            b'0'..=b'7' => {
                let more = rest.iter().take(2).take_while(|b| digit(**b) < 8).count();
                let digits = std::iter::once(escape).chain(&rest[..more]);
                let value = digits.fold(0, |value, b| value * 8 + digit(*b));
                // Three octal digits may be more than a byte; the rest of it is dropped.
                out.push(value.to_le_bytes()[0]);
                rest = &rest[more..];
            }
            b'x' => {
                let (digits, after) = rest.split_at_checked(2).ok_or(Refusal::Malformed)?;
                out.push(hex(digits)?.to_le_bytes()[0]);
                rest = after;
            }
            other => out.extend([b'\\', *other]),
        }
    }
    Ok(out)
}

fn hex(digits: &[u8]) -> Result<u32, Refusal> {
    digits.iter().try_fold(0, |value, byte| match digit(*byte) {
        digit @ 0..16 => Ok(value << 4 | digit),
        _ => Err(Refusal::Malformed),
    })
}

/// The argument of UNICODE, without the end of its line: Latin-1 with `\uXXXX` and `\UXXXXXXXX`.
pub(super) fn raw_unicode(mut rest: &[u8]) -> Result<Cow<'_, [u8]>, Refusal> {
    if rest.is_ascii() && !rest.contains(&b'\\') {
        return Ok(Cow::Borrowed(rest));
    }
    let mut out = Vec::with_capacity(rest.len());
    while let Some((byte, after)) = rest.split_first() {
        rest = after;
        if *byte != b'\\' || rest.is_empty() {
            push_code_point(&mut out, u32::from(*byte));
            continue;
        }
        let length = match rest[0] {
            b'u' => 4,
            b'U' => 8,
            other => {
                // So that of two backslashes the second begins nothing.
                out.push(b'\\');
                push_code_point(&mut out, u32::from(other));
                rest = &rest[1..];
                continue;
            }
        };
        let digits = rest.get(1..=length).ok_or(Refusal::Malformed)?;
        let code_point = hex(digits)?;
        if code_point > 0x0010_ffff {
            return Err(Refusal::Malformed);
        }
        push_code_point(&mut out, code_point);
        rest = &rest[length + 1..];
    }
    Ok(Cow::Owned(out))
}

/// UTF-8 of a code point, also of a surrogate.
fn push_code_point(out: &mut Vec<u8>, code_point: u32) {
    if let Some(character) = char::from_u32(code_point) {
        out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
    } else {
        // A surrogate: 1110xxxx 10xxxxxx 10xxxxxx.
        let [low, middle, ..] = [code_point & 0x3f, code_point >> 6 & 0x3f, 0, 0];
        let bytes = [0xe0 | code_point >> 12, 0x80 | middle, 0x80 | low];
        out.extend(bytes.map(|byte| byte.to_le_bytes()[0]));
    }
}

/// UTF-8 in which surrogates are let through, as Python writes and reads its text.
pub(super) fn utf8(text: &[u8]) -> Result<&[u8], Refusal> {
    let mut rest = text;
    while let Err(error) = std::str::from_utf8(rest) {
        match &rest[error.valid_up_to()..] {
            [0xed, 0xa0..=0xbf, 0x80..=0xbf, after @ ..] => rest = after,
            _ => return Err(Refusal::Malformed),
        }
    }
    Ok(text)
}
