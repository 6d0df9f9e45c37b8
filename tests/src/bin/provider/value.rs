//! Values as Terraform sends them: the part of MessagePack that objects of texts need, with an extension for what is not known yet
//! (<https://github.com/hashicorp/terraform/blob/main/docs/plugin-protocol/object-wire-format.md>).

use std::collections::BTreeMap;

/// A value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// Nothing.
    Null,
    /// It is known once it is made.
    Unknown,
    /// A text.
    Text(String),
    /// An object.
    Object(BTreeMap<String, Self>),
}

impl Value {
    /// Reads one; nothing when it holds what no text or object is.
    pub fn read(bytes: &mut &[u8]) -> Option<Self> {
        let first = take(bytes, 1)?[0];
        let length = |bytes: &mut &[u8], width: usize| {
            Some(take(bytes, width)?.iter().fold(0, |length, byte| length << 8 | usize::from(*byte)))
        };
        Some(match first {
            0xc0 => Self::Null,
            0x80..=0x8f => Self::object(bytes, usize::from(first & 0x0f))?,
            0xde => {
                let fields = length(bytes, 2)?;
                Self::object(bytes, fields)?
            }
            0xa0..=0xbf => Self::text(bytes, usize::from(first & 0x1f))?,
            0xd9..=0xdb => {
                let size = length(bytes, 1 << (first - 0xd9))?;
                Self::text(bytes, size)?
            }
            // Extensions: one byte for the type, then so many.
            0xd4..=0xd8 => {
                take(bytes, 1 + (1 << (first - 0xd4)))?;
                Self::Unknown
            }
            0xc7 => {
                let size = length(bytes, 1)?;
                take(bytes, 1 + size)?;
                Self::Unknown
            }
            _ => return None,
        })
    }

    fn object(bytes: &mut &[u8], fields: usize) -> Option<Self> {
        let mut object = BTreeMap::new();
        for _ in 0..fields {
            let Self::Text(name) = Self::read(bytes)? else { return None };
            object.insert(name, Self::read(bytes)?);
        }
        Some(Self::Object(object))
    }

    fn text(bytes: &mut &[u8], size: usize) -> Option<Self> {
        String::from_utf8(take(bytes, size)?.to_vec()).ok().map(Self::Text)
    }

    /// Its bytes.
    pub fn write(&self, bytes: &mut Vec<u8>) {
        match self {
            Self::Null => bytes.push(0xc0),
            Self::Unknown => bytes.extend([0xd4, 0, 0]),
            Self::Text(text) => {
                bytes.push(0xdb);
                bytes.extend(u32::try_from(text.len()).unwrap_or(u32::MAX).to_be_bytes());
                bytes.extend(text.as_bytes());
            }
            Self::Object(fields) => {
                bytes.push(0xde);
                bytes.extend(u16::try_from(fields.len()).unwrap_or(u16::MAX).to_be_bytes());
                for (name, value) in fields {
                    Self::Text(name.clone()).write(bytes);
                    value.write(bytes);
                }
            }
        }
    }
}

fn take<'b>(bytes: &mut &'b [u8], size: usize) -> Option<&'b [u8]> {
    let (taken, rest) = bytes.split_at_checked(size)?;
    *bytes = rest;
    Some(taken)
}
