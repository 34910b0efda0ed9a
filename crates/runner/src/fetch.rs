//! `temper data fetch`: downloads a data set whose crate knows the publisher.

use std::io::IsTerminal;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use indicatif::{ProgressBar, ProgressStyle};
use temper_core::{Chosen, Dataset, home, summaries};
use temper_fetch::{Fetch, FetchProgress};

use crate::config::BadConfig;
use crate::output::{remark, say};

/// What can be done with data sets.
#[derive(Debug, Subcommand)]
pub(crate) enum Data {
    /// Download a data set from its publisher: checked, resumable, whole or not at all
    #[command(
        after_help = "HTTPS_PROXY, HTTP_PROXY and ALL_PROXY are heeded. Exit codes: 0 it is there, 1 it could not be \
                      fetched, 2 no such data set."
    )]
    Fetch(Options),
}

/// Options of `temper data fetch`.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Its name, as pipelines use it
    name: String,
    /// Folder of all data sets, instead of `$TEMPER_DATA` or `data`
    #[arg(long, value_name = "DIR")]
    to: Option<PathBuf>,
    /// Address of a folder with the same files, instead of the publisher's
    #[arg(long, value_name = "URL")]
    from: Option<String>,
}

pub(crate) fn run(data: &Data) -> anyhow::Result<()> {
    let Data::Fetch(options) = data;
    let published = |name: &str| Chosen::<dyn Dataset>::by_name(name).ok().and_then(|set| set.publication());
    let publication = match Chosen::<dyn Dataset>::by_name(&options.name) {
        Err(error) => return Err(BadConfig(error).into()),
        Ok(dataset) => dataset.publication().ok_or_else(|| {
            let all = summaries().into_iter().filter(|p| p.kind == "dataset" && published(p.name).is_some());
            let known: Vec<_> = all.map(|plugin| format!("`{}`", plugin.name)).collect();
            let (name, known) = (&options.name, known.join(", "));
            BadConfig(format!("dataset `{name}` has no publisher to fetch it from; known: {known}"))
        })?,
    };
    let to = options.to.clone().unwrap_or_else(home);
    say(&format!("{}\n", publication.terms));
    let mut shown = Shown::default();
    let fetch = Fetch { to: &to, from: options.from.as_deref(), pauses: Fetch::patience() };
    let fetched = fetch.fetch(&publication, &mut |progress| shown.show(progress));
    shown.bar.finish_and_clear();
    let (folder, new) = fetched?;
    let verb = if new { "fetched" } else { "already there:" };
    let hint = match options.to {
        Some(_) if to != home() => format!("pipelines find it with TEMPER_DATA={}\n", to.display()),
        _ => String::new(),
    };
    say(&format!("{verb} {}\n{hint}", folder.display()));
    Ok(())
}

/// A progress bar on a terminal; elsewhere one line per file.
struct Shown {
    bar: ProgressBar,
    file: String,
}

impl Default for Shown {
    fn default() -> Self {
        let template = "{prefix} [{bar:12}] {bytes}/{total_bytes}  {eta} left";
        let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
        Self { bar: ProgressBar::new(0).with_style(style.progress_chars("=> ")), file: String::new() }
    }
}

impl Shown {
    fn show(&mut self, FetchProgress { file, done, size }: FetchProgress<'_>) {
        if self.file != file {
            file.clone_into(&mut self.file);
            self.bar.set_prefix(file.to_string());
            self.bar.set_length(size);
            if !std::io::stderr().is_terminal() {
                remark(&format!("{file}, {size} bytes"));
            }
        }
        self.bar.set_position(done);
    }
}
