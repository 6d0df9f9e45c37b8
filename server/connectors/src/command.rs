//! What people ask Freehold to do, in the words that they type into other systems.

/// A command that somebody has typed. Whether that person may is for the caller to see.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    /// What to do.
    pub verb: Verb,
    /// To what, in the order in which it was typed.
    pub arguments: Vec<String>,
    /// Options of the form `--name=value` and `--name`.
    pub options: Vec<(String, Option<String>)>,
}

/// What can be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// Plan a change.
    Plan,
    /// Apply what was planned.
    Apply,
    /// Approve a plan.
    Approve,
    /// Reject a plan.
    Reject,
    /// Break a lock.
    Unlock,
    /// Say how things are.
    Status,
    /// Let nothing change.
    Freeze,
    /// Say what can be asked for; also the answer to what is not understood.
    Help,
}

impl Verb {
    /// All of them.
    pub const ALL: [Self; 8] =
        [Self::Plan, Self::Apply, Self::Approve, Self::Reject, Self::Unlock, Self::Status, Self::Freeze, Self::Help];

    /// The word that is typed.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Plan => "plan",
            Self::Apply => "apply",
            Self::Approve => "approve",
            Self::Reject => "reject",
            Self::Unlock => "unlock",
            Self::Status => "status",
            Self::Freeze => "freeze",
            Self::Help => "help",
        }
    }
}

/// The word that a command in a comment begins with.
const PREFIX: &str = "/freehold";

impl Command {
    /// What follows the name of Freehold. A word that is not known asks for help.
    pub fn parse(text: &str) -> Self {
        let mut words = text.split_whitespace();
        let word = words.next().unwrap_or_default().to_lowercase();
        let verb = Verb::ALL.into_iter().find(|verb| verb.as_str() == word).unwrap_or(Verb::Help);
        let (mut arguments, mut options) = (Vec::new(), Vec::new());
        for word in words {
            match word.strip_prefix("--").filter(|option| !option.is_empty()) {
                Some(option) => match option.split_once('=') {
                    Some((name, value)) => options.push((name.to_owned(), Some(value.to_owned()))),
                    None => options.push((option.to_owned(), None)),
                },
                None => arguments.push(word.to_owned()),
            }
        }
        Self { verb, arguments, options }
    }

    /// The first line of a comment that begins with `/freehold`. What is quoted or inside of a block of code is somebody else's
    /// word.
    pub fn in_comment(text: &str) -> Option<Self> {
        let mut fenced = false;
        for line in text.lines() {
            if line.trim_start().starts_with("```") || line.trim_start().starts_with("~~~") {
                fenced = !fenced;
                continue;
            }
            let indented = line.starts_with("    ") || line.starts_with('\t');
            let rest = line.trim().strip_prefix(PREFIX).filter(|rest| rest.is_empty() || rest.starts_with(char::is_whitespace));
            if let Some(rest) = rest.filter(|_| !fenced && !indented) {
                return Some(Self::parse(rest));
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_a_line_of_a_comment() {
        let cases = [
            ("/freehold plan", Some((Verb::Plan, vec![], vec![]))),
            (
                "Looks good.\r\n/freehold  APPLY shop/dev/app --wait\r\nThanks",
                Some((Verb::Apply, vec!["shop/dev/app"], vec![("wait", None)])),
            ),
            ("/freehold approve --digest=sha256:ab", Some((Verb::Approve, vec![], vec![("digest", Some("sha256:ab"))]))),
            ("/freehold unlock", Some((Verb::Unlock, vec![], vec![]))),
            ("/freehold", Some((Verb::Help, vec![], vec![]))),
            ("/freehold destroy-everything", Some((Verb::Help, vec![], vec![]))),
            ("/freeholder plan", None),
            ("> /freehold apply", None),
            ("please /freehold apply", None),
            ("```\n/freehold apply\n```", None),
            ("    /freehold apply", None),
            ("", None),
        ];
        for (text, expected) in cases {
            let expected = expected.map(|(verb, arguments, options)| Command {
                verb,
                arguments: arguments.into_iter().map(str::to_owned).collect(),
                options: options.into_iter().map(|(name, value)| (name.to_owned(), value.map(str::to_owned))).collect(),
            });
            assert_eq!(Command::in_comment(text), expected, "{text}");
        }
    }
}
