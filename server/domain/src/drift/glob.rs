//! Patterns in which `*` stands for any text, also none, and `\` takes the meaning from what follows.

use crate::names::shown;

/// Characters of a pattern, at most.
const LONGEST: usize = 1024;

/// The pattern, if it is one.
pub fn checked(pattern: &str) -> Result<String, String> {
    if pattern.chars().count() > LONGEST {
        return Err(format!("at most {LONGEST} characters"));
    }
    if pattern.chars().any(char::is_control) {
        return Err(format!("`{}` has control characters, which are not allowed", shown(pattern)));
    }
    Ok(pattern.to_owned())
}

/// The pattern of this text alone.
pub(super) fn exactly(text: &str) -> String {
    text.replace('\\', "\\\\").replace('*', "\\*")
}

/// Whether all of the text is as the pattern says.
pub(super) fn matches(pattern: &str, text: &str) -> bool {
    let (pattern, text): (Vec<Piece>, Vec<char>) = (pieces(pattern), text.chars().collect());
    let (mut at, mut reached) = (0, 0);
    // Where to go on when what follows the last `*` does not fit: one character of the text further.
    let mut again: Option<(usize, usize)> = None;
    while reached < text.len() {
        match pattern.get(at) {
            Some(Piece::Any) => {
                again = Some((at + 1, reached));
                at += 1;
            }
            Some(Piece::One(wanted)) if *wanted == text[reached] => (at, reached) = (at + 1, reached + 1),
            _ => match &mut again {
                Some((from, taken)) => {
                    *taken += 1;
                    (at, reached) = (*from, *taken);
                }
                None => return false,
            },
        }
    }
    pattern[at..].iter().all(|piece| matches!(piece, Piece::Any))
}

enum Piece {
    Any,
    One(char),
}

fn pieces(pattern: &str) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let mut characters = pattern.chars();
    while let Some(character) = characters.next() {
        pieces.push(match character {
            '*' => Piece::Any,
            '\\' => Piece::One(characters.next().unwrap_or('\\')),
            other => Piece::One(other),
        });
    }
    pieces
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_star_is_any_text() {
        let table = [
            ("", "", true),
            ("", "a", false),
            ("*", "", true),
            ("*", "file.motd", true),
            ("file.*", "file.motd", true),
            ("file.*", "file", false),
            ("*.tags.*", "x.tags.owner", true),
            ("a*b*c", "axxbyybzc", true),
            ("a*b*c", "axxbyybz", false),
            ("x[\"\\*\"]", "x[\"*\"]", true),
            ("x[\"\\*\"]", "x[\"a\"]", false),
            ("\\\\", "\\", true),
        ];
        for (pattern, text, expected) in table {
            assert_eq!(matches(pattern, text), expected, "{pattern} {text}");
        }
    }

    proptest! {
        #[test]
        fn an_exact_pattern_is_its_text_and_no_other(text in "[a*\\\\b]{0,8}", other in "[a*\\\\b]{0,8}") {
            prop_assert_eq!(matches(&exactly(&text), &other), text == other);
        }
    }
}
