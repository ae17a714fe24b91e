//! Configuration: what is told when it is wrong, what wins when it is right, and that the examples are true.

use std::io::Read as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;

use geminate::config::{Configuration, Sources};
use geminate::secret::Secret;

use crate::house::PATIENCE;

const KEY: (&str, &str) = ("GEMINI_API_KEY", "AIzaSyTestTestTestTest1");

fn faults(variables: &[(&str, &str)], file: &str) -> Vec<String> {
    let variables = variables.iter().copied();
    match Sources::new(variables, Some(("config.toml", file))).configuration() {
        Ok(configuration) => panic!("no fault in {configuration:?}"),
        Err(faults) => faults.0.iter().map(ToString::to_string).collect(),
    }
}

fn good(variables: &[(&str, &str)], file: &str) -> Configuration {
    Sources::new(variables.iter().copied(), Some(("config.toml", file))).configuration().unwrap()
}

/// One variable or two, and how what is told of them begins.
const OF_VARIABLES: &[(&[(&str, &str)], &str)] = &[
    (&[KEY, ("PORT", "99999")], "PORT: read \"99999\", allowed is a whole number from 0 to 65535"),
    (&[KEY, ("PORT", "-1")], "PORT: read \"-1\", allowed is a whole number from 0 to 65535"),
    (
        &[KEY, ("HOST", "example.com")],
        "HOST: read \"example.com\", allowed is an IP address such as 127.0.0.1, 0.0.0.0 or ::",
    ),
    (
        &[KEY, ("REQUEST_TIMEOUT", "soon")],
        "REQUEST_TIMEOUT: read \"soon\", allowed is a whole number from 1 to 86400000",
    ),
    (&[KEY, ("ENABLE_MONITORING", "maybe")], "ENABLE_MONITORING: read \"maybe\", allowed is true or false"),
    (&[KEY, ("LOG_LEVEL", "LOUD")], "LOG_LEVEL: read \"LOUD\", allowed is ERROR, WARN, INFO"),
    (&[KEY, ("LOG_FORMAT", "xml")], "LOG_FORMAT: read \"xml\", allowed is `text` or `json`"),
    (
        &[KEY, ("GEMINI_BASE_URL", "https://u:p@x/")],
        "GEMINI_BASE_URL: read [secret] of 14 characters, allowed is an origin",
    ),
    (&[KEY, ("GEMINI_BASE_URL", "https://x/v1")], "GEMINI_BASE_URL: read \"https://x/v1\", allowed is an origin"),
    (&[KEY, ("JWT_SECRET", "short-secret")], "JWT_SECRET: read [secret] of 12 bytes, allowed is at least 32"),
    (&[KEY, ("AUTH_TOKEN", "good,two words")], "AUTH_TOKEN: allowed are visible ASCII characters"),
    (
        &[KEY, ("GEMINATE__SERVER__PROT", "1")],
        "GEMINATE__SERVER__PROT: is not known; did you mean GEMINATE__SERVER__PORT?",
    ),
    (&[KEY, ("GEMINATE__SERVER", "1")], "GEMINATE__SERVER: a section, not a field"),
    (&[KEY, ("GEMINATE__KEYS__0__KEY", "k")], "GEMINATE__KEYS__0__KEY: is not known"),
    (
        &[KEY, ("HOST", "0.0.0.0")],
        "HOST: 0.0.0.0 can be reached from other machines and there is nothing to authenticate by: set AUTH_TOKEN or JWT_SECRET, or ALLOW_ANONYMOUS=true",
    ),
    (
        &[KEY, ("ADMIN_HOST", "::")],
        "ADMIN_HOST: :: can be reached from other machines and there is nothing to authenticate by: set ADMIN_TOKEN",
    ),
    (
        &[KEY, ("PORT", "9000"), ("ADMIN_PORT", "9000")],
        "PORT: read 9000, which the admin listener has on the same address by ADMIN_PORT: allowed are two",
    ),
    (&[KEY, ("HTTPS_PROXY", ":::")], "HTTPS_PROXY: read [secret] of 3 characters, allowed is http:// or https://"),
    (&[], "GEMINI_API_KEY: no key is configured"),
    (&[("GEMINI_API_KEY", " , ")], "GEMINI_API_KEY: no key is configured"),
    (&[("GEMINI_API_KEY", "good,ya29.a0")], "GEMINI_API_KEY: entry 2: this looks like an OAuth"),
    (
        &[("GEMINI_API_KEY", "good:0")],
        "GEMINI_API_KEY: entry 1: read the weight \"0\", allowed is a whole number from 1 to 1000",
    ),
    (
        &[("GEMINI_API_KEY", "AIzaTwinTwin1,other,AIzaTwinTwin1:5")],
        "GEMINI_API_KEY: key 3 is key 1 again (ends in \"win1\")",
    ),
    (
        &[KEY, ("GEMINATE__MODELS__ALIASES__GPT-4O", "a/b")],
        "GEMINATE__MODELS__ALIASES__GPT-4O: models.aliases.gpt-4o: read \"a/b\", allowed is a model's name: letters",
    ),
    (&[("GEMINI_API_KEY_FILE", "/nowhere/keys")], "GEMINI_API_KEY_FILE: /nowhere/keys cannot be read"),
];

/// A file beside a good key, and how what is told of it begins.
const OF_FILES: &[(&str, &str)] = &[
    ("[server]\n\nprot = 1", "config.toml:3: server.prot is not known; did you mean server.port?"),
    ("port = 1", "config.toml:1: port is not known; did you mean server.port?"),
    ("server = 1", "config.toml:1: server is a section: write [server]"),
    (
        "[server]\nport = \"8080\"",
        "config.toml:2: server.port: read \"8080\", allowed is a whole number from 0 to 65535",
    ),
    ("[server]\nport = = 1", "config.toml:2: this is no TOML"),
    ("[auth.jwt]\nalgorithm = \"none\"", "config.toml:2: auth.jwt.algorithm: read \"none\", allowed is one of `HS256`"),
    ("[auth.jwt]\npublic_key_file = \"/nowhere\"\nalgorithm = \"ES256\"", "config.toml:2: /nowhere cannot be read"),
    ("[upstream]\nca_file = \"/nowhere\"", "config.toml:2: /nowhere cannot be read"),
    ("[upstream]\nca_file = \"Cargo.toml\"", "config.toml:2: Cargo.toml holds no certificate"),
    ("[clients.alice]\nrate = 1", "config.toml:2: clients.alice.rate is not known"),
    ("[clients]\nalice = 1", "config.toml:2: clients.alice is a section"),
    ("[models.aliases]\n\"a b\" = \"m\"", "config.toml:2: models.aliases: read the name \"a b\", allowed are letters"),
    (
        "[models.aliases]\na = \"models/m\"",
        "config.toml:2: models.aliases.a: read \"models/m\", allowed is a model's name",
    ),
    ("[models.aliases]\na = 1", "config.toml:2: models.aliases.a: read 1, allowed is a text in quotes"),
    ("[models]\naliases = 1", "config.toml:2: models.aliases is a section"),
    ("[models.aliases]\n\"gpt-4.1\" = \"b\"\nb = \"m\"", "config.toml:2: models.aliases.gpt-4.1: b is an alias itself"),
    ("[models.aliases]\na = \"a\"", "config.toml:2: models.aliases.a: a is an alias itself"),
    ("[models.fallback]\na = \"b\"", "config.toml:2: models.fallback.a: read \"b\", allowed is a list of texts"),
    (
        "[models.fallback]\na = [\"b/c\"]",
        "config.toml:2: models.fallback.a: read the name \"b/c\", allowed are letters",
    ),
    (
        "[models.fallback]\na = [\"b\", \"a\"]",
        "config.toml:2: models.fallback.a: a stands there twice, or is the model",
    ),
    ("[models.fallback]\na = [\"b\", \"b\"]", "config.toml:2: models.fallback.a: b stands there twice"),
    ("[models.fallback]\na = []", "config.toml:2: models.fallback.a: read 0 models, allowed are 1 to 8"),
    (
        "[models.aliases]\nb = \"m\"\n[models.fallback]\na = [\"b\"]",
        "config.toml:4: models.fallback.a: b is an alias: name the model that it stands for",
    ),
    (
        "[models.aliases]\nb = \"m\"\n[models.fallback]\nb = [\"m\"]",
        "config.toml:4: models.fallback.b: b is an alias: name the model that it stands for",
    ),
    ("[keys]\nkey = \"k\"", "config.toml:1: keys are a list of tables: write [[keys]]"),
    ("[[keys]]\nkey = \"kkk\"\nwieght = 1", "config.toml:3: keys.0.wieght is not known; did you mean keys.0.weight?"),
    ("\n[[keys]]\nid = \"a\"", "config.toml:2: allowed is exactly one of key_env, key_file and key"),
    ("[[keys]]\nkey_env = \"NOT_THERE\"", "config.toml:1: the variable NOT_THERE is not set"),
    ("[[keys]]\nkey = \"kkk\"\nid = \"1\"", "config.toml:1: key 2 has the id \"1\" of key 1"),
    ("[[keys]]\nkey = \"kkk\"\nproxy = \"ftp://x\"", "config.toml:1: proxy: allowed is http://"),
];

#[test]
fn every_fault_is_told_with_its_place_and_what_is_allowed() {
    let of_variables = OF_VARIABLES.iter().map(|(variables, told)| (faults(variables, ""), told));
    let of_files = OF_FILES.iter().map(|(file, told)| (faults(&[KEY], file), told));
    for (all, told) in of_variables.chain(of_files) {
        assert!(!all.is_empty() && all.iter().all(|fault| fault.starts_with(told)), "{told}\n{all:#?}");
    }
    let off = faults(&[], "[[keys]]\nkey = \"kkk\"\nenabled = false");
    assert!(off.len() == 1 && off[0].starts_with("GEMINI_API_KEY: no key is enabled"), "{off:?}");
}

#[test]
fn all_faults_of_all_sources_come_at_once() {
    let file =
        "[server]\nport = 70000\nprot = 1\n[log]\nlevel = \"LOUD\"\n[[keys]]\nweight = 0\nkey = \"a b\"\n[extra]\n";
    let variables = [("GEMINI_API_KEY", "ok,:1"), ("PORT", "x"), ("JWT_SECRET", "short"), ("GEMINATE__X__Y", "1")];
    let all = faults(&variables, file);
    let starts = [
        "config.toml:2",
        "config.toml:3",
        "config.toml:5",
        "config.toml:7",
        "config.toml:9",
        "GEMINATE__X__Y",
        "PORT",
        "GEMINI_API_KEY: entry 2",
        "config.toml:6",
        "JWT_SECRET",
    ];
    assert_eq!(all.len(), starts.len(), "{all:#?}");
    for start in starts {
        assert!(all.iter().any(|fault| fault.starts_with(start)), "{start} in {all:#?}");
    }
}

#[test]
fn no_fault_shows_a_secret() {
    let canary = "CANARY-canary";
    let spoilt = format!("{canary} {canary}");
    let file = format!(
        "[auth]\nadmin_token = [\"{canary}\"]\ntokens = {{ a = \"{canary}\" }}\n[[keys]]\nkey = \"{spoilt}\"\n\
         [[keys]]\nkey = [\"{canary}\"]\n[[keys]]\nkey = \"x\"\nproxy = [\"http://u:{canary}@h\"]\n[auth.jwt]\nsecret = \"{canary}\"\n{canary} {canary}"
    );
    let (key, token) = (format!("{spoilt},x:{canary}"), format!("{canary}\u{1}"));
    let variables =
        [("GEMINI_API_KEY", key.as_str()), ("AUTH_TOKEN", &token), ("GEMINI_BASE_URL", "http://CANARY-canary@x")];
    let told = faults(&variables, &file).join("\n");
    assert!(!told.contains(canary), "{told}");
}

#[test]
fn flat_names_win_over_long_ones_and_those_over_the_file() {
    let file = "[server]\nport = 1\nadmin_port = 1\nworkers = 1\n[auth]\ntokens = [\"of-file\"]";
    let long = [KEY, ("GEMINATE__SERVER__PORT", "2"), ("GEMINATE__SERVER__ADMIN_PORT", "2")];
    let settings = good(&[&long[..], &[("PORT", "3"), ("AUTH_TOKEN", " a , b,")]].concat(), file).settings;
    assert_eq!((settings.server.port, settings.server.admin_port, settings.server.workers), (3, 2, 1));
    let tokens: Vec<_> = settings.auth.tokens.iter().map(Secret::expose).collect();
    assert_eq!(tokens, ["a", "b"]);
    assert_eq!(settings.deadline.request_timeout_ms, 300_000);
}

#[test]
fn an_empty_variable_is_an_unset_one() {
    let settings = good(&[KEY, ("PORT", ""), ("AUTH_TOKEN", " "), ("GEMINATE__NO__SUCH", "")], "").settings;
    assert_eq!((settings.server.port, settings.auth.tokens.len()), (8080, 0));
}

#[test]
fn keys_of_all_sources_stand_in_order() {
    let scratch = tempfile::tempdir().unwrap();
    let list = scratch.path().join("keys");
    std::fs::write(&list, "from-file-1:3\nfrom-file-2\n").unwrap();
    let file = "[[keys]]\nkey_env = \"OTHER\"\nproject = \"p\"\nrpm = 10\n[[keys]]\nkey = \"last\"\nid = \"spare\"\nenabled = false";
    let variables =
        [("GEMINI_API_KEY", "first:10, second"), ("OTHER", "other\n"), ("GEMINI_API_KEY_FILE", list.to_str().unwrap())];
    let keys = good(&variables, file).keys;
    let told: Vec<_> = keys.iter().map(|key| (key.id.as_ref(), key.secret.expose(), key.weight)).collect();
    let expected = [
        ("1", "first", 10),
        ("2", "second", 1),
        ("3", "from-file-1", 3),
        ("4", "from-file-2", 1),
        ("5", "other", 1),
        ("spare", "last", 1),
    ];
    assert_eq!(told, expected);
    assert_eq!((keys[4].project.as_deref(), keys[4].rpm, keys[4].rpd), (Some("p"), Some(10), None));
    assert_eq!(keys.iter().filter(|key| key.enabled).count(), 5);
}

#[test]
fn clients_can_differ() {
    let file =
        "[clients]\nrate_limit_per_minute = 60\n[clients.\"alice@example.com\"]\nrate_limit_per_minute = 5\nburst = 2";
    let clients = good(&[KEY, ("GEMINATE__CLIENTS__BOB__RATE_LIMIT_PER_MINUTE", "7")], file).settings.clients;
    let named: Vec<_> =
        clients.named.iter().map(|(name, limits)| (name.as_str(), limits.rate_limit_per_minute)).collect();
    assert_eq!((clients.rate_limit_per_minute, &named[..]), (60, &[("alice@example.com", 5), ("bob", 7)][..]));
}

#[test]
fn open_doors_need_a_word() {
    for word in [("ALLOW_ANONYMOUS", "true"), ("AUTH_TOKEN", "t")] {
        good(&[KEY, ("HOST", "0.0.0.0"), ("ADMIN_HOST", "0.0.0.0"), word], "");
    }
    good(&[KEY, ("HOST", "0.0.0.0"), ("JWT_SECRET", "0123456789abcdef0123456789abcdef")], "");
}

#[test]
fn listeners_may_have_one_port_where_no_address_is_both_of_theirs() {
    let one_port = [KEY, ("PORT", "9000"), ("ADMIN_PORT", "9000"), ("ALLOW_ANONYMOUS", "true")];
    let at = |host, admin| [&one_port[..], &[("HOST", host), ("ADMIN_HOST", admin)]].concat();
    for (host, admin) in [("127.0.0.1", "127.0.0.2"), ("127.0.0.1", "::1"), ("0.0.0.0", "::1")] {
        good(&at(host, admin), "");
    }
    for (host, admin) in [("0.0.0.0", "127.0.0.1"), ("127.0.0.1", "0.0.0.0"), ("::", "127.0.0.1"), ("::1", "::")] {
        assert_eq!(faults(&at(host, admin), "").len(), 1, "{host} {admin}");
    }
    good(&[KEY, ("PORT", "0"), ("ADMIN_PORT", "0")], "");
    let told = faults(&[KEY], "[server]\nadmin_port = 8080");
    assert!(told.len() == 1 && told[0].starts_with("PORT: read 8080") && told[0].contains("config.toml:2"), "{told:?}");
}

fn geminate(directory: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_geminate"));
    command.env_clear().current_dir(directory);
    command
}

#[test]
fn a_wrong_configuration_ends_with_64_and_lines_only() {
    let scratch = tempfile::tempdir().unwrap();
    std::fs::write(scratch.path().join(".env"), "PORT=1\nADMIN_PORT=x\n").unwrap();
    let output =
        geminate(scratch.path()).envs([("PORT", "y"), ("ADMIN_PORT", "")]).env("RUST_BACKTRACE", "1").output().unwrap();
    let told = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(64));
    let lines: Vec<_> = told.lines().collect();
    assert!(
        lines.len() == 3 && lines[0].starts_with("ADMIN_PORT: read \"x\"") && lines[1].starts_with("PORT: read \"y\""),
        "{told}"
    );
}

/// How it ends and what it says, within a time in which it has long ended unless it never does.
fn ended(command: &mut Command) -> (Option<i32>, String) {
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut told = child.stderr.take().unwrap();
    let (tell, heard) = mpsc::channel();
    thread::spawn(move || {
        let mut text = String::new();
        let _closed = told.read_to_string(&mut text);
        let _left = tell.send(text);
    });
    let text = heard.recv_timeout(PATIENCE);
    if text.is_err() {
        child.kill().unwrap();
    }
    (child.wait().unwrap().code(), text.expect("it ends"))
}

#[test]
fn a_directory_in_the_place_of_dot_env_is_told_by_every_command() {
    let scratch = tempfile::tempdir().unwrap();
    std::fs::create_dir(scratch.path().join(".env")).unwrap();
    for command in [&["check"][..], &["serve"], &["token", "--sub", "alice"], &["health"]] {
        let (code, told) = ended(geminate(scratch.path()).args(command).envs([KEY]));
        assert_eq!(code, Some(64), "{command:?} {told}");
        assert!(told.starts_with(".env: it cannot be read: Is a directory") && told.lines().count() == 1, "{told}");
    }
}

#[test]
fn whoever_closes_the_pipe_ends_nothing_but_what_was_to_be_read() {
    let scratch = tempfile::tempdir().unwrap();
    let closed = || {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        writer
    };
    for (keys, code) in [(KEY.1, 0), ("", 64)] {
        let mut check = geminate(scratch.path());
        let both = check.arg("check").env("GEMINI_API_KEY", keys).stdout(closed()).stderr(closed());
        assert_eq!(both.status().unwrap().code(), Some(code), "{keys}");
        let mut check = geminate(scratch.path());
        let one = check.arg("check").env("GEMINI_API_KEY", keys).stdout(closed()).output().unwrap();
        let told = String::from_utf8(one.stderr).unwrap();
        assert!(one.status.code() == Some(code) && (code == 0) == told.is_empty(), "{told}");
    }
}

#[test]
fn no_token_is_signed_with_a_secret_that_none_is_verified_with() {
    let scratch = tempfile::tempdir().unwrap();
    let mut token = geminate(scratch.path());
    let output = token.args(["token", "--sub", "alice"]).env("JWT_SECRET", "short-secret").output().unwrap();
    let told = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), output.stdout.len()), (Some(64), 0));
    assert_eq!(told, "JWT_SECRET: read [secret] of 12 bytes, allowed is at least 32\n");
    assert!(faults(&[KEY, ("JWT_SECRET", "short-secret")], "").join("").starts_with(told.trim_end()));
}

#[test]
fn check_shows_what_it_comes_to_without_secrets() {
    let scratch = tempfile::tempdir().unwrap();
    std::fs::write(scratch.path().join("config.toml"), "[server]\nport = 4321\n").unwrap();
    let canaries = [
        KEY,
        ("AUTH_TOKEN", "canary-auth"),
        ("ADMIN_TOKEN", "canary-admin"),
        ("JWT_SECRET", "canary-jwt-0123456789abcdef0123456"),
    ];
    let output = geminate(scratch.path()).arg("check").envs(canaries).output().unwrap();
    let told = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success() && told.contains("port = 4321") && told.contains("est1"), "{told}");
    assert!(!told.contains("canary") && !told.contains(KEY.1), "{told}");
    assert!(told.parse::<toml::Table>().is_ok(), "{told}");
}

#[test]
fn an_issued_token_lets_in() {
    let secret = ("JWT_SECRET", "0123456789abcdef0123456789abcdef");
    let scratch = tempfile::tempdir().unwrap();
    let output = geminate(scratch.path()).args(["token", "--sub", "alice"]).envs([secret]).output().unwrap();
    let token = String::from_utf8(output.stdout).unwrap();
    let clients = good(&[KEY, secret], "").clients;
    let mut headers = http::HeaderMap::from_iter([("x-api-key".parse().unwrap(), token.trim().parse().unwrap())]);
    let presented = geminate::client::Presented::take(&mut headers, &"/".parse().unwrap());
    assert_eq!(clients.identify(&presented).unwrap().id().as_ref(), "alice");
}
