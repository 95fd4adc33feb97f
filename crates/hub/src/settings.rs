//! What the environment says, in the names that Python's `huggingface_hub` reads.

use std::{
    env,
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
};

use crate::HubError;

/// Where models come from and where they are kept.
#[derive(Clone, PartialEq, Eq)]
pub struct Settings {
    /// `HF_ENDPOINT`, without a slash at its end.
    pub endpoint: String,
    /// `HF_HUB_CACHE`, or `hub` in `HF_HOME`, or `~/.cache/huggingface/hub`.
    pub cache: PathBuf,
    /// `HF_TOKEN`, or the content of the token's file.
    pub token: Option<String>,
    /// `HF_HUB_OFFLINE`: nothing but the cache is used.
    pub offline: bool,
    /// `SSL_CERT_FILE`: certificates to trust instead of the built-in ones of the web.
    pub certificates: Option<PathBuf>,
}

const ENDPOINT: &str = "https://huggingface.co";

impl Settings {
    /// Reads the environment, and the token's file.
    ///
    /// # Errors
    /// [`HubError::Setting`] for an endpoint that is no address or a switch that is neither on nor off,
    /// [`HubError::NoCache`] where there is no home directory, or the system's.
    pub fn from_env() -> Result<Self, HubError> {
        Self::resolve(|name| env::var_os(name))
    }

    fn resolve(var: impl Fn(&str) -> Option<OsString>) -> Result<Self, HubError> {
        let var = |name: &str| var(name).filter(|value| !value.is_empty());
        let user = || var("HOME").map(PathBuf::from);
        let path = |name: &str| {
            let path = PathBuf::from(var(name)?);
            match path.strip_prefix("~") {
                Ok(rest) => Some(user()?.join(rest)),
                Err(_) => Some(path),
            }
        };
        let home = || {
            let base = || path("XDG_CACHE_HOME").or_else(|| Some(user()?.join(".cache")));
            path("HF_HOME").or_else(|| Some(base()?.join("huggingface")))
        };
        let text = |name: &'static str, wanted: &'static str| match var(name).map(OsString::into_string) {
            None => Ok(None),
            Some(Ok(value)) => Ok(Some(value)),
            Some(Err(value)) => Err(HubError::Setting { name, value: value.to_string_lossy().into_owned(), wanted }),
        };
        let endpoint = text("HF_ENDPOINT", ADDRESS)?.unwrap_or_else(|| ENDPOINT.to_owned());
        let endpoint = endpoint.trim_end_matches('/').to_owned();
        if !is_address(&endpoint) {
            return Err(HubError::Setting { name: "HF_ENDPOINT", value: endpoint, wanted: ADDRESS });
        }
        let implicit = !switch("HF_HUB_DISABLE_IMPLICIT_TOKEN", text("HF_HUB_DISABLE_IMPLICIT_TOKEN", SWITCH)?)?;
        let token = match text("HF_TOKEN", "a token")? {
            Some(token) => Some(token.trim().to_owned()),
            None => match path("HF_TOKEN_PATH").or_else(|| Some(home()?.join("token"))) {
                Some(file) => read_token(&file)?,
                None => None,
            },
        };
        Ok(Self {
            endpoint,
            cache: path("HF_HUB_CACHE").or_else(|| Some(home()?.join("hub"))).ok_or(HubError::NoCache)?,
            token: token.filter(|token| implicit && !token.is_empty()),
            offline: switch("HF_HUB_OFFLINE", text("HF_HUB_OFFLINE", SWITCH)?)?,
            certificates: path("SSL_CERT_FILE"),
        })
    }
}

const ADDRESS: &str = "an address such as https://huggingface.co";
const SWITCH: &str = "1 or 0";

/// A scheme, a host, and perhaps a path.
fn is_address(text: &str) -> bool {
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    let allowed = |c: char| c.is_ascii_graphic() && !"?#\"<>\\^`{|}".contains(c);
    rest.is_some_and(|rest| !rest.is_empty() && !rest.starts_with('/') && rest.chars().all(allowed))
}

fn switch(name: &'static str, value: Option<String>) -> Result<bool, HubError> {
    let Some(value) = value else { return Ok(false) };
    match value.to_ascii_lowercase().as_str() {
        "1" | "on" | "yes" | "true" => Ok(true),
        "0" | "off" | "no" | "false" => Ok(false),
        _ => Err(HubError::Setting { name, value, wanted: SWITCH }),
    }
}

fn read_token(file: &Path) -> Result<Option<String>, HubError> {
    match fs::read_to_string(file) {
        Ok(text) => Ok(Some(text.trim().to_owned())),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(bedstone_run::files::FileError::at(file, "read the token")(e).into()),
    }
}

/// The token is a secret.
impl std::fmt::Debug for Settings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Settings")
            .field("endpoint", &self.endpoint)
            .field("cache", &self.cache)
            .field("token", &self.token.as_ref().map(|_| "…"))
            .field("offline", &self.offline)
            .field("certificates", &self.certificates)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(vars: &[(&str, &str)]) -> Result<Settings, HubError> {
        let value = |name: &str| vars.iter().find(|(n, _)| *n == name).map(|(_, v)| OsString::from(v));
        Settings::resolve(|name| value(name).or_else(|| (name == "HOME").then(|| "/nobody".into())))
    }

    #[track_caller]
    fn check_cache(vars: &[(&str, &str)], want: &str) {
        assert_eq!(of(vars).unwrap().cache, Path::new(want), "{vars:?}");
    }

    #[test]
    fn caches() {
        check_cache(&[], "/nobody/.cache/huggingface/hub");
        check_cache(&[("XDG_CACHE_HOME", "/x")], "/x/huggingface/hub");
        check_cache(&[("XDG_CACHE_HOME", "/x"), ("HF_HOME", "/h")], "/h/hub");
        check_cache(&[("HF_HOME", "/h"), ("HF_HUB_CACHE", "/c")], "/c");
        check_cache(&[("HF_HOME", "")], "/nobody/.cache/huggingface/hub");
        check_cache(&[("HF_HOME", "~/hf")], "/nobody/hf/hub");
        assert!(matches!(Settings::resolve(|_| None), Err(HubError::NoCache)));
    }

    #[track_caller]
    fn check_endpoint(text: &str, want: Option<&str>) {
        let got = of(&[("HF_ENDPOINT", text)]).ok().map(|s| s.endpoint);
        assert_eq!(got.as_deref(), want, "{text:?}");
    }

    #[test]
    fn endpoints() {
        check_endpoint("", Some("https://huggingface.co"));
        check_endpoint("https://mirror.example/hub/", Some("https://mirror.example/hub"));
        check_endpoint("http://127.0.0.1:8080", Some("http://127.0.0.1:8080"));
        ["mirror.example", "ftp://a", "https://", "https:///a", "https://a b", "https://a?b"]
            .into_iter()
            .for_each(|text| check_endpoint(text, None));
    }

    #[test]
    fn offline() {
        for (value, want) in [("1", true), ("on", true), ("TRUE", true), ("", false), ("0", false), ("no", false)] {
            assert_eq!(of(&[("HF_HUB_OFFLINE", value)]).unwrap().offline, want, "{value:?}");
        }
        let error = of(&[("HF_HUB_OFFLINE", "maybe")]).unwrap_err().to_string();
        assert_eq!(error, "HF_HUB_OFFLINE: got `maybe`, wanted 1 or 0");
    }

    #[test]
    fn tokens() {
        let dir = tempfile::tempdir().unwrap();
        let home = dir.path().to_str().unwrap();
        let token = |vars: &[(&str, &str)]| of(vars).unwrap().token;
        assert_eq!(token(&[("HF_HOME", home)]), None);
        fs::write(dir.path().join("token"), "hf_file\n").unwrap();
        assert_eq!(token(&[("HF_HOME", home)]).as_deref(), Some("hf_file"));
        assert_eq!(token(&[("HF_HOME", home), ("HF_TOKEN", " hf_env ")]).as_deref(), Some("hf_env"));
        assert_eq!(token(&[("HF_HOME", home), ("HF_HUB_DISABLE_IMPLICIT_TOKEN", "1")]), None);
        let file = format!("{home}/token");
        assert_eq!(token(&[("HF_TOKEN_PATH", &file)]).as_deref(), Some("hf_file"));
        let shown = format!("{:?}", of(&[("HF_TOKEN", "hf_secret")]).unwrap());
        assert!(!shown.contains("secret"), "{shown}");
    }
}
