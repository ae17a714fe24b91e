//! Counts and samples that one thread gathers, to be handed to the metrics that all threads share now and then.

use std::time::Duration;

use metrics::{Counter, Histogram};

/// Samples gathered before they are handed over at once.
const SAMPLES_MAX: usize = 128;

/// A count with its name.
#[derive(Debug)]
pub(crate) struct Tally {
    pub(crate) name: &'static str,
    pub(crate) count: u64,
    told: u64,
    meter: Counter,
}

impl Tally {
    pub(crate) fn new(name: &'static str, meter: Counter) -> Self {
        Self { name, count: 0, told: 0, meter }
    }

    /// Tells the metric what was counted since the last time.
    pub(crate) fn flush(&mut self) {
        if self.count > self.told {
            self.meter.increment(self.count - self.told);
            self.told = self.count;
        }
    }
}

/// Times with the histogram they are for.
#[derive(Debug)]
pub(crate) struct Samples {
    gathered: Vec<f64>,
    meter: Histogram,
}

impl Samples {
    pub(crate) fn new(meter: Histogram) -> Self {
        Self { gathered: Vec::new(), meter }
    }

    pub(crate) fn record(&mut self, time: Duration) {
        self.gathered.push(time.as_secs_f64());
        if self.gathered.len() == SAMPLES_MAX {
            self.flush();
        }
    }

    /// Tells the histogram what was gathered since the last time.
    pub(crate) fn flush(&mut self) {
        for seconds in self.gathered.drain(..) {
            self.meter.record(seconds);
        }
    }
}
