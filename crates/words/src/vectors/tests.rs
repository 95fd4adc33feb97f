use std::path::{Path, PathBuf};

use proptest::prelude::*;

use super::{
    judge::{analogies, similarities},
    near::Index,
    write::{Target, write},
    *,
};

/// Words on a circle and beside it.
fn vectors() -> Vectors {
    let words = [
        ("king", [1.0, 0.0, 1.0]),
        ("man", [1.0, 0.0, 0.0]),
        ("queen", [0.0, 1.0, 1.0]),
        ("woman", [0.0, 1.0, 0.0]),
        ("apple", [-1.0, -1.0, 0.25]),
        ("Äpfel", [-1.0, -1.5, 1.0 / 3.0]),
    ];
    let vocab = Vocab::from_words(words.iter().map(|&(w, _)| (w, 0))).unwrap();
    let numbers = words.iter().flat_map(|(_, x)| *x).collect();
    Vectors::new(Path::new("test"), Format::Directory, vocab, 3, numbers)
}

fn file(dir: &tempfile::TempDir, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
    let path = dir.path().join(name);
    std::fs::write(&path, bytes).unwrap();
    path
}

fn error(path: &Path) -> String {
    Vectors::open(path).err().unwrap_or_else(|| panic!("{} opened", path.display())).to_string()
}

#[test]
fn every_format_comes_back() {
    let dir = tempfile::tempdir().unwrap();
    let want = vectors();
    for (target, format) in Target::ALL.into_iter().zip([
        Format::Word2VecText,
        Format::Word2VecBinary,
        Format::GloveText,
        Format::Safetensors,
    ]) {
        let path = dir.path().join(target.to_string());
        write(&want, target, &path).unwrap();
        let got = Vectors::open(&path).unwrap();
        assert_eq!(got.format, format);
        assert_eq!((got.rows(), got.dimension()), (want.rows(), 3), "{target}");
        assert!(got.vocab.words().eq(want.vocab.words()), "{target}");
    }
}

/// Cut anywhere, a file is refused and never half read; and no damaged byte makes the program panic.
#[test]
fn files_cut_anywhere() {
    let dir = tempfile::tempdir().unwrap();
    for target in Target::ALL {
        let path = dir.path().join("v");
        write(&vectors(), target, &path).unwrap();
        let whole = std::fs::read(&path).unwrap();
        for cut in 0..whole.len() {
            let path = file(&dir, "cut", &whole[..cut]);
            match Vectors::open(&path) {
                Err(e) => assert!(e.to_string().contains("cut"), "{e}"),
                // The line end behind the last word says nothing; GloVe's text has no count, so whole lines are a file.
                Ok(got) => {
                    let line = target == Target::GloveText && got.len() < vectors().len() || cut + 1 == whole.len();
                    let last = target == Target::GloveText || target == Target::Word2VecText;
                    // A number may lose its last digits unnoticed where nothing stands behind it.
                    assert!(line || last && cut + 12 >= whole.len(), "{target} cut at {cut} of {}", whole.len());
                }
            }
        }
        for at in 0..whole.len() {
            let mut bytes = whole.clone();
            bytes[at] ^= 0x55;
            let _ = Vectors::open(&file(&dir, "damaged", &bytes));
        }
    }
}

#[test]
fn errors_name_the_place() {
    let dir = tempfile::tempdir().unwrap();
    #[track_caller]
    fn check(dir: &tempfile::TempDir, bytes: impl AsRef<[u8]>, want: &str) {
        let e = error(&file(dir, "v.txt", bytes));
        assert!(e.contains(want), "{e}");
    }
    check(&dir, "2 3\na 1 2 3\nb 1 2\n", "v.txt: line 3: 2 numbers, wanted 3");
    check(&dir, "2 3\na 1 2 3\nb 1 x 3\n", "line 3: number 2 is `x`");
    check(&dir, "3 3\na 1 2 3\nb 1 2 3\n", "ends after 2 of 3 words");
    check(&dir, "1 3\na 1 2 3\nb 1 2 3\n", "line 3: more words than the 1 of the first line");
    check(&dir, "a 1 2 3\nb 1 2 3 \nc d 1 2\n", "line 3: number 1 is `d`");
    check(&dir, "a 1 2 3\nb 1\n", "line 2: 1 numbers, wanted 3");
    check(&dir, "hello\n", "not a file of word vectors");
    check(&dir, "", "an empty file");
    check(&dir, b"\x80\x04\x95abc", "a Python pickle, which is not executed here\nhint: in Python: ");
    check(&dir, b"\x1f\x8b\x08\x00", "a gzip file");
    check(&dir, b"2 2\na \x00\x00\x80\x3f\x00\x00", "cut short: 12 bytes, too few for 2 words of 2 dimensions");
    check(&dir, b"99999999999999999 9999999999\na \x00\x00", "cut short");
    check(&dir, b"1 1\na \x00\x00\x80\x3fxyz", "3 bytes behind the last of 1 words");
    check(&dir, b"2 1\nab\xff \x00\x00\x80\x3fb \x00\x00\x80\x3f", "word 1, byte 4: not UTF-8");
    assert!(error(&dir.path().join("none")).contains("none: cannot open"));
    assert!(error(dir.path()).contains("holds 0 .npy files"));
}

#[test]
fn numbers_that_are_none_in_text() {
    let dir = tempfile::tempdir().unwrap();
    for (bad, says) in [("nan", "number 2 is `nan`"), ("inf", "number 2 is `inf`")] {
        let path = file(&dir, "v.txt", format!("a 1 2\nb 1 {bad}\n"));
        let e = Vectors::open(&path).err().map(|e| e.to_string()).unwrap_or_default();
        assert!(e.contains(says), "{e}");
    }
}

#[test]
fn words_with_spaces_in_text() {
    let dir = tempfile::tempdir().unwrap();
    let path = file(&dir, "glove.txt", "new york 1 2\n. . 3 4\n");
    // The first line has two numbers at its end.
    let v = Vectors::open(&path).unwrap();
    assert_eq!((v.dimension(), v.vocab.id("new york"), v.vocab.id(". .")), (2, Some(0), Some(1)));
    let e = write(&v, Target::Word2VecText, &dir.path().join("out")).unwrap_err().to_string();
    assert!(e.contains("the word \"new york\" cannot be written as word2vec-text"), "{e}");
    write(&v, Target::Safetensors, &dir.path().join("out")).unwrap();
    assert_eq!(Vectors::open(&dir.path().join("out")).unwrap().vocab.id("new york"), Some(0));
}

#[test]
fn matrices_beside_words() {
    let header = |dtype: &str, shape: &str, order: &str| {
        let text = format!("{{'descr': '{dtype}', 'fortran_order': {order}, 'shape': {shape}, }}\n");
        [b"\x93NUMPY\x01\x00".to_vec(), (text.len() as u16).to_le_bytes().to_vec(), text.into_bytes()].concat()
    };
    let numbers = |n: usize| (0..n).flat_map(|i| (i as f32).to_le_bytes()).collect::<Vec<u8>>();
    let dir = tempfile::tempdir().unwrap();
    file(&dir, "words.txt", "a\nb\n");
    let path = file(&dir, "m.npy", [header("<f4", "(2, 3)", "False"), numbers(6)].concat());
    for path in [dir.path(), &path] {
        let v = Vectors::open(path).unwrap();
        assert_eq!((v.row(1), v.vocab.id("b"), v.format), (&[3.0, 4.0, 5.0][..], Some(1), Format::Arrays));
    }
    assert!(is_directory(dir.path()));
    std::fs::write(&path, [header("<f4", "(2, 3)", "True"), numbers(6)].concat()).unwrap();
    assert_eq!(Vectors::open(&path).unwrap().row(1), [1.0, 3.0, 5.0], "in column order");
    for (bytes, want) in [
        ([header("<f4", "(2, 3)", "False"), numbers(5)].concat(), "20 bytes of numbers, wanted 2 x 3 of 4 bytes"),
        ([header("<f4", "(3, 2)", "False"), numbers(6)].concat(), "2 words for 3 vectors"),
        ([header(">f4", "(2, 3)", "False"), numbers(6)].concat(), "numbers of type >f4"),
        ([header("<f4", "(6,)", "False"), numbers(6)].concat(), "wanted a matrix"),
        (b"\x93NUMPY\x01\x00\xff\xff{".to_vec(), "cut short"),
        (b"\x93NUMPY".to_vec(), "cut short"),
    ] {
        std::fs::write(&path, bytes).unwrap();
        assert!(error(&path).contains(want), "{} {want}", error(&path));
    }
    std::fs::write(&path, [header("<f4", "(2, 3)", "False"), numbers(6)].concat()).unwrap();
    file(&dir, "words.parquet", b"PAR1 not really");
    assert!(error(dir.path()).contains("words.parquet"), "{}", error(dir.path()));
}

#[test]
fn neighbours_and_analogies() {
    let v = vectors();
    let index = Index::new(&v);
    let near = index.similar("king", 2).unwrap();
    assert_eq!(near[0].word, "man");
    assert!((near[0].similarity - 1.0 / 2.0f32.sqrt()).abs() < 1e-6);
    assert_eq!(index.analogy("man", "king", "woman", 1).unwrap()[0].word, "queen");
    assert_eq!(index.similar("king", 100).unwrap().len(), 5);
    assert!(index.similar("kign", 1).unwrap_err().to_string().contains("did you mean `king`?"));
}

#[test]
fn tests_of_vectors() {
    let dir = tempfile::tempdir().unwrap();
    let v = vectors();
    let path = file(
        &dir,
        "q.txt",
        ": family\nMan King Woman Queen\nman king woman apple\nman king woman pear\n: gram1-x\nwoman queen man king\n",
    );
    let found = analogies(&v, &path, 0).unwrap();
    let triple = |s: &judge::Section| (s.correct, s.asked, s.total);
    assert_eq!(found.sections.iter().map(triple).collect::<Vec<_>>(), [(1, 2, 3), (1, 1, 1)]);
    assert_eq!(
        (triple(&found.semantic), triple(&found.syntactic), triple(&found.all)),
        ((1, 2, 3), (1, 1, 1), (2, 3, 4))
    );
    // Woman is the fourth word.
    let e = analogies(&v, &path, 3).unwrap_err().to_string();
    assert!(e.ends_with("q.txt: none of 4 questions has all its words in the vocabulary"), "{e}");
    let path = file(&dir, "q.txt", "a b c\n");
    assert!(
        analogies(&v, &path, 0)
            .unwrap_err()
            .to_string()
            .ends_with("q.txt: line 1: 3 words, wanted four, or `: name of a section`")
    );
    assert!(analogies(&v, &file(&dir, "q.txt", ": x\n"), 0).unwrap_err().to_string().contains("holds no questions"));

    let path = file(
        &dir,
        "s.tsv",
        "word1\tword2\tscore\n# a comment\nking\tman\t9.1\nking\tapple\t1\nman\twoman\t5\nking\tpear\t3\n",
    );
    let s = similarities(&v, &path).unwrap();
    assert_eq!((s.spearman, s.pairs, s.total), (1.0, 3, 4));
    for (text, want) in [
        ("king man 3\n", "line 1: 1 fields, wanted two words and a score"),
        ("king\tman\t3\nking\tman\tx\n", "line 2: the score is `x`"),
        ("x\ty\t3\n", "only 0 of 1 pairs"),
        ("\n", "holds no pairs"),
    ] {
        let e = similarities(&v, &file(&dir, "s.tsv", text)).unwrap_err().to_string();
        assert!(e.contains(want), "{e}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn any_bytes_are_taken_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200), head in "(|[0-9]{1,3} [0-9]{1,2}\n)") {
        let all = [head.as_bytes(), &bytes].concat();
        for format in [Format::Word2VecText, Format::GloveText] {
            let _ = text::parse(Path::new("x"), format, &all);
        }
        let _ = binary::parse(Path::new("x"), &all);
        let _ = arrays::npy(Path::new("x"), &[b"\x93NUMPY", &all[..]].concat());
    }

    #[test]
    fn any_words_and_numbers_come_back(
        rows in proptest::collection::btree_map("[^\\s]{1,6}", proptest::collection::vec(-1e30f32..1e30, 3), 1..8),
    ) {
        let vocab = Vocab::from_words(rows.keys().map(|w| (&w[..], 0))).unwrap();
        let numbers: Vec<f32> = rows.values().flatten().copied().collect();
        let v = Vectors::new(Path::new("x"), Format::Directory, vocab, 3, numbers);
        let dir = tempfile::tempdir().unwrap();
        for target in [Target::Word2VecText, Target::Word2VecBinary, Target::Safetensors] {
            let path = dir.path().join("v");
            write(&v, target, &path).unwrap();
            let bytes = std::fs::read(&path).unwrap();
            let got = match target {
                Target::Word2VecBinary => binary::parse(&path, &bytes).unwrap(),
                Target::Word2VecText => text::parse(&path, Format::Word2VecText, &bytes).unwrap(),
                _ => open_safetensors(&path).unwrap(),
            };
            prop_assert_eq!(got.rows(), v.rows());
            prop_assert!(got.vocab.words().eq(v.vocab.words()));
        }
    }
}
