//! What this process takes of the machine, as /proc says.

use std::fs;
use std::path::Path;
use std::time::Duration;

use serde::Serialize;

/// Clock ticks a second in /proc; Linux has had no other value for user space since 2.6.
const TICKS: u64 = 100;

/// Where the control groups are.
const GROUPS: &str = "/sys/fs/cgroup";

/// What the process takes now. `None` where the system does not say.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Process {
    /// Memory that is resident.
    pub resident_memory_bytes: Option<u64>,
    /// The least that the control groups it is in allow it; `None` without such a limit.
    pub memory_limit_bytes: Option<u64>,
    /// CPU time taken since the start, in user and system mode.
    pub cpu_seconds: Option<f64>,
    /// File descriptors open.
    pub open_fds: Option<u64>,
    /// File descriptors allowed.
    pub max_fds: Option<u64>,
    /// Threads.
    pub threads: Option<u64>,
}

impl Process {
    /// Reads it. Takes some tens of microseconds: for a scrape, not for a request.
    pub fn now() -> Self {
        let status = read("status");
        let field = |name: &str| number(status.as_deref()?, name);
        Self {
            resident_memory_bytes: field("VmRSS:").map(|kib| kib * 1024),
            memory_limit_bytes: read("cgroup").and_then(|groups| memory_limit(Path::new(GROUPS), &groups)),
            threads: field("Threads:"),
            cpu_seconds: cpu_seconds(),
            open_fds: fs::read_dir("/proc/self/fd").ok().map(|fds| fds.count() as u64),
            max_fds: read("limits").and_then(|limits| number(&limits, "Max open files")),
        }
    }
}

/// The CPU time alone.
pub(crate) fn cpu_seconds() -> Option<f64> {
    read("stat").and_then(|stat| cpu(&stat)).map(|cpu| cpu.as_secs_f64())
}

fn read(name: &str) -> Option<String> {
    fs::read_to_string(format!("/proc/self/{name}")).ok()
}

/// The first number of the line that begins with `name`.
fn number(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(name))?.split_whitespace().next()?.parse().ok()
}

/// The command in parentheses may hold spaces, so fields are counted after it: utime and stime are the 14th and 15th.
fn cpu(stat: &str) -> Option<Duration> {
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let ticks = fields.next()?.parse::<u64>().ok()? + fields.next()?.parse::<u64>().ok()?;
    Some(Duration::from_millis(ticks * 1000 / TICKS))
}

/// The least limit of memory on the way from the process's group up to `root`. A group without a limit says `max`.
fn memory_limit(root: &Path, groups: &str) -> Option<u64> {
    let own = groups.lines().find_map(|line| line.strip_prefix("0::/"))?;
    let own = root.join(own);
    let ways = own.ancestors().take_while(|group| group.starts_with(root));
    ways.filter_map(|group| fs::read_to_string(group.join("memory.max")).ok()?.trim().parse().ok()).min()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_seen() {
        let seen = Process::now();
        assert!(seen.resident_memory_bytes.unwrap() > 100_000);
        assert!(seen.open_fds.unwrap() >= 3 && seen.max_fds.unwrap() > 3);
        assert!(seen.threads.unwrap() >= 1 && seen.cpu_seconds.is_some());
    }

    #[test]
    fn the_narrowest_of_the_groups_limits_counts() {
        let root = std::env::temp_dir().join(format!("geminate-groups-{}", std::process::id()));
        let of = |groups: &str| memory_limit(&root, groups);
        fs::create_dir_all(root.join("a/b")).unwrap();
        assert_eq!(of("0::/a/b\n"), None, "nobody says anything");
        for (group, limit) in [("a", "1048576\n"), ("a/b", "max\n")] {
            fs::write(root.join(group).join("memory.max"), limit).unwrap();
        }
        assert_eq!(of("1:cpu:/x\n0::/a/b\n"), Some(1_048_576));
        fs::write(root.join("a/b/memory.max"), "4096").unwrap();
        assert_eq!(of("0::/a/b\n"), Some(4096));
        assert_eq!((of("0::/\n"), of("5:memory:/a\n"), of("")), (None, None, None));
        fs::remove_dir_all(&root).unwrap();
    }

    #[test]
    fn a_command_with_parentheses_does_not_shift_the_fields() {
        let stat = "7 (a) b (c) S 1 7 7 0 -1 4194560 1 0 0 0 250 50 0 0 20 0 1 0 1 2 3";
        assert_eq!(cpu(stat), Some(Duration::from_secs(3)));
    }
}
