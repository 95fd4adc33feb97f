//! Corpora of every form, and every way they can be wrong.

use super::*;
use proptest::prelude::*;
use std::{fs, io::Write};

struct Folder(tempfile::TempDir);

impl Folder {
    fn new(files: &[(&str, &[u8])]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        for (name, content) in files {
            let path = dir.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
        Self(dir)
    }

    /// The documents that `path` gives, with pieces of `limit` bytes put together.
    fn read(&self, path: &str, limit: usize) -> Result<Vec<String>, Error> {
        let options = Options { piece_bytes: limit, ..Options::default() };
        let mut documents = vec![String::new()];
        for piece in Corpus::open(&[self.0.path().join(path)], options)?.pieces() {
            let piece = piece?;
            assert_eq!(piece.document, documents.len() as u64 - 1);
            documents.last_mut().unwrap().push_str(&piece.text);
            if piece.last {
                documents.push(String::new());
            }
        }
        assert_eq!(documents.pop().unwrap(), "", "a document without an end");
        Ok(documents)
    }

    #[track_caller]
    fn check(&self, path: &str, want: &[&str]) {
        for limit in [4, 7, 1000] {
            assert_eq!(self.read(path, limit).unwrap(), want, "{path} in pieces of {limit}");
        }
    }

    /// The message without the folder, and the hint.
    #[track_caller]
    fn check_error(&self, path: &str, want: &str, hint: &str) {
        for limit in [4, 1000] {
            let error = self.read(path, limit).unwrap_err();
            let message = error.to_string().replace(&format!("{}/", self.0.path().display()), "");
            assert!(message.contains(want), "got  {message}\nwant {want}");
            assert!(error.hint().unwrap_or_default().contains(hint), "hint {:?}", error.hint());
        }
    }
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn text_files() {
    let folder = Folder::new(&[
        ("plain.txt", "one\ntwo ⇒ drei\n".as_bytes()),
        ("windows.txt", b"\xef\xbb\xbfa\r\nb\rc\r\n\r\n"),
        ("packed.txt.gz", &gzip(b"packed\n")),
        ("members.txt.gz", &[gzip(b"first "), gzip(b"second")].concat()),
        ("packed.txt.zst", &zstd::encode_all(&b"packed too"[..], 1).unwrap()),
    ]);
    folder.check("plain.txt", &["one\ntwo ⇒ drei\n"]);
    folder.check("windows.txt", &["a\nb\rc\n\n"]);
    folder.check("packed.txt.gz", &["packed\n"]);
    folder.check("members.txt.gz", &["first second"]);
    folder.check("packed.txt.zst", &["packed too"]);
}

#[test]
fn json_rows() {
    let rows =
        "\u{feff}{\"id\": 1, \"text\": \"a\\r\\nb\"}\r\n\n{\"text\": \"\", \"x\": {}}\n{\"text\": \"a longer row 语\"}";
    let folder = Folder::new(&[("rows.jsonl", rows.as_bytes()), ("rows.jsonl.gz", &gzip(rows.as_bytes()))]);
    folder.check("rows.jsonl", &["a\r\nb", "", "a longer row 语"]);
    folder.check("rows.jsonl.gz", &["a\r\nb", "", "a longer row 语"]);
}

#[test]
fn folders_and_patterns() {
    let folder = Folder::new(&[
        ("b.txt", b"b"),
        ("a/z.txt", b"z"),
        ("a/y.jsonl", b"{\"text\": \"y\"}"),
        (".hidden/x.txt", b"x"),
        ("README.md", b"?"),
        ("[odd].txt", b"odd"),
    ]);
    folder.check("", &["odd", "y", "z", "b"]);
    folder.check("*.txt", &["odd", "b"]);
    folder.check("**/*.txt", &["odd", "z", "b"]);
    folder.check("a/{x,y,z}.*", &["y", "z"]);
    folder.check("[odd].txt", &["odd"]);
    assert_eq!(Corpus::open(&[folder.0.path()], Options::default()).unwrap().ignored(), 1);
}

#[test]
fn wrong_paths() {
    let folder = Folder::new(&[
        ("table.parquet", b"PAR1"),
        ("list.json", b"[]"),
        ("noext", b"?"),
        ("empty.txt", b""),
        ("only/img.png", b"?"),
        ("bom.txt", b"\xef\xbb\xbf"),
        ("blank.jsonl", b"\n\n"),
    ]);
    folder.check_error("missing.txt", "missing.txt: no such file", "");
    folder.check_error("*.jsonl.gz", "matches no file", "quotes");
    folder.check_error("gone/*.txt", "matches no file", "");
    folder.check_error("a[.txt", "not a pattern", "");
    folder.check_error("only", "holds no .txt or .jsonl file, plain or as .gz or .zst; 1 other", "");
    folder.check_error("table.parquet", "unknown extension", "to_json");
    folder.check_error("list.json", "unknown extension", ".jsonl");
    folder.check_error("noext", "unknown extension", ".txt");
    folder.check_error("empty.txt", "empty.txt: is empty", "");
    folder.check_error("bom.txt", "bom.txt: is empty", "");
    folder.check_error("blank.jsonl", "blank.jsonl: is empty", "");
    assert!(matches!(Corpus::open::<&str>(&[], Options::default()), Err(Error::NoPaths)));
}

#[test]
fn wrong_content() {
    let packed = gzip(&b"some text that is long enough to cut ".repeat(20));
    let zst = zstd::encode_all(&b"some text that is long enough".repeat(20)[..], 1).unwrap();
    let folder = Folder::new(&[
        ("latin1.txt", b"good\nline\ncaf\xe9 au lait\n"),
        ("half.txt", b"cut \xe8\xaf"),
        ("utf16.txt", b"\xff\xfea\0"),
        ("nul.txt", b"text\nmore\0"),
        ("broken.jsonl", b"{\"text\": \"a\"}\n{\"text\": \"b\n"),
        ("list.jsonl", b"{\"text\": \"a\"}\n\n[1]\n"),
        ("two.jsonl", b"{\"text\": \"a\"} {}\n"),
        ("field.jsonl", b"{\"body\": \"a\", \"id\": 3}\n"),
        ("number.jsonl", b"{\"text\": 3}\n"),
        ("latin1.jsonl", b"{\"text\": \"a\"}\n{\"text\": \"\xe9\"}\n"),
        ("nul.jsonl", b"{\"text\": \"a\"}\n\0\n"),
        ("cut.txt.gz", &packed[..packed.len() / 2]),
        ("cut.txt.zst", &zst[..zst.len() / 2]),
        ("fake.txt.gz", b"not packed"),
    ]);
    folder.check_error("latin1.txt", "latin1.txt:3: not UTF-8 at byte 13: 0xe9", "iconv");
    folder.check_error("half.txt", "half.txt:1: not UTF-8 at byte 4: 0xe8", "iconv");
    folder.check_error("utf16.txt", "utf16.txt:1: a binary file: NUL at byte 3", "");
    folder.check_error("nul.txt", "nul.txt:2: a binary file: NUL at byte 9", "");
    folder.check_error("broken.jsonl", "broken.jsonl:2: not a JSON object", "");
    folder.check_error("list.jsonl", "list.jsonl:3: not a JSON object: invalid type: sequence", "");
    folder.check_error("two.jsonl", "two.jsonl:1: not a JSON object: trailing characters", "");
    folder.check_error("field.jsonl", "field.jsonl:1: no field \"text\"; the row has body, id", "field");
    folder.check_error("number.jsonl", "number.jsonl:1: field \"text\" is a number, want a string", "");
    folder.check_error("latin1.jsonl", "latin1.jsonl:2: not UTF-8 at byte 24: 0xe9", "iconv");
    folder.check_error("nul.jsonl", "nul.jsonl:2: a binary file: NUL at byte 14", "");
    folder.check_error("cut.txt.gz", "cut.txt.gz: cannot be read", "");
    folder.check_error("cut.txt.zst", "cut.txt.zst: cannot be read", "");
    folder.check_error("fake.txt.gz", "fake.txt.gz: cannot be read", "");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn pieces_are_the_text(lines in prop::collection::vec("[a-c é语\t\r]{0,6}(\r\n|\n|)", 1..12), limit in 4usize..40) {
        let text = lines.concat();
        prop_assume!(!text.is_empty());
        let folder = Folder::new(&[("x.txt", text.as_bytes())]);
        prop_assert_eq!(folder.read("x.txt", limit).unwrap(), [text.replace("\r\n", "\n")]);
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 1..60), limit in 4usize..40) {
        let folder = Folder::new(&[("x.txt", &bytes), ("x.jsonl", &bytes), ("x.txt.gz", &bytes), ("x.txt.zst", &bytes)]);
        for name in ["x.txt", "x.jsonl", "x.txt.gz", "x.txt.zst"] {
            if let Err(error) = folder.read(name, limit) {
                prop_assert!(error.to_string().contains(name), "{}", error);
            }
        }
    }
}
