//! The law of the house: who may name whom, how long things are, what they are called, where foreign crates stand.
#![expect(clippy::unwrap_used, reason = "a panic is how a test fails, in what it is helped by as well")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

const FILE_LINES_MAX: usize = 400;
const FUNCTION_LINES_MAX: usize = 70;
/// Drawers: names of files that say nothing of what is in them.
const DRAWERS: [&str; 7] = ["utils", "util", "common", "helpers", "helper", "manager", "handler"];
/// Where a path of a machine begins.
const MACHINE: [&str; 3] = ["work", "root", "home"];

/// One foreign system, one place: the modules (with all below them) that may name a crate.
const PLACES: [(&str, &[&str]); 30] = [
    ("aho_corasick", &["scrub"]),
    ("async_trait", &["telemetry::traces"]),
    ("boxcar", &["pool"]),
    ("clap", &["command"]),
    ("config", &["config"]),
    ("dotenvy", &["config"]),
    ("governor", &["client"]),
    ("hdrhistogram", &["telemetry", "command"]),
    ("inferno", &["telemetry::profile"]),
    ("ipnet", &["settings"]),
    ("jsonwebtoken", &["client", "command::token"]),
    ("metrics", &["telemetry"]),
    ("metrics_exporter_prometheus", &["telemetry"]),
    ("moka", &["affinity", "client", "layer::remember"]),
    ("opentelemetry", &["telemetry::traces"]),
    ("opentelemetry_http", &["telemetry::traces"]),
    ("opentelemetry_otlp", &["telemetry::traces"]),
    ("opentelemetry_sdk", &["telemetry::traces"]),
    ("pprof", &["telemetry::profile"]),
    // The body of an answer stays reqwest's from the upstream to the relay, so that no chunk is boxed twice.
    ("reqwest", &["upstream", "relay", "layer::lease", "command", "telemetry::traces"]),
    ("rlimit", &["server", "command"]),
    ("rustix", &["command"]),
    ("similar", &["config"]),
    ("serde_path_to_error", &["admin"]),
    ("sd_notify", &["server", "tasks"]),
    ("tokio_tungstenite", &["live", "mock"]),
    ("toml_edit", &["config"]),
    ("tower_http", &["layer::cors", "gateway", "admin"]),
    ("tracing_subscriber", &["telemetry"]),
    ("webpki_root_certs", &["upstream"]),
];

/// One file of Rust.
struct Source {
    path: PathBuf,
    text: String,
    /// The text with its comments, strings and characters blanked out.
    bare: String,
}

/// The modules below `src`, each with its children in their order; the crate itself is the empty path.
struct Tree {
    sources: Vec<(Vec<String>, Source)>,
    children: BTreeMap<Vec<String>, Vec<String>>,
}

fn sources(dir: &str) -> Vec<Source> {
    let mut found = Vec::new();
    let mut left = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join(dir)];
    while let Some(dir) = left.pop() {
        for entry in fs::read_dir(&dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                left.push(path);
            } else if path.extension().is_some_and(|kind| kind == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                found.push(Source { bare: bare(&text), path, text });
            }
        }
    }
    assert!(!found.is_empty(), "{dir}");
    found
}

fn everything() -> impl Iterator<Item = Source> {
    ["src", "tests", "benches"].into_iter().flat_map(sources)
}

/// Blanks out what is no code, and keeps the lines.
fn bare(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let (mut out, mut at) = (String::with_capacity(text.len()), 0);
    while at < chars.len() {
        let len = blank(&chars[at..], at > 0 && (chars[at - 1].is_alphanumeric() || chars[at - 1] == '_'));
        if len == 0 {
            out.push(chars[at]);
        }
        out.extend(chars[at..at + len].iter().filter(|c| **c == '\n'));
        at += len.max(1);
    }
    out
}

/// How many characters from here on are a comment or a literal.
fn blank(rest: &[char], in_word: bool) -> usize {
    let starts = |text: &str| text.chars().enumerate().all(|(n, c)| rest.get(n) == Some(&c));
    let until = |from: usize, end: &str| {
        let end: Vec<char> = end.chars().collect();
        (from..rest.len()).find(|n| rest[*n..].starts_with(&end)).map_or(rest.len(), |n| n + end.len())
    };
    match rest {
        ['/', '/', ..] => until(2, "\n") - 1,
        ['r', hashes @ ..] if !in_word && (starts("r\"") || starts("r#\"") || starts("r##\"")) => {
            let count = hashes.iter().take_while(|c| **c == '#').count();
            until(count + 2, &format!("\"{}", "#".repeat(count)))
        }
        ['"', ..] => {
            let mut at = 1;
            while rest.get(at).is_some_and(|c| *c != '"') {
                at += if rest[at] == '\\' { 2 } else { 1 };
            }
            at + 1
        }
        ['\'', '\\', ..] => until(3, "'"),
        ['\'', _, '\'', ..] => 3,
        _ => 0,
    }
}

impl Tree {
    fn read() -> Self {
        let mut tree = Self { sources: Vec::new(), children: BTreeMap::new() };
        let mut tests = BTreeSet::new();
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        for mut source in sources("src") {
            let relative = source.path.strip_prefix(&root).unwrap().with_extension("");
            let mut module: Vec<String> = relative.iter().map(|part| part.to_str().unwrap().to_owned()).collect();
            if module == ["main"] {
                continue;
            }
            if module == ["lib"] {
                module.clear();
            }
            for (name, of_tests) in declared(&source.bare) {
                let child = [&module[..], std::slice::from_ref(&name)].concat();
                if of_tests {
                    tests.insert(child);
                } else {
                    tree.children.entry(module.clone()).or_default().push(name);
                }
            }
            // What tests name is their own affair.
            source.bare.truncate(source.bare.find("#[cfg(test)]\nmod tests {").unwrap_or(source.bare.len()));
            tree.sources.push((module, source));
        }
        tree.sources.retain(|(module, _)| !tests.contains(module));
        tree
    }

    fn is_module(&self, path: &[String]) -> bool {
        path.split_last().is_none_or(|(name, above)| self.children.get(above).is_some_and(|all| all.contains(name)))
    }

    /// Whether `from` may name `path`; the module that it names, if not.
    fn forbidden(&self, from: &[String], path: &[String]) -> Option<String> {
        let depth = (0..=path.len()).rev().find(|depth| self.is_module(&path[..*depth])).unwrap_or(0);
        let named = &path[..depth];
        let shared = from.iter().zip(named).take_while(|(a, b)| a == b).count();
        if shared == from.len() {
            return None;
        }
        // One floor more: no layer knows another.
        let layers = shared == 1 && named[0] == "layer";
        let parent = shared == named.len() || layers;
        let order = self.children.get(&named[..shared]);
        let place = |name: &String| order.and_then(|all| all.iter().position(|child| child == name));
        (parent || place(&named[shared]) > place(&from[shared])).then(|| named.join("::"))
    }
}

/// The modules that a file declares, and which of them are for tests alone.
fn declared(text: &str) -> Vec<(String, bool)> {
    let mut last = "";
    let mut found = Vec::new();
    for line in text.lines().map(str::trim) {
        let rest = line.trim_start_matches("pub(crate) ").trim_start_matches("pub(super) ").trim_start_matches("pub ");
        if let Some(name) = rest.strip_prefix("mod ").and_then(|rest| rest.strip_suffix(';')) {
            found.push((name.to_owned(), last == "#[cfg(test)]"));
        }
        last = line;
    }
    found
}

fn declared_in(text: &str, name: &str) -> bool {
    declared(text).iter().any(|(child, _)| child == name)
}

/// Every path that begins with `crate`, groups in braces opened.
fn paths(bare: &str) -> Vec<Vec<String>> {
    let word = |c: char| c.is_alphanumeric() || c == '_';
    let mut found = Vec::new();
    for (at, _) in bare.match_indices("crate::") {
        if bare[..at].ends_with(|c| word(c) || c == '$') {
            continue;
        }
        let mut open: Vec<Vec<String>> = Vec::new();
        let mut path = Vec::new();
        let mut rest = &bare[at + "crate::".len()..];
        loop {
            let len = rest.find(|c| !word(c)).unwrap_or(rest.len());
            path.extend((len > 0).then(|| rest[..len].to_owned()));
            rest = &rest[len..];
            if let Some(more) = rest.strip_prefix("::") {
                rest = more;
            } else if let Some(more) = rest.strip_prefix('{') {
                open.push(path.clone());
                rest = more.trim_start();
            } else {
                // A comma before the closing brace is followed by nothing.
                found.extend((path.len() > open.last().map_or(0, Vec::len)).then(|| path.clone()));
                rest = rest.trim_start();
                while let Some(more) = rest.strip_prefix('}').filter(|_| open.pop().is_some()) {
                    rest = more.trim_start();
                }
                let (Some(outer), Some(more)) = (open.last(), rest.strip_prefix(',')) else { break };
                path.clone_from(outer);
                rest = more.trim_start();
            }
        }
    }
    found
}

#[test]
fn a_module_names_only_modules_above_its_own() {
    let tree = Tree::read();
    let mut faults = BTreeSet::new();
    for (module, source) in &tree.sources {
        for path in paths(&source.bare) {
            if let Some(named) = tree.forbidden(module, &path) {
                faults.insert(format!("{} names {named}", module.join("::")));
            }
        }
        let above = source.bare.matches("super::").count();
        if above > 0 {
            faults.insert(format!("{} names its parent by super::", module.join("::")));
        }
    }
    assert!(faults.is_empty(), "{faults:#?}");
}

#[test]
fn a_foreign_crate_stands_in_its_one_place() {
    let mut faults = Vec::new();
    for (module, source) in Tree::read().sources {
        let module = module.join("::");
        let own = |name: &str| declared_in(&source.bare, name);
        for (name, places) in PLACES.into_iter().filter(|(name, _)| !own(name)) {
            let at_home = places.iter().any(|place| module == *place || module.starts_with(&format!("{place}::")));
            let named = source
                .bare
                .match_indices(&format!("{name}::"))
                .any(|(at, _)| !source.bare[..at].ends_with(|c: char| c.is_alphanumeric() || matches!(c, '_' | ':')));
            if named && !at_home {
                faults.push(format!("{module} names {name}"));
            }
        }
    }
    assert!(faults.is_empty(), "{faults:#?}");
}

#[test]
fn a_file_is_short_named_for_what_it_holds_and_begins_with_it() {
    for Source { path, text, .. } in everything() {
        let path = path.display();
        let lines = text.lines().count();
        assert!(lines <= FILE_LINES_MAX, "{path} has {lines} lines");
        assert!(text.starts_with("//! "), "{path} does not begin by saying what it is");
        let stem = path.to_string().rsplit('/').next().unwrap().trim_end_matches(".rs").to_owned();
        let drawer = stem.split('_').any(|word| DRAWERS.contains(&word));
        assert!(!drawer && stem != "mod", "{path} is a drawer");
    }
}

#[test]
fn a_function_is_short() {
    let mut faults = Vec::new();
    for Source { path, bare, .. } in everything() {
        let lines: Vec<&str> = bare.lines().collect();
        for (at, line) in lines.iter().enumerate() {
            let Some((_, name)) = line.split_once("fn ").filter(|(before, _)| !before.ends_with(char::is_alphanumeric))
            else {
                continue;
            };
            if !name.starts_with(|c: char| c.is_alphabetic() || c == '_') {
                continue;
            }
            let length = length(&lines[at..]);
            if length > FUNCTION_LINES_MAX {
                faults.push(format!("{}:{} has {length} lines", path.display(), at + 1));
            }
        }
    }
    assert!(faults.is_empty(), "{faults:#?}");
}

/// How many lines the function takes that begins with the first of `lines`.
fn length(lines: &[&str]) -> usize {
    let (mut depth, mut opened) = (0_i32, false);
    let ends = |line: &&str| {
        for c in line.chars() {
            depth += i32::from("{([".contains(c)) - i32::from("})]".contains(c));
            // One without a body ends with the first `;` that stands in no bracket.
            opened |= c == '{' || c == ';' && depth == 0;
        }
        opened && depth <= 0
    };
    lines.iter().position(ends).map_or(0, |end| end + 1)
}

#[test]
fn no_text_holds_a_path_of_a_machine() {
    for Source { path, text, .. } in everything() {
        let found = text.lines().find(|line| MACHINE.iter().any(|top| line.contains(&format!("/{top}/"))));
        assert_eq!(found, None, "{}", path.display());
    }
}

#[test]
fn the_law_sees_what_breaks_it() {
    assert_eq!(bare("a // {\n\"{\\\"\" b '{' &'a r#\"{\"# c"), "a \n b  &'a  c");
    assert_eq!(length(&["fn a(b: [u8; 4])", "where C: D,", "{", "}", "}"]), 4);
    assert_eq!(length(&["fn a();", "fn b() {}"]), 1);
    let words = |path: &str| path.split("::").map(str::to_owned).collect::<Vec<_>>();
    let all = ["error", "layer::lease::open", "layer::lease", "endpoint"].map(words);
    assert_eq!(paths("use crate::error; use crate::{layer::{lease::{open}, lease}, endpoint,};"), all);
    let tree = Tree::read();
    for (from, path, fine) in [
        ("gateway", "error::Error", true),
        ("error", "gateway::Shared", false),
        ("layer::retry", "layer::lease", false),
        ("layer::lease", "layer::record", false),
        ("layer", "layer::retry", true),
        ("pool::key", "pool::KeyPool", false),
    ] {
        assert_eq!(tree.forbidden(&words(from), &words(path)).is_none(), fine, "{from} {path}");
    }
}
