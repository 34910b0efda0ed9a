//! Downloads from a server in this process that behaves, and misbehaves, as asked.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use sha2::{Digest as _, Sha256};
use tar::{Builder, EntryType, Header};
use temper_data::{Digest, Publication, Remote};
use temper_fetch::{Error, Fetch};

/// How the server answers one request.
#[derive(Debug, Clone)]
enum Answer {
    /// With ranges.
    Good,
    /// With ranges, but no more than so many bytes; then the connection ends.
    Cut(usize),
    /// From the start, whatever was asked for.
    NoRanges,
    /// With this status.
    Status(u16),
    /// With other bytes.
    Other(Vec<u8>),
    /// Without saying how long it is.
    Unsized(Vec<u8>),
}

/// A server of one file; it keeps what was asked for: the first byte of each request.
struct Server {
    url: String,
    asked: Arc<Mutex<Vec<u64>>>,
}

impl Server {
    /// Answers the requests in turn, the last way for all that follow.
    fn new(content: &[u8], answers: &[Answer]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let asked = Arc::new(Mutex::new(vec![]));
        let (content, answers, log) = (content.to_vec(), answers.to_vec(), asked.clone());
        thread::spawn(move || {
            for (i, stream) in listener.incoming().enumerate() {
                let answer = answers[i.min(answers.len() - 1)].clone();
                // A client that went away is the client's affair.
                let _ = serve(stream.unwrap(), &content, &answer, &log);
            }
        });
        Self { url, asked }
    }

    fn asked(&self) -> Vec<u64> {
        self.asked.lock().unwrap().clone()
    }
}

fn serve(
    mut stream: TcpStream,
    content: &[u8],
    answer: &Answer,
    log: &Mutex<Vec<u64>>,
) -> std::io::Result<()> {
    let mut start = 0;
    for line in BufReader::new(stream.try_clone()?).lines() {
        let line = line?.to_lowercase();
        if let Some(range) = line.strip_prefix("range: bytes=") {
            start = range.trim_end_matches('-').parse().unwrap();
        }
        if line.is_empty() {
            break;
        }
    }
    log.lock().unwrap().push(start as u64);
    let head = |status: &str, length: usize, extra: &str| {
        format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close\r\n{extra}\r\n")
    };
    let partial = |stream: &mut TcpStream| {
        let rest = &content[start.min(content.len())..];
        let range = format!("content-range: bytes {start}-{}/{}\r\n", content.len() - 1, content.len());
        let (status, extra) =
            if start > 0 { ("206 Partial Content", range.as_str()) } else { ("200 OK", "") };
        stream.write_all(head(status, rest.len(), extra).as_bytes())
    };
    match answer {
        Answer::Good => {
            partial(&mut stream)?;
            stream.write_all(&content[start..])
        }
        Answer::Cut(n) => {
            partial(&mut stream)?;
            stream.write_all(&content[start..content.len().min(start + n)])
        }
        Answer::NoRanges => {
            stream.write_all(head("200 OK", content.len(), "").as_bytes())?;
            stream.write_all(content)
        }
        Answer::Status(status) => stream.write_all(head(&format!("{status} No"), 0, "").as_bytes()),
        Answer::Other(bytes) => {
            stream.write_all(head("200 OK", bytes.len(), "").as_bytes())?;
            stream.write_all(bytes)
        }
        Answer::Unsized(bytes) => {
            stream.write_all(b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n")?;
            stream.write_all(bytes)
        }
    }
}

/// A publication of one file with this content, as `DIR/set/file.bin` or as an archive that brings the folder `set`.
fn publication(content: &[u8], archive: bool) -> Publication {
    let hash = temper_files::hex(&Sha256::digest(content));
    let name = if archive { "set.tar.gz" } else { "file.bin" };
    let remote = Remote {
        url: format!("http://publisher.invalid/{name}"),
        size: content.len() as u64,
        digest: Digest::Sha256(hash.leak()),
        archive,
    };
    Publication { files: vec![remote], folder: "set", terms: "" }
}

fn fetch(server: &Server, publication: &Publication, to: &Path) -> Result<(PathBuf, bool), Error> {
    let pauses = vec![Duration::from_millis(5); 2];
    Fetch { to, from: Some(&server.url), pauses }.fetch(publication, &mut |_| {})
}

fn content() -> Vec<u8> {
    (0..300_000u32).map(|i| (i.wrapping_mul(i) >> 7) as u8).collect()
}

/// Names of all that is below a folder, but for the lock.
fn names(folder: &Path) -> Vec<String> {
    let mut all = vec![];
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            all.extend(names(&path));
        }
        all.push(path.file_name().unwrap().to_str().unwrap().to_string());
    }
    all.retain(|name| name != ".set.lock");
    all.sort();
    all
}

#[test]
fn a_file_arrives_whole_and_is_not_fetched_twice() {
    let (folder, content) = (tempfile::tempdir().unwrap(), content());
    let server = Server::new(&content, &[Answer::Good]);
    let publication = publication(&content, false);
    let (to, new) = fetch(&server, &publication, folder.path()).unwrap();
    assert_eq!((to.clone(), new), (folder.path().join("set"), true));
    assert_eq!(fs::read(to.join("file.bin")).unwrap(), content);
    assert_eq!(names(folder.path()), ["file.bin", "set"]);
    assert!(!fetch(&server, &publication, folder.path()).unwrap().1);
    assert_eq!(server.asked(), [0]);
}

#[test]
fn a_broken_download_goes_on_where_it_stopped() {
    let (folder, content) = (tempfile::tempdir().unwrap(), content());
    // A cut, trouble at the server, another cut, and the rest.
    let answers = [Answer::Cut(100_000), Answer::Status(503), Answer::Cut(150_000), Answer::Good];
    let server = Server::new(&content, &answers);
    let (to, _) = fetch(&server, &publication(&content, false), folder.path()).unwrap();
    assert_eq!(fs::read(to.join("file.bin")).unwrap(), content);
    let asked = server.asked();
    assert_eq!(asked[..2], [0, asked[1]]);
    assert!(asked[1] > 0 && asked[2] == asked[1] && asked[3] > asked[2] && asked.len() == 4, "{asked:?}");
}

#[test]
fn an_interrupted_command_leaves_a_part_and_the_next_one_uses_it() {
    let (folder, content) = (tempfile::tempdir().unwrap(), content());
    let publication = publication(&content, false);
    let broken = Server::new(&content, &[Answer::Cut(200_000), Answer::Cut(0)]);
    let error = fetch(&broken, &publication, folder.path()).unwrap_err().to_string();
    assert!(error.contains(" of 300000 bytes are there; the same command goes on from them"), "{error}");
    assert_eq!(names(folder.path()), ["file.bin.part", "set"]);
    let have = fs::metadata(folder.path().join("set/file.bin.part")).unwrap().len();
    assert!(have > 0);
    let server = Server::new(&content, &[Answer::Good]);
    fetch(&server, &publication, folder.path()).unwrap();
    assert_eq!(server.asked(), [have]);
    assert_eq!(names(folder.path()), ["file.bin", "set"]);
}

#[test]
fn a_server_without_ranges_starts_over() {
    let (folder, content) = (tempfile::tempdir().unwrap(), content());
    let server = Server::new(&content, &[Answer::Cut(100_000), Answer::NoRanges]);
    let (to, _) = fetch(&server, &publication(&content, false), folder.path()).unwrap();
    assert_eq!(fs::read(to.join("file.bin")).unwrap(), content);
}

#[test]
fn a_part_of_something_else_is_thrown_away() {
    for part in [vec![7; 1000], vec![7; 300_000], vec![7; 400_000]] {
        let (folder, content) = (tempfile::tempdir().unwrap(), content());
        fs::create_dir(folder.path().join("set")).unwrap();
        fs::write(folder.path().join("set/file.bin.part"), part).unwrap();
        let server = Server::new(&content, &[Answer::Good]);
        match fetch(&server, &publication(&content, false), folder.path()) {
            Ok((to, _)) => assert_eq!(fs::read(to.join("file.bin")).unwrap(), content),
            Err(error) => panic!("{error}"),
        }
    }
}

#[test]
fn what_is_not_the_published_file_is_refused() {
    let content = content();
    let refused = |answer: Answer| {
        let folder = tempfile::tempdir().unwrap();
        let server = Server::new(&content, &[answer]);
        let error = fetch(&server, &publication(&content, false), folder.path()).unwrap_err().to_string();
        assert_eq!(names(folder.path()), ["set"], "{error}");
        error.replace(&server.url, "URL")
    };
    let mut other = content.clone();
    other[17] ^= 1;
    assert!(refused(Answer::Other(other)).starts_with("URL/file.bin: the checksum is "));
    assert_eq!(
        refused(Answer::Other(content[1..].to_vec())),
        "URL/file.bin: the server has 299999 bytes, the published file 300000; nothing was kept"
    );
    let endless = refused(Answer::Unsized([&content[..], &vec![0; 100_000]].concat()));
    assert!(endless.contains(" bytes, the published file 300000; nothing was kept"), "{endless}");
    assert_eq!(refused(Answer::Status(404)), "URL/file.bin: the server answers 404");
}

#[test]
fn what_stands_in_the_place_is_not_overwritten() {
    let (folder, content) = (tempfile::tempdir().unwrap(), content());
    fs::create_dir(folder.path().join("set")).unwrap();
    let server = Server::new(&content, &[Answer::Good]);
    for mine in [vec![1, 2, 3], vec![1; 300_000]] {
        fs::write(folder.path().join("set/file.bin"), &mine).unwrap();
        let error = fetch(&server, &publication(&content, false), folder.path()).unwrap_err();
        assert!(matches!(error, Error::Foreign { .. }), "{error}");
        assert_eq!(fs::read(folder.path().join("set/file.bin")).unwrap(), mine);
    }
    assert!(server.asked().is_empty());
}

#[test]
fn a_second_process_is_refused() {
    let (folder, content) = (tempfile::tempdir().unwrap(), content());
    let held = fs::File::create(folder.path().join(".set.lock")).unwrap();
    held.try_lock().unwrap();
    let server = Server::new(&content, &[Answer::Good]);
    let error = fetch(&server, &publication(&content, false), folder.path()).unwrap_err();
    assert!(matches!(error, Error::InUse { .. }), "{error}");
}

#[cfg(unix)]
#[test]
fn a_full_disk_is_named() {
    let (folder, content) = (tempfile::tempdir().unwrap(), content());
    fs::create_dir(folder.path().join("set")).unwrap();
    std::os::unix::fs::symlink("/dev/full", folder.path().join("set/file.bin.part")).unwrap();
    let server = Server::new(&content, &[Answer::Good]);
    let error = fetch(&server, &publication(&content, false), folder.path()).unwrap_err().to_string();
    assert!(error.ends_with("set/file.bin.part: No space left on device (os error 28)"), "{error}");
}

/// An archive of entries: path, kind, content.
fn archive(entries: &[(&str, EntryType, &[u8])]) -> Vec<u8> {
    let mut builder = Builder::new(GzEncoder::new(vec![], Compression::fast()));
    for (path, kind, content) in entries {
        let mut header = Header::new_gnu();
        // Written by hand: the crate would refuse the paths that are to be refused.
        let name = &mut header.as_gnu_mut().unwrap().name;
        name[..path.len()].copy_from_slice(path.as_bytes());
        header.set_entry_type(*kind);
        if *kind == EntryType::Symlink || *kind == EntryType::Link {
            header.set_link_name("/etc/passwd").unwrap();
        }
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        header.set_cksum();
        builder.append(&header, *content).unwrap();
    }
    builder.into_inner().unwrap().finish().unwrap()
}

#[test]
fn an_archive_becomes_its_folder() {
    let folder = tempfile::tempdir().unwrap();
    let entries: [(&str, EntryType, &[u8]); 3] = [
        ("set/", EntryType::Directory, b""),
        ("./set/a.bin", EntryType::Regular, b"aaa"),
        ("set/deep/b.bin", EntryType::Regular, b"bb"),
    ];
    let content = archive(&entries);
    // An unpacking that was killed left a part of itself.
    fs::create_dir_all(folder.path().join(".set.part/set")).unwrap();
    fs::write(folder.path().join(".set.part/set/a.bin"), "a").unwrap();
    let server = Server::new(&content, &[Answer::Cut(20), Answer::Good]);
    let publication = publication(&content, true);
    assert!(fetch(&server, &publication, folder.path()).unwrap().1);
    assert_eq!(names(folder.path()), ["a.bin", "b.bin", "deep", "set"]);
    assert_eq!(fs::read(folder.path().join("set/deep/b.bin")).unwrap(), b"bb");
    assert!(!fetch(&server, &publication, folder.path()).unwrap().1);
}

#[test]
fn archives_that_reach_out_are_refused() {
    let good: (&str, EntryType, &[u8]) = ("set/a.bin", EntryType::Regular, b"aaa");
    let cases = [
        ("../x", EntryType::Regular, "`../x` lies outside of set"),
        ("set/../../x", EntryType::Regular, "`set/../../x` lies outside of set"),
        ("/x", EntryType::Regular, "`/x` lies outside of set"),
        ("other/x", EntryType::Regular, "`other/x` lies outside of set"),
        ("set/link", EntryType::Symlink, "`set/link` is neither a file nor a folder (Symlink)"),
        ("set/link", EntryType::Link, "`set/link` is neither a file nor a folder (Link)"),
        ("set/pipe", EntryType::Fifo, "`set/pipe` is neither a file nor a folder (Fifo)"),
        ("set/a.bin", EntryType::Regular, "it holds `set/a.bin` twice"),
    ];
    for (path, kind, what) in cases {
        let folder = tempfile::tempdir().unwrap();
        let to = folder.path().join("to");
        let content = archive(&[good, (path, kind, b"")]);
        let server = Server::new(&content, &[Answer::Good]);
        let error = fetch(&server, &publication(&content, true), &to).unwrap_err().to_string();
        assert!(
            error.contains(&format!("set.tar.gz: refused: {what}; nothing was unpacked")),
            "{path}: {error}"
        );
        assert_eq!(names(folder.path()), ["set.tar.gz", "to"], "{path}");
    }
    let folder = tempfile::tempdir().unwrap();
    let content = archive(&[]);
    let server = Server::new(&content, &[Answer::Good]);
    let error = fetch(&server, &publication(&content, true), folder.path()).unwrap_err().to_string();
    assert!(error.contains("it brings no folder set"), "{error}");
}
