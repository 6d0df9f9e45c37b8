//! Which version a change may be published as.

use semver::Version;

use super::diff::{Change, Impact};

impl Impact {
    /// The impact of all changes together; the least when there are none.
    pub fn of(changes: &[Change]) -> Self {
        changes.iter().map(|change| change.impact).max().unwrap_or(Self::Patch)
    }
}

/// The least version after `previous` that a change of this impact may have.
///
/// Before 1.0.0 the second number stands for the first: `0.2.3` becomes `0.3.0` for a major change and `0.2.4` for any other. A
/// pre-release promises nothing, so that any change fits into the version that it leads to.
pub fn required_version(previous: &Version, impact: Impact) -> Version {
    let Version { major, minor, patch, .. } = *previous;
    if !previous.pre.is_empty() {
        return Version::new(major, minor, patch);
    }
    match (impact, major) {
        (Impact::Major, 0) | (Impact::Minor, 1..) => Version::new(major, minor.saturating_add(1), 0),
        (Impact::Major, _) => Version::new(major.saturating_add(1), 0, 0),
        (Impact::Minor, 0) | (Impact::Patch, _) => Version::new(major, minor, patch.saturating_add(1)),
    }
}

/// Whether `new` may follow `previous`, the highest version so far, with changes of this impact. Anything may be the first.
/// A pre-release is judged by the version that it leads to.
///
/// # Errors
/// The least version that may.
pub fn check_step(previous: Option<&Version>, new: &Version, impact: Impact) -> Result<(), Version> {
    let Some(previous) = previous else { return Ok(()) };
    let required = required_version(previous, impact);
    let core = Version::new(new.major, new.minor, new.patch);
    if core >= required && new.cmp_precedence(previous).is_gt() { Ok(()) } else { Err(required) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(text: &str) -> Version {
        text.parse().expect("a version")
    }

    #[test]
    fn the_step_must_be_as_large_as_the_change() {
        use Impact::{Major, Minor, Patch};
        let cases = [
            ("1.4.2", Patch, "1.4.3"),
            ("1.4.2", Minor, "1.5.0"),
            ("1.4.2", Major, "2.0.0"),
            ("0.4.2", Patch, "0.4.3"),
            ("0.4.2", Minor, "0.4.3"),
            ("0.4.2", Major, "0.5.0"),
            ("2.0.0-rc.1", Major, "2.0.0"),
            ("1.4.2+build", Patch, "1.4.3"),
        ];
        for (previous, impact, expected) in cases {
            assert_eq!(required_version(&version(previous), impact), version(expected), "{previous} {impact:?}");
            assert_eq!(check_step(Some(&version(previous)), &version(expected), impact), Ok(()));
            assert_eq!(check_step(Some(&version(previous)), &version(previous), impact), Err(version(expected)));
        }
        let from = version("1.4.2");
        assert_eq!(check_step(Some(&from), &version("1.4.9"), Minor), Err(version("1.5.0")));
        assert_eq!(check_step(Some(&from), &version("3.0.0"), Patch), Ok(()), "a larger step is always right");
        assert_eq!(check_step(Some(&from), &version("2.0.0-rc.1"), Major), Ok(()));
        assert_eq!(check_step(Some(&from), &version("1.5.0-rc.1"), Major), Err(version("2.0.0")));
        assert_eq!(check_step(Some(&version("2.0.0-rc.2")), &version("2.0.0-rc.1"), Patch), Err(version("2.0.0")));
        assert_eq!(check_step(Some(&version("2.0.0-rc.1")), &version("2.0.0-rc.2"), Major), Ok(()));
        assert_eq!(check_step(None, &version("0.1.0"), Major), Ok(()));
    }
}
