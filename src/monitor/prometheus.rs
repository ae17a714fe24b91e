//! Values that are read when they are asked for, in Prometheus' text form.

use std::fmt::{Display, Write};

/// A page of metrics in the making.
#[derive(Debug, Default)]
pub(crate) struct Page(String);

impl Page {
    /// A page that begins with `text`, which is one already.
    pub(crate) fn from(text: String) -> Self {
        Self(text)
    }

    /// Begins a family: its samples follow, and no other's between them.
    pub(crate) fn family(&mut self, name: &str, kind: &str, help: &str) {
        self.put(format_args!("# HELP {name} {help}\n# TYPE {name} {kind}\n"));
    }

    /// A sample of the family that was begun.
    pub(crate) fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl Display) {
        self.0.push_str(name);
        for (n, (label, text)) in labels.iter().enumerate() {
            self.put(format_args!("{}{label}=\"", if n == 0 { '{' } else { ',' }));
            for char in text.chars() {
                match char {
                    '\\' => self.0.push_str("\\\\"),
                    '"' => self.0.push_str("\\\""),
                    '\n' => self.0.push_str("\\n"),
                    _ => self.0.push(char),
                }
            }
            self.0.push('"');
        }
        self.put(format_args!("{} {value}\n", if labels.is_empty() { "" } else { "}" }));
    }

    /// A family of one sample, left out where there is no value.
    pub(crate) fn one(&mut self, name: &str, kind: &str, help: &str, value: Option<impl Display>) {
        if let Some(value) = value {
            self.family(name, kind, help);
            self.sample(name, &[], value);
        }
    }

    /// The page.
    pub(crate) fn text(self) -> String {
        self.0
    }

    fn put(&mut self, text: std::fmt::Arguments<'_>) {
        // Writing to a String cannot fail.
        let _never_fails = self.0.write_fmt(text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_cannot_leave_their_quotes() {
        let mut page = Page::default();
        page.family("x", "gauge", "Of tests");
        page.sample("x", &[("key", "a\"b\\c\nd"), ("state", "up")], 1.5);
        page.one("y", "gauge", "Nothing", None::<u64>);
        assert_eq!(page.text(), "# HELP x Of tests\n# TYPE x gauge\nx{key=\"a\\\"b\\\\c\\nd\",state=\"up\"} 1.5\n");
    }
}
