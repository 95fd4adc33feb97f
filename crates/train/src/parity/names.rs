//! Names of parameters that `transformers` 5 has in memory, where they are not those of checkpoints.

use bedstone_tensor::{ParamId, Params};

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
    ],
    // DETR.
    &[(".o_proj", ".out_proj"), (".mlp.fc", ".fc"), (".backbone.", ".backbone.conv_encoder.")],
];

/// The parameter that `transformers` calls `name`.
pub(super) fn parameter(params: &Params, name: &str) -> Option<ParamId> {
    let spelled = |family: &[(&str, &str)]| family.iter().fold(name.to_owned(), |name, (a, b)| name.replacen(a, b, 1));
    let id = |name: &str| params.id(name).ok();
    id(name).or_else(|| SPELLINGS.iter().find_map(|family| id(&spelled(family))))
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
            assert_eq!(parameter(&params, name), params.id(own).ok(), "{name}");
        }
        assert_eq!(parameter(&params, "vit.layers.0.attention.z_proj.bias"), None);
    }
}
