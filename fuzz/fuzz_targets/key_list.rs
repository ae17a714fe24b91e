//! No list of keys makes its parser panic.
//! Run: `cargo +nightly fuzz run key_list -- -max_total_time=60`
#![no_main]

use geminate::config::key_list;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|list: &str| {
    drop(key_list::parse(list));
});
