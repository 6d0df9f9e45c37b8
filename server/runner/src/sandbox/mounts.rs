//! The file system that a program sees: the system's programs and libraries, read-only; its folder; a `/tmp`, `/proc` and `/dev`
//! of its own; nothing else. There is no home, no `/run`, no key of the runner and no folder of another run in it.

use std::{
    fs, io,
    os::unix::fs::{MetadataExt as _, symlink},
    path::{Component, Path, PathBuf},
};

use rustix::{
    mount::{MountFlags, MountPropagationFlags, UnmountFlags, mount, mount_bind_recursive, mount_change, mount_remount, unmount},
    process::{chdir, pivot_root},
};

/// Where programs and libraries are, on the distributions there are.
const SYSTEM: [&str; 8] = ["/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/nix/store", "/gnu/store"];
/// What programs need of `/etc`; what else is there may be a secret.
const ETC: [&str; 22] = [
    "alternatives",
    "ca-certificates",
    "ca-certificates.conf",
    "crypto-policies",
    "gai.conf",
    "group",
    "hosts",
    "ld.so.cache",
    "ld.so.conf",
    "ld.so.conf.d",
    "localtime",
    "mime.types",
    "nsswitch.conf",
    "os-release",
    "passwd",
    "pki/ca-trust",
    "pki/tls/certs",
    "protocols",
    "resolv.conf",
    "services",
    "ssl/certs",
    "ssl/openssl.cnf",
];
const DEVICES: [&str; 5] = ["null", "zero", "full", "random", "urandom"];

/// What a program may see.
pub(super) struct View<'a> {
    /// An empty folder to build the view in.
    pub root: &'a Path,
    /// The folder it works in.
    pub folder: &'a Path,
    /// What becomes its `/tmp`.
    pub tmp: &'a Path,
    /// What else it may read.
    pub readable: Vec<&'a Path>,
}

impl View<'_> {
    /// Builds the view. This process must be alone in its mount namespace and powerful in it.
    ///
    /// # Errors
    /// With what could not be done.
    pub fn build(&self) -> Result<(), String> {
        // Nothing that is mounted here is seen outside.
        let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
        mount_change("/", private).map_err(failed("mounts cannot be made private"))?;
        mount("tmpfs", self.root, "tmpfs", MountFlags::NOSUID | MountFlags::NODEV, c"mode=755,size=1m,nr_inodes=4096")
            .map_err(failed("no file system can be made"))?;
        let mut seen = Vec::new();
        for dir in SYSTEM {
            self.show(Path::new(dir), &mut seen)?;
        }
        for name in ETC {
            self.show(&Path::new("/etc").join(name), &mut seen)?;
        }
        self.devices()?;
        make_dir(&self.inside(Path::new("/proc")))?;

        // Outer folders first, so that none hides one inside of it.
        let tmp = Path::new("/tmp");
        let mut own: Vec<_> = self.readable.iter().map(|path| (*path, None)).collect();
        own.extend([(tmp, Some(self.tmp)), (self.folder, Some(self.folder))]);
        own.sort_unstable();
        for (path, writable) in own {
            match writable {
                None => self.show(path, &mut seen)?,
                Some(from) => {
                    self.bind(from, path)?;
                    seen.push((self.inside(path), MountFlags::empty()));
                }
            }
        }
        self.restrict(&seen)
    }

    /// Makes the view that was built the whole file system of this process, which is the first of its process namespace.
    ///
    /// # Errors
    /// With what could not be done.
    pub fn enter(&self) -> Result<(), String> {
        let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
        // Refused where a container hides parts of its own; programs then do without.
        let _ = mount("proc", self.inside(Path::new("/proc")), "proc", flags, None);
        let enter = || {
            chdir(self.root)?;
            // The old root is put over the new one and taken away from there (pivot_root(2)).
            pivot_root(".", ".")?;
            unmount(".", UnmountFlags::DETACH)?;
            mount_remount("/", MountFlags::BIND | MountFlags::RDONLY | MountFlags::NOSUID | MountFlags::NODEV, "")
        };
        enter().map_err(failed("the root cannot be changed"))
    }

    /// Shows a file or folder of the machine, if there is one, at its own place to be read; notes where.
    fn show(&self, path: &Path, seen: &mut Vec<(PathBuf, MountFlags)>) -> Result<(), String> {
        let Ok(target) = path.canonicalize() else { return Ok(()) };
        let to = self.inside(path);
        // Some of these are inside of others that are shown already.
        if same_file(&target, &to) {
            return Ok(());
        }
        let is_link = fs::symlink_metadata(path).is_ok_and(|file| file.is_symlink());
        if is_link && SYSTEM.iter().any(|dir| target.starts_with(dir)) {
            make_dir(to.parent().unwrap_or(self.root))?;
            return symlink(&target, &to).map_err(|error| format!("{} cannot be linked: {error}", path.display()));
        }
        self.bind(&target, path)?;
        seen.push((to, MountFlags::RDONLY));
        Ok(())
    }

    fn bind(&self, from: &Path, path: &Path) -> Result<(), String> {
        let to = self.inside(path);
        if from.is_dir() {
            make_dir(&to)?;
        } else {
            make_dir(to.parent().unwrap_or(self.root))?;
            fs::File::options()
                .create(true)
                .append(true)
                .open(&to)
                .map_err(|error| format!("{} has no place inside: {error}", path.display()))?;
        }
        mount_bind_recursive(from, &to).map_err(failed(&format!("{} cannot be shown", path.display())))
    }

    /// Forbids these on what is mounted at these places and below them, where the innermost place counts; what was forbidden stays
    /// so, as the kernel demands. The list of mounts is read once: the kernel takes its time for it.
    fn restrict(&self, seen: &[(PathBuf, MountFlags)]) -> Result<(), String> {
        let table = fs::read_to_string("/proc/self/mountinfo").map_err(|error| format!("mounts cannot be listed: {error}"))?;
        for (point, kept) in parse(&table) {
            let places = seen.iter().filter(|(place, _)| point.starts_with(place));
            let Some((_, flags)) = places.max_by_key(|(place, _)| place.as_os_str().len()) else { continue };
            let flags = MountFlags::BIND | MountFlags::NOSUID | MountFlags::NODEV | *flags | kept;
            mount_remount(&point, flags, "").map_err(failed(&format!("{} cannot be made safe", point.display())))?;
        }
        Ok(())
    }

    fn devices(&self) -> Result<(), String> {
        for name in DEVICES {
            let device = Path::new("/dev").join(name);
            self.bind(&device, &device)?;
        }
        let dev = self.inside(Path::new("/dev"));
        for (name, target) in [("fd", "fd"), ("stdin", "fd/0"), ("stdout", "fd/1"), ("stderr", "fd/2")] {
            symlink(Path::new("/proc/self").join(target), dev.join(name))
                .map_err(|error| format!("/dev cannot be made: {error}"))?;
        }
        Ok(())
    }

    /// Where a path of the machine is in the view while it is built.
    fn inside(&self, path: &Path) -> PathBuf {
        self.root.join(path.strip_prefix("/").unwrap_or(path))
    }
}

fn failed(what: &str) -> impl Fn(rustix::io::Errno) -> String {
    move |errno| format!("{what}: {}", io::Error::from(errno))
}

fn make_dir(dir: &Path) -> Result<(), String> {
    fs::create_dir_all(dir).map_err(|error| format!("{} cannot be made: {error}", dir.display()))
}

fn same_file(one: &Path, other: &Path) -> bool {
    let id = |path: &Path| fs::metadata(path).ok().map(|file| (file.dev(), file.ino()));
    id(one).is_some() && id(one) == id(other)
}

/// What is mounted where, outermost first, with the flags that forbid something.
fn parse(table: &str) -> Vec<(PathBuf, MountFlags)> {
    let mount = |line: &str| {
        let mut fields = line.split(' ').skip(4);
        let (point, options) = (fields.next()?, fields.next()?);
        let mut flags = MountFlags::empty();
        for option in options.split(',') {
            flags |= match option {
                "ro" => MountFlags::RDONLY,
                "nosuid" => MountFlags::NOSUID,
                "nodev" => MountFlags::NODEV,
                "noexec" => MountFlags::NOEXEC,
                _ => MountFlags::empty(),
            };
        }
        Some((unescaped(point), flags))
    };
    table.lines().filter_map(mount).collect()
}

/// Blanks, tabs, line ends and backslashes are written as three octal digits (proc_pid_mountinfo(5)).
fn unescaped(text: &str) -> PathBuf {
    [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")]
        .into_iter()
        .fold(text.to_owned(), |text, (escape, plain)| text.replace(escape, plain))
        .into()
}

/// Whether a path names one place from the root, without detours.
pub(super) fn is_plain(path: &Path) -> bool {
    path.is_absolute() && path.components().all(|part| matches!(part, Component::RootDir | Component::Normal(_)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounts_are_read_with_what_they_forbid() {
        let table = "26 1 254:0 / / rw,relatime - ext4 /dev/vda rw\n\
                     30 26 0:5 / /a\\040b ro,nosuid,nodev,noexec,relatime - tmpfs tmpfs rw\n";
        let mounts = parse(table);
        assert_eq!(mounts[0], ("/".into(), MountFlags::empty()));
        let all = MountFlags::RDONLY | MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
        assert_eq!(mounts[1], ("/a b".into(), all));
    }

    #[test]
    fn only_plain_paths_are_shown() {
        assert!(is_plain(Path::new("/var/lib/freehold")));
        for path in ["relative", "/var/../etc", ""] {
            assert!(!is_plain(Path::new(path)), "{path}");
        }
    }
}
