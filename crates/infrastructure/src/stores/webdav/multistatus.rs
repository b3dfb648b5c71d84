//! The XML of WebDAV's answers, read with suspicion: nothing may be declared, nothing may nest deeply, and an answer
//! that says less than it should is no answer.

use bytes::Bytes;
use cloakroom_application::ports::StoreError;
use cloakroom_domain::Timestamp;
use percent_encoding::percent_decode_str;
use quick_xml::{
    Reader,
    events::{BytesRef, BytesStart, Event},
};
use reqwest::StatusCode;

use super::failure::sorted;
use crate::stores::remote::{Entry, Trouble};

/// How deep elements may nest; answers of servers have six levels.
const DEEPEST: usize = 32;

/// The longest text of an element that is of interest, in bytes.
const LONGEST_TEXT: usize = 8 * 1024;

/// What is known of a file or a folder.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) is_folder: bool,
    pub(super) size: Option<u64>,
    pub(super) modified_at: Option<Timestamp>,
}

/// One `response` of an answer.
#[derive(Debug, Default)]
struct Told {
    href: String,
    /// Of the whole response, where it has one.
    status: Option<StatusCode>,
    found: Found,
    /// The worst status of its properties that is not 404, which is how a server says that it does not know one.
    worst: Option<StatusCode>,
    /// Whether some properties came with a success.
    has_properties: bool,
}

/// What an answer about one path says.
pub(super) fn one(answer: &Bytes) -> Result<Found, StoreError> {
    let first = parse(answer)?.into_iter().next();
    let told = first.ok_or_else(|| broken("the server's answer is about nothing"))?;
    told.usable().map(|told| told.found)
}

/// What an answer about a folder says of what lies in it. The folder itself may be among it.
pub(super) fn several(answer: &Bytes) -> Result<Vec<Entry>, StoreError> {
    let mut entries = Vec::new();
    for told in parse(answer)? {
        match told.usable() {
            Ok(told) => entries.extend(told.into_entry()?),
            // It went while the server was looking.
            Err(StoreError::NotFound) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(entries)
}

/// Whether an answer to a command tells of no failure.
pub(super) fn all_done(answer: &Bytes) -> Result<(), StoreError> {
    for told in parse(answer)? {
        let statuses = told.status.into_iter().chain(told.worst);
        if let Some(failed) = statuses.into_iter().find(|it| !it.is_success()) {
            return Err(sorted(failed));
        }
    }
    Ok(())
}

/// What an answer of this kind means where none is due.
pub(super) fn unexpected() -> StoreError {
    broken("the server answered 207 where it cannot")
}

fn broken(why: &'static str) -> StoreError {
    StoreError::Broken(why.into())
}

impl Told {
    fn usable(self) -> Result<Self, StoreError> {
        let statuses = self.status.into_iter().chain(self.worst);
        if let Some(failed) = statuses.into_iter().find(|it| !it.is_success()) {
            return Err(sorted(failed));
        }
        if self.has_properties {
            Ok(self)
        } else {
            Err(broken("the server's answer has no properties"))
        }
    }

    /// `None` if its address has no name to go by.
    fn into_entry(self) -> Result<Option<Entry>, StoreError> {
        let path = self.href.trim_end_matches('/');
        let last = path.rsplit('/').next().unwrap_or_default();
        let Ok(name) = percent_decode_str(last).decode_utf8() else {
            return Ok(None);
        };
        let size = match (self.found.size, self.found.is_folder) {
            (Some(size), false) => size,
            (_, true) => 0,
            (None, false) => return Err(broken("a file of unknown size")),
        };
        Ok((!name.is_empty()).then(|| Entry {
            name: name.into_owned(),
            is_folder: self.found.is_folder,
            size,
            modified_at: self.found.modified_at,
        }))
    }
}

/// The most entries of a folder that are read, and the folder itself.
const MOST_RESPONSES: usize = 65_537;

/// Where the parser is: the elements that matter, by their local names. Prefixes are the server's to choose.
#[derive(Debug, Default)]
struct Parser {
    depth: usize,
    responses: Vec<Told>,
    /// Of the response being read.
    now: Option<Told>,
    /// Of the `propstat` being read.
    properties: Option<(Found, Option<StatusCode>)>,
    /// Whether `prop` is being read.
    in_prop: bool,
    in_type: bool,
    /// The text of the element being read, if it is of interest.
    text: Option<String>,
}

fn parse(answer: &Bytes) -> Result<Vec<Told>, StoreError> {
    let text =
        std::str::from_utf8(answer).map_err(|_| broken("the server's answer is no UTF-8"))?;
    let mut reader = Reader::from_str(text);
    let mut parser = Parser::default();
    loop {
        let event = reader.read_event().map_err(|error| {
            StoreError::Broken(Box::new(Trouble(format!("the server's XML: {error}"))))
        })?;
        match event {
            Event::Start(element) => parser.start(&element)?,
            Event::Empty(element) => {
                parser.start(&element)?;
                let name = element.local_name();
                parser.end(name.as_ref())?;
            }
            Event::End(element) => parser.end(element.local_name().as_ref())?,
            Event::Text(text) => parser.text(&text.xml10_content())?,
            Event::CData(text) => parser.text(&text.xml10_content())?,
            Event::GeneralRef(reference) => parser.reference(&reference)?,
            Event::DocType(_) => {
                return Err(broken("the server's XML declares a document type"));
            }
            Event::Decl(_) | Event::PI(_) | Event::Comment(_) => {}
            Event::Eof => break,
        }
    }
    if parser.depth != 0 {
        return Err(broken("the server's XML ends early"));
    }
    Ok(parser.responses)
}

impl Parser {
    fn start(&mut self, element: &BytesStart<'_>) -> Result<(), StoreError> {
        self.depth += 1;
        if self.depth > DEEPEST {
            return Err(broken("the server's XML is nested too deeply"));
        }
        let name = element.local_name();
        let name: &str = name.as_ref();
        if self.depth == 1 && name != "multistatus" {
            return Err(broken("the server's XML is no multistatus"));
        }
        match name {
            "response" => self.now = Some(Told::default()),
            "propstat" => self.properties = Some((Found::default(), None)),
            "prop" => self.in_prop = true,
            "resourcetype" if self.in_prop => self.in_type = true,
            "collection" if self.in_type => {
                if let Some((found, _)) = &mut self.properties {
                    found.is_folder = true;
                }
            }
            "href" | "status" | "getcontentlength" | "getlastmodified" => {
                self.text = Some(String::new());
            }
            _ => {}
        }
        Ok(())
    }

    fn text(&mut self, more: &str) -> Result<(), StoreError> {
        let Some(text) = &mut self.text else {
            return Ok(());
        };
        if text.len() + more.len() > LONGEST_TEXT {
            return Err(broken("the server's XML has a text that is too long"));
        }
        text.push_str(more);
        Ok(())
    }

    /// A character by its number, or one of the five that XML itself names; there are no others.
    fn reference(&mut self, reference: &BytesRef<'_>) -> Result<(), StoreError> {
        let undeclared = || broken("the server's XML refers to an entity");
        if let Some(char) = reference.resolve_char_ref().map_err(|_| undeclared())? {
            return self.text(char.encode_utf8(&mut [0; 4]));
        }
        let named = match &*reference.xml10_content() {
            "amp" => "&",
            "lt" => "<",
            "gt" => ">",
            "quot" => "\"",
            "apos" => "'",
            _ => return Err(undeclared()),
        };
        self.text(named)
    }

    fn end(&mut self, name: &str) -> Result<(), StoreError> {
        self.depth = self.depth.saturating_sub(1);
        match name {
            "response" if self.responses.len() == MOST_RESPONSES => {
                return Err(broken("a folder with too many entries"));
            }
            "response" => self.responses.extend(self.now.take()),
            "propstat" => self.end_properties(),
            "prop" => self.in_prop = false,
            "resourcetype" => self.in_type = false,
            "href" => {
                let text = self.taken();
                if let Some(now) = &mut self.now
                    && now.href.is_empty()
                {
                    now.href = text;
                }
            }
            "status" => self.end_status()?,
            "getcontentlength" if self.in_prop => {
                let text = self.taken();
                if let Some((found, _)) = &mut self.properties
                    && !text.is_empty()
                {
                    let size = text.parse();
                    found.size = Some(size.map_err(|_| broken("a size that is no number"))?);
                }
            }
            "getlastmodified" if self.in_prop => {
                let text = self.taken();
                if let Some((found, _)) = &mut self.properties {
                    found.modified_at = moment(&text);
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn taken(&mut self) -> String {
        let text = self.text.take().unwrap_or_default();
        text.trim().to_owned()
    }

    fn end_status(&mut self) -> Result<(), StoreError> {
        let text = self.taken();
        let code = text.split_whitespace().nth(1);
        let status = code
            .and_then(|code| StatusCode::from_bytes(code.as_bytes()).ok())
            .ok_or_else(|| broken("a status that is none"))?;
        match (&mut self.properties, &mut self.now) {
            (Some((_, of_properties)), _) => *of_properties = Some(status),
            (None, Some(now)) => now.status = Some(status),
            (None, None) => {}
        }
        Ok(())
    }

    fn end_properties(&mut self) {
        let (Some((found, status)), Some(now)) = (self.properties.take(), &mut self.now) else {
            return;
        };
        match status.unwrap_or(StatusCode::OK) {
            status if status.is_success() => {
                now.has_properties = true;
                now.found.is_folder |= found.is_folder;
                now.found.size = found.size.or(now.found.size);
                now.found.modified_at = found.modified_at.or(now.found.modified_at);
            }
            StatusCode::NOT_FOUND => {}
            status => now.worst = Some(now.worst.map_or(status, |worst| worst.max(status))),
        }
    }
}

fn moment(text: &str) -> Option<Timestamp> {
    let time = httpdate::parse_http_date(text).ok()?;
    let since = time.duration_since(std::time::UNIX_EPOCH).ok()?;
    let micros = i64::try_from(since.as_micros()).ok()?;
    Some(Timestamp::from_micros(micros))
}

#[cfg(test)]
mod tests;
