//! Names of parameters that `transformers` 5 has in memory, where they are not those of checkpoints.

use std::ops::Range;

use bedstone_tensor::{ParamId, Params, Shape};

/// A parameter of the reference here: one of the model, or rows of it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Place {
    pub(super) id: ParamId,
    /// Of the first axis.
    rows: Option<Range<usize>>,
}

impl Place {
    /// The shape that the reference's tensor should have.
    pub(super) fn shape(&self, params: &Params) -> Shape {
        let whole = params.get(self.id).value.shape();
        let mut sizes = whole.to_vec();
        if let (Some(rows), Some(first)) = (&self.rows, sizes.first_mut()) {
            *first = rows.len();
        }
        Shape::from(&sizes[..])
    }

    /// Its numbers among those of the parameter.
    pub(super) fn of<'a>(&self, x: &'a [f32], params: &Params) -> &'a [f32] {
        let Some(rows) = &self.rows else { return x };
        let width = x.len() / params.get(self.id).value.shape().first().copied().unwrap_or(1).max(1);
        &x[rows.start * width..rows.end * width]
    }
}

/// Parts of names in memory and in checkpoints, by family: the first family whose names the model has counts.
const SPELLINGS: [&[(&str, &str)]; 3] = [
    // ViT and its relatives.
    &[
        ("attention.q_proj", "attention.attention.query"),
        ("attention.k_proj", "attention.attention.key"),
        ("attention.v_proj", "attention.attention.value"),
        ("attention.o_proj", "attention.output.dense"),
        ("mlp.fc1", "intermediate.dense"),
        ("mlp.fc2", "output.dense"),
        (".interpolation.mid_position", ".mid_position"),
        (".layers.", ".encoder.layer."),
    ],
    // DINOv2.
    &[
        ("attention.q_proj", "attention.attention.query"),
        ("attention.k_proj", "attention.attention.key"),
        ("attention.v_proj", "attention.attention.value"),
        ("attention.o_proj", "attention.output.dense"),
        ("mlp.down_proj", "mlp.weights_out"),
    ],
    // DETR.
    &[(".o_proj", ".out_proj"), (".mlp.fc", ".fc"), (".backbone.", ".backbone.conv_encoder.")],
];

/// Names in memory of the halves of one parameter.
const HALVES: [(&str, &str); 2] = [("mlp.gate_proj", "mlp.weights_in"), ("mlp.up_proj", "mlp.weights_in")];

/// What `transformers` calls `name`.
pub(super) fn place(params: &Params, name: &str) -> Option<Place> {
    let spelled = |family: &[(&str, &str)]| family.iter().fold(name.to_owned(), |name, (a, b)| name.replacen(a, b, 1));
    let id = |name: &str| params.id(name).ok();
    let whole = id(name).or_else(|| SPELLINGS.iter().find_map(|family| id(&spelled(family))));
    if let Some(id) = whole {
        return Some(Place { id, rows: None });
    }
    HALVES.iter().enumerate().filter(|(_, (half, _))| name.contains(half)).find_map(|(i, (half, both))| {
        let id = id(&name.replacen(half, both, 1))?;
        let n = params.get(id).value.shape().first()? / 2;
        Some(Place { id, rows: Some(i * n..(i + 1) * n) })
    })
}

#[cfg(test)]
mod tests {
    use bedstone_tensor::Tensor;

    use super::*;

    #[test]
    fn names_in_memory_are_found() {
        let pairs = [
            ("vit.layers.0.attention.q_proj.bias", "vit.encoder.layer.0.attention.attention.query.bias"),
            ("vit.layers.11.mlp.fc2.weight", "vit.encoder.layer.11.output.dense.weight"),
            ("dinov2.encoder.layer.0.mlp.fc1.bias", "dinov2.encoder.layer.0.mlp.fc1.bias"),
            ("dinov2.encoder.layer.0.attention.o_proj.bias", "dinov2.encoder.layer.0.attention.output.dense.bias"),
            ("model.decoder.layers.1.self_attn.o_proj.bias", "model.decoder.layers.1.self_attn.out_proj.bias"),
            ("model.encoder.layers.1.mlp.fc1.bias", "model.encoder.layers.1.fc1.bias"),
            ("model.backbone.model.conv1.weight", "model.backbone.conv_encoder.model.conv1.weight"),
        ];
        let mut params = Params::default();
        for (_, own) in pairs {
            params.add(own.into(), Tensor::zeros::<f32>([1])).unwrap();
        }
        for (name, own) in pairs {
            assert_eq!(place(&params, name).map(|p| p.id), params.id(own).ok(), "{name}");
        }
        assert_eq!(place(&params, "vit.layers.0.attention.z_proj.bias"), None);
        let both = params.add("a.mlp.weights_in.weight".into(), Tensor::zeros::<f32>([4, 3])).unwrap();
        let up = place(&params, "a.mlp.up_proj.weight").unwrap();
        let numbers: Vec<f32> = (0..12).map(|i| i as f32).collect();
        assert_eq!((up.id, up.shape(&params)), (both, [2, 3].into()));
        assert_eq!(up.of(&numbers, &params), &numbers[6..]);
    }
}
