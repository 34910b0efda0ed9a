//! `temper completions` and `temper man`: what shells and `man` read of the command line.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::{Args, Command};
use clap_complete::{Shell, generate};

use crate::output::{answer, say};

/// Options of `temper completions`.
#[derive(Debug, Args)]
pub(crate) struct Completions {
    /// The shell
    shell: Shell,
}

/// Options of `temper man`.
#[derive(Debug, Args)]
pub(crate) struct Man {
    /// Write a page for temper and for each of its commands into this folder, which is created if need be
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

/// Prints the script that completes the command line in a shell.
pub(crate) fn completions(options: &Completions, mut command: Command) -> anyhow::Result<()> {
    let mut script = vec![];
    let name = command.get_name().to_string();
    generate(options.shell, &mut command, name, &mut script);
    answer(&String::from_utf8_lossy(&script))
}

/// Prints the manual page of temper, or writes all pages.
pub(crate) fn man(options: &Man, mut command: Command) -> anyhow::Result<()> {
    command.build();
    let Some(folder) = &options.out else { return answer(&String::from_utf8_lossy(&page(command)?)) };
    fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
    let n = write_pages(folder, command, None)?;
    say(&format!("{n} pages written to {}\n", folder.display()));
    Ok(())
}

/// Writes the pages of a command and of its own commands; returns their number. `parent`: the name of the page above.
fn write_pages(folder: &Path, command: Command, parent: Option<&str>) -> anyhow::Result<usize> {
    let name = match parent {
        None => command.get_name().to_string(),
        Some(parent) => format!("{parent}-{}", command.get_name()),
    };
    let inner: Vec<Command> =
        command.get_subcommands().filter(|inner| inner.get_name() != "help").cloned().collect();
    let file = folder.join(format!("{name}.1"));
    fs::write(&file, page(command.display_name(name.clone()))?)
        .with_context(|| format!("cannot write {}", file.display()))?;
    inner.into_iter().try_fold(1, |n, inner| Ok(n + write_pages(folder, inner, Some(&name))?))
}

fn page(command: Command) -> anyhow::Result<Vec<u8>> {
    let mut page = vec![];
    clap_mangen::Man::new(command).render(&mut page).context("the manual page")?;
    Ok(page)
}
