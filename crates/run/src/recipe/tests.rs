use std::path::Path;

use proptest::prelude::*;
use serde::Deserialize;

use super::*;

const BUILT_IN: &str = r#"# A small test recipe.
seed = 1 # any whole number

[model]
layers = 4
activation = "gelu"   # gelu or silu

# How it is trained.
[train]
steps = 1_000
lr = 3e-4
schedule = "cosine"
amsgrad = false
betas = [0.9, 0.95]
decay = { weights = 0.1, biases = 0.0 }

[data]
files = []
"#;

#[derive(Debug, Clone, PartialEq, Deserialize)]
struct Typed {
    seed: u64,
    model: Model,
    train: Train,
    data: Data,
}
#[derive(Debug, Clone, PartialEq, Deserialize)]
struct Model {
    layers: usize,
    activation: String,
}
#[derive(Debug, Clone, PartialEq, Deserialize)]
struct Train {
    steps: u64,
    lr: f32,
    schedule: Schedule,
    amsgrad: bool,
    betas: [f32; 2],
    decay: Decay,
}
#[derive(Debug, Clone, PartialEq, Deserialize)]
struct Decay {
    weights: f32,
    biases: f32,
}
#[derive(Debug, Clone, PartialEq, Deserialize)]
struct Data {
    files: Vec<String>,
}
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Schedule {
    Cosine,
    Linear,
    Wsd,
}

fn resolve(config: Option<&str>, settings: &[&str]) -> Result<Recipe<Typed>, RecipeError> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("my.toml");
    if let Some(text) = config {
        std::fs::write(&path, text).unwrap();
    }
    let settings = settings.iter().map(|text| Setting::parse(text)).collect::<Result<Vec<_>, _>>()?;
    Recipe::resolve(Layers { built_in: BUILT_IN, config: config.map(|_| path.as_path()), settings: &settings })
}

#[track_caller]
fn check_error(config: &str, settings: &[&str], want: &str) {
    let error = resolve(Some(config), settings).unwrap_err().to_string();
    let start = error.find("my.toml").unwrap_or(0);
    assert_eq!(&error[start..], want);
}

#[test]
fn built_in_alone() {
    let recipe = resolve(None, &[]).unwrap();
    assert_eq!(recipe.to_toml(), BUILT_IN);
    assert_eq!(recipe.values.train.steps, 1000);
    assert_eq!(recipe.values.train.decay, Decay { weights: 0.1, biases: 0.0 });
    assert_eq!(recipe.origin("train.steps"), Origin::BuiltIn);
}

#[test]
fn later_layers_win() {
    let config = "seed = 2\n[train]\nsteps = 5\nschedule = \"wsd\"\ndecay.weights = 0.2\n";
    let recipe = resolve(Some(config), &["train.steps=7", "data.files=[\"a\"]", "train.schedule=linear"]).unwrap();
    let values = &recipe.values;
    assert_eq!((values.seed, values.train.steps, values.train.schedule), (2, 7, Schedule::Linear));
    assert_eq!(values.train.decay, Decay { weights: 0.2, biases: 0.0 });
    assert_eq!(values.data.files, ["a"]);
    assert_eq!(recipe.origin("train.steps").to_string(), "--set train.steps=7");
    assert!(recipe.origin("train.decay.weights").to_string().ends_with("my.toml:5"));
    assert_eq!(recipe.value("train.steps").as_deref(), Some("7"));
}

#[test]
fn comments_and_order_stay() {
    let config = "[data] # mine\nfiles = [ # mine\n \"a\", # mine\n \"b\",\n]\n[model]\nactivation = 'silu' # mine\n";
    let text = resolve(Some(config), &["seed=9", "train={lr=1, decay={biases=1.5}}"]).unwrap().to_toml();
    let want = BUILT_IN
        .replace("seed = 1", "seed = 9")
        .replace("\"gelu\"", "'silu'")
        .replace("3e-4", "1")
        .replace("biases = 0.0", "biases = 1.5")
        .replace("[]", "[\"a\", \"b\"]");
    assert_eq!(text, want);
}

#[test]
fn unknown_keys() {
    check_error(
        "seed = 1\n\n[train]\nstepz = 5\n",
        &[],
        "my.toml:4: unknown key `train.stepz`\nhint: did you mean `train.steps`?",
    );
    check_error("[trian]\nsteps = 5\n", &[], "my.toml:1: unknown key `trian`\nhint: did you mean `train`?");
    check_error("lr = 5\n", &[], "my.toml:1: unknown key `lr`\nhint: did you mean `train.lr`?");
    check_error("train.decay.bias = 5\n", &[], {
        "my.toml:1: unknown key `train.decay.bias`\nhint: did you mean `train.decay.biases`?"
    });
    check_error("something_else = 5\n", &[], "my.toml:1: unknown key `something_else`");
    check_error("", &["train.decay={weight=1}"], {
        "--set train.decay={weight=1}: unknown key `train.decay.weight`\nhint: did you mean `train.decay.weights`?"
    });
    check_error("", &["Seed=1"], "--set Seed=1: unknown key `Seed`\nhint: did you mean `seed`?");
}

#[test]
fn wrong_types() {
    check_error("[train]\nsteps = \"many\"\n", &[], {
        "my.toml:2: `train.steps` is \"many\", wanted a whole number, 0 or more\nhint: the built-in value is 1_000"
    });
    check_error("seed = -1\n", &[], {
        "my.toml:1: `seed` is -1, wanted a whole number, 0 or more\nhint: the built-in value is 1"
    });
    check_error("", &["train.steps=1e3"], {
        "--set train.steps=1e3: `train.steps` is 1e3, wanted a whole number, 0 or more\nhint: the built-in value is 1_000"
    });
    check_error("", &["train.schedule=cosin"], {
        "--set train.schedule=cosin: `train.schedule` is \"cosin\", wanted one of `cosine`, `linear`, `wsd`\nhint: did you mean `cosine`?"
    });
    check_error("", &["train.amsgrad=yes"], {
        "--set train.amsgrad=yes: `train.amsgrad` is \"yes\", wanted true or false\nhint: the built-in value is false"
    });
    check_error("model.activation = 3", &[], {
        "my.toml:1: `model.activation` is 3, wanted text in quotes\nhint: the built-in value is \"gelu\""
    });
    check_error("data.files = \"a\"", &[], {
        "my.toml:1: `data.files` is \"a\", wanted a list `[…]`\nhint: the built-in value is []"
    });
    check_error("data.files = [\n\"a\",\n1]", &[], {
        "my.toml:1: `data.files[1]` is [\"a\", 1], wanted text in quotes"
    });
    check_error("train = 3", &[], "my.toml:1: `train` is 3, wanted a table with keys of its own");
    check_error("seed = {a=1}", &[], "my.toml:1: `seed` is a table, wanted a single value such as `1`");
    check_error("[seed]\na=1", &[], "my.toml:1: `seed` is a table, wanted a single value such as `1`");
    check_error("", &["seed.a=1"], "--set seed.a=1: `seed` is a table, wanted a single value such as `1`");
}

#[test]
fn broken_files() {
    check_error("seed = 1\nsteps = \n", &[], {
        "my.toml:2: not TOML: string values must be quoted, expected literal string, got `steps =`"
    });
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("my.toml");
    let layers = Layers { built_in: BUILT_IN, config: Some(&path), settings: &[] };
    let error = |layers| Recipe::<Typed>::resolve(layers).unwrap_err().to_string();
    assert!(error(layers).contains("my.toml: cannot read the recipe: "));
    std::fs::write(&path, b"seed = 1\n# \xff\n").unwrap();
    assert!(error(layers).ends_with("my.toml: not UTF-8 text at byte 11, wanted a TOML file"));
}

#[test]
fn built_in_text_must_fit_the_type() {
    #[track_caller]
    fn check(built_in: &str, want: &str) {
        let layers = Layers { built_in, config: None, settings: &[] };
        assert_eq!(Recipe::<Decay>::resolve(layers).unwrap_err().to_string(), want);
    }
    check("weights = 1\n", "built-in recipe: missing field `biases`");
    check("weights = 1\nbiases = ''", {
        "built-in recipe: line 2: `biases` is '': invalid type: string \"\", expected f32"
    });
    check("weights = 1\nbiases = 1\nbeta = 1", "built-in recipe: key `beta` has no place in the recipe's type");
}

#[test]
fn flags_are_named() {
    let settings = [Setting::flag("--steps -3", "train.steps", -3)];
    let layers = Layers { built_in: BUILT_IN, config: None, settings: &settings };
    let error = Recipe::<Typed>::resolve(layers).unwrap_err().to_string();
    assert!(error.starts_with("--steps -3: `train.steps` is -3, wanted a whole number, 0 or more"), "{error}");
}

#[test]
fn callers_refuse_values_in_the_same_form() {
    let recipe = resolve(None, &["train.steps=0"]).unwrap();
    let error = recipe.invalid("train.steps", "1 or more").to_string();
    assert_eq!(error, "--set train.steps=0: `train.steps` is 0, wanted 1 or more");
}

#[test]
fn differences_by_value() {
    let old = resolve(None, &["train.betas=[0.9, 1.0]"]).unwrap();
    let new =
        resolve(None, &["train.betas=[0.90, 1]", "train.steps=1000", "seed=5", "model.activation='gelu'"]).unwrap();
    let changes: Vec<String> = diff(&old, &new).iter().map(Change::to_string).collect();
    assert_eq!(changes, ["`seed`: 1 → 5"]);

    let other: Recipe<Decay> =
        Recipe::resolve(Layers { built_in: "weights = 1\nbiases = 2", config: None, settings: &[] }).unwrap();
    assert_eq!(diff(&other, &old).last().unwrap().to_string(), "`biases`: 2 → missing");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn resolved_text_gives_the_same_again(
        seed in 0..i64::MAX, lr in proptest::num::f64::NORMAL, word in "\\PC{0,12}", files in proptest::collection::vec("\\PC{0,6}", 0..3)
    ) {
        let settings = [
            Setting::flag("a", "seed", seed),
            Setting::flag("b", "train.lr", lr),
            Setting::flag("c", "model.activation", word),
            Setting::flag("d", "data.files", files.into_iter().collect::<Value>()),
        ];
        let first: Recipe<Typed> = Recipe::resolve(Layers { built_in: BUILT_IN, config: None, settings: &settings }).unwrap();
        let again = resolve(Some(&first.to_toml()), &[]).unwrap();
        prop_assert_eq!(&first.values, &again.values);
        prop_assert_eq!(first.to_toml(), again.to_toml());
        prop_assert!(diff(&first, &again).is_empty());
    }

    #[test]
    fn any_file_is_taken_or_refused(text in "\\PC*", cut in 0..BUILT_IN.len()) {
        let _ = resolve(Some(&text), &[]);
        let _ = resolve(Some(&BUILT_IN[..cut]), &[]);
    }
}

#[test]
fn missing_file_is_named() {
    let layers = Layers { built_in: BUILT_IN, config: Some(Path::new("/no/such.toml")), settings: &[] };
    let error = Recipe::<Typed>::resolve(layers).unwrap_err().to_string();
    assert!(error.starts_with("/no/such.toml: cannot read the recipe: "), "{error}");
}
