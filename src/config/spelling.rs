//! What a misspelt key was meant to be.

/// The nearest known name, as the end of a sentence; nothing when none is within two letters.
pub(super) fn closest<'n>(name: &str, known: impl Iterator<Item = &'n str>) -> String {
    let depth = name.matches('.').count();
    known
        .filter(|known| known.matches('.').count() == depth)
        .map(|known| (distance(name, known), known))
        .min()
        .filter(|(distance, _)| *distance <= 2)
        .map_or_else(String::new, |(_, known)| format!(", did you mean {known}?"))
}

/// Letters to insert, remove or replace to get from one name to the other (Levenshtein).
fn distance(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (index, letter) in from.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = index + 1;
        for column in 0..to.len() {
            let replaced = diagonal + usize::from(letter != to[column]);
            diagonal = row[column + 1];
            row[column + 1] = replaced.min(diagonal + 1).min(row[column] + 1);
        }
    }
    row[to.len()]
}
