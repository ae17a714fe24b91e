//! Who shares a quota: keys that are of one project by its label or by the name that Google gives it.

use std::collections::HashMap;

/// For each key the others with which it shares a tie, directly or through others; ties are compared as text.
pub(super) fn groups(ties: &[Vec<String>]) -> Vec<Vec<usize>> {
    // Each key points to an earlier one of its project, or to itself.
    let mut first: Vec<usize> = (0..ties.len()).collect();
    let mut known: HashMap<&str, usize> = HashMap::new();
    for (n, own) in ties.iter().enumerate() {
        for tie in own {
            let other = *known.entry(tie).or_insert(n);
            let (a, b) = (root(&first, n), root(&first, other));
            first[a.max(b)] = a.min(b);
        }
    }
    let mut members: HashMap<usize, Vec<usize>> = HashMap::new();
    for n in 0..ties.len() {
        members.entry(root(&first, n)).or_default().push(n);
    }
    let others = |n: usize| members[&root(&first, n)].iter().copied().filter(|other| *other != n).collect();
    (0..ties.len()).map(others).collect()
}

fn root(first: &[usize], mut n: usize) -> usize {
    while first[n] != n {
        n = first[n];
    }
    n
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ties_join_through_others() {
        let ties = |all: &[&[&str]]| -> Vec<Vec<String>> {
            all.iter().map(|own| own.iter().map(|tie| (*tie).to_owned()).collect()).collect()
        };
        let joined = groups(&ties(&[&["label a"], &["google 1"], &["label a", "google 1"], &["label b"], &[]]));
        assert_eq!(joined, [vec![1, 2], vec![0, 2], vec![0, 1], vec![], vec![]]);
    }
}
