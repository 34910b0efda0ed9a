//! `temper data fetch` as a user types it. What happens on the wire is tested in the crate `temper-fetch`.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;

use expect_test::expect;
use temper_core::{Chosen, Dataset, Digest, summaries};

use crate::support::{command, stderr, stdout, temper};

#[test]
fn every_publication_is_complete() {
    let mut published = vec![];
    for plugin in summaries().into_iter().filter(|plugin| plugin.kind == "dataset") {
        let dataset = Chosen::<dyn Dataset>::by_name(plugin.name).unwrap();
        let Some(publication) = dataset.publication() else { continue };
        published.push(plugin.name);
        assert!(!publication.files.is_empty() && !publication.terms.is_empty(), "{}", plugin.name);
        for remote in publication.files {
            let (hex, digits) = match remote.digest {
                Digest::Sha256(hex) => (hex, 64),
                Digest::Md5(hex) => (hex, 32),
            };
            assert!(
                hex.len() == digits && hex.bytes().all(|b| b"0123456789abcdef".contains(&b)),
                "{}",
                remote.url
            );
            assert!(remote.url.starts_with("http") && remote.size > 1000, "{}", remote.url);
        }
    }
    assert_eq!(published, ["cifar10", "cifar100", "fashion-mnist", "mnist"]);
}

#[test]
fn an_unknown_data_set_is_refused_with_those_known() {
    let folder = tempfile::tempdir().unwrap();
    let output = temper(folder.path(), &["data", "fetch", "cifar-10"]);
    assert_eq!(output.status.code(), Some(2));
    expect![[r"
        error: unknown dataset `cifar-10`; did you mean `cifar10`? known: `cifar10`, `cifar100`, `fashion-mnist`, `image-folder`, `imagenet`, `mnist`, `npz`
    "]].assert_eq(&stderr(&output));
}

/// A server that gives this answer to every request.
fn server(answer: &'static [u8]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/mirror", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let reader = BufReader::new(stream.try_clone().unwrap());
            reader.lines().map_while(Result::ok).take_while(|line| !line.is_empty()).for_each(drop);
            let _ = stream.write_all(answer);
        }
    });
    url
}

#[test]
fn failures_say_what_and_where_and_leave_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let fetch = |url: &str| {
        let output = command(folder.path())
            .args(["data", "fetch", "mnist", "--to", "sets", "--from", url])
            .env_remove("HTTP_PROXY")
            .env_remove("http_proxy")
            .env_remove("ALL_PROXY")
            .env_remove("all_proxy")
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
        assert_eq!(
            stdout(&output),
            "MNIST: Yann LeCun, Corinna Cortes and Christopher Burges, CC BY-SA 3.0\n"
        );
        let left: Vec<_> = std::fs::read_dir(folder.path().join("sets/mnist")).unwrap().collect();
        assert!(left.is_empty(), "{left:?}");
        stderr(&output).replace(url, "URL")
    };
    let absent = server(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
    assert_eq!(fetch(&absent), "error: URL/train-images-idx3-ubyte.gz: the server answers 404\n");
    let other = server(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\nconnection: close\r\n\r\nhello");
    assert_eq!(
        fetch(&other),
        "error: URL/train-images-idx3-ubyte.gz: the server has 5 bytes, the published file 9912422; nothing was kept\n"
    );
}
