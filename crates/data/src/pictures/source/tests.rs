//! Readers on small files made here, right and wrong ones.

use super::*;
use crate::labelled;
use serde_json::json;
use std::{fs, io::Write};
use tempfile::TempDir;

fn put(dir: &TempDir, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
    let path = dir.path().join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, bytes).unwrap();
    path
}

fn png(shade: u8) -> Vec<u8> {
    Picture::filled(6, 4, [shade; 3]).to_png().unwrap()
}

fn dir() -> TempDir {
    tempfile::tempdir().unwrap()
}

#[track_caller]
fn check(set: &PictureSet, labels: &[&str], want: &[(Target, u8)]) {
    assert_eq!(set.labels().map_or(&[][..], |labels| labels.names()), labels);
    let got: Vec<(Target, u8)> =
        set.records().iter().map(|record| (record.target.clone(), record.picture().unwrap().pixel(0, 0)[0])).collect();
    assert_eq!(got, want);
}

#[track_caller]
fn check_error(got: Result<PictureSet, Error>, want: &str) {
    let error = got.map(|set| format!("{set:?}")).unwrap_err().to_string();
    assert!(error.contains(want), "{error}, want {want}");
}

const REFUSED: Unlabelled = Unlabelled::Refused;

#[test]
fn folders_of_classes() {
    let dir = dir();
    for (name, shade) in [("10/b.png", 3), ("10/deep/a.png", 4), ("9/z.PNG", 1), (".hidden/a.png", 9)] {
        put(&dir, name, png(shade));
    }
    put(&dir, "9/readme.txt", "");
    let set = folder(dir.path(), None, REFUSED).unwrap();
    check(&set, &["9", "10"], &[(Target::Class(1), 3), (Target::Class(1), 4), (Target::Class(0), 1)]);
    assert_eq!(set.notes().ignored_files, 1);
    assert_ne!(set.fingerprint(), set.subset(&[1, 0, 2]).unwrap().fingerprint());
    assert!(matches!(set.subset(&[]), Err(Error::NoRecords)));

    let known = Labels::new(vec!["8".into(), "9".into()]).unwrap();
    check_error(folder(dir.path(), Some(&known), REFUSED), "record 1: unknown label \"10\"; known are 8, 9");
    put(&dir, "beside.png", png(0));
    check_error(folder(dir.path(), None, REFUSED), "pictures in folders of classes and beside them");
}

#[test]
fn flat_folders() {
    let dir = dir();
    check_error(folder(dir.path(), None, Unlabelled::Allowed), "holds no picture");
    put(&dir, "b.png", png(2));
    put(&dir, "a.png", png(1));
    let set = folder(dir.path(), None, Unlabelled::Allowed).unwrap();
    check(&set, &[], &[(Target::None, 1), (Target::None, 2)]);
    check_error(folder(dir.path(), None, REFUSED), "a.png: the picture has no label");
    check_error(folder(&dir.path().join("none"), None, REFUSED), "cannot be read");
}

#[test]
fn tables() {
    let dir = dir();
    put(&dir, "p/a.png", png(1));
    put(&dir, "p/b.png", png(2));
    let (a, b) = ((Target::Class(1), 1), (Target::Class(0), 2));
    let options = TableOptions::default();
    for (name, text) in [
        ("a.csv", "file_name,label\np/a.png,dog\n\"p/b.png\",cat\n"),
        ("b.csv", "p/a.png,dog\np/b.png,cat\n"),
        ("c.tsv", "dog\tp/a.png\ncat\tp/b.png\n"),
        ("d.tsv", "Label\tx\tImage\ndog\t0\tp/a.png\ncat\t0\tp/b.png\n"),
        ("e.jsonl", "{\"image\": \"p/a.png\", \"label\": \"dog\"}\n{\"image\": \"p/b.png\", \"label\": \"cat\"}\n"),
    ] {
        check(&table(&put(&dir, name, text), None, &options).unwrap(), &["cat", "dog"], &[a.clone(), b.clone()]);
    }
    let other = TableOptions { picture: Some("x".into()), label: Some("y".into()), unlabelled: REFUSED };
    let named = put(&dir, "f.csv", "y,x\n1,p/a.png\n0,p/b.png\n");
    check(&table(&named, None, &other).unwrap(), &["0", "1"], &[a.clone(), b.clone()]);

    let wrong = |text: &str, want: &str| check_error(table(&put(&dir, "w.csv", text), None, &options), want);
    wrong("path,label\np/a.png,dog\np/c.png,cat\n", "w.csv:3: no such file: ");
    wrong("path,label\np/a.png,dog\np/b.png,\n", "w.csv:3: the label is missing");
    wrong("path,label\np/a.png,dog\np/b.png,dog\n", "all 2 labels are \"dog\"");
    wrong("path\np/a.png\n", "no column for the label");
    wrong("1,p/a.png,p/b.png\n", "cannot tell which of 3 columns");
    wrong("some,thing\np/a.png,dog\n", "cannot tell whether this line is a header");
    let free = TableOptions { unlabelled: Unlabelled::Allowed, ..options };
    check(&table(&put(&dir, "u.csv", "p/b.png\n"), None, &free).unwrap(), &[], &[(Target::None, 2)]);
}

fn idx_file(shape: &[u32], data: &[u8]) -> Vec<u8> {
    let sides = shape.iter().flat_map(|side| side.to_be_bytes());
    [0, 0, 8, shape.len() as u8].into_iter().chain(sides).chain(data.iter().copied()).collect()
}

#[test]
fn mnist_files() {
    let dir = dir();
    let images = idx_file(&[2, 2, 3], &[5, 1, 2, 3, 4, 5, 7, 1, 1, 1, 1, 1]);
    let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gz.write_all(&images).unwrap();
    let gz = put(&dir, "t10k-images-idx3-ubyte.gz", gz.finish().unwrap());
    let numbers = put(&dir, "t10k-labels-idx1-ubyte", idx_file(&[2], &[2, 0]));
    let set = mnist(dir.path(), Part::Test).unwrap();
    check(&set, &["0", "1", "2"], &[(Target::Class(2), 5), (Target::Class(0), 7)]);
    let picture = set.records()[0].picture().unwrap();
    assert_eq!((picture.width(), picture.height(), picture.pixel(2, 1)), (3, 2, [5; 3]));
    check_error(mnist(dir.path(), Part::Train), "no such file");

    let plain = put(&dir, "plain", &images);
    let two = Labels::new(vec!["a".into(), "b".into()]).unwrap();
    check_error(idx(&plain, Some(&numbers), Some(&two)), "label 0 is 2, want less than 2");
    check_error(idx(&plain, Some(&put(&dir, "l", idx_file(&[3], &[0, 1, 2]))), None), "3 labels for 2 pictures");
    check_error(idx(&numbers, None, None), "begins with 00 00 08 01, want 00 00 08 03");
    for keep in 0..images.len() {
        let cut = idx(&put(&dir, "cut", &images[..keep]), None, None);
        assert!(matches!(cut, Err(Error::Layout { .. })), "{keep}");
    }
    check_error(idx(&put(&dir, "long", [&images[..], &[0]].concat()), None, None), "13 bytes behind the header");
    let packed = fs::read(&gz).unwrap();
    check_error(idx(&put(&dir, "cut.gz", &packed[..packed.len() - 9]), None, None), "cut.gz: cannot be read");
}

#[test]
fn cifar_files() {
    let dir = dir();
    let names: Vec<String> = (0..10).map(|n| format!("class{n}")).collect();
    put(&dir, "batches.meta.txt", names.join("\n") + "\n\n");
    let record = |class: u8, red: u8| [vec![class], vec![red; 1024], vec![2; 1024], vec![3; 1024]].concat();
    put(&dir, "test_batch.bin", [record(9, 7), record(0, 8)].concat());
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let set = cifar(dir.path(), Part::Test).unwrap();
    check(&set, &names, &[(Target::Class(9), 7), (Target::Class(0), 8)]);
    assert_eq!(set.records()[0].picture().unwrap().pixel(31, 31), [7, 2, 3]);
    check_error(cifar(dir.path(), Part::Train), "no such file");
    put(&dir, "test_batch.bin", record(10, 7));
    check_error(cifar(dir.path(), Part::Test), "record 1 has label 10, want less than 10");
    put(&dir, "test_batch.bin", &record(1, 7)[1..]);
    check_error(cifar(dir.path(), Part::Test), "3072 bytes, want a multiple of 3073");

    let dir = self::dir();
    put(&dir, "fine_label_names.txt", (0..100).map(|n| format!("{n}\n")).collect::<String>());
    put(&dir, "train.bin", [vec![3], record(99, 7)].concat());
    let set = cifar(dir.path(), Part::Train).unwrap();
    assert_eq!(set.records()[0].target, Target::Class(99));
}

/// Two pictures of 6 x 4 pixels, the second id first, categories with a gap.
fn document(annotations: serde_json::Value) -> serde_json::Value {
    json!({
        "images": [
            {"id": 7, "file_name": "b.png", "width": 6, "height": 4},
            {"id": 3, "file_name": "a.png", "width": 6, "height": 4},
        ],
        "annotations": annotations,
        "categories": [{"id": 90, "name": "dog"}, {"id": 1, "name": "cat"}],
    })
}

#[test]
fn boxes_of_coco() {
    let dir = dir();
    put(&dir, "a.png", png(1));
    put(&dir, "b.png", png(2));
    let read = |document: &serde_json::Value, options: &CocoOptions| {
        coco(&put(&dir, "boxes.json", document.to_string()), dir.path(), options)
    };
    let good = document(json!([
        {"id": 1, "image_id": 7, "category_id": 90, "bbox": [1, 1, 2, 3], "area": 4.5, "iscrowd": 1},
        {"id": 2, "image_id": 7, "category_id": 1, "bbox": [4, 2, 5, 2]},
        {"id": 3, "image_id": 7, "category_id": 1, "bbox": [2, 2, 0, 2]},
        {"id": 4, "image_id": 7, "category_id": 1, "bbox": [6, 0, 2, 2]},
    ]));
    let set = read(&good, &CocoOptions::default()).unwrap();
    let objects = vec![
        Object { class: 1, bounds: [1.0, 1.0, 3.0, 4.0], crowd: true, area: 4.5 },
        Object::new(0, [4.0, 2.0, 9.0, 4.0]),
        Object::new(0, [2.0, 2.0, 2.0, 4.0]),
        Object::new(0, [6.0, 0.0, 8.0, 2.0]),
    ];
    check(&set, &["cat", "dog"], &[(Target::Objects(vec![]), 1), (Target::Objects(objects), 2)]);
    let notes = set.notes();
    assert_eq!((notes.outside, notes.empty, notes.without_objects), (1, 2, 1));
    assert!(notes.first_empty.as_ref().unwrap().ends_with("boxes.json, annotation 3 (b.png): [2.0, 2.0, 0.0, 2.0]"));

    let model = CocoOptions { labels: Some(Labels::new(vec!["dog".into(), "cow".into(), "cat".into()]).unwrap()) };
    assert_eq!(read(&good, &model).unwrap().records()[1].target.objects()[0].class, 0);
    let other = CocoOptions { labels: Some(Labels::new(vec!["dog".into(), "cow".into()]).unwrap()) };
    check_error(read(&good, &other), "unknown label \"cat\"; known are dog, cow");

    let wrong = |annotations: serde_json::Value, want: &str| {
        check_error(read(&document(annotations), &CocoOptions::default()), want);
    };
    wrong(
        json!([{"id": 5, "image_id": 8, "category_id": 1, "bbox": [0, 0, 1, 1]}]),
        "annotation 5: no image has the id 8",
    );
    wrong(json!([{"id": 5, "image_id": 7, "category_id": 2, "bbox": [0, 0, 1, 1]}]), "no category has the id 2");
    wrong(
        json!([{"id": 5, "image_id": 7, "category_id": 1, "bbox": [0, 0, -1, 1]}]),
        "in b.png is not finite or of negative",
    );
    wrong(json!([{"id": 5, "image_id": 7, "category_id": 1, "bbox": [0, 0, 1]}]), "annotations[0].bbox");
    let twice = json!({"id": 5, "image_id": 7, "category_id": 1, "bbox": [0, 0, 1, 1]});
    wrong(json!([twice, twice]), "record 2: id \"annotation 5\" is taken by ");

    let mut twice = good.clone();
    twice["images"][1]["id"] = json!(7);
    check_error(read(&twice, &CocoOptions::default()), "id \"image 7\" is taken by");
    let mut missing = good.clone();
    missing["images"][0]["file_name"] = json!("c.png");
    check_error(read(&missing, &CocoOptions::default()), "record 1: no such file: ");
    let mut other_size = good.clone();
    other_size["images"][0]["width"] = json!(7);
    let error = read(&other_size, &CocoOptions::default()).unwrap().records()[1].picture().unwrap_err();
    assert!(error.to_string().ends_with("b.png is 6 x 4 pixels, its record says 7 x 4"), "{error}");
    check_error(
        coco(&put(&dir, "cut.json", &good.to_string()[..90]), dir.path(), &CocoOptions::default()),
        "not as COCO",
    );
}

fn tar_file(files: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    for (name, data) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(data.len() as u64);
        header.set_mode(0o644);
        tar.append_data(&mut header, name, &data[..]).unwrap();
    }
    tar.into_inner().unwrap()
}

#[test]
fn tar_shards() {
    let dir = dir();
    let long = "x".repeat(150) + "/c";
    let files = [
        ("a.png", png(1)),
        ("a.cls", b"7\n".to_vec()),
        ("a.txt", b"note".to_vec()),
        ("d/a.json", br#"{"label": 10, "x": 1}"#.to_vec()),
        ("d/a.jpg", fs::read(crate::pictures::testing::folder().join("grey.jpg")).unwrap()),
    ];
    let one = put(&dir, "0.tar", tar_file(&files));
    let two = [(format!("{long}.cls"), b"7".to_vec()), (format!("{long}.png"), png(9))];
    let two: Vec<(&str, Vec<u8>)> = two.iter().map(|(name, data)| (name.as_str(), data.clone())).collect();
    let two = put(&dir, "1.tar", tar_file(&two));
    let set = shards(&[one.clone(), two], None, REFUSED).unwrap();
    let shade = set.records()[1].picture().unwrap().pixel(0, 0)[0];
    check(&set, &["7", "10"], &[(Target::Class(0), 1), (Target::Class(1), shade), (Target::Class(0), 9)]);
    assert_eq!(set.notes().ignored_files, 1);
    assert!(set.records()[0].name.ends_with("0.tar: a.png"));

    let wrong = |files: &[(&str, Vec<u8>)], want: &str| {
        check_error(shards(&[put(&dir, "w.tar", tar_file(files))], None, REFUSED), want);
    };
    wrong(&[("a.png", png(1))], "w.tar: a.png: the picture has no label");
    wrong(&[("a.cls", b"1".to_vec())], "sample \"/a\" has no picture");
    wrong(&[("a.png", png(1)), ("a.jpg", png(1))], "two pictures in one sample: \"a.png\" and \"a.jpg\"");
    wrong(&[("a.png", png(1)), ("b.png", png(1)), ("a.cls", b"1".to_vec())], "do not stand together");
    wrong(&[("a.png", png(1)), ("a.json", b"{".to_vec())], "\"a.json\": not JSON");
    wrong(&[("a.png", png(1)), ("a.json", br#"{"label": [1]}"#.to_vec())], "want a string or a whole number");
    let whole = fs::read(&one).unwrap();
    for keep in [100, 512 + 10, 512 * 3 + 1] {
        let cut = shards(&[put(&dir, "cut.tar", &whole[..keep])], None, REFUSED);
        assert!(matches!(cut, Err(Error::Layout { .. })), "{keep}: {cut:?}");
    }
    check_error(shards(&[put(&dir, "text.tar", vec![b'x'; 2000])], None, REFUSED), "text.tar: not as tar has it");
    check_error(shards(&[], None, REFUSED), "there is not one picture");
}

#[test]
fn drawn_pictures() {
    let labels = Labels::new(vec!["even".into(), "odd".into()]).unwrap();
    let draw: Draw = Arc::new(|n| Ok(Picture::filled(2, 2, [n as u8; 3])));
    let set = PictureSet::drawn("numbers", 3, labels, |n| Target::Class(n as usize % 2), draw).unwrap();
    check(&set, &["even", "odd"], &[(Target::Class(0), 0), (Target::Class(1), 1), (Target::Class(0), 2)]);
    assert_eq!(set.records()[2].name, "numbers, record 3");
    let _: &labelled::Labels = set.labels().unwrap();
}
