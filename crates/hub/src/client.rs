//! Requests to the hub.

use std::{fs, path::Path, time::Duration};

use bedstone_run::files::FileError;
use ureq::{
    Agent, Body,
    http::{Response, Uri, header},
    tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem},
};

use crate::{HubError, ModelId, Settings, id::is_component};

/// Redirects that are followed.
const REDIRECTS: usize = 10;
/// What a list of files or a message may have in bytes.
const ANSWER: u64 = 64 << 20;

/// Asks one hub.
pub(crate) struct Client {
    agent: Agent,
    pub(crate) endpoint: String,
    token: Option<String>,
}

/// Why a request has no answer that can be used.
pub(crate) enum Failure {
    /// Nobody answers: no network, no such host, a certificate that is not trusted.
    Unreachable(String),
    /// An answer that means that it may work later.
    Busy(HubError),
    /// Trying again would give the same.
    Final(HubError),
}

/// What a repository is at, and the names of its files, sorted.
pub(crate) struct Info {
    pub(crate) commit: String,
    pub(crate) names: Vec<String>,
}

/// One file at one commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Remote {
    pub(crate) name: String,
    pub(crate) url: String,
    /// The name of its blob.
    pub(crate) etag: String,
    pub(crate) size: Option<u64>,
}

impl Client {
    pub(crate) fn new(settings: &Settings) -> Result<Self, HubError> {
        let mut config = Agent::config_builder()
            .user_agent(concat!("bedstone/", env!("CARGO_PKG_VERSION")))
            // What is checked and counted are the bytes of the file.
            .accept_encoding("identity")
            .http_status_as_error(false)
            // Followed here: the headers on the way matter, and the token stays with the hub.
            .max_redirects(0)
            .timeout_resolve(Some(Duration::from_secs(20)))
            .timeout_connect(Some(Duration::from_secs(20)))
            .timeout_per_read(Some(Duration::from_secs(60)));
        if let Some(path) = &settings.certificates {
            let roots = RootCerts::new_with_certs(&certificates(path)?);
            config = config.tls_config(TlsConfig::builder().root_certs(roots).build());
        }
        let agent = config.build().new_agent();
        Ok(Self { agent, endpoint: settings.endpoint.clone(), token: settings.token.clone() })
    }

    /// What the revision is at.
    pub(crate) fn info(&self, id: &ModelId) -> Result<Info, Failure> {
        let url = format!("{}/api/models/{}/revision/{}", self.endpoint, id.repo, escaped(&id.revision));
        let (mut response, url) = self.send(id, false, &url, 0, |_| false)?;
        if response.status() != 200 {
            return Err(self.refused(id, &url, response));
        }
        let bytes = response.body_mut().with_config().limit(ANSWER).read_to_vec();
        let bytes = bytes.map_err(|e| Failure::Unreachable(e.to_string()))?;
        parse_info(&bytes).map_err(|got| {
            Failure::Final(HubError::Answer { id: id.to_string(), url, got, wanted: "a commit and a list of files" })
        })
    }

    /// Checksum and size of a file.
    pub(crate) fn look(&self, id: &ModelId, commit: &str, name: &str) -> Result<Remote, Failure> {
        let url = format!("{}/{}/resolve/{commit}/{name}", self.endpoint, id.repo);
        // The hub says what a large file is before it sends one to where the file lies.
        let (response, _) = self.send(id, true, &url, 0, |answer| text(answer, LINKED_ETAG).is_some())?;
        if response.status().as_u16() >= 400 {
            return Err(self.refused(id, &url, response));
        }
        let answer = |got: String, wanted| HubError::Answer { id: id.to_string(), url: url.clone(), got, wanted };
        if let Some(got) = text(&response, "x-repo-commit")
            && got != commit
        {
            return Err(Failure::Final(answer(format!("commit {got}"), "the commit that was asked for")));
        }
        let redirected = response.status().is_redirection();
        let etag = text(&response, LINKED_ETAG).or_else(|| text(&response, "etag")).unwrap_or_default();
        let etag = etag.strip_prefix("W/").unwrap_or(etag).trim_matches('"').to_owned();
        if !is_component(&etag) {
            return Err(Failure::Final(answer(
                format!("ETag {etag:?}"),
                "the checksum of the file in the header ETag",
            )));
        }
        let number = |name: &str| text(&response, name).and_then(|n| n.parse().ok());
        let own = || if redirected { None } else { number("content-length") };
        let size = number("x-linked-size").or_else(own);
        Ok(Remote { name: name.to_owned(), url, etag, size })
    }

    /// The bytes of a file from `from` on, or all of them if the server cannot begin there (the second value is where it
    /// begins).
    pub(crate) fn open(&self, id: &ModelId, file: &Remote, from: u64) -> Result<(Body, u64), Failure> {
        let (response, url) = self.send(id, false, &file.url, from, |_| false)?;
        match response.status().as_u16() {
            200 => Ok((response.into_body(), 0)),
            206 => {
                let range = text(&response, "content-range").unwrap_or_default().to_owned();
                let start: Option<u64> = range.strip_prefix("bytes ").and_then(|r| r.split('-').next()?.parse().ok());
                match start {
                    Some(start) if start == from => Ok((response.into_body(), from)),
                    _ => Err(Failure::Final(HubError::Answer {
                        id: id.to_string(),
                        url,
                        got: format!("Content-Range {range:?}"),
                        wanted: "the bytes that were asked for",
                    })),
                }
            }
            // What is there is not the beginning of this file.
            416 if from > 0 => self.open(id, file, 0),
            _ => Err(self.refused(id, &url, response)),
        }
    }

    /// Sends a request and follows redirects until `enough` or an answer that is none; gives the last address, too.
    fn send(
        &self,
        id: &ModelId,
        head: bool,
        url: &str,
        from: u64,
        enough: impl Fn(&Response<Body>) -> bool,
    ) -> Result<(Response<Body>, String), Failure> {
        let mut url = url.to_owned();
        for _ in 0..=REDIRECTS {
            let mut request = if head { self.agent.head(&url) } else { self.agent.get(&url) };
            if let Some(token) = self.token.as_ref().filter(|_| origin(&url) == origin(&self.endpoint)) {
                request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
            }
            if from > 0 {
                request = request.header(header::RANGE, format!("bytes={from}-"));
            }
            let response = request.call().map_err(|e| Failure::Unreachable(e.to_string()))?;
            if !response.status().is_redirection() || enough(&response) {
                return Ok((response, url));
            }
            let location = text(&response, "location").unwrap_or_default();
            match joined(&url, location) {
                // What an answer says on the way to another server counts: that one knows nothing of the hub.
                Some(next) if head && origin(&next) != origin(&url) && text(&response, "etag").is_some() => {
                    return Ok((response, url));
                }
                Some(next) => url = next,
                None => {
                    let got = format!("a redirect to {location:?}");
                    let wanted = "the address of another place";
                    return Err(Failure::Final(HubError::Answer { id: id.to_string(), url, got, wanted }));
                }
            }
        }
        let got = format!("{REDIRECTS} redirects");
        Err(Failure::Final(HubError::Answer { id: id.to_string(), url, got, wanted: "an answer" }))
    }

    /// The error for an answer that is no success.
    fn refused(&self, model: &ModelId, url: &str, mut response: Response<Body>) -> Failure {
        let (id, endpoint, token) = (model.to_string(), self.endpoint.clone(), self.token.is_some());
        let status = response.status().as_u16();
        let code = text(&response, "x-error-code").unwrap_or_default().to_owned();
        let message = text(&response, "x-error-message").map(str::to_owned).unwrap_or_else(|| {
            let body = response.body_mut().with_config().limit(ANSWER).read_to_vec().unwrap_or_default();
            let value: serde_json::Value = serde_json::from_slice(&body).unwrap_or_default();
            value.get("error").and_then(|e| e.as_str()).unwrap_or_default().to_owned()
        });
        // It is shown on one line.
        let message: String = message.chars().map(|c| if c.is_control() { ' ' } else { c }).take(300).collect();
        let message = message.trim().trim_end_matches('.').to_owned();
        match (&code[..], status) {
            ("RepoNotFound", _) => Failure::Final(HubError::NotFound { id, endpoint, token }),
            ("RevisionNotFound", _) => {
                let (id, revision) = (model.repo.clone(), model.revision.clone());
                Failure::Final(HubError::NoRevision { id, revision, endpoint })
            }
            ("GatedRepo", _) => Failure::Final(HubError::Denied { id, endpoint, status, gated: true, token, message }),
            (_, 401 | 403) => Failure::Final(HubError::Denied { id, endpoint, status, gated: false, token, message }),
            (_, 404) if url.contains("/api/models/") => Failure::Final(HubError::NotFound { id, endpoint, token }),
            (_, 408 | 429 | 500..) => Failure::Busy(HubError::Status { id, url: url.to_owned(), status, message }),
            _ => Failure::Final(HubError::Status { id, url: url.to_owned(), status, message }),
        }
    }
}

const LINKED_ETAG: &str = "x-linked-etag";

fn text<'a>(response: &'a Response<Body>, header: &str) -> Option<&'a str> {
    response.headers().get(header)?.to_str().ok()
}

fn parse_info(bytes: &[u8]) -> Result<Info, String> {
    let value: serde_json::Value = serde_json::from_slice(bytes).map_err(|e| format!("no JSON ({e})"))?;
    let commit = value.get("sha").and_then(|sha| sha.as_str()).unwrap_or_default();
    if !is_component(commit) {
        return Err(format!("commit {commit:?}"));
    }
    let siblings = value.get("siblings").and_then(|s| s.as_array()).ok_or("no list of files")?;
    let name = |file: &serde_json::Value| file.get("rfilename")?.as_str().map(str::to_owned);
    let names: Option<Vec<String>> = siblings.iter().map(name).collect();
    let mut names = names.ok_or("a file without a name")?;
    names.sort_unstable();
    Ok(Info { commit: commit.to_owned(), names })
}

/// Scheme and host (and port) of an address.
fn origin(url: &str) -> Option<&str> {
    let host = url.find("://")? + 3;
    Some(&url[..url[host..].find(['/', '?', '#']).map_or(url.len(), |at| host + at)])
}

/// Where a redirect leads; `None` if that is no address.
fn joined(url: &str, location: &str) -> Option<String> {
    let next = match location {
        _ if location.starts_with("http://") || location.starts_with("https://") => location.to_owned(),
        _ if location.starts_with("//") => format!("{}:{location}", url.split(':').next()?),
        _ if location.starts_with('/') => format!("{}{location}", origin(url)?),
        _ => return None,
    };
    next.parse::<Uri>().ok().map(|_| next)
}

/// A revision as one part of an address; it is made of harmless letters and slashes.
fn escaped(revision: &str) -> String {
    revision.replace('/', "%2F").replace('+', "%2B")
}

fn certificates(path: &Path) -> Result<Vec<Certificate<'static>>, HubError> {
    let bytes = fs::read(path).map_err(FileError::at(path, "read the certificates"))?;
    let wrong = |reason: String| HubError::Certificates { path: path.to_owned(), reason };
    let mut all = Vec::new();
    for item in parse_pem(&bytes) {
        if let PemItem::Certificate(certificate) = item.map_err(|e| wrong(e.to_string()))? {
            all.push(certificate);
        }
    }
    if all.is_empty() { Err(wrong("it holds none".into())) } else { Ok(all) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_joined(location: &str, want: Option<&str>) {
        assert_eq!(joined("https://hub.example:1/a/b?c", location).as_deref(), want, "{location:?}");
    }

    #[test]
    fn redirects() {
        check_joined("/d/e?f=g%2F", Some("https://hub.example:1/d/e?f=g%2F"));
        check_joined("http://cdn.example/x", Some("http://cdn.example/x"));
        check_joined("//cdn.example/x", Some("https://cdn.example/x"));
        ["", "d", "ftp://x", "https://", "/a b"].into_iter().for_each(|location| check_joined(location, None));
    }

    #[test]
    fn origins() {
        assert_eq!(origin("https://hub.example:1/a"), Some("https://hub.example:1"));
        assert_eq!(origin("https://hub.example"), Some("https://hub.example"));
        assert_ne!(origin("https://hub.example.evil/"), origin("https://hub.example/"));
        assert_ne!(origin("http://hub.example/"), origin("https://hub.example/"));
        assert_eq!(origin("hub.example"), None);
    }

    #[track_caller]
    fn check_info(text: &str, want: Result<(&str, &[&str]), &str>) {
        let got = parse_info(text.as_bytes()).map(|info| (info.commit, info.names));
        let want = want.map(|(c, n)| (c.to_owned(), n.iter().map(|n| (*n).to_owned()).collect()));
        assert_eq!(got, want.map_err(str::to_owned), "{text}");
    }

    #[test]
    fn lists_of_files() {
        check_info(r#"{"sha": "ab1", "siblings": [{"rfilename": "b"}, {"rfilename": "a"}]}"#, Ok(("ab1", &["a", "b"])));
        check_info(r#"{"sha": "ab1", "siblings": []}"#, Ok(("ab1", &[])));
        check_info(r#"{"sha": "../x", "siblings": []}"#, Err("commit \"../x\""));
        check_info(r#"{"siblings": []}"#, Err("commit \"\""));
        check_info(r#"{"sha": "a"}"#, Err("no list of files"));
        check_info(r#"{"sha": "a", "siblings": [{"name": "b"}]}"#, Err("a file without a name"));
        check_info("<html>", Err("no JSON (expected value at line 1 column 1)"));
    }

    #[test]
    fn revisions_in_addresses() {
        assert_eq!(escaped("refs/pr/1"), "refs%2Fpr%2F1");
        assert_eq!(escaped("v1.0+a"), "v1.0%2Ba");
    }

    #[test]
    fn files_without_certificates() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let text = certificates(file.path()).unwrap_err().to_string();
        assert!(text.contains(": not a file of certificates: it holds none\nhint: SSL_CERT_FILE"), "{text}");
    }
}
