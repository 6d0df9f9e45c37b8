//! Archives as `git archive` makes them: a tarball in gzip (POSIX.1-2024, pax; RFC 1952). Read from front to end, in memory, with limits
//! on everything; nothing is written anywhere, and what is no plain file is told of and left alone.

use std::io::{self, Read};

use flate2::read::GzDecoder;
use freehold_domain::{blueprints::Folder, names::shown};
use tar::{Archive, Entry, EntryType, PaxExtensions};

use crate::{ConnectorError, ErrorKind};

/// Most bytes of an archive once it is unpacked, and most entries.
const MOST: Limits = Limits { bytes: 512 << 20, entries: 100_000 };
/// Most bytes of what is said of the next entry: names are much shorter.
const HEADER: u64 = 16 << 10;
/// Paths that lead out, of which an error tells.
const TOLD: usize = 20;

#[derive(Clone, Copy)]
struct Limits {
    bytes: u64,
    entries: usize,
}

/// Why an archive is refused.
enum Fault {
    /// It is no such archive, or ends too soon.
    Unreadable(String),
    /// It is more than is looked through.
    TooLarge(String),
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        Self::Unreadable(error.to_string())
    }
}

/// What is in these folders of an archive, in their order; an empty one is all of it. The one folder on top, which every archive has
/// and whose name means nothing, is left out of paths.
///
/// # Errors
/// `Permanent` when it is too large, cannot be read, or has paths that lead out of it: all of them are named.
pub(crate) fn folders(vendor: &str, archive: &[u8], wanted: &[String]) -> Result<Vec<Folder>, ConnectorError> {
    let refused = |why: String| ConnectorError::new(ErrorKind::Permanent, format!("the archive that {vendor} sent {why}"));
    match unpack(GzDecoder::new(archive), wanted, MOST) {
        Ok((folders, outside)) if outside.is_empty() => Ok(folders),
        Ok((_, outside)) => {
            let told: Vec<_> = outside.iter().take(TOLD).map(|path| format!("`{}`", shown(path))).collect();
            let more = if outside.len() > TOLD { format!(" and {} more", outside.len() - TOLD) } else { String::new() };
            Err(refused(format!("has paths that lead out of it, and is not used: {}{more}", told.join(", "))))
        }
        Err(Fault::Unreadable(why)) => Err(refused(format!("cannot be read: {why}"))),
        Err(Fault::TooLarge(what)) => Err(refused(format!("has more than {what}; name a smaller repository"))),
    }
}

/// Folders, and paths that lead out. What is said of entries is read here: the library would take it into memory whatever its size.
fn unpack(archive: impl Read, wanted: &[String], limits: Limits) -> Result<(Vec<Folder>, Vec<String>), Fault> {
    let mut archive = Archive::new(archive.take(limits.bytes));
    let mut folders = vec![Folder::default(); wanted.len()];
    let (mut outside, mut entries, mut named) = (Vec::new(), 0, None);
    for entry in archive.entries()?.raw(true) {
        let mut entry = entry?;
        entries += 1;
        if entries > limits.entries {
            return Err(Fault::TooLarge(format!("{} entries", limits.entries)));
        }
        if entry.raw_file_position().saturating_add(entry.size()) >= limits.bytes {
            return Err(Fault::TooLarge(format!("{} MiB", limits.bytes >> 20)));
        }
        match entry.header().entry_type() {
            EntryType::XHeader => named = path_of(&content(&mut entry, HEADER)?)?.or(named),
            EntryType::GNULongName => named = Some(text(trimmed(&content(&mut entry, HEADER)?))),
            // What is said of all entries, and where links lead, does not count.
            EntryType::XGlobalHeader | EntryType::GNULongLink => {}
            kind => {
                let path = named.take().unwrap_or_else(|| text(&entry.path_bytes()));
                let Some(inner) = below_top(&path) else {
                    outside.push(path);
                    continue;
                };
                let mut read = None;
                for (folder, wanted) in folders.iter_mut().zip(wanted) {
                    let Some(path) = below(inner, wanted).filter(|path| !Folder::leaves_out(path)) else { continue };
                    let size = entry.size();
                    match kind {
                        EntryType::Directory => {}
                        _ if path.contains('\u{fffd}') => {
                            folder.refused.push(format!("`{}` has a name that is not UTF-8; rename it", shown(path)));
                        }
                        EntryType::Regular | EntryType::Continuous => folder.take(path, size, || {
                            if read.is_none() {
                                read = Some(content(&mut entry, size)?);
                            }
                            Ok::<_, Fault>(read.clone().unwrap_or_default())
                        })?,
                        EntryType::Link | EntryType::Symlink => {
                            folder.refused.push(format!("`{}` is a link; put a file in its place", shown(path)));
                        }
                        _ => folder.refused.push(format!("`{}` is neither a file nor a folder; take it away", shown(path))),
                    }
                }
            }
        }
    }
    // What follows is no entry; the sum of all is checked at the very end.
    io::copy(&mut archive.into_inner(), &mut io::sink())?;
    Ok((folders, outside))
}

/// The content of an entry, which may have so many bytes.
fn content<R: Read>(entry: &mut Entry<'_, R>, most: u64) -> Result<Vec<u8>, Fault> {
    let size = entry.size();
    if size > most {
        return Err(Fault::Unreadable("a header is too long".to_owned()));
    }
    let mut content = Vec::new();
    entry.read_to_end(&mut content)?;
    if content.len() as u64 != size {
        return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
    }
    Ok(content)
}

/// A path without the folder on top; nothing of the folder itself. `None` when it leads out.
fn below_top(path: &str) -> Option<&str> {
    let clean = |part: &str| !matches!(part, "" | "." | "..") && !part.contains('\0');
    let path = path.strip_suffix('/').unwrap_or(path);
    path.split('/').all(clean).then(|| path.split_once('/').map_or("", |(_, inner)| inner))
}

/// A path inside of a folder.
fn below<'a>(path: &'a str, folder: &str) -> Option<&'a str> {
    let inner = if folder.is_empty() { path } else { path.strip_prefix(folder)?.strip_prefix('/')? };
    Some(inner).filter(|inner| !inner.is_empty())
}

/// The path that a header of pax gives to the next entry.
fn path_of(records: &[u8]) -> Result<Option<String>, Fault> {
    let mut path = None;
    for record in PaxExtensions::new(records) {
        let record = record?;
        if record.key_bytes() == b"path" {
            path = Some(text(record.value_bytes()));
        }
    }
    Ok(path)
}

/// A name; what is not UTF-8 in it is replaced.
fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A field up to its first zero.
fn trimmed(field: &[u8]) -> &[u8] {
    field.split(|byte| *byte == 0).next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use flate2::{Compression, write::GzEncoder};

    use super::*;

    const BLOCK: usize = 512;

    fn header(path: &str, kind: u8, size: usize) -> Vec<u8> {
        let mut header = [0; BLOCK];
        header[..path.len()].copy_from_slice(path.as_bytes());
        header[124..136].copy_from_slice(format!("{size:011o}\0").as_bytes());
        header[156] = kind;
        header[257..265].copy_from_slice(b"ustar\x0000");
        header[148..156].copy_from_slice(b"        ");
        let sum: u64 = header.iter().map(|byte| u64::from(*byte)).sum();
        header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        header.to_vec()
    }

    fn entry(path: &str, kind: u8, content: &[u8]) -> Vec<u8> {
        let mut bytes = header(path, kind, content.len());
        bytes.extend_from_slice(content);
        bytes.resize(bytes.len().next_multiple_of(BLOCK), 0);
        bytes
    }

    fn zipped(entries: &[Vec<u8>]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(&entries.concat()).expect("written");
        encoder.write_all(&[0; 2 * BLOCK]).expect("written");
        encoder.finish().expect("written")
    }

    fn read(entries: &[Vec<u8>], wanted: &[&str]) -> Result<Vec<Folder>, String> {
        let wanted: Vec<String> = wanted.iter().map(|folder| (*folder).to_owned()).collect();
        folders("GitHub", &zipped(entries), &wanted).map_err(|error| error.message)
    }

    fn paths(folder: &Folder) -> Vec<&str> {
        folder.files.iter().map(|file| file.path.as_str()).collect()
    }

    #[test]
    fn folders_are_read_as_git_writes_them() {
        let long = format!("shop-6dcb09b/web/{}/index.html", "d".repeat(120));
        let record = format!("path={long}\n");
        let length = record.len() + 4;
        let entries = [
            entry("pax_global_header", b'g', b"52 comment=6dcb09b5b57875f334f61aebed695e2e4193db5e\n"),
            entry("shop-6dcb09b/", b'5', b""),
            entry("shop-6dcb09b/README.md", b'0', b"# Shop\n"),
            entry("shop-6dcb09b/.github/ci.yml", b'0', b"on: push\n"),
            entry("shop-6dcb09b/link", b'2', b""),
            entry("shop-6dcb09b/web/", b'5', b""),
            entry("shop-6dcb09b/web/blueprint.yaml", b'0', &[b'x'; 700]),
            entry("shop-6dcb09b/web/secret.tfvars", b'0', b"password = 1\n"),
            entry("pax", b'x', format!("{length} {record}").as_bytes()),
            entry("shop-6dcb09b/web/dddd", b'0', b"<html>"),
            entry("shop-6dcb09b/website/other", b'0', b""),
        ];
        let found = read(&entries, &["web", "", "none"]).expect("three folders");
        let deep = format!("{}/index.html", "d".repeat(120));
        assert_eq!(paths(&found[0]), ["blueprint.yaml", deep.as_str()]);
        assert_eq!((found[0].files[0].content.len(), found[0].files[1].content.as_slice()), (700, &b"<html>"[..]));
        let all = ["README.md".to_owned(), "web/blueprint.yaml".to_owned(), format!("web/{deep}"), "website/other".to_owned()];
        assert_eq!(paths(&found[1]), all);
        assert_eq!(found[1].files[1], freehold_domain::blueprints::File { path: all[1].clone(), content: vec![b'x'; 700] });
        assert_eq!(found[1].refused, ["`link` is a link; put a file in its place"]);
        assert_eq!((found[0].refused.len(), found[2].count), (0, 0));
    }

    #[test]
    fn what_leads_out_or_is_no_file_is_named_and_never_read() {
        let entries = [
            entry("shop/ok", b'0', b"x"),
            entry("shop/../../etc/passwd", b'0', b"root::0:0"),
            entry("/etc/shadow", b'0', b"x"),
            entry("../up", b'2', b""),
            entry("shop//twice", b'0', b"x"),
        ];
        let refused = read(&entries, &["web"]).expect_err("hostile, wherever it is");
        for path in ["shop/../../etc/passwd", "/etc/shadow", "../up", "shop//twice"] {
            assert!(refused.contains(&format!("`{path}`")), "{refused}");
        }
        let entries = [entry("shop/hard", b'1', b""), entry("shop/disk", b'4', b""), entry("shop/pipe", b'6', b"")];
        assert_eq!(read(&entries, &[""]).expect("a folder")[0].refused.len(), 3);
    }

    #[test]
    fn nothing_makes_it_read_more_than_it_may() {
        let few = Limits { bytes: 64 << 10, entries: 20 };
        let unpacked = |bytes: &[u8]| match unpack(bytes, &[String::new()], few) {
            Ok((folders, _)) => format!("{} files", folders[0].count),
            Err(Fault::TooLarge(what)) => format!("more than {what}"),
            Err(Fault::Unreadable(why)) => why,
        };
        let many: Vec<u8> = (0..21).flat_map(|number| entry(&format!("shop/{number}"), b'0', b"")).collect();
        assert_eq!(unpacked(&many), "more than 20 entries");
        let large: Vec<u8> = (0..9).flat_map(|number| entry(&format!("shop/{number}"), b'0', &[b'x'; 8 << 10])).collect();
        assert_eq!(unpacked(&large), "more than 0 MiB");
        // A header may say what it wants: nothing is set aside for it.
        assert_eq!(unpacked(&header("shop/x", b'0', 4 << 30)), "more than 0 MiB");
        assert_eq!(unpacked(&header("pax", b'x', 65 << 10)), "more than 0 MiB");
        assert_eq!(unpacked(&header("pax", b'x', 17 << 10)), "a header is too long");
        assert_eq!(unpacked(&header("long", b'L', 17 << 10)), "a header is too long");
        let mut altered = entry("shop/x", b'0', b"");
        altered[0] ^= 1;
        assert!(unpacked(&altered).contains("checksum"));
        assert!(unpacked(&entry("pax", b'x', &[b'1'; 20])).contains("pax"));
        assert!(unpacked(&entry("shop/x", b'0', &[b'x'; 600])[..700]).contains("unexpected end"), "its content is cut");

        let good = zipped(&[entry("shop/x", b'0', &[b'x'; 5000])]);
        let cut = folders("GitHub", &good[..good.len() - 6], &[String::new()]).expect_err("cut");
        assert!(cut.message.contains("cannot be read"), "{cut}");
        let mut broken = good.clone();
        let at = broken.len() - 7;
        broken[at] ^= 1;
        assert!(folders("GitHub", &broken, &[String::new()]).is_err(), "its sum is another one");
        assert!(folders("GitHub", b"<html>", &[String::new()]).is_err());
    }
}
