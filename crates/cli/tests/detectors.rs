//! Detectors: what they keep when they are trained on, drawn pictures, the World's boxes, and settings without use.

mod common;

use common::{Place, keys};
use serde_json::Value;

const TINY: &str = "--set model.hidden_size=24 --set model.num_hidden_layers=2 --set model.num_attention_heads=3 \
    --set model.intermediate_size=48 --set model.image_size=16 --set model.patch_size=4 --set train.batch=8 --set train.warmup=2";
const FEW: &str = "--set data.pictures=20 --set data.side=32 --epochs 1 --set train.batch=8";

/// A detector of six boxes in `det`.
fn detector(p: &Place) {
    p.done(&format!("pretrain vit {TINY} --set data.pictures=60 --steps 2 --out vit"));
    p.done(&format!(
        "finetune vit --task detect {FEW} --set train.image_size=32 --set detect.queries=6 --set detect.nms=0.4 --set detect.class_cost=2 \
         --set detect.eos_coefficient=0.25 --out det"
    ));
}

fn config(p: &Place, model: &str) -> Value {
    serde_json::from_str(&p.text(&format!("{model}/config.json"))).unwrap()
}

/// A picture of the World of this many pixels as a file.
fn picture(p: &Place, name: &str, side: usize) {
    let world = bedstone_world::World::new(1);
    p.write(name, world.picture(bedstone_world::Split::Train, 3, side).to_png().unwrap());
}

#[test]
fn a_detector_keeps_its_own_settings() {
    let p = Place::new();
    detector(&p);
    let e = p.done(&format!("finetune det --task detect {FEW} --out on"));
    let told = "detect: as in the model's config.json: 6 boxes, class_cost 2, bbox_cost 5, giou_cost 2, eos_coefficient 0.25, \
                bbox_loss_coefficient 5, giou_loss_coefficient 2, patch_loss_coefficient 1.0, nms_threshold 0.4";
    assert!(e.stderr.contains(told), "{}", e.stderr);
    assert_eq!(config(&p, "on"), config(&p, "det"));
    assert!(p.text("on/README.md").contains("overlap by more than 0.4 were suppressed"), "{}", p.text("on/README.md"));
    p.done(&format!("finetune det --task detect {FEW} --set detect.nms=0 --set detect.bbox_cost=3 --out other"));
    let other = config(&p, "other");
    assert_eq!(
        [&other["nms_threshold"], &other["bbox_cost"], &other["class_cost"]],
        [&Value::Null, &3.into(), &2.into()]
    );
    p.fails(
        "finetune det --task detect --set detect.queries=5 --out x",
        2,
        "--set detect.queries=5: `detect.queries` is 5, but has no use here: the model has 6 boxes; a ViT that becomes a detector \
         gets as many as are wanted",
    );
    p.fails("finetune det --task classify --out x", 1, {
        "det: got a model of type yolos, wanted one that tells classes of whole pictures\nhint: ViT, DeiT, DINOv2 and ResNet do; a detector \
         learns with --task detect"
    });
    let e = p.run(&format!("finetune vit --task detect {FEW} --set train.image_size=4096 --out x"));
    assert!(e.code == Some(1) && e.error().starts_with("the run needs about "), "{}", e.stderr);
    assert!(!p.path("x").exists());
}

#[test]
fn drawn_pictures() {
    let p = Place::new();
    detector(&p);
    std::fs::create_dir_all(p.path("in/deep/.hidden")).unwrap();
    for name in ["in/a.png", "in/deep/a.png", "in/deep/.hidden/b.png"] {
        picture(&p, name, 40);
    }
    let e = p.done("detect det in --threshold 0 --out drawn --json");
    let rows = e.json();
    assert_eq!(keys(&rows[0]), ["picture", "objects", "drawn"]);
    let names: Vec<[&str; 2]> = rows.iter().map(|r| ["picture", "drawn"].map(|key| r[key].as_str().unwrap())).collect();
    assert_eq!(names, [["in/a.png", "drawn/a.png"], ["in/deep/a.png", "drawn/a-2.png"]]);
    assert!(e.stderr.contains("note: in/deep/a.png: drawn as drawn/a-2.png"), "{}", e.stderr);
    // Ten times as large; boxes are those of the picture as it was.
    let size = &p.read("drawn/a.png")[16..24];
    assert_eq!(size, [0, 0, 1, 144, 0, 0, 1, 144]);
    let right = rows[0]["objects"][0]["box"][2].as_f64().unwrap();
    assert!(right <= 40.0, "{right}");
    // Pictures that were drawn before are no input, nor does a broken link keep the others back.
    std::os::unix::fs::symlink(p.path("nowhere.png"), p.path("in/link.png")).unwrap();
    p.run("detect det in --out in/out");
    let e = p.run("detect det in --out in/out --json");
    let seen: Vec<Value> = e.json().into_iter().map(|row| row["picture"].clone()).collect();
    assert_eq!((e.code, seen), (Some(1), vec!["in/a.png".into(), "in/deep/a.png".into()]), "{}", e.stderr);
    assert!(e.stderr.contains("note: 2 files in the folder of --out are left out"), "{}", e.stderr);
    assert!(e.stderr.contains("error: in/link.png: cannot be read: "), "{}", e.stderr);
    // Folders above the pictures, and that of the pictures themselves, hold what was asked for.
    assert_eq!(p.done("detect det in/deep --out . --json").json()[0]["drawn"], "./a.png");
    p.fails("detect det in/deep --out in/deep", 2, {
        "--out in/deep: in/deep/a.png would be drawn over\nhint: name another folder"
    });
    let before = p.read("in/a.png");
    p.fails("detect det in/a.png --out in", 2, "--out in: in/a.png would be drawn over\nhint: name another folder");
    // By a way that only the new folder opens.
    p.fails("detect det in/a.png --out new/../in", 2, {
        "--out new/../in: new/../in/a.png would be drawn over\nhint: name another folder"
    });
    assert_ne!(p.run("detect nothing in/a.png --out unmade").code, Some(0));
    assert!(!p.path("unmade").exists());
    assert_eq!(p.read("in/a.png"), before);
}

#[test]
fn boxes_of_the_world() {
    let p = Place::new();
    detector(&p);
    p.done("data world --kind boxes --out world --count 3 --validation 4");
    let e = p.json_of("eval det --task detect --data world/validation.json --json");
    assert!(e["examples"] == 4 && e["scores"]["AP50"].is_number(), "{e}");
    p.done("data world --kind boxes --classes nouns --out nouns --count 3 --validation 4");
    let e = p.run("eval det --task detect --data nouns/validation.json");
    assert!(e.code == Some(1) && e.stderr.contains("unknown label"), "{}", e.stderr);
    p.fails(
        "data world --kind tags --classes nouns --out x",
        2,
        "--classes: has no use with --kind tags, but with pictures and boxes",
    );
    p.fails("eval det --task detect --data world", 1, {
        "world: got no boxes, wanted a COCO .json\nhint: --task detect learns boxes, --task classify the class of a picture"
    });
    p.fails("eval det --data world", 2, "det: a model of pictures is measured by its task\nhint: --task detect");
    p.fails("eval vit --data world", 2, "vit: a model of pictures is measured by its task\nhint: --task classify");
    p.write(
        "empty.json",
        r#"{"images": [{"id": 1, "file_name": "validation/000000.png", "width": 128, "height": 128}],
        "categories": [{"id": 1, "name": "food"}], "annotations": []}"#,
    );
    let e = p.done("eval det --task detect --data empty.json --set data.images=world");
    assert!(e.stderr.contains("note: empty.json: there are no objects: AP says nothing"), "{}", e.stderr);
    // Measured as it is, where training cuts it off.
    let wide = p.text("empty.json").replace(
        "\"annotations\": []",
        "\"annotations\": [{\"id\": 1, \"image_id\": 1, \"category_id\": 1, \"bbox\": [100, 100, 90, 9]}]",
    );
    p.write("wide.json", wide);
    let e = p.done("eval det --task detect --data wide.json --set data.images=world");
    assert!(e.stderr.contains("1 boxes reach beyond their picture: they count as they are"), "{}", e.stderr);
    let e = p.run("eval det --task detect --data wide.json");
    assert!(e.error().contains("named by --set data.images=DIR"), "{}", e.stderr);
}

#[test]
fn settings_without_use() {
    let p = Place::new();
    detector(&p);
    p.done("data world --kind pictures --out pictures --count 30 --validation 4");
    let data = "--task classify --data pictures --out x";
    let world = "data.train takes the place of the World's pictures";
    for (set, why) in [
        (format!("{data} --set data.pictures=50"), world),
        (format!("{data} --set data.side=32"), world),
        (format!("{data} --set data.classes=nouns"), world),
        (format!("{data} --set data.label=kind"), "there is no table (.csv, .tsv, .jsonl)"),
        (format!("{data} --set augment.magnitude=3"), "augment.rand_augment is 0"),
        (format!("{data} --set lora.alpha=3"), "there are factors with lora.r above 0 only"),
        ("--task detect --set detect.repeat_share=1 --out x".into(), "detect.repeat is 1"),
        ("--task classify --eval pictures --out x".into(), "there is no data.train: the World has its own"),
        (
            "--task detect --set data.images=pictures --out x".into(),
            "the pictures of a COCO .json are in a folder of their own",
        ),
    ] {
        let e = p.run(&format!("finetune vit {set}"));
        assert!(e.code == Some(2) && e.stderr.contains(&format!("but has no use here: {why}")), "{set}: {}", e.stderr);
    }
    let wrong = |line: &str, want: &str| {
        let e = p.run(&format!("pretrain {line} --out x"));
        assert!(e.code == Some(2) && e.stderr.contains(want), "{line}: {}", e.stderr);
    };
    wrong("mae --set model.mask_ratio=0", "`model.mask_ratio` is 0, wanted above 0: what is hidden is guessed");
    wrong("vit --set model.num_channels=1", "wanted 3: grey pictures are read as coloured ones");
    for header in ["image_name,kind", "where,label"] {
        p.write("table.csv", format!("{header}\na.png,dog\n"));
        let e = p.run("finetune vit --task classify --data table.csv --out x");
        assert!(e.error().contains("--set data.picture=NAME"), "{}", e.stderr);
    }
    for set in ["detect.queries=-1", "detect.nms=true"] {
        let e = p.run(&format!("finetune vit --task detect --set {set} --out x"));
        assert!(e.code == Some(2) && e.stderr.contains("wanted a number, or \"auto\""), "{set}: {}", e.stderr);
    }
    // A file may serve several runs: such as the recipe of a run of an earlier build, where keys had other values.
    let old = p.text("det/recipe.toml").replace("queries = 6", "queries = 30").replace("nms = 0.4", "nms = 0.0");
    p.write("old.toml", old);
    p.done("finetune vit --task classify --config old.toml --out classes");
    p.done(&format!("finetune det --task detect --config old.toml {FEW} --out again"));
    // Speed and progress in what the run counts.
    let line = p.log("vit").into_iter().find(|line| line["loss"].is_number()).unwrap();
    assert_eq!(line["pictures"], 8);
    assert!(line["pictures_per_s"].is_number() && line["tokens"].is_null(), "{line}");
}

#[test]
fn going_on_with_another_run() {
    let p = Place::new();
    detector(&p);
    let e = p.run("finetune --resume --out vit");
    assert!(
        e.error().contains("the state of a pretraining, which goes on by `pretrain MODEL --resume`"),
        "{}",
        e.stderr
    );
    let e = p.run("pretrain vit --resume --out det");
    assert!(
        e.error().contains("it holds a fine-tuning\nhint: go on with it by `bedstone finetune --resume`"),
        "{}",
        e.stderr
    );
    p.done("data world --kind pictures --out pictures --count 60 --validation 20");
    let line = "finetune vit --task classify --data pictures --set train.batch=8 --set train.checkpoint_every=2 --epochs 300 --out part";
    let mut child = p.spawn(&mut p.command(line));
    common::wait_until("there is a checkpoint", || p.latest("part").is_some());
    child.kill().unwrap();
    child.wait().unwrap();
    let class = std::fs::read_dir(p.path("pictures/train")).unwrap().next().unwrap().unwrap().path();
    let gone = std::fs::read_dir(class).unwrap().next().unwrap().unwrap().path();
    std::fs::remove_file(gone).unwrap();
    let e = p.run("finetune --resume --out part");
    assert!(
        e.code == Some(1) && e.error().contains("cannot go on with the same bits: the data is another than before"),
        "{}",
        e.stderr
    );
}
