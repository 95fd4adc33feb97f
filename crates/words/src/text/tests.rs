use std::path::Path;

use super::{
    encode::{Prepare, VocabularyConfig},
    phrases::PhrasesConfig,
    *,
};

fn prepare(min_count: u64) -> Prepare<'static> {
    Prepare {
        text: TextConfig { split: Split::Words, lowercase: true, sentences: SentenceEnds::Lines },
        vocabulary: VocabularyConfig { min_count, max_vocab_size: 0, max_final_vocab: 0 },
        phrases: None,
        known: None,
    }
}

fn open(text: &Text<'_>, dir: &Path, prepare: &Prepare<'_>) -> Result<Prepared> {
    Prepared::open(text, dir, prepare, &mut |_, _| Ok(()))
}

/// The text again, from its numbers.
fn decoded(p: &Prepared) -> String {
    let words = |s: &[u32]| s.iter().map(|&id| p.vocab.word(id)).collect::<Vec<_>>().join(" ");
    p.ids.part(0, usize::MAX / 2).map(words).collect::<Vec<_>>().join(" | ")
}

const TEXT: &str = "The cat sat.\n\nA cat, a dog!\nOnce\nthe cat ran";

#[test]
fn words_become_numbers_by_frequency() {
    let dir = tempfile::tempdir().unwrap();
    let p = open(&of_lines(TEXT), dir.path(), &prepare(1)).unwrap();
    assert_eq!(p.vocab.words().collect::<Vec<_>>(), ["cat", "a", "the", "dog", "once", "ran", "sat"]);
    assert_eq!(p.vocab.counts(), [3, 2, 2, 1, 1, 1, 1]);
    assert_eq!(decoded(&p), "the cat sat | a cat a dog | once | the cat ran");
    assert_eq!(p.ids.words(), 11);
    // It is found again, and needs no text.
    let again = open(&of_lines(""), dir.path(), &prepare(1)).unwrap();
    assert_eq!((again.ids.ids(), again.ids.hash()), (p.ids.ids(), p.ids.hash()));
}

#[test]
fn rare_words_are_left_out() {
    let dir = tempfile::tempdir().unwrap();
    let p = open(&of_lines(TEXT), dir.path(), &prepare(2)).unwrap();
    assert_eq!(decoded(&p), "the cat | a cat a | the cat");
    let e = open(&of_lines(TEXT), &dir.path().join("x"), &prepare(9)).err().unwrap().to_string();
    assert_eq!(
        e,
        "test: no word occurs 9 times or more: 11 words, the most frequent 3 time(s)\n\
        hint: lower vocabulary.min_count, or give more text"
    );
    let e = open(&of_lines(TEXT), &dir.path().join("x"), &prepare(3)).err().unwrap().to_string();
    assert!(e.starts_with("test: only one word, `cat`, occurs 3 times or more"), "{e}");
    assert!(open(&of_lines(""), &dir.path().join("x"), &prepare(1)).is_err());
}

#[test]
fn limits() {
    let dir = tempfile::tempdir().unwrap();
    let mut p = prepare(1);
    p.vocabulary.max_final_vocab = 2;
    assert_eq!(decoded(&open(&of_lines(TEXT), dir.path(), &p).unwrap()), "cat | a cat a | cat");
    p.vocabulary = VocabularyConfig { min_count: 1, max_vocab_size: 4, max_final_vocab: 0 };
    let few = open(&of_lines(TEXT), &dir.path().join("x"), &p).unwrap();
    assert!(few.vocab.len() <= 4 && few.vocab.id("cat").is_some());
}

#[test]
fn parts_hold_each_sentence_once() {
    let dir = tempfile::tempdir().unwrap();
    let lines: String = (0..500).map(|i| format!("{}\n", "w x y z ".repeat(i % 7))).collect();
    let text = Text::Documents {
        name: "test".into(),
        documents: Box::new(|| Box::new(lines.lines().map(str::to_owned).collect::<Vec<_>>().into_iter())),
    };
    let p = open(&text, dir.path(), &prepare(1)).unwrap();
    let all: Vec<&[u32]> = p.ids.part(0, usize::MAX / 2).collect();
    assert_eq!(all.len(), 500 - 500_usize.div_ceil(7));
    for size in [1, 3, 10, 64, 5000] {
        let parts: Vec<&[u32]> = (0..p.ids.parts(size)).flat_map(|part| p.ids.part(part, size)).collect();
        assert_eq!(parts, all, "{size}");
    }
}

#[test]
fn long_sentences_are_cut() {
    let dir = tempfile::tempdir().unwrap();
    let text = "a b ".repeat(encode::LONGEST);
    let text =
        Text::Documents { name: "test".into(), documents: Box::new(move || Box::new(std::iter::once(text.clone()))) };
    let p = open(&text, dir.path(), &prepare(1)).unwrap();
    let lengths: Vec<usize> = p.ids.part(0, usize::MAX / 2).map(<[u32]>::len).collect();
    assert_eq!(lengths, [encode::LONGEST; 2]);
}

#[test]
fn phrases_are_joined() {
    let dir = tempfile::tempdir().unwrap();
    let text = of_lines(
        "in new york city it rains\nnew york city is big\nthe city of new york\nnew york city\nrare thing new york\n\
         it is in the big new york\na cat is in the thing of a dog it rains",
    );
    let mut p = prepare(2);
    p.phrases = Some(PhrasesConfig { passes: 2, threshold: 2.5, min_count: 1 });
    let joined = open(&text, dir.path(), &p).unwrap();
    let shown = decoded(&joined);
    assert_eq!(shown.matches("new_york_city").count(), 3, "{shown}");
    assert_eq!(joined.vocab.count(joined.vocab.id("new_york_city").unwrap()), 3);
    assert!(joined.phrases >= 2, "{}", joined.phrases);
    assert!(!shown.contains("rare"), "{shown}");
    let names: Vec<String> =
        std::fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    assert_eq!(names.len(), 3, "nothing else stays: {names:?}");
}

#[test]
fn known_words_stay_and_new_ones_come() {
    let dir = tempfile::tempdir().unwrap();
    let known = Vocab::from_words([("cat", 10), ("elephant", 4), ("sat", 2)]).unwrap();
    let mut p = prepare(2);
    p.known = Some(&known);
    let p = open(&of_lines(TEXT), dir.path(), &p).unwrap();
    assert_eq!(p.vocab.words().collect::<Vec<_>>(), ["cat", "elephant", "sat", "a", "the"]);
    assert_eq!(p.vocab.counts(), [13, 4, 3, 2, 2]);
    assert_eq!(decoded(&p), "the cat sat | a cat a | the cat");
}

#[test]
fn damaged_ids_are_named() {
    let dir = tempfile::tempdir().unwrap();
    drop(open(&of_lines(TEXT), dir.path(), &prepare(1)).unwrap());
    let ids = std::fs::read(dir.path().join("ids")).unwrap();
    std::fs::write(dir.path().join("ids"), &ids[..ids.len() - 4]).unwrap();
    let e = Prepared::find(dir.path()).err().unwrap().to_string();
    assert!(e.contains("ids: has 56 bytes, wanted 60\nhint: remove "), "{e}");
    std::fs::write(dir.path().join("corpus.json"), "{").unwrap();
    assert!(Prepared::find(dir.path()).is_err());
}
