//! Boxes as in COCO: one JSON file for all pictures of a folder.

use super::{At, Notes, PictureSet, Record, Target};
use crate::{
    labelled::{self, Labels, Place, Unit},
    pictures::{Error, Object},
};
use serde::Deserialize;
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

/// How to read boxes.
#[derive(Clone, Debug, Default)]
pub struct CocoOptions {
    /// The classes of a model, by name; else the categories of the file, in the order of their ids.
    pub labels: Option<Labels>,
}

#[derive(Deserialize)]
struct Document {
    images: Vec<Image>,
    #[serde(default)]
    annotations: Vec<Annotation>,
    categories: Vec<Category>,
}

#[derive(Deserialize)]
struct Image {
    id: i64,
    file_name: String,
    width: usize,
    height: usize,
}

#[derive(Deserialize)]
struct Annotation {
    id: Option<i64>,
    image_id: i64,
    category_id: i64,
    bbox: [f64; 4],
    area: Option<f64>,
    #[serde(default)]
    iscrowd: u8,
}

#[derive(Deserialize)]
struct Category {
    id: i64,
    name: String,
}

/// The pictures of `json` in the order of their ids, which are files in `folder`; those without boxes are kept.
///
/// Boxes stay as the file has them, so that metrics see what everyone measures with. Those that reach beyond their
/// picture are counted, and so are those of which nothing lies in it, which happen in COCO itself: cutting boxes off and
/// leaving out empty ones is done where they are learned from, by [`Placement::objects`](crate::pictures::Placement).
///
/// # Errors
///
/// [`Error::Read`], [`Error::Layout`] for what is no such JSON, [`Error::Missing`] for a picture that is not there,
/// [`Error::Box`] for a box of negative size or not finite, and an error for an id that is taken twice or unknown.
pub fn coco(json: &Path, folder: &Path, options: &CocoOptions) -> Result<PictureSet, Error> {
    let text = fs::read(json).map_err(|source| Error::Read { path: json.to_path_buf(), source })?;
    let fail = |reason: String| Error::Layout { path: json.to_path_buf(), format: "COCO", reason };
    let mut document: Document = {
        let reader = &mut serde_json::Deserializer::from_slice(&text);
        serde_path_to_error::deserialize(reader).map_err(|e| fail(e.to_string()))?
    };
    let file: Arc<Path> = json.into();
    let place = |n: usize| Place { file: file.clone(), record: n as u64 + 1, unit: Unit::Record };

    let (labels, classes) = classes(&mut document.categories, options.labels.as_ref(), &place)?;
    let mut notes = Notes::default();
    let images = once(document.images.iter().map(|image| image.id), "image", &place)?;
    once(document.annotations.iter().filter_map(|annotation| annotation.id), "annotation", &place)?;
    let mut objects: Vec<Vec<Object>> = document.images.iter().map(|_| Vec::new()).collect();
    for (n, annotation) in document.annotations.iter().enumerate() {
        let name = || format!("{}, annotation {}", json.display(), annotation.id.unwrap_or(n as i64 + 1));
        let unknown = |what, id| Error::UnknownId { name: name(), what, id };
        let at = *images.get(&annotation.image_id).ok_or_else(|| unknown("image", annotation.image_id))?;
        let class = *classes.get(&annotation.category_id).ok_or_else(|| unknown("category", annotation.category_id))?;
        let image = &document.images[at];
        let object = object(annotation, class).ok_or_else(|| Error::Box {
            name: name(),
            picture: image.file_name.clone(),
            bounds: annotation.bbox,
        })?;
        let inside = object.clip(image.width, image.height);
        if inside.is_none() {
            notes.empty += 1;
            notes.first_empty.get_or_insert_with(|| format!("{} ({}): {:?}", name(), image.file_name, annotation.bbox));
        } else if inside.is_some_and(|inside| inside.bounds != object.bounds) {
            notes.outside += 1;
        }
        objects[at].push(object);
    }

    let mut records: Vec<(i64, Record)> = Vec::with_capacity(objects.len());
    for ((n, image), objects) in document.images.into_iter().enumerate().zip(objects) {
        let path: PathBuf = folder.join(&image.file_name);
        let name = format!("{}, image {}: {}", json.display(), image.id, image.file_name);
        if image.width == 0 || image.height == 0 {
            return Err(fail(format!("image {} is of {} x {} pixels", image.id, image.width, image.height)));
        }
        if !path.is_file() {
            return Err(Error::Missing { place: place(n).to_string(), path });
        }
        let at = At::File { path, size: Some([image.width, image.height]) };
        records.push((image.id, Record { name, target: Target::Objects(objects), at }));
    }
    records.sort_by_key(|(id, _)| *id);
    PictureSet::new(records.into_iter().map(|(_, record)| record).collect(), Some(labels), notes)
}

/// Classes by the ids of categories.
fn classes(
    categories: &mut [Category],
    labels: Option<&Labels>,
    place: &impl Fn(usize) -> Place,
) -> Result<(Labels, BTreeMap<i64, usize>), Error> {
    categories.sort_by_key(|category| category.id);
    once(categories.iter().map(|category| category.id), "category", place)?;
    let labels = match labels {
        Some(labels) => labels.clone(),
        None => Labels::new(categories.iter().map(|category| category.name.clone()).collect())?,
    };
    let id = |(n, category): (usize, &Category)| Ok((category.id, labels.id_at(&category.name, &place(n))?));
    let ids = categories.iter().enumerate().map(id).collect::<Result<_, labelled::Error>>()?;
    Ok((labels, ids))
}

/// Where each id stands; an error if one is taken twice.
fn once(
    ids: impl Iterator<Item = i64>,
    what: &str,
    place: &impl Fn(usize) -> Place,
) -> Result<BTreeMap<i64, usize>, Error> {
    let mut seen = BTreeMap::new();
    for (n, id) in ids.enumerate() {
        if let Some(first) = seen.insert(id, n) {
            let id = format!("{what} {id}");
            return Err(labelled::Error::SameId { place: place(n), id, first: place(first) }.into());
        }
    }
    Ok(seen)
}

/// `None` for a box that is none.
fn object(annotation: &Annotation, class: usize) -> Option<Object> {
    let [left, top, width, height] = annotation.bbox;
    let area = annotation.area.unwrap_or(width * height);
    let finite = [left, top, width, height, area].iter().all(|x| x.is_finite());
    if !finite || width < 0.0 || height < 0.0 || area < 0.0 {
        return None;
    }
    let bounds = [left, top, left + width, top + height].map(|x| x as f32);
    Some(Object { class, bounds, crowd: annotation.iscrowd != 0, area: area as f32 })
}
