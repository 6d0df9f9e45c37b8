//! Where to connect and as whom: options, then the environment, then a profile of the configuration file.

use std::{
    collections::BTreeMap,
    env,
    path::{Path, PathBuf},
};

use freehold::{Client, Credentials};
use serde::Deserialize;

use crate::{GlobalArgs, failure::Failure};

/// What was found, each from the first place that says it.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Settings {
    pub(crate) endpoint: Option<String>,
    pub(crate) ca: Option<PathBuf>,
    pub(crate) cert: Option<PathBuf>,
    pub(crate) key: Option<PathBuf>,
    pub(crate) tenant: Option<String>,
    pub(crate) secret: Option<Secret>,
}

/// A token or an API key, whichever the first place that says one says.
#[derive(Clone, PartialEq)]
pub(crate) enum Secret {
    Token(String),
    ApiKey(String),
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Token(_) => "Token(hidden)",
            Self::ApiKey(_) => "ApiKey(hidden)",
        })
    }
}

/// The variables of the environment.
pub(crate) struct Environment(BTreeMap<String, String>);

impl Environment {
    /// Those of this process; empty ones count as not set.
    pub(crate) fn process() -> Self {
        Self(env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?))).collect())
    }

    fn get(&self, name: &str) -> Option<String> {
        self.0.get(name).filter(|value| !value.is_empty()).cloned()
    }
}

/// The configuration file.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    default_profile: Option<String>,
    #[serde(default)]
    profiles: BTreeMap<String, Profile>,
}

/// How to reach one installation.
#[derive(Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Profile {
    endpoint: Option<String>,
    ca: Option<PathBuf>,
    cert: Option<PathBuf>,
    key: Option<PathBuf>,
    tenant: Option<String>,
    token: Option<String>,
    api_key: Option<String>,
}

impl std::fmt::Debug for Profile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Profile").field("endpoint", &self.endpoint).field("tenant", &self.tenant).finish_non_exhaustive()
    }
}

/// Puts together what the places say.
pub(crate) fn settings(global: &GlobalArgs, environment: &Environment) -> Result<Settings, Failure> {
    let profile = profile(global, environment)?;
    let path = |flag: &Option<String>, name: &str, profile: Option<PathBuf>| {
        flag.clone().or_else(|| environment.get(name)).map(PathBuf::from).or(profile)
    };
    let text =
        |flag: &Option<String>, name: &str, profile: Option<String>| flag.clone().or_else(|| environment.get(name)).or(profile);
    let from_flags = secret("--token and an API key", global.token.clone(), None)?;
    let from_environment =
        secret("FREEHOLD_TOKEN and FREEHOLD_API_KEY", environment.get("FREEHOLD_TOKEN"), environment.get("FREEHOLD_API_KEY"));
    let secret = match from_flags {
        Some(secret) => Some(secret),
        None => from_environment?
            .map_or_else(|| secret("`token` and `api_key` of the profile", profile.token, profile.api_key), |s| Ok(Some(s)))?,
    };
    Ok(Settings {
        endpoint: text(&global.endpoint, "FREEHOLD_ENDPOINT", profile.endpoint),
        ca: path(&global.ca, "FREEHOLD_CA", profile.ca),
        cert: path(&global.cert, "FREEHOLD_CERT", profile.cert),
        key: path(&global.key, "FREEHOLD_KEY", profile.key),
        tenant: text(&global.tenant, "FREEHOLD_TENANT", profile.tenant),
        secret,
    })
}

fn secret(both: &str, token: Option<String>, api_key: Option<String>) -> Result<Option<Secret>, Failure> {
    match (token, api_key) {
        (Some(_), Some(_)) => Err(Failure::usage(format!("{both} are both set; keep one of them"))),
        (Some(token), None) => Ok(Some(Secret::Token(token))),
        (None, Some(key)) => Ok(Some(Secret::ApiKey(key))),
        (None, None) => Ok(None),
    }
}

/// The profile asked for, or the default one, or none.
fn profile(global: &GlobalArgs, environment: &Environment) -> Result<Profile, Failure> {
    let named_file = environment.get("FREEHOLD_CONFIG").map(PathBuf::from);
    let usual_file = || {
        let base = environment.get("XDG_CONFIG_HOME").map(PathBuf::from);
        base.or_else(|| environment.get("HOME").map(|home| Path::new(&home).join(".config")))
            .map(|dir| dir.join("freehold/config.toml"))
    };
    let wanted = global.profile.clone().or_else(|| environment.get("FREEHOLD_PROFILE"));
    let (path, must_exist) = match (named_file, usual_file()) {
        (Some(path), _) => (path, true),
        (None, Some(path)) => (path, wanted.is_some()),
        (None, None) => return Ok(Profile::default()),
    };
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && !must_exist => return Ok(Profile::default()),
        Err(error) => {
            return Err(Failure::usage(format!("cannot read {}: {error}; see `freehold --help` for its form", path.display())));
        }
    };
    let file: File =
        toml::from_str(&text).map_err(|error| Failure::usage(format!("{} is not right: {error}", path.display())))?;
    let Some(name) = wanted.or(file.default_profile) else { return Ok(Profile::default()) };
    let Some(mut profile) = file.profiles.get(&name).cloned() else {
        let known: Vec<_> = file.profiles.keys().map(String::as_str).collect();
        let known = if known.is_empty() { "it has none".to_owned() } else { format!("it has {}", known.join(", ")) };
        return Err(Failure::usage(format!("{} has no profile `{name}`; {known}", path.display())));
    };
    let dir = path.parent().unwrap_or(Path::new("."));
    for file in [&mut profile.ca, &mut profile.cert, &mut profile.key].into_iter().flatten() {
        *file = dir.join(&*file);
    }
    Ok(profile)
}

impl Settings {
    /// A client with these settings.
    pub(crate) async fn client(self) -> Result<Client, Failure> {
        let Some(endpoint) = self.endpoint else {
            return Err(Failure::usage(
                "no server is named; use --endpoint, FREEHOLD_ENDPOINT or a profile of the configuration file (see --help)",
            ));
        };
        let mut credentials = Credentials::new();
        if let Some(ca) = self.ca {
            credentials = credentials.ca_file(ca);
        }
        credentials = match (self.cert, self.key) {
            (Some(cert), Some(key)) => credentials.certificate_files(cert, key),
            (None, None) => credentials,
            (Some(_), None) => {
                return Err(Failure::usage("a client certificate is given without its key; use --key or FREEHOLD_KEY"));
            }
            (None, Some(_)) => {
                return Err(Failure::usage("a client key is given without its certificate; use --cert or FREEHOLD_CERT"));
            }
        };
        credentials = match self.secret {
            Some(Secret::Token(token)) => credentials.bearer_token(token),
            Some(Secret::ApiKey(key)) => credentials.api_key(key),
            None => credentials,
        };
        let mut builder = Client::builder(endpoint).credentials(credentials);
        if let Some(tenant) = self.tenant {
            builder = builder.tenant(tenant);
        }
        Ok(builder.build().await?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = r#"
        default_profile = "dev"
        [profiles.dev]
        endpoint = "https://dev"
        ca = "ca.pem"
        tenant = "profile"
        api_key = "profile-key"
        [profiles.prod]
        endpoint = "https://prod"
        cert = "/etc/client.pem"
    "#;

    struct Place(tempfile::TempDir);

    impl Place {
        fn new(file: &str) -> Self {
            let dir = tempfile::tempdir().expect("a directory");
            std::fs::write(dir.path().join("config.toml"), file).expect("a file");
            Self(dir)
        }

        fn environment(&self, pairs: &[(&str, &str)]) -> Environment {
            let config = self.0.path().join("config.toml").display().to_string();
            let all = pairs.iter().copied().chain([("FREEHOLD_CONFIG", config.as_str())]);
            Environment(all.map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
        }
    }

    fn text(value: &str) -> Option<String> {
        Some(value.to_owned())
    }

    #[test]
    fn an_option_wins_over_the_environment_and_that_over_the_profile() {
        let place = Place::new(FILE);
        let flag = GlobalArgs { tenant: text("flag"), ..Default::default() };
        let none = GlobalArgs::default();
        let table = [
            (&flag, &[("FREEHOLD_TENANT", "environment")][..], "flag"),
            (&flag, &[], "flag"),
            (&none, &[("FREEHOLD_TENANT", "environment")], "environment"),
            (&none, &[("FREEHOLD_TENANT", "")], "profile"),
            (&none, &[], "profile"),
        ];
        for (global, variables, tenant) in table {
            let found = settings(global, &place.environment(variables)).expect("settings");
            assert_eq!(found.tenant.as_deref(), Some(tenant), "{global:?} {variables:?}");
            assert_eq!(found.endpoint.as_deref(), Some("https://dev"));
            assert_eq!(found.ca, Some(place.0.path().join("ca.pem")), "paths of a profile are relative to its file");
        }
    }

    #[test]
    fn the_first_place_with_a_secret_decides_which_kind() {
        let place = Place::new(FILE);
        let flag = GlobalArgs { token: text("flag"), ..Default::default() };
        let found = |global: &GlobalArgs, variables: &[(&str, &str)]| {
            settings(global, &place.environment(variables)).map(|found| found.secret)
        };
        let key = [("FREEHOLD_API_KEY", "environment")];
        let both = [("FREEHOLD_API_KEY", "a"), ("FREEHOLD_TOKEN", "b")];
        let none = GlobalArgs::default();
        assert_eq!(found(&flag, &key).expect("settings"), Some(Secret::Token("flag".to_owned())));
        assert_eq!(found(&none, &key).expect("settings"), Some(Secret::ApiKey("environment".to_owned())));
        assert_eq!(found(&none, &[]).expect("settings"), Some(Secret::ApiKey("profile-key".to_owned())));
        assert!(found(&none, &both).expect_err("two secrets").to_string().contains("keep one"));
        assert!(found(&flag, &both).is_ok(), "what is not used cannot contradict itself");
    }

    #[test]
    fn a_profile_is_chosen_by_option_environment_or_default_and_must_exist() {
        let place = Place::new(FILE);
        let endpoint = |profile: Option<&str>, variables: &[(&str, &str)]| {
            let global = GlobalArgs { profile: profile.map(str::to_owned), ..Default::default() };
            settings(&global, &place.environment(variables)).map(|found| found.endpoint.unwrap_or_default())
        };
        assert_eq!(endpoint(Some("prod"), &[("FREEHOLD_PROFILE", "dev")]).expect("settings"), "https://prod");
        assert_eq!(endpoint(None, &[("FREEHOLD_PROFILE", "prod")]).expect("settings"), "https://prod");
        let error = endpoint(Some("none"), &[]).expect_err("no such profile").to_string();
        assert!(error.contains("no profile `none`; it has dev, prod"), "{error}");
        let error =
            settings(&GlobalArgs::default(), &Place::new("endpont = 1").environment(&[])).expect_err("a mistake").to_string();
        assert!(error.contains("endpont"), "{error}");
    }

    #[test]
    fn no_file_is_no_profile_unless_one_is_asked_for() {
        let home = tempfile::tempdir().expect("a directory");
        let environment = Environment(BTreeMap::from([("HOME".to_owned(), home.path().display().to_string())]));
        assert_eq!(settings(&GlobalArgs::default(), &environment).expect("settings"), Settings::default());
        assert!(settings(&GlobalArgs { profile: text("dev"), ..Default::default() }, &environment).is_err());
    }
}
