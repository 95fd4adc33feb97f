//! Tests that every registered architecture passes without a line of its own.

use bedstone_tensor::{Cache, Ctx, Dtype, Env, Isa, Precision, Tensor, Training, gradcheck};
use serde_json::{Map, Value};

use crate::{ARCHITECTURES, Architecture, Class, ImageInfo, Inputs, Logits, Model, load, load_head, save};

fn tiny(architecture: &'static Architecture, class: Class) -> Model {
    let fields: Map<String, Value> = serde_json::from_str(architecture.tiny).unwrap();
    Model::random(Model::config_of(architecture, class, &fields), 7).unwrap()
}

/// Every architecture with every head.
fn all() -> impl Iterator<Item = (String, Model)> {
    let classes = ARCHITECTURES.iter().flat_map(|a| a.classes.iter().map(move |(name, class)| (a, name, class)));
    classes.map(|(a, name, class)| (format!("{} {name}", a.model_type), tiny(a, *class)))
}

/// Those that predict the next token.
fn causal() -> impl Iterator<Item = (String, Model)> {
    all().filter(|(_, model)| model.class() == Class::CausalLm)
}

/// Those that see a whole text or picture.
fn encoders() -> impl Iterator<Item = (String, Model)> {
    all().filter(|(_, model)| model.class() != Class::CausalLm)
}

/// Those of a body without a head that take text.
fn bodies() -> impl Iterator<Item = (String, Model)> {
    all().filter(|(_, model)| model.class() == Class::Base && model.info().image.is_none())
}

/// Pictures as the model takes them; of another size than it was made for, where it takes these too.
fn pixels(image: ImageInfo, b: usize) -> Tensor {
    let [down, across] = image.patch;
    let [h, w] = if image.resizes { [3 * down, 2 * across] } else { image.size };
    let x: Vec<f32> = (0..b * image.channels * h * w).map(|i| ((i * i + 3 * i) % 97) as f32 / 40.0 - 1.2).collect();
    Tensor::from_slice(&x, [b, image.channels, h, w])
}

/// Pictures with labels, as the head takes them.
fn labelled_pictures(model: &Model, image: ImageInfo, b: usize) -> Inputs {
    let mut inputs = Inputs::new("pixel_values", pixels(image, b));
    let cycle = |step: i32| {
        let x: Vec<i32> = (0..b as i32).map(|i| (i * step + 1) % 2).collect();
        Tensor::from_slice(&x, [b])
    };
    match model.class() {
        Class::ImageClassification => inputs.with("labels", cycle(5)),
        Class::DistilledImageClassification => inputs.with("labels", cycle(5)).with("teacher_labels", cycle(4)),
        Class::ObjectDetection => {
            for i in 0..b {
                // A picture with two objects, and one with one.
                let n = 2 - i % 2;
                let boxes = [0.3f32, 0.4, 0.3, 0.2, 0.7, 0.6, 0.2, 0.5];
                let classes = Tensor::from_slice(&[2i32, 0][..n], [n]);
                inputs = inputs.with(&format!("labels.{i}.class_labels"), classes);
                inputs = inputs.with(&format!("labels.{i}.boxes"), Tensor::from_slice(&boxes[..4 * n], [n, 4]));
            }
            inputs
        }
        _ => inputs,
    }
}

/// Inputs with labels, as the head takes them.
fn labelled(model: &Model, b: usize, t: usize) -> Inputs {
    if let Some(image) = model.info().image {
        return labelled_pictures(model, image, b);
    }
    let x = ids(b, t, model.info().vocab_size);
    let cycle = |n: usize, classes: i32| (0..n as i32).map(|i| (i * 5 + 1) % classes).collect::<Vec<_>>();
    let inputs = Inputs::new("input_ids", x.clone());
    let texts = |classes| Tensor::from_slice(&cycle(b, classes), [b]);
    match model.class() {
        Class::CausalLm | Class::MaskedLm => inputs.with("labels", x),
        Class::PreTraining => {
            let inputs = inputs.with("labels", x);
            inputs.with("next_sentence_label", texts(2)).with("sentence_order_label", texts(2))
        }
        Class::NextSentence | Class::SequenceClassification => inputs.with("labels", texts(2)),
        Class::TokenClassification | Class::ReplacedTokens => {
            inputs.with("labels", Tensor::from_slice(&cycle(b * t, 2), [b, t]))
        }
        Class::QuestionAnswering => inputs.with("start_positions", texts(2)).with("end_positions", texts(3)),
        _ => inputs,
    }
}

/// What a model without a loss is differentiated through.
fn result(model: &Model, inputs: &Inputs, ctx: &mut Ctx<'_>) -> bedstone_tensor::Result<Tensor> {
    let out = model.forward(inputs, ctx)?;
    if model.class() != Class::Base {
        return out.need("loss").cloned();
    }
    let states = out.need("last_hidden_state")?;
    match out.get("pooler_output") {
        Some(pooled) if pooled.shape().len() == 2 => {
            let mean = bedstone_tensor::ops::mean_pool(states, None, ctx)?;
            bedstone_tensor::ops::add(&mean, pooled, ctx)
        }
        _ => Ok(states.clone()),
    }
}

fn ids(b: usize, t: usize, vocab: usize) -> Tensor {
    let x: Vec<i32> = (0..b * t).map(|i| (i * i * 7 + i * 3 + 1) as i32 % vocab as i32).collect();
    Tensor::from_slice(&x, [b, t])
}

fn env(model: &Model, isa: Isa) -> Env<'_> {
    model.env(isa, Precision::F32)
}

fn logits(model: &Model, inputs: &Inputs, isa: Isa) -> Vec<f32> {
    model.forward(inputs, &mut Ctx::inference(env(model, isa))).unwrap().get("logits").unwrap().f32s().to_vec()
}

#[track_caller]
fn close(what: &str, a: &[f32], b: &[f32]) {
    assert_eq!(a.len(), b.len(), "{what}");
    for (i, (a, b)) in a.iter().zip(b).enumerate() {
        assert!((a - b).abs() <= 1e-4 * (1.0 + b.abs()), "{what}: [{i}] {a} and {b}");
    }
}

#[test]
fn shapes_and_instruction_sets() {
    for (name, model) in causal() {
        let vocab = model.info().vocab_size;
        let inputs = Inputs::new("input_ids", ids(2, 9, vocab));
        let want = logits(&model, &inputs, Isa::PORTABLE);
        assert_eq!(want.len(), 2 * 9 * vocab, "{}", name);
        for isa in Isa::available() {
            close(&format!("{} on {isa}", name), &logits(&model, &inputs, isa), &want);
        }
    }
}

#[test]
fn decoding_with_a_cache_equals_the_full_pass() {
    for (name, model) in causal() {
        let (t, vocab) = (14, model.info().vocab_size);
        let all = ids(2, t, vocab);
        let want = logits(&model, &Inputs::new("input_ids", all.clone()), Isa::detect());
        let mut ctx = Ctx::inference(env(&model, Isa::detect()));
        ctx.cache = Some(Cache::new(t));
        for (from, to) in [(0, 5), (5, 6), (6, 9), (9, 10), (10, 14)] {
            let part: Vec<i32> =
                (0..2).flat_map(|b| all.data::<i32>("ids").unwrap()[b * t + from..b * t + to].to_vec()).collect();
            let inputs = Inputs::new("input_ids", Tensor::from_slice(&part, [2, to - from]));
            let out = model.forward(&inputs, &mut ctx).unwrap();
            let got = out.get("logits").unwrap().f32s();
            for b in 0..2 {
                let n = (to - from) * vocab;
                let want = &want[(b * t + from) * vocab..(b * t + to) * vocab];
                close(&format!("{} {from}..{to}", name), &got[b * n..(b + 1) * n], want);
            }
        }
    }
}

#[test]
fn padding_changes_nothing() {
    for (name, model) in causal() {
        let vocab = model.info().vocab_size;
        let short = ids(1, 6, vocab);
        let want = logits(&model, &Inputs::new("input_ids", short.clone()), Isa::detect());
        // Three ids of padding on the left, with positions that start behind them.
        let mut padded = vec![0; 3];
        padded.extend(short.data::<i32>("ids").unwrap());
        let inputs = Inputs::new("input_ids", Tensor::from_slice(&padded, [1, 9]))
            .with("attention_mask", Tensor::from_slice(&[0i32, 0, 0, 1, 1, 1, 1, 1, 1], [1, 9]))
            .with("position_ids", Tensor::from_slice(&[0i32, 0, 0, 0, 1, 2, 3, 4, 5], [1, 9]));
        close(&name, &logits(&model, &inputs, Isa::detect())[3 * vocab..], &want);
    }
}

#[test]
fn the_last_logits_alone() {
    for (name, model) in causal() {
        let vocab = model.info().vocab_size;
        let mut inputs = Inputs::new("input_ids", ids(2, 5, vocab));
        let all = logits(&model, &inputs, Isa::detect());
        inputs.logits = Logits::Last;
        let last = logits(&model, &inputs, Isa::detect());
        for b in 0..2 {
            close(&name, &last[b * vocab..(b + 1) * vocab], &all[(b * 5 + 4) * vocab..(b * 5 + 5) * vocab]);
        }
    }
}

#[test]
fn every_parameter_gets_its_gradient() {
    for (name, mut model) in all() {
        // Larger matrices than fresh ones, so that differences stand out of the rounding; of detectors less, so that who is
        // given which object does not change on the way. And biases: an object's query begins with zeros, on which a norm
        // would stand.
        let (detects, pictures) = (model.class() == Class::ObjectDetection, model.info().image.is_some());
        for (_, p) in model.params_mut().iter_mut().filter(|(_, p)| p.trainable) {
            let (matrix, w) = (p.value.shape().len() >= 2, p.value.f32s_mut());
            if matrix && w.iter().all(|w| w.abs() < 0.2) {
                w.iter_mut().for_each(|w| *w *= if detects { 8.0 } else { 20.0 });
            } else if pictures && w.iter().all(|w| *w == 0.0) {
                w.iter_mut().enumerate().for_each(|(i, w)| *w = (i * 5 % 7) as f32 / 5.0 - 0.6);
            }
        }
        let mut inputs = labelled(&model, 2, 7);
        inputs.logits = Logits::None;
        // The network holds ids only, so parameters can be lent out beside it.
        let mut params = model.params().clone();
        let tolerance = if model.class() == Class::CausalLm { 5e-2 } else { 8e-2 };
        gradcheck::check_params(&name, Isa::detect(), &mut params, tolerance, |ctx| result(&model, &inputs, ctx));
    }
}

#[test]
fn saving_and_loading_gives_the_same_model() {
    for (name, model) in all() {
        let dir = tempfile::tempdir().unwrap();
        save(&model, dir.path()).unwrap();
        let (again, report) = load(dir.path()).unwrap();
        assert!(report.unused.is_empty(), "{name}: {report:?}");
        assert_eq!(again.class(), model.class());
        let inputs = labelled(&model, 1, 9);
        let run = |model: &Model| {
            let out = result(model, &inputs, &mut Ctx::inference(env(model, Isa::detect()))).unwrap();
            out.f32s().to_vec()
        };
        assert_eq!(run(&model), run(&again), "{name}");
    }
}

#[test]
fn encoders_on_every_instruction_set() {
    for (name, model) in encoders() {
        let inputs = labelled(&model, 2, 9);
        let run = |isa| {
            let out = model.forward(&inputs, &mut Ctx::inference(env(&model, isa))).unwrap();
            ["logits", "prediction_logits", "start_logits", "last_hidden_state"]
                .into_iter()
                .find_map(|what| out.get(what).map(|x| (what, x.f32s().to_vec())))
                .unwrap()
        };
        let (what, want) = run(Isa::PORTABLE);
        for isa in Isa::available() {
            close(&format!("{name} {what} on {isa}"), &run(isa).1, &want);
        }
    }
}

#[test]
fn padding_on_the_right_changes_nothing_for_encoders() {
    for (name, model) in bodies() {
        let short = ids(1, 6, model.info().vocab_size);
        // Padding of RoBERTa's own id, which has no place among its positions.
        let pad = model.config().usize("pad_token_id").unwrap().unwrap_or(0) as i32;
        let short: Vec<i32> = short.data::<i32>("ids").unwrap().iter().map(|&id| id.max(pad + 1)).collect();
        let mut padded = short.clone();
        padded.extend([pad; 3]);
        let states = |inputs: &Inputs| {
            let out = model.forward(inputs, &mut Ctx::inference(env(&model, Isa::detect()))).unwrap();
            out.get("last_hidden_state").unwrap().f32s().to_vec()
        };
        let want = states(&Inputs::new("input_ids", Tensor::from_slice(&short, [1, 6])));
        let inputs = Inputs::new("input_ids", Tensor::from_slice(&padded, [1, 9]))
            .with("attention_mask", Tensor::from_slice(&[1i32, 1, 1, 1, 1, 1, 0, 0, 0], [1, 9]));
        close(&name, &states(&inputs)[..want.len()], &want);
    }
}

#[test]
fn tokens_that_no_head_reads_change_nothing() {
    for (name, model) in encoders() {
        let mut inputs = labelled(&model, 2, 9);
        if model.info().image.is_none() {
            let mask: Vec<i32> = (0..18).map(|i| i32::from(i < 14)).collect();
            inputs = inputs.with("attention_mask", Tensor::from_slice(&mask, [2, 9]));
        }
        let run = |inputs: &Inputs| model.forward(inputs, &mut Ctx::inference(env(&model, Isa::detect()))).unwrap();
        let alone = run(&inputs);
        inputs.last_states = true;
        let all = run(&inputs);
        if model.class() == Class::ObjectDetection && model.architecture().model_type == "yolos" {
            assert!(alone.get("last_hidden_state").is_none() && all.get("last_hidden_state").is_some(), "{name}");
        }
        for (what, x) in alone.iter().filter(|(_, x)| x.dtype() == Dtype::F32) {
            close(&format!("{name} {what}"), x.f32s(), all.get(what).unwrap().f32s());
        }
    }
}

#[test]
fn a_text_that_is_too_long_is_an_error() {
    for (name, model) in encoders().filter(|(_, m)| m.info().positions_end) {
        let limit = model.info().max_length.unwrap();
        let run = |t| {
            let inputs = Inputs::new("input_ids", ids(1, t, model.info().vocab_size));
            model.forward(&inputs, &mut Ctx::inference(env(&model, Isa::detect()))).map(|_| ())
        };
        run(limit).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert!(run(limit + 1).unwrap_err().to_string().contains("max_position_embeddings"), "{name}");
    }
}

#[test]
fn a_batch_can_be_learned_by_heart() {
    for (name, mut model) in all().filter(|(_, m)| m.class() != Class::Base) {
        let mut inputs = labelled(&model, 2, 12);
        inputs.logits = Logits::None;
        let mut moments: Vec<(Vec<f32>, Vec<f32>)> = model
            .params()
            .iter()
            .map(|(_, p)| (vec![0.0; p.value.shape().numel()], vec![0.0; p.value.shape().numel()]))
            .collect();
        // Numbers have no end that is reached as soon as that of labels.
        let numbers = matches!(model.class(), Class::ObjectDetection | Class::MaskedImage);
        let (steps, lr) = if numbers { (200, 3e-3) } else { (80, 1e-2) };
        let (mut first, mut loss) = (None, f32::INFINITY);
        for step in 1..=steps {
            let mut ctx = Ctx::gradients(env(&model, Isa::detect()));
            let out = model.forward(&inputs, &mut ctx).unwrap();
            loss = out.get("loss").unwrap().item().unwrap();
            first.get_or_insert(loss);
            let grads = ctx.backward(out.get("loss").unwrap()).unwrap();
            model.params().check_gradients(|id| grads.param(id).is_some(), |_| false).unwrap();
            let adamw = bedstone_kernels::optim::AdamW {
                lr,
                beta1: 0.9,
                beta2: 0.95,
                eps: 1e-8,
                weight_decay: 0.0,
                step,
                grad_scale: 1.0,
            };
            for (id, p) in model.params_mut().iter_mut().filter(|(_, p)| p.trainable) {
                let (m, v) = &mut moments[id.index()];
                bedstone_kernels::optim::adamw(
                    Isa::detect(),
                    adamw,
                    p.value.f32s_mut(),
                    grads.param(id).unwrap().f32s(),
                    m,
                    v,
                );
            }
        }
        let goal = if numbers { 0.2 * first.unwrap() } else { 0.1 };
        assert!(loss < goal, "{name}: loss {loss}, wanted {goal}");
    }
}

#[test]
fn any_number_of_threads_gives_the_same_bits() {
    for (name, model) in all() {
        let inputs = labelled(&model, 2, 7);
        let run = |threads| {
            bedstone_kernels::pool::with_threads(threads, || {
                let mut ctx = Ctx::gradients(env(&model, Isa::detect()));
                let out = result(&model, &inputs, &mut ctx).unwrap();
                let ones = Tensor::from_slice(&vec![1.0f32; out.shape().numel()], out.shape());
                let grads = ctx.backward_from(&out, ones).unwrap();
                let grads = model.params().ids().filter_map(|id| Some(grads.param(id)?.f32s().to_vec()));
                (out.f32s().to_vec(), grads.collect::<Vec<_>>())
            })
            .unwrap()
        };
        assert!(run(1) == run(3), "{name}");
    }
}

#[test]
fn the_size_of_pictures_is_checked() {
    for (name, model) in all() {
        let Some(image) = model.info().image else { continue };
        let [down, across] = image.patch;
        let run = |shape: [usize; 4], interpolate_pos_encoding| {
            let mut inputs = Inputs::new("pixel_values", Tensor::zeros::<f32>(shape));
            inputs.interpolate_pos_encoding = interpolate_pos_encoding;
            model.forward(&inputs, &mut Ctx::inference(env(&model, Isa::detect()))).map(|_| ())
        };
        let larger = [1, image.channels, 4 * down, 5 * across];
        run(larger, true).unwrap_or_else(|e| panic!("{name}: {e}"));
        match run(larger, false) {
            Ok(()) => assert!(image.resizes, "{name}"),
            Err(e) => assert!(!image.resizes && e.to_string().contains("interpolate_pos_encoding"), "{name}: {e}"),
        }
        let wrong = [1, image.channels + 1, larger[2], larger[3]];
        let error = run(wrong, true).unwrap_err().to_string();
        assert!(error.starts_with("pixel_values: got shape [1, 4, "), "{name}: {error}");
    }
}

#[test]
fn dropout_acts_in_training_and_is_the_same_in_any_batch() {
    let fields: Map<String, Value> = serde_json::from_str(crate::gpt2::ARCHITECTURE.tiny).unwrap();
    let model = Model::from_fields(&crate::gpt2::ARCHITECTURE, &fields, 7).unwrap();
    let vocab = model.info().vocab_size;
    let x = ids(2, 7, vocab);
    let run = |x: Tensor, first_sample| {
        let mut ctx = Ctx::training(env(&model, Isa::detect()), Training { key: 5, first_sample });
        model.forward(&Inputs::new("input_ids", x), &mut ctx).unwrap().get("logits").unwrap().f32s().to_vec()
    };
    let both = run(x.clone(), 0);
    let second = Tensor::from_slice(&x.data::<i32>("ids").unwrap()[7..], [1, 7]);
    close("second sample", &run(second.clone(), 1), &both[7 * vocab..]);
    assert_ne!(run(second.clone(), 0), run(second, 1));
}

#[test]
fn another_head_on_the_body_of_a_checkpoint() {
    for a in ARCHITECTURES.iter().filter(|a| a.class_name(Class::SequenceClassification).is_some()) {
        let dir = tempfile::tempdir().unwrap();
        save(&tiny(a, Class::MaskedLm), dir.path()).unwrap();
        let fields = serde_json::json!({"id2label": {"0": "a", "1": "b", "2": "c"}});
        let head =
            |seed| load_head(dir.path(), Class::SequenceClassification, fields.as_object().unwrap(), seed).unwrap();
        let (model, report) = head(1);
        assert_eq!(model.class(), Class::SequenceClassification, "{}", a.model_type);
        assert!(!report.fresh.is_empty() && !report.unused.is_empty(), "{}: {report:?}", a.model_type);
        assert!(report.fresh.iter().all(|n| !n.contains("layer.0")), "{}: {report:?}", a.model_type);
        let again = head(1).0;
        for ((_, p), (_, q)) in model.params().iter().zip(again.params().iter()) {
            assert_eq!((&p.name, p.value.f32s()), (&q.name, q.value.f32s()));
        }
        // With its own head saved, everything is there.
        let own = tempfile::tempdir().unwrap();
        save(&model, own.path()).unwrap();
        let (_, report) = load_head(own.path(), Class::SequenceClassification, fields.as_object().unwrap(), 1).unwrap();
        assert!(report.fresh.is_empty() && report.unused.is_empty(), "{}: {report:?}", a.model_type);
        // Another number of labels needs another classifier, and nothing else.
        let fields = serde_json::json!({"id2label": {"0": "a", "1": "b"}});
        let (_, report) = load_head(own.path(), Class::SequenceClassification, fields.as_object().unwrap(), 1).unwrap();
        assert_eq!(report.fresh.len(), 2, "{}: {report:?}", a.model_type);
    }
}

#[test]
fn a_classifier_of_pictures_on_any_body() {
    let class = Class::ImageClassification;
    for a in ARCHITECTURES {
        let Some(head) = a.with_head(class) else { continue };
        let dir = tempfile::tempdir().unwrap();
        // A body whose pretraining left more than a classifier needs, where there is such a thing.
        let before = if a.class_name(Class::MaskedImage).is_some() { Class::MaskedImage } else { Class::Base };
        let body = tiny(a, before);
        save(&body, dir.path()).unwrap();
        let fields = serde_json::json!({"id2label": {"0": "a", "1": "b", "2": "c"}});
        let (model, report) = load_head(dir.path(), class, fields.as_object().unwrap(), 1).unwrap();
        assert_eq!((model.architecture().model_type, model.class()), (head.model_type, class));
        assert!(report.fresh.iter().all(|n| n.starts_with("classifier")), "{}: {report:?}", a.model_type);
        let spare = |n: &String| n.contains("decoder.") || n.contains("pooler.") || n.contains("embeddings.mask_token");
        assert!(report.unused.iter().all(spare), "{}: {report:?}", a.model_type);
        for (_, p) in model.params().iter().filter(|(_, p)| !p.name.starts_with("classifier")) {
            let old = [p.name.clone(), p.name.replacen(&format!("{}.", a.base_prefix), "", 1)];
            let old = old.iter().find_map(|name| body.params().id(name).ok()).unwrap();
            assert_eq!(body.params().get(old).value.f32s(), p.value.f32s(), "{}", p.name);
        }
        let out = tempfile::tempdir().unwrap();
        save(&model, out.path()).unwrap();
        assert_eq!(load(out.path()).unwrap().0.class_name(), head.class_name(class).unwrap());
    }
}
