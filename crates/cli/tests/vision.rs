//! Pictures: pretraining, fine-tuning, and what models of them are used for.

mod common;

use common::{Ended, Place, wait_until};
use serde_json::Value;

/// A model that learns in seconds.
const TINY: &str = "--set model.hidden_size=24 --set model.num_hidden_layers=2 --set model.num_attention_heads=3 \
    --set model.intermediate_size=48 --set model.image_size=16 --set model.patch_size=4 --set train.batch=8 --set train.warmup=2";

fn pretrain(p: &Place, family: &str, rest: &str) -> Ended {
    let decoder = match family {
        "mae" => {
            "--set model.decoder_hidden_size=16 --set model.decoder_num_hidden_layers=1 --set model.decoder_num_attention_heads=2 \
                  --set model.decoder_intermediate_size=32"
        }
        _ => "",
    };
    p.done(&format!("pretrain {family} {TINY} {decoder} --set data.pictures=60 {rest}"))
}

/// A picture of the World as a file.
fn picture(p: &Place, name: &str) {
    let world = bedstone_world::World::new(1);
    p.write(name, world.picture(bedstone_world::Split::Train, 3, 40).to_png().unwrap());
}

#[test]
fn from_pictures_to_classes() {
    let p = Place::new();
    let e = pretrain(&p, "mae", "--steps 6 --out mae");
    assert_eq!(e.stdout, "mae\n");
    assert!(e.stderr.contains("data: 60 pictures for training, 6 for validation"), "{}", e.stderr);
    assert!(e.stderr.contains("loss: the mean squared error of the pixels of hidden patches"), "{}", e.stderr);
    assert!(p.path("mae/preprocessor_config.json").exists());
    let tune =
        "finetune mae --task classify --set data.pictures=60 --set data.side=24 --epochs 1 --set train.batch=8 --json";
    let e = p.done(&format!("{tune} --out classes"));
    assert!(e.stderr.contains("new: classifier.weight, classifier.bias"), "{}", e.stderr);
    let scores = &e.json()[0]["seeds"][0]["scores"];
    assert!(["accuracy", "top-5", "macro F1"].iter().all(|name| scores[*name].is_number()), "{scores}");
    assert!(p.text("classes/config.json").contains("ViTForImageClassification"));
    // The same seed, the same bits, whatever the threads.
    p.done(&format!("{tune} --threads 1 --out one"));
    assert_eq!(p.read("one/model.safetensors"), p.read("classes/model.safetensors"));
    picture(&p, "a.png");
    let e = p.done("classify classes a.png --top 3");
    assert!(e.stdout.ends_with("\ta.png\n") && e.stdout.split(", ").count() == 3, "{}", e.stdout);
    let object = p.done("classify classes a.png --json").json().remove(0);
    assert!(object["labels"][0]["score"].as_f64().unwrap() > 0.0, "{object}");
    let vector = p.done("embed classes a.png").json().remove(0);
    assert_eq!(vector["embedding"].as_array().map(Vec::len), Some(24));
    p.done("embed mae a.png --out v.safetensors");
    // An autoencoder sees whole pictures: the same vector wherever one stands.
    let rows = p.done("embed mae a.png a.png a.png").json();
    assert!(rows.iter().all(|row| row["embedding"] == rows[0]["embedding"]), "{rows:?}");
    let mean = p.done("embed mae a.png --pooling mean").json().remove(0);
    assert_ne!(mean["embedding"], rows[0]["embedding"]);
    p.fails("embed mae a.png --pooling max", 2, "--pooling: wanted cls or mean for a model of pictures");
    let card = p.text("mae/README.md");
    assert!(
        card.contains("ViTMAEForPreTraining, AutoImageProcessor") && card.contains("| pictures seen | 48 |"),
        "{card}"
    );
    p.fails(
        "classify mae a.png",
        1,
        "mae: `ViTMAEForPreTraining` cannot classify pictures\nhint: `bedstone finetune` serves this model",
    );
    p.fails("classify classes b.png", 1, "b.png: cannot be read: No such file or directory (os error 2)");
    p.fails("classify classes a.png --pair", 2, "--pair: has no use for a model of pictures");
    p.write("cut.png", &p.read("a.png")[..60]);
    assert_eq!(p.run("classify classes cut.png").code, Some(1));
    // What cannot be read is named, and does not keep the others back.
    let e = p.run("classify classes a.png cut.png b.png a.png");
    assert_eq!((e.code, e.stdout.lines().count()), (Some(1), 2), "{}", e.stderr);
    assert!(
        e.stderr.contains("error: cut.png: ") && e.stderr.contains("error: b.png: cannot be read: "),
        "{}",
        e.stderr
    );
    let e = p.run("embed classes cut.png a.png");
    assert_eq!((e.code, e.json()[0]["picture"].as_str()), (Some(1), Some("a.png")), "{}", e.stderr);
    let e = p.run("embed classes cut.png a.png --out rows.safetensors");
    assert!(e.code == Some(1) && e.stderr.contains("1 of 2 pictures could not be read"), "{}", e.stderr);
    assert!(!p.path("rows.safetensors").exists());
    p.fails(
        "detect classes a.png",
        1,
        "classes: `ViTForImageClassification` cannot detect objects\nhint: `bedstone classify` serves this model",
    );
}

#[test]
fn a_classifier_becomes_a_detector() {
    let p = Place::new();
    pretrain(&p, "vit", "--steps 4 --out vit");
    let e = p.done(
        "finetune vit --task detect --set data.pictures=40 --set data.side=32 --set train.image_size=32 --set detect.queries=6 \
         --epochs 1 --set train.batch=8 --set augment.flip=0.5 --out det --json",
    );
    let scores = e.json()[0]["seeds"][0]["scores"].clone();
    assert!(scores["AP50"].is_number() && scores["AR@1"].is_number(), "{scores}");
    // What the loss is made of, by the names of transformers.
    for line in p.log("det").iter().filter(|line| line["loss"].is_number()) {
        let part = |name: &str| line[name].as_f64().unwrap();
        let sum = |end: &str| {
            let [ce, bbox, giou] = ["ce", "bbox", "giou"].map(|name| part(&format!("loss_{name}{end}")));
            ce + 5.0 * bbox + 2.0 * giou
        };
        assert!((part("loss") - sum("") - sum("_patches")).abs() < 1e-4, "{line}");
    }
    // Each object found by several boxes at first: other weights.
    let e = p.done(
        "finetune vit --task detect --set data.pictures=40 --set data.side=32 --set train.image_size=32 --set detect.queries=30 \
         --epochs 2 --set train.batch=8 --set detect.repeat=3 --set detect.repeat_share=1 --set detect.nms=0.001 \
         --set train.evaluations=0 --out more",
    );
    assert_eq!(e.stderr.matches("evaluation AP").count(), 1, "{}", e.stderr);
    let e = p.run("finetune vit --task detect --set train.patience=1 --set train.evaluations=0 --out x");
    assert!(e.code == Some(2) && e.stderr.contains("wanted 0 where train.evaluations is 0"), "{}", e.stderr);
    assert_ne!(p.read("more/model.safetensors"), p.read("det/model.safetensors"));
    p.fails(
        "finetune vit --task classify --set detect.repeat=3 --out x",
        2,
        "--set detect.repeat=3: `detect.repeat` is 3, but has no use here: there are no boxes, see --task detect",
    );
    p.fails(
        "finetune vit --task detect --set augment.mixup=0.2 --out x",
        2,
        "--set augment.mixup=0.2: `augment.mixup` is 0.2, but has no use here: boxes cannot follow, see --task classify",
    );
    let config: Value = serde_json::from_str(&p.text("det/config.json")).unwrap();
    assert_eq!(config["architectures"][0], "YolosForObjectDetection");
    assert_eq!([&config["class_cost"], &config["bbox_cost"], &config["giou_cost"]], [1, 5, 2]);
    p.fails(
        "finetune vit --task detect --set detect.class_cost=-1 --out x",
        2,
        "--set detect.class_cost=-1: `detect.class_cost` is -1, wanted a whole number of 0 or more, as in transformers, or \"auto\"",
    );
    p.fails(
        "finetune vit --task detect --set detect.giou_loss_coefficient=0.5 --out x",
        2,
        "--set detect.giou_loss_coefficient=0.5: `detect.giou_loss_coefficient` is 0.5, wanted a whole number of 0 or more, as in \
         transformers, or \"auto\"",
    );
    for wrong in ["-1", "inf"] {
        let e = p.run(&format!("finetune vit --task detect --set detect.patch_loss_coefficient={wrong} --out x"));
        let want = format!("`detect.patch_loss_coefficient` is {wrong}, wanted 0 or more, or \"auto\"");
        assert!(e.code == Some(2) && e.stderr.contains(&want), "{}", e.stderr);
    }
    // Patches learn, too, here and in what is trained on from it, unless it is said otherwise.
    let patches = |model: &str| -> Value {
        let config: Value = serde_json::from_str(&p.text(&format!("{model}/config.json"))).unwrap();
        config["patch_loss_coefficient"].clone()
    };
    assert_eq!(patches("det"), 1.0);
    let on = "--set data.pictures=20 --set data.side=32 --epochs 1 --set train.batch=8";
    p.done(&format!("finetune det --task detect {on} --set train.image_size=32 --out with"));
    // Two numbers, as `transformers` wants them of a YOLOS.
    assert!(p.text("with/config.json").replace([' ', '\n'], "").contains("\"image_size\":[32,32]"));
    p.done(&format!("finetune det --task detect {on} --set detect.patch_loss_coefficient=0 --out without"));
    assert_eq!([patches("with"), patches("without")], [1.0, 0.0]);
    assert_ne!(p.read("with/model.safetensors"), p.read("without/model.safetensors"));
    let broken =
        p.text("with/config.json").replace("\"patch_loss_coefficient\": 1.0", "\"patch_loss_coefficient\": \"much\"");
    p.write("with/config.json", broken);
    let e = p.run(&format!("finetune with --task detect {on} --out x"));
    let named = e.stderr.contains("patch_loss_coefficient") && e.stderr.contains("0 or more");
    assert!(e.code == Some(1) && named, "{}", e.stderr);
    let none = "--set detect.class_cost=0 --set detect.bbox_cost=0 --set detect.giou_cost=0";
    let e = p.run(&format!("finetune vit --task detect {none} --set data.pictures=20 --out x"));
    assert!(e.stderr.contains("a cost above 0 among class_cost, bbox_cost, giou_cost"), "{}", e.stderr);
    // As `transformers` wants it.
    assert_eq!(config["image_size"], serde_json::json!([32, 32]));
    picture(&p, "a.png");
    let e = p.done("detect det a.png --threshold 0 --out drawn");
    let line: Vec<&str> = e.stdout.lines().next().unwrap().split('\t').collect();
    assert_eq!((line.len(), line[0]), (7, "a.png"), "{}", e.stdout);
    assert!(p.read("drawn/a.png").starts_with(b"\x89PNG"));
    let object: Value = p.done("detect det a.png --threshold 0 --json").json().remove(0);
    assert_eq!(object["objects"].as_array().map(Vec::len), Some(6), "{object}");
    p.fails("detect det a.png --threshold 2", 2, "--threshold 2: wanted 0 to 1");
    thinned(&p);
    p.write("a.json", r#"{"images": [{"id": 1, "file_name": "a.png", "width": 40, "height": 40}],
        "categories": [{"id": 1, "name": "food"}], "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 1, 9, 9]}]}"#);
    let e = p.done("eval det --task detect --data a.json --json").json().remove(0);
    assert!(e["scores"]["AP"].is_number() && e["examples"] == 1, "{e}");
    let of = |label: &str| e["classes"].as_array().unwrap().iter().find(|c| c["label"] == label).cloned().unwrap();
    assert!(of("food")["support"] == 1 && of("food")["AP"].is_number() && of("person")["AP"].is_null(), "{e}");
    // Classes that do not occur are no rows of the table.
    let e = p.done("eval det --task detect --data a.json");
    let table: Vec<&str> = e.stdout.lines().skip_while(|line| !line.starts_with("label")).collect();
    assert!(table.len() == 2 && table[1].starts_with("food") && table[1].ends_with(" 1"), "{}", e.stdout);
    p.write("b.json", p.text("a.json").replace("a.png", "none.png"));
    let e = p.run("eval det --task detect --data b.json");
    assert!(e.code == Some(1) && e.stderr.contains("none.png"), "{}", e.stderr);
    p.fails(
        "eval det --task classify --data a.json",
        1,
        "det: `YolosForObjectDetection` cannot classify\nhint: `bedstone detect` serves this model",
    );
}

/// A detector that was trained to say objects several times remembers how its boxes are thinned.
fn thinned(p: &Place) {
    let found = |options: &str| {
        let object: Value = p.done(&format!("detect more a.png --threshold 0 --json {options}")).json().remove(0);
        object["objects"].as_array().cloned().unwrap()
    };
    let all = found("--nms 0");
    assert_eq!(all.len(), 30);
    let kept = found("");
    assert_eq!(kept, found("--nms 0.001"));
    assert!(kept.iter().all(|object| all.contains(object)) && kept[0] == all[0], "{kept:?}");
    let overlap = |a: &Value, b: &Value| {
        let [a, b] = [a, b].map(|object| [0, 1, 2, 3].map(|i| object["box"][i].as_f64().unwrap()));
        a[0].max(b[0]) < a[2].min(b[2]) && a[1].max(b[1]) < a[3].min(b[3])
    };
    let alike = |a: &Value, b: &Value| a["label"] == b["label"] && overlap(a, b);
    // Thirty boxes of ten classes overlap, so some are gone: what went has a likelier one of its class over it.
    assert!(kept.len() < 30, "{kept:?}");
    for gone in all.iter().filter(|object| !kept.contains(object)) {
        assert!(
            kept.iter().any(|object| alike(object, gone) && object["score"].as_f64() >= gone["score"].as_f64()),
            "{gone}"
        );
    }
    p.fails("detect more a.png --nms 1.5", 2, "--nms 1.5: wanted 0 to 1");
    let broken = p.text("more/config.json").replace("\"nms_threshold\": 0.001", "\"nms_threshold\": \"much\"");
    assert!(broken.contains("much"), "{broken}");
    p.write("more/config.json", broken);
    let e = p.run("detect more a.png");
    assert!(e.code == Some(1) && e.stderr.contains("nms_threshold") && e.stderr.contains("0 to 1"), "{}", e.stderr);
}

/// Killed at any moment, a run ends with the bits of one that was not.
#[test]
fn killed_and_resumed() {
    let p = Place::new();
    for (name, ema) in [("plain", "0"), ("averaged", "0.9")] {
        let more =
            format!("--set train.checkpoint_every=5 --set train.evaluate_every=0 --set train.ema={ema} --steps 60");
        pretrain(&p, "vit", &format!("{more} --out {name}"));
        let line = format!("pretrain vit {TINY} --set data.pictures=60 {more} --threads 1 --out part-{name}");
        let mut child = p.spawn(&mut p.command(&line));
        let part = format!("part-{name}");
        wait_until("there is a checkpoint", || p.latest(&part).is_some());
        child.kill().unwrap();
        assert_eq!(child.wait().unwrap().code(), None, "it only ends by being killed");
        p.done(&format!("pretrain vit --resume --out {part}"));
        assert_eq!(p.read(&format!("{part}/model.safetensors")), p.read(&format!("{name}/model.safetensors")));
    }
    assert_ne!(p.read("plain/model.safetensors"), p.read("averaged/model.safetensors"));
}

/// A ViT may begin as an autoencoder, or as a ViT of other classes, which decides its size.
#[test]
fn classes_behind_an_autoencoder() {
    let p = Place::new();
    pretrain(&p, "mae", "--steps 3 --out mae");
    let e = p.done("pretrain vit --init mae --set data.pictures=60 --set train.batch=8 --steps 2 --out vit");
    assert!(e.stderr.contains("new: classifier.weight, classifier.bias"), "{}", e.stderr);
    let config: Value = serde_json::from_str(&p.text("vit/config.json")).unwrap();
    assert_eq!((&config["model_type"], &config["hidden_size"]), (&"vit".into(), &24.into()));
    // Over 300 classes, in place of ten.
    p.done("pretrain vit --init vit --set data.classes=nouns --set data.pictures=60 --set train.batch=8 --steps 2 --out nouns");
    let labels = |dir: &str| -> Value { serde_json::from_str(&p.text(&format!("{dir}/config.json"))).unwrap() };
    let count = |dir: &str| labels(dir)["id2label"].as_object().unwrap().len();
    assert!(count("vit") == 10 && count("nouns") > 300, "{}", count("nouns"));
    p.done("finetune nouns --task classify --set data.classes=nouns --set data.pictures=20 --set data.side=16 --epochs 1 --out more-nouns");
    assert_eq!(labels("more-nouns")["id2label"], labels("nouns")["id2label"]);
    // Heads that look around are other weights.
    for heads in ["local", "random"] {
        pretrain(&p, "vit", &format!("--steps 1 --set train.init_heads={heads} --out {heads}"));
    }
    assert_ne!(p.read("local/model.safetensors"), p.read("random/model.safetensors"));
    let e = p.run("pretrain vit --init vit --set train.init_heads=local --out x");
    assert!(e.code == Some(2) && e.stderr.contains("train.init gives all weights"), "{}", e.stderr);
    let e = p.run("pretrain vit --set data.classes=things --out x");
    assert!(e.code == Some(2) && e.stderr.contains("`categories` or `nouns`"), "{}", e.stderr);
    let e = p.run("pretrain vit --data . --set data.classes=nouns --out x");
    assert!(
        e.code == Some(2) && e.stderr.contains("data.paths takes the place of the World's pictures"),
        "{}",
        e.stderr
    );
    // A recipe with every key, as a run keeps it, says nothing else of the model.
    p.done("pretrain vit --init vit --config vit/recipe.toml --steps 2 --out more");
    p.fails(
        "pretrain vit --init mae --set model.hidden_size=48 --out x",
        2,
        "--set model.hidden_size=48: `model.hidden_size` is 48, wanted nothing: the checkpoint of train.init decides the model",
    );
    p.done("finetune vit --task detect --set data.pictures=20 --set data.side=16 --epochs 1 --set train.image_size=16 --out det");
    let e = p.run("pretrain vit --init det --out x");
    assert!(e.code == Some(2) && e.stderr.contains("a checkpoint of model_type `vit` or `vit_mae`"), "{}", e.stderr);
}

#[test]
fn mistakes() {
    let p = Place::new();
    let e = p.run("pretrain vit --set 'data.paths=[\"a\", \"b\"]'");
    assert!(e.code == Some(2) && e.stderr.contains("data.paths"), "{}", e.stderr);
    let e = p.run("pretrain mae --data nowhere --out x");
    assert!(e.code == Some(1) && e.stderr.contains("nowhere") && !p.path("x").exists(), "{}", e.stderr);
    let e = p.run("pretrain vit --set model.patch_size=0 --out x");
    assert!(e.stderr.contains("model.patch_size"), "{}", e.stderr);
    // What cannot be read is found out while training; nothing stands in the way of the next attempt.
    picture(&p, "a.png");
    let broken = p.read("a.png");
    p.write("broken.png", &broken[..broken.len() / 2]);
    let rows: String =
        (0..40).map(|i| format!("{}\t{}\n", ["a.png", "broken.png"][usize::from(i > 1)], ["a", "b"][i % 2])).collect();
    p.write("b.tsv", format!("path\tlabel\n{rows}"));
    for line in ["pretrain vit --data b.tsv --steps 3", "pretrain mae --data b.tsv --steps 3"] {
        let e = p.run(&format!("{line} --out x"));
        assert!(e.code == Some(1) && e.stderr.contains("broken.png") && !p.path("x").exists(), "{}", e.stderr);
    }
    let e = pretrain(&p, "vit", "--steps 1 --out vit");
    assert!(
        e.stderr.contains("train.warmup is 2 of 1 steps: the learning rate never reaches train.lr"),
        "{}",
        e.stderr
    );
    assert!(p.text("vit/README.md").contains("bedstone classify DIR picture.png"));
    let e = p.run("finetune vit --task classify --data b.tsv --out x");
    assert!(e.code == Some(1) && e.stderr.contains("broken.png") && !p.path("x").exists(), "{}", e.stderr);
    p.write(
        "no.json",
        r#"{"images": [{"id": 1, "file_name": "a.png", "width": 40, "height": 40}],
        "categories": [{"id": 1, "name": "food"}], "annotations": []}"#,
    );
    let e = p.run("finetune vit --task detect --data no.json --eval no.json --out x");
    assert!(e.code == Some(1) && e.stderr.contains("got no boxes, wanted objects to learn to find"), "{}", e.stderr);
    p.fails("eval vit --task tag --data b.tsv", 2, "--task tag: vit is a model of pictures: classify or detect");
    p.fails(
        "eval vit --task classify --data b.tsv --confusion c.png",
        2,
        "--confusion c.png: wanted a name that ends with .svg",
    );
    let digits = |kind: u8, shape: &[u32], numbers: &[u8]| {
        let head = [0, 0, 8, kind].into_iter().chain(shape.iter().flat_map(|n| n.to_be_bytes()));
        head.chain(numbers.iter().copied()).collect::<Vec<u8>>()
    };
    std::fs::create_dir(p.path("mnist")).unwrap();
    for part in ["train", "t10k"] {
        p.write(&format!("mnist/{part}-images-idx3-ubyte"), digits(3, &[2, 3, 3], &[7; 18]));
        p.write(&format!("mnist/{part}-labels-idx1-ubyte"), digits(1, &[2], &[0, 1]));
    }
    let e = p.run("eval vit --task classify --data mnist");
    assert!(
        e.code == Some(1) && e.stderr.contains("mnist: got class `0`, wanted the classes there are"),
        "{}",
        e.stderr
    );
    p.write("t.tsv", "path\tlabel\nnone.png\ta\n");
    let e = p.run("pretrain vit --data t.tsv --out x");
    assert!(e.code == Some(1) && e.stderr.contains("none.png"), "{}", e.stderr);
}
