//! What every resource has: identity, version, labels and who made it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{
    error::{Error, Reason, Result},
    names::shown,
    time::{Timestamp, Uid},
};

/// Labels to find a resource by.
pub type Labels = BTreeMap<String, String>;

/// Identity, version, labels and history of a resource.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Meta {
    /// Never used twice.
    pub uid: Uid,
    /// Grows by one with every write; part of the `WHERE` of the next one.
    pub version: i64,
    /// Name for people.
    pub display_name: String,
    /// Labels to find it by.
    pub labels: Labels,
    /// When it was created.
    pub create_time: Timestamp,
    /// When it last changed.
    pub update_time: Timestamp,
    /// Who created it, as a principal's name.
    pub creator: String,
}

impl Meta {
    /// Of a resource that is created now.
    pub fn new(uid: Uid, description: Described, creator: impl ToString, now: Timestamp) -> Self {
        Self {
            uid,
            version: 1,
            display_name: description.display_name,
            labels: description.labels,
            create_time: now,
            update_time: now,
            creator: creator.to_string(),
        }
    }

    /// Changes with every version, and differs from that of an earlier resource of the same name.
    pub fn etag(&self) -> String {
        etag(self.uid, self.version)
    }

    /// Fails unless the reader's etag, if there is one, is the present one.
    pub fn expect_etag(&self, etag: Option<&str>) -> Result<()> {
        match etag {
            Some(seen) if seen != self.etag() => Err(self.etag_mismatch()),
            _ => Ok(()),
        }
    }

    /// Somebody else was first.
    pub fn etag_mismatch(&self) -> Error {
        Error::new(Reason::EtagMismatch, "it has changed since you read it; read it again and repeat the change")
            .with("current_etag", self.etag())
    }

    /// Takes over a new display name and new labels, where there are some.
    pub fn describe(&mut self, display_name: Option<String>, labels: Option<Labels>) {
        if let Some(display_name) = display_name {
            self.display_name = display_name;
        }
        if let Some(labels) = labels {
            self.labels = labels;
        }
    }

    /// Marks a write.
    pub fn touch(&mut self, now: Timestamp) {
        self.version += 1;
        self.update_time = now;
    }
}

/// The etag of a version of a resource.
pub fn etag(uid: Uid, version: i64) -> String {
    let (_, low) = uid.0.as_u64_pair();
    format!("{version:x}-{:08x}", low & 0xffff_ffff)
}

/// Display name and labels as a caller gives them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Described {
    /// Name for people, at most 63 characters.
    pub display_name: String,
    /// At most 64.
    pub labels: Labels,
}

/// Checks a display name.
pub fn display_name(text: String) -> Result<String, String> {
    if text.chars().count() > 63 {
        return Err("at most 63 characters".to_owned());
    }
    if text.chars().any(char::is_control) {
        return Err("control characters are not allowed".to_owned());
    }
    Ok(text)
}

/// Checks text for people of at most so many characters; line breaks are fine.
pub fn prose(text: String, most: usize) -> Result<String, String> {
    if text.chars().count() > most {
        return Err(format!("at most {most} characters"));
    }
    if text.chars().any(|c| c.is_control() && c != '\n' && c != '\t') {
        return Err("control characters are not allowed".to_owned());
    }
    Ok(text)
}

/// Checks labels, naming every wrong key.
pub fn labels(labels: impl IntoIterator<Item = (String, String)>) -> Result<Labels, Vec<(String, String)>> {
    let mut right = Labels::new();
    let mut wrong = Vec::new();
    for (key, value) in labels {
        let mut bytes = key.bytes();
        let well = key.len() <= 63
            && bytes.next().is_some_and(|b| b.is_ascii_lowercase())
            && bytes.all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"_./-".contains(&b));
        if !well {
            wrong.push((shown(&key), "keys are 1 to 63 of a-z 0-9 _ . / - and begin with a letter".to_owned()));
        } else if value.chars().count() > 63 || value.chars().any(char::is_control) {
            wrong.push((key, "values are at most 63 characters, none of them control characters".to_owned()));
        } else {
            right.insert(key, value);
        }
    }
    if right.len() > 64 {
        wrong.push((String::new(), "at most 64 labels".to_owned()));
    }
    if wrong.is_empty() { Ok(right) } else { Err(wrong) }
}

/// One page of a list, in the order of creation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Page {
    /// Items wanted, 1 to 500.
    pub size: u32,
    /// Begins after the item with this uid; uids are UUIDv7, so they are in the order of creation.
    pub after: Option<Uid>,
    /// The other way round: newest first, and `after` means before.
    pub newest_first: bool,
}

/// Items of one page, and where the next one begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed<T> {
    /// The items.
    pub items: Vec<T>,
    /// `after` of the next page; absent on the last one.
    pub next: Option<Uid>,
}

impl<T> Listed<T> {
    /// From `page.size + 1` rows: the one too many only says that there is more.
    pub fn from_rows(mut items: Vec<T>, page: Page, uid: impl Fn(&T) -> Uid) -> Self {
        let size = page.size as usize;
        let more = items.len() > size;
        items.truncate(size);
        let next = if more { items.last().map(uid) } else { None };
        Self { items, next }
    }
}
