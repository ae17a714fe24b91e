//! `key[:weight],...`: the list of keys as variables and files hold it.

use crate::secret::Secret;

/// The weights a key may have.
const WEIGHTS: std::ops::RangeInclusive<u32> = 1..=1_000;

/// Reads a list: entries between commas or line ends, blanks around them and empty entries ignored, weight 1 to 1000
/// and 1 where none is given. The errors tell every entry that is wrong, by its position and never by its text.
pub fn parse(text: &str) -> Result<Vec<(Secret, u32)>, Vec<String>> {
    let entries = text.split([',', '\n', '\r']).map(str::trim).filter(|entry| !entry.is_empty());
    let mut keys: Vec<(Secret, u32)> = Vec::new();
    let mut faults = Vec::new();
    for (n, entry) in entries.enumerate() {
        match one(entry) {
            Ok((key, weight)) => keys.push((Secret::new(key.to_owned()), weight)),
            Err(fault) => faults.push(format!("entry {}: {fault}", n + 1)),
        }
    }
    if faults.is_empty() { Ok(keys) } else { Err(faults) }
}

/// What is wrong with a key, if anything.
pub fn wrong(key: &str) -> Option<&'static str> {
    if key.is_empty() {
        return Some("the key is empty");
    }
    if key.starts_with("ya29.") || key.starts_with("eyJ") {
        return Some(
            "this looks like an OAuth or JSON Web Token, not like an API key: make one at aistudio.google.com/apikey",
        );
    }
    let known = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    (!key.bytes().all(known))
        .then_some("a key holds letters, digits, `.`, `_` and `-` only; keys stand between commas, a weight after `:`")
}

fn one(entry: &str) -> Result<(&str, u32), String> {
    let (key, weight) = match entry.rsplit_once(':') {
        Some((key, weight)) => (key.trim_end(), Some(weight.trim_start())),
        None => (entry, None),
    };
    if let Some(wrong) = wrong(key) {
        return Err(wrong.to_owned());
    }
    let read = weight.map_or(Ok(1), str::parse);
    // What stands where a weight should may be a key.
    let shown = weight.filter(|weight| weight.len() <= 6).unwrap_or("[secret]");
    let wrong = || format!("read the weight {shown:?}, allowed is a whole number from 1 to 1000");
    read.ok().filter(|weight| WEIGHTS.contains(weight)).map(|weight| (key, weight)).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Vec<(String, u32)>, Vec<String>> {
        parse(text).map(|keys| keys.into_iter().map(|(key, weight)| (key.expose().to_owned(), weight)).collect())
    }

    #[test]
    fn keys_and_weights_are_read() {
        for text in ["a:10,b-_.2", " a:10 ,\n b-_.2 ,,", "a : 10\r\nb-_.2\n", ",a:10,b-_.2:1,"] {
            assert_eq!(read(text).unwrap(), [("a".to_owned(), 10), ("b-_.2".to_owned(), 1)], "{text:?}");
        }
        assert_eq!(read(" , \n").unwrap(), []);
    }

    #[test]
    fn every_wrong_entry_is_told_and_none_is_shown() {
        let faults = read("AIzaGood,AIza Bad,AIzaWeight:0,ya29.token,eyJhbGciOi,a:AIzaSwapped,x:1001,:5").unwrap_err();
        assert_eq!(faults.len(), 7, "{faults:?}");
        assert!(faults[0].starts_with("entry 2: "));
        assert!(faults[1].contains("\"0\""));
        let told = faults.concat();
        assert!(!told.contains("AIza") && !told.contains("token,") && !told.contains("hbGci"), "{told}");
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in ".*") {
            let _ = parse(&text);
        }
    }
}
