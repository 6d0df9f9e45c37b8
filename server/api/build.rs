//! Lists the built assets of the console, so that they are part of the program. They are checked in: this needs no Node.

use std::{
    env,
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

type Failure = Box<dyn std::error::Error>;

/// Where `npm run build` in clients/web leaves them.
const DIST: &str = "../../clients/web/dist";

fn main() -> Result<(), Failure> {
    let dist = Path::new(env!("CARGO_MANIFEST_DIR")).join(DIST).canonicalize()?;
    println!("cargo::rerun-if-changed={}", dist.display());
    let mut files = Vec::new();
    list(&dist, &mut files)?;
    files.sort();
    if !files.contains(&dist.join("index.html")) {
        return Err(format!("{} holds no index.html; run `npm ci && npm run build` in clients/web", dist.display()).into());
    }
    let mut text = String::from("pub(super) static FILES: &[File] = &[\n");
    for file in files.iter().filter(|file| !is_variant(file)) {
        let path = file.strip_prefix(&dist)?.to_str().ok_or("a name that is no text")?;
        let variant = |ending: &str| {
            let file = PathBuf::from(format!("{}.{ending}", file.display()));
            if file.exists() { format!("Some(include_bytes!({file:?}))") } else { "None".to_owned() }
        };
        let (brotli, gzip) = (variant("br"), variant("gz"));
        writeln!(text, "    File {{ path: \"/{path}\", plain: include_bytes!({file:?}), brotli: {brotli}, gzip: {gzip} }},")?;
    }
    text.push_str("];\n");
    fs::write(Path::new(&env::var("OUT_DIR")?).join("console.rs"), text)?;
    Ok(())
}

fn list(dir: &Path, into: &mut Vec<PathBuf>) -> Result<(), Failure> {
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.is_dir() { list(&path, into)? } else { into.push(path) }
    }
    Ok(())
}

/// A file that is the compressed form of another one.
fn is_variant(file: &Path) -> bool {
    matches!(file.extension().and_then(|ending| ending.to_str()), Some("br" | "gz"))
}
