//! OpenTelemetry's own variables, as its specification names them: where traces go, and which.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::time::Duration;

use http::{HeaderName, HeaderValue, Uri};
use percent_encoding::percent_decode_str;

use crate::config::fault::Fault;
use crate::secret::Secret;
use crate::settings::{Batch, Sampler, Traces};

/// How all of them begin.
pub(super) const PREFIX: &str = "OTEL_";

/// Before what the exporter of one or of all signals is told; one for traces goes first.
const EXPORTER: [&str; 2] = ["OTEL_EXPORTER_OTLP_TRACES_", "OTEL_EXPORTER_OTLP_"];
const DISABLED: &str = "OTEL_SDK_DISABLED";
const TRACES_EXPORTER: &str = "OTEL_TRACES_EXPORTER";
const SERVICE_NAME: &str = "OTEL_SERVICE_NAME";
const RESOURCE: &str = "OTEL_RESOURCE_ATTRIBUTES";
const SAMPLER: &str = "OTEL_TRACES_SAMPLER";
const SAMPLER_ARGUMENT: &str = "OTEL_TRACES_SAMPLER_ARG";
const DELAY: &str = "OTEL_BSP_SCHEDULE_DELAY";
const EXPORT_TIMEOUT: &str = "OTEL_BSP_EXPORT_TIMEOUT";
const QUEUE: &str = "OTEL_BSP_MAX_QUEUE_SIZE";
const SIZE: &str = "OTEL_BSP_MAX_EXPORT_BATCH_SIZE";

/// Where a collector's own address ends and the place for traces begins.
const TRACES_PATH: &str = "v1/traces";
/// Milliseconds, of an hour.
const HOUR: u64 = 3_600_000;
/// Attributes of the resource, headers to the collector.
const PAIRS_MAX: usize = 64;

/// What they come to; `None`: no traces are sent, or a fault was found.
pub(super) fn traces(variables: &BTreeMap<String, String>, faults: &mut Vec<Fault>) -> Option<Traces> {
    let before = faults.len();
    let mut reader = Reader { variables, faults };
    let traces = reader.traces();
    traces.filter(|_| faults.len() == before)
}

struct Reader<'r> {
    variables: &'r BTreeMap<String, String>,
    faults: &'r mut Vec<Fault>,
}

impl<'r> Reader<'r> {
    fn traces(&mut self) -> Option<Traces> {
        // Others may share these variables: where nothing is to be sent, nothing of them is judged.
        if self.one(DISABLED).is_some_and(|word| word.eq_ignore_ascii_case("true")) {
            return None;
        }
        let (name, written) = self.exporter("ENDPOINT")?;
        if self.choice(TRACES_EXPORTER, &["otlp", "none"]) == Some("none") {
            return None;
        }
        let endpoint = self.endpoint(&name, written)?;
        if let Some((name, word)) = self.exporter("PROTOCOL").filter(|(_, word)| *word != "http/protobuf") {
            let what = format!(
                "read {word:?}, allowed is http/protobuf, which collectors take on port 4318; set {}PROTOCOL to it, or \
                 {DISABLED}=true",
                EXPORTER[0]
            );
            self.faults.push(Fault::new(&name, &what));
        }
        if let Some((name, _)) = self.exporter("COMPRESSION").filter(|(_, word)| *word != "none") {
            self.faults.push(Fault::new(&name, "allowed is none"));
        }
        for part in ["CLIENT_CERTIFICATE", "CLIENT_KEY"] {
            if let Some((name, _)) = self.exporter(part) {
                self.faults.push(Fault::new(&name, "certificates of clients are not supported"));
            }
        }
        let timeout = self.exporter("TIMEOUT").map_or(Some(10_000), |(name, text)| self.judge(&name, text, 1..=HOUR));
        // Of the two limits of a batch the shorter one.
        let timeout = timeout?.min(self.number(EXPORT_TIMEOUT, 30_000, 1..=HOUR)?);
        let headers = self.exporter("HEADERS").map(|(name, text)| self.headers(&name, text)).unwrap_or_default();
        Some(Traces {
            endpoint,
            headers,
            timeout: Duration::from_millis(timeout),
            ca_file: self.exporter("CERTIFICATE").map(|(_, path)| path.into()),
            resource: self.resource(),
            sampler: self.sampler()?,
            batch: self.batch()?,
        })
    }

    fn one(&self, name: &str) -> Option<&'r str> {
        self.variables.get(name).map(|text| text.trim())
    }

    /// A variable of the exporter's with its name.
    fn exporter(&self, part: &str) -> Option<(String, &'r str)> {
        EXPORTER.iter().find_map(|prefix| {
            let name = format!("{prefix}{part}");
            self.one(&name).map(|text| (name, text))
        })
    }

    /// The whole URL; what is said for all signals is a base.
    fn endpoint(&mut self, name: &str, written: &str) -> Option<Secret> {
        let base = !name.starts_with(EXPORTER[0]);
        let slash = if written.ends_with('/') { "" } else { "/" };
        let url = if base { format!("{written}{slash}{TRACES_PATH}") } else { written.to_owned() };
        let located = |uri: &Uri| uri.host().is_some() && matches!(uri.scheme_str(), Some("http" | "https"));
        let plain = !written.contains(['?', '#']);
        if plain && url.parse::<Uri>().is_ok_and(|uri| located(&uri)) {
            return Some(Secret::new(url));
        }
        // It may hold a password.
        let read = if written.contains('@') { "a URL with a password".to_owned() } else { format!("{written:?}") };
        let what = format!("read {read}, allowed is a URL such as http://127.0.0.1:4318");
        self.faults.push(Fault::new(name, &what));
        None
    }

    fn headers(&mut self, name: &str, text: &str) -> Vec<(HeaderName, HeaderValue)> {
        let mut headers = Vec::new();
        for (key, value) in self.pairs(name, text, true) {
            match (HeaderName::try_from(&key), HeaderValue::try_from(&value)) {
                (Ok(key), Ok(mut value)) => {
                    value.set_sensitive(true);
                    headers.push((key, value));
                }
                _ => self.faults.push(Fault::new(name, "a name or a value cannot stand in a header")),
            }
        }
        headers
    }

    fn resource(&mut self) -> Vec<(String, String)> {
        let listed = self.one(RESOURCE).map(|text| self.pairs(RESOURCE, text, false)).unwrap_or_default();
        let mut all: Vec<_> = [("service.name", "geminate"), ("service.version", env!("CARGO_PKG_VERSION"))]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into();
        all.extend(listed);
        all.extend(self.one(SERVICE_NAME).map(|name| ("service.name".to_owned(), name.to_owned())));
        all
    }

    /// `name=value,...`, values percent-encoded.
    fn pairs(&mut self, name: &str, text: &str, secret: bool) -> Vec<(String, String)> {
        let mut pairs = Vec::new();
        for (n, piece) in text.split(',').map(str::trim).filter(|piece| !piece.is_empty()).enumerate() {
            let decoded = piece.split_once('=').and_then(|(key, value)| {
                let value = percent_decode_str(value.trim()).decode_utf8().ok()?;
                (!key.trim().is_empty()).then(|| (key.trim().to_owned(), value.into_owned()))
            });
            let Some(pair) = decoded else {
                let read = if secret { format!("entry {}", n + 1) } else { format!("read {piece:?}") };
                let what = format!("{read}: allowed is name=value,..., values percent-encoded");
                self.faults.push(Fault::new(name, &what));
                continue;
            };
            pairs.push(pair);
        }
        if pairs.len() > PAIRS_MAX {
            self.faults.push(Fault::new(name, &format!("read {} pairs, allowed are {PAIRS_MAX}", pairs.len())));
        }
        pairs
    }

    fn sampler(&mut self) -> Option<Sampler> {
        const KINDS: [&str; 6] = [
            "always_on",
            "always_off",
            "traceidratio",
            "parentbased_always_on",
            "parentbased_always_off",
            "parentbased_traceidratio",
        ];
        let kind = if self.one(SAMPLER).is_some() { self.choice(SAMPLER, &KINDS)? } else { KINDS[3] };
        let own = kind.trim_start_matches("parentbased_");
        let share = match own {
            "always_on" => 1.0,
            "always_off" => 0.0,
            _ => self.share()?,
        };
        Some(Sampler { by_parent: own != kind, share })
    }

    fn share(&mut self) -> Option<f64> {
        let Some(text) = self.one(SAMPLER_ARGUMENT) else { return Some(1.0) };
        let share = text.parse().ok().filter(|share| (0.0..=1.0).contains(share));
        if share.is_none() {
            let what = format!("read {text:?}, allowed is a share from 0 to 1, such as 0.1");
            self.faults.push(Fault::new(SAMPLER_ARGUMENT, &what));
        }
        share
    }

    fn batch(&mut self) -> Option<Batch> {
        let queue = self.number(QUEUE, 2_048, 1..=1_000_000);
        let size = self.number(SIZE, 512, 1..=100_000);
        let delay = self.number(DELAY, 5_000, 1..=HOUR);
        let queue_max = usize::try_from(queue?).ok()?;
        let size_max = usize::try_from(size?).ok()?.min(queue_max);
        Some(Batch { queue_max, size_max, delay: Duration::from_millis(delay?) })
    }

    fn number(&mut self, name: &str, default: u64, bounds: RangeInclusive<u64>) -> Option<u64> {
        self.one(name).map_or(Some(default), |text| self.judge(name, text, bounds))
    }

    fn judge(&mut self, name: &str, text: &str, bounds: RangeInclusive<u64>) -> Option<u64> {
        let number = text.parse().ok().filter(|number| bounds.contains(number));
        if number.is_none() {
            let what = format!("read {text:?}, allowed is a whole number from {} to {}", bounds.start(), bounds.end());
            self.faults.push(Fault::new(name, &what));
        }
        number
    }

    fn choice(&mut self, name: &str, words: &[&'static str]) -> Option<&'static str> {
        let text = self.one(name)?;
        let known = words.iter().find(|word| word.eq_ignore_ascii_case(text)).copied();
        if known.is_none() {
            self.faults.push(Fault::new(name, &format!("read {text:?}, allowed is one of {}", words.join(", "))));
        }
        known
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENDPOINT: (&str, &str) = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4318");

    fn read(variables: &[(&str, &str)]) -> Result<Option<Traces>, String> {
        let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let mut faults = Vec::new();
        let traces = traces(&variables, &mut faults);
        let told: Vec<_> = faults.iter().map(ToString::to_string).collect();
        if told.is_empty() { Ok(traces) } else { Err(told.join("\n")) }
    }

    fn good(variables: &[(&str, &str)]) -> Traces {
        read(&[&[ENDPOINT], variables].concat()).unwrap().unwrap()
    }

    #[test]
    fn without_an_endpoint_or_disabled_nothing_is_sent_and_nothing_judged() {
        let off: &[&[(&str, &str)]] = &[
            &[],
            &[("OTEL_TRACES_SAMPLER", "nonsense")],
            &[ENDPOINT, ("OTEL_SDK_DISABLED", "true"), ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")],
            &[ENDPOINT, ("OTEL_TRACES_EXPORTER", "none")],
        ];
        for variables in off {
            assert!(read(variables).unwrap().is_none(), "{variables:?}");
        }
    }

    #[test]
    fn the_endpoint_of_all_signals_is_a_base_and_that_of_traces_is_whole() {
        for (name, url, whole) in [
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:4318", "http://c:4318/v1/traces"),
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "https://c/otlp/", "https://c/otlp/v1/traces"),
            ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://c:4318/here", "http://c:4318/here"),
        ] {
            assert_eq!(read(&[(name, url)]).unwrap().unwrap().endpoint.expose(), whole);
        }
        let both = good(&[("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://t/x")]);
        assert_eq!(both.endpoint.expose(), "http://t/x");
    }

    #[test]
    fn what_is_not_set_is_as_the_specification_says() {
        let traces = good(&[]);
        assert_eq!((traces.timeout, traces.headers.len()), (Duration::from_secs(10), 0));
        assert_eq!(traces.sampler, Sampler { by_parent: true, share: 1.0 });
        assert_eq!(traces.batch, Batch { queue_max: 2048, size_max: 512, delay: Duration::from_secs(5) });
        assert_eq!(traces.resource[0], ("service.name".to_owned(), "geminate".to_owned()));
    }

    #[test]
    fn what_is_set_counts() {
        let traces = good(&[
            ("OTEL_SERVICE_NAME", "front"),
            ("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=a%20b, service.name=other"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20fake-token-1,x-scope=1"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "2000"),
            ("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "1000"),
            ("OTEL_TRACES_SAMPLER", "traceidratio"),
            ("OTEL_TRACES_SAMPLER_ARG", "0.25"),
            ("OTEL_BSP_MAX_QUEUE_SIZE", "10"),
            ("OTEL_BSP_SCHEDULE_DELAY", "50"),
        ]);
        assert_eq!(traces.headers[0].1, "Bearer fake-token-1");
        assert!(!format!("{traces:?}").contains("fake-token-1"));
        assert_eq!(traces.timeout, Duration::from_secs(1));
        assert_eq!(traces.sampler, Sampler { by_parent: false, share: 0.25 });
        assert_eq!(traces.batch, Batch { queue_max: 10, size_max: 10, delay: Duration::from_millis(50) });
        let last = |name: &str| traces.resource.iter().rfind(|(key, _)| key == name).unwrap().1.clone();
        assert_eq!((last("service.name"), last("deployment.environment.name")), ("front".into(), "a b".into()));
    }

    #[test]
    fn what_is_wrong_is_told_by_its_name_and_without_a_secret() {
        for (variable, told) in [
            (("OTEL_EXPORTER_OTLP_ENDPOINT", "127.0.0.1:4318"), "read \"127.0.0.1:4318\", allowed is a URL"),
            (("OTEL_EXPORTER_OTLP_ENDPOINT", "ftp://u:fake-pass@h"), "read a URL with a password, allowed is a URL"),
            (("OTEL_EXPORTER_OTLP_ENDPOINT", "http://h/?key=1"), "allowed is a URL"),
            (("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"), "read \"grpc\", allowed is http/protobuf"),
            (("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip"), "allowed is none"),
            (("OTEL_EXPORTER_OTLP_HEADERS", "fake-pass"), "entry 1: allowed is name=value"),
            (("OTEL_EXPORTER_OTLP_HEADERS", "a b=fake-pass"), "cannot stand in a header"),
            (("OTEL_EXPORTER_OTLP_TIMEOUT", "soon"), "allowed is a whole number from 1 to 3600000"),
            (("OTEL_EXPORTER_OTLP_CLIENT_KEY", "x.pem"), "not supported"),
            (("OTEL_TRACES_EXPORTER", "jaeger"), "allowed is one of otlp, none"),
            (("OTEL_TRACES_SAMPLER", "some"), "allowed is one of always_on, always_off, traceidratio"),
            (("OTEL_BSP_MAX_QUEUE_SIZE", "0"), "allowed is a whole number from 1"),
            (("OTEL_RESOURCE_ATTRIBUTES", "a"), "read \"a\": allowed is name=value"),
        ] {
            let said = read(&[ENDPOINT, variable]).unwrap_err();
            assert!(said.starts_with(&format!("{}: ", variable.0)) && said.contains(told), "{said}");
            assert!(!said.contains("fake-pass"), "{said}");
        }
        let ratio = [ENDPOINT, ("OTEL_TRACES_SAMPLER", "traceidratio"), ("OTEL_TRACES_SAMPLER_ARG", "1.5")];
        assert!(read(&ratio).unwrap_err().starts_with("OTEL_TRACES_SAMPLER_ARG: read \"1.5\", allowed is a share"));
    }
}
