//! The weights of one model of pictures in another: of another size, with another head, or of another kind.

use std::path::Path;

use bedstone_tensor::{
    Ctx, Isa, Precision, Tensor, TensorError,
    ops::{Grid, resize_grid},
};
use serde_json::{Map, Value};

use crate::{Architecture, Class, LoadReport, Model, ModelError, checkpoint::ConfigFile, load};

/// Makes a model for `class` with the weights of the checkpoint in `dir`: `fields` override those of its `config.json`, and may
/// change its `model_type` and its `image_size`.
///
/// Parameters of the same name (below the prefixes of both kinds) and shape are taken over. Positions of patches are resized to the
/// new grid, as [`Inputs::interpolate_pos_encoding`](crate::Inputs) does it for every picture; those of tokens that the old model did not have
/// stay fresh, as does everything else. The report names what is fresh and what was left behind.
///
/// What a detector looks with (`detection_tokens`) is as fresh, but begins as patches without content, each at another point of the picture:
/// the model knows what to make of a patch, and where it is. As a class token, or at random, it would have to learn to look around a point first.
///
/// # Errors
///
/// Those of [`load`], and a configuration that makes no sense.
pub fn transfer(
    dir: &Path,
    class: Class,
    fields: &Map<String, Value>,
    seed: u64,
) -> Result<(Model, LoadReport), ModelError> {
    let (old, _) = load(dir)?;
    let mut all = old.config().fields().clone();
    all.extend(fields.clone());
    let path = old.config().path().to_owned();
    let architecture = Architecture::of_type(&ConfigFile::new(&path, all.clone()))?;
    let Some(name) = architecture.class_name(class) else {
        let wanted = architecture.classes.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
        return Err(ModelError::UnknownClass { path, class: format!("{class:?}"), wanted });
    };
    all.insert("architectures".into(), vec![Value::from(name)].into());
    let mut new = Model::random(ConfigFile::new(path, all), seed)?;
    let names: Vec<(bedstone_tensor::ParamId, String)> =
        new.params().iter().map(|(id, p)| (id, p.name.clone())).collect();
    let (mut fresh, mut used) = (Vec::new(), vec![false; old.params().len()]);
    for (id, name) in names {
        let own = body_name(&name, architecture);
        let found = old.params().iter().find(|(_, p)| body_name(&p.name, old.architecture()) == own);
        let wanted = new.params().get(id).value.shape();
        let value = match found {
            Some((_, p)) if p.value.shape() == wanted => Some(p.value.clone()),
            Some((_, p)) if name.ends_with("position_embeddings") && wanted.len() >= 3 => {
                positions(&p.value, &old, &new.params().get(id).value, &new).map_err(ModelError::from)?
            }
            _ => None,
        };
        match (value, found) {
            (Some(value), Some((from, _))) => {
                used[from.index()] = true;
                new.params_mut().get_mut(id).value = value;
            }
            _ => {
                if name.ends_with("detection_tokens")
                    && let Some(value) = points(&old, &new.params().get(id).value).map_err(ModelError::from)?
                {
                    new.params_mut().get_mut(id).value = value;
                }
                fresh.push(name);
            }
        }
    }
    let unused = old.params().iter().filter(|(id, _)| !used[id.index()]).map(|(_, p)| p.name.clone()).collect();
    Ok((new, LoadReport { unused, fresh }))
}

/// The name of a parameter within the body, or that of a head.
fn body_name<'a>(name: &'a str, architecture: &Architecture) -> &'a str {
    name.strip_prefix(architecture.base_prefix).and_then(|rest| rest.strip_prefix('.')).unwrap_or(name)
}

/// `old: [.., T, C]` as positions for another grid, with those of tokens that only the new model has from `fresh`; `None` where
/// one of both is no model of pictures.
fn positions(old: &Tensor, of: &Model, fresh: &Tensor, to: &Model) -> Result<Option<Tensor>, TensorError> {
    let (Some(from), Some(into)) = (grid(of), grid(to)) else { return Ok(None) };
    let each = |x: &Tensor| {
        let shape = x.shape();
        let [t, c] = [shape.len() - 2, shape.len() - 1].map(|axis| shape[axis]);
        x.reshape([shape.numel() / (t * c).max(1), t, c])
    };
    let old = each(old)?;
    let ([sets, had, c], [as_many, has, wide]) = (old.dims("positions")?, each(fresh)?.dims("positions")?);
    let patches = |grid: [usize; 2]| grid[0] * grid[1];
    if c != wide || sets != as_many || had < patches(from) || has < patches(into) {
        return Ok(None);
    }
    let (before, resized) = resized(&old, of, from, into)?;
    let mut y = fresh.f32s().to_vec();
    let first = before_patches(to, has, patches(into));
    let kept = before.min(first);
    for (old, new) in resized.chunks_exact(resized.len() / sets).zip(y.chunks_exact_mut(has * c)) {
        // The class token is the first of all; where one model has a second one, it is left out or fresh.
        new[..kept * c].copy_from_slice(&old[..kept * c]);
        let behind = (before + patches(into)) * c;
        new[first * c..(first + patches(into)) * c].copy_from_slice(&old[before * c..behind]);
        // A detector's tokens keep theirs, if there are as many.
        let (old, new) = (&old[behind..], &mut new[(first + patches(into)) * c..]);
        if old.len() == new.len() {
            new.copy_from_slice(old);
        }
    }
    Ok(Some(Tensor::from_slice(&y, fresh.shape())))
}

/// Rows and columns of the grid over a picture whose first `n` places are the points that a detector's `n` tokens begin at.
pub fn token_grid(n: usize) -> [usize; 2] {
    let down = n.isqrt().max(1);
    [down, n.div_ceil(down)]
}

/// Patches down and across of a model of pictures.
fn grid(model: &Model) -> Option<[usize; 2]> {
    Some(model.info().image?.grid())
}

/// The positions of `of`, whose patches are `from` down and across, for `into` patches; and how many tokens stand before these.
fn resized(
    positions: &Tensor,
    of: &Model,
    from: [usize; 2],
    into: [usize; 2],
) -> Result<(usize, Vec<f32>), TensorError> {
    let [_, had, _] = positions.dims("positions")?;
    let patches = from[0] * from[1];
    let before = before_patches(of, had, patches);
    // The same bits on every machine: what a run begins with must not depend on it.
    let env = of.env(Isa::PORTABLE, Precision::F32);
    let resized = resize_grid(
        positions,
        Grid { before, size: from, after: had - before - patches },
        into,
        &mut Ctx::inference(env),
    )?;
    Ok((before, resized.f32s().to_vec()))
}

/// Patches of `old` without content at points spread over the picture, in the shape of a detector's tokens, `[1, n, C]`; `None` where `old`
/// is no model of pictures.
fn points(old: &Model, tokens: &Tensor) -> Result<Option<Tensor>, TensorError> {
    let find = |end: &str| old.params().iter().find(|(_, p)| p.name.ends_with(end)).map(|(_, p)| &p.value);
    let (Some(positions), Some(size)) = (find("embeddings.position_embeddings"), grid(old)) else { return Ok(None) };
    let ([_, n, c], [_, had, wide]) = (tokens.dims("detection tokens")?, positions.dims("positions")?);
    if wide != c || had < size[0] * size[1] || n == 0 {
        return Ok(None);
    }
    let (before, resized) = resized(positions, old, size, token_grid(n))?;
    // What a patch of the mean colour is before its position.
    let grey = find("patch_embeddings.projection.bias").map_or_else(|| vec![0.0; c], |bias| bias.f32s().to_vec());
    let points = resized[before * c..(before + n) * c].chunks_exact(c);
    let tokens: Vec<f32> = points.flat_map(|point| point.iter().zip(&grey).map(|(x, grey)| x + grey)).collect();
    Ok(Some(Tensor::from_slice(&tokens, [1, n, c])))
}

/// Tokens before the patches: all but those that a detector has behind them.
fn before_patches(model: &Model, tokens: usize, patches: usize) -> usize {
    let behind = model.config().usize("num_detection_tokens").ok().flatten();
    let behind = if model.architecture().model_type == "yolos" { behind.unwrap_or(100) } else { 0 };
    tokens.saturating_sub(patches + behind)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{Inputs, save};

    fn tiny(model_type: &str, class: Class, more: Value) -> Model {
        let architecture = Architecture::by_model_type(model_type).unwrap();
        let mut fields: Map<String, Value> = serde_json::from_str(architecture.tiny).unwrap();
        fields.extend(more.as_object().unwrap().clone());
        Model::random(Model::config_of(architecture, class, &fields), 3).unwrap()
    }

    /// The states of a picture's tokens before the first block, and behind as many `blocks`.
    fn states(model: &Model, side: [usize; 2], interpolate: bool, blocks: usize) -> Vec<f32> {
        let x: Vec<f32> = (0..3 * side[0] * side[1]).map(|i| (i * 29 % 23) as f32 / 11.0 - 1.0).collect();
        let mut inputs = Inputs::new("pixel_values", Tensor::from_slice(&x, [1, 3, side[0], side[1]]));
        (inputs.interpolate_pos_encoding, inputs.hidden_states) = (interpolate, true);
        let mut ctx = Ctx::inference(model.env(Isa::detect(), Precision::F32));
        let out = model.forward(&inputs, &mut ctx).unwrap();
        let named = (0..=blocks).filter_map(|i| out.get(&format!("hidden_states.{i}")));
        named.flat_map(|x| x.f32s().to_vec()).collect()
    }

    #[test]
    fn another_size_gives_what_interpolation_gives() {
        let dir = tempfile::tempdir().unwrap();
        let old = tiny("vit", Class::ImageClassification, json!({}));
        save(&old, dir.path()).unwrap();
        let fields = json!({"image_size": [16, 20], "id2label": {"0": "a", "1": "b", "2": "c"}});
        let (new, report) = transfer(dir.path(), Class::ImageClassification, fields.as_object().unwrap(), 1).unwrap();
        assert_eq!(report.fresh, ["classifier.weight", "classifier.bias"]);
        assert_eq!(report.unused, ["classifier.weight", "classifier.bias"]);
        let (want, got) = (states(&old, [16, 20], true, 2), states(&new, [16, 20], false, 2));
        // Positions are resized by other instructions here.
        assert!(want.len() == got.len() && want.iter().zip(&got).all(|(a, b)| (a - b).abs() < 1e-6));
    }

    #[test]
    fn a_detector_of_another_size_keeps_its_places() {
        let dir = tempfile::tempdir().unwrap();
        let old = tiny("yolos", Class::ObjectDetection, json!({}));
        save(&old, dir.path()).unwrap();
        let fields = json!({"image_size": [16, 20]});
        let (new, report) = transfer(dir.path(), Class::ObjectDetection, fields.as_object().unwrap(), 1).unwrap();
        assert!(report.fresh.is_empty() && report.unused.is_empty(), "{report:?}");
        // Those between blocks too.
        let (want, got) = (states(&old, [16, 20], true, 2), states(&new, [16, 20], false, 2));
        assert!(want.len() == got.len() && want.iter().zip(&got).all(|(a, b)| (a - b).abs() < 1e-6));
    }

    #[test]
    fn a_classifier_becomes_a_detector() {
        for kind in ["vit", "deit"] {
            let dir = tempfile::tempdir().unwrap();
            let old = tiny(kind, Class::Base, json!({}));
            save(&old, dir.path()).unwrap();
            let fields = json!({
                "model_type": "yolos", "num_detection_tokens": 6, "use_mid_position_embeddings": false, "id2label": {"0": "cat"}
            });
            let (new, report) = transfer(dir.path(), Class::ObjectDetection, fields.as_object().unwrap(), 1).unwrap();
            assert!(report.fresh.iter().all(|n| !n.contains("encoder") && !n.contains("position")), "{report:?}");
            let (had, has) = (states(&old, [8, 12], false, 0), states(&new, [8, 12], true, 0));
            let (c, before) = (old.info().width, if kind == "deit" { 2 } else { 1 });
            assert_eq!(had[before * c..], has[c..c + had.len() - before * c], "{kind}");
            assert_eq!(had[..c], has[..c], "{kind}");
            // As many points as patches: each is a patch of the mean colour at one of them.
            let values = |model: &Model, name: &str| {
                let (_, p) = model.params().iter().find(|(_, p)| p.name.ends_with(name)).unwrap();
                p.value.f32s().to_vec()
            };
            let positions = values(&old, "embeddings.position_embeddings");
            let bias = values(&old, "patch_embeddings.projection.bias");
            let points = &positions[before * c..];
            let place = |(i, x): (usize, &f32)| bias[i % c] + x;
            let (got, want) = (values(&new, "detection_tokens"), points.iter().enumerate().map(place));
            assert!(got.len() == points.len() && got.iter().zip(want).all(|(a, b)| (a - b).abs() < 1e-6), "{kind}");
            assert!(report.fresh.iter().any(|n| n.ends_with("detection_tokens")), "{report:?}");
        }
    }
}
