//! The nearest right word, for hints.

/// The candidate that `word` most likely stands for, or `None` when none is near.
///
/// Near means: at most a third of the letters wrong, missing, too many or swapped with their neighbour (one is always
/// allowed), upper and lower case being the same. Of equally near candidates the first one wins.
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word = word.to_lowercase();
    let length = word.chars().count();
    let mut best: Option<(usize, &str)> = None;
    for candidate in candidates {
        let distance = strsim::osa_distance(&word, &candidate.to_lowercase());
        let limit = (length.max(candidate.chars().count()) / 3).max(1);
        // A word of one letter is one mistake away from every other letter.
        let related = distance < length.max(1);
        if distance <= limit && related && best.is_none_or(|(least, _)| distance < least) {
            best = Some((distance, candidate));
        }
    }
    best.map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(word: &str, want: Option<&str>) {
        let candidates = ["train.steps", "train.lr", "model.layers", "seed", "é"];
        assert_eq!(nearest(word, candidates), want, "word {word:?}");
    }

    #[test]
    fn nearest_word() {
        check("trian.steps", Some("train.steps"));
        check("TRAIN.LR", Some("train.lr"));
        check("sed", Some("seed"));
        check("model.layer", Some("model.layers"));
        check("É", Some("é"));
        check("x", None);
        check("", None);
        check("something else", None);
    }

    #[test]
    fn first_of_equals() {
        assert_eq!(nearest("bat", ["cat", "hat"]), Some("cat"));
        assert_eq!(nearest("bat", []), None);
    }
}
