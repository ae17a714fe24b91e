//! Profiles kept below `DATA_DIR`: the last ones, each in both forms, its file's name saying what it is of.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::Serialize;
use tracing::warn;

use crate::telemetry::profile::form::Form;
use crate::telemetry::profile::sample::Stacks;

/// How many are kept.
const KEPT_MAX: usize = 10;
/// How a name begins.
const PREFIX: &str = "cpu-";
/// The time in it.
const TIME: &str = "%Y%m%dT%H%M%SZ";

/// The directory that they are in. It need not exist.
#[derive(Clone, Debug)]
pub struct Kept(PathBuf);

/// A profile that was kept.
#[derive(Clone, Debug, PartialEq, Serialize, utoipa::ToSchema)]
pub struct Profile {
    /// By which it is asked for.
    pub name: String,
    /// When it began.
    pub at: Timestamp,
    /// The CPU time that the process took before it, as a share of one core's.
    pub cpu_share: f64,
    /// How long it lasted.
    pub seconds: u64,
}

impl Kept {
    /// Those below `data_dir`.
    pub fn new(data_dir: &Path) -> Self {
        Self(data_dir.join("profiles"))
    }

    /// All of them, the newest first.
    pub fn list(&self) -> Vec<Profile> {
        let files = fs::read_dir(&self.0).into_iter().flatten().filter_map(Result::ok);
        let names = files.filter_map(|file| file.file_name().into_string().ok());
        let mut all: Vec<_> = names.filter_map(|name| Profile::named(name.strip_suffix(".pb")?)).collect();
        all.sort_by(|one, other| other.name.cmp(&one.name));
        all
    }

    /// The profile of this name in this form; `None` where there is none.
    pub fn read(&self, name: &str, form: Form) -> Option<Vec<u8>> {
        // Only a name that was made here can lead anywhere.
        let entry = Profile::named(name)?;
        fs::read(self.path(&entry.name, form)).ok()
    }

    /// Keeps one; the oldest go.
    pub(super) fn keep(&self, stacks: &Stacks, percent: f64) -> io::Result<String> {
        fs::create_dir_all(&self.0)?;
        let (at, seconds) = (stacks.span.began, stacks.span.lasted.as_secs());
        let name = format!("{PREFIX}{}-{percent:.0}-{seconds}", at.strftime(TIME));
        for form in [Form::Svg, Form::Pprof] {
            let written = stacks.write(form)?;
            let (path, unfinished) = (self.path(&name, form), self.0.join("unfinished"));
            fs::write(&unfinished, written)?;
            fs::rename(unfinished, path)?;
        }
        for old in self.list().into_iter().skip(KEPT_MAX) {
            for form in [Form::Pprof, Form::Svg] {
                if let Err(error) = fs::remove_file(self.path(&old.name, form)) {
                    warn!(%error, name = old.name, "an old profile could not be removed");
                }
            }
        }
        Ok(name)
    }

    fn path(&self, name: &str, form: Form) -> PathBuf {
        let kind = if form == Form::Svg { "svg" } else { "pb" };
        self.0.join(format!("{name}.{kind}"))
    }
}

impl Profile {
    /// What a name says; `None` of any that was not made here.
    fn named(name: &str) -> Option<Self> {
        let mut parts = name.strip_prefix(PREFIX)?.split('-');
        let (at, percent, seconds) = (parts.next()?, parts.next()?.parse::<u32>().ok()?, parts.next()?.parse().ok()?);
        let at = jiff::civil::DateTime::strptime(TIME, at).ok()?.to_zoned(TimeZone::UTC).ok()?.timestamp();
        let entry = Self { name: name.to_owned(), at, cpu_share: f64::from(percent) / 100.0, seconds };
        parts.next().is_none().then_some(entry)
    }
}

#[cfg(feature = "pprof")]
#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::telemetry::profile::sample::Span;

    #[test]
    fn the_last_ten_are_kept_and_found_by_their_names() {
        let dir = tempfile::TempDir::new().unwrap();
        let kept = Kept::new(dir.path());
        assert_eq!(kept.list(), []);
        for minute in 0..13 {
            let began = Timestamp::from_second(1_700_000_000 + minute * 600).unwrap();
            let stacks = Stacks { span: Span { began, lasted: Duration::from_secs(10) }, all: Vec::new() };
            kept.keep(&stacks, 134.6).unwrap();
        }
        let list = kept.list();
        assert_eq!((list.len(), fs::read_dir(dir.path().join("profiles")).unwrap().count()), (10, 20));
        assert_eq!(list[0].name, "cpu-20231115T001320Z-135-10");
        assert_eq!((list[0].at.as_second(), list[0].cpu_share, list[0].seconds), (1_700_007_200, 1.35, 10));
        assert!(kept.read(&list[9].name, Form::Svg).unwrap().starts_with(b"<?xml"));
        assert!(kept.read("cpu-20231114T221320Z-135-10", Form::Pprof).is_none(), "it had to go");
    }

    #[test]
    fn no_other_name_leads_to_a_file() {
        let dir = tempfile::TempDir::new().unwrap();
        fs::create_dir(dir.path().join("profiles")).unwrap();
        for name in ["../pool", "cpu-x", "cpu-20231115T001320Z-135-10/../../pool", "cpu-20231115T001320Z-1-1-1", ""] {
            fs::write(dir.path().join("pool.pb"), "x").unwrap();
            assert!(Kept::new(dir.path()).read(name, Form::Pprof).is_none(), "{name}");
        }
    }
}
