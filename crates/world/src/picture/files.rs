//! Pictures as files: a folder a class, or COCO's JSON beside a folder.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use serde_json::json;

use crate::{Classes, Split, World, lexicon::nouns};

/// Pixels of a side.
pub(crate) const SIDE: usize = 128;

/// Writes [`World::portrait`]s into `folder`, a folder a class; bytes written.
pub(crate) fn portraits(world: &World, split: Split, rows: u64, classes: Classes, folder: &Path) -> io::Result<u64> {
    let (mut bytes, names) = (0, classes.names());
    for index in 0..rows {
        let folder = folder.join(names[classes.of(world.portrayed(split, index))]);
        fs::create_dir_all(&folder)?;
        bytes += put(folder.join(format!("{index:06}.png")), &world.portrait(split, index, SIDE))?;
    }
    Ok(bytes)
}

/// Writes [`World::picture`]s into `folder`; gives the annotations, and bytes written.
pub(crate) fn scenes(
    world: &World,
    split: Split,
    rows: u64,
    classes: Classes,
    folder: &Path,
) -> io::Result<(serde_json::Value, u64)> {
    fs::create_dir_all(folder)?;
    let (mut bytes, mut images, mut annotations) = (0, Vec::new(), Vec::new());
    for index in 0..rows {
        let picture = world.picture(split, index, SIDE);
        let name = format!("{index:06}.png");
        bytes += put(folder.join(&name), &picture)?;
        let file_name = format!("{}/{name}", split.name());
        images.push(json!({"id": index + 1, "file_name": file_name, "width": SIDE, "height": SIDE}));
        for thing in &picture.things {
            let [l, t, r, b] = thing.bounds;
            let (w, h) = (r - l, b - t);
            annotations.push(json!({
                "id": annotations.len() + 1, "image_id": index + 1, "category_id": classes.of(thing.noun) + 1,
                "bbox": [l, t, w, h], "area": w * h, "iscrowd": 0,
            }));
        }
    }
    let above = |i: usize| match classes {
        Classes::Categories => None,
        Classes::Nouns => nouns().nth(i).map(|noun| noun.category.name()),
    };
    let category = |(i, name): (usize, &str)| match above(i) {
        Some(above) => json!({"id": i + 1, "name": name, "supercategory": above}),
        None => json!({"id": i + 1, "name": name}),
    };
    let categories: Vec<_> = classes.names().into_iter().enumerate().map(category).collect();
    Ok((json!({"images": images, "annotations": annotations, "categories": categories}), bytes))
}

fn put(path: PathBuf, picture: &super::Picture) -> io::Result<u64> {
    let png = picture.to_png().map_err(io::Error::other)?;
    fs::write(path, &png)?;
    Ok(png.len() as u64)
}
