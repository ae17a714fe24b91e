//! No request target makes the parser panic, carries a credential upstream, or leads out of the API's roots.
//! Run: `cargo +nightly fuzz run endpoint -- -max_total_time=60`
#![no_main]

use geminate::endpoint::{Endpoint, Surface, parameters};
use geminate::resource::Resource;
use http::{Method, Uri};
use libfuzzer_sys::fuzz_target;
use percent_encoding::percent_decode_str;

fuzz_target!(|input: (u8, &str)| {
    let (choice, target) = input;
    let Ok(uri) = target.parse::<Uri>() else { return };
    let method = if choice & 1 == 0 { Method::GET } else { Method::POST };
    let surface = [Surface::Gemini, Surface::OpenAi, Surface::Interactions][usize::from(choice >> 1) % 3];
    let Ok(endpoint) = Endpoint::parse(&method, &uri, surface) else { return };
    let sent = &endpoint.target;
    for parameter in parameters(sent.query()) {
        let name = parameter.split('=').next().unwrap_or("");
        assert!(!percent_decode_str(name).eq(b"key".iter().copied()), "a credential in {sent}");
    }
    for part in sent.path().split('/').filter(|part| percent_decode_str(part).any(|byte| byte == b'/')) {
        assert!(surface == Surface::OpenAi, "an encoded slash in {sent}");
        let name = percent_decode_str(part).decode_utf8().unwrap();
        let known = name.starts_with("models/") || Resource::of_value(&name).is_some();
        assert!(known && !name.contains("//") && !name.ends_with('/'), "an encoded slash in no name: {sent}");
    }
    let path: Vec<u8> = percent_decode_str(sent.path()).collect();
    let mut segments = path.split(|byte| *byte == b'/');
    assert_eq!(segments.next(), Some(&b""[..]), "not from the root: {sent}");
    let root = segments.next();
    assert!(
        matches!(root, Some(b"v1" | b"v1beta" | b"v1alpha" | b"upload" | b"download" | b"ws")),
        "out of the version roots: {sent}"
    );
    assert!(!segments.any(|segment| matches!(segment, b"." | b"..")), "a dot segment in {sent}");
    assert!(!path.contains(&b'\\'), "a backslash in {sent}");
});
