//! The meter reads the same from any bytes however they are cut, and so does the peek at a request's body survive them.
//! Run: `cargo +nightly fuzz run sse_meter -- -max_total_time=60`
#![no_main]

use geminate::meter::Meter;
use geminate::skim::peek;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (&[u8], &[u8])| {
    let (cuts, stream) = input;
    let mut whole = Meter::default();
    whole.feed(stream);
    assert!(whole.error_offset().is_none_or(|offset| offset < stream.len()));
    let mut bytewise = Meter::default();
    stream.chunks(1).for_each(|byte| bytewise.feed(byte));
    let mut cut = Meter::default();
    let mut rest = stream;
    let mut passed = 0;
    for length in cuts {
        let (chunk, after) = rest.split_at(usize::from(*length).min(rest.len()));
        cut.feed(chunk);
        passed += cut.error_offset().unwrap_or(chunk.len());
        rest = after;
    }
    cut.feed(rest);
    passed += cut.error_offset().unwrap_or(rest.len());
    // What may pass of a stream never shrinks below what may pass of it whole.
    assert!(passed >= whole.error_offset().unwrap_or(stream.len()));
    for other in [bytewise, cut] {
        assert_eq!(seen(&whole), seen(&other));
    }
    peek(stream);
});

fn seen(meter: &Meter) -> impl PartialEq + std::fmt::Debug {
    let flags = [meter.has_content(), meter.error(), meter.at_boundary(), meter.complete()];
    (meter.usage(), meter.finish(), meter.newline_style(), flags)
}
