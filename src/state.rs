//! State on disk: what must survive a restart, written whole or not at all.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

use serde::Serialize;
use serde::de::DeserializeOwned;
use tracing::warn;

/// A larger file is none of ours: a million resources take less.
const BYTES_MAX: u64 = 1 << 30;

/// One JSON file below `DATA_DIR`. Clones are the same file, which one of them writes at a time.
#[derive(Clone, Debug)]
pub struct StateFile {
    path: PathBuf,
    /// Held by whoever writes.
    pen: Arc<Mutex<()>>,
    /// Whether what was to be saved last could not be.
    failing: Arc<AtomicBool>,
}

impl StateFile {
    /// The file `name` in `dir`; neither need exist.
    pub fn new(dir: &Path, name: &str) -> Self {
        Self { path: dir.join(name), pen: Arc::default(), failing: Arc::default() }
    }

    /// What was saved last; `None` where nothing was. A file that cannot be read is set aside with a warning.
    pub fn load<T: DeserializeOwned>(&self) -> Option<T> {
        match self.read() {
            Ok(state) => Some(state),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                let aside = self.path.with_extension("corrupt");
                let moved = fs::rename(&self.path, &aside).is_ok();
                warn!(file = %self.path.display(), %error, set_aside = moved, "state on disk is corrupt: starting without it");
                None
            }
            Err(error) => {
                warn!(file = %self.path.display(), %error, "state on disk cannot be read: starting without it");
                None
            }
        }
    }

    /// The same by somebody who only looks: whatever is there stays as it is. `None` where nothing was saved.
    pub fn look<T: DeserializeOwned>(&self) -> io::Result<Option<T>> {
        match self.read() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            read => read.map(Some),
        }
    }

    fn read<T: DeserializeOwned>(&self) -> io::Result<T> {
        let file = File::open(&self.path)?;
        if file.metadata()?.len() > BYTES_MAX {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "it is too large"));
        }
        serde_json::from_reader(io::BufReader::new(file))
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
    }

    /// Saves what `make` gives, and gives it back: to a temporary file, synced, then renamed. Readable by the owner alone.
    /// It is made when nobody else writes, so that of two who save at once the later one's content stays.
    pub fn save<T: Serialize>(&self, make: impl FnOnce() -> T) -> io::Result<T> {
        let _pen = self.pen.lock().unwrap_or_else(PoisonError::into_inner);
        let state = make();
        let written = self.write(&state);
        self.failing.store(written.is_err(), Relaxed);
        written.map(|()| state)
    }

    /// Whether what was to be saved last could not be.
    pub fn is_failing(&self) -> bool {
        self.failing.load(Relaxed)
    }

    fn write<T: Serialize>(&self, state: &T) -> io::Result<()> {
        let dir = self.path.parent().unwrap_or(Path::new("."));
        fs::create_dir_all(dir)?;
        let temporary = self.path.with_extension("tmp");
        let mut options = File::options();
        options.write(true).create(true).truncate(true);
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = options.open(&temporary)?;
        file.write_all(&serde_json::to_vec(state)?)?;
        file.sync_all()?;
        fs::rename(&temporary, &self.path)?;
        File::open(dir)?.sync_all()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

    use super::*;

    #[test]
    fn what_was_saved_is_loaded_and_rubbish_is_set_aside() {
        let dir = tempfile::tempdir().unwrap();
        let file = StateFile::new(&dir.path().join("deep"), "pool.json");
        assert_eq!(file.load::<Vec<u32>>(), None);
        file.save(|| vec![1, 2]).unwrap();
        assert_eq!(file.load::<Vec<u32>>(), Some(vec![1, 2]));
        assert_eq!(file.look::<Vec<u32>>().unwrap(), Some(vec![1, 2]));
        fs::write(&file.path, "{rubbish").unwrap();
        assert!(file.look::<Vec<u32>>().is_err() && file.path.exists());
        assert_eq!(file.load::<Vec<u32>>(), None);
        assert!(file.path.with_extension("corrupt").exists() && !file.path.exists());
    }

    #[test]
    fn a_disk_that_cannot_be_written_is_an_error_not_a_panic() {
        let file = StateFile::new(Path::new("/dev/null/nowhere"), "pool.json");
        assert!(file.save(|| 1).is_err());
        assert_eq!(file.load::<u32>(), None);
    }

    #[test]
    fn of_those_who_save_at_once_each_succeeds_and_the_latest_content_stays() {
        let dir = tempfile::tempdir().unwrap();
        let (file, made) = (StateFile::new(dir.path(), "pool.json"), AtomicUsize::new(0));
        // Each content is shorter than the one before: what is left of a longer one would show.
        let content = || vec![0; 2_000 - made.fetch_add(1, Relaxed)];
        let write = |file: StateFile| (0..20).for_each(|_| drop(file.save(content).unwrap()));
        std::thread::scope(|scope| {
            for _ in 0..4 {
                let file = file.clone();
                scope.spawn(|| write(file));
            }
        });
        assert_eq!(file.load::<Vec<u32>>(), Some(vec![0; 2_001 - made.load(Relaxed)]));
    }
}
