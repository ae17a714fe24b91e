//! The example files: they parse, and show every field at its default.

use geminate::config::Sources;
use geminate::settings::Settings;

/// Everything but the keys, as JSON.
fn plain(settings: &Settings) -> serde_json::Value {
    let mut value = serde_json::to_value(settings).unwrap();
    value.as_object_mut().unwrap().remove("keys");
    value
}

/// A text without the first `# ` of commented settings; comments in words begin with `##`.
fn uncommented(text: &str) -> String {
    let lines = text.lines().filter(|line| !line.starts_with("##"));
    lines.map(|line| line.strip_prefix("# ").unwrap_or(line)).collect::<Vec<_>>().join("\n")
}

#[test]
fn the_example_file_holds_every_field_at_its_default() {
    let text = std::fs::read_to_string("config.toml.example").unwrap();
    let as_it_is = Sources::new([], Some(("config.toml.example", &text))).settings().unwrap();
    assert_eq!(plain(&as_it_is), plain(&Settings::default()));
    let full: toml::Table = uncommented(&text).parse().unwrap();
    let defaults = toml::Table::try_from(Settings::default()).unwrap();
    for (section, fields) in &defaults {
        let Some(fields) = fields.as_table() else { continue };
        for (field, default) in
            fields.iter().filter(|(field, _)| !["jwt", "aliases", "fallback"].contains(&field.as_str()))
        {
            let shown = full.get(section).and_then(|section| section.get(field));
            assert_eq!(shown, Some(default), "{section}.{field}");
        }
    }
    // Those without a default stand there as examples.
    let all = [
        (
            &full["auth"]["jwt"],
            &["secret", "public_key_file", "jwks_file", "algorithm", "issuer", "audience", "leeway_s"][..],
        ),
        (&full["server"], &["public_url"]),
        (&full["auth"], &["admin_token"]),
        (&full["upstream"], &["ca_file"]),
        (&full["models"]["aliases"], &["gpt-4o"]),
        (&full["models"]["fallback"], &["gemini-3.8-flash"]),
        (&full["log"], &["format"]),
        (
            &full["keys"][0],
            &["key_env", "key_file", "key", "id", "weight", "project", "proxy", "rpm", "tpm", "rpd", "enabled"],
        ),
    ];
    for (section, fields) in all {
        for field in fields {
            assert!(section.get(field).is_some(), "{field}");
        }
    }
}

#[test]
fn the_example_environment_holds_every_variable_at_its_default() {
    let as_it_is: Vec<_> = dotenvy::from_path_iter(".env.example").unwrap().collect::<Result<_, _>>().unwrap();
    let set = as_it_is.iter().filter(|(_, value)| !value.is_empty()).map(|(name, _)| name.as_str()).collect::<Vec<_>>();
    assert_eq!(set, ["GEMINI_API_KEY"], "what is not needed stays commented out");
    let text = uncommented(&std::fs::read_to_string(".env.example").unwrap());
    let full: Vec<_> = dotenvy::from_read_iter(text.as_bytes()).collect::<Result<Vec<_>, _>>().unwrap();
    for name in [
        "GEMINI_API_KEY",
        "GEMINI_API_KEY_FILE",
        "GEMINI_BASE_URL",
        "HOST",
        "PORT",
        "PUBLIC_URL",
        "CORS_ORIGINS",
        "ADMIN_HOST",
        "ADMIN_PORT",
        "AUTH_TOKEN",
        "ADMIN_TOKEN",
        "JWT_SECRET",
        "ALLOW_ANONYMOUS",
        "RATE_LIMIT_PER_MINUTE",
        "MAX_CONCURRENT_REQUESTS",
        "REQUEST_TIMEOUT",
        "STREAM_IDLE_TIMEOUT",
        "EMPTY_RETRIES",
        "ENABLE_CACHING",
        "ENABLE_MONITORING",
        "LOG_LEVEL",
        "LOG_FORMAT",
        "DATA_DIR",
        "GEMINATE_CONFIG",
        "HTTPS_PROXY",
        "NO_PROXY",
        "SSL_CERT_FILE",
        "OTEL_EXPORTER_OTLP_ENDPOINT",
        "OTEL_EXPORTER_OTLP_HEADERS",
        "OTEL_EXPORTER_OTLP_TIMEOUT",
        "OTEL_SERVICE_NAME",
        "OTEL_RESOURCE_ATTRIBUTES",
        "OTEL_TRACES_SAMPLER",
        "OTEL_TRACES_SAMPLER_ARG",
        "OTEL_BSP_MAX_QUEUE_SIZE",
        "OTEL_BSP_SCHEDULE_DELAY",
        "OTEL_SDK_DISABLED",
    ] {
        assert!(full.iter().any(|(shown, _)| shown == name), "{name}");
    }
    // Those with a default show it.
    let without = [
        "GEMINI_API_KEY_FILE",
        "PUBLIC_URL",
        "CORS_ORIGINS",
        "AUTH_TOKEN",
        "ADMIN_TOKEN",
        "JWT_SECRET",
        "LOG_FORMAT",
        "SSL_CERT_FILE",
    ];
    let shown = full.iter().filter(|(name, _)| !without.contains(&name.as_str()));
    let settings = Sources::new(shown.map(|(name, value)| (name.as_str(), value.as_str())), None).settings().unwrap();
    assert_eq!(plain(&settings), plain(&Settings::default()));
}
