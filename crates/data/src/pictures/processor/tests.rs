//! Processors against those of `transformers` on stored cases.

use super::*;
use crate::pictures::testing::{array, fixture};
use serde_json::Value;
use std::{fs, path::Path};

fn read(config: &Value) -> Result<Processor, Error> {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("preprocessor_config.json"), config.to_string()).unwrap();
    Processor::read(dir.path())
}

fn arithmetic(pillow: bool) -> Arithmetic {
    if pillow { Arithmetic::Pillow } else { Arithmetic::Torchvision }
}

fn floats(value: &Value) -> Vec<f32> {
    serde_json::from_value(value.clone()).unwrap()
}

#[test]
fn as_transformers() {
    for case in fixture("processors.json").as_array().unwrap() {
        let mut processor = read(&case["config"]).unwrap();
        processor.arithmetic = arithmetic(case["by"] == "pillow");
        let name = format!("{} {}", case["by"], case["config"]);
        let picture = |case: &Value| {
            let (shape, data) = array(case);
            Picture::new(shape[1], shape[0], data).unwrap()
        };
        let pictures: Vec<Picture> = case["pictures"].as_array().unwrap().iter().map(picture).collect();
        let got = processor.batch(&pictures).unwrap();
        let shape: Vec<usize> = serde_json::from_value(case["shape"].clone()).unwrap();
        assert_eq!([got.count, 3, got.height, got.width], shape[..], "{name}");
        for (&got, want) in got.values.iter().step_by(13).zip(floats(&case["values"])) {
            assert!((got - want).abs() <= 1e-5 * want.abs().max(1.0), "{name}: {got} {want}");
        }
        let sums = got.mask.as_ref().map(|mask| {
            let sum = |mask: &[u8]| mask.iter().map(|&m| u64::from(m)).sum::<u64>();
            mask.chunks(got.height * got.width).map(sum).collect::<Vec<_>>()
        });
        assert_eq!(sums, serde_json::from_value(case["mask"].clone()).unwrap(), "{name}");
        if let Some(boxes) = case["boxes"].as_array() {
            for (picture, want) in pictures.iter().zip(boxes) {
                let objects = [[3.0, 4.0, 13.5, 24.0], [0.0, 0.0, 25.0, 25.0]].map(|b| Object::new(0, b));
                let clipped: Vec<Object> =
                    objects.iter().filter_map(|o| o.clip(picture.width(), picture.height())).collect();
                let placed = processor.objects(&clipped, picture.width(), picture.height());
                for (object, want) in placed.iter().zip(want.as_array().unwrap()) {
                    let got = object.relative(got.width, got.height);
                    let apart = got.iter().zip(floats(want)).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
                    assert!(apart < 1e-6, "{name}: {got:?} {want}");
                }
            }
        }
        if !case["written"]["image_mean"].is_number() {
            assert_eq!(processor.to_config(), case["written"], "{name}");
            assert_eq!(read(&processor.to_config()).unwrap().size, processor.size, "{name}");
        }
    }
}

/// The recorded cases of the ViT fixture, all values of them.
#[test]
fn as_the_fixture_of_vit() {
    let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/fixtures/vit"));
    let cases: Value = serde_json::from_slice(&fs::read(folder.join("preprocess.json")).unwrap()).unwrap();
    let bytes = fs::read(folder.join("preprocess.safetensors")).unwrap();
    let tensor = |name: &str| {
        let header = 8 + u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
        let entry = &serde_json::from_slice::<Value>(&bytes[8..header]).unwrap()[name];
        let at: [usize; 2] = serde_json::from_value(entry["data_offsets"].clone()).unwrap();
        let shape: Vec<usize> = serde_json::from_value(entry["shape"].clone()).unwrap();
        (shape, bytes[header + at[0]..header + at[1]].to_vec())
    };
    let (shape, data) = tensor("image");
    let picture = Picture::new(shape[1], shape[0], data).unwrap();
    for (name, case) in cases.as_object().unwrap() {
        let mut processor = read(&case["config"]).unwrap();
        processor.arithmetic = arithmetic(name.starts_with("pil_"));
        let (_, want) = tensor(&format!("{name}.pixel_values"));
        let want = want.chunks(4).map(|b| f32::from_le_bytes(b.try_into().unwrap()));
        let got = processor.apply(&picture);
        assert_eq!(got.len(), want.len(), "{name}");
        let apart = got.iter().zip(want).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(apart <= 1e-5, "{name}: {apart}");
    }
}

#[test]
fn old_spellings() {
    let old = |text: &str| read(&serde_json::from_str(text).unwrap()).unwrap();
    let vit =
        old(r#"{"feature_extractor_type": "ViTFeatureExtractor", "size": 384, "do_resize": true, "resample": 2}"#);
    assert_eq!(vit, Processor { size: Size::Exact { height: 384, width: 384 }, ..Processor::new(Class::ViT) });
    let clip = old(r#"{"feature_extractor_type": "CLIPFeatureExtractor", "size": 336, "crop_size": 336}"#);
    assert_eq!((clip.size, clip.crop_size), (Size::Shortest(336), Some([336; 2])));
    let yolos =
        old(r#"{"image_processor_type": "YolosFeatureExtractor", "size": 512, "max_size": 864, "do_pad": null}"#);
    assert_eq!(yolos.size, Size::Between { shortest: 512, longest: 864, multiple: 16 });
    let detr = old(r#"{"image_processor_type": "DetrImageProcessorFast", "pad_and_return_pixel_mask": false}"#);
    assert!(!detr.do_pad);

    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("preprocessor_config.json"), r#"{"size": 224, "image_mean": [0.5, 0.5, 0.5]}"#).unwrap();
    fs::write(dir.path().join("config.json"), r#"{"model_type": "vit_mae"}"#).unwrap();
    assert_eq!(Processor::read(dir.path()).unwrap(), Processor::new(Class::ViT));
    let dinov2 = Processor::new(Class::Bit);
    dinov2.save(dir.path()).unwrap();
    assert_eq!(Processor::read(dir.path()).unwrap(), dinov2);
}

#[test]
fn what_is_not_known() {
    let check = |text: &str, want: &str| {
        let error = read(&serde_json::from_str(text).unwrap()).unwrap_err().to_string();
        assert!(error.contains("preprocessor_config.json: ") && error.contains(want), "{error}");
    };
    check(
        r#"{"image_processor_type": "SamImageProcessor"}"#,
        r#"is "SamImageProcessor", known are ViTImageProcessor, "#,
    );
    check(r#"{"image_processor_type": "ViTImageProcessor", "size": 0}"#, "size is 0, want a size, {height, width}");
    check(r#"{"image_processor_type": "ViTImageProcessor", "size": {"height": 3}}"#, "size is {");
    check(r#"{"image_processor_type": "ViTImageProcessor", "resample": 9}"#, "resample is 9, want 0 to 5");
    check(
        r#"{"image_processor_type": "ViTImageProcessor", "image_std": [1, 0, 1]}"#,
        "image_std or rescale_factor is 0",
    );
    check(r#"{"image_processor_type": "ViTImageProcessor", "image_mean": [1, 0]}"#, "want a number or three");
    check(r#"{"image_processor_type": "ViTImageProcessor", "do_center_crop": true}"#, "without crop_size");
    check(r#"{"image_processor_type": "ViTImageProcessor", "do_resize": 1}"#, "do_resize is 1, want true or false");
}

#[test]
fn batches_of_different_sizes() {
    let pictures = [Picture::filled(40, 20, [1; 3]), Picture::filled(20, 20, [2; 3])];
    let keeps = Processor { size: Size::Shortest(10), do_center_crop: false, ..Processor::new(Class::Bit) };
    let error = keeps.batch(&pictures).unwrap_err().to_string();
    assert_eq!(error, "picture 1 of the batch is 10 x 10 pixels, want 20 x 10 as the first");
    let small = Processor { pad_size: Some([900, 900]), ..Processor::new(Class::Detr) };
    assert!(matches!(small.batch(&pictures), Err(Error::Pad { index: 0, .. })));
    assert!(matches!(small.batch(&[]), Err(Error::NoRecords)));
}

#[test]
fn the_same_for_any_number_of_threads() {
    let pictures: Vec<Picture> = (3..7)
        .map(|n| Picture::new(90, 50 + n, (0..90 * (50 + n) * 3).map(|i| (i * n) as u8).collect()).unwrap())
        .collect();
    let processor = Processor { size: Size::Shortest(64), ..Processor::new(Class::Detr) };
    let make = |threads| pool::with_threads(threads, || processor.batch(&pictures).unwrap()).unwrap();
    assert!(make(1) == make(3));
}
