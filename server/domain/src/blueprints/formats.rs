//! What a string of a given `format` must look like.

use std::{net::IpAddr, str::FromStr};

use crate::{dependencies::OutputRef, names::Id};

/// The `format` of a string.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// A network, `10.0.0.0/16` or `fd00::/48`.
    Cidr,
    /// A span of time in one unit, `30s`, `5m`, `12h` or `7d`.
    Duration,
    /// An amount with a suffix as in Kubernetes, `512Mi`, `250m` or `2`.
    Quantity,
    /// The name of a secret, `secrets/db`.
    SecretRef,
    /// The name of a connection, `connections/aws`.
    ConnectionRef,
    /// An output of another deployment, `shop/dev/network#vpc_id`.
    DeploymentOutputRef,
}

impl Format {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Cidr, Self::Duration, Self::Quantity, Self::SecretRef, Self::ConnectionRef, Self::DeploymentOutputRef];

    /// Its name in a schema.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Cidr => "cidr",
            Self::Duration => "duration",
            Self::Quantity => "quantity",
            Self::SecretRef => "secret-ref",
            Self::ConnectionRef => "connection-ref",
            Self::DeploymentOutputRef => "deployment-output-ref",
        }
    }

    /// Checks a text.
    ///
    /// # Errors
    /// What it must be instead; the text itself is not repeated.
    pub fn check(self, text: &str) -> Result<(), String> {
        let (right, wanted) = match self {
            Self::Cidr => return cidr(text),
            Self::Duration => {
                (duration(text), "a whole number of seconds, minutes, hours or days such as `30s`, `5m`, `12h` or `7d`")
            }
            Self::Quantity => (quantity(text), "an amount such as `512Mi`, `1Gi`, `250m` or `2`"),
            Self::SecretRef => (resource(text, "secrets"), "the name of a secret such as `secrets/db`"),
            Self::ConnectionRef => (resource(text, "connections"), "the name of a connection such as `connections/aws`"),
            Self::DeploymentOutputRef => (
                text.parse::<OutputRef>().is_ok(),
                "an output `project/environment/deployment#output` such as `shop/dev/network#vpc_id`",
            ),
        };
        if right { Ok(()) } else { Err(format!("must be {wanted}")) }
    }
}

impl FromStr for Format {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        Self::ALL.into_iter().find(|format| format.as_str() == text).ok_or(())
    }
}

fn cidr(text: &str) -> Result<(), String> {
    let wrong = || "must be a network such as `10.0.0.0/16`".to_owned();
    let (address, length) = text.split_once('/').ok_or_else(wrong)?;
    let address: IpAddr = address.parse().map_err(|_| wrong())?;
    if length.is_empty() || length.len() > 3 || (length.len() > 1 && length.starts_with('0')) || !digits(length) {
        return Err(wrong());
    }
    let length: u32 = length.parse().map_err(|_| wrong())?;
    let (bits, width) = match address {
        IpAddr::V4(v4) => (u128::from(v4.to_bits()), 32),
        IpAddr::V6(v6) => (v6.to_bits(), 128),
    };
    if length > width {
        return Err(format!("must be a network whose prefix has at most {width} bits"));
    }
    let host = width - length;
    let mask = if host == 128 { u128::MAX } else { (1 << host) - 1 };
    if bits & mask != 0 {
        return Err(format!("must be a network: all bits after the first {length} must be zero"));
    }
    Ok(())
}

fn digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}

fn duration(text: &str) -> bool {
    text.strip_suffix(['s', 'm', 'h', 'd']).is_some_and(|number| digits(number) && number.len() <= 9)
}

fn quantity(text: &str) -> bool {
    const SUFFIXES: [&str; 12] = ["Ki", "Mi", "Gi", "Ti", "Pi", "m", "k", "M", "G", "T", "P", ""];
    let number = SUFFIXES.into_iter().find_map(|suffix| text.strip_suffix(suffix)).unwrap_or(text);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    digits(whole) && digits(fraction) && number.len() <= 18
}

/// `secrets/db`, or the same below a tenant, a project or an environment.
fn resource(text: &str, collection: &str) -> bool {
    const ABOVE: [&str; 3] = ["tenants", "projects", "environments"];
    let parts: Vec<&str> = text.split('/').collect();
    let pairs: Vec<&[&str]> = parts.chunks(2).collect();
    let Some((last, above)) = pairs.split_last() else { return false };
    let id = |pair: &[&str]| pair.len() == 2 && pair[1].parse::<Id>().is_ok();
    last[0] == collection
        && id(last)
        && above.len() <= ABOVE.len()
        && above.iter().zip(ABOVE).all(|(pair, expected)| pair[0] == expected && id(pair))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_format_knows_right_from_wrong() {
        let cases: [(Format, &[&str], &[&str]); 6] = [
            (
                Format::Cidr,
                &["10.0.0.0/8", "10.1.2.3/32", "0.0.0.0/0", "fd00::/48", "::/0"],
                &["10.0.0.0", "10.0.0.1/8", "10.0.0.0/33", "10.0.0/8", "fd00::1/48", "10.0.0.0/08", "10.0.0.0/+8", "/8", ""],
            ),
            (
                Format::Duration,
                &["30s", "5m", "12h", "7d", "0s"],
                &["30", "s", "1.5h", "-1s", "5 m", "1h30m", "1w", "9999999999s"],
            ),
            (Format::Quantity, &["512Mi", "1Gi", "250m", "2", "0.5"], &["Mi", "1.", ".5", "-1", "1 Gi", "1gi", "1e3", ""]),
            (
                Format::SecretRef,
                &["secrets/db", "tenants/acme/secrets/db", "tenants/acme/projects/shop/secrets/db"],
                &["db", "secrets/", "secrets/DB", "connections/db", "projects/shop/secrets/db", "secrets/db/secrets/db"],
            ),
            (Format::ConnectionRef, &["connections/aws"], &["secrets/aws", "connections"]),
            (
                Format::DeploymentOutputRef,
                &["shop/dev/network#vpc_id"],
                &["shop/dev/network", "shop/network#vpc", "shop/dev/network#", "shop/dev/network#Vpc", "a/b/c/d#e"],
            ),
        ];
        for (format, right, wrong) in cases {
            for text in right {
                assert_eq!(format.check(text), Ok(()), "{format:?} {text}");
            }
            for text in wrong {
                assert!(format.check(text).is_err(), "{format:?} {text}");
            }
        }
    }
}
