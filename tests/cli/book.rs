//! The commands of the README and of the book, run as they are written.
//!
//! A fence `sh` is run, line by line, in a folder with the repository's `configs`; a fence `sh,not-run` is not, and the
//! line before it says why. The quick start trains on fewer images here, so that it takes seconds.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::support::{root, stderr, stdout};

/// A command that the pages begin with.
const QUICK_START: &str = "temper run configs/quickstart.toml";

/// The pages: the README and those of the table of contents.
fn pages() -> Vec<String> {
    let summary = fs::read_to_string(root().join("docs/SUMMARY.md")).unwrap();
    let listed = summary.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    std::iter::once("README.md".to_string()).chain(listed.map(|page| format!("docs/{page}"))).collect()
}

/// The fences of a page: the word that opens each, the line before it, and its lines.
fn fences(page: &str) -> Vec<(String, String, Vec<String>)> {
    let text = fs::read_to_string(root().join(page)).unwrap();
    let (mut fences, mut open, mut before) = (vec![], None, String::new());
    for line in text.lines() {
        match (line.strip_prefix("```"), &mut open) {
            (Some(word), None) => open = Some((word.to_string(), before.clone(), vec![])),
            (Some(_), Some(_)) => fences.extend(open.take()),
            (None, Some((_, _, lines))) => lines.push(line.to_string()),
            (None, None) => {}
        }
        before = line.to_string();
    }
    assert!(open.is_none(), "{page}: a fence is not closed");
    fences
}

/// The commands of a page that are run.
fn commands(page: &str) -> Vec<String> {
    let run = fences(page).into_iter().filter(|(word, ..)| word == "sh");
    // A line that ends with a backslash goes on in the next one.
    let whole = run.map(|(.., lines)| lines.join("\n").replace("\\\n", " "));
    let lines = whole.flat_map(|text| text.lines().map(str::to_string).collect::<Vec<_>>());
    lines.filter(|line| !line.trim().is_empty()).collect()
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() { copy(&path, &target) } else { fs::copy(&path, &target).map(drop).unwrap() }
    }
}

/// A line as a shell runs it, with `temper` on the path.
fn shell(folder: &Path, line: &str) {
    let path = format!("{}:{}", folder.join("bin").display(), std::env::var("PATH").unwrap());
    let mut command = Command::new("sh");
    command.args(["-c", line]).current_dir(folder).env("PATH", path).env_remove("TEMPER_DATA");
    let output = command.output().unwrap();
    assert!(output.status.success(), "{line}\n{}{}", stdout(&output), stderr(&output));
}

/// Runs all commands of a page, after the quick start.
fn run(page: &str) {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    copy(&root().join("configs"), &folder.join("configs"));
    let network = "tests/attacks/peers/network.safetensors";
    fs::create_dir_all(folder.join(network).parent().unwrap()).unwrap();
    fs::copy(root().join(network), folder.join(network)).unwrap();
    fs::create_dir(folder.join("bin")).unwrap();
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_temper-under-test"), folder.join("bin/temper")).unwrap();
    let quick_start = folder.join("configs/quickstart.toml");
    let text = fs::read_to_string(&quick_start).unwrap();
    let small = text.replace("\n[train]\n", "\nsubset.train = 300\n\n[train]\n");
    assert!(small.len() > text.len());
    fs::write(&quick_start, small).unwrap();
    let commands = commands(page);
    assert!(!commands.is_empty(), "{page} has no command");
    if !commands.iter().any(|line| line == QUICK_START) {
        shell(folder, QUICK_START);
    }
    for line in commands {
        assert!(line.starts_with("temper "), "{page}: {line}");
        shell(folder, &line);
    }
}

#[test]
fn commands_of_the_readme_work() {
    run("README.md");
}

#[test]
fn commands_of_the_quick_start_work() {
    run("docs/quick-start.md");
}

#[test]
fn commands_of_testing_your_network_work() {
    run("docs/test-your-network.md");
}

#[test]
fn commands_of_hardening_work() {
    run("docs/harden.md");
}

#[test]
fn commands_of_the_command_page_work() {
    run("docs/commands.md");
}

#[test]
fn commands_of_the_page_of_files_work() {
    run("docs/files.md");
}

#[test]
fn commands_of_all_other_pages_work() {
    let own = ["README", "quick-start", "test-your-network", "harden", "commands", "files"];
    for page in pages() {
        let name = page.rsplit('/').next().unwrap().trim_end_matches(".md");
        if !own.contains(&name) && !commands(&page).is_empty() {
            run(&page);
        }
    }
}

/// What is not run says why, and no command hides in a fence of another word.
#[test]
fn every_command_is_run_or_says_why_not() {
    for page in pages() {
        for (word, before, lines) in fences(&page) {
            match word.as_str() {
                "sh" => {}
                word if word.ends_with(",not-run") => {
                    assert!(before.starts_with("<!-- not run: ") && before.len() > 25, "{page}: {lines:?}");
                }
                _ => {
                    let command = lines.iter().find(|line| line.starts_with("temper "));
                    assert_eq!(command, None, "{page}: a command in a fence `{word}`");
                }
            }
        }
    }
}

/// Every page of the folder is in the table of contents, and every link leads somewhere.
#[test]
fn the_book_is_whole() {
    let pages = pages();
    for entry in fs::read_dir(root().join("docs")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        let page = format!("docs/{name}");
        let is_page = path.extension().is_some_and(|extension| extension == "md") && name != "SUMMARY.md";
        assert!(!is_page || pages.contains(&page), "{page} is not in docs/SUMMARY.md");
    }
    for page in pages {
        let file = root().join(&page);
        let text = fs::read_to_string(&file).unwrap_or_else(|error| panic!("{page}: {error}"));
        for target in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let path = target.split('#').next().unwrap();
            let outside = target.starts_with("http") || path.is_empty() || path.contains(char::is_whitespace);
            let there = outside || file.parent().unwrap().join(path).exists();
            assert!(there, "{page}: a link to {target}");
        }
    }
}
