//! Checkpoints and runs that are damaged or do not fit together: named, exit code 1, never used in part.

mod common;

use common::Place;

/// A run to damage copies of.
fn place() -> Place {
    let p = Place::new();
    p.train("run", "");
    p
}

/// A copy of the checkpoint as `m`, changed by `damage`, is refused by everything that loads it.
#[track_caller]
fn check(p: &Place, damage: impl FnOnce(&Place), want: &str) {
    p.copy_checkpoint("run", "m");
    damage(p);
    p.fails("generate m --prompt Once --max-tokens 2", 1, want);
    p.write("text.txt", "Once upon a time");
    p.fails("eval m --data text.txt", 1, want);
}

/// An edit of `config.json`.
#[track_caller]
fn check_config(p: &Place, old: &str, new: &str, want: &str) {
    check(p, |p| p.edit("m/config.json", old, new), want);
}

#[test]
fn truncated_weights() {
    let p = place();
    let whole = p.read("run/model.safetensors");
    let header = 8 + u64::from_le_bytes(whole[..8].try_into().unwrap()) as usize;
    for (cut, wanted) in [
        (0, 8),
        (7, 8),
        (8, header),
        (header / 2, header),
        (header - 1, header),
        (header, whole.len()),
        (whole.len() / 2, whole.len()),
        (whole.len() - 1, whole.len()),
    ] {
        let want = format!(
            "m/model.safetensors: got {cut} bytes, wanted {wanted}\n\
             hint: the file is truncated; copy or download it again"
        );
        check(&p, |p| p.write("m/model.safetensors", &whole[..cut]), &want);
        p.fails("inspect m", 1, &want);
    }
    let longer = [&whole[..], b"junk"].concat();
    let (got, wanted) = (longer.len(), whole.len());
    check(&p, |p| p.write("m/model.safetensors", &longer), &{
        format!(
            "m/model.safetensors: got {got} bytes, wanted {wanted}\nhint: the file is damaged; copy or download it again"
        )
    });
}

#[test]
fn corrupt_header() {
    let p = place();
    let hint = "\nhint: the file is damaged; copy or download it again";
    let damaged = |at: usize, bytes: &'static [u8]| {
        move |p: &Place| {
            let mut file = p.read("m/model.safetensors");
            file[at..at + bytes.len()].copy_from_slice(bytes);
            p.write("m/model.safetensors", file);
        }
    };
    check(&p, damaged(0, &[0xff; 8]), &{
        format!(
            "m/model.safetensors: corrupt safetensors header: is said to have 18446744073709551615 bytes, \
             at most 100000000 are allowed{hint}"
        )
    });
    // Anywhere in the header: an error of one kind or another that names the file, never a wrong tensor.
    let header = p.read("run/model.safetensors").iter().position(|&b| b == b']').unwrap();
    for at in (8..header).step_by(7) {
        p.copy_checkpoint("run", "m");
        damaged(at, b"\x01")(&p);
        let e = p.run("inspect m");
        assert_eq!(e.code, Some(1), "byte {at}: {}", e.stdout);
        assert!(e.error().starts_with("m/model.safetensors: corrupt safetensors header: "), "byte {at}: {}", e.stderr);
    }
}

#[test]
fn config_that_does_not_fit_its_weights() {
    let p = place();
    let shape = |want: &str| {
        format!("m/model.safetensors: tensor `transformer.wte.weight` has shape [400, 48], config needs {want}")
    };
    check_config(&p, "\"n_embd\": 48", "\"n_embd\": 64", &shape("[400, 64]"));
    check_config(&p, "\"vocab_size\": 400", "\"vocab_size\": 300", &shape("[300, 48]"));
    check_config(&p, "\"n_layer\": 2", "\"n_layer\": 3", {
        "m: tensor `transformer.h.2.ln_1.weight` is missing\nhint: there are `transformer.h.0.ln_1.weight`, \
         `transformer.h.1.ln_1.weight`, `transformer.h.0.ln_2.weight`"
    });
    check_config(&p, "\"model_type\": \"gpt2\"", "\"model_type\": \"gpt9\"", {
        "m/config.json: model_type `gpt9` is not known here\nhint: known are gpt2, llama, mistral, qwen2, qwen3, gemma3_text, \
         bert, roberta, xlm-roberta, distilbert, electra, albert, deberta-v2, vit, deit, dinov2, vit_mae, yolos, detr, resnet"
    });
    check_config(&p, "\"model_type\": \"gpt2\",", "", {
        "m/config.json: field `model_type` is missing, wanted a name such as `llama`"
    });
    // Weights that the configuration has no use for are named.
    p.copy_checkpoint("run", "m");
    p.edit("m/config.json", "\"n_layer\": 2", "\"n_layer\": 1");
    let e = p.done("generate m --prompt Once --max-tokens 2");
    assert!(e.stderr.starts_with("note: m: tensors not used: transformer.h.1.attn.c_attn.bias, "), "{}", e.stderr);
}

#[test]
fn files_that_are_broken_or_missing() {
    let p = place();
    let hint = "\nhint: name a checkpoint directory, one that holds `config.json`";
    let gone = |name: &'static str| move |p: &Place| std::fs::remove_file(p.path(name)).unwrap();
    check(
        &p,
        gone("m/config.json"),
        &format!("m/config.json: cannot be read: No such file or directory (os error 2){hint}"),
    );
    check(&p, gone("m/tokenizer.json"), {
        "m: holds no tokenizer, wanted tokenizer.json, a SentencePiece model, vocab.txt, or vocab.json and merges.txt\n\
         hint: give a checkpoint directory or a tokenizer.json, or train one with `bedstone tokenizer train`"
    });
    check(&p, gone("m/model.safetensors"), {
        "m: no weights: found `README.md`, `config.json`, `generation_config.json`, `recipe.toml`, \
         `special_tokens_map.json`, `tokenizer.json`, `tokenizer_config.json`, wanted `model.safetensors`, \
         `model.safetensors.index.json`, `pytorch_model.bin` or `pytorch_model.bin.index.json`\n\
         hint: name the directory that holds `config.json` and the weights, or the weight file itself"
    });
    check(&p, |p| p.write("m/config.json", "{\"n_embd\": 4"), {
        "m/config.json: not a JSON object: EOF while parsing an object at line 1 column 12"
    });
    check(&p, |p| p.write("m/tokenizer.json", "{\"version\""), {
        "m/tokenizer.json: not a tokenizer: EOF while parsing an object at line 1 column 10"
    });
    check(&p, |p| p.write("m/generation_config.json", "{\"temperature\": \"hot\"}"), {
        "m/generation_config.json: invalid type: string \"hot\", expected f32"
    });
    for command in ["generate ./none --prompt a", "eval ./none --data tiny.toml", "inspect ./none"] {
        p.fails(command, 1, &format!("./none: cannot be read: No such file or directory (os error 2){hint}"));
    }
    p.fails("tokenizer encode none.json a", 1, "none.json: cannot be read: No such file or directory (os error 2)");
    p.fails("tokenizer decode run 65 400", 1, "run: id 400, wanted below 400");
}

#[test]
fn settings_out_of_range() {
    let p = place();
    for (flag, want) in [
        ("--temperature 0", "temperature: got 0, wanted above 0 (greedy is a choice of its own)"),
        ("--temperature nan", "temperature: got NaN, wanted above 0 (greedy is a choice of its own)"),
        ("--top-p 2", "top_p: got 2, wanted above 0 and at most 1"),
        ("--min-p 2", "min_p: got 2, wanted 0 to 1"),
        ("--repetition-penalty 0", "repetition_penalty: got 0, wanted above 0"),
        ("--beams 0", "num_beams: got 0, wanted 1 to 1024"),
        ("--beams 2 --n-best 3", "num_return_sequences: got 3, wanted 1 to num_beams"),
        ("--max-tokens 100", {
            "prompt 0 has 2 tokens, and 100 are to follow: the model takes 32 in all\n\
             hint: shorten the prompt, or ask for fewer tokens"
        }),
    ] {
        p.fails(&format!("generate run --prompt cat {flag}"), 2, want);
    }
}

/// A copy of the run, not finished, changed by `damage`, is not resumed.
#[track_caller]
fn check_run(p: &Place, damage: impl FnOnce(&Place), want: &str) {
    let _ = std::fs::remove_dir_all(p.path("r"));
    p.copy_checkpoint("run", "r");
    for name in ["latest", "log.jsonl", "shown"] {
        p.write(&format!("r/training/{name}"), p.read(&format!("run/training/{name}")));
    }
    for folder in ["step-6", "step-6/state"] {
        for name in p.names(&format!("run/training/{folder}")).into_iter().filter(|name| name != "state") {
            let file = format!("training/{folder}/{name}");
            p.write(&format!("r/{file}"), p.read(&format!("run/{file}")));
        }
    }
    damage(p);
    p.fails("pretrain gpt --out r --resume", 1, want);
}

#[test]
fn damaged_runs() {
    let p = place();
    let hint = "\nhint: restore the file from a copy, or start again with another `--out`";
    let weights = p.read("run/model.safetensors");
    check_run(&p, |p| p.write("r/training/step-6/model.safetensors", &weights[..1000]), &{
        format!(
            "r/training/step-6/model.safetensors: checkpoint is damaged: got 1,000 bytes, wanted 312,128 bytes{hint}"
        )
    });
    check_run(&p, |p| std::fs::remove_file(p.path("r/training/step-6/state/trainer.json")).unwrap(), &{
        let size = p.read("run/training/step-6/state/trainer.json").len();
        format!("r/training/step-6/state/trainer.json: checkpoint is damaged: got no file, wanted {size} bytes{hint}")
    });
    check_run(&p, |p| std::fs::remove_dir_all(p.path("r/training/step-6")).unwrap(), &{
        format!(
            "r/training/step-6/manifest.json: checkpoint is damaged: got no file, wanted the list of the checkpoint's files{hint}"
        )
    });
    check_run(&p, |p| p.write("r/training/latest", "nonsense\n"), {
        "r/training/latest: checkpoint is damaged: got \"nonsense\\n\", wanted the name of a checkpoint such as `step-100`\n\
         hint: restore the file from a copy, or write `step-6` into r/training/latest to go on from that checkpoint"
    });
    // One wrong bit is found by its checksum.
    let mut state = p.read("run/training/step-6/state/model.safetensors");
    let middle = state.len() / 2;
    state[middle] ^= 1;
    p.train("bit", "");
    p.write("bit/training/step-6/state/model.safetensors", state);
    let e = p.run("pretrain gpt --out bit --resume");
    let want = "bit/training/step-6/state/model.safetensors: checkpoint is damaged: got checksum ";
    assert!(e.code == Some(1) && e.error().starts_with(want), "{}", e.stderr);
}
