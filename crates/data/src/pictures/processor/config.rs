//! `preprocessor_config.json`, in the spellings of old and new releases of `transformers`.

use super::{Processor, Size};
use crate::pictures::{Arithmetic, Error, Filter};
use serde_json::{Map, Value, json};
use std::{fs, path::Path};

const FILE: &str = "preprocessor_config.json";
const IMAGENET: ([f64; 3], [f64; 3]) = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]);
const HALF: ([f64; 3], [f64; 3]) = ([0.5; 3], [0.5; 3]);
const CLIP: ([f64; 3], [f64; 3]) =
    ([0.481_454_66, 0.457_827_5, 0.408_210_73], [0.268_629_54, 0.261_302_58, 0.275_777_11]);

/// A class of image processors: what its configuration means where it says nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// `ViTImageProcessor`, also of ViT-MAE.
    ViT,
    /// `DeiTImageProcessor`.
    DeiT,
    /// `BitImageProcessor`, of DINOv2.
    Bit,
    /// `CLIPImageProcessor`.
    Clip,
    /// `SiglipImageProcessor`.
    Siglip,
    /// `BlipImageProcessor`.
    Blip,
    /// `DetrImageProcessor`.
    Detr,
    /// `YolosImageProcessor`.
    Yolos,
}

impl Class {
    const ALL: [(Self, &'static str); 8] = [
        (Self::ViT, "ViT"),
        (Self::DeiT, "DeiT"),
        (Self::Bit, "Bit"),
        (Self::Clip, "CLIP"),
        (Self::Siglip, "Siglip"),
        (Self::Blip, "Blip"),
        (Self::Detr, "Detr"),
        (Self::Yolos, "Yolos"),
    ];

    /// By the name of a class, as it is and was called: `ViTImageProcessor`, `ViTImageProcessorFast`,
    /// `ViTImageProcessorPil`, `ViTFeatureExtractor`.
    pub fn named(name: &str) -> Option<Self> {
        let stem = ["ImageProcessorFast", "ImageProcessorPil", "ImageProcessor", "FeatureExtractor"]
            .iter()
            .find_map(|end| name.strip_suffix(end))?;
        Self::ALL.iter().find(|(_, known)| *known == stem).map(|&(class, _)| class)
    }

    /// By `model_type` of `config.json`.
    pub fn of_model(model_type: &str) -> Option<Self> {
        Some(match model_type {
            "vit" | "vit_mae" | "vit_msn" => Self::ViT,
            "deit" => Self::DeiT,
            "dinov2" | "dinov2_with_registers" | "bit" => Self::Bit,
            "clip" | "clip_vision_model" => Self::Clip,
            "siglip" | "siglip_vision_model" => Self::Siglip,
            "blip" => Self::Blip,
            "detr" => Self::Detr,
            "yolos" => Self::Yolos,
            _ => return None,
        })
    }

    /// The name of the class.
    pub fn name(self) -> String {
        let name = Self::ALL.iter().find(|(class, _)| *class == self).map_or("", |&(_, name)| name);
        format!("{name}ImageProcessor")
    }

    /// Whether pictures keep their shape and a batch is padded.
    fn detects(self) -> bool {
        matches!(self, Self::Detr | Self::Yolos)
    }
}

impl Processor {
    /// What the class does by itself.
    pub fn new(class: Class) -> Self {
        let square = |side| Size::Exact { height: side, width: side };
        let (size, resample, crop, (image_mean, image_std)) = match class {
            Class::ViT => (square(224), Filter::Bilinear, None, HALF),
            Class::DeiT => (square(256), Filter::Bicubic, Some([224; 2]), HALF),
            Class::Bit | Class::Clip => (Size::Shortest(224), Filter::Bicubic, Some([224; 2]), CLIP),
            Class::Siglip => (square(224), Filter::Bicubic, None, HALF),
            Class::Blip => (square(384), Filter::Bicubic, None, CLIP),
            Class::Detr | Class::Yolos => (between(class, 800, 1333), Filter::Bilinear, None, IMAGENET),
        };
        Self {
            class,
            do_resize: true,
            size,
            resample,
            do_center_crop: crop.is_some(),
            crop_size: crop,
            do_rescale: true,
            rescale_factor: 1.0 / 255.0,
            do_normalize: true,
            image_mean,
            image_std,
            do_pad: class.detects(),
            pad_size: None,
            arithmetic: Arithmetic::default(),
        }
    }

    /// The processor of the checkpoint directory `dir`. Where its configuration names no class, as old ones do, that of
    /// the model in `config.json` is taken.
    ///
    /// # Errors
    ///
    /// [`Error::Read`], and [`Error::Config`] for a class or a setting that is not known here.
    pub fn read(dir: &Path) -> Result<Self, Error> {
        let path = dir.join(FILE);
        let config = object(&path)?;
        let fail = |reason: String| Error::Config { path: path.clone(), reason };
        let name = ["image_processor_type", "feature_extractor_type"]
            .iter()
            .find_map(|key| config.get(*key).and_then(Value::as_str));
        let class = match name {
            Some(name) => Class::named(name).ok_or_else(|| fail(unknown(name)))?,
            None => {
                let model = object(&dir.join("config.json"))?;
                let model = model.get("model_type").and_then(Value::as_str).unwrap_or_default();
                Class::of_model(model)
                    .ok_or_else(|| fail(format!("no image_processor_type, and no known one for model {model:?}")))?
            }
        };
        Self::from_config(class, &config).map_err(fail)
    }

    /// From the fields of a configuration of `class`; the error is what is wrong with one.
    fn from_config(class: Class, config: &Map<String, Value>) -> Result<Self, String> {
        let mut processor = Self::new(class);
        let fields = Fields(config);
        if config.get("image_processor_type").and_then(Value::as_str).is_some_and(|name| name.ends_with("Pil")) {
            processor.arithmetic = Arithmetic::Pillow;
        }
        for unsupported in ["do_flip_channel_order", "do_grayscale", "do_color_quantize", "do_reduce_labels"] {
            if fields.flag(unsupported)? == Some(true) {
                return Err(format!("{unsupported} is not known for {}", class.name()));
            }
        }
        let set = |to: &mut bool, from: Option<bool>| *to = from.unwrap_or(*to);
        set(&mut processor.do_resize, fields.flag("do_resize")?);
        set(&mut processor.do_center_crop, fields.flag("do_center_crop")?);
        set(&mut processor.do_rescale, fields.flag("do_rescale")?);
        set(&mut processor.do_normalize, fields.flag("do_normalize")?);
        // The second name is the older one.
        set(&mut processor.do_pad, fields.flag("pad_and_return_pixel_mask")?);
        set(&mut processor.do_pad, fields.flag("do_pad")?);
        if let Some(size) = fields.size(class)? {
            processor.size = size;
        }
        if let Some(number) = fields.whole("resample")? {
            processor.resample =
                Filter::from_number(number as u64).ok_or(format!("resample is {number}, want 0 to 5"))?;
        }
        if let Some(sides) = fields.sides("crop_size")? {
            processor.crop_size = Some(sides);
        }
        if let Some(sides) = fields.sides("pad_size")? {
            processor.pad_size = Some(sides);
        }
        if processor.do_center_crop && processor.crop_size.is_none() {
            return Err("do_center_crop without crop_size".into());
        }
        if let Some(factor) = fields.number("rescale_factor")? {
            processor.rescale_factor = factor;
        }
        if let Some(mean) = fields.three("image_mean")? {
            processor.image_mean = mean;
        }
        if let Some(std) = fields.three("image_std")? {
            processor.image_std = std;
        }
        let divisors = processor.image_std.iter().chain([&processor.rescale_factor]);
        if divisors.into_iter().any(|&d| d == 0.0) {
            return Err("image_std or rescale_factor is 0".into());
        }
        Ok(processor)
    }

    /// The configuration as `transformers` writes it.
    pub fn to_config(&self) -> Value {
        let two = |[height, width]: [usize; 2]| json!({"height": height, "width": width});
        let size = match self.size {
            Size::Exact { height, width } => two([height, width]),
            Size::Shortest(shortest) => json!({"shortest_edge": shortest}),
            Size::Between { shortest, longest, .. } => json!({"longest_edge": longest, "shortest_edge": shortest}),
        };
        let mut config = Map::new();
        let mut put = |key: &str, value: Value| config.insert(key.into(), value);
        if let Some(crop) = self.crop_size {
            put("crop_size", two(crop));
            put("do_center_crop", self.do_center_crop.into());
        }
        if matches!(self.class, Class::Bit | Class::Clip | Class::Siglip | Class::Blip) {
            put("do_convert_rgb", true.into());
        }
        if self.class.detects() {
            put("do_convert_annotations", true.into());
            put("format", "coco_detection".into());
        }
        if self.class.detects() || self.do_pad {
            put("do_pad", self.do_pad.into());
        }
        if let Some(pad) = self.pad_size {
            put("pad_size", two(pad));
        }
        put("do_normalize", self.do_normalize.into());
        put("do_rescale", self.do_rescale.into());
        put("do_resize", self.do_resize.into());
        put("image_mean", json!(self.image_mean));
        put("image_processor_type", self.class.name().into());
        put("image_std", json!(self.image_std));
        put("resample", self.resample.number().into());
        put("rescale_factor", self.rescale_factor.into());
        put("size", size);
        let mut keys: Vec<_> = config.into_iter().collect();
        keys.sort_by(|a, b| a.0.cmp(&b.0));
        Value::Object(keys.into_iter().collect())
    }

    /// Writes `preprocessor_config.json` into `dir`.
    ///
    /// # Errors
    ///
    /// [`Error::Write`].
    pub fn save(&self, dir: &Path) -> Result<(), Error> {
        let path = dir.join(FILE);
        fs::write(&path, format!("{:#}\n", self.to_config())).map_err(|source| Error::Write { path, source })
    }
}

fn between(class: Class, shortest: usize, longest: usize) -> Size {
    // Squares of 16 pixels are what YOLOS cuts pictures into.
    Size::Between { shortest, longest, multiple: if class == Class::Yolos { 16 } else { 1 } }
}

fn unknown(name: &str) -> String {
    let known: Vec<String> = Class::ALL.iter().map(|(class, _)| class.name()).collect();
    format!("image_processor_type is {name:?}, known are {}", known.join(", "))
}

fn object(path: &Path) -> Result<Map<String, Value>, Error> {
    let text = fs::read(path).map_err(|source| Error::Read { path: path.to_path_buf(), source })?;
    serde_json::from_slice(&text)
        .map_err(|e| Error::Config { path: path.to_path_buf(), reason: format!("not a JSON object: {e}") })
}

/// Fields of a configuration; `null` is as good as missing.
struct Fields<'c>(&'c Map<String, Value>);

/// No picture that fits into memory is larger, and products of sides do not overflow.
const LARGEST_SIDE: usize = 1 << 20;

impl Fields<'_> {
    fn get(&self, key: &str) -> Option<&Value> {
        self.0.get(key).filter(|value| !value.is_null())
    }

    fn read<T>(&self, key: &str, want: &str, read: impl Fn(&Value) -> Option<T>) -> Result<Option<T>, String> {
        let Some(value) = self.get(key) else { return Ok(None) };
        read(value).map(Some).ok_or_else(|| format!("{key} is {value}, want {want}"))
    }

    fn flag(&self, key: &str) -> Result<Option<bool>, String> {
        self.read(key, "true or false", Value::as_bool)
    }

    fn whole(&self, key: &str) -> Result<Option<usize>, String> {
        self.read(key, "a whole number", |value| usize::try_from(value.as_u64()?).ok())
    }

    fn number(&self, key: &str) -> Result<Option<f64>, String> {
        self.read(key, "a number", Value::as_f64)
    }

    fn three(&self, key: &str) -> Result<Option<[f64; 3]>, String> {
        self.read(key, "a number or three", |value| match value {
            Value::Array(values) => match &values[..] {
                [a, b, c] => Some([a.as_f64()?, b.as_f64()?, c.as_f64()?]),
                _ => None,
            },
            value => value.as_f64().map(|x| [x; 3]),
        })
    }

    /// Height and width: a number for both, a list of both, or named.
    fn sides(&self, key: &str) -> Result<Option<[usize; 2]>, String> {
        self.read(key, "a size, or height and width", sides)
    }

    fn size(&self, class: Class) -> Result<Option<Size>, String> {
        const WANT: &str = "a size, {height, width}, {shortest_edge} or {shortest_edge, longest_edge}";
        let longest = self.read("max_size", "a size", side)?;
        let keeps_shape = matches!(class, Class::Bit | Class::Clip) || class.detects();
        self.read("size", WANT, |value| {
            let named = |key: &str| value.get(key).filter(|value| !value.is_null()).map(side);
            Some(match (named("shortest_edge"), named("longest_edge"), side(value)) {
                (Some(shortest), Some(longest), _) => between(class, shortest?, longest?),
                (Some(shortest), None, _) => Size::Shortest(shortest?),
                (None, None, Some(size)) if class.detects() => between(class, size, longest.unwrap_or(1333)),
                (None, None, Some(size)) if keeps_shape => Size::Shortest(size),
                (None, ..) => {
                    let [height, width] = sides(value)?;
                    Size::Exact { height, width }
                }
            })
        })
    }
}

fn side(value: &Value) -> Option<usize> {
    usize::try_from(value.as_u64()?).ok().filter(|side| (1..=LARGEST_SIDE).contains(side))
}

fn sides(value: &Value) -> Option<[usize; 2]> {
    match value {
        Value::Array(values) => match &values[..] {
            [height, width] => Some([side(height)?, side(width)?]),
            _ => None,
        },
        Value::Object(map) => Some([side(map.get("height")?)?, side(map.get("width")?)?]),
        value => side(value).map(|side| [side; 2]),
    }
}
