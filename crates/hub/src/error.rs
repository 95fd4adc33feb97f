//! Why a model is not there.

use std::path::PathBuf;

use bedstone_run::{files::FileError, units};

/// Why a model is not there; each names the model or the file, and ends with a `hint:` line where there is advice.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HubError {
    /// A variable of the environment that cannot be used.
    #[error("{name}: got `{value}`, wanted {wanted}")]
    Setting {
        /// The variable.
        name: &'static str,
        /// Its value.
        value: String,
        /// What it can be.
        wanted: &'static str,
    },
    /// No place for the cache.
    #[error("no directory to keep models in: neither HF_HUB_CACHE, HF_HOME nor HOME is set\nhint: set HF_HOME")]
    NoCache,
    /// Only the cache may be used, and it does not hold the model.
    #[error(
        "{id}: no such file or directory, and the cache of the hub has {}\nhint: HF_HUB_OFFLINE forbids to fetch it; \
         unset it, or check the name; the cache is {}",
        has(*missing), cache.display()
    )]
    Offline {
        /// The model.
        id: String,
        /// Where it was looked for.
        cache: PathBuf,
        /// What is not there of a model that is there in part.
        missing: Option<&'static str>,
    },
    /// Nobody answers, and the cache does not hold the model.
    #[error(
        "{id}: no such file or directory, the cache of the hub has {}, and {address} cannot be reached: {reason}\n\
         hint: check the name and the network; HF_ENDPOINT names a mirror, HTTPS_PROXY a proxy, SSL_CERT_FILE \
         certificates to trust",
        has(*missing)
    )]
    Unreachable {
        /// The model.
        id: String,
        /// Who was asked.
        address: String,
        /// What the system said.
        reason: String,
        /// What is not there of a model that is there in part.
        missing: Option<&'static str>,
    },
    /// The hub has no such model, or does not show it to everyone.
    #[error(
        "{id}: no such file or directory, and {endpoint} has no model of that name{}\nhint: {}",
        if *token { " for this token" } else { "" },
        if *token { "check the name, or whether the token may read it" }
        else { "check the name; a private model needs a token in HF_TOKEN" }
    )]
    NotFound {
        /// The model.
        id: String,
        /// Who was asked.
        endpoint: String,
        /// Whether a token was sent.
        token: bool,
    },
    /// The model has no such branch, tag or commit.
    #[error(
        "{id}: {endpoint} has no revision `{revision}` of it\nhint: wanted a branch, a tag or a whole commit after the `@`"
    )]
    NoRevision {
        /// The model.
        id: String,
        /// What was asked for.
        revision: String,
        /// Who was asked.
        endpoint: String,
    },
    /// The model is not for everyone.
    #[error("{id}: {endpoint} refuses access (status {status}){}\nhint: {}", said(message), access(*gated, *token))]
    Denied {
        /// The model.
        id: String,
        /// Who was asked.
        endpoint: String,
        /// 401 or 403.
        status: u16,
        /// Whether its terms have to be accepted.
        gated: bool,
        /// Whether a token was sent.
        token: bool,
        /// What the hub said.
        message: String,
    },
    /// Any other answer that is no success.
    #[error("{id}: {url} answered with status {status}{}{}", said(message), later(*status))]
    Status {
        /// The model.
        id: String,
        /// What was asked for.
        url: String,
        /// The answer's status.
        status: u16,
        /// What the hub said.
        message: String,
    },
    /// An answer that makes no sense.
    #[error(
        "{id}: {url}: got {got}, wanted {wanted}\nhint: is this the address of a hub? HF_ENDPOINT may name another"
    )]
    Answer {
        /// The model.
        id: String,
        /// What was asked for.
        url: String,
        /// What came.
        got: String,
        /// What should have come.
        wanted: &'static str,
    },
    /// The connection broke, again and again.
    #[error(
        "{id}: {file}: the connection broke after {}{}: {reason}\nhint: try again; what has come is kept and continued",
        units::bytes(*got),
        match wanted { Some(wanted) => format!(" of {}", units::bytes(*wanted)), None => String::new() }
    )]
    Broken {
        /// The model.
        id: String,
        /// The file.
        file: String,
        /// Bytes that came.
        got: u64,
        /// Bytes that the file has.
        wanted: Option<u64>,
        /// What the system said.
        reason: String,
    },
    /// The file is not what the hub says it is.
    #[error(
        "{id}: {file}: got {got}, wanted {wanted}\nhint: the file was damaged on its way and is not kept; try again, or \
         look at what stands between here and the hub"
    )]
    Checksum {
        /// The model.
        id: String,
        /// The file.
        file: String,
        /// What came, as a checksum.
        got: String,
        /// What the hub says.
        wanted: String,
    },
    /// A repository without weights that this program reads.
    #[error(
        "{id}: no weights: found {}, wanted `model.safetensors` or `pytorch_model.bin`, whole or in shards\nhint: choose a model whose files are those of `transformers`",
        list(found)
    )]
    NoWeights {
        /// The model.
        id: String,
        /// The names of its files.
        found: Vec<String>,
    },
    /// An index that cannot be followed.
    #[error("{id}: {file}: {reason}")]
    Index {
        /// The model.
        id: String,
        /// The file.
        file: String,
        /// What is wrong.
        reason: String,
    },
    /// The weights do not fit on the disk.
    #[error(
        "{id}: too little disk space in {}: needs {}, has {}\nhint: free {}, or choose another disk with HF_HOME",
        cache.display(), units::bytes(*needs), units::bytes(*has), units::bytes(needs.saturating_sub(*has))
    )]
    Space {
        /// The model.
        id: String,
        /// The cache.
        cache: PathBuf,
        /// Bytes to fetch.
        needs: u64,
        /// Bytes free.
        has: u64,
    },
    /// Certificates that cannot be used.
    #[error("{}: not a file of certificates: {reason}\nhint: SSL_CERT_FILE names it; wanted PEM", path.display())]
    Certificates {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The watcher wanted no more. What has come is kept, and continued by the next try.
    #[error("interrupted")]
    Interrupted,
    /// The system refused something.
    #[error(transparent)]
    File(#[from] FileError),
}

fn has(missing: Option<&str>) -> String {
    match missing {
        Some(part) => format!("it without {part}"),
        None => "no model of that name".to_owned(),
    }
}

fn said(message: &str) -> String {
    if message.is_empty() { String::new() } else { format!(": {message}") }
}

fn access(gated: bool, token: bool) -> &'static str {
    match (gated, token) {
        (true, false) => "accept its terms on its page, then set HF_TOKEN to a token of your account",
        (true, true) => "accept its terms on its page with the account of the token",
        (false, false) => "check the name; a private model needs a token in HF_TOKEN",
        (false, true) => "check the token, which comes from HF_TOKEN or the file `token` in HF_HOME",
    }
}

fn later(status: u16) -> &'static str {
    if status == 429 || status >= 500 { "\nhint: try again later" } else { "" }
}

/// The first names, as many as a line bears.
fn list(names: &[String]) -> String {
    const SHOWN: usize = 12;
    if names.is_empty() {
        return "nothing".into();
    }
    let shown = names.iter().take(SHOWN).map(|n| format!("`{n}`")).collect::<Vec<_>>().join(", ");
    match names.len().saturating_sub(SHOWN) {
        0 => shown,
        rest => format!("{shown} and {rest} more"),
    }
}
