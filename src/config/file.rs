//! The configuration's files on disk.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

/// By what a file is known to have changed; `None`: it is not there.
pub(super) type Mark = Option<(i64, i64, u64, u64)>;

/// The marks of these files, behind links.
pub(super) fn marks(files: &[PathBuf]) -> Vec<Mark> {
    let mark = |path: &PathBuf| {
        let file = fs::metadata(path).ok()?;
        Some((file.mtime(), file.mtime_nsec(), file.len(), file.ino()))
    };
    files.iter().map(mark).collect()
}

/// A file's text, where it is there and can be read.
pub(super) fn read(path: &Path) -> Option<String> {
    fs::read_to_string(path).ok()
}

/// Writes a file whole or not at all, with the rights that it had; a new one is its owner's alone. A link stays a link.
pub(super) fn write(path: &Path, text: &str) -> io::Result<()> {
    let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let temporary = dir.join(format!(".{name}.tmp"));
    let written =
        File::options().write(true).create(true).truncate(true).mode(0o600).open(&temporary).and_then(|mut file| {
            if let Ok(old) = fs::metadata(&path) {
                file.set_permissions(old.permissions())?;
            }
            file.write_all(text.as_bytes())?;
            file.sync_all()?;
            fs::rename(&temporary, &path)?;
            File::open(dir)?.sync_all()
        });
    if written.is_err() {
        // Nothing half-written stays behind.
        let _gone = fs::remove_file(&temporary);
    }
    written
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_link_stays_one_rights_stay_and_a_new_file_is_its_owners() {
        let dir = tempfile::tempdir().unwrap();
        let (real, link) = (dir.path().join("real.toml"), dir.path().join("config.toml"));
        write(&real, "a = 1\n").unwrap();
        assert_eq!(fs::metadata(&real).unwrap().permissions().mode() & 0o777, 0o600);
        fs::set_permissions(&real, fs::Permissions::from_mode(0o640)).unwrap();
        std::os::unix::fs::symlink(&real, &link).unwrap();
        let before = marks(std::slice::from_ref(&link));
        write(&link, "a = 22\n").unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink() && read(&real).as_deref() == Some("a = 22\n"));
        assert_eq!(fs::metadata(&real).unwrap().permissions().mode() & 0o777, 0o640);
        assert_ne!(marks(&[link]), before);
        assert!(write(Path::new("/dev/null/nowhere.toml"), "").is_err());
    }
}
