//! Models of a hub: fetched, checked, kept, and found again, through the program and against a small hub of our own.

mod common;
#[path = "common/hub.rs"]
mod server;

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use common::{Ended, Place, ended, wait_until};
use server::{Commit, Fault, Server, Site, etag};

const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests");
const GENERATE: &str = "--prompt 'Hello, he' --max-tokens 4 --greedy";
const REPO: &str = "hf/hub/models--org--gpt2";

fn fixture(name: &str) -> Commit {
    Commit::of(&Path::new(FIXTURES).join(name))
}

/// The fixture as others would publish it, among files that nobody wants.
fn gpt2() -> Commit {
    let other = ["README.md", "onnx/model.onnx", "pytorch_model.bin", "tf_model.h5", "original/config.json"];
    other.into_iter().fold(fixture("fixtures/gpt2"), |commit, name| commit.with(name, b"of no use"))
}

/// A place whose hub is this server.
fn place(server: &Server) -> Place {
    let mut p = Place::new();
    p.set_env("HF_HUB_OFFLINE", "0");
    p.set_env("HF_ENDPOINT", &server.endpoint());
    p
}

/// What the model itself generates.
fn wanted(p: &Place) -> String {
    p.done(&format!("generate {FIXTURES}/fixtures/gpt2 {GENERATE}")).stdout
}

/// `generate MODEL` gives what the fixture gives.
#[track_caller]
fn check(p: &Place, model: &str) -> Ended {
    let got = p.done(&format!("generate {model} {GENERATE}"));
    assert_eq!(got.stdout, wanted(p), "{model}\n{}", got.stderr);
    got
}

/// Fetching fails like this, and leaves nothing that a later command could take for the model.
#[track_caller]
fn check_fails(server: &Server, model: &str, want: &str) -> Place {
    let p = place(server);
    let want = want.replace("ENDPOINT", &server.endpoint());
    p.fails(&format!("generate {model} {GENERATE}"), 1, &want);
    assert_eq!(p.names(&format!("{REPO}/refs")), [""; 0], "no ref");
    p
}

#[test]
fn fetched_once_and_found_again() {
    let server = Server::start(Site::of("org/gpt2", gpt2()));
    let mut p = place(&server);
    let first = check(&p, "org/gpt2");
    let commit = gpt2().hash;
    let note = format!("fetched into {REPO}/snapshots/{commit}\n");
    assert!(first.stderr.starts_with("org/gpt2: 6 files (") && first.stderr.contains(&note), "{}", first.stderr);
    let unwanted = ["README", "onnx", "pytorch_model", "tf_model", "original", "parity"];
    let requests = server.requests();
    assert!(!requests.iter().any(|r| unwanted.iter().any(|name| r.contains(name))), "{requests:#?}");

    // As `huggingface_hub` lays it out.
    assert_eq!(p.text(&format!("{REPO}/refs/main")), commit);
    let names = p.names(&format!("{REPO}/snapshots/{commit}"));
    assert_eq!(names[..2], ["config.json", "generation_config.json"]);
    for name in &names {
        let link = fs::read_link(p.path(&format!("{REPO}/snapshots/{commit}/{name}"))).unwrap();
        assert_eq!(link, Path::new("../../blobs").join(etag(name, &gpt2().files[name])), "{name}");
    }
    assert_eq!(p.names(&format!("{REPO}/blobs")).len(), names.len());

    // One question: has the branch moved?
    check(&p, "org/gpt2");
    assert_eq!(server.requests(), ["GET /api/models/org/gpt2/revision/main"]);
    let cache = || (p.names(&format!("{REPO}/blobs")), p.names(&format!("{REPO}/snapshots")));
    let before = cache();

    // Without the network, and without wanting it.
    drop(server);
    let without = check(&p, "org/gpt2");
    assert!(without.stderr.contains("cannot be reached (") && without.stderr.contains("; using what the cache has\n"));
    assert_eq!(cache(), before);
    p.set_env("HF_HUB_OFFLINE", "1");
    assert!(!check(&p, "org/gpt2").stderr.contains("org/gpt2:"));
    assert!(!check(&p, &format!("org/gpt2@{commit}")).stderr.contains("org/gpt2"));
}

#[test]
fn every_command_takes_ids() {
    let server = Server::start(Site::of("org/gpt2", gpt2()));
    let p = place(&server);
    let local = format!("{FIXTURES}/fixtures/gpt2");
    p.write("text.txt", "Hello, hello, hello.");
    for line in ["inspect MODEL", "eval MODEL --data text.txt", "tokenizer encode MODEL hello", "parity -q MODEL"] {
        let (got, want) = (line.replace("MODEL", "org/gpt2"), line.replace("MODEL", &local));
        assert_eq!(p.done(&got).stdout, p.done(&want).stdout, "{line}");
    }
    let fail = p.run("parity org/none");
    assert!(fail.stdout.starts_with("FAIL none: fixture: org/none: no such file or directory, and "), "{fail:?}");
    assert_eq!(fail.code, Some(1));
}

/// A run may begin with a hub's weights; its recipe keeps the name.
#[test]
fn runs_begin_with_ids() {
    let server = Server::start(Site::default());
    let p = place(&server);
    p.train("first", "--steps 1");
    let mut commit = Commit::default().at("abc");
    for name in p.names("first").into_iter().filter(|name| name != "training") {
        commit = commit.with(&name, &p.read(&format!("first/{name}")));
    }
    server.change(|site| site.add("org/first", "v1", commit));
    let settings = "--set data.stories=200 --set train.context=32 --set train.batch=4 --steps 3";
    p.done(&format!("pretrain gpt --init org/first@v1 {settings} --out hub"));
    p.done(&format!("pretrain gpt --init first {settings} --out local"));
    assert_eq!(p.losses("hub"), p.losses("local"));
    assert!(p.text("hub/recipe.toml").contains("init = \"org/first@v1\""));
    p.train("tokens", "--steps 1 --tokenizer org/first@v1");
    assert_eq!(p.read("tokens/tokenizer.json"), p.read("first/tokenizer.json"));
    // Going on asks nobody.
    server.requests();
    p.done("pretrain gpt --out hub --resume");
    assert_eq!(server.requests(), [""; 0]);
    let want = format!(
        "org/none: no such file or directory, and {} has no model of that name\n\
         hint: check the name; a private model needs a token in HF_TOKEN",
        server.endpoint()
    );
    p.fails("pretrain gpt --config tiny.toml --init org/none --out none", 1, &want);
}

#[test]
fn tokenizers_come_alone() {
    let server = Server::start(Site::of("org/gpt2", gpt2()));
    let mut p = place(&server);
    p.done("tokenizer encode org/gpt2 hello");
    assert!(!server.requests().iter().any(|request| request.contains("safetensors")));
    p.set_env("HF_HUB_OFFLINE", "1");
    p.done("tokenizer encode org/gpt2 hello");
    p.fails(&format!("generate org/gpt2 {GENERATE}"), 1, {
        "org/gpt2: no such file or directory, and the cache of the hub has it without all of its weights\n\
         hint: HF_HUB_OFFLINE forbids to fetch it; unset it, or check the name; the cache is hf/hub"
    });
    p.set_env("HF_HUB_OFFLINE", "0");
    check(&p, "org/gpt2");
}

#[test]
fn offline() {
    let mut p = Place::new();
    let want = |id: &str| {
        format!(
            "{id}: no such file or directory, and the cache of the hub has no model of that name\n\
             hint: HF_HUB_OFFLINE forbids to fetch it; unset it, or check the name; the cache is hf/hub"
        )
    };
    p.fails("generate org/gpt2 --prompt a", 1, &want("org/gpt2"));
    p.fails("inspect gpt2", 1, &want("gpt2"));
    p.fails("inspect org/gpt2@v1", 1, &want("org/gpt2@v1"));
    p.set_env("HF_HUB_CACHE", "elsewhere");
    p.fails("inspect gpt2", 1, &want("gpt2").replace("hf/hub", "elsewhere"));
    p.set_env("HF_HUB_OFFLINE", "perhaps");
    p.fails("inspect gpt2", 2, "HF_HUB_OFFLINE: got `perhaps`, wanted 1 or 0");
}

#[test]
fn no_network() {
    let server = Server::start(Site::default());
    let (endpoint, mut p) = (server.endpoint(), place(&server));
    drop(server);
    let error = p.run("inspect org/gpt2");
    let start = format!(
        "org/gpt2: no such file or directory, the cache of the hub has no model of that name, and {endpoint} cannot be \
         reached: "
    );
    assert!(error.error().starts_with(&start) && error.error().contains("\nhint: check the name and the network; "));
    assert_eq!((error.code, error.error().lines().count()), (Some(1), 2), "{}", error.stderr);
    p.set_env("HF_ENDPOINT", "hub.example");
    p.fails("inspect org/gpt2", 2, {
        "HF_ENDPOINT: got `hub.example`, wanted an address such as https://huggingface.co"
    });
}

#[test]
fn what_is_here_comes_first() {
    let server = Server::start(Site::of("org/gpt2", Commit::default()));
    let p = place(&server);
    for (name, content) in fixture("fixtures/gpt2").files {
        p.write(&format!("org/gpt2/{name}"), content);
    }
    check(&p, "org/gpt2");
    p.fails("inspect runs/gpt2", 1, {
        "runs/gpt2: cannot be read: No such file or directory (os error 2)\n\
         hint: name a checkpoint directory, one that holds `config.json`"
    });
    assert_eq!(server.requests(), [""; 0]);
}

#[test]
fn refused() {
    let mut site = Site::of("org/gpt2", gpt2());
    let refused = [
        ("a/gated", (403, "GatedRepo")),
        ("a/private", (401, "")),
        ("a/lost", (404, "")),
        ("a/broken", (500, "")),
        ("a/odd", (418, "")),
    ];
    site.refused.extend(refused.map(|(name, why)| (name.to_owned(), why)));
    let server = Server::start(site);
    let lost = |id: &str| {
        format!(
            "{id}: no such file or directory, and ENDPOINT has no model of that name\n\
             hint: check the name; a private model needs a token in HF_TOKEN"
        )
    };
    check_fails(&server, "org/none", &lost("org/none"));
    check_fails(&server, "a/lost", &lost("a/lost"));
    check_fails(&server, "a/gated", {
        "a/gated: ENDPOINT refuses access (status 403): Go away\n\
         hint: accept its terms on its page, then set HF_TOKEN to a token of your account"
    });
    check_fails(&server, "a/private", {
        "a/private: ENDPOINT refuses access (status 401): Go away\n\
         hint: check the name; a private model needs a token in HF_TOKEN"
    });
    check_fails(&server, "org/gpt2@v7", {
        "org/gpt2: ENDPOINT has no revision `v7` of it\nhint: wanted a branch, a tag or a whole commit after the `@`"
    });
    check_fails(&server, "a/broken", {
        "a/broken: ENDPOINT/api/models/a/broken/revision/main answered with status 500: Go away\nhint: try again later"
    });
    check_fails(&server, "a/odd", {
        "a/odd: ENDPOINT/api/models/a/odd/revision/main answered with status 418: Go away"
    });
    // The list is for everyone, the files are not.
    server.change(|site| _ = site.faults.insert("config.json".into(), Fault::Refused(401, "GatedRepo")));
    check_fails(&server, "org/gpt2", {
        "org/gpt2: ENDPOINT refuses access (status 401): Not you\n\
         hint: accept its terms on its page, then set HF_TOKEN to a token of your account"
    });
}

/// The token goes to the hub, and not to where the hub sends for large files.
#[test]
fn tokens_stay_with_the_hub() {
    let server = Server::start(Site::of("org/gpt2", gpt2()));
    let mut p = place(&server);
    p.write("hf/token", "hf_secret\n");
    check(&p, "org/gpt2");
    for request in server.requests() {
        let sent = request.contains(" token Bearer hf_secret");
        assert_eq!(sent, !request.starts_with("GET /cdn/"), "{request}");
    }
    p.set_env("HF_TOKEN", "hf_other");
    p.run("inspect org/none");
    assert_eq!(server.requests(), ["GET /api/models/org/none/revision/main token Bearer hf_other"]);
}

#[test]
fn damaged_on_the_way() {
    for name in ["model.safetensors", "config.json"] {
        let mut site = Site::of("org/gpt2", gpt2());
        site.faults.insert(name.into(), Fault::Flipped);
        let server = Server::start(site);
        let content = &gpt2().files[name];
        let mut flipped = content.clone();
        flipped[content.len() / 2] ^= 1;
        let kind = if name == "config.json" { "git's SHA-1" } else { "SHA-256" };
        let p = check_fails(
            &server,
            "org/gpt2",
            &format!(
                "org/gpt2: {name}: got {kind} {}, wanted {}\nhint: the file was damaged on its way and is not kept; try \
             again, or look at what stands between here and the hub",
                etag(name, &flipped),
                etag(name, content)
            ),
        );
        let blobs = p.names(&format!("{REPO}/blobs"));
        assert!(!blobs.iter().any(|blob| blob.starts_with(&etag(name, content))), "{blobs:?}");
        server.change(|site| site.faults.clear());
        check(&p, "org/gpt2");
    }
}

#[test]
fn broken_connections_go_on() {
    let large = gpt2().files["model.safetensors"].len();
    let mut site = Site::of("org/gpt2", gpt2());
    site.faults.insert("model.safetensors".into(), Fault::AtMost(large / 3 + 1));
    let server = Server::start(site);
    check(&place(&server), "org/gpt2");
    let cdn: Vec<String> = server.requests().into_iter().filter(|r| r.starts_with("GET /cdn")).collect();
    let ranges: Vec<&str> = cdn.iter().filter_map(|r| Some(r.split_once(" range ")?.1)).collect();
    assert_eq!(ranges, [format!("bytes={}-", large / 3 + 1), format!("bytes={}-", 2 * (large / 3 + 1))]);

    // A server that knows no ranges begins again.
    server.change(|site| _ = site.faults.insert("model.safetensors".into(), Fault::NoRanges));
    let p = place(&server);
    let content = &gpt2().files["model.safetensors"];
    let begun = format!("{REPO}/blobs/{}.incomplete", etag("model.safetensors", content));
    p.write(&begun, &content[..1000]);
    check(&p, "org/gpt2");
    assert!(!p.path(&begun).exists());
}

/// A later command continues what came before the connection broke for good; what is not the file's beginning is
/// fetched again.
#[test]
fn later_tries_continue() {
    let content = &gpt2().files["model.safetensors"];
    let etag = etag("model.safetensors", content);
    let mut site = Site::of("org/gpt2", gpt2());
    site.faults.insert("model.safetensors".into(), Fault::EndsAt(10_240));
    let server = Server::start(site);
    let p = place(&server);
    let error = p.run(&format!("generate org/gpt2 {GENERATE}"));
    let start = "org/gpt2: model.safetensors: the connection broke after 10.0 KiB of ";
    assert!(error.error().starts_with(start), "{}", error.stderr);
    assert!(error.error().ends_with("\nhint: try again; what has come is kept and continued"), "{}", error.stderr);
    assert_eq!(error.code, Some(1));
    let begun = format!("{REPO}/blobs/{etag}.incomplete");
    assert_eq!(p.read(&begun), content[..10_240]);
    assert_eq!(p.names(&format!("{REPO}/refs")), [""; 0]);

    server.change(|site| site.faults.clear());
    server.requests();
    check(&p, "org/gpt2");
    let cdn: Vec<String> = server.requests().into_iter().filter(|r| r.starts_with("GET /cdn")).collect();
    assert!(cdn.len() == 1 && cdn[0].ends_with(" range bytes=10240-"), "{cdn:?}");

    for wrong in [vec![0; 10_240], vec![0; content.len()], vec![0; 2 * content.len()]] {
        let p = place(&server);
        p.write(&begun, wrong);
        check(&p, "org/gpt2");
        assert_eq!(p.read(&format!("{REPO}/blobs/{etag}")), *content);
        assert!(!p.path(&begun).exists());
    }
}

#[test]
fn shards() {
    let sharded = || fixture("fixtures-extra/gpt2-sharded");
    let bin = b"the same weights again".to_vec();
    let server = Server::start(Site::of("org/gpt2", sharded().with("pytorch_model.bin", &bin)));
    let mut p = place(&server);
    let want = p.done(&format!("inspect {FIXTURES}/fixtures-extra/gpt2-sharded --json")).stdout;
    assert_eq!(p.done("inspect org/gpt2 --json").stdout, want);
    let requests = server.requests();
    assert_eq!(requests.iter().filter(|r| r.starts_with("GET /cdn")).count(), 3, "{requests:#?}");
    p.set_env("HF_HUB_OFFLINE", "1");
    assert_eq!(p.done("inspect org/gpt2 --json").stdout, want);

    // A shard that someone deleted from the cache is noticed offline, and fetched again with a network.
    let name = "model-00002-of-00003.safetensors";
    fs::remove_file(p.path(&format!("{REPO}/blobs/{}", etag(name, &sharded().files[name])))).unwrap();
    let error = p.run("inspect org/gpt2");
    assert!(error.error().contains("the cache of the hub has it without all of its weights"), "{}", error.stderr);
    p.set_env("HF_HUB_OFFLINE", "0");
    assert_eq!(p.done("inspect org/gpt2 --json").stdout, want);

    let server = Server::start(Site::of("org/gpt2", sharded().without(name)));
    check_fails(
        &server,
        "org/gpt2",
        &format!("org/gpt2: model.safetensors.index.json: names `{name}`, which the model does not have"),
    );
    let index = br#"{"weight_map": {"a": "../../x"}}"#;
    let server = Server::start(Site::of("org/gpt2", sharded().with("model.safetensors.index.json", index)));
    check_fails(&server, "org/gpt2", "org/gpt2: model.safetensors.index.json: `../../x` is not a file name");
}

#[test]
fn pickled_weights_where_there_are_no_others() {
    let server = Server::start(Site::of("org/gpt2", fixture("fixtures-extra/gpt2-bin")));
    let want = place(&server).done(&format!("inspect {FIXTURES}/fixtures-extra/gpt2-bin")).stdout;
    assert_eq!(place(&server).done("inspect org/gpt2").stdout, want);
    let server = Server::start(Site::of("org/gpt2", gpt2().without("model.safetensors").without("pytorch_model.bin")));
    let p = place(&server);
    let error = p.run("inspect org/gpt2");
    let start = "org/gpt2: no weights: found `README.md`, `config.json`, `generation_config.json`, `onnx/model.onnx`, ";
    assert!(error.code == Some(1) && error.error().starts_with(start), "{}", error.stderr);
}

/// An adapter of `peft` names its base by id, and has no tokenizer.
#[test]
fn adapters_and_their_bases() {
    let base = fixture("fixtures/bert-seqcls");
    let config = String::from_utf8(fixture("fixtures-extra/lora-bert-seqcls").files["adapter_config.json"].clone());
    let config = config.unwrap().replace("../../fixtures/bert-seqcls", "org/base");
    let adapter = fixture("fixtures-extra/lora-bert-seqcls").with("adapter_config.json", config.as_bytes());
    let mut site = Site::of("org/base", base.at("beef"));
    site.add("me/adapter", "main", adapter.clone());
    let server = Server::start(site);
    let mut p = place(&server);
    let classes = |p: &Place, model: &str| p.done(&format!("classify {model} 'hello there' --json")).stdout;
    let local = format!("{FIXTURES}/fixtures-extra/lora-bert-seqcls");
    let want = classes(&p, &local);
    let unlike = classes(&p, &format!("{FIXTURES}/fixtures/bert-seqcls"));
    assert_ne!(want, unlike);

    let ids = p.done("tokenizer encode me/adapter hello").stdout;
    assert_eq!(ids, p.done(&format!("tokenizer encode {FIXTURES}/fixtures/bert-seqcls hello")).stdout);
    assert_eq!(classes(&p, "me/adapter"), want);
    let requests = server.requests();
    assert!(!requests.iter().any(|r| r.contains("me/adapter") && r.contains("trace")), "{requests:#?}");
    // The same from a folder, and without the network; a changed adapter is seen.
    for name in ["adapter_config.json", "adapter_model.safetensors"] {
        p.write(&format!("mine/{name}"), &adapter.files[name]);
    }
    assert_eq!(classes(&p, "mine"), want);
    assert!(p.done("inspect mine").stdout.contains("of rank 3, for "));
    p.set_env("HF_HUB_OFFLINE", "1");
    assert_eq!(classes(&p, "me/adapter"), want);
    let ended = p.done("classify mine 'hello there' --json");
    assert_eq!((&*ended.stdout, &*ended.stderr), (&*want, "mine: an adapter of org/base\n"));
    p.write("mine/adapter_config.json", config.replace("\"lora_alpha\": 6", "\"lora_alpha\": 60"));
    assert_ne!(classes(&p, "mine"), want);

    p.write("mine/adapter_config.json", config.replace("org/base", "org/none"));
    p.fails("classify mine a", 1, {
        "org/none: no such file or directory, and the cache of the hub has no model of that name\n\
         hint: HF_HUB_OFFLINE forbids to fetch it; unset it, or check the name; the cache is hf/hub"
    });
    p.write("mine/adapter_config.json", config.replace("org/base", "not a name/of/anything"));
    let ended = p.run("classify mine a");
    assert!(ended.error().contains("`not a name/of/anything`, which is not here"), "{}", ended.stderr);
}

#[test]
fn revisions() {
    let mut site = Site::of("org/gpt2", gpt2());
    let old = fixture("fixtures-extra/gpt2-f16").at("0ld");
    site.add("org/gpt2", "v1.0", old.clone());
    site.add("org/gpt2", "refs/pr/1", old);
    let server = Server::start(site);
    let p = place(&server);
    let dtypes = |model: &str| p.json_of(&format!("inspect {model} --json"))["dtypes"].to_string();
    assert_eq!(dtypes("org/gpt2"), "[\"F32\"]");
    for model in ["org/gpt2@v1.0", "org/gpt2@refs/pr/1", "org/gpt2@0ld"] {
        assert_eq!(dtypes(model), "[\"F16\"]", "{model}");
    }
    assert_eq!(p.text(&format!("{REPO}/refs/refs/pr/1")), "0ld");
    assert_eq!(p.names(&format!("{REPO}/snapshots")).len(), 2);

    // The branch moves on; what both commits have is not fetched again.
    server.change(|site| site.add("org/gpt2", "main", gpt2().with("merges.txt", b"#version: 0.2\n").at("new")));
    server.requests();
    assert_eq!(dtypes("org/gpt2"), "[\"F32\"]");
    let requests = server.requests();
    let got: Vec<&String> = requests.iter().filter(|r| r.starts_with("GET") && !r.contains("/api/")).collect();
    assert_eq!(got, ["GET /org/gpt2/resolve/new/merges.txt"]);
    assert_eq!(p.text(&format!("{REPO}/refs/main")), "new");
}

#[test]
fn mirrors_and_old_names() {
    let mut site = Site::of("org/gpt2", gpt2());
    site.prefix = "/api/hub/team-a".into();
    site.renamed.insert("gpt2".into(), "org/gpt2".into());
    let server = Server::start(site);
    let mut p = place(&server);
    check(&p, "org/gpt2");
    check(&p, "gpt2");
    p.set_env("HF_ENDPOINT", &format!("{}/", server.endpoint()));
    check(&p, "org/gpt2");
    assert!(server.requests().iter().all(|request| request.contains(" /api/hub/team-a/")));

    // A server whose ETags say nothing: that is said.
    server.change(|site| _ = site.faults.insert("config.json".into(), Fault::Opaque));
    let p = place(&server);
    let note = "config.json: the server names no checksum; only the size is known to be right\n";
    assert!(check(&p, "org/gpt2").stderr.starts_with(note));
}

#[test]
fn no_room() {
    let mut site = Site::of("org/gpt2", gpt2());
    site.faults.insert("model.safetensors".into(), Fault::Huge(1 << 60));
    let server = Server::start(site);
    let p = place(&server);
    let error = p.run("inspect org/gpt2");
    let start = "org/gpt2: too little disk space in hf/hub: needs 1.00 EiB, has ";
    assert!(error.code == Some(1) && error.error().starts_with(start), "{}", error.stderr);
    assert!(error.error().ends_with(", or choose another disk with HF_HOME"), "{}", error.stderr);
}

#[test]
fn two_at_once() {
    let mut site = Site::of("org/gpt2", gpt2());
    for name in ["config.json", "model.safetensors"] {
        site.faults.insert(name.into(), Fault::Slow(Duration::from_millis(300)));
    }
    let server = Server::start(site);
    let p = place(&server);
    let both = [0, 1].map(|_| p.spawn(&mut p.command(&format!("generate org/gpt2 {GENERATE}"))));
    let want = wanted(&p);
    for child in both {
        let ended = ended(child.wait_with_output().unwrap());
        assert_eq!((ended.code, &ended.stdout), (Some(0), &want), "{}", ended.stderr);
    }
    let requests = server.requests();
    assert_eq!(requests.iter().filter(|r| r.starts_with("GET /cdn")).count(), 1, "{requests:#?}");
}

/// Ctrl-C ends a download at once, also one that hangs; the next one goes on.
#[test]
fn interrupted() {
    let content = &gpt2().files["model.safetensors"];
    let mut site = Site::of("org/gpt2", gpt2());
    site.faults.insert("model.safetensors".into(), Fault::Stalls(content.len() / 2));
    let server = Server::start(site);
    let p = place(&server);
    let begun = p.path(&format!("{REPO}/blobs/{}.incomplete", etag("model.safetensors", content)));
    let half = || begun.metadata().is_ok_and(|meta| meta.len() == content.len() as u64 / 2);
    let child = p.spawn(p.command(&format!("generate org/gpt2 {GENERATE}")).stdin(Stdio::null()));
    wait_until("half of it is there", half);
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    let ended = ended(child.wait_with_output().unwrap());
    assert_eq!((ended.code, &ended.stdout[..]), (Some(130), ""), "{}", ended.stderr);
    assert!(half());
    server.change(|site| site.faults.clear());
    check(&p, "org/gpt2");
}

/// A run that is stopped while it fetches what it begins with says so and leaves nothing.
#[test]
fn interrupted_before_a_run() {
    let mut site = Site::of("org/gpt2", gpt2());
    site.faults.insert("model.safetensors".into(), Fault::AtMost(1));
    let server = Server::start(site);
    let p = place(&server);
    let child = p.spawn(&mut p.command("pretrain gpt --config tiny.toml --init org/gpt2 --out run"));
    wait_until("it fetches", || server.requests().iter().any(|request| request.starts_with("GET /cdn")));
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    let ended = ended(child.wait_with_output().unwrap());
    assert_eq!(ended.code, Some(130), "{}", ended.stderr);
    assert!(
        ended.stderr.ends_with("stopped before the first step; nothing was kept: start it again by the same command\n"),
        "{}",
        ended.stderr
    );
}
