//! Where people find resources in the console.

use std::str::FromStr;

use url::Url;

/// The console of an installation, by the address that people reach it at; by default nobody does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Console(Option<String>);

/// Collections that have pages of their own, and what those are called there, from a tenant down.
const PAGES: [(&str, &str); 8] = [
    ("tenants", "t"),
    ("projects", "p"),
    ("environments", "e"),
    ("deployments", "d"),
    ("runs", "runs"),
    ("blueprints", "blueprints"),
    ("connections", "connections"),
    ("webhookEndpoints", "webhooks"),
];

impl Console {
    /// The page of a resource, or of the nearest one above it that has a page; `None` without an address, or when no page is about it.
    pub fn link(&self, resource: &str) -> Option<String> {
        let mut link = self.0.clone()?;
        let mut segments = resource.split('/');
        let begins = link.len();
        while let (Some(collection), Some(id)) = (segments.next(), segments.next()) {
            let Some((_, page)) = PAGES.iter().find(|(name, _)| *name == collection) else { break };
            link += &format!("/{page}/{id}");
        }
        (link.len() > begins).then_some(link)
    }
}

impl FromStr for Console {
    type Err = &'static str;

    /// Reads an origin: `https://freehold.example`, with a port or without.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = "give an origin, such as https://freehold.example: a scheme (https, or http), a host, perhaps a port, and nothing else";
        let url = Url::parse(text).map_err(|_| wrong)?;
        let origin = url.origin().ascii_serialization();
        // Whatever else is in it is seen by writing it again.
        let is_bare = url.as_str().strip_suffix('/') == Some(&origin);
        if is_bare && matches!(url.scheme(), "https" | "http") { Ok(Self(Some(origin))) } else { Err(wrong) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_leads_to_the_page_of_a_resource_or_of_what_is_above_it() {
        let console: Console = "https://freehold.example:7444/".parse().expect("an origin");
        let links = [
            ("tenants/acme", Some("/t/acme")),
            ("tenants/acme/projects/shop/environments/dev", Some("/t/acme/p/shop/e/dev")),
            ("tenants/acme/projects/shop/environments/dev/deployments/web/runs/7", Some("/t/acme/p/shop/e/dev/d/web/runs/7")),
            ("tenants/acme/webhookEndpoints/ci", Some("/t/acme/webhooks/ci")),
            ("tenants/acme/blueprints/web/versions/1.0.0", Some("/t/acme/blueprints/web")),
            ("tenants/acme/users/ada", Some("/t/acme")),
            ("runnerPools/default/runners/r1", None),
        ];
        for (resource, path) in links {
            assert_eq!(console.link(resource), path.map(|path| format!("https://freehold.example:7444{path}")), "{resource}");
        }
        assert_eq!(Console::default().link("tenants/acme"), None, "nobody said where it is");
    }

    #[test]
    fn an_address_is_an_origin() {
        for wrong in [
            "",
            "freehold.example",
            "https://",
            "https://:1",
            "https://a/b",
            "https://a?b",
            "ftp://a",
            "https://a@b",
            "https://a b",
        ] {
            assert!(wrong.parse::<Console>().is_err(), "{wrong}");
        }
        assert!("http://[::1]:7444".parse::<Console>().is_ok());
    }
}
