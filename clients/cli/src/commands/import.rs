//! `freehold import`

use std::{
    fs,
    path::{Path, PathBuf},
};

use clap::{Args, Subcommand};
use freehold::{BlueprintVersion, Client, Deployment, DeploymentState};
use serde_json::{Map, Value};

use super::Patience;
use crate::{
    failure::Failure,
    follow::expect_nothing_to_do,
    input::{DOCUMENT, pair},
    screen::Screen,
    terraform::{Adopted, RootModule},
};

/// What can be brought under the care of Freehold.
#[derive(Subcommand, Clone, Debug)]
pub enum ImportCommand {
    /// Makes a blueprint and a deployment of a root module of Terraform or OpenTofu with its state, and plans: the plan must be empty.
    /// Nothing real is changed
    Terraform(Terraform),
}

/// A root module to import.
#[derive(Args, Clone, Debug)]
pub struct Terraform {
    /// The directory with its .tf files; blueprint.yaml is written beside them
    dir: PathBuf,
    /// The deployment to make: shop/dev/web
    name: String,
    /// The blueprint version to make; that of the deployment's own name, 1.0.0, if not given
    #[arg(long, value_name = "VERSION")]
    blueprint: Option<String>,
    /// The state, or - for standard input; terraform.tfstate of the directory if not given. Of another backend write it with
    /// `terraform state pull`
    #[arg(long, value_name = "FILE")]
    state: Option<PathBuf>,
    /// Value of a variable, over those of terraform.tfvars and *.auto.tfvars; can be given several times
    #[arg(long = "var", value_name = "NAME=VALUE", value_parser = pair)]
    vars: Vec<(String, String)>,
    /// File with values of variables, over the files of the directory; can be given several times
    #[arg(long = "var-file", value_name = "FILE")]
    var_files: Vec<PathBuf>,
    #[command(flatten)]
    patience: Patience,
}

impl ImportCommand {
    pub(crate) async fn run(self, client: &Client, screen: &mut Screen) -> Result<(), Failure> {
        let Self::Terraform(import) = self;
        import.run(client, screen).await
    }
}

impl Terraform {
    async fn run(self, client: &Client, screen: &mut Screen) -> Result<(), Failure> {
        // Everything that can be wrong here is found before anything is made there.
        let module = RootModule::read(&self.dir)?;
        let state = module.state(self.state.as_deref())?;
        let adopted = module.adopt(&self.var_files, &self.vars)?;
        let own = self.name.rsplit('/').next().unwrap_or(&self.name);
        let version = self.blueprint.clone().unwrap_or_else(|| format!("{own}@1.0.0"));
        let Some((blueprint, _)) = version.split_once('@') else {
            return Err(Failure::usage(format!("`{version}` is no version; write it as {version}@1.0.0")));
        };
        keep(&self.dir, &adopted)?;

        publish(client, blueprint, &version, &adopted).await?;
        screen.note(&format!("blueprint {version} is published"));
        deploy(client, &self.name, &version, adopted.inputs).await?;
        let written = client.state().import(&self.name, state).send().await?;
        let resources = written.addresses.len();
        screen.note(&format!("deployment {} has the state, with {resources} resources", self.name));

        // Not only a look: an empty one of this kind confirms that what is there is what is wanted.
        let run = client.runs().plan(&self.name).message("import of a module of Terraform").send().await?;
        let run = expect_nothing_to_do(run, self.patience, screen).await?;
        let name = &self.name;
        screen.text(run.run(), || {
            format!("The plan is empty. {name} manages {resources} resources from now on; change them there and nowhere else.\n")
        })
    }
}

/// Writes the document beside the module, which is the folder of the blueprint from now on.
fn keep(dir: &Path, adopted: &Adopted) -> Result<(), Failure> {
    let path = dir.join(DOCUMENT);
    match fs::read(&path) {
        Ok(there) if there == adopted.document() => Ok(()),
        Ok(_) => Err(Failure::usage(format!(
            "{} is there already, and is not what the variables of the module make of it; move it away, or publish it with `freehold \
             blueprint push`, create the deployment, and give it the state with `freehold state push`",
            path.display()
        ))),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            fs::write(&path, adopted.document()).map_err(|error| Failure::usage(format!("{}: {error}", path.display())))
        }
        Err(error) => Err(Failure::usage(format!("{}: {error}", path.display()))),
    }
}

/// Publishes the files, unless a try before this one has.
async fn publish(client: &Client, blueprint: &str, version: &str, adopted: &Adopted) -> Result<BlueprintVersion, Failure> {
    let blueprints = client.blueprints();
    match blueprints.get_version(version).send().await {
        Ok(there) if there.files == adopted.files => return Ok(there),
        Ok(_) => {
            let why = format!("{version} is published already, with other files; choose another version with --blueprint");
            return Err(Failure::Found(why));
        }
        Err(error) if error.is_not_found() => {}
        Err(error) => return Err(error.into()),
    }
    match blueprints.create(blueprint).send().await {
        Err(error) if !error.is_already_exists() => return Err(error.into()),
        _ => {}
    }
    let etag = blueprints.get_draft(blueprint).send().await.map(|draft| draft.etag);
    let etag = etag.or_else(|error| if error.is_not_found() { Ok(String::new()) } else { Err(error) })?;
    let draft = blueprints.write_draft(blueprint, adopted.files.clone()).etag(etag).send().await?.blueprint_draft;
    Ok(blueprints.publish(version, draft.etag).notes("Imported from Terraform").send().await?)
}

/// Creates the deployment, unless a try before this one has.
async fn deploy(client: &Client, name: &str, version: &str, inputs: Map<String, Value>) -> Result<Deployment, Failure> {
    let mut request = client.deployments().create(name, version);
    for (input, value) in inputs {
        request = request.input(input, value);
    }
    let refused = match request.send().await {
        Ok(made) => return Ok(made),
        Err(error) if error.is_already_exists() => error,
        Err(error) => return Err(error.into()),
    };
    let there = client.deployments().get(name).send().await?;
    let is_ours = there.observed_revision == 0 && there.blueprint_version.ends_with(&version.replace('@', "/versions/"));
    if is_ours && there.state != DeploymentState::Active { Ok(there) } else { Err(refused.into()) }
}
