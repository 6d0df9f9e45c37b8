//! The content digest of a blueprint.

use ring::digest::{Context, SHA256};

use super::files::Files;

/// Begins every encoding, so that another encoding never gives the same digest.
const DOMAIN: &[u8] = b"freehold.blueprint.v1\0";

/// The digest of the files, `sha256:` and 64 hexadecimal digits.
///
/// Over each file in the order of its path: length of the path, path, length of the content, content; lengths are 64 bits,
/// big-endian. Paths that differ, and bytes that move from one file to the next, therefore give another digest.
pub fn digest(files: &Files) -> String {
    let mut hash = Context::new(&SHA256);
    hash.update(DOMAIN);
    for (path, content) in files.iter() {
        for part in [path.as_bytes(), content] {
            hash.update(&(part.len() as u64).to_be_bytes());
            hash.update(part);
        }
    }
    render(hash)
}

/// The digest of one file's bytes alone, in the same form.
pub(super) fn content_digest(content: &[u8]) -> String {
    let mut hash = Context::new(&SHA256);
    hash.update(content);
    render(hash)
}

fn render(hash: Context) -> String {
    let hex: String = hash.finish().as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::blueprints::File;

    fn of(files: &[(&str, &str)]) -> String {
        let files = files.iter().map(|(path, text)| File { path: (*path).to_owned(), content: text.as_bytes().to_vec() });
        digest(&Files::new(files.collect()).expect("paths are right"))
    }

    #[test]
    fn it_depends_on_paths_and_bytes_and_not_on_the_order() {
        let one = of(&[("a", "1"), ("b", "2")]);
        assert_eq!(one, of(&[("b", "2"), ("a", "1")]));
        for other in [of(&[]), of(&[("a", "1")]), of(&[("a", "12"), ("b", "")]), of(&[("a", "2"), ("b", "1")])] {
            assert_ne!(one, other);
        }
    }

    #[test]
    fn its_form_never_changes() {
        let expected = "sha256:3560cd428d262958555076b9b92909656dc61a72b3756415a50e49463d021c7e";
        assert_eq!(of(&[("a", "1")]), expected, "published digests are compared for ever");
    }
}
