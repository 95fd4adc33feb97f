//! A hub on the loopback device that serves a few files, well or badly.

// The program's tests are no library.
#![allow(unreachable_pub)]

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead, BufReader, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use ring::digest::{SHA1_FOR_LEGACY_USE_ONLY, SHA256, digest};

/// What is served, and how.
#[derive(Clone, Default)]
pub struct Site {
    /// What stands before every address.
    pub prefix: String,
    /// By name of the model, then by revision.
    pub models: BTreeMap<String, BTreeMap<String, Commit>>,
    /// Models that went to another name.
    pub renamed: BTreeMap<String, String>,
    /// Refused models: status and the hub's code.
    pub refused: BTreeMap<String, (u16, &'static str)>,
    /// What goes wrong with files, by name.
    pub faults: BTreeMap<String, Fault>,
}

/// A model at one commit.
#[derive(Clone, Default)]
pub struct Commit {
    pub hash: String,
    pub files: BTreeMap<String, Vec<u8>>,
}

#[derive(Clone, Debug)]
pub enum Fault {
    /// Every answer ends at this byte of the file, and so does the connection.
    EndsAt(usize),
    /// An answer has at most so many bytes before the connection ends.
    AtMost(usize),
    /// One bit is wrong.
    Flipped,
    /// Nothing comes after this byte, but the connection stays.
    Stalls(usize),
    /// It takes its time.
    Slow(Duration),
    /// Requests for the rest of a file get all of it.
    NoRanges,
    /// The file claims to have so many bytes.
    Huge(u64),
    /// It is listed but refused with this status and code.
    Refused(u16, &'static str),
    /// The ETag is only a name.
    Opaque,
}

/// The running hub; it stops when dropped.
pub struct Server {
    pub address: SocketAddr,
    site: Arc<Mutex<Site>>,
    log: Arc<Mutex<Vec<String>>>,
    stop: Arc<AtomicBool>,
}

impl Site {
    /// A site with one model at one commit of `main`.
    pub fn of(model: &str, commit: Commit) -> Self {
        let mut site = Self::default();
        site.add(model, "main", commit);
        site
    }

    pub fn add(&mut self, model: &str, revision: &str, commit: Commit) {
        self.models.entry(model.to_owned()).or_default().insert(revision.to_owned(), commit);
    }
}

impl Commit {
    /// All files of a folder and its folders.
    pub fn of(folder: &Path) -> Self {
        let mut files = BTreeMap::new();
        let mut folders = vec![String::new()];
        while let Some(sub) = folders.pop() {
            for entry in fs::read_dir(folder.join(&sub)).unwrap() {
                let entry = entry.unwrap();
                let name = format!("{sub}{}", entry.file_name().into_string().unwrap());
                if entry.path().is_dir() {
                    folders.push(format!("{name}/"));
                } else {
                    files.insert(name, fs::read(entry.path()).unwrap());
                }
            }
        }
        Self { hash: "c0ffee".repeat(6) + "c0ff", files }
    }

    pub fn with(mut self, name: &str, content: &[u8]) -> Self {
        self.files.insert(name.to_owned(), content.to_vec());
        self
    }

    pub fn without(mut self, name: &str) -> Self {
        self.files.remove(name);
        self
    }

    pub fn at(self, hash: &str) -> Self {
        Self { hash: hash.to_owned(), ..self }
    }
}

/// Large files lie elsewhere.
fn is_large(name: &str) -> bool {
    name.ends_with(".safetensors") || name.ends_with(".bin")
}

/// The name of a file's blob.
pub fn etag(name: &str, content: &[u8]) -> String {
    let hex = |bytes: &[u8]| bytes.iter().map(|b| format!("{b:02x}")).collect::<String>();
    if is_large(name) {
        return hex(digest(&SHA256, content).as_ref());
    }
    let git = [format!("blob {}\0", content.len()).as_bytes(), content].concat();
    hex(digest(&SHA1_FOR_LEGACY_USE_ONLY, &git).as_ref())
}

impl Server {
    pub fn start(site: Site) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let server = Self { address, site: Arc::new(Mutex::new(site)), log: Arc::default(), stop: Arc::default() };
        let (site, log, stop) = (server.site.clone(), server.log.clone(), server.stop.clone());
        thread::spawn(move || {
            for stream in listener.incoming() {
                if stop.load(Ordering::SeqCst) {
                    break;
                }
                let (site, log) = (site.clone(), log.clone());
                // A client that goes away is no failure of the test.
                thread::spawn(move || stream.and_then(|stream| serve(stream, address, &site, &log)));
            }
        });
        server
    }

    /// What the program has to be told.
    pub fn endpoint(&self) -> String {
        format!("http://{}{}", self.address, self.site.lock().unwrap().prefix)
    }

    pub fn change(&self, change: impl FnOnce(&mut Site)) {
        change(&mut self.site.lock().unwrap());
    }

    /// The requests since the last call: method, path, then `range` or `token` with their values.
    pub fn requests(&self) -> Vec<String> {
        std::mem::take(&mut self.log.lock().unwrap())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.address);
    }
}

fn serve(stream: TcpStream, address: SocketAddr, site: &Mutex<Site>, log: &Mutex<Vec<String>>) -> std::io::Result<()> {
    let mut lines = BufReader::new(&stream).lines();
    let first = lines.next().unwrap_or(Ok(String::new()))?;
    let mut words = first.split(' ');
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let mut entry = format!("{method} {path}");
    let mut from = None;
    for line in lines {
        let line = line?;
        let Some((name, value)) = line.split_once(": ") else { break };
        match &name.to_ascii_lowercase()[..] {
            "range" => {
                entry.push_str(&format!(" range {value}"));
                from = value.strip_prefix("bytes=").and_then(|v| v.strip_suffix('-')?.parse::<usize>().ok());
            }
            "authorization" => entry.push_str(&format!(" token {value}")),
            _ => {}
        }
    }
    log.lock().unwrap().push(entry);
    let site = site.lock().unwrap().clone();
    let answer = Answer { stream, head: method == "HEAD" };
    let Some(path) = path.strip_prefix(&site.prefix[..]) else { return answer.status(404, "", "") };
    if let Some(rest) = path.strip_prefix("/cdn/") {
        return cdn(answer, &site, rest, from);
    }
    if let Some((repo, revision)) = path.strip_prefix("/api/models/").and_then(|p| p.split_once("/revision/")) {
        return list(answer, &site, repo, &revision.replace("%2F", "/"));
    }
    match path.split_once("/resolve/") {
        Some((repo, rest)) => file(answer, address, &site, &repo[1..], rest, from),
        None => answer.status(404, "", ""),
    }
}

fn list(answer: Answer, site: &Site, repo: &str, revision: &str) -> std::io::Result<()> {
    if let Some(new) = site.renamed.get(repo) {
        return answer.redirect(&format!("{}/api/models/{new}/revision/{revision}", site.prefix), "");
    }
    if let Some((status, code)) = site.refused.get(repo) {
        return answer.status(*status, &format!("X-Error-Code: {code}\r\n"), "{\"error\":\"Go away.\"}");
    }
    let Some(model) = site.models.get(repo) else {
        // What the real one says about models that it does not have, or does not show.
        return answer.status(401, "X-Error-Code: RepoNotFound\r\n", "{\"error\":\"Invalid username or password.\"}");
    };
    let commit = model.get(revision).or_else(|| model.values().find(|commit| commit.hash == revision));
    let Some(commit) = commit else { return answer.status(404, "X-Error-Code: RevisionNotFound\r\n", "") };
    let names: Vec<_> = commit.files.keys().map(|name| serde_json::json!({"rfilename": name})).collect();
    let text = serde_json::json!({"id": repo, "sha": commit.hash, "siblings": names}).to_string();
    answer.status(200, "", &text)
}

fn file(
    answer: Answer,
    address: SocketAddr,
    site: &Site,
    repo: &str,
    rest: &str,
    from: Option<usize>,
) -> std::io::Result<()> {
    let (hash, name) = rest.split_once('/').unwrap_or((rest, ""));
    if let Some(new) = site.renamed.get(repo) {
        return answer.redirect(&format!("{}/{new}/resolve/{rest}", site.prefix), "");
    }
    let commits = site.models.get(repo).into_iter().flat_map(|model| model.values());
    let found = commits.filter(|commit| commit.hash == hash).find_map(|commit| commit.files.get(name));
    let Some(content) = found else { return answer.status(404, "X-Error-Code: EntryNotFound\r\n", "") };
    let fault = site.faults.get(name);
    if let Some(Fault::Refused(status, code)) = fault {
        return answer.status(*status, &format!("X-Error-Code: {code}\r\nX-Error-Message: Not you.\r\n"), "");
    }
    let etag = if let Some(Fault::Opaque) = fault { "W/\"abc-1\"".into() } else { etag(name, content) };
    let commit = format!("X-Repo-Commit: {hash}\r\n");
    if is_large(name) {
        let size = if let Some(Fault::Huge(size)) = fault { *size } else { content.len() as u64 };
        let headers = format!("{commit}X-Linked-Etag: \"{etag}\"\r\nX-Linked-Size: {size}\r\n");
        // Another name of this machine: the token must not go there.
        let place = format!("http://localhost:{}{}/cdn/{repo}/{hash}/{name}", address.port(), site.prefix);
        return answer.redirect(&place, &headers);
    }
    let etag = if etag.starts_with('W') { etag } else { format!("\"{etag}\"") };
    answer.content(content, from, &format!("{commit}ETag: {etag}\r\n"), fault)
}

fn cdn(answer: Answer, site: &Site, rest: &str, from: Option<usize>) -> std::io::Result<()> {
    for (repo, model) in &site.models {
        for commit in model.values() {
            let name = rest.strip_prefix(&format!("{repo}/{}/", commit.hash));
            if let Some((name, content)) = name.and_then(|name| commit.files.get_key_value(name)) {
                return answer.content(content, from, "ETag: \"of-the-store\"\r\n", site.faults.get(name));
            }
        }
    }
    answer.status(404, "", "")
}

struct Answer {
    stream: TcpStream,
    head: bool,
}

impl Answer {
    fn head(&mut self, status: u16, headers: &str, length: usize) -> std::io::Result<()> {
        let head = format!("HTTP/1.1 {status} X\r\n{headers}Content-Length: {length}\r\nConnection: close\r\n\r\n");
        self.stream.write_all(head.as_bytes())
    }

    fn status(mut self, status: u16, headers: &str, body: &str) -> std::io::Result<()> {
        self.head(status, headers, body.len())?;
        if self.head { Ok(()) } else { self.stream.write_all(body.as_bytes()) }
    }

    fn redirect(mut self, place: &str, headers: &str) -> std::io::Result<()> {
        self.head(307, &format!("Location: {place}\r\n{headers}"), 0)
    }

    fn content(
        mut self,
        content: &[u8],
        from: Option<usize>,
        headers: &str,
        fault: Option<&Fault>,
    ) -> std::io::Result<()> {
        let mut content = content.to_vec();
        let from = if let Some(Fault::NoRanges) = fault { None } else { from };
        let start = from.unwrap_or(0);
        if start > 0 && start >= content.len() {
            return self.status(416, "", "");
        }
        let (size, middle) = (content.len(), content.len() / 2);
        let end = match fault {
            Some(Fault::EndsAt(end) | Fault::Stalls(end)) if !self.head => *end,
            Some(Fault::AtMost(most)) if !self.head => size.min(start + most),
            Some(Fault::Flipped) => {
                content[middle] ^= 1;
                size
            }
            Some(Fault::Slow(time)) => {
                thread::sleep(*time);
                size
            }
            _ => size,
        };
        let range = format!("Content-Range: bytes {start}-{}/{size}\r\n", size.saturating_sub(1));
        let (status, range) = if from.is_some() { (206, &range[..]) } else { (200, "") };
        self.head(status, &format!("{headers}{range}"), size - start)?;
        if self.head {
            return Ok(());
        }
        self.stream.write_all(&content[start.min(end)..end])?;
        self.stream.flush()?;
        if let Some(Fault::Stalls(_)) = fault {
            thread::sleep(Duration::from_secs(100));
        }
        Ok(())
    }
}
