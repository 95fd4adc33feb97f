//! `bedstone detect`.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    process::ExitCode,
};

use bedstone_infer::tasks::{
    Labels,
    detected::{Detected, PostProcess},
    draw::{LabelledBox, with_boxes},
};
use bedstone_run::files::FileError;
use clap::Args;
use serde_json::json;

use super::pictures::{Folder, each_group, folder, listed, vision_model};
use crate::{args::RuntimeArgs, output};

/// Find objects in pictures
#[derive(Debug, Args)]
#[command(after_help = "A line an object: its class, how likely it is, and left, top, right and bottom in pixels.")]
pub(crate) struct DetectArgs {
    /// A checkpoint or run directory, or a hub id: org/name or org/name@revision
    model: PathBuf,
    /// Pictures (PNG, JPEG, WebP, GIF), or folders of them
    #[arg(required = true, value_name = "PICTURE")]
    pictures: Vec<PathBuf>,
    /// How likely an object must be, 0 to 1
    #[arg(long, value_name = "P", default_value_t = 0.7)]
    threshold: f32,
    /// Of boxes of one class that overlap by more than this IoU, show the likeliest alone (non-maximum suppression); 0: show all
    /// [default: what the model's config.json says, else 0]
    #[arg(long, value_name = "IOU")]
    nms: Option<f32>,
    /// A folder for the pictures with boxes and labels drawn on them, as PNG; small ones are enlarged
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// One JSON object a picture: picture, objects (label, score, box), with --out the drawn picture
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    runtime: RuntimeArgs,
}

pub(crate) fn run(args: &DetectArgs) -> anyhow::Result<ExitCode> {
    if !(0.0..=1.0).contains(&args.threshold) {
        let text = format!("--threshold {}: wanted 0 to 1", args.threshold);
        return Err(output::Usage(text).into());
    }
    if let Some(nms) = args.nms.filter(|nms| !(0.0..=1.0).contains(nms)) {
        return Err(output::Usage(format!("--nms {nms}: wanted 0 to 1")).into());
    }
    let paths = listed(&args.pictures, args.out.as_deref())?;
    // Before the model is opened, which takes longer and may fail: that leaves no folder behind.
    if let Some(out) = &args.out {
        places(out, &paths)?;
    }
    let Folder::Pictures(dir) = folder(&args.model)? else {
        anyhow::bail!("{}: is no model of pictures\nhint: YOLOS and DETR find objects", args.model.display());
    };
    let model = vision_model(&dir, args.runtime.runtime()?)?;
    let labels = Labels::of(model.model.config())?;
    let post = match args.nms {
        Some(nms) => PostProcess::new(args.threshold, nms),
        None => PostProcess::of(model.model.config(), args.threshold)?,
    };
    let places = match &args.out {
        Some(out) => {
            std::fs::create_dir_all(out).map_err(FileError::at(out, "make the folder"))?;
            // Once more: a way through a folder that was not there is known now.
            places(out, &paths)?
        }
        None => BTreeMap::new(),
    };
    each_group(&paths, |paths, pictures| {
        let found = model.vision().detect(pictures, post)?;
        for ((path, picture), found) in paths.iter().zip(pictures).zip(&found) {
            let place = places.get(path.as_path());
            if let Some(place) = place {
                // The likeliest is drawn last, over the others.
                let boxes = found.iter().rev().map(|d| LabelledBox {
                    bounds: d.bounds,
                    label: format!("{} {:.2}", labels.name(d.class), d.score),
                    class: d.class,
                });
                with_boxes(picture, &boxes.collect::<Vec<_>>()).write_png(place)?;
                if place.file_stem() != path.file_stem() {
                    output::note(format!("note: {}: drawn as {}", path.display(), place.display()));
                }
            }
            tell(args, path, found, &labels, place)?;
        }
        Ok(())
    })
}

fn tell(
    args: &DetectArgs,
    path: &Path,
    found: &[Detected],
    labels: &Labels,
    place: Option<&PathBuf>,
) -> anyhow::Result<()> {
    if args.json {
        let object = |d: &Detected| json!({"label": labels.name(d.class), "score": d.score, "box": d.bounds});
        let objects: Vec<_> = found.iter().map(object).collect();
        let mut row = json!({"picture": path, "objects": objects});
        if let Some(place) = place {
            row["drawn"] = json!(place);
        }
        return output::line(row);
    }
    if found.is_empty() {
        output::note(format!("{}: nothing above {}", path.display(), args.threshold));
    }
    for d in found {
        let [l, t, r, b] = d.bounds;
        let name = labels.name(d.class);
        output::line(format!("{}\t{name}\t{:.4}\t{l:.1}\t{t:.1}\t{r:.1}\t{b:.1}", path.display(), d.score))?;
    }
    Ok(())
}

/// Where the drawn pictures go: names in `out` like those of the pictures, with a number where another one has it already.
fn places<'a>(out: &Path, paths: &'a [PathBuf]) -> anyhow::Result<BTreeMap<&'a Path, PathBuf>> {
    let own: BTreeSet<PathBuf> = paths.iter().filter_map(|path| path.canonicalize().ok()).collect();
    let (mut places, mut taken) = (BTreeMap::new(), BTreeSet::new());
    for path in paths.iter().map(PathBuf::as_path) {
        if places.contains_key(path) {
            continue;
        }
        let stem = path.file_stem().unwrap_or_default().to_string_lossy();
        let names = std::iter::once(format!("{stem}.png")).chain((2..).map(|n| format!("{stem}-{n}.png")));
        let mut free = names.map(|name| out.join(name)).filter(|place| !taken.contains(place));
        let Some(place) = free.next() else { continue };
        if place.canonicalize().is_ok_and(|place| own.contains(&place)) {
            let text =
                format!("--out {}: {} would be drawn over\nhint: name another folder", out.display(), place.display());
            return Err(output::Usage(text).into());
        }
        taken.insert(place.clone());
        places.insert(path, place);
    }
    Ok(places)
}
